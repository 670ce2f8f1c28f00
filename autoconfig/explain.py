"""Shows what was decided, where each value came from and what it overruled; as text or JSON, secrets masked."""

import json
from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Any

from autoconfig.explain_cache import cache_document, cache_rows
from autoconfig.explain_launch import launch_document, launch_rows, yaml_lines
from autoconfig.explain_worker import adapter_rows, worker_document, worker_rows
from autoconfig.launch import WorkerLaunch
from autoconfig.lmcache.launch import CacheLaunch
from autoconfig.masking import masked
from autoconfig.options import OUR_GROUPS
from autoconfig.plan import CachePlan
from autoconfig.resolve import Resolution
from autoconfig.sources import Given
from autoconfig.values import Value, as_text


def render(
    resolution: Resolution,
    launch: WorkerLaunch,
    cache: CachePlan | None = None,
    lmcache: CacheLaunch | None = None,
    *,
    as_json: bool = False,
) -> str:
    """Return the whole decision, as a page to read or as one JSON object.

    `cache` is known where the model is, and `lmcache` where a cache was asked for and is possible.
    """
    if not as_json:
        return "\n".join(_page(resolution, launch, cache, lmcache))
    planned = {"kv_cache": cache_document(cache)} if cache else {}
    started = {"lmcache": launch_document(lmcache)} if lmcache else {}
    return json.dumps(_document(resolution, launch) | planned | started, indent=2)


def _document(resolution: Resolution, launch: WorkerLaunch) -> dict[str, Any]:
    return {
        "values": {name: _entry(value) for name, value in sorted(resolution.values.items())},
        "custom": masked(dict(resolution.custom)),
        "model": {"loaded": masked(launch.plan.model), "names": list(launch.plan.model_names)},
        **worker_document(launch.plan, resolution.adapters),
        "engine_arguments": masked(_joined(launch.plan.engine_arguments)),
        "environment": {
            addition.name: {"value": masked(addition.value, addition.name), "reason": addition.reason}
            for addition in launch.additions
        },
        "inherited": _inherited(launch),
        "notes": list(resolution.notes),
    }


def _entry(value: Value) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "value": value.shown,
        "origin": str(value.origin),
        "layer": value.origin.layer.name.lower(),
    }
    if value.reason:
        entry["reason"] = value.reason
    if value.shadowed:
        entry["shadows"] = [{"value": one.shown, "origin": str(one.origin)} for one in value.shadowed]
    return entry


def _page(
    resolution: Resolution, launch: WorkerLaunch, cache: CachePlan | None, lmcache: CacheLaunch | None
) -> Iterator[str]:
    for title, rows in _decided(resolution, launch):
        yield title
        yield from aligned(rows)
        yield ""
    if cache:
        yield "KV cache"
        yield from aligned(cache_rows(cache, lmcache))
        yield ""
    if lmcache:
        yield from _lmcache(lmcache)
    yield "Engine arguments"
    yield from (f"  {token}" for token in masked(_joined(launch.plan.engine_arguments)))
    yield ""
    yield "Environment of the engine's process"
    yield from aligned(
        [f"{addition.name}={masked(addition.value, addition.name)}", addition.reason] for addition in launch.additions
    )
    if inherited := ", ".join(_inherited(launch)):
        yield from wrap(f"and as it is here: {inherited}", 110, initial_indent="  ", subsequent_indent="  ")
    if resolution.notes:
        yield ""
        yield "Notes"
        yield from (f"  {note}" for note in resolution.notes)


def _decided(resolution: Resolution, launch: WorkerLaunch) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield the tables of the options and of what the worker is told, each with its title."""
    for group, values in _grouped(resolution.values.values()):
        yield group, [_row(value) for value in values]
    if custom := resolution.custom:
        yield (
            "For your own handler",
            [[f"option.custom.{name}", as_text(masked(text, name))] for name, text in custom.items()],
        )
    if launch.plan.adapters:
        yield "Adapters", list(adapter_rows(launch.plan.adapters, resolution.adapters))
    if rows := list(worker_rows(launch.plan)):
        yield "Worker", rows


def _lmcache(lmcache: CacheLaunch) -> Iterator[str]:
    yield "LMCache"
    yield from aligned(launch_rows(lmcache))
    yield ""
    yield lmcache.yaml_file
    yield from (f"  {line}" for line in yaml_lines(lmcache))
    yield ""


def _inherited(launch: WorkerLaunch) -> list[str]:
    """Name the variables the worker gets as this container has them."""
    return sorted(set(launch.environment) - {addition.name for addition in launch.additions})


def _grouped(values: Iterable[Value]) -> Iterator[tuple[str, list[Value]]]:
    """Our own groups first, in the table's order; then what was given of vLLM's and of what has no effect."""
    titles: dict[str, list[Value]] = {}
    for value in values:
        own = value.option.group in OUR_GROUPS
        title = value.option.group if own else "Without effect" if value.option.note else "vLLM"
        titles.setdefault(title, []).append(value)
    yield from titles.items()


def _row(value: Value) -> list[str]:
    text, origin = as_text(value.shown), str(value.origin)
    if value.value is None:
        text = "-" if value.option.engine_default is None else as_text(value.option.engine_default)
        origin = "vLLM's default" if value.option.engine else "default"
    if value.reason:
        origin += f": {value.reason}"
    if value.shadowed:
        origin += f"; shadows {_overruled(value.shadowed)}"
    return [value.option.label, text, origin]


def _overruled(shadowed: Iterable[Given]) -> str:
    return ", ".join(f"{one.shown} ({one.origin})" for one in shadowed)


def _joined(tokens: Iterable[str]) -> list[str]:
    """`--served-model-name`, `a`, `b` -> `--served-model-name a b`: one argument an entry."""
    arguments: list[str] = []
    for token in tokens:
        if token.startswith("--") or not arguments:
            arguments.append(token)
        else:
            arguments[-1] += f" {token}"
    return arguments


def aligned(rows: Iterable[list[str]]) -> list[str]:
    """Set every column but the last to its widest cell; a very long one stands out instead of moving all others."""
    table = [[cell.replace("\n", " ") for cell in row] for row in rows]
    columns = list(zip(*table, strict=True))[:-1]
    widths = [max((len(cell) for cell in column if len(cell) <= 40), default=0) for column in columns]
    return ["  " + "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]) for row in table]
