"""What is known of an adapter's weights in the engine, and of how many have come and gone."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class AdapterCounts:
    """What has happened so far, for /metrics."""

    loads: int = 0
    evictions: int = 0
    """Adapters that left for others."""
    failures: int = 0


@dataclass(eq=False, slots=True)
class Weights:
    """One revision of an adapter in the engine."""

    key: str
    number: int
    name: str
    loaded: bool = False
    """False before the engine has them, and from when they begin to leave."""
    leaving: bool = False
    users: int = 0
    """Requests that need them, and whoever is about to hand them to one."""
    holders: int = 0
    """Registrations whose current weights these are; without one they leave."""
    pinned: bool = False
    yields: bool = False
    """Somebody waits for this place: nobody new is let in."""
    loaded_at: float = 0.0
    used_at: float = 0.0
    left: asyncio.Event = field(default_factory=asyncio.Event)
