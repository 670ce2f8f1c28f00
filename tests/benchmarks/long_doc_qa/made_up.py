"""Runs with figures chosen by hand."""

from collections.abc import Sequence
from typing import Any

from benchmarks.long_doc_qa.answers import Answer
from benchmarks.long_doc_qa.arms import Arm
from benchmarks.long_doc_qa.documents import Workload
from benchmarks.long_doc_qa.results import ArmRun, Results
from benchmarks.long_doc_qa.rounds import Round, Rounds

WORK = Workload(documents=2, tokens=100, output_tokens=3, concurrency=1)
NONE = Arm("none", "no offload", {})
RAM = Arm("ram", "RAM", {"lmcache_auto_config": True}, "a note", announced=(2.65, 2.18))
FLOOR = Arm("floor", "floor", {})


def answer(document: int = 0, **changes: Any) -> Answer:
    texts = (f"token_id:{document}", "token_id:7", "token_id:8")
    given: dict[str, Any] = {
        "sent": 0.5 * document,
        "first_token": 0.2,
        "end": 0.4,
        "prompt_tokens": 100,
        "cached_tokens": 0,
        "tokens": texts,
        "rivals": ("token_id:1", "token_id:2", "token_id:3"),
        "margins": (0.5, 0.0005, 0.5),
    }
    return Answer(document, **given | changes)


def a_round(seconds: float, answers: Sequence[Answer], **changed: float) -> Round:
    return Round(seconds, tuple(answers), {f"vllm:{name}": value for name, value in changed.items()})


def run(arm: Arm, repeat: int = 1, first_token: float = 0.2, seconds: float = 2.0, cached: int = 0) -> ArmRun:
    warm_up = a_round(seconds, [answer(0), answer(1)])
    query = a_round(
        seconds, [answer(number, first_token=first_token, cached_tokens=cached) for number in range(WORK.documents)]
    )
    return ArmRun(arm, repeat, 30.0, Rounds(warm_up, query, 150), said=[f"[  2.0 s] cache: {arm.title}"])


def results(*runs: ArmRun) -> Results:
    return Results(WORK, list({one.arm.name: one.arm for one in runs}.values()), runs)
