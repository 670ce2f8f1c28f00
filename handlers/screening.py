"""Request bodies into ones the engine survives: what JSON may hold, and the fields vLLM 0.32 does not check itself.

vLLM validates most of a request before its engine sees it. What is refused here either crashed the engine, came
back as a 500, or would reach past the caller's own request.
"""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from handlers.errors import RequestError

MAX_DEPTH = 128
"""Levels of nesting; Python's own parser, which vLLM uses after us, gives up at about 1,000 with a 500."""
_BIG_INTEGER = re.compile(rb"\d{19}")
_INT64 = 2**63
_JSON_TYPES = frozenset({"", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream"})
_SERVER_SIDE = ("kv_transfer_params", "ec_transfer_params")
_CONSTRAINTS = frozenset({"response_format", "structured_outputs", "tools", "text"})
# A schema with minItems=1e9 took vLLM 0.32's engine 19 GB and did not return; 1e8 takes no time.
_HUGE_BOUND = re.compile(rb"""(?:min|max)(?:Items|Length|Properties|Contains)\\*"\s*:\s*(?:\d{7}|[\d.]+[eE])""")
_HUGE_REPEAT = re.compile(rb"\{\s*\d*\s*,?\s*\d{7,}")
_TOKEN_LISTS = ("stop_token_ids", "allowed_token_ids", "logprob_token_ids")


def decode(body: bytes, content_type: str) -> bytes:
    """Return the body as UTF-8 JSON text; raise RequestError (415) for a type that is not JSON.

    A missing type, `application/octet-stream` and `text/plain` are what SageMaker clients send for JSON.
    """
    if content_type in _JSON_TYPES:  # as most are
        return body
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if media not in _JSON_TYPES and not media.endswith("+json"):
        raise RequestError(415, f"Content-Type {media[:80]} is not supported; send application/json.")
    charset = next((p.split("=", 1)[1] for p in parameters.split(";") if p.strip().lower().startswith("charset=")), "")
    charset = charset.strip().strip('"').lower()
    if charset in ("", "utf-8", "utf8", "us-ascii", "ascii"):
        return body
    try:
        return body.decode(charset).encode()
    except (LookupError, UnicodeError):
        raise RequestError(415, f"charset {charset[:40]} is unknown or does not fit the body; send UTF-8.") from None


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; raise RequestError (400) for anything else, NaN, lone surrogates or deep nesting."""
    if not body.strip():
        raise RequestError(400, "The request body is empty; send a JSON object.")
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"The request body is not valid JSON: {error}.") from None
    if not isinstance(payload, dict):
        raise RequestError(400, f"The request body must be a JSON object, not {_json_name(payload)}.")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or _BIG_INTEGER.search(body):
        _check_values(payload)
    return payload


def constrained(payload: dict[str, Any]) -> bool:
    """Tell whether the request brings a grammar or a schema that its output has to follow."""
    parameters = payload.get("parameters")
    grammar = isinstance(parameters, dict) and parameters.get("grammar") is not None
    named = not _CONSTRAINTS.isdisjoint(payload)
    return grammar or (named and any(payload.get(name) is not None for name in _CONSTRAINTS))


def check_constraints(payload: dict[str, Any], body: bytes) -> None:
    """Refuse (400) repetitions of a million and more in a schema, grammar or regular expression."""
    if _HUGE_BOUND.search(body) or _HUGE_REPEAT.search(body):
        raise RequestError(400, "A repetition in the output constraint is above 999999.")
    outputs = payload.get("structured_outputs")
    if outputs is not None and not isinstance(outputs, dict):
        raise RequestError(400, "structured_outputs must be an object.", "structured_outputs")


def check_fields(payload: dict[str, Any], vocabulary_size: int) -> None:
    """Refuse (400) fields that address this server's internals, and token ids outside the vocabulary."""
    extra = payload.get("vllm_xargs")
    for name in _SERVER_SIDE:
        if payload.get(name) is not None or (isinstance(extra, dict) and name in extra):
            raise RequestError(400, f"{name} cannot be set by a request.", name)
    for name in _TOKEN_LISTS:
        if isinstance(payload.get(name), list):
            _check_token_ids(name, payload[name], vocabulary_size)
    if isinstance(payload.get("logit_bias"), dict):
        _check_token_ids("logit_bias", map(_as_integer, payload["logit_bias"]), vocabulary_size)


def _check_token_ids(name: str, token_ids: Iterable[Any], vocabulary_size: int) -> None:
    for token_id in token_ids:
        if not isinstance(token_id, int) or isinstance(token_id, bool) or not 0 <= token_id < vocabulary_size:
            raise RequestError(400, f"{name} holds a token id outside 0..{vocabulary_size - 1}.", name)


def _as_integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _check_values(payload: dict[str, Any]) -> None:
    """Walk the containers without recursion: depth, and integers that no 64-bit field can hold."""
    level: list[Any] = [payload]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            for value in container.values() if isinstance(container, dict) else container:
                if isinstance(value, (dict, list)):
                    below.append(value)
                elif isinstance(value, (int, float)) and not -_INT64 <= value < _INT64:
                    raise RequestError(400, "The request body holds a number outside the range of 64-bit integers.")
        if not below:
            return
        level = below
    raise RequestError(400, f"The request body is nested more than {MAX_DEPTH} levels deep.")


def _json_name(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
