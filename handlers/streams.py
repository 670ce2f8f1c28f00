"""vLLM's replies into the form the caller asked for: server-sent events, JSON lines, TGI objects, bare embeddings.

A Rewrite turns one reply; it knows nothing of HTTP and is driven by `reply.Reply`, chunk by chunk.
"""

from collections.abc import Iterator
from typing import Literal, Protocol

import orjson

StreamFormat = Literal["sse", "jsonlines"]
CONTENT_TYPES: dict[StreamFormat, bytes] = {
    "sse": b"text/event-stream; charset=utf-8",
    "jsonlines": b"application/jsonlines",
}
_LINE_ENDS = tuple((chr(code).encode(), f"\\u{code:04x}".encode()) for code in (0x85, 0x2028, 0x2029))
_DATA = b"data: "
DONE = b"data: [DONE]\n\n"
_SSE_FIELDS = ("data:", "event:")
_JSON_LINES_TYPES = ("application/jsonlines", "application/jsonl", "application/x-ndjson")


class Rewrite(Protocol):
    """How one reply of vLLM's is told to the caller."""

    format: StreamFormat

    def whole(self, body: bytes) -> bytes:
        """Turn a complete JSON reply."""

    def event(self, data: bytes) -> bytes:
        """Turn the data of one server-sent event (never `[DONE]`) into the bytes to send, possibly none."""


def stream_format(accept: str, configured: str, default: StreamFormat) -> StreamFormat:
    """Choose the format of a stream: the Accept header, else `option.output_formatter`, else the schema's default."""
    asked = accept.lower()
    if "text/event-stream" in asked:
        return "sse"
    if any(name in asked for name in _JSON_LINES_TYPES):
        return "jsonlines"
    formats: dict[str, StreamFormat] = {"sse": "sse", "jsonlines": "jsonlines"}
    return formats.get(configured, default)


def record(data: bytes, form: StreamFormat) -> bytes:
    """Frame one JSON value as a record of the stream.

    Characters that many clients take for the end of a line (`str.splitlines`, httpx) are escaped, as JSON allows.
    """
    for character, escape in _LINE_ENDS:
        if character in data:
            data = data.replace(character, escape)
    return b"data: " + data + b"\n\n" if form == "sse" else data + b"\n"


def events(chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name (its `event:` line, or nothing) and data of each server-sent event of vLLM's."""
    name = b""
    for line in chunk.split(b"\n"):
        if line.startswith(b"event:"):
            name = line + b"\n"
        elif line.startswith(_DATA):
            yield name, line.removeprefix(_DATA)
            name = b""


def payloads(records: bytes, form: StreamFormat) -> list[bytes]:
    """Return the JSON values of what `record` framed."""
    lines = records.split(b"\n")
    return [line.removeprefix(_DATA) if form == "sse" else line for line in lines if line]


def text_record(text: str, form: StreamFormat) -> bytes:
    """Frame a text of a user's own as records of the stream; an event that is framed already stays as it is.

    In JSON lines it is a JSON value: what it holds where that is JSON, with or without `data:`, else the text itself.
    """
    text = text.strip("\r\n")
    if not text:
        return b""
    if form == "sse" and text.startswith(_SSE_FIELDS):
        return text.encode() + b"\n\n"
    data = text.removeprefix("data:").strip()
    try:
        return record(orjson.dumps(orjson.loads(data)), form)
    except orjson.JSONDecodeError:
        pass
    if form == "jsonlines":
        return record(orjson.dumps(text), form)
    return "".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n"


def end(form: StreamFormat) -> bytes:
    """Return what closes a stream that succeeded."""
    return DONE if form == "sse" else b""


class JsonLines:
    """OpenAI chunks, one JSON object a line, without `data:` and `[DONE]` (what LMI clients read)."""

    format: StreamFormat = "jsonlines"

    def whole(self, body: bytes) -> bytes:
        """Leave a complete reply as it is."""
        return body

    def event(self, data: bytes) -> bytes:
        """Put the event's JSON on a line of its own."""
        return record(data, "jsonlines")


class EmbeddingLists:
    """An OpenAI embeddings reply as LMI tells it: a list of vectors."""

    format: StreamFormat = "jsonlines"

    def whole(self, body: bytes) -> bytes:
        """Keep only the vectors, in the order of the inputs."""
        return orjson.dumps([item["embedding"] for item in orjson.loads(body)["data"]])

    def event(self, data: bytes) -> bytes:
        """Embeddings are never streamed."""
        return data
