"""What formatters return, into a body for the engine or what callers are sent."""

from typing import Any, NamedTuple

import orjson

from handlers.formatters.records import to_json
from handlers.formatters.user_functions import FunctionFailedError
from handlers.streams import StreamFormat, record, text_record


class Whole(NamedTuple):
    """A complete reply and its content type."""

    body: bytes
    content_type: bytes = b"application/json"


class WrongResultError(FunctionFailedError):
    """A formatter returned what cannot be used; the text goes after its name."""


def body_of_all(result: Any, count: int) -> dict[str, Any]:
    """Return what an input formatter made of a whole body, which may have been a batch of `count` texts."""
    body = _body(result)
    inputs = body.get("inputs")
    if not count or inputs is None or (isinstance(inputs, list) and len(inputs) == count):
        return body
    returned = f"a list of {len(inputs)}" if isinstance(inputs, list) else "one text"
    raise WrongResultError(f"returned {returned} as `inputs` for {count} of them; it must return a list of {count}")


def body_of_one(result: Any) -> dict[str, Any]:
    """Return what an input formatter made of one text of a batch; a list of one text is that text."""
    body = _body(result)
    inputs = body.get("inputs")
    if not isinstance(inputs, list):
        return body
    if len(inputs) != 1:
        told = "it is called once for each, with a text, and must return one"
        raise WrongResultError(f"returned a list of {len(inputs)} as `inputs` for one of a batch; {told}")
    return {**body, "inputs": inputs[0]}


def _body(result: Any) -> dict[str, Any]:
    """Return an input formatter's result as plain JSON values."""
    if isinstance(result, str | bytes | bytearray):  # input_fn may return the JSON text
        try:
            result = orjson.loads(result)
        except orjson.JSONDecodeError as error:
            raise WrongResultError("returned text that is not JSON; it must return a dict") from error
    elif not isinstance(result, dict | None):
        result = orjson.loads(_json(result))
    if not isinstance(result, dict):
        raise WrongResultError(f"returned {type(result).__name__}; it must return a dict")
    plain: dict[str, Any] = orjson.loads(_json(result))
    return plain


def whole(result: Any, accepted: str) -> Whole:
    """Return an output formatter's result as a reply; `accepted` is the type an `output_fn` was told to make."""
    content_type = accepted
    if accepted and isinstance(result, tuple) and len(result) == 2:
        result, content_type = result
    if not isinstance(result, str | bytes | bytearray):
        return Whole(_json(result))
    text = result.encode() if isinstance(result, str) else bytes(result)
    if content_type and content_type != "application/json":
        return Whole(text, str(content_type).encode("latin-1", "replace"))
    return Whole(text, b"application/json" if _is_json(text) else b"text/plain; charset=utf-8")


def as_json(whole: Whole) -> bytes:
    """Return a reply as one item of a list of replies; text is a string there."""
    return whole.body if _is_json(whole.body) else orjson.dumps(whole.body.decode(errors="replace"))


def framed(result: Any, form: StreamFormat) -> bytes:
    """Return an output formatter's result as records of a stream, or nothing."""
    if result is None:
        return b""
    if isinstance(result, bytes | bytearray):
        result = result.decode(errors="replace")
    if isinstance(result, str):
        return text_record(result, form)
    return record(_json(result), form)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _json(result: Any) -> bytes:
    try:
        return to_json(result)
    except TypeError as error:
        raise WrongResultError(f"returned what is not JSON: {error}") from error
