"""DJL's decorators for functions that a server looks for in a `model.py`."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
SAGEMAKER_ADAPTER_IDENTIFIER_HEADER = "X-Amzn-SageMaker-Adapter-Identifier"


def input_formatter(function: F) -> F:
    """Mark the function that turns a request's body into what the model is asked."""
    function.is_input_formatter = True  # type: ignore[attr-defined]
    return function


def prediction_handler(function: F) -> F:
    """Mark a function of DJL's other backends; with vLLM it has no effect."""
    function.is_prediction_handler = True  # type: ignore[attr-defined]
    return function


def init_handler(function: F) -> F:
    """Mark a function of DJL's other backends; with vLLM it has no effect."""
    function.is_init_handler = True  # type: ignore[attr-defined]
    return function
