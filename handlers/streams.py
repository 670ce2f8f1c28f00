"""vLLM's replies into the form the caller asked for: server-sent events, JSON lines, TGI objects, bare embeddings.

A Rewrite turns one reply; it knows nothing of HTTP and is driven by `reply.Reply`, chunk by chunk.
"""

from typing import Literal, Protocol

import orjson

StreamFormat = Literal["sse", "jsonlines"]
CONTENT_TYPES: dict[StreamFormat, bytes] = {
    "sse": b"text/event-stream; charset=utf-8",
    "jsonlines": b"application/jsonlines",
}
_LINE_ENDS = tuple((chr(code).encode(), f"\\u{code:04x}".encode()) for code in (0x85, 0x2028, 0x2029))
DONE = b"data: [DONE]\n\n"
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
