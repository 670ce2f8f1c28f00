"""Gathers what a start of DJL Serving depends on beside the worker's own plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoconfig.host import HostFacts
from autoconfig.resolve import Resolution
from autoconfig.values import as_text
from container.frontends.djl_home import DjlServing, find
from container.places import runs_code

MIB = 1 << 20
LEAST_HEAP, MOST_HEAP = 128 * MIB, 2048 * MIB
SHARE_OF_MEMORY = 16
"""Java's heap is that part of the memory there is. DJL Serving was seen to hold 120 MB idle, 300 MB after 14,000
requests and 135 MB where it was given no more."""
ENGINE = Path("handlers", "djl_engine", "launch")


@dataclass(frozen=True, slots=True)
class DjlStart:
    """Where DJL Serving is, and what it is to obey."""

    serving: DjlServing
    engine: Path
    """The program that is its Python engine."""
    run_directory: Path
    seconds: float
    """What the whole start may take."""
    log_level: str
    native: bool
    """Java can load Netty's library, from beside the jars, where the image has it, or out of the run directory."""
    memory_bytes: int
    """What this container may still take."""
    given: Mapping[str, str]
    """Keys and variables of DJL Serving's own that the operator gave, by their option's name."""

    @classmethod
    def of(
        cls, resolution: Resolution, environ: Mapping[str, str], host: HostFacts, run_directory: Path, root: Path
    ) -> "DjlStart | None":
        """Return what is configured; None where DJL Serving is not to be in front."""
        settings = resolution.settings
        if settings.frontend != "djl":
            return None
        serving = find(environ)
        given = (value for value in resolution.values.values() if value.option.in_front and value.given)
        return cls(
            serving,
            root / ENGINE,
            run_directory,
            settings.model_loading_timeout_seconds,
            settings.log_level,
            (serving.home / "native").is_dir() or runs_code(run_directory),
            host.ram_available_bytes,
            {value.option.name: as_text(value.value) for value in given},
        )

    @property
    def directory(self) -> Path:
        """Return where all of DJL Serving's files are."""
        return self.run_directory / "djl"

    @property
    def heap_bytes(self) -> int:
        """Return how far Java's heap may grow; its buffers outside of it may take as much again."""
        return min(max(self.memory_bytes // SHARE_OF_MEMORY, LEAST_HEAP), MOST_HEAP) // MIB * MIB
