"""The figures of both servers, turn by turn, into one Markdown table for each phase."""

from dataclasses import dataclass
from statistics import median

from benchmarks.adapters.phases import Figures
from benchmarks.stats import ratio

TITLES = {
    "first": "First requests: medians, and ours over plain",
    "mix": "Mixed traffic: medians, and ours over plain",
    "registrations": "Making adapters known",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One phase, measured in one turn of one server."""

    phase: str
    turn: int
    """The turn of the other server it is compared with."""
    server: str
    figures: Figures


def markdown(described: dict[str, str], measured: list[Measured], ours: str, theirs: str) -> str:
    """Show each phase's figures of both servers, and their ratio over the pairs with its 95 % interval."""
    lines = []
    for phase, title in TITLES.items():
        found = {(one.turn, one.server): one.figures for one in measured if one.phase == phase}
        turns = [turn for turn, server in found if server == ours and (turn, theirs) in found]
        if not turns:
            continue
        lines += [f"{title} ({len(turns)} turns)", "", f"| | {ours} | {theirs} | ratio |", "|---|---|---|---|"]
        for name in found[turns[0], ours]:
            a, b = ([found[turn, server][name] for turn in turns] for server in (ours, theirs))
            lines.append(f"| {name.replace('_', ' ')} | {_median(a)} | {_median(b)} | {_ratio(a, b)} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {name}: {text}" for name, text in described.items()), ""])


def _median(values: list[float | None]) -> str:
    told = [value for value in values if value is not None]
    return f"{median(told):.3g}" if told else "-"


def _ratio(ours: list[float | None], theirs: list[float | None]) -> str:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a and b and a > 0 and b > 0]
    return str(ratio([a for a, _ in pairs], [b for _, b in pairs])) if len(pairs) == len(ours) else "-"
