"""Which adapter a request asks for: SageMaker's header, else the body's `adapters`, else its `model`, else `?adapter=`.

The order is the contract's: an endpoint's own routing beats what a client wrote (LMI, MHCS). The base model's names
mean the base model wherever they stand; so does an empty one in a list. An empty string or list names nothing.
"""

import difflib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from handlers.errors import RequestError
from handlers.exchange import Exchange

BASE = ""
"""The name that selects no adapter."""
_HEADER = b"x-amzn-sagemaker-adapter-identifier"
_LIST = "/v1/models"


def chosen(exchange: Exchange, payload: dict[str, Any], base_names: frozenset[str]) -> str | tuple[str, ...]:
    """Return the adapter's name, BASE for none, or a tuple with the name for each of a batch's inputs.

    Raises:
        RequestError: 400 for an `adapters` that is neither a name nor a list of one name for each input.
    """
    if name := exchange.header(_HEADER):
        return _unless_base(name, base_names)
    if (named := payload.get("adapters")) not in (None, "", []):
        return _in_body(named, payload, base_names)
    model = payload.get("model")
    if isinstance(model, str) and model not in base_names:
        return model
    if "adapter" not in exchange.query:
        return BASE
    asked = parse_qs(exchange.query).get("adapter", [BASE])
    return _unless_base(asked[-1], base_names)


def check(
    names: str | tuple[str, ...],
    payload: dict[str, Any],
    base_names: frozenset[str],
    known: Callable[[str], bool] | None,
) -> None:
    """Refuse (404) adapters that do not exist; `known` is None where LoRA is off: a `model` may then be a script's.

    What is told names no adapter but the caller's: others may be somebody else's.
    """
    for name in {names} if isinstance(names, str) else set(names) - {BASE}:
        if name == payload.get("model"):
            if known is not None and not known(name):
                raise no_model(name, base_names, "model or adapter")
        elif known is None:
            reason = "LoRA is not enabled; set option.enable_lora=true"
            raise RequestError(404, f"The adapter `{name[:100]}` does not exist: {reason}.")
        elif not known(name):
            raise RequestError(404, f"The adapter `{name[:100]}` does not exist.")


def no_model(name: str, base_names: frozenset[str], kind: str = "model") -> RequestError:
    """Return the 404 for a body's `model`, with the base model's name where it may have been meant."""
    near = difflib.get_close_matches(name[:100], sorted(base_names - {BASE}), n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    told = f"The {kind} `{name[:100]}` does not exist; GET {_LIST} lists what there is.{hint}"
    return RequestError(404, told, "model", paths=(_LIST, name, *near))


def refuse_singular(payload: dict[str, Any]) -> None:
    """Refuse (400) a body that means an adapter and would get the base model: it says `adapter`, as the query does."""
    if payload.get("adapter") and isinstance(payload["adapter"], (str, list)):
        raise RequestError(400, "A body names its adapter in `adapters`; `adapter` means nothing there.", "adapter")


def _in_body(named: Any, payload: dict[str, Any], base_names: frozenset[str]) -> str | tuple[str, ...]:
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(name is None or isinstance(name, str) for name in names):
        raise RequestError(400, "adapters must be a name, or a list with a name for each input.", "adapters")
    inputs = payload.get("inputs")
    if isinstance(inputs, list) and not isinstance(named, str):
        if len(names) != len(inputs):
            raise RequestError(400, f"adapters names {len(names)} for {len(inputs)} inputs.", "adapters")
        told = tuple(_unless_base(name or BASE, base_names) for name in names)
        return told if len(set(told)) > 1 else told[0]
    if len(names) > 1:
        raise RequestError(400, f"adapters names {len(names)} for one input.", "adapters")
    return _unless_base(names[0] or BASE, base_names)


def _unless_base(name: str, base_names: frozenset[str]) -> str:
    return BASE if name in base_names else name
