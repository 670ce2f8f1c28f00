"""A round against a small server that keeps what sessions said and forgets everything else; and what is made of it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.load import LoadError
from benchmarks.long_doc_qa.answers import Answer
from benchmarks.long_doc_qa.documents import Workload
from benchmarks.sessions.results import Results, checks, markdown
from benchmarks.sessions.rounds import Round, Work, measure
from benchmarks.tiny_model import _tokenizer
from tests.benchmarks.long_doc_qa.streamed import streamed

WORK = Work.of(Workload(2, 100, 3, 1), Workload(4, 100, 3, 2, seed=1), _tokenizer())
OURS = "X-Amzn-SageMaker-Session-Id"


class Keeping(BaseHTTPRequestHandler):
    kept: dict[str, list[int]]
    salts: set[str]

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.headers.get(OURS, "")
        if body.get("requestType") == "NEW_SESSION":
            name = f"s{len(self.kept)}"
            self.kept[name] = []
            self._answer(b"{}", **{"X-Amzn-SageMaker-New-Session-Id": f"{name}; Expires=2027-01-01T00:00:00Z"})
        elif body.get("requestType") == "CLOSE":
            del self.kept[name]
            self._answer(b"{}")
        else:
            self._complete(name, body)

    def _complete(self, name: str, body: dict[str, Any]) -> None:
        prompt, before = body["prompt"], self.kept.get(name, [])
        cached = len(before) if before and prompt[: len(before)] == before else 0
        if name:
            self.kept[name] = prompt
        self.salts.add(body["cache_salt"])
        self._answer(streamed(prompt, body["max_tokens"], cached))

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, content: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, text in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name.lower(), text)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[tuple[str, type[Keeping]]]:
    handler = type("Handler", (Keeping,), {"kept": {}, "salts": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", handler
        listening.shutdown()
        thread.join()


def pairs(url: str) -> list[Round]:
    return [measure(url, "m", WORK, pair, sessions=sessions) for pair in (0, 1) for sessions in (True, False)]


def test_a_conversation_goes_on_with_what_was_said_and_sessions_are_closed(server: tuple[str, type[Keeping]]) -> None:
    url, handler = server
    rounds = pairs(url)
    lengths = {answer.prompt_tokens for one in rounds for answer in one.next}
    assert lengths == {WORK.conversations.tokens + 3 + len(WORK.question)}
    assert WORK.context == lengths.pop() + 3
    assert [[answer.cached_tokens for answer in one.next] for one in rounds] == [[100, 100], [0, 0]] * 2
    assert [len(one.flood) for one in rounds] == [4] * 4
    assert handler.kept == {}
    assert len(handler.salts) == 4


def test_the_report_puts_both_side_by_side_and_believes_equal_answers(server: tuple[str, type[Keeping]]) -> None:
    results = Results("RAM", pairs(server[0]))
    text = markdown([results], {"machine": "made up"})
    shares = [line.split(" | ")[4] for line in text.splitlines() if line.startswith("| RAM ")]
    assert [share.endswith("%") for share in shares] == [True, True]
    assert shares[1] == "0%"
    assert "next turn, TTFT, in sessions / without: " in text
    assert all(check.holds for check in checks([results]))
    assert "- machine: made up" in text


def test_failures_other_answers_and_sessions_that_found_nothing_are_not_believed(
    server: tuple[str, type[Keeping]],
) -> None:
    rounds = pairs(server[0])

    def changed(**changes: Any) -> list[Round]:
        first, *others = rounds
        return [replace(first, next=tuple(replace(answer, **changes) for answer in first.next)), *others]

    def doubts(rounds: list[Round]) -> list[str]:
        return [check.text for check in checks([Results("RAM", rounds)]) if not check.holds]

    assert doubts(rounds) == []
    assert "requests failed; broken" in doubts(changed(failure="broken"))[0]
    assert "2 differ" in doubts(changed(tokens=("token_id:1", "token_id:2", "token_id:3")))[0]
    assert "of its prompt in a cache" in doubts(changed(cached_tokens=0))[0]


def test_a_pair_without_its_other_half_is_left_out() -> None:
    answer = Answer(0, 0.0, 0.1, 0.2, 100, 50, ("token_id:1",), ("",), (1.0,))
    halves = [Round(pair, sessions, (answer,), (answer,), 1.0, (answer,)) for pair, sessions in ((0, True), (0, False))]
    results = Results("RAM", [*halves, replace(halves[0], pair=1)])
    assert [len(results.of(sessions=sessions)) for sessions in (True, False)] == [1, 1]
    assert "| RAM |" not in markdown([Results("RAM", halves[:1])], {})


def test_a_server_without_sessions_is_told_of(server: tuple[str, type[Keeping]]) -> None:
    server[1].do_POST = lambda self: self._answer(b"{}")  # type: ignore[method-assign]
    with pytest.raises(LoadError, match="a new session came without"):
        measure(server[0], "m", WORK, 0, sessions=True)
