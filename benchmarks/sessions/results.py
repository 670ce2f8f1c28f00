"""Puts rounds with and without sessions side by side: the next turn, the other traffic, and whether to believe it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import numpy as np

from benchmarks.long_doc_qa.answers import Answer, compare
from benchmarks.sessions.rounds import Round
from benchmarks.stats import ratio


@dataclass(frozen=True, slots=True)
class Results:
    """All rounds of one server."""

    arm: str
    rounds: Sequence[Round]

    def of(self, *, sessions: bool) -> list[Round]:
        """Return the rounds of complete pairs, in the order of the pairs."""
        whole = {one.pair for one in self.rounds if one.sessions} & {
            one.pair for one in self.rounds if not one.sessions
        }
        return sorted((r for r in self.rounds if r.sessions == sessions and r.pair in whole), key=lambda r: r.pair)


@dataclass(frozen=True, slots=True)
class Check:
    """A condition without which the figures would mean nothing."""

    holds: bool
    text: str


def ttft(answers: Sequence[Answer]) -> float:
    """Return the mean time to the first token."""
    return fmean(answer.first_token for answer in answers)


def found(answers: Sequence[Answer]) -> float:
    """Return the share of prompt tokens that came from a cache."""
    return sum(answer.cached_tokens or 0 for answer in answers) / sum(answer.prompt_tokens for answer in answers)


def markdown(results: Sequence[Results], described: dict[str, str]) -> str:
    """Show a table, what it rests on, and whether that held."""
    head = ("tiers", "conversations", "next turn: TTFT mean, s", "p90", "tokens found", "others: TTFT mean, s")
    lines = [_row(head), _row(["---"] * len(head))]
    results = [one for one in results if one.of(sessions=True)]
    for one in results:
        lines += [_row(row) for row in _rows(one)]
    lines += ["", *(text for one in results for text in _ratios(one)), ""]
    for check in checks(results):
        lines.append(f"{'yes' if check.holds else 'NO'}: {check.text}")
    return "\n".join([*lines, "", *(f"- {name}: {text}" for name, text in described.items()), ""])


def as_json(results: Sequence[Results], described: dict[str, str]) -> str:
    """Write every answer taken."""
    return json.dumps({"run": described, "measured": [asdict(one) for one in results]}, indent=1) + "\n"


def checks(results: Sequence[Results]) -> list[Check]:
    """Check that nothing failed, that sessions change no answer, and that there was something to gain."""
    answers = [answer for one in results for measured in one.rounds for answer in measured.answers]
    failed = [answer.failure for answer in answers if answer.failure]
    if failed:
        return [Check(holds=False, text=f"{len(failed)} of {len(answers)} requests failed; {failed[0]}")]
    return [
        Check(holds=True, text=f"none of {len(answers)} requests failed"),
        *(c for r in results for c in _checks(r)),
    ]


def _checks(results: Results) -> Iterator[Check]:
    pairs = list(zip(results.of(sessions=True), results.of(sessions=False), strict=True))
    compared = [
        compare(getattr(ours, part), {answer.document: answer for answer in getattr(theirs, part)})
        for ours, theirs in pairs
        for part in ("first", "flood", "next")
    ]
    different = [text for one in compared for text in one.different]
    told = "; ".join(("", *different[:3]))
    same, near = sum(one.same for one in compared), sum(one.near_ties for one in compared)
    text = f"{results.arm}: {same} answers are the same token by token, {near} part at a near tie"
    yield Check(not different, f"{text}, {len(different)} differ{told}")
    rate = found([answer for ours, _ in pairs for answer in ours.next])
    yield Check(rate > 0.5, f"{results.arm}: a session's next turn found {rate:.0%} of its prompt in a cache")


def _rows(results: Results) -> Iterator[Sequence[str]]:
    for sessions in (True, False):
        rounds = results.of(sessions=sessions)
        nexts = [answer for one in rounds for answer in one.next]
        p90 = float(np.percentile([answer.first_token for answer in nexts], 90))
        name = "in sessions" if sessions else "without"
        turns = [_spread([ttft(one.next) for one in rounds]), f"{p90:.3f}", f"{found(nexts):.0%}"]
        yield (results.arm, name, *turns, _spread([ttft(one.flood) for one in rounds]))


def _ratios(results: Results) -> Iterator[str]:
    figures: tuple[tuple[str, Callable[[Round], float]], ...] = (
        ("next turn, TTFT", lambda one: ttft(one.next)),
        ("other traffic, TTFT", lambda one: ttft(one.flood)),
        ("other traffic, time for all", lambda one: one.flood_seconds),
    )
    for name, get in figures:
        ours, theirs = ([get(one) for one in results.of(sessions=sessions)] for sessions in (True, False))
        told = ratio(ours, theirs)
        yield f"- {results.arm}: {name}, in sessions / without: {told} over {len(ours)} pairs"


def _spread(values: Sequence[float]) -> str:
    return f"{float(np.median(values)):.3f} [{min(values):.3f}, {max(values):.3f}]"


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"
