"""Plans the cache below the engine's own: how much RAM, how much disk, and why; arithmetic on facts, nothing else.

What is planned never takes more RAM than is available less what the engine, the system and the start need themselves.
"""

from dataclasses import dataclass, replace

from autoconfig.advice import advice, tokens
from autoconfig.disk_tier import disk_tier
from autoconfig.engine_cache import GIB, EngineCache, EngineUse, engine_cache, token_bytes
from autoconfig.host import HostFacts
from autoconfig.host_disks import DiskPlace, DiskProbe
from autoconfig.model import ModelFacts
from autoconfig.tiers import CacheWishes, gib, in_tenths, least_gib, ram_tier
from autoconfig.watermark import kept_bytes

# Judgements, to be tuned by measurement. LMCache's unit is the chunk; this many at least are in flight between the
# engine and the tiers.
CHUNK_TOKENS = 256
CHUNKS_IN_FLIGHT = 64
SMALLEST_BYTES = GIB


@dataclass(frozen=True, slots=True)
class CachePlan:
    """The tiers below the engine's cache; without any, `off` says why."""

    bytes_per_token: int
    """On the whole node, as LMCache keeps them."""
    layout: str
    engine: EngineCache
    copies: int
    chunk_tokens: int
    cpu_bytes: int = 0
    cpu_slack: float = 0.0
    """Share of it that is kept free, for what comes next."""
    disk_bytes: int = 0
    disk_slack: float = 0.0
    disk_path: str = ""
    odirect: bool | None = None
    """Whether the disk tier goes past the page cache; None is not measured."""
    headroom_bytes: int = 0
    """RAM that stays available beside the cache, for the engine and everything else."""
    off: str = ""
    cpu_reasons: tuple[str, ...] = ()
    disk_reasons: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def cpu_tokens(self) -> int:
        """Tokens the tier in RAM keeps."""
        return kept_bytes(self.cpu_bytes, self.cpu_slack) // self.bytes_per_token

    @property
    def disk_tokens(self) -> int:
        """Tokens the tier on disk keeps."""
        return kept_bytes(self.disk_bytes, self.disk_slack) // self.bytes_per_token


def plan_cache(
    wishes: CacheWishes,
    use: EngineUse,
    host: HostFacts,
    model: ModelFacts,
    probe: DiskProbe | None = None,
    place: DiskPlace | None = None,
) -> CachePlan:
    """Decide both tiers, or none; what is unknown of wishes.disk_path is None: measurements, and what is there now."""
    engine = engine_cache(use, host, model)
    plan = CachePlan(
        bytes_per_token=token_bytes(use, model),
        layout=_layout(use, model),
        engine=engine,
        copies=use.copies,
        chunk_tokens=-(-CHUNK_TOKENS // use.block_tokens) * use.block_tokens,
        headroom_bytes=host.ram_available_bytes,
    )
    if use.obstacle or engine.tokens == 0:
        return _without(plan, use.obstacle or engine.reason)
    ram = ram_tier(wishes, use, host, model)
    plan = replace(plan, cpu_reasons=ram.reasons)
    if too_small := _too_small(ram.size_bytes, wishes, plan):
        return _without(plan, too_small)
    disk = disk_tier(wishes, host, ram.size_bytes, probe, place)
    plan = replace(plan, disk_reasons=disk.reasons)
    least, why = _least(plan, use, model)
    staged: tuple[str, ...] = ()
    if ram.kept_bytes < least and not _is_decided(wishes, ram.size_bytes):
        alone = f"keeps {gib(ram.kept_bytes)}, and less than {gib(least)} {why}"
        if disk.kept_bytes < least:
            return _without(plan, f"{gib(ram.size_bytes)} of RAM is left for it, which {alone}")
        staged = (f"too little alone, as it {alone}; it stages the disk tier",)
    plan = replace(
        plan,
        cpu_bytes=ram.size_bytes,
        cpu_slack=ram.slack,
        cpu_reasons=(*ram.reasons, *ram.room, *staged),
        disk_bytes=disk.size_bytes,
        disk_slack=disk.slack,
        disk_path=wishes.disk_path if disk.size_bytes else "",
        odirect=probe.odirect if probe and disk.size_bytes else None,
        headroom_bytes=host.ram_available_bytes - ram.size_bytes,
    )
    return replace(plan, advice=tuple(advice(engine.tokens, plan.cpu_tokens, plan.disk_tokens, use.copies)))


def _without(plan: CachePlan, reason: str) -> CachePlan:
    return replace(plan, off=reason, advice=tuple(advice(plan.engine.tokens, 0, 0, plan.copies)))


def _too_small(size: int, wishes: CacheWishes, plan: CachePlan) -> str:
    """Say why so little RAM is no tier, and no stage of one either."""
    if wishes.min_cpu_bytes is not None and size < wishes.min_cpu_bytes:
        return f"{gib(size)} of RAM is left for it, and option.lmcache_min_cpu_gb asks for {gib(wishes.min_cpu_bytes)}"
    if not size:
        return "no RAM is left for it"
    chunk = plan.chunk_tokens * plan.bytes_per_token
    if size >= CHUNKS_IN_FLIGHT * chunk:
        return ""
    held = f"{tokens(size // plan.bytes_per_token)} tokens, {size // chunk} chunks of {plan.chunk_tokens}"
    least = least_gib(CHUNKS_IN_FLIGHT * chunk)
    needed = f"{CHUNKS_IN_FLIGHT} chunks, which may be on their way at once, take {least:,.1f} GiB"
    capped = wishes.max_cpu_bytes is not None and wishes.max_cpu_bytes < CHUNKS_IN_FLIGHT * chunk
    remedy = f"; set option.lmcache_max_cpu_gb={least:g} at least" if capped else ""
    return f"{gib(size)} of RAM hold {held}; {needed}{remedy}"


def _is_decided(wishes: CacheWishes, size: int) -> bool:
    """Say whether the operator's own bounds decide that a tier in RAM is worth having."""
    capped = wishes.max_cpu_bytes is not None and size >= in_tenths(wishes.max_cpu_bytes)
    return wishes.min_cpu_bytes is not None or capped


def _least(plan: CachePlan, use: EngineUse, model: ModelFacts) -> tuple[int, str]:
    """Return what a tier must keep to be worth having, and why."""
    context = use.context or model.context or 0
    engine = (plan.engine.tokens or 0) * use.copies
    return max(
        (SMALLEST_BYTES, "holds next to nothing"),
        (2 * context * plan.bytes_per_token, f"does not hold two contexts of {context} tokens"),
        (engine * plan.bytes_per_token, "is a copy of what the engine's own cache holds"),
    )


def _layout(use: EngineUse, model: ModelFacts) -> str:
    """Say in words what a token consists of."""
    kv = model.kv
    layers = f"{kv.layers + use.draft_layers} layers"
    if kv.latent_size:
        parts = [f"{layers} of {kv.latent_size} latent numbers (MLA), kept once for all ranks"]
    else:
        width = f"{use.number_bytes} byte{'s' * (use.number_bytes > 1)} a number"
        parts = [f"{layers}, {kv.kv_heads} KV heads of {kv.head_size}, {width}"]
    if not kv.latent_size and use.tensor_parallel > kv.kv_heads:
        parts.append(f"copied for tensor parallel {use.tensor_parallel}")
    if kv.indexer_bytes:
        parts.append(f"{kv.indexer_bytes} bytes a layer for the sparse-attention index")
    if kv.window_layers:
        parts.append(f"{kv.window_layers} layers see {kv.window} tokens only and are kept in full")
    if kv.linear_layers:
        parts.append(f"{kv.linear_layers} more layers keep a fixed state, not counted")
    if use.draft_layers:
        parts.append(f"{use.draft_layers} of them drafts")
    return "; ".join(parts)
