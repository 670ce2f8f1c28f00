"""Merges what was given for an option into its one value, which knows where it came from and what it overruled."""

import difflib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autoconfig.errors import BadValueError, ConfigError, ContradictionError
from autoconfig.kinds import Kind, read
from autoconfig.masking import MASK, masked
from autoconfig.options import Layer, Option
from autoconfig.sources import Given, Origin


@dataclass(frozen=True, slots=True, repr=False)
class Value:
    """What counts for one option."""

    option: Option
    value: Any
    origin: Origin
    shadowed: tuple[Given, ...] = ()
    reason: str = ""
    """Why it was recommended."""

    @property
    def given(self) -> bool:
        """Whether the operator said so; otherwise it is a recommendation or the default."""
        return self.origin.layer > Layer.RECOMMENDED

    @property
    def shown(self) -> Any:
        """The value as it may be shown: secrets masked."""
        return MASK if self.option.secret and self.value else masked(self.value)

    def __str__(self) -> str:
        return f"{self.option.label}={as_text(self.shown)} ({self.origin})"

    __repr__ = __str__  # never the secret


def as_text(value: Any) -> str:
    """Write a value as an operator would: True -> true, ["a", "b"] -> a,b."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(as_text, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def default(option: Option) -> Value:
    """Return the value an option has where nobody says anything."""
    return Value(option, option.default, Origin(Layer.DEFAULT, "default"))


def merged(given: Iterable[Given]) -> tuple[Value | None, list[ConfigError]]:
    """Let the highest layer win; two speakers on one layer are an error."""
    ordered = sorted(given, key=_rank)
    errors: list[ConfigError] = [
        error
        for layer, group in itertools.groupby(ordered, key=lambda one: one.origin.layer)
        if (error := _contradiction(layer, list(group)))
    ]
    try:
        value = typed(ordered[0])
    except BadValueError as error:
        return None, [*errors, error]
    return Value(ordered[0].option, value, ordered[0].origin, tuple(ordered[1:])), errors


def _rank(one: Given) -> tuple[int, int]:
    # SAGEMAKER_MAX_REQUEST_SIZE before SAGEMAKER_MAX_PAYLOAD_IN_MB, as in LMI: batch transform sets the latter itself.
    overrides = [spelling.name for spelling in one.option.overrides]
    return -one.origin.layer, overrides.index(one.origin.source) if one.origin.source in overrides else 0


def _contradiction(layer: Layer, group: list[Given]) -> ContradictionError | None:
    if len(group) == 1 or layer == Layer.SAGEMAKER:
        return None
    # Platforms and base images set aliases without being asked; where they agree, nobody is contradicted.
    if layer in (Layer.ALIAS, Layer.FALLBACK) and len({_comparable(one) for one in group}) == 1:
        return None
    said = " and ".join(f"{one.shown} ({one.origin})" for one in group)
    return ContradictionError(f"{group[0].option.label} is given {len(group)} times: {said}. Keep one.")


def _comparable(one: Given) -> str:
    try:
        return repr(typed(one))
    except BadValueError:
        return one.text


def typed(one: Given) -> Any:
    """Return the value the text stands for: `max_model_len=8k` -> 8000; raise BadValueError where it is none."""
    option, text = one.option, one.text
    if text.lower() in option.words:
        return text.lower()
    if option.optional and text == "None":
        return None
    text = option.spelled.get(text, option.spelled.get(text.lower(), text))
    try:
        value = read(option.kind, text)
    except (ValueError, RecursionError):
        raise BadValueError(f"{one} is not {option.expected}.") from None
    if option.choices:
        return _chosen(one, value)
    if not _within_bounds(option, value):
        raise BadValueError(f"{one} is not {option.expected}.")
    return value


def _within_bounds(option: Option, value: Any) -> bool:
    too_small = option.minimum is not None and value < option.minimum
    return not too_small and (option.maximum is None or value <= option.maximum)


def _chosen(one: Given, value: Any) -> Any:
    choices = one.option.choices
    if one.option.kind is Kind.LIST:
        wrong = next((item for item in value if item not in choices), None)
        if wrong is None:
            return value
        value = wrong
    # vLLM itself reads FlashInfer-TRTLLM as flashinfer_trtllm for some back ends (engine/arg_utils.py:1806).
    for candidate in (value, value.lower().replace("-", "_")) if isinstance(value, str) else (value,):
        if candidate in choices:
            return candidate
    raise BadValueError(f"{one} is not {one.option.expected}.{_near(one.option, value)}")


def _near(option: Option, value: Any) -> str:
    """Say what was probably meant: the next larger number, or a word that is written nearly so."""
    if option.kind is Kind.INT:
        larger = [choice for choice in option.choices if choice > value]
        return f" Set {min(larger)}." if larger else f" Set {max(option.choices)} at most."
    near = difflib.get_close_matches(str(value), [*map(str, option.choices), *option.spelled], n=2)
    return f" Did you mean {' or '.join(near)}?" if near else ""
