"""The two files through which start-up, the cache server's watcher and the engine's process know of one another."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoconfig.settings import CacheStatus
from container.files import write_atomically

TELL_FD = "LMI_TELL_FD"
"""The variable that says on which descriptor the server's process finds the operator."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to start the server, and what its tiers then hold."""

    argv: tuple[str, ...]
    cpu_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class CacheTask:
    """What the watcher is told, in cache-launch.json: a server to start, to watch, and to clean up after."""

    attempts: tuple[Attempt, ...]
    """The first is what was planned; each further one asks for less, and is for a first start that fails."""
    environment: dict[str, str]
    ports: tuple[int, int]
    """Where it listens, on loopback: the first answers GET /healthcheck, the second the engine's messages."""
    status_file: str
    log_file: str
    start_seconds: float
    """How long one attempt may take: LMCache's imports alone take 20-30 s on two cores."""
    check_seconds: float = 2.0
    """Between two questions whether it is well, and the time it has to answer one."""
    settle_seconds: float = 5.0
    """Two heartbeats of the engine's connector and more, before a server that was up is started again: the connector
    does not notice one that is back sooner, and waits for blocks it has never seen (LMCache issue 4642)."""
    shared_memory: str = ""
    """The file below /dev/shm that it leaves behind when it is killed."""
    disk_directory: str = ""
    marker: str = ""
    """The file that says that disk_directory's parent is ours to empty."""

    def to_json(self) -> str:
        """Return the file's content."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def read(cls, file: Path) -> "CacheTask":
        """Read what to_json wrote."""
        given: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        attempts = [Attempt(**{**one, "argv": tuple(one["argv"])}) for one in given.pop("attempts")]
        return cls(tuple(attempts), ports=tuple(given.pop("ports")), **given)


def write_status(file: Path, status: CacheStatus) -> None:
    """Tell whoever reads the status file; OSError when the disk is full."""
    write_atomically(file, json.dumps(asdict(status)))
