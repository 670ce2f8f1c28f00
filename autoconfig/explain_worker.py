"""Shows what the worker is told beside its engine's arguments: adapters, sessions, and the model's own script."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from autoconfig.adapters import PlannedAdapter
from autoconfig.settings import AdapterSettings, WorkerPlan


def adapter_rows(settings: AdapterSettings, adapters: Iterable[PlannedAdapter]) -> Iterator[list[str]]:
    """Yield how many are held, where more may come from, and each that is known from the start."""
    yield ["in a batch", str(settings.slots), f"of rank {settings.max_rank} at most"]
    yield ["in RAM", str(settings.cpu_slots), "others are read again when a request names them"]
    yield ["over HTTP", "", f"from {', '.join(settings.roots)}"]
    for one in adapters:
        rank = f"rank {one.rank}" if one.rank else ""
        script = f"; its model.py: {one.script}" if one.script else ""
        yield [one.source.name, rank, f"{_state(one)}: {one.source.src}{script}"]


def _state(one: PlannedAdapter) -> str:
    if one.problem:
        return f"fails, as {one.problem}"
    if one.source.pin:
        return "loaded at the start, and stays"
    return "loaded at the start" if one.source.preload else "loaded on its first request"


def worker_rows(plan: WorkerPlan) -> Iterator[list[str]]:
    """Yield the session's and the script's lines."""
    if plan.sessions:
        life = f"{plan.sessions.expiration_seconds:g} s" + (" from each use" if plan.sessions.sliding else "")
        yield ["sessions", f"{plan.sessions.directory}: {plan.sessions.limit} at most, for {life}"]
    if plan.script:
        yield ["script", f"{plan.script}: run once, in the worker"]


def worker_document(plan: WorkerPlan, adapters: Iterable[PlannedAdapter]) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    known = [
        {
            **asdict(one.source),
            "rank": one.rank,
            "state": _state(one),
            "origin": one.named_by or "found",
            "problem": one.problem,
            "script": list(one.script.functions) if one.script else None,
        }
        for one in adapters
    ]
    return {
        "adapters": asdict(plan.adapters) | {"sources": known} if plan.adapters else None,
        "sessions": asdict(plan.sessions) if plan.sessions else None,
        "script": plan.script,
    }
