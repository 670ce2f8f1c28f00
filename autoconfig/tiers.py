"""Sizes the tier in RAM below the engine's cache: what is available, less what others need, cut by every cap."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor

from autoconfig.advice import tokens
from autoconfig.engine_cache import GIB, EngineUse, prompt_bytes, token_bytes
from autoconfig.host import HostFacts
from autoconfig.model import ModelFacts
from autoconfig.values import Value
from autoconfig.watermark import brought_bytes, kept_bytes, slack

MIB = 1 << 20
# LMI's, which is on the instance store of a SageMaker instance that has one.
DISK_PATH = "/tmp"
# Judgements, to be tuned by measurement. RAM: for the system, and for each of the engine's processes.
SYSTEM_BYTES, SYSTEM_SHARE = 4 * GIB, 0.05
PROCESS_BYTES = 2 * GIB
# LMCache's server beside what it keeps: it imports torch as well.
SERVER_BYTES = GIB
MOST_OF_RAM = 0.8
# A release's usual largest file, where it cannot be seen: what a rank holds of the weights while it loads them.
USUAL_FILE_BYTES = 5 * GIB


@dataclass(frozen=True, slots=True)
class CacheWishes:
    """What the operator says about the tiers, where he does not leave it to us."""

    min_cpu_bytes: int | None = None
    max_cpu_bytes: int | None = None
    max_disk_bytes: int | None = None
    force_disk: bool = False
    disk_path: str = DISK_PATH

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> "CacheWishes":
        """Read them from the resolved options."""
        said = {name: value.value for name, value in values.items() if value.value is not None}

        def size(name: str) -> int | None:
            return floor(said[name] * GIB) if name in said else None

        return cls(
            size("lmcache_min_cpu_gb"),
            size("lmcache_max_cpu_gb"),
            size("lmcache_max_disk_gb"),
            said.get("lmcache_force_disk", False),
            said.get("lmcache_disk_path", DISK_PATH),
        )


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier comes to: 0 bytes where there is none, and everything that decided it."""

    size_bytes: int
    reasons: tuple[str, ...]
    """What decided the size."""
    room: tuple[str, ...] = ()
    """What of it stays free, and for what that is too little."""
    slack: float = 0.0
    """Share of it that is kept free, for what comes next."""

    @property
    def kept_bytes(self) -> int:
        """Return what stays in it: LMCache evicts above that."""
        return kept_bytes(self.size_bytes, self.slack)


def ram_tier(wishes: CacheWishes, use: EngineUse, host: HostFacts, model: ModelFacts) -> Tier:
    """Take what everything else leaves of the available RAM, cut by each cap in turn."""
    available = host.ram_available_bytes
    needs = dict(_needs(use, host, model))
    bound = f" ({host.ram_bound_by})" if host.ram_bound_by else ""
    listed = ", ".join(f"{gib(size)} {what}" for what, size in needs.items())
    reasons = [f"{gib(available)} of {gib(host.ram_total_bytes)} available{bound}, less {listed}"]
    size = max(0, available - sum(needs.values()))
    for cap, why in _ram_caps(wishes, host):
        if cap < size:
            size = cap
            reasons.append(f"cut to {gib(cap)}: {why}")
    if host.gpus and host.memlock_bytes is not None and host.memlock_bytes < size:
        reasons.append(
            f"RLIMIT_MEMLOCK is {gib(host.memlock_bytes)}: no cap, as LMCache pins through CUDA (not measured)"
        )
    if not (size := in_tenths(size)):
        return Tier(0, tuple(reasons))
    longest = prompt_bytes(use, host, model)
    free = slack(size, max(brought_bytes(on_gpus=bool(host.gpus)), longest))
    room = [f"{free:.0%} of it stay free, so that what comes at once finds room"]
    if int(size * free) < longest:
        most = tokens(int(size * free) // token_bytes(use, model))
        room.append(f"a prompt of more than {most} tokens finds no room once it is full, and is not kept then")
    return Tier(size, tuple(reasons), tuple(room), free)


def _needs(use: EngineUse, host: HostFacts, model: ModelFacts) -> Iterator[tuple[str, int]]:
    """Yield what else needs RAM: mapped pages of the weights' files are given back, and are not counted on a GPU."""
    yield "for the system", max(SYSTEM_BYTES, floor(SYSTEM_SHARE * host.ram_total_bytes))
    yield f"for {use.ranks} process{'es' * (use.ranks > 1)}", PROCESS_BYTES * use.ranks
    yield "for LMCache's server", SERVER_BYTES
    if use.adapters:
        yield _adapters(use, model)
    largest = model.largest_file_bytes or min(USUAL_FILE_BYTES, model.weight_bytes or USUAL_FILE_BYTES)
    if host.gpus:
        yield "to load the weights", largest * use.ranks
        return
    yield "of weights", (model.weight_bytes or USUAL_FILE_BYTES) * use.weight_width * use.copies
    yield "to load them", largest
    yield "of the engine's cache", (use.kv_space_bytes or 0) * use.ranks


def _adapters(use: EngineUse, model: ModelFacts) -> tuple[str, int]:
    """Return what LoRA adapters take at most: every rank keeps all of each."""
    what = f"for {use.adapters} LoRA adapters of rank {use.adapter_rank}"
    if model.adapter_numbers is None:
        return f"{what}, whose size is not known", 0
    each = 2 * use.weight_width * use.adapter_rank * model.adapter_numbers
    return f"{what} at most", each * use.adapters * use.ranks


def _ram_caps(wishes: CacheWishes, host: HostFacts) -> Iterator[tuple[int, str]]:
    yield floor(MOST_OF_RAM * host.ram_available_bytes), f"{MOST_OF_RAM:.0%} of what is available at most"
    if wishes.max_cpu_bytes is not None:
        yield wishes.max_cpu_bytes, "option.lmcache_max_cpu_gb"


def in_tenths(size: int) -> int:
    """Round down to a tenth of a GiB; never to whole ones, which would make a small cache none."""
    # One more, because a tenth of a GiB is no whole number of bytes: 44.8 GiB are to stay 44.8.
    return min(size, (size + 1) * 10 // GIB * GIB // 10)


def least_gib(size: int) -> float:
    """Return a size in GiB as it is to be asked for: up to a tenth."""
    return ceil(size * 10 / GIB) / 10


def gib(size: int) -> str:
    """Write a size as an operator reads it, never as more than it is."""
    # One more: a tier of 142.4 GiB is whole bytes, and so a fraction of one below.
    tenths = (size + 1) * 10
    return f"{tenths // GIB / 10:,.1f} GiB" if tenths >= GIB else f"{tenths // MIB / 10:.1f} MiB"
