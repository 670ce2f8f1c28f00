"""The one value that a front end is planned as, and what it is planned from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autoconfig.settings import WorkerPlan
from container.children import Child, Hosting


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker a front end is for."""

    plan: WorkerPlan
    environment: Mapping[str, str]
    """Complete, with the places it imports from."""
    file: Path
    """Where it reads its plan."""

    @classmethod
    def importing(
        cls, places: tuple[Path, ...], plan: WorkerPlan, environment: Mapping[str, str], file: Path
    ) -> "Worker":
        """Put this repository and the user's packages where the worker imports from."""
        path = [*map(str, places), *([environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else [])]
        return cls(plan, {**environment, "PYTHONPATH": os.pathsep.join(path)}, file)


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What is started for the application to answer, and what is written before."""

    name: str
    description: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    """Complete."""
    files: Mapping[Path, str] = field(default_factory=dict)
    """What the start writes, by its absolute path."""
    directories: tuple[Path, ...] = ()
    """What the start makes, empty."""
    hosting: Hosting | None = None
    """Where the worker is a child of what is started."""
    note: str = ""
    """What an operator should know before it is started, in one line; empty where there is nothing."""
    problem: str = ""
    """Why it cannot be started here, in one line; empty where it can."""

    @property
    def child(self) -> Child:
        """Return it as what the supervisor runs."""
        return Child("engine", self.argv, self.environment, hosting=self.hosting)
