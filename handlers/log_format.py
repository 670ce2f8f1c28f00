"""The worker's own log lines, as text or as one JSON object a line, a tenth of a second's worth in one write.

A write for each line wakes the supervisor once a request: the largest part of what this layer took from a whole answer
with 64 requests in flight on two cores (3 of 9 % of the worker's time, sampled).
"""

import asyncio
import logging
import sys
from contextlib import nullcontext
from typing import Literal, TextIO

import orjson

GATHERED_SECONDS = 0.1


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


class _Gathered(logging.StreamHandler[TextIO]):
    """Writes what an event loop's tasks log within GATHERED_SECONDS at once; a warning, and any other line, at once."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, and see to it that it is written."""
        try:
            self._lines.append(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)
            return
        if record.levelno >= logging.WARNING:
            self.flush()
        elif len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(GATHERED_SECONDS, self.flush)
            except RuntimeError:  # no loop runs in this thread, so nothing would come back for the line
                self.flush()

    def flush(self) -> None:
        """Write what was kept."""
        with self.lock or nullcontext():
            if self._lines:
                lines, self._lines = self._lines, []
                self.stream.write("\n".join([*lines, ""]))
            super().flush()


def configure(form: Literal["text", "json"], stream: TextIO = sys.stderr) -> None:
    """Send the loggers under `lmi` to `stream` in the given form, at INFO."""
    handler = _Gathered(stream)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(_Json() if form == "json" else text)
    logger = logging.getLogger("lmi")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
