"""One adapter under one name, as the registry keeps it and as it is told."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from autoconfig.lora.files import AdapterFiles, Signature
from autoconfig.lora.source import Roots
from handlers.adapters.weights import Weights
from handlers.errors import RequestError
from handlers.formatters.scripts import Scripts

State = Literal["registered", "loading", "loaded", "failed", "draining", "unregistered"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """What can be told of an adapter."""

    name: str
    src: str
    alias: str
    preload: bool
    pin: bool
    state: State
    reason: str = ""
    """Why it failed."""
    rank: int = 0
    """0 where its files have never been good."""
    engine_name: str = ""
    """What vLLM's metrics and log call it; empty while it is not loaded."""

    @property
    def shown(self) -> str:
        """The name its users know: SageMaker's own is opaque to them."""
        return self.alias or self.name


@dataclass(eq=False, slots=True)
class Registration:
    """One name's adapter, from when it is registered until it is removed or replaced."""

    name: str
    src: str
    alias: str
    preload: bool
    pin: bool
    roots: Roots
    files: AdapterFiles | None = None
    """As they were when last found good; None where they never were."""
    seen: Signature = ()
    """The files' signature when they were last looked at; empty where there was no directory."""
    failure: str = ""
    weights: Weights | None = None
    scripts: Scripts | None = None
    closed: bool = False
    """Removed or replaced: nobody begins to use it."""
    waiting: "list[asyncio.Future[Weights | RequestError | None]]" = field(default_factory=list)
    loading: "asyncio.Task[Weights] | None" = None

    @property
    def shown(self) -> str:
        """The name its users know."""
        return self.alias or self.name

    def same(self, other: "Registration") -> bool:
        """Tell whether another registration would change nothing: the same files, which have not failed here."""
        return not self.failure and (self.src, self.files) == (other.src, other.files)

    def told(self) -> Adapter:
        """Return what can be told of it now."""
        state: State = "loading" if self.loading else "registered"
        if self.failure:
            state = "failed"
        elif self.weights is not None and self.weights.loaded:
            state = "loaded"
        rank = self.files.rank if self.files else 0
        key = self.weights.key if self.weights is not None and state == "loaded" else ""
        return Adapter(self.name, self.src, self.alias, self.preload, self.pin, state, self.failure, rank, key)

    def refusal(self) -> RequestError:
        """Return what a caller is told while it cannot be loaded."""
        return RequestError(400, f"The adapter `{self.name[:100]}` cannot be loaded: {self.failure}.")
