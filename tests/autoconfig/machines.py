"""Writes machines as folders, for what looks at one."""

from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
MEMINFO = "MemTotal:       32768 kB\nMemFree: 1 kB\nMemAvailable:   16384 kB\nHugePages_Total:  0\n"


def machine(root: Path, **files: str) -> Path:
    """Write a machine's files; `__` in a name stands for a slash."""
    return written(root, {name.replace("__", "/"): text for name, text in files.items()})


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root
