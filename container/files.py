"""Writes what a start leaves on disk: whole or not at all, private where it must be, by one process at a time."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from container.errors import PreparationError


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`, readable by this user only; a reader sees the old file or the new one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.replace(path)


def private_directory(path: Path) -> None:
    """Make `path` a directory only this user can enter; refuse one that somebody else prepared for us."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise PreparationError(f"run directory {path}: {error.strerror}; set LMI_RUN_DIR to a writable one") from None
    if not stat.S_ISDIR(found.st_mode):
        raise PreparationError(f"run directory {path} is not a directory of its own (a symbolic link or a file)")
    if found.st_uid != os.geteuid():
        raise PreparationError(f"run directory {path} belongs to uid {found.st_uid}, not to uid {os.geteuid()}")
    path.chmod(0o700)


@contextmanager
def exclusive(path: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold a lock on `path`, released even by SIGKILL; wait for it, or raise PreparationError(busy) when given."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        remedy = "set LMI_CACHE_DIR to a writable directory"
        raise PreparationError(f"cannot write {path}: {error.strerror}; {remedy}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise PreparationError(busy or "") from None
        yield


@contextmanager
def replaced_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` when the block succeeds; call it under `exclusive`."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
