"""How the tests register adapters and ask them, and when two greedy answers count as the same."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.e2e.client import Client, Json, sse

IDENTIFIER = "X-Amzn-SageMaker-Adapter-Identifier"
ALIAS = "X-Amzn-SageMaker-Adapter-Alias"
PROMPT = "Once upon a time"
NEAR = 1e-3
"""Two tokens whose log probabilities differ by less are as good as equal: batches add their numbers up in any order."""


def register(api: Client, name: str, src: Path | str, **more: str) -> httpx.Response:
    """Register an adapter as SageMaker does: by query parameters, without a body."""
    return api.http.post("/adapters", params={"name": name, "src": str(src), **more})


def remove(api: Client, name: str) -> httpx.Response:
    """Unregister an adapter."""
    return api.http.delete(f"/adapters/{quote(name, safe='')}")


def describe(api: Client, name: str) -> Json:
    """Return what the server tells of one adapter."""
    response = api.http.get(f"/adapters/{quote(name, safe='')}")
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


@contextmanager
def registered(api: Client, **sources: Path) -> Iterator[None]:
    """Have adapters registered for the length of the block."""
    for name, src in sources.items():
        assert register(api, name, src).status_code == 200
    try:
        yield
    finally:
        for name in sources:
            remove(api, name)


@dataclass(frozen=True)
class Answer:
    """A greedy answer: its tokens, by how much each was likelier than the next best, and what they spell."""

    tokens: tuple[str, ...]
    margins: tuple[float, ...] = field(compare=False)
    text: str

    def likeness(self, solo: "Answer") -> str:
        """Return `equal`, `near` where the first token that differs was a near tie, or `other`."""
        for mine, theirs, margin in zip(self.tokens, solo.tokens, solo.margins, strict=False):
            if mine != theirs:
                return "near" if margin < NEAR else "other"
        return "equal" if len(self.tokens) == len(solo.tokens) else "other"


def completion(prompt: str = PROMPT, **more: Any) -> Json:
    """Return the body every answer here is asked with."""
    # By their ids, for two tokens may be the same text: two pieces of a character.
    told = {"logprobs": 2, "return_tokens_as_token_ids": True}
    return {"prompt": prompt, "max_tokens": 8, "temperature": 0, "ignore_eos": True, **told, **more}


def send(api: Client, name: str, **more: Any) -> httpx.Response:
    """Ask an adapter, the base model where the name is empty, as SageMaker does: by its header."""
    return api.invoke(completion(**more), {IDENTIFIER: name} if name else {})


def ask(api: Client, name: str = "", **more: Any) -> Answer:
    """Return an adapter's answer."""
    response = send(api, name, **more)
    assert response.status_code == 200, response.text
    return read(response)


def read(response: httpx.Response) -> Answer:
    """Return the answer a reply holds, streamed or whole."""
    streamed = response.headers["content-type"].startswith("text/event-stream")
    bodies = sse(response.text) if streamed else [response.json()]
    choices = [choice for body in bodies for choice in body["choices"]]
    told = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    tokens = [token for part in told for token in part["tokens"]]
    best = [sorted(part.values(), reverse=True) for one in told for part in one["top_logprobs"]]
    margins = tuple(first - second for first, second, *_ in best)
    return Answer(tuple(tokens), margins, "".join(choice["text"] for choice in choices))


def seconds_of_load(api: Client, name: str) -> float:
    """Return how long an adapter's first request took."""
    began = time.monotonic()
    ask(api, name, max_tokens=1)
    return time.monotonic() - began
