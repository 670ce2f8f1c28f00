"""Measures how fast a directory's disk reads one file from beginning to end past the page cache."""

import mmap
import os
import tempfile
import time
from pathlib import Path

BLOCK_BYTES = 4 << 20
FILE_BYTES = 1 << 30


def sequential_read(directory: Path, size: int = FILE_BYTES) -> float | None:
    """Return bytes per second with O_DIRECT, one block at a time; None where the file system has no O_DIRECT."""
    block = mmap.mmap(-1, BLOCK_BYTES)  # on a page's boundary, as O_DIRECT asks
    block.write(os.urandom(BLOCK_BYTES))  # nothing a disk could compress
    with tempfile.NamedTemporaryFile(dir=directory, prefix="read-speed-") as file:
        try:
            direct = os.open(file.name, os.O_RDWR | os.O_DIRECT)
        except OSError:
            return None
        try:
            for offset in range(0, size, BLOCK_BYTES):
                os.pwritev(direct, [block], offset)
            os.fsync(direct)
            started = time.perf_counter()
            for offset in range(0, size, BLOCK_BYTES):
                os.preadv(direct, [block], offset)
            return size / (time.perf_counter() - started)
        except OSError:
            return None
        finally:
            os.close(direct)
