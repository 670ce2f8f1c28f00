"""Turns the bytes of a child's pipes into lines, and those of its status pipe into events.

An event is {"event": "phase" | "notice" | "ready" | "drained" | "failed", "pid": the worker's, ...}, one a line.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

Event = Mapping[str, Any]
"""By "event": phase has a name, notice a text, failed has a cause and the exit code that follows."""


class TextLines:
    """Takes bytes in any pieces; passes whole lines on."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Take what a read returned."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.decode("utf-8", "replace"))


class StatusLines(TextLines):
    """Passes JSON objects on and ignores what is none."""

    def __init__(self, take: Callable[[Event], None]) -> None:
        super().__init__(self._parse)
        self._take_event = take

    def _parse(self, line: str) -> None:
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                self._take_event(event)
