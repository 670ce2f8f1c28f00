"""What the engine is about to read is in memory, for streams to wait for the copy alone and not for storage."""

import ctypes
import mmap
import os
from pathlib import Path

from autoconfig.lora.files import WEIGHTS
from handlers.adapters.read_ahead import read_ahead


def resident(path: Path) -> float:
    """Return which part of a file is in the page cache (mincore(2))."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as mapped:
        view = ctypes.c_char.from_buffer(mapped)
        pages = (ctypes.c_ubyte * (len(mapped) // mmap.PAGESIZE))()
        failed = ctypes.CDLL(None, use_errno=True).mincore(
            ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(len(mapped)), pages
        )
        assert not failed, os.strerror(ctypes.get_errno())
        del view
    return sum(page & 1 for page in pages) / len(pages)


def test_weights_that_left_memory_are_brought_back(tmp_path: Path) -> None:
    weights = tmp_path / WEIGHTS
    weights.write_bytes(bytes(16 << 20))
    with weights.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # a tmpfs keeps it
    read_ahead(tmp_path)
    assert resident(weights) > 0.9  # the kernel may have taken some again


def test_files_that_are_not_there_are_the_engines_to_tell(tmp_path: Path) -> None:
    read_ahead(tmp_path)
    read_ahead(tmp_path / "gone")
