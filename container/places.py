"""Where a start keeps its files: those of one run, and those that the next one finds again."""

import os
from collections.abc import Mapping
from pathlib import Path


def run_directory(environ: Mapping[str, str], port: int) -> Path:
    """Return where the files of a run are, named after user and port so that two runs do not meet."""
    given = environ.get("LMI_RUN_DIR")
    return Path(given) if given else _temporary(environ) / f"lmi-{os.geteuid()}-{port}"


def cache_directory(environ: Mapping[str, str], run: Path) -> Path:
    """Return what survives this start, or a part of the run directory where nothing can be written (read-only root)."""
    if given := environ.get("LMI_CACHE_DIR"):
        return Path(given)
    candidates = [Path(given) for given in (environ.get("XDG_CACHE_HOME"),) if given]
    if has_home(environ):
        candidates.append(Path(environ["HOME"]) / ".cache")
    return next((place / "lmi" for place in candidates if _can_be_written(place)), run / "cache")


def has_home(environ: Mapping[str, str]) -> bool:
    """Tell whether caches may go where they usually are."""
    return bool(environ.get("HOME")) and _can_be_written(Path(environ["HOME"]) / ".cache")


def runs_code(place: Path) -> bool:
    """Tell whether programs and libraries that are put there can be run: it is not mounted noexec."""
    return not os.statvfs(_existing(place)).f_flag & os.ST_NOEXEC


def _can_be_written(place: Path) -> bool:
    existing = _existing(place)
    return place.is_absolute() and existing.is_dir() and os.access(existing, os.W_OK)


def _existing(place: Path) -> Path:
    # Not exists(), which raises for what lies in another user's private directory: HOME=/root for a uid without a home.
    return next(parent for parent in (place, *place.parents) if os.access(parent, os.F_OK))


def _temporary(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("TMPDIR") or "/tmp")
