"""What a safetensors file says it holds, read from its first bytes: names, types and shapes, never the weights.

The format: eight bytes of length, that much JSON, then the tensors without a gap. A file that was cut short shows.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from autoconfig.lora.errors import HeaderError

MAX_HEADER_BYTES = 64 * 1024 * 1024
"""An adapter of 128 experts in 60 layers needs about 7 MB; the format itself allows 100 MB."""
_BITS = {
    "BOOL": 8,
    "F4": 4,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]


def read(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises:
        HeaderError: it is not a safetensors file, or not all of one.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 2 <= length <= size - 8:
            raise HeaderError("it is cut short, or no safetensors file")
        if length > MAX_HEADER_BYTES:
            raise HeaderError(f"its header is above {MAX_HEADER_BYTES} bytes")
        header = stream.read(length)
    try:
        entries = orjson.loads(header)
        entries.pop("__metadata__", None)
        tensors = {name: Tensor(str(entry["dtype"]), _shape(entry)) for name, entry in entries.items()}
        ends = [_end(entry, tensors[name]) for name, entry in entries.items()]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        raise HeaderError("its header is damaged") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise HeaderError(f"it has {size} bytes where its header asks for {expected}")
    return tensors


def _shape(entry: dict[str, Any]) -> tuple[int, ...]:
    shape = tuple(entry["shape"])
    if not all(type(number) is int and number >= 0 for number in shape):
        raise ValueError
    return shape


def _end(entry: dict[str, Any], tensor: Tensor) -> int:
    begin, end = entry["data_offsets"]
    bits = _BITS.get(tensor.dtype)
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
        raise ValueError
    if bits and (end - begin) * 8 != math.prod(tensor.shape) * bits:
        raise ValueError
    return end
