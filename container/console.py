"""The operator's view: whole lines on standard output, as text or JSON, from a thread of its own.

The thread is there because whoever reads our output may stop reading (`docker logs` stalled, a paused pager), and
neither the supervisor nor the worker may wait for that.
"""

import json
import os
import queue
import threading
from datetime import UTC, datetime
from typing import Literal

Level = Literal["info", "warning", "error"]
WAITING_LINES = 10_000


class Console:
    """Takes lines at once and writes them when the reader allows; drops, and counts, what nobody reads."""

    def __init__(self, log_format: Literal["text", "json"] = "text", descriptor: int = 1) -> None:
        self._json = log_format == "json"
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(WAITING_LINES)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="console", daemon=True)
        self._writer.start()

    def say(self, message: str, level: Level = "info", source: str = "lmi") -> None:
        """Print one line of ours, or wrap one of somebody else's."""
        if self._json:
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
            message = json.dumps({"time": stamp, "level": level, "source": source, "message": message})
        self._put(message)

    def relay(self, line: str, level: Level) -> None:
        """Print a line the worker wrote; in JSON mode, one that is no JSON object is wrapped."""
        if self._json and not _is_json_object(line):
            self.say(line, level, source="worker")
        else:
            self._put(line)

    def close(self, seconds: float = 1.0) -> None:
        """Give the reader a last moment to take what is waiting."""
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return
        self._writer.join(seconds)

    def _put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._dropped:
                line = f"{line}\n({self._dropped} lines were not read in time and are not shown)"
                self._dropped = 0
            data = (line + "\n").encode("utf-8", "replace")
            try:
                # Not print(): a thread blocked inside sys.stdout makes the interpreter abort when it ends.
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                continue  # the reader is gone; serving goes on


def _is_json_object(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
