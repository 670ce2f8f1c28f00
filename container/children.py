"""What runs for as long as the container lives, and when a companion that died is started again."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Child:
    """One process to run."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    companion: bool = False
    """The service goes on without it: it is not waited for, its end is not the run's, and it is started again. Every
    line it prints is for the operator."""


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
