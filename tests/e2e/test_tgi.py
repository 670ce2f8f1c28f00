"""Check 20 and the semantics TGI documents: greedy unless asked, every token told, no character ever split."""

from typing import Any

import pytest

from tests.e2e.client import Client, Json, json_lines, sse
from tests.e2e.models import END_CHARACTER, SPLIT_CHARACTERS

PROMPT = "The quick brown fox jumps over the lazy dog"
ENDING = f"The end {END_CHARACTER}"
SPLITTING = "Count to 5"
FINISHED = "finish_reason"


def generate(api: Client, inputs: str = PROMPT, **parameters: Any) -> Json:
    answer = api.answer({"inputs": inputs, "parameters": parameters})
    assert isinstance(answer, dict)
    return answer


def tokens_of(api: Client, text: str) -> list[int]:
    return list(api.answer({"prompt": text}, "/tokenize")["tokens"])


def greedy(api: Client, prompt: str | list[int], tokens: int) -> str:
    return str(api.answer({"prompt": prompt, "max_tokens": tokens, "temperature": 0})["choices"][0]["text"])


def test_check_20_an_inputs_body_gets_generated_text(api: Client) -> None:
    response = api.invoke({"inputs": PROMPT, "parameters": {"max_new_tokens": 8}})
    assert response.headers["content-type"].startswith("application/json")
    assert list(response.json()) == ["generated_text"]
    assert response.json()["generated_text"]


def test_parameters_may_be_absent_null_or_empty_and_give_thirty_tokens(api: Client) -> None:
    expected = greedy(api, PROMPT, 30)
    bodies: list[Json] = [{}, {"parameters": None}, {"parameters": {}}, {"stream": False}, {"stream": None}]
    for body in bodies:
        assert api.answer({"inputs": PROMPT, **body})["generated_text"] == expected
    assert generate(api, details=True)["details"]["generated_tokens"] == 30


@pytest.mark.parametrize(
    "parameters", [{}, {"do_sample": False}, {"do_sample": False, "temperature": 0.9, "top_p": 0.5}]
)
def test_generation_is_greedy_unless_do_sample(api: Client, parameters: Json) -> None:
    assert generate(api, max_new_tokens=12, **parameters)["generated_text"] == greedy(api, PROMPT, 12)


def test_do_sample_with_a_seed_repeats_itself_and_seeds_differ(api: Client) -> None:
    def sampled(seed: int) -> str:
        answer = generate(api, max_new_tokens=16, do_sample=True, seed=seed, details=True)
        assert answer["details"]["seed"] == seed
        return str(answer["generated_text"])

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) == 4


@pytest.mark.parametrize("name", ["stop", "stop_sequences"])
def test_generation_stops_at_a_stop_sequence(api: Client, name: str) -> None:
    whole = greedy(api, PROMPT, 30)
    stop = whole[8:11]
    before = whole[: whole.index(stop)]
    stops: Json = {name: ["\x00never", stop]}
    answer = generate(api, max_new_tokens=30, details=True, **stops)
    assert answer["generated_text"] in (before, before + stop)
    assert answer["details"][FINISHED] == "stop_sequence"
    assert answer["details"]["generated_tokens"] < 30


def test_details_hold_every_token_once(api: Client) -> None:
    answer = generate(api, max_new_tokens=20, details=True)
    details = answer["details"]
    assert details[FINISHED] == "length"
    assert details["generated_tokens"] == len(details["tokens"]) == 20
    for token in details["tokens"]:
        assert set(token) == {"id", "text", "logprob", "special"}
        assert token["logprob"] <= 0
    assert "".join(token["text"] for token in details["tokens"]) == answer["generated_text"]
    reference = api.answer({"prompt": PROMPT, "max_tokens": 20, "temperature": 0, "return_token_ids": True})
    assert [token["id"] for token in details["tokens"]] == reference["choices"][0]["token_ids"]


def test_details_tell_the_end_token(api: Client) -> None:
    answer = generate(api, ENDING, max_new_tokens=20, details=True)
    assert answer["generated_text"] == ""
    assert answer["details"][FINISHED] == "eos_token"
    assert answer["details"]["generated_tokens"] == 1
    (token,) = answer["details"]["tokens"]
    assert token["special"] is True


def test_ignore_eos_token_generates_on(api: Client) -> None:
    answer = generate(api, ENDING, max_new_tokens=5, details=True, ignore_eos_token=True)
    assert (answer["details"][FINISHED], answer["details"]["generated_tokens"]) == ("length", 5)


def test_top_n_tokens_tells_the_likeliest_alternatives_of_each_step(api: Client) -> None:
    details = generate(api, max_new_tokens=6, details=True, top_n_tokens=3)["details"]
    assert [len(step) for step in details["top_tokens"]] == [3] * 6
    for step, token in zip(details["top_tokens"], details["tokens"], strict=True):
        assert step[0]["id"] == token["id"]
        assert [entry["logprob"] for entry in step] == sorted((entry["logprob"] for entry in step), reverse=True)


def test_decoder_input_details_tell_the_prompt(api: Client) -> None:
    details = generate(api, max_new_tokens=2, details=True, decoder_input_details=True)["details"]
    assert [token["id"] for token in details["prefill"]] == tokens_of(api, PROMPT)
    assert details["prefill"][0]["logprob"] is None
    assert all(token["logprob"] <= 0 for token in details["prefill"][1:])


def test_return_full_text_puts_the_prompt_first(api: Client) -> None:
    text = generate(api, max_new_tokens=8)["generated_text"]
    assert generate(api, max_new_tokens=8, return_full_text=True)["generated_text"] == PROMPT + text


def test_truncate_keeps_the_last_tokens_of_the_prompt(api: Client) -> None:
    expected = greedy(api, tokens_of(api, PROMPT)[-5:], 10)
    assert generate(api, max_new_tokens=10, truncate=5)["generated_text"] == expected
    assert expected != greedy(api, PROMPT, 10)


def test_a_list_of_inputs_gets_a_list_of_answers_in_order(api: Client) -> None:
    inputs = [PROMPT, "天地玄黄", "Съешь ещё"]
    answers = api.answer({"inputs": inputs, "parameters": {"max_new_tokens": 6}})
    assert answers == [generate(api, text, max_new_tokens=6) for text in inputs]


def test_a_character_of_several_tokens_is_never_split(api: Client) -> None:
    answer = generate(api, SPLITTING, max_new_tokens=24, details=True)
    texts = [token["text"] for token in answer["details"]["tokens"]]
    assert answer["generated_text"].startswith(SPLIT_CHARACTERS)
    assert [text for text in texts[:9] if text] == list(SPLIT_CHARACTERS)
    assert "".join(texts) == answer["generated_text"]


def stream(api: Client, inputs: str, accept: str = "", **parameters: Any) -> list[Json]:
    headers = {"Accept": accept} if accept else None
    content_type, text = api.stream({"inputs": inputs, "parameters": parameters}, headers)
    if accept == "text/event-stream":
        assert content_type.startswith("text/event-stream")
        return sse(text)
    assert content_type.startswith("application/jsonlines")
    return json_lines(text)


@pytest.mark.parametrize("accept", ["", "application/jsonlines", "text/event-stream"])
def test_a_stream_has_one_record_per_token_as_json_lines_or_sse(api: Client, accept: str) -> None:
    records = stream(api, PROMPT, accept, max_new_tokens=20, details=True)
    whole = generate(api, max_new_tokens=20, details=True)
    assert [record["token"]["id"] for record in records] == [token["id"] for token in whole["details"]["tokens"]]
    assert "".join(record["token"]["text"] for record in records) == whole["generated_text"]
    assert {record["generated_text"] for record in records[:-1]} == {None}
    assert records[-1]["generated_text"] == whole["generated_text"]
    assert records[-1]["details"] == {
        "finish_reason": "length", "generated_tokens": 20, "seed": None, "input_length": len(tokens_of(api, PROMPT)),
    }  # fmt: skip


def test_a_stream_never_splits_a_character(api: Client) -> None:
    records = stream(api, SPLITTING, max_new_tokens=24)
    texts = [record["token"]["text"] for record in records]
    assert [text for text in texts[:9] if text] == list(SPLIT_CHARACTERS)
    whole = generate(api, SPLITTING, max_new_tokens=24)["generated_text"]
    assert "".join(texts) == records[-1]["generated_text"] == whole


def test_a_stream_tells_how_it_ended(api: Client) -> None:
    (only,) = stream(api, ENDING, max_new_tokens=20, details=True)
    assert only["details"][FINISHED] == "eos_token"
    assert (only["generated_text"], only["token"]["special"]) == ("", True)
    stop = greedy(api, PROMPT, 30)[8:11]
    assert stream(api, PROMPT, max_new_tokens=30, details=True, stop=[stop])[-1]["details"][FINISHED] == "stop_sequence"


def test_a_stream_with_return_full_text_ends_with_the_prompt_and_the_text(api: Client) -> None:
    records = stream(api, PROMPT, max_new_tokens=6, return_full_text=True)
    assert records[-1]["generated_text"] == PROMPT + generate(api, max_new_tokens=6)["generated_text"]


@pytest.mark.parametrize("seed", range(6))
def test_token_texts_joined_are_the_text_however_odd_the_bytes(api: Client, seed: int) -> None:
    # A temperature this high writes bytes that are no UTF-8 at all, next to characters in pieces.
    parameters: Json = {"max_new_tokens": 64, "do_sample": True, "temperature": 2.0, "seed": seed, "details": True}
    answer = generate(api, **parameters)
    shown = [token for token in answer["details"]["tokens"] if not token["special"]]
    assert "".join(token["text"] for token in shown) == answer["generated_text"]
    records = stream(api, PROMPT, **parameters)
    assert "".join(r["token"]["text"] for r in records if not r["token"]["special"]) == answer["generated_text"]
