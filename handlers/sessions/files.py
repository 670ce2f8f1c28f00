"""Sessions as files, one small JSON object each, so that they outlive the worker; a file's mtime is its last use.

Only files that carry the name of a session are read or removed, and no name ever comes from a request.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from handlers.errors import SessionsError
from handlers.sessions.table import Session

_UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_NAME = re.compile(rf"({_UUID4})\.json")
_UNFINISHED = re.compile(rf"\.{_UUID4}\.json")
_MOST_BYTES = 1000


class SessionFiles:
    """The directory of the sessions, which other files may share."""

    def __init__(self, directory: Path) -> None:
        """Raise SessionsError where sessions could not be kept, as they would be lost at the next restart."""
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = directory / f".probe.{os.getpid()}"
            _write(probe, "")
            probe.unlink()
            self._found = tuple(directory.iterdir())
        except OSError as error:
            reason = f"sessions cannot be kept in {directory}: {error.strerror}; set option.sessions_path"
            raise SessionsError(reason) from None

    def read(self, sliding_lifetime: float) -> Iterator[Session]:
        """Yield the sessions found at the start, and remove what a process that was killed left half written.

        Where the lifetime slides it counts from the last use; otherwise it is 0, and what was promised holds.
        """
        for file in self._found:
            if _UNFINISHED.fullmatch(file.name):
                with suppress(OSError):
                    file.unlink()
            elif (name := _NAME.fullmatch(file.name)) and (found := _read(file)):
                expires_at, used_at = found
                yield Session(name[1], max(expires_at, used_at + sliding_lifetime), used_at)

    def add(self, session: Session) -> None:
        """Write a new session, or nothing at all: a disk that is full would else fill with empty files."""
        file = self._file(session.id)
        unfinished = file.with_name(f".{file.name}")
        try:
            _write(unfinished, json.dumps({"expires_at": session.expires_at}))
            unfinished.replace(file)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def note_uses(self, sessions: Iterable[Session]) -> None:
        """Keep when sessions were used last; one that has ended meanwhile stays ended."""
        for session in sessions:
            with suppress(FileNotFoundError):
                os.utime(self._file(session.id), (session.used_at, session.used_at))

    def remove(self, names: Iterable[str]) -> None:
        """Remove sessions that have ended."""
        for name in names:
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def _write(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def _read(file: Path) -> tuple[float, float] | None:
    """Return when a session expires and when it was used last; None for what is not a session of ours."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        # Without waiting: it might be a pipe.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode):
                return float(json.loads(opened.read(_MOST_BYTES))["expires_at"]), found.st_mtime
    return None
