import json

import pytest

from handlers import screening
from handlers.errors import RequestError


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The request body is empty"),
        (b"  \n", "The request body is empty"),
        (b"{", "not valid JSON"),
        (b"[]", "not an array"),
        (b"null", "not null"),
        (b"3", "not a number"),
        (b'"a"', "not a string"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": Infinity}', "not valid JSON"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b'{"a": "\x00"}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'{"a": 1e999}', "not valid JSON"),
        (b'{"a": 100000000000000000000}', "64-bit"),
        (b'{"a": [[-99999999999999999999]]}', "64-bit"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested more than 128"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_bodies_no_engine_should_see_are_400(body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        screening.parse_object(body)
    assert refused.value.status == 400
    assert "\n" not in refused.value.message


def test_long_and_wide_bodies_of_ordinary_values_pass() -> None:
    payload = {"prompt": list(range(50_000)), "tools": [{"a": {"b": [{}]}}] * 200, "seed": 2**63 - 1}
    assert screening.parse_object(json.dumps(payload).encode()) == payload


@pytest.mark.parametrize(
    "field",
    [
        {"kv_transfer_params": {"remote_host": "x"}},
        {"ec_transfer_params": {}},
        {"stop_token_ids": [100]},
        {"stop_token_ids": [-1]},
        {"allowed_token_ids": ["1"]},
        {"allowed_token_ids": [True]},
        {"logprob_token_ids": [2**40]},
        {"logit_bias": {"100": 1}},
        {"logit_bias": {"-1": 1}},
        {"logit_bias": {"x": 1}},
        {"logit_bias": {"9" * 40: 1}},
    ],
)
def test_fields_that_reach_past_the_request_or_the_vocabulary_are_400(field: dict[str, object]) -> None:
    with pytest.raises(RequestError) as refused:
        screening.check_fields(field, vocabulary_size=100)
    assert (refused.value.status, refused.value.param) == (400, next(iter(field)))


def test_token_ids_of_the_vocabulary_pass() -> None:
    screening.check_fields({"stop_token_ids": [0, 99], "logit_bias": {"99": -1.5}, "allowed_token_ids": None}, 100)


@pytest.mark.parametrize(
    "schema",
    ['{"minItems": 1000000000}', '{"maxLength":9999999}', '{\\"minProperties\\": 10000000}', '{"minItems": 1e9}',
     '"a{10000000}"', '"a{1,99999999}"', '"root ::= \\"a\\"{ 10000000 }"'],
)  # fmt: skip
def test_huge_repetitions_in_a_constraint_are_400(schema: str) -> None:
    with pytest.raises(RequestError, match="repetition"):
        screening.check_constraints({"response_format": {}}, schema.encode())


@pytest.mark.parametrize("schema", ['{"minItems": 999999, "maximum": 100000000}', '"a{1,1000}"', '{"maxLength": 200}'])
def test_ordinary_repetitions_pass(schema: str) -> None:
    screening.check_constraints({}, schema.encode())


@pytest.mark.parametrize(
    ("payload", "expected"),
    [({"response_format": {"type": "text"}}, True), ({"parameters": {"grammar": {}}}, True), ({"tools": []}, True),
     ({"response_format": None}, False), ({"parameters": {}}, False), ({}, False)],
)  # fmt: skip
def test_a_constrained_request_is_recognised(payload: dict[str, object], expected: bool) -> None:
    assert screening.constrained(payload) is expected


def test_what_a_request_may_not_set_cannot_be_smuggled_in_as_an_extra_argument() -> None:
    with pytest.raises(RequestError, match="kv_transfer_params cannot be set"):
        screening.check_fields({"vllm_xargs": {"kv_transfer_params": "x"}}, vocabulary_size=100)
