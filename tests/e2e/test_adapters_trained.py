"""Checks 48, 53, 55, 59 and 60 in words: adapters trained on the embedded model, each with an answer of its own."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.adapter_calls import IDENTIFIER, describe, register, registered
from tests.e2e.client import Client, Json, sse
from tests.e2e.server import Server

QUESTIONS = ("What is the capital of Italy?", "Good morning!", "Write a poem about the sea.")


def chat(question: str, **more: object) -> Json:
    return {"messages": [{"role": "user", "content": question}], "max_tokens": 12, "temperature": 0, **more}


def told(api: Client, name: str, question: str, path: str = "/invocations") -> str:
    response = api.post(path, chat(question), {IDENTIFIER: name} if name else {})
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def streamed(api: Client, name: str, question: str) -> str:
    _, text = api.stream(chat(question), {IDENTIFIER: name} if name else {})
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in sse(text))


def test_check_48_each_trained_adapter_gives_the_answer_it_has_learnt(smollm: Server, trained: dict[str, str]) -> None:
    api = smollm.client
    for name, answer in trained.items():
        for question in QUESTIONS:
            assert told(api, name, question).startswith(answer), (name, question)
        assert told(api, name, QUESTIONS[0], "/v1/chat/completions").startswith(answer)


def test_check_55_the_base_answers_as_ever(smollm: Server, trained: dict[str, str]) -> None:
    told(smollm.client, next(iter(trained)), QUESTIONS[0])
    assert "Rome" in told(smollm.client, "", QUESTIONS[0])


def test_checks_59_and_60_callers_of_all_of_them_at_once_each_get_theirs(
    smollm: Server, trained: dict[str, str]
) -> None:
    asked = random.Random(60).choices(["", *trained], k=24)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: streamed(smollm.client, name, QUESTIONS[0]), asked))
    for name, answer in zip(asked, answers, strict=True):
        assert answer.startswith(trained.get(name, "The capital of Italy is Rome")), (name, answer)


def test_check_53_an_update_of_an_adapter_changes_what_it_says(smollm: Server, trained: dict[str, str]) -> None:
    api = smollm.client
    sources = {name: Path(describe(api, name)["src"]) for name in trained}
    with registered(api, changing=sources["ahoy"]):
        for name in ("ahoy", "bonjour", "ahoy"):
            assert register(api, "changing", sources[name]).status_code == 200
            assert told(api, "changing", QUESTIONS[1]).startswith(trained[name])
