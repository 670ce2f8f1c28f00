"""Writes the results as tables, for the console and for the page alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.long_doc_qa.arms import Arm
from benchmarks.long_doc_qa.figures import PHASES, RoundFigures, Spread
from benchmarks.long_doc_qa.results import ROUNDS, Results


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Align the columns with spaces."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in self.rows]
        head = "  ".join(cell.ljust(width) for cell, width in zip(self.head, widths, strict=True))
        return "\n".join([self.title, head.rstrip(), *(line.rstrip() for line in lines)])


def tables(results: Results) -> list[Table]:
    """Return every table that has something to show."""
    shown = [_round_table(results, name) for name in ROUNDS]
    if len(results.arms) > 1:
        shown.append(_ratio_table(results))
    return [*shown, _phase_table(results)]


def _round_table(results: Results, name: str) -> Table:
    columns: dict[str, tuple[Callable[[RoundFigures], float | None], str]] = {
        "TTFT mean (s)": (lambda one: one.ttft_mean, ".3f"),
        "p50": (lambda one: one.ttft_p50, ".3f"),
        "p90": (lambda one: one.ttft_p90, ".3f"),
        "p99": (lambda one: one.ttft_p99, ".3f"),
        "round (s)": (lambda one: one.seconds, ".1f"),
        "output tok/s": (lambda one: one.output_tokens_per_second, ".0f"),
        "prompt tok/s": (lambda one: one.prompt_tokens_per_second, ".0f"),
        "hits (usage)": (lambda one: one.hit_rate, ".1%"),
        "hits (/metrics)": (lambda one: one.hit_rate_metrics, ".1%"),
        "the engine's own": (lambda one: one.own_hit_rate, ".1%"),
        "failed": (lambda one: one.failures, ".0f"),
    }
    rows = [
        [arm.title, *(_text(results.figure(arm, name, get), form) for get, form in columns.values())]
        for arm in results.arms
    ]
    return Table(f"{name} round", ["arm", *columns], rows)


def _ratio_table(results: Results) -> Table:
    head = ["arm", "TTFT", "announced", "round", "announced", "TTFT / floor's", "round / floor's", "answers"]
    floor = next((arm for arm in results.arms if arm.name == "floor"), None)
    rows = [_ratio_row(results, arm, floor) for arm in results.arms[1:]]
    return Table(f"query round, times faster than {results.baseline.title}", head, rows)


def _ratio_row(results: Results, arm: Arm, floor: Arm | None) -> list[str]:
    ttft, seconds = (results.faster(arm, results.baseline, get) for get in (_ttft, _seconds))
    comparable = arm.announced if results.baseline.name == "none" else None
    announced = [f"{ratio:.2f}x" for ratio in comparable] if comparable else ["-", "-"]
    above = [_text(results.faster(floor, arm, get)) if floor else "-" for get in (_ttft, _seconds)]
    found = results.comparison(arm)
    equal = f"{found.same} equal, {found.near_ties} near ties, {len(found.different)} different"
    return [arm.title, _text(ttft), announced[0], _text(seconds), announced[1], *above, equal]


def _phase_table(results: Results) -> Table:
    """Show where a request of the query round spends its time; the front end's share is what vLLM's clock leaves."""
    rows = [
        [arm.title, *(_text(results.figure(arm, "query", _phase(at)), ".3f") for at in range(len(PHASES)))]
        for arm in results.arms
    ]
    title = "query round, a request's mean seconds by vLLM's clock (queue: with the wait for LMCache)"
    return Table(title, ["arm", *PHASES], rows)


def _phase(position: int) -> Callable[[RoundFigures], float | None]:
    return lambda one: one.phases[position]


def _ttft(one: RoundFigures) -> float:
    return one.ttft_mean


def _seconds(one: RoundFigures) -> float:
    return one.seconds


def _text(value: Spread | None, form: str = ".2f") -> str:
    return "-" if value is None else value.text(form)
