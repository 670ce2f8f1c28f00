"""Streams read to tokens and times, and answers compared token by token."""

import json
from typing import Any

from benchmarks.load import Received
from benchmarks.long_doc_qa.answers import Comparison, compare, read
from tests.benchmarks.long_doc_qa.made_up import answer

BASELINE = {0: answer(0)}


def event(token: int, rival: int, **more: Any) -> dict[str, Any]:
    likeliest = {f"token_id:{token}": -0.5, f"token_id:{rival}": -0.7}
    return {"choices": [{"logprobs": {"tokens": [f"token_id:{token}"], "top_logprobs": [likeliest]}}]} | more


def stream(*events: dict[str, Any], end: bytes = b"data: [DONE]\n\n", failure: str = "") -> Received:
    pieces = [(10.3 + 0.1 * number, f"data: {json.dumps(one)}\n\n".encode()) for number, one in enumerate(events)]
    return Received(0, 10.0, [*pieces, (11.0, end)], failure)


USAGE = {"choices": [], "usage": {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 64}}}


def test_a_stream_is_read_to_its_tokens_their_rivals_and_times_since_it_was_sent() -> None:
    found = read(stream(event(5, 6), event(7, 8), USAGE), document=3, round_started=9.0)
    assert (found.document, found.tokens, found.rivals) == (
        3,
        ("token_id:5", "token_id:7"),
        ("token_id:6", "token_id:8"),
    )
    assert [round(seconds, 6) for seconds in (found.sent, found.first_token, found.end)] == [1.0, 0.3, 0.4]
    assert [round(margin, 6) for margin in found.margins] == [0.2, 0.2]
    assert (found.prompt_tokens, found.cached_tokens, found.failure) == (100, 64, "")


def test_a_server_that_does_not_tell_of_cached_tokens_leaves_them_unknown() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 100}}
    assert read(stream(event(5, 6), usage), 0, 9.0).cached_tokens is None


def test_what_is_no_answer_is_a_failure() -> None:
    broken = "a stream without tokens, usage or end"
    assert read(stream(event(5, 6)), 0, 9.0).failure == broken
    assert read(stream(event(5, 6), USAGE, end=b""), 0, 9.0).failure == broken
    assert read(stream(failure="answered 503"), 0, 9.0).failure == "answered 503"
    assert "boom" in read(stream({"error": {"message": "boom"}}), 0, 9.0).failure


def test_the_same_tokens_are_the_same_answer() -> None:
    assert compare([answer(0)], BASELINE) == Comparison(same=1)


def test_the_rival_of_a_near_tie_counts_as_equal_whatever_follows_it() -> None:
    parted = answer(0, tokens=("token_id:0", "token_id:2", "token_id:99"))
    assert compare([parted], BASELINE) == Comparison(near_ties=1)


def test_another_token_at_a_near_tie_differs() -> None:
    (text,) = compare([answer(0, tokens=("token_id:0", "token_id:99", "token_id:8"))], BASELINE).different
    assert text == "document 0 differs from token 1 on, where the baseline's margin is 0.0005"


def test_the_rival_where_the_margin_is_wide_differs() -> None:
    (text,) = compare([answer(0, tokens=("token_id:1", "token_id:7", "token_id:8"))], BASELINE).different
    assert "from token 0 on" in text


def test_a_shorter_or_missing_answer_differs() -> None:
    assert compare([answer(0, tokens=("token_id:0",))], BASELINE).different == ("document 0 differs in length",)
    assert compare([answer(0, failure="503")], BASELINE).different == ("document 0: no answer to compare",)
