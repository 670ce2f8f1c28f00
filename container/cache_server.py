"""Runs `lmcache server` and tells what becomes of it: starts it, asks after it, restarts it, cleans up after it.

`python -P -m container.cache_server <run directory>/cache-launch.json` is a small process of its own that may be
killed at any time: the server dies with it (PR_SET_PDEATHSIG), and the supervisor starts another. What it has to say,
one line each, goes to standard output; what the engine's process must know goes into the status file.
"""

import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from autoconfig.settings import CacheStatus
from autoconfig.tiers import gib
from container.cache_disk import CacheDisk
from container.cache_process import CacheProcess, pause, signals_held
from container.cache_task import Attempt, CacheTask, write_status
from container.errors import Interruption
from container.processes import die_with_parent

CHECKS = 3
"""Unanswered in a row before the server counts as hung."""
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 10.0
"""Up for this long, earlier crashes no longer count."""
MOST_FAILURES = 5
"""To come up again, in a row, before the cache stays off."""


class Watcher:
    """One cache server's life, over as many processes as it takes."""

    def __init__(self, task: CacheTask) -> None:
        self._task = task
        self._process = CacheProcess(task)
        self._disk = CacheDisk(Path(task.disk_directory), Path(task.marker)) if task.disk_directory else None
        self._status = CacheStatus("starting")
        self._is_told = False
        self._crashes = 0

    def run(self) -> None:
        """Keep the server up until SIGTERM; once it is off, wait for that."""
        try:
            attempt = self._begin()
            while attempt:
                attempt = self._again(attempt, self._watch())
            while True:
                self._wait(LONGEST_PAUSE_SECONDS)
        except Interruption:
            return
        finally:
            self._process.end()
            if self._disk:
                self._disk.remove()

    def _begin(self) -> Attempt | None:
        """Start the server for the first time, or take over from a watcher that was killed, and its server with it."""
        earlier = CacheStatus.read(Path(self._task.status_file))
        if earlier is None or earlier.state == "starting":
            return self._first()
        self._tell(earlier)
        if earlier.state == "off":
            return None
        sizes = (earlier.cpu_bytes, earlier.disk_bytes)
        last = next((a for a in self._task.attempts if (a.cpu_bytes, a.disk_bytes) == sizes), self._task.attempts[-1])
        return self._again(last, "its watcher was killed")

    def _first(self) -> Attempt | None:
        """Try what was planned, then what asks for less."""
        self._tell(CacheStatus("starting"))
        reason = "there is nothing to start"
        for attempt in self._task.attempts:
            began = time.monotonic()
            if not (reason := self._start(attempt)):
                self._up(attempt, f"up after {time.monotonic() - began:.0f} s: {_sizes(attempt)}")
                return attempt
            if attempt is not self._task.attempts[-1]:
                say(f"did not start: {reason}; trying once more with less")
        self._off(f"did not start: {reason}")
        return None

    def _watch(self) -> str:
        """Return, once the server is no longer well, what is wrong with it."""
        began, unanswered = time.monotonic(), 0
        while unanswered < CHECKS:
            self._wait(self._task.check_seconds, until_a_child_ends=True)
            if ending := self._process.ending():
                return ending
            unanswered = 0 if self._process.answers() else unanswered + 1
            if time.monotonic() - began > STEADY_SECONDS:
                self._crashes = 0
        return f"it has not answered {CHECKS} times"

    def _again(self, attempt: Attempt, reason: str) -> Attempt | None:
        """Bring a server back that was up before: not too soon, and less often the more often it fails."""
        for _ in range(MOST_FAILURES):
            self._process.end(gently=False)
            seconds = min(self._task.settle_seconds * (1 << min(self._crashes, 16)), LONGEST_PAUSE_SECONDS)
            self._crashes += 1
            self._tell(replace(self._status, state="down", reason=reason))
            say(f"down: {reason}; serving goes on without it, and it is started again in {seconds:.0f} s")
            self._wait(seconds)
            began = time.monotonic()
            if not (reason := self._start(attempt)):
                self._status = replace(self._status, restarts=self._status.restarts + 1)
                self._up(attempt, f"up again after {time.monotonic() - began:.0f} s, empty")
                return attempt
        self._off(f"did not come back: {reason}")
        return None

    def _start(self, attempt: Attempt) -> str:
        """Start a server with empty tiers; return why it is not up, or nothing."""
        if attempt.disk_bytes and self._disk:
            try:
                self._disk.empty()
            except OSError as error:
                return f"no disk tier: {error.strerror or error}"
        return self._process.start(attempt)

    def _up(self, attempt: Attempt, text: str) -> None:
        self._tell(CacheStatus("up", "", self._status.restarts, attempt.cpu_bytes, attempt.disk_bytes))
        say(text)

    def _off(self, reason: str) -> None:
        self._process.end()
        self._tell(replace(self._status, state="off", reason=reason))
        say(f"off: {reason}; serving goes on without it")

    def _wait(self, seconds: float, *, until_a_child_ends: bool = False) -> None:
        """Let time pass, then repeat what a full disk has kept from being told."""
        pause(seconds, until_a_child_ends=until_a_child_ends)
        if not self._is_told:
            self._tell(self._status)
        self._process.bound_log()

    def _tell(self, status: CacheStatus) -> None:
        self._status = status
        self._is_told = False
        with suppress(OSError):
            write_status(Path(self._task.status_file), status)
            self._is_told = True


def say(text: str) -> None:
    """Tell the operator one thing."""
    print(text, flush=True)


def _sizes(attempt: Attempt) -> str:
    disk = gib(attempt.disk_bytes) if attempt.disk_bytes else "none"
    return f"RAM {gib(attempt.cpu_bytes)}, disk {disk}"


def main(file: Path) -> None:
    """Watch the server that `file` describes."""
    with signals_held():
        die_with_parent()
        Watcher(CacheTask.read(file)).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
