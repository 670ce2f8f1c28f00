import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from handlers import tgi
from handlers.errors import RequestError
from handlers.streams import StreamFormat
from handlers.tgi_reply import TgiReply, TokenNames
from handlers.token_text import TokenTexts


def byte_level_tokenizer() -> Tokenizer:
    """Train a tiny byte-level BPE: characters beyond ASCII span several of its tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
    )
    tokenizer.train_from_iterator(["the cat sat on the mat"] * 20, trainer)
    return tokenizer


TOKENIZER = byte_level_tokenizer()
EOS = TOKENIZER.get_vocab()["<eos>"]


def parsed(parameters: dict[str, Any] | None = None, inputs: Any = "Hi", stream: bool = False) -> tgi.TgiRequest:
    return tgi.parse({"inputs": inputs, "parameters": parameters, "stream": stream}, default_max_new_tokens=30)


def test_generation_is_greedy_and_thirty_tokens_long_unless_asked() -> None:
    completion = parsed().completion
    assert (completion["temperature"], completion["max_tokens"], completion["prompt"]) == (0.0, 30, ["Hi"])


def test_sampling_parameters_count_only_with_do_sample() -> None:
    sampling = {"temperature": 0.7, "top_p": 0.9, "top_k": 5}
    assert parsed(sampling).completion["temperature"] == 0.0
    assert "top_p" not in parsed(sampling).completion
    assert parsed(sampling | {"do_sample": True}).completion.items() >= sampling.items()


def test_both_names_of_stop_are_taken_together() -> None:
    assert parsed({"stop": "a", "stop_sequences": ["b", "c"]}).completion["stop"] == ["a", "b", "c"]


def test_truncate_keeps_the_end_of_the_prompt() -> None:
    assert (
        parsed({"truncate": 7}).completion.items() >= {"truncate_prompt_tokens": 7, "truncation_side": "left"}.items()
    )


def test_a_grammar_becomes_a_structured_output() -> None:
    regex = parsed({"grammar": {"type": "regex", "value": "[a-z]+"}}).completion
    assert regex["structured_outputs"] == {"regex": "[a-z]+"}


def test_top_n_tokens_asks_for_alternatives_not_for_sequences() -> None:
    completion = parsed({"top_n_tokens": 3, "details": True}).completion
    assert (completion["logprobs"], "n" in completion) == (3, False)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"max_new_token": 3},
            "parameters.max_new_token is not a parameter of this server. Did you mean max_new_tokens?",
        ),
        ({"max_new_tokens": 0}, "parameters.max_new_tokens: Input should be greater than or equal to 1."),
        ({"max_new_tokens": "3"}, "parameters.max_new_tokens: Input should be a valid integer."),
        ({"temperature": -1, "do_sample": True}, "parameters.temperature: Input should be greater than or equal to 0."),
        ({"watermark": True}, "parameters.watermark is not supported by the engine; remove it."),
        ({"typical_p": 0.5}, "parameters.typical_p is not supported by the engine; remove it."),
        ({"grammar": {"type": "xml", "value": ""}}, "parameters.grammar.type: Input should be 'json' or 'regex'."),
        ([], None),
    ],
)
def test_a_wrong_parameter_is_400_in_one_line(parameters: Any, message: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        parsed(parameters) if parameters else tgi.parse({"inputs": "Hi", "parameters": "x"}, 30)
    assert refused.value.message == (message or "parameters must be an object.")


@pytest.mark.parametrize("inputs", [None, 3, [], [3], {"a": 1}, ["a", None]])
def test_inputs_must_be_text(inputs: Any) -> None:
    with pytest.raises(RequestError, match="inputs must be"):
        parsed(inputs=inputs)


@pytest.mark.parametrize("parameters", [{"n": 2}, {"best_of": 2}, {"num_beams": 2}, {"decoder_input_details": True}])
def test_what_cannot_be_streamed_is_400_with_stream(parameters: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="cannot be used with stream=true"):
        parsed(parameters, stream=True)


def reply(request: tgi.TgiRequest, form: StreamFormat = "jsonlines", as_list: bool = False) -> TgiReply:
    return TgiReply(request, TokenNames(TOKENIZER), form, as_list)


def choice(text: str, *, ids: list[int] | None = None, index: int = 0, finish: str | None = "length",
           stop: str | int | None = None) -> dict[str, Any]:  # fmt: skip
    """Return a choice as vLLM 0.32 gives it for what `tgi.parse` asks."""
    ids = TOKENIZER.encode(text).ids if ids is None else ids
    values = [-float(n) for n in range(len(ids))]
    tops = [{f"token_id:{token}": value, "token_id:1": -9.0} for token, value in zip(ids, values, strict=True)]
    logprobs = {"token_logprobs": values, "top_logprobs": tops}
    return {"index": index, "text": text, "token_ids": ids, "logprobs": logprobs, "finish_reason": finish,
            "stop_reason": stop, "prompt_token_ids": [1, 2]}  # fmt: skip


def whole(request: tgi.TgiRequest, *choices: dict[str, Any], as_list: bool = False) -> Any:
    return json.loads(reply(request, as_list=as_list).whole(json.dumps({"choices": choices}).encode()))


def test_without_details_only_the_text_is_told() -> None:
    assert whole(parsed(), choice("cat")) == {"generated_text": "cat"}


def test_the_prompt_comes_first_with_return_full_text() -> None:
    assert whole(parsed({"return_full_text": True}), choice(" cat")) == {"generated_text": "Hi cat"}


def test_a_list_of_inputs_gets_a_list_and_so_does_tgi_compat() -> None:
    assert whole(parsed(inputs=["a", "b"]), choice("x"), choice("y")) == [
        {"generated_text": "x"},
        {"generated_text": "y"},
    ]
    assert whole(parsed(), choice("x"), as_list=True) == [{"generated_text": "x"}]


@pytest.mark.parametrize(
    ("finish", "stop", "expected"),
    [("length", None, "length"), ("stop", None, "eos_token"), ("stop", 7, "eos_token"), ("stop", "x", "stop_sequence")],
)
def test_finish_reasons_are_tgis(finish: str, stop: str | int | None, expected: str) -> None:
    answer = whole(parsed({"details": True, "seed": 5}), choice("cat", finish=finish, stop=stop))
    assert (answer["details"]["finish_reason"], answer["details"]["seed"]) == (expected, 5)


def test_details_hold_every_token_and_its_likeliest_alternatives() -> None:
    made = choice("cat 猫")
    details = whole(parsed({"details": True, "top_n_tokens": 1}), made)["details"]
    assert [token["id"] for token in details["tokens"]] == made["token_ids"]
    assert "".join(token["text"] for token in details["tokens"]) == "cat 猫"
    assert details["generated_tokens"] == len(made["token_ids"])
    assert [top[0]["id"] for top in details["top_tokens"]][:1] == made["token_ids"][:1]


def test_the_likeliest_of_several_sequences_is_the_answer() -> None:
    worse, better = choice("the cat sat on the"), choice("a", index=1)
    answer = whole(parsed({"best_of": 2, "details": True}), worse, better)
    assert answer["generated_text"] == "a"
    assert [other["generated_text"] for other in answer["details"]["best_of_sequences"]] == ["the cat sat on the"]


def stream(request: tgi.TgiRequest, *chunks: dict[str, Any], form: StreamFormat = "jsonlines") -> list[dict[str, Any]]:
    told = reply(request, form)
    text = b"".join(told.event(json.dumps({"choices": [chunk]}).encode()) for chunk in chunks).decode()
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]


@given(st.text(min_size=1, max_size=60), st.integers(0, 2**32))
def test_streamed_token_texts_joined_are_the_text_and_characters_are_never_split(text: str, seed: int) -> None:
    ids, pick, chunks, position = TOKENIZER.encode(text).ids, random.Random(seed), [], 0
    texts = TokenTexts(TOKENIZER, [], True)
    while position < len(ids):
        step = ids[position : position + pick.randint(1, 4)]
        position += len(step)
        engine_text = "".join(piece for _, piece in texts_of(texts, step))
        chunks.append(choice(engine_text, ids=step, finish=None))
    chunks[-1]["finish_reason"] = "length"
    events = stream(parsed({"details": True}, stream=True), *chunks)
    assert [event["token"]["id"] for event in events] == ids
    assert "".join(event["token"]["text"] for event in events) == text == events[-1]["generated_text"]
    assert "\ufffd" not in events[-1]["generated_text"].replace(text, "")
    assert events[-1]["details"]["generated_tokens"] == len(ids)


def texts_of(texts: TokenTexts, ids: list[int]) -> list[tuple[int, str]]:
    """Decode as the engine does, which releases a text as soon as its characters are whole."""
    return [(token_id, texts._decode(token_id)) for token_id in ids]


def test_a_stop_sequence_cuts_the_text_of_its_tokens() -> None:
    ids = TOKENIZER.encode("the cat sat").ids
    held = [choice("the", ids=ids[:1], finish=None), choice(" ", ids=ids[1:], finish="stop", stop="cat")]
    events = stream(parsed({"stop": ["cat"], "details": True}, stream=True), *held)
    assert [event["token"]["id"] for event in events] == ids
    assert "".join(event["token"]["text"] for event in events) == "the " == events[-1]["generated_text"]
    assert events[-1]["details"]["finish_reason"] == "stop_sequence"


def test_the_end_token_is_told_as_special_and_adds_no_text() -> None:
    ids = [*TOKENIZER.encode("cat").ids, EOS]
    events = stream(parsed(stream=True), choice("cat", ids=ids, finish="stop"))
    assert [event["token"]["special"] for event in events] == [False] * (len(ids) - 1) + [True]
    assert "".join(event["token"]["text"] for event in events) == "cat" == events[-1]["generated_text"]


def test_streams_of_several_inputs_are_told_apart_by_index() -> None:
    events = stream(parsed(inputs=["a", "b"], stream=True), choice("x", index=0), choice("y", index=1))
    assert [(event["index"], event["generated_text"]) for event in events] == [(0, "x"), (1, "y")]


def test_events_frame_each_object_when_asked() -> None:
    told = reply(parsed(stream=True), "sse").event(json.dumps({"choices": [choice("x")]}).encode())
    assert told.startswith(b"data: {")
    assert told.endswith(b"}\n\n")
