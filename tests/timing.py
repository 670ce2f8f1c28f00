"""How tests wait and measure on a machine that others use too: it may stall at any moment, for as long as it likes.

A stall is there once, a defect each time: what must be quick is measured until it was, a few times at most. What must
come is waited for many times longer than it takes.
"""

import time
from collections.abc import Callable

LONG_SECONDS = 60.0
"""Nothing that comes at all takes this long."""


def eventually(holds: Callable[[], bool], what: str, seconds: float = LONG_SECONDS) -> None:
    """Wait until something holds; fail after `seconds`."""
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def assert_within(limit: float, measure: Callable[[], float], attempts: int = 5) -> None:
    """Measure a few times, until one measurement stays below the limit."""
    taken: list[float] = []
    while not taken or taken[-1] >= limit:
        assert len(taken) < attempts, f"took {taken} s, of which none is below {limit} s"
        taken.append(measure())
