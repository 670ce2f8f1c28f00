"""The worker's own log lines, as text or as one JSON object a line."""

import logging
import sys
from typing import Literal

import orjson


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


def configure(form: Literal["text", "json"]) -> None:
    """Send the loggers under `lmi` to standard error in the given form, at INFO."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(_Json() if form == "json" else text)
    logger = logging.getLogger("lmi")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
