"""Turns the bytes of a child's status pipe into events: {"event": "phase" | "ready" | "failed", ...}, one a line."""

import json
from collections.abc import Callable, Mapping
from typing import Any

Event = Mapping[str, Any]
"""By "event": phase has a name, failed has a cause and the exit code that follows."""


class StatusLines:
    """Takes bytes in any pieces; passes JSON objects on and ignores what is none."""

    def __init__(self, take: Callable[[Event], None]) -> None:
        self._take = take
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        """Take what a read returned."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                self._take(event)
