"""Keeps every figure of a comparison as JSON and shows the ratios as a Markdown table, with what they came from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cells import Cell
from benchmarks.stats import Figures, ratio

HEADINGS = {
    "ttft_p50_ms": "TTFT p50",
    "ttft_p99_ms": "TTFT p99",
    "itl_mean_ms": "inter-token mean",
    "itl_p99_ms": "inter-token p99",
    "tokens_per_second": "tokens/s",
    "front_end_cpu_ms": "front-end CPU per request",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One cell, measured in one turn of one server."""

    pair: int
    """The turn of the other server it is compared with."""
    server: str
    cell: Cell
    figures: Figures


def save(path: Path, described: dict[str, str], measured: Sequence[Any]) -> None:
    """Write every figure taken so far; `measured` are dataclasses, of this comparison or another."""
    path.write_text(json.dumps({"run": described, "measured": [asdict(one) for one in measured]}, indent=1) + "\n")


def markdown(described: dict[str, str], measured: list[Measured], ours: str, theirs: str) -> str:
    """Show each cell's ratios of `ours` to `theirs` over the complete pairs, mean [95 % interval]."""
    columns = [field.name for field in fields(Figures)]
    head = [
        "client",
        "answer",
        "at once",
        "pairs",
        *(HEADINGS[name] for name in columns),
        f"{theirs}: TTFT p50",
        "tokens/s",
    ]
    lines = [f"{ours} / {theirs}", "", _row(head), _row(["---"] * len(head))]
    for cell in dict.fromkeys(one.cell for one in measured):
        found = {(one.pair, one.server): one.figures for one in measured if one.cell == cell}
        pairs = [pair for pair, server in found if server == ours and (pair, theirs) in found]
        a, b = ([found[pair, server] for pair in pairs] for server in (ours, theirs))
        name = [cell.client, "stream" if cell.stream else "whole", str(cell.concurrency), str(len(pairs))]
        absolute = [f"{median(f.ttft_p50_ms for f in b):.1f} ms", f"{median(f.tokens_per_second for f in b):.0f}"]
        lines.append(_row([*name, *(_ratio(a, b, column) for column in columns), *absolute]))
    return "\n".join([*lines, "", *(f"- {name}: {text}" for name, text in described.items()), ""])


def _ratio(ours: list[Figures], theirs: list[Figures], name: str) -> str:
    pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(ours, theirs, strict=True)]
    if not all(a and b for a, b in pairs):
        return "-"
    return str(ratio([a for a, _ in pairs], [b for _, b in pairs]))


def _row(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"
