import logging

import pytest

from handlers.engine_log import RequestTalk

FILTER = RequestTalk(mistakes=(ValueError,), deaths=(ConnectionError,))


def record(name: str, level: int, error: Exception | None = None) -> logging.LogRecord:
    raised = (type(error), error, None) if error else None
    return logging.LogRecord(name, level, "", 0, "text", (), raised)


@pytest.mark.parametrize(
    ("name", "level", "error", "kept"),
    [
        ("vllm.entrypoints.openai.completion.serving", logging.ERROR, ValueError("the caller's text"), False),
        ("vllm.renderers.hf", logging.WARNING, None, False),
        ("vllm.entrypoints.openai.completion.serving", logging.ERROR, RuntimeError(), True),
        ("vllm.v1.core.scheduler", logging.WARNING, None, True),
        ("vllm.v1.engine.async_llm", logging.ERROR, ConnectionError(), True),
    ],
)
def test_the_log_holds_what_concerns_the_operator(name: str, level: int, error: Exception | None, kept: bool) -> None:
    assert FILTER.filter(record(name, level, error)) is kept


def test_a_dead_engine_is_told_without_a_traceback() -> None:
    told = record("vllm.v1.engine.async_llm", logging.ERROR, ConnectionError())
    assert FILTER.filter(told)
    assert told.exc_info is None
