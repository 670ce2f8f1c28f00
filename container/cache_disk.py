"""Keeps the cache's directory on disk: ours alone, and empty whenever the cache server starts.

LMCache's disk tier counts what it has written since its own start (fs_native, 0.5.6): files of an earlier run are
found and served, but never evicted, so that the tier would outgrow its cap.
"""

import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import IO


class CacheDisk:
    """One cache directory beside whatever earlier starts left, below a folder with our marker in it."""

    def __init__(self, directory: Path, marker: Path) -> None:
        self._directory = directory
        self._marker = marker
        self._lock: IO[str] | None = None

    def empty(self) -> None:
        """Make the directory and leave nothing else of ours; OSError says why that is impossible here."""
        self._claim()
        for entry in self._marker.parent.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != self._marker:
                entry.unlink()
        self._directory.mkdir(mode=0o700)

    def remove(self) -> None:
        """Give the space back, as far as that is quick and possible; the next start removes the rest."""
        if self._lock is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def _claim(self) -> None:
        """Hold the folder for as long as this process lives; refuse one that is not ours, or that another holds."""
        folder = self._marker.parent
        if self._lock is not None and self._marker.exists():
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError(f"{folder} is no directory of this user's own")
        if not self._marker.exists() and any(folder.iterdir()):
            raise OSError(f"{folder} holds files and not {self._marker.name}: it is not ours to empty")
        lock = self._marker.open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise OSError(f"another server keeps its cache in {folder}: set option.lmcache_disk_path") from None
        self._lock = lock
