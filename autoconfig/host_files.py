"""Reads the kernel's small text files below a root: one that cannot be read says nothing, as an absent one does."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MountLine:
    """One line of /proc/self/mountinfo."""

    path: str
    filesystem: str
    origin: str
    """The part of the file system that is mounted."""
    source: str
    options: tuple[str, ...]


# Where the cgroups are, if /proc does not say: version 2, and version 1's memory controller.
_USUAL_CGROUPS = (
    MountLine("/sys/fs/cgroup", "cgroup2", "/", "cgroup2", ()),
    MountLine("/sys/fs/cgroup/memory", "cgroup", "/", "cgroup", ("memory",)),
)


def text_of(path: Path) -> str:
    """Return a file's text, empty where it cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def mounts_below(root: Path) -> tuple[MountLine, ...]:
    """Return what is mounted, in the order of mounting; only the usual cgroups where /proc does not say."""
    return tuple(_parsed(text_of(root / "proc/self/mountinfo"))) or _USUAL_CGROUPS


def _parsed(mountinfo: str) -> Iterator[MountLine]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) >= 6 and len(rest) >= 2:
            options = (*fields[5].split(","), *(rest[2].split(",") if len(rest) > 2 else ()))
            yield MountLine(_unescaped(fields[4]), rest[0], _unescaped(fields[3]), _unescaped(rest[1]), options)


def _unescaped(path: str) -> str:
    """Undo how the kernel writes a space in a path: a backslash and 040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def kernel_list(text: str) -> frozenset[int]:
    """`0-1,4` -> {0, 1, 4}."""
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
