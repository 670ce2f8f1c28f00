"""Holds every arm's runs together: the figures over the repeats, the ratios, and whether they may be believed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.long_doc_qa.answers import Comparison, compare
from benchmarks.long_doc_qa.arms import Arm
from benchmarks.long_doc_qa.documents import Workload
from benchmarks.long_doc_qa.figures import RoundFigures, Spread, ratios, spread, summarise
from benchmarks.long_doc_qa.rounds import Round, Rounds

ROUNDS = ("warm-up", "query")


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One start of one arm's server."""

    arm: Arm
    repeat: int
    ready_seconds: float
    rounds: Rounds
    said: Sequence[str] = ()
    """What the server printed of its cache."""

    def round(self, name: str) -> Round:
        """Return the round of that name."""
        return self.rounds.warm_up if name == "warm-up" else self.rounds.query

    def figures(self, name: str) -> RoundFigures:
        """Return the round's figures."""
        return summarise(self.round(name))


@dataclass(frozen=True, slots=True)
class Check:
    """A condition without which the figures would mean nothing."""

    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Results:
    """All runs of one command."""

    work: Workload
    arms: Sequence[Arm]
    runs: Sequence[ArmRun]

    @property
    def baseline(self) -> Arm:
        """What the others are compared with: the first arm."""
        return self.arms[0]

    def of(self, arm: Arm) -> list[ArmRun]:
        """Return an arm's runs in the order of the repeats."""
        return sorted((run for run in self.runs if run.arm.name == arm.name), key=lambda run: run.repeat)

    def figure(self, arm: Arm, name: str, get: Callable[[RoundFigures], float | None]) -> Spread | None:
        """Return one figure of one round over the repeats."""
        return spread([get(run.figures(name)) for run in self.of(arm)])

    def faster(self, arm: Arm, other: Arm, get: Callable[[RoundFigures], float]) -> Spread | None:
        """Return how many times smaller a figure of the query round is in `arm` than in `other`, repeat by repeat."""
        theirs = {run.repeat: get(run.figures("query")) for run in self.of(other)}
        pairs = [(theirs[run.repeat], get(run.figures("query"))) for run in self.of(arm) if run.repeat in theirs]
        return ratios([one for one, _ in pairs], [two for _, two in pairs])

    def comparison(self, arm: Arm) -> Comparison:
        """Compare the arm's answers with the baseline's in the same round and repeat."""
        total = Comparison()
        for run in self.of(arm):
            expected = next((other for other in self.of(self.baseline) if other.repeat == run.repeat), None)
            for name in ROUNDS:
                if expected is None:
                    continue
                baseline = {answer.document: answer for answer in expected.round(name).answers}
                found = compare(run.round(name).answers, baseline)
                described = tuple(f"repeat {run.repeat}, {name}: {text}" for text in found.different)
                total = Comparison(
                    total.same + found.same, total.near_ties + found.near_ties, total.different + described
                )
        return total


def checks(results: Results) -> list[Check]:
    """Check the baseline, and that every server was asked the same and said the same."""
    rounds = [run.round(name) for run in results.runs for name in ROUNDS]
    answers = [answer for one in rounds for answer in one.answers]
    failed = [answer.failure for answer in answers if answer.failure]
    lengths = {answer.prompt_tokens for answer in answers if not answer.failure}
    compared = [results.comparison(arm) for arm in results.arms]
    different = [text for one in compared for text in one.different]
    first = results.of(results.baseline)[0]
    said = {answer.tokens for answer in first.rounds.query.answers if not answer.failure}
    return [
        Check(
            not failed, f"{len(failed)} of {len(answers)} requests failed" + "".join(f"; {text}" for text in failed[:1])
        ),
        Check(
            lengths == {results.work.tokens},
            f"prompts of {', '.join(map(str, sorted(lengths)))} tokens; {results.work.tokens} were meant",
        ),
        _working_set(results, first),
        *_hits(results),
        Check(
            not different,
            f"{sum(one.same for one in compared)} answers equal {results.baseline.title}'s token by token, "
            f"{sum(one.near_ties for one in compared)} part from it where its two likeliest tokens are within 0.001, "
            f"{len(different)} differ" + "".join(f"; {text}" for text in different[:3]),
        ),
        Check(
            len(said) > 1, f"{len(said)} different answers to {results.work.documents} documents: they depend on them"
        ),
    ]


def _working_set(results: Results, run: ArmRun) -> Check:
    needed, engine = results.work.working_set, run.rounds.engine_tokens
    if engine is None:
        return Check(
            holds=True, text=f"a working set of {needed:,} tokens; the server does not say what its cache holds"
        )
    relation = "does not fit" if needed > engine else "FITS"
    return Check(
        run.arm.name == "floor" or needed > engine,
        f"{run.arm.title}: a working set of {needed:,} tokens {relation} into the engine's cache of {engine:,}",
    )


def _hits(results: Results) -> Iterator[Check]:
    """Check that a cache that ought to hold every document answered from it: one that is off fails no request."""
    for arm in results.arms:
        rate = results.figure(arm, "query", hit_rate)
        if rate and (arm.name == "floor" or arm.has_tiers):
            share = f"{rate.least:.0%} of the query round's prompt tokens came from a cache"
            yield Check(rate.least > 0.5, f"{arm.title}: {share}")


def hit_rate(one: RoundFigures) -> float | None:
    """Return what the answers say, else what vLLM counted."""
    return one.hit_rate if one.hit_rate is not None else one.hit_rate_metrics
