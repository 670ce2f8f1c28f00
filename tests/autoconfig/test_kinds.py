from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoconfig.kinds import Kind, read


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.BOOL, "true", True),
        (Kind.BOOL, "FALSE", False),
        (Kind.BOOL, "1", True),
        (Kind.BOOL, "off", False),
        (Kind.FLAG, "yes", True),
        (Kind.INT, "-3", -3),
        (Kind.HUMAN_INT, "8k", 8000),
        (Kind.HUMAN_INT, "8K", 8192),
        (Kind.HUMAN_INT, "25.6k", 25600),
        (Kind.HUMAN_INT, "2G", 2 << 30),
        (Kind.MODEL_LENGTH, "AUTO", "auto"),
        (Kind.MODEL_LENGTH, "-1", "auto"),
        (Kind.MODEL_LENGTH, "32k", 32000),
        (Kind.FLOAT, "0.9", 0.9),
        (Kind.FLOAT, "1e-3", 0.001),
        (Kind.LIST, "a, b,,c", ["a", "b", "c"]),
        (Kind.LIST, '["a,b", {"name": "x"}]', ["a,b", '{"name": "x"}']),
        (Kind.LIST, '{"name": "x", "path": "/y"}', ['{"name": "x", "path": "/y"}']),
        (Kind.INT_LIST, "1,2,4", [1, 2, 4]),
        (Kind.INT_LIST, "[1, 2]", [1, 2]),
        (Kind.JSON_OBJECT, '{"a": {"b": [1]}}', {"a": {"b": [1]}}),
        (Kind.JSON_OBJECT, '{"bytes": 80m, "name": "80m"}', {"bytes": 80_000_000, "name": "80m"}),
        (Kind.JSON_LIST, '["*"]', ["*"]),
        (Kind.TEXT_OR_JSON, '{"a": 1}', {"a": 1}),
        (Kind.TEXT_OR_JSON, "cuda:0", "cuda:0"),
    ],
)
def test_text_is_read_as_its_kind(kind: Kind, text: str, value: object) -> None:
    assert read(kind, text) == value
    assert type(read(kind, text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.BOOL, "ture"),
        (Kind.BOOL, "2"),
        (Kind.INT, "8k"),
        (Kind.INT, "1.0"),
        (Kind.INT, "1_000"),
        (Kind.INT, "٣"),
        (Kind.INT, "9" * 5000),
        (Kind.HUMAN_INT, "1.5K"),
        (Kind.HUMAN_INT, "8kb"),
        (Kind.MODEL_LENGTH, "0"),
        (Kind.MODEL_LENGTH, "-2"),
        (Kind.FLOAT, "nan"),
        (Kind.FLOAT, "inf"),
        (Kind.FLOAT, "1_0.5"),
        (Kind.INT_LIST, "1,two"),
        (Kind.JSON_OBJECT, "[1]"),
        (Kind.JSON_OBJECT, "{'a': 1}"),
        (Kind.JSON_OBJECT, '{"a": NaN}'),
        (Kind.JSON_LIST, '{"a": 1}'),
        (Kind.TEXT_OR_JSON, '{"a": }'),
    ],
)
def test_text_of_another_kind_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  its text is the caller's matter
        read(kind, text)


@given(st.sampled_from(Kind), st.text(max_size=40))
def test_no_text_raises_anything_but_value_error(kind: Kind, text: str) -> None:
    with suppress(ValueError):
        read(kind, text)
