"""Turns what worker and engine write into a few lines for the operator and a bounded engine.log with everything.

While starting nothing passes: the worker's phases tell where it is, and if it fails, one line of cause is worth more
than the tracebacks of three processes. Afterwards all passes but chatter.
"""

import re
from collections import deque
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path

from container.console import Console, Level

LOG_BYTES = 16 * 1024 * 1024
LINE_BYTES = 64 * 1024
TAIL_LINES = 400
CAUSE_LENGTH = 500

# vLLM 0.32, vllm/logger.py: "(EngineCore pid=12) WARNING 11-23 00:52:10 [file.py:12] text"
_LEVEL = "(DEBUG|INFO|WARNING|ERROR|CRITICAL)"
_ENGINE_PREFIX = re.compile(rf"^(?:\([^)]*pid=\d+\) )?(?:{_LEVEL} [\d-]+ [\d:.]+ \[[^\]]*\] ?)?")
# LMCache 0.5.6, in the engine's processes: "[2026-11-23 04:55:11,114] LMCache WARNING: text (file.py:614:module)". That
# its server is gone or back is told by the one who watches it, once and not by every process.
_LMCACHE_PREFIX = re.compile(rf"^\[[\d ,:-]+\] LMCache {_LEVEL}: ?")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_LEVELS: dict[str, Level] = {"WARNING": "warning", "ERROR": "error", "CRITICAL": "error"}
# All of a traceback but its last line, which names the exception: the rest is in engine.log.
_TRACEBACK = re.compile(r"Traceback \(most recent|\s|During handling of the above|The above exception was|$")
# What Python says of a process that its engine ended while it held something.
_LEFT_BEHIND = re.compile(r"resource_tracker: There appear to be|^\s+warnings\.warn\('resource_tracker")
_PROGRESS_BAR = re.compile(r"\d+%\|")
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*\.)?([A-Z]\w*(?:Error|Exception|Interrupt|Exit|Timeout)): \S")
# What outer processes raise when an inner one has failed: true, and of no use to anyone.
_GENERIC = re.compile(
    r"[Ss]ee root cause above|Engine core initialization failed|EngineDeadError|EngineCore encountered an issue|"
    r"the engine process died"
)


class EngineLogFile(RotatingFileHandler):
    """engine.log and one older engine.log.1, each at most 16 MiB; a full disk costs log lines, not the service."""

    def handleError(self, record: LogRecord) -> None:  # noqa: N802 the name is logging's
        """Stay silent: the default prints a traceback for every line."""


class WorkerOutput:
    """Receives the bytes a worker and its children write."""

    def __init__(self, console: Console, log_file: Path, *, verbose: bool = False) -> None:
        self.log_file = log_file
        self._console = console
        self._file = EngineLogFile(log_file, maxBytes=LOG_BYTES, backupCount=1, errors="replace")
        if log_file.stat().st_size:
            self._file.doRollover()  # the last start's log is kept as engine.log.1
        self._verbose = verbose
        self._starting = True
        self._stopping = False
        self._chatter = {"DEBUG", "INFO"}
        self._unfinished = b""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes) -> None:
        """Take what a read returned; an empty one is the end of the stream."""
        *lines, rest = (self._unfinished + (data or b"\n")).replace(b"\r", b"\n").split(b"\n")
        if len(rest) > LINE_BYTES:
            lines.append(rest)
            rest = b""
        self._unfinished = rest
        for line in lines:
            if text := _COLOUR.sub("", line.decode("utf-8", "replace")).rstrip():
                self._take(text)

    def started(self) -> None:
        """From now on whatever is not chatter passes."""
        self._starting = False

    def stopping(self) -> None:
        """From now on warnings are chatter too: the engine complains about processes it ends itself."""
        self._chatter.add("WARNING")
        self._stopping = True

    def cause(self) -> str | None:
        """Return the last exception in the log that says something, as one line."""
        lines = [_ENGINE_PREFIX.sub("", line) for line in self._tail]
        for number in range(len(lines) - 1, -1, -1):
            if _EXCEPTION.match(lines[number]) and not _GENERIC.search(lines[number]):
                return shortened(_with_details(lines[number : number + 3]))
        return None

    def close(self) -> None:
        """Close engine.log."""
        self._file.close()

    def _take(self, line: str) -> None:
        self._file.emit(makeLogRecord({"msg": line}))
        self._tail.append(line)
        level = _level(line)
        if self._verbose or not (self._starting or self._is_chatter(line, level)):
            self._console.relay(line, _LEVELS.get(level or "INFO", "info"))

    def _is_chatter(self, line: str, level: str | None) -> bool:
        inside_traceback = level is not None and _TRACEBACK.match(_ENGINE_PREFIX.sub("", line)) is not None
        warned = level == "WARNING" and _LMCACHE_PREFIX.match(line) is not None
        left = self._stopping and _LEFT_BEHIND.search(line) is not None
        return level in self._chatter or inside_traceback or warned or left or _PROGRESS_BAR.search(line) is not None


def _level(line: str) -> str | None:
    found = _LMCACHE_PREFIX.match(line) or _ENGINE_PREFIX.match(line)
    return found[1] if found else None


def is_generic(cause: str) -> bool:
    """Tell whether a cause only says that another process knows the cause."""
    return bool(_GENERIC.search(cause))


def shortened(cause: str) -> str:
    """Return a cause as an operator wants it: no pydantic's wrapping, no Java's stack, no longer than a few lines."""
    cause = re.sub(r"^(?:[\w.]+: )?\d+ validation errors? for (\w+):? ", r"\1: ", " ".join(cause.split()))
    cause = cause.partition(" | at ")[0]  # frontends/log4j2.xml
    cause = re.sub(r" ?\[type=\w+, input_value=.*", "", cause.replace("Value error, ", ""))
    return cause if len(cause) <= CAUSE_LENGTH else f"{cause[:CAUSE_LENGTH]} ..."


def _with_details(lines: list[str]) -> str:
    """Join a message that announces more ("1 validation error for ModelConfig", "... one of:") with what follows."""
    announces = re.search(r"(validation errors? for \w+|:)$", lines[0])
    return " ".join(lines if announces else lines[:1])
