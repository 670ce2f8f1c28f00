"""Reads what came back, and tells whether two servers said the same, token by token."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.load import Body, Received, events

# Floating-point sums in another order move a logprob; float32 by far less than this.
NEAR_TIE = 1e-3


@dataclass(frozen=True, slots=True)
class Answer:
    """One request of a round; times in seconds."""

    document: int
    sent: float
    """Since the round began."""
    first_token: float
    """Since it was sent, as all that follows."""
    end: float
    prompt_tokens: int = 0
    cached_tokens: int | None = None
    """None where the server does not tell."""
    tokens: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    """At each position the likeliest other token, and how much less likely it was as a logarithm."""
    margins: tuple[float, ...] = ()
    failure: str = ""


def read(received: Received, document: int, round_started: float) -> Answer:
    """Read a stream of completions; whatever is wrong with it is the answer's failure."""
    sent = received.sent - round_started
    if received.failure:
        return Answer(document, sent, 0.0, 0.0, failure=received.failure)
    stamps: list[float] = []
    steps: list[tuple[str, str, float]] = []
    usage: Body = {}
    for stamp, event in events(received.chunks):
        if event.get("error"):
            return Answer(document, sent, 0.0, 0.0, failure=f"the stream ended in an error: {event['error']}")
        for choice in event["choices"]:
            stamps.append(stamp)
            steps += _steps(choice.get("logprobs") or {})
        usage = event.get("usage") or usage
    if not steps or not usage or not received.chunks[-1][1].rstrip().endswith(b"[DONE]"):
        return Answer(document, sent, 0.0, 0.0, failure="a stream without tokens, usage or end")
    tokens, rivals, margins = zip(*steps, strict=True)
    return Answer(
        document,
        sent,
        first_token=stamps[0] - received.sent,
        end=stamps[-1] - received.sent,
        prompt_tokens=usage["prompt_tokens"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        tokens=tokens,
        rivals=rivals,
        margins=margins,
    )


def _steps(logprobs: Body) -> Iterable[tuple[str, str, float]]:
    for token, likeliest in zip(logprobs.get("tokens", ()), logprobs.get("top_logprobs", ()), strict=True):
        others = {other: value for other, value in likeliest.items() if other != token}
        rival = max(others, key=lambda other: others[other], default="")
        yield token, rival, likeliest[token] - others[rival] if rival else float("inf")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many answers are the baseline's, how many part from it at a near tie, and which say something else."""

    same: int = 0
    near_ties: int = 0
    different: tuple[str, ...] = ()


def compare(answers: Iterable[Answer], baseline: Mapping[int, Answer]) -> Comparison:
    """Compare every answer with the baseline's for the same document."""
    same = near_ties = 0
    different: list[str] = []
    for answer in answers:
        expected = baseline.get(answer.document)
        if answer.failure or expected is None or expected.failure:
            different.append(f"document {answer.document}: no answer to compare")
        elif answer.tokens == expected.tokens:
            same += 1
        elif (at := _parting(answer, expected)) is not None and _is_near_tie(answer, expected, at):
            near_ties += 1
        else:
            where = (
                "in length"
                if at is None
                else f"from token {at} on, where the baseline's margin is {expected.margins[at]:.4f}"
            )
            different.append(f"document {answer.document} differs {where}")
    return Comparison(same, near_ties, tuple(different))


def _parting(answer: Answer, expected: Answer) -> int | None:
    """Return the first position where the two differ; what follows it answers another text."""
    pairs = enumerate(zip(answer.tokens, expected.tokens, strict=False))
    return next((position for position, (one, other) in pairs if one != other), None)


def _is_near_tie(answer: Answer, expected: Answer, at: int) -> bool:
    return answer.tokens[at] == expected.rivals[at] and abs(expected.margins[at]) <= NEAR_TIE
