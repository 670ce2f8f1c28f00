"""The `src` of an adapter into a path, and which of its files may be read: those within directories that are allowed.

What lies outside them is neither opened nor listed; symbolic links count as what they lead to.
"""

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from autoconfig.lora.errors import ElsewhereError, UnusableAdapterError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def path_of(src: str) -> str:
    """Return the path that a `src` means: itself, or that of a `file://` URL of this machine.

    Raises:
        ElsewhereError: it is a URL of something else.
        ValueError: it is no URL although it begins as one.
    """
    scheme = _SCHEME.match(src)
    if scheme is None:
        return src
    url = urlsplit(src)
    if url.scheme != "file" or url.netloc not in ("", "localhost"):
        raise ElsewhereError(scheme[1])
    return unquote(url.path)


class Roots:
    """The directories adapters may be read from."""

    def __init__(self, directories: tuple[str, ...]) -> None:
        self.directories = directories

    def real(self, path: str) -> str | None:
        """Return where a normalised path really leads; None where it, or what it leads to, is outside."""
        named = (os.path.normpath(root) for root in self.directories)
        if not _within(path, (*named, *self._real())) or not _within(real := os.path.realpath(path), self._real()):
            return None
        return real

    def file(self, directory: str, name: str) -> str:
        """Return where a file of an adapter really lies.

        Raises:
            FileNotFoundError: there is none.
            UnusableAdapterError: it is a link to outside the roots, or no file.
        """
        real = os.path.realpath(Path(directory, name))
        if not _within(real, self._real()):
            raise UnusableAdapterError(f"{name} is a link to outside the directories of adapters")
        if not stat.S_ISREG(Path(real).stat().st_mode):
            raise UnusableAdapterError(f"{name} is not a file")
        return real

    def _real(self) -> tuple[str, ...]:
        return tuple(map(os.path.realpath, self.directories))


ANYWHERE = Roots(("/",))
"""For adapters the operator names, who may name any directory."""


def _within(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)
