"""How a start can end early, and the status this process then exits with.

PreparationError   something before the engine went wrong: one line for the operator, exit 2 unless said otherwise
Interruption       the platform asked for the end, or the start deadline passed, while a preparation step ran
"""

from enum import IntEnum


class Exit(IntEnum):
    """What the exit status tells the platform; a table of these is in the README."""

    STOPPED = 0
    CONFIGURATION = 2
    ENGINE = 4
    DEADLINE = 5


class PreparationError(Exception):
    """A preparation step cannot succeed; the text is the operator's message, one line."""


class Interruption(BaseException):
    """Raised out of a signal handler to leave a preparation step; a BaseException so that no step swallows it."""

    def __init__(self, code: Exit, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
