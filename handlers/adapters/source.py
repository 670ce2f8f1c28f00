"""The `src` of an adapter into a real directory, within the directories adapters may be read from.

What lies outside them is neither opened nor listed, whatever `..`, symbolic links or URLs a caller writes.
"""

import os
import stat
from pathlib import Path

from autoconfig.lora.errors import ElsewhereError
from autoconfig.lora.source import Roots, path_of
from handlers.errors import RequestError

MAX_LENGTH = 4096
"""Bytes of a path on Linux."""


def locate(src: str, roots: Roots) -> str:
    """Return the real directory a `src` means.

    Raises:
        RequestError: 400 for what is no directory within the roots, 404 for one that does not exist.
    """
    real = roots.real(_path(src))
    if real is None:
        listed = ", ".join(roots.directories)
        told = f"src is outside the directories of adapters (option.adapter_roots adds to them): {listed}."
        raise RequestError(400, told, "src", paths=roots.directories)
    try:
        mode = Path(real).stat().st_mode
    except OSError:
        raise RequestError(404, f"src `{src[:200]}` does not exist.", "src", paths=(src,)) from None
    if not stat.S_ISDIR(mode):
        raise RequestError(400, f"src `{src[:200]}` is not a directory.", "src", paths=(src,))
    return real


def _path(src: str) -> str:
    """Return the absolute path a `src` means, as text."""
    if not src or "\0" in src or len(os.fsencode(src)) > MAX_LENGTH:
        raise RequestError(400, f"src must be a directory's path of 1 to {MAX_LENGTH} bytes.", "src")
    try:
        path = path_of(src)
    except ElsewhereError as error:
        raise RequestError(400, f"A src of {str(error)[:20]}: is not fetched; give a local directory.", "src") from None
    except ValueError:
        raise RequestError(400, "src is not a valid URL.", "src") from None
    if "\0" in path:
        raise RequestError(400, "src must not hold a NUL byte.", "src")
    if not path.startswith("/"):
        raise RequestError(400, f"src `{src[:200]}` is not an absolute path.", "src", paths=(src,))
    # POSIX lets two leading slashes mean something else; Linux does not.
    return os.path.normpath("/" + path.lstrip("/"))
