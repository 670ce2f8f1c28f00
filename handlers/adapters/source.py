"""The `src` of an adapter into a real directory, within the directories adapters may be read from.

What lies outside them is neither opened nor listed, whatever `..`, symbolic links or URLs a caller writes.
"""

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from handlers.errors import AdapterRefusedError, RequestError

MAX_LENGTH = 4096
"""Bytes of a path on Linux."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


class Roots:
    """The directories adapters may be read from."""

    def __init__(self, directories: tuple[str, ...]) -> None:
        self._directories = directories

    def locate(self, src: str) -> str:
        """Return the real directory a `src` means.

        Raises:
            RequestError: 400 for what is no directory within the roots, 404 for one that does not exist.
        """
        path = _path(src)
        named = (os.path.normpath(root) for root in self._directories)
        if not _within(path, (*named, *self._real())) or not _within(real := os.path.realpath(path), self._real()):
            raise RequestError(400, "src is outside the directories of adapters (option.adapter_roots).", "src")
        try:
            mode = Path(real).stat().st_mode
        except OSError:
            raise RequestError(404, f"src `{src[:200]}` does not exist.", "src") from None
        if not stat.S_ISDIR(mode):
            raise RequestError(400, f"src `{src[:200]}` is not a directory.", "src")
        return real

    def file(self, directory: str, name: str) -> str:
        """Return where a file of an adapter really lies.

        Raises:
            FileNotFoundError: there is none.
            AdapterRefusedError: it is a link to outside the roots, or no file.
        """
        real = os.path.realpath(Path(directory, name))
        if not _within(real, self._real()):
            raise AdapterRefusedError(f"{name} is a link to outside the directories of adapters")
        if not stat.S_ISREG(Path(real).stat().st_mode):
            raise AdapterRefusedError(f"{name} is not a file")
        return real

    def _real(self) -> tuple[str, ...]:
        return tuple(map(os.path.realpath, self._directories))


ANYWHERE = Roots(("/",))
"""For adapters the operator names, who may name any directory."""


def _path(src: str) -> str:
    """Return the absolute path a `src` means, as text."""
    if not src or "\0" in src or len(os.fsencode(src)) > MAX_LENGTH:
        raise RequestError(400, f"src must be a directory's path of 1 to {MAX_LENGTH} bytes.", "src")
    if scheme := _SCHEME.match(src):
        try:
            url = urlsplit(src)
        except ValueError:
            raise RequestError(400, "src is not a valid URL.", "src") from None
        if url.scheme != "file" or url.netloc not in ("", "localhost"):
            raise RequestError(400, f"A src of {scheme[1][:20]}: is not fetched; give a local directory.", "src")
        src = unquote(url.path)
        if "\0" in src:
            raise RequestError(400, "src must not hold a NUL byte.", "src")
    if not src.startswith("/"):
        raise RequestError(400, f"src `{src[:200]}` is not an absolute path.", "src")
    # POSIX lets two leading slashes mean something else; Linux does not.
    return os.path.normpath("/" + src.lstrip("/"))


def _within(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)
