"""What runs for as long as the container lives, and when a companion that died is started again."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
_END_WITH_PARENT = Path(__file__).with_name("end_with_parent.py")


@dataclass(frozen=True, slots=True)
class Hosting:
    """How a worker is reached that a child of ours starts in its turn."""

    pipe: Path
    """A FIFO it reports on, as it inherits no descriptor."""
    port: int
    """Of the child that starts it: only when that answers HTTP are they ready."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to run."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    companion: bool = False
    """The service goes on without it: it is not waited for, its end is not the run's, and it is started again. Every
    line it prints is for the operator."""
    hosting: Hosting | None = None


def start(child: Child, output: int, status: int | None) -> "subprocess.Popen[bytes]":
    """Start a process that writes to `output`, and reports on the descriptor `status` where it is given one.

    It gets a session of its own: ^C in a terminal reaches this process alone, which then lets the worker drain. Where
    this process is killed, those of ours have asked the kernel to end them, and for Java that is done here.
    """
    argv = child.argv
    if child.hosting:
        argv = (sys.executable, "-I", "-S", str(_END_WITH_PARENT), str(os.getpid()), *argv)
    return subprocess.Popen(
        argv,
        env=child.environment if status is None else {**child.environment, "LMI_STATUS_FD": str(status)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=() if status is None else (status,),
        start_new_session=True,
    )


class Companions:
    """Those that have died and are due to start again, later the more often it happens."""

    def __init__(self) -> None:
        self._due: list[tuple[float, Child]] = []
        self._deaths: Counter[str] = Counter()

    def died(self, child: Child) -> float:
        """Note a death; return the seconds until the next start."""
        pause = min(FIRST_PAUSE_SECONDS * (1 << min(self._deaths[child.name], 16)), LONGEST_PAUSE_SECONDS)
        self._deaths[child.name] += 1
        self._due.append((time.monotonic() + pause, child))
        return pause

    def moments(self) -> list[float]:
        """Return when starts fall due."""
        return [moment for moment, _ in self._due]

    def take_due(self) -> list[Child]:
        """Return who is to be started now, once."""
        now = time.monotonic()
        due = [child for moment, child in self._due if moment <= now]
        self._due = [(moment, child) for moment, child in self._due if moment > now]
        return due
