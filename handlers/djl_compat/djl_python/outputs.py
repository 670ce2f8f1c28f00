"""A reply as DJL's custom handlers make it: a status, properties that become headers, and content or a stream."""

import json
from collections.abc import Callable
from typing import Any

from .pair_list import PairList


def _outputs_line(texts: Any) -> bytes:
    """Format one part of a stream as DJL does unless told otherwise."""
    return json.dumps({"outputs": texts}).encode() + b"\n"


class Output:
    """One reply; its methods return it, so that calls can be chained."""

    def __init__(self, code: int = 200, message: str = "OK") -> None:
        self.code = code
        self.message = message
        self.properties: dict[str, Any] = {}
        self.content = PairList()
        self.stream_content: Any = None
        self.stream_output_formatter: Callable[[Any], Any] | None = None
        self.finalize_function: Callable[..., Any] | None = None
        self.finalize_args: tuple[Any, ...] = ()

    def set_code(self, code: int) -> "Output":
        """Set the HTTP status."""
        self.code = code
        return self

    def set_message(self, message: str) -> "Output":
        """Set the message that goes with the status."""
        self.message = message
        return self

    def error(self, error: str, code: int = 424, message: str = "invoke handler failure") -> "Output":
        """Make this an error."""
        self.code = code
        self.message = message
        self.add_property("content-type", "application/json")
        return self.add_as_json({"code": code, "message": message, "error": error})

    def add_property(self, key: str, val: Any) -> "Output":
        """Set a header of the reply."""
        self.properties[key] = val
        return self

    def get_properties(self) -> dict[str, Any]:
        """Return all properties."""
        return self.properties

    def get_property(self, key: str) -> Any:
        """Return a property, or None."""
        return self.properties.get(key)

    def add(self, value: Any, key: str | None = None, batch_index: int | None = None) -> "Output":
        """Add content: text and bytes as they are, anything else as JSON."""
        if batch_index is not None:
            key = f"batch_{batch_index}.{key or ''}"
        if isinstance(value, str):
            value = value.encode()
        elif not isinstance(value, bytes | bytearray):
            value = _json(value)
        self.content.add(key, bytearray(value))
        return self

    def add_as_json(self, val: Any, key: str | None = None, batch_index: int | None = None) -> "Output":
        """Add content as JSON."""
        return self.add(_json(val), key, batch_index)

    def add_stream_content(
        self, stream_content: Any, output_formatter: Callable[[Any], Any] | None = _outputs_line
    ) -> "Output":
        """Make this a stream of what an iterator, or an asynchronous one, yields."""
        self.stream_content = stream_content
        self.stream_output_formatter = output_formatter
        return self

    def finalize(self, finalize_function: Callable[..., Any], *args: Any) -> "Output":
        """Have a function called once the reply is sent."""
        self.finalize_function = finalize_function
        self.finalize_args = args
        return self

    def execute_finalize(self) -> Any:
        """Call that function."""
        return self.finalize_function(*self.finalize_args) if self.finalize_function else None


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Return what JSON lacks as what it has: NumPy's numbers and arrays, dates."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
