"""DJL's decorator for the function that turns a reply into what callers get."""

from collections.abc import Callable
from typing import Any, TypeVar

from .request_io import RequestOutput, TextGenerationOutput

__all__ = ["RequestOutput", "TextGenerationOutput", "output_formatter"]
F = TypeVar("F", bound=Callable[..., Any])


def output_formatter(function: F) -> F:
    """Mark the function that turns a reply, or each part of a stream, into what callers get."""
    function.is_output_formatter = True  # type: ignore[attr-defined]
    return function
