"""Measures by writing what a directory's disk can do: O_DIRECT or not, and how fast; at most three seconds, no traces.

Runs in `serve` where a disk tier is planned, and in `explain --probe`; plain `explain` writes nothing.
"""

import mmap
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from autoconfig.host_disks import DiskProbe

BLOCK_BYTES = 4 << 20
"""What LMCache moves at once is of this order: a chunk of 256 tokens is 7 to 80 MiB for models of 1.5 to 72 billion."""
PHASE_SECONDS = 1.2
"""For writing, and again for reading."""
MOST_BYTES = 1 << 30
MOST_OF_FREE = 0.1


def probe_disk(path: str) -> DiskProbe:
    """Write and read a file there, or in the nearest directory above that exists; it is gone afterwards."""
    place = next(parent for parent in (Path(path), *Path(path).parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".lmi-probe-", dir=place) as folder:
            return _measure(path, Path(folder, "block"))
    except OSError as error:
        below = "" if place == Path(path) else f" in {place}"
        return DiskProbe(path, writable=False, odirect=False, reason=f"{error.strerror or error}{below}")


class _Blocks:
    """A file that is written and read block by block, past the page cache: directly, or by dropping what is in it."""

    def __init__(self, file: Path, block: mmap.mmap, *, directly: bool) -> None:
        self._block = block
        self._directly = directly
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | (os.O_DIRECT if directly else 0), 0o600)

    def write(self, offset: int) -> int:
        count = os.pwritev(self._descriptor, [self._block], offset)
        if not self._directly:
            os.fdatasync(self._descriptor)
            os.posix_fadvise(self._descriptor, offset, count, os.POSIX_FADV_DONTNEED)
        return count

    def read(self, offset: int) -> int:
        return os.preadv(self._descriptor, [self._block], offset)

    def close(self) -> None:
        os.close(self._descriptor)


def _measure(path: str, file: Path) -> DiskProbe:
    with mmap.mmap(-1, BLOCK_BYTES) as block:  # page-aligned, as O_DIRECT demands
        block.write(os.urandom(BLOCK_BYTES))  # nothing that a file system could compress
        odirect = _moves_directly(file, block)
        with closing(_Blocks(file, block, directly=odirect)) as blocks:
            written, write_speed = _timed(blocks.write, _most(file))
            read_speed = _timed(blocks.read, written)[1]
    reason = "" if written else "too little room to measure its speed"
    return DiskProbe(path, True, odirect, read_speed, write_speed, reason)


def _moves_directly(file: Path, block: mmap.mmap) -> bool:
    """Tell whether O_DIRECT works there: the opening may succeed and the rest fail."""
    try:
        with closing(_Blocks(file, block, directly=True)) as blocks:
            return blocks.write(0) == blocks.read(0) == BLOCK_BYTES
    except OSError:
        return False


def _most(file: Path) -> int:
    said = os.statvfs(file.parent)
    return min(MOST_BYTES, int(said.f_bavail * said.f_frsize * MOST_OF_FREE))


def _timed(move: Callable[[int], int], most: int) -> tuple[int, float | None]:
    """Move blocks until the time or the file is at its end; return the bytes, and those per second."""
    moved, began = 0, time.monotonic()
    while moved + BLOCK_BYTES <= most and time.monotonic() - began < PHASE_SECONDS:
        moved += move(moved)
    return moved, moved / (time.monotonic() - began) if moved else None
