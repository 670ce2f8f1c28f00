"""The worker's log lines: gathered into few writes, and none of them lost or late for long."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from handlers.log_format import GATHERED_SECONDS, configure

logger = logging.getLogger("lmi.requests")


class Writes(io.StringIO):
    """A stream that counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def write(self, text: str) -> int:
        self.number += 1
        return super().write(text)


@pytest.fixture
def stream() -> Iterator[Writes]:
    root = logging.getLogger("lmi")
    before = root.handlers, root.level, root.propagate
    writes = Writes()
    configure("text", writes)
    yield writes
    root.handlers, root.level, root.propagate = before


def test_lines_of_one_moment_are_written_at_once_and_soon(stream: Writes) -> None:
    async def requests() -> None:
        for number in range(50):
            logger.info("request %d", number)
        assert stream.number == 0
        await asyncio.sleep(GATHERED_SECONDS * 1.5)

    asyncio.run(requests())
    assert stream.number == 1
    assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == [str(n) for n in range(50)]


def test_a_warning_takes_the_lines_before_it_along_without_waiting(stream: Writes) -> None:
    async def requests() -> None:
        logger.info("first")
        logger.warning("second")
        assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["first", "second"]

    asyncio.run(requests())


def test_a_line_of_a_thread_without_a_loop_is_written_at_once(stream: Writes) -> None:
    logger.info("alone")
    assert stream.getvalue().endswith("alone\n")


def test_a_line_is_one_json_object_where_that_is_asked_for(stream: Writes) -> None:
    configure("json", stream)
    logger.info("said")
    assert json.loads(stream.getvalue())["message"] == "said"
