"""Writes LoRA adapters as PEFT does, and stands in for the engine that would load them."""

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from autoconfig.settings import AdapterSettings, AdapterSource
from handlers.adapters.registry import Adapters
from handlers.errors import AdapterRefusedError

HIDDEN = 8
MODULE = "model.layers.{layer}.self_attn.q_proj"
_times = itertools.count(1)


def write_base(directory: Path, hidden: int = HIDDEN, layers: int = 2) -> Path:
    """Write the one matrix per layer that adapters change here."""
    directory.mkdir(parents=True, exist_ok=True)
    matrix = np.zeros((hidden, hidden), np.float16)
    names = [MODULE.format(layer=layer) + ".weight" for layer in range(layers)]
    save_file(dict.fromkeys(names, matrix), directory / "model.safetensors")
    return directory


def write_adapter(
    directory: Path, rank: int = 4, hidden: int = HIDDEN, layers: int = 2, value: float = 0, **config: Any
) -> Path:
    """Write an adapter; `value` fills its weights, `config` goes over its configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for layer in range(layers):
        name = "base_model.model." + MODULE.format(layer=layer)
        tensors[f"{name}.lora_A.weight"] = np.full((rank, hidden), value, np.float32)
        tensors[f"{name}.lora_B.weight"] = np.full((hidden, rank), value, np.float32)
    write_weights(directory, tensors)
    told = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (directory / "adapter_config.json").write_text(json.dumps(told | config))
    return directory


def write_weights(directory: Path, tensors: dict[str, Any]) -> None:
    """Write an adapter's tensors, at a time of their own: the clock of a file system is coarse."""
    file = directory / "adapter_model.safetensors"
    save_file(tensors, file)
    os.utime(file, ns=(next(_times), next(_times)))


@dataclass
class FakeLora:
    """An engine whose calls take until `step`, or no time; `held` is what it has loaded, by number."""

    refuse: Callable[[str], BaseException | None] = lambda _directory: None
    by_hand: bool = False
    held: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    most_held: int = 0
    loading: bool = False
    pending: "list[asyncio.Future[None]]" = field(default_factory=list)

    async def load_adapter(self, key: str, number: int, directory: str) -> None:
        assert key not in [held for held, _ in self.held.values()]
        assert not self.loading, "one load at a time"
        self.loading = True
        self.held[number] = (key, b"")
        self.most_held = max(self.most_held, len(self.held))
        await self._call("load", number)
        self.loading = False
        error = self.refuse(directory)
        if error is None:
            try:
                self.held[number] = (key, _weights(directory))
                return
            except OSError as missing:
                error = AdapterRefusedError(str(missing))
        del self.held[number]
        raise error

    async def unload_adapter(self, key: str, number: int) -> None:
        await self._call("unload", number)
        assert self.held.pop(number, (key, b""))[0] == key

    def step(self) -> None:
        """Let the oldest call in progress end: an engine takes them in turn."""
        self.pending.pop(0).set_result(None)

    @property
    def keys(self) -> set[str]:
        return {key for key, _ in self.held.values()}

    def count(self, what: str) -> int:
        return sum(call == what for call, _ in self.calls)

    async def _call(self, what: str, number: int) -> None:
        self.calls.append((what, number))
        if self.by_hand:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.pending.append(turn)
            await turn


def _weights(directory: str) -> bytes:
    return Path(directory, "adapter_model.safetensors").read_bytes()


def registry(
    engine: FakeLora,
    root: Path,
    slots: int = 2,
    cpu_slots: int = 2,
    sources: Sequence[AdapterSource] = (),
) -> Adapters:
    """Return a registry over an engine, whose adapters may lie below `root`."""
    settings = AdapterSettings(slots, cpu_slots, 16, (str(root),), tuple(sources))
    return Adapters(settings, engine, ("tiny",), root / "base")
