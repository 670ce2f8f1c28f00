"""A memory cgroup of a test's own, in whichever version this machine has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.timing import eventually


@dataclass(frozen=True)
class Group:
    """A memory cgroup of either version."""

    path: Path
    limit_file: str
    events_file: str
    peak_file: str

    def kills(self) -> int:
        """Return how many processes the kernel has ended for want of memory."""
        lines = (self.path / self.events_file).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def peak_bytes(self) -> int:
        return int((self.path / self.peak_file).read_text())

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What runs a command inside: a shell that joins, and becomes the command."""
        return ("sh", "-c", f'echo $$ > "{self.path}/cgroup.procs" && exec "$@"', "sh")


@contextmanager
def memory_group(limit: int) -> Iterator[Group]:
    """Make a group that may use `limit` bytes; skip the test where that cannot be done."""
    if os.geteuid() != 0:
        pytest.skip("a memory cgroup needs root")
    try:
        made = _made(limit)
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error.strerror}")
    yield made
    eventually(lambda: _removed(made), "no process is left in the group")


def _removed(group: Group) -> bool:
    with suppress(OSError):
        group.path.rmdir()
    return not group.path.exists()


def _made(limit: int) -> Group:
    """Make a group below this process's own (version 1) or below the top (version 2)."""
    name = f"lmi-test-{os.getpid()}"
    top = Path("/sys/fs/cgroup")
    if (top / "memory").is_dir():
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.split(":", 2)[2] for line in lines if "memory" in line.split(":")[1].split(","))
        inside = top / "memory" / own.lstrip("/")
        group = Group((inside if inside.is_dir() else top / "memory") / name,
                      "memory.limit_in_bytes", "memory.oom_control", "memory.max_usage_in_bytes")  # fmt: skip
    else:
        (top / "cgroup.subtree_control").write_text("+memory")
        group = Group(top / name, "memory.max", "memory.events", "memory.peak")
    group.path.mkdir()
    (group.path / group.limit_file).write_text(str(limit))
    return group
