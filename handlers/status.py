"""What the worker tells the supervisor: one JSON object a line, on a descriptor it inherits or a FIFO it opens.

An event is {"event": "phase" | "notice" | "ready" | "drained" | "failed", ...}; container/status.py reads them.
Each carries this process's pid, as with Java between the supervisor knows no other way whom to ask to drain.
"""

import contextlib
import logging
import os
from collections.abc import Mapping

import orjson

NOTICES = "lmi.notices"
"""The logger of what the operator should see without looking into the log."""


class Status:
    """The line to the supervisor; silent where there is none."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Status":
        """Open the line that the supervisor named: LMI_STATUS_FD, or LMI_STATUS_PIPE where Java lies between."""
        if descriptor := environ.get("LMI_STATUS_FD"):
            return cls(int(descriptor))
        if fifo := environ.get("LMI_STATUS_PIPE"):
            with contextlib.suppress(OSError):  # nobody reads it
                number = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                os.set_blocking(number, True)
                return cls(number)
        return cls(None)

    def phase(self, name: str) -> None:
        """Tell what the start is busy with."""
        self._write({"event": "phase", "name": name})

    def notice(self, text: str) -> None:
        """Tell in one line what the operator should know, although the start goes on."""
        self._write({"event": "notice", "text": text})

    def ready(self) -> None:
        """Tell that requests are answered from now on."""
        self._write({"event": "ready"})

    def drained(self) -> None:
        """Tell that nothing is in flight any more, and nothing new is taken."""
        self._write({"event": "drained"})

    def failed(self, cause: str, code: int) -> None:
        """Tell in one line why this process is about to exit with `code`."""
        self._write({"event": "failed", "cause": cause, "code": code})

    def _write(self, event: dict[str, str | int]) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._descriptor, orjson.dumps({**event, "pid": os.getpid()}) + b"\n")


class Notices(logging.Handler):
    """Tells the supervisor what is logged under NOTICES; while a model starts, the console shows no log."""

    def __init__(self, status: Status) -> None:
        super().__init__()
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one message."""
        self._status.notice(record.getMessage())
