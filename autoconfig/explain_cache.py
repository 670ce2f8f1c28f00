"""Shows a CachePlan: what a token takes, what the engine holds, and what the tiers below it would."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from autoconfig.advice import advice, tokens
from autoconfig.lmcache.launch import CacheLaunch
from autoconfig.masking import masked
from autoconfig.plan import CachePlan
from autoconfig.tiers import gib

ASKED = "option.lmcache_auto_config=true"
CHUNK = "tokens that are kept and found together"


def cache_rows(plan: CachePlan, launch: CacheLaunch | None = None) -> Iterator[list[str]]:
    """Yield label, figure and reason; a reason on a row of its own belongs to the one above.

    `launch` is what was asked for; a user's own YAML decides the tiers, and the plan only what a token takes.
    """
    yield ["a token", f"{plan.bytes_per_token / 1024:.4g} KiB", plan.layout]
    yield ["the engine's own cache", *_engine(plan)]
    if launch and launch.config.origin:
        yield from _described(plan, launch)
        return
    if plan.off:
        yield ["tiers below it", "none", plan.off]
    else:
        asked = "" if launch else f", with {ASKED}"
        held = f"keeps {tokens(plan.cpu_tokens)} tokens{asked}; {gib(plan.headroom_bytes)} stay available"
        yield ["RAM tier", gib(plan.cpu_bytes), held]
    yield from (["", "", reason] for reason in plan.cpu_reasons)
    disk_reasons = plan.disk_reasons
    if plan.disk_bytes:
        held = f"keeps {tokens(plan.disk_tokens)} tokens in {plan.disk_path}"
        yield ["disk tier", gib(plan.disk_bytes), held]
    elif disk_reasons:
        yield ["disk tier", "none", disk_reasons[0]]
        disk_reasons = disk_reasons[1:]
    yield from (["", "", reason] for reason in disk_reasons)
    if not plan.off:
        yield ["chunk", str(plan.chunk_tokens), CHUNK]
    yield from _advice(plan.advice)


def _advice(lines: Iterable[str]) -> Iterator[list[str]]:
    yield from (["" if number else "when it pays", "", line] for number, line in enumerate(lines))


def _described(plan: CachePlan, launch: CacheLaunch) -> Iterator[list[str]]:
    config = launch.config
    in_ram, on_disk = (kept // plan.bytes_per_token for kept in launch.kept_bytes)
    says = f"as {config.origin} says"
    keeps = f"keeps {tokens(in_ram)} tokens" if config.local_cpu else "passes through, and keeps nothing"
    yield ["RAM tier", gib(launch.cpu_bytes), f"{keeps}, {says}"]
    if launch.disk_bytes:
        yield ["disk tier", gib(launch.disk_bytes), f"keeps {tokens(on_disk)} tokens, {says}"]
    if config.remote_url:
        yield ["remote tier", "", f"{masked(config.remote_url)}, which others may share"]
    yield ["chunk", str(config.chunk_size), CHUNK]
    yield from _advice(advice(plan.engine.tokens, in_ram, on_disk, plan.copies, remote=bool(config.remote_url)))


def _engine(plan: CachePlan) -> tuple[str, str]:
    if plan.engine.tokens is None:
        return "unknown", plan.engine.reason
    copies = f" x {plan.copies}" if plan.copies > 1 else ""
    return f"{tokens(plan.engine.tokens)} tokens{copies}", plan.engine.reason


def cache_document(plan: CachePlan) -> dict[str, Any]:
    """Return the plan as plain JSON values, with the tokens each tier holds."""
    return {"asked_with": ASKED, **asdict(plan), "cpu_tokens": plan.cpu_tokens, "disk_tokens": plan.disk_tokens}
