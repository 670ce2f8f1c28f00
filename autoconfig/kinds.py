"""Turns the text of an option into a value of its type, as strictly as vLLM's own parser, before vLLM is imported."""

import json
import math
import re
from collections.abc import Callable
from enum import Enum
from typing import Any


class Kind(Enum):
    """What an option's text must be; the names are those of `engine_args.json`, which has no sizes."""

    BOOL = "bool"
    FLAG = "flag"
    INT = "int"
    HUMAN_INT = "human_int"
    MODEL_LENGTH = "model_length"
    FLOAT = "float"
    GIB = "gib"
    TEXT = "text"
    TEXT_OR_JSON = "text_or_json"
    LIST = "list"
    INT_LIST = "int_list"
    JSON_OBJECT = "json_object"
    JSON_LIST = "json_list"


EXPECTED = {
    Kind.BOOL: "true or false",
    Kind.FLAG: "true or false",
    Kind.INT: "a whole number",
    Kind.HUMAN_INT: "a whole number",
    Kind.MODEL_LENGTH: "a number of tokens",
    Kind.FLOAT: "a number",
    Kind.GIB: "a number",
    Kind.TEXT: "text",
    Kind.TEXT_OR_JSON: "text or a JSON object",
    Kind.LIST: "a list, as a,b,c or as JSON",
    Kind.INT_LIST: "a list of whole numbers, as 1,2,4 or as JSON",
    Kind.JSON_OBJECT: "a JSON object",
    Kind.JSON_LIST: "a JSON list",
}

FORMS = {
    Kind.GIB: ", in GiB and without a unit",
    Kind.HUMAN_INT: ", also as 8k (8000), 8K (8192), 1.5m or 2G",
    Kind.MODEL_LENGTH: ', also as 8k (8000) or 8K (8192), or "auto"',
}

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}
_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def read(kind: Kind, text: str) -> Any:
    """Return the value the text stands for, or raise ValueError: `read(Kind.HUMAN_INT, "8k")` -> 8000."""
    return _READERS[kind](text.strip() if kind is not Kind.TEXT else text)


def _bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def _int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise ValueError(text)
    return int(text)


def _human_int(text: str) -> int:
    if (match := _HUMAN.fullmatch(text)) is None:
        return _int(text)
    number, suffix = match.groups()
    # vLLM refuses 1.5K: a decimal number of binary units is more likely a slip (utils/argparse_utils.py:29).
    return int(float(number) * _SUFFIXES[suffix]) if suffix.islower() else _int(number) * _SUFFIXES[suffix]


def _model_length(text: str) -> int | str:
    if text.lower() in ("auto", "-1"):
        return "auto"
    if (tokens := _human_int(text)) < 1:
        raise ValueError(text)
    return tokens


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or "_" in text:
        raise ValueError(text)
    return number


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        # vLLM takes 80m or 1.5k as bare numbers inside JSON (engine/arg_utils.py:296).
        parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
        parts[::2] = [re.sub(rf"\b{_HUMAN.pattern}\b", lambda m: str(_human_int(m[0])), part) for part in parts[::2]]
        return json.loads("".join(parts), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _json_object(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _json_list(text: str) -> list[Any]:
    value = _json(text)
    if not isinstance(value, list):
        raise ValueError(text)
    return value


def _list(text: str) -> list[str]:
    if text.startswith("["):
        return [item if isinstance(item, str) else json.dumps(item) for item in _json_list(text)]
    if text.startswith("{"):
        return [json.dumps(_json_object(text))]
    return [item for part in text.split(",") if (item := part.strip())]


def _int_list(text: str) -> list[int]:
    return [_int(item) for item in _list(text)]


def _text_or_json(text: str) -> str | dict[str, Any]:
    return _json_object(text) if text.startswith("{") else text


_READERS: dict[Kind, Callable[[str], Any]] = {
    Kind.BOOL: _bool,
    Kind.FLAG: _bool,
    Kind.INT: _int,
    Kind.HUMAN_INT: _human_int,
    Kind.MODEL_LENGTH: _model_length,
    Kind.FLOAT: _float,
    Kind.GIB: _float,
    Kind.TEXT: str,
    Kind.TEXT_OR_JSON: _text_or_json,
    Kind.LIST: _list,
    Kind.INT_LIST: _int_list,
    Kind.JSON_OBJECT: _json_object,
    Kind.JSON_LIST: _json_list,
}
