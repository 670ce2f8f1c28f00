"""Replies of DJL's asynchronous handlers: a whole one, or an asynchronous generator of parts."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from .outputs import Output


def create_non_stream_output(
    data: Any, properties: dict[str, Any] | None = None, error: str | None = None, code: int | None = None
) -> Output:
    """Return a complete reply, or an error."""
    return _output(data, "application/json", properties, error, code)


def create_stream_chunk_output(
    data: Any, last_chunk: bool, error: str | None = None, code: int | None = None
) -> Output:
    """Return one part of a stream; what ends it is the end of the generator it comes from."""
    output = _output(data, "application/jsonlines", None, error, code)
    output.last_chunk = last_chunk  # type: ignore[attr-defined]
    return output


async def handle_streaming_response(
    response: AsyncIterator[Any],
    stream_output_formatter: Callable[..., Any],
    accumulate_chunks: bool = False,
    **kwargs: Any,
) -> AsyncIterator[Output]:
    """Yield what a formatter makes of each chunk; it returns data and whether that is the last."""
    history: Any = []
    async for chunk in response:
        try:
            if accumulate_chunks:
                data, last, history = stream_output_formatter(chunk, history=history, **kwargs)
            else:
                data, last = stream_output_formatter(chunk, **kwargs)
        except Exception as error:
            logging.getLogger("lmi").exception("stream_output_formatter failed")
            yield create_stream_chunk_output("", last_chunk=True, error=str(error), code=424)
            return
        yield create_stream_chunk_output(data, last)
        if last:
            return


def _output(
    data: Any, content_type: str, properties: dict[str, Any] | None, error: str | None, code: int | None
) -> Output:
    output = Output(code or (424 if error else 200), error or "OK")
    for key, value in {"Content-Type": content_type, **(properties or {})}.items():
        output.add_property(key, value)
    if error:
        return output.add(json.dumps({"error": error, "code": output.code}) + "\n")
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return output.add(text + "\n")
