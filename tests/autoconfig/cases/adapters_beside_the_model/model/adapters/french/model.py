from typing import Any

from djl_python.input_parser import input_formatter
from djl_python.output_formatter import output_formatter as shown


@input_formatter
def ask(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


@shown
def answer(reply: dict[str, Any]) -> dict[str, Any]:
    return reply
