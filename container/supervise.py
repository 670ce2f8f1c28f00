"""Runs the worker as PID 1 must: starts it, passes signals on, reaps whatever dies, and ends with the right status.

One blocking loop over a selector: the worker's status pipe, its output, and the pipe into which Python writes the
numbers of signals. No threads, so nothing to lock, and no polling but for the port a front end opens last.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from subprocess import Popen

from container.children import Child, Companions, start
from container.endings import Endings, Outcome
from container.errors import Exit
from container.hosted import CHECK_SECONDS, LAST_REPLIES_SECONDS, HostedWorker
from container.logs import WorkerOutput
from container.processes import STOP_SIGNALS, adopt_orphans, end_descendants, reap, signal_pipe
from container.progress import Progress
from container.status import Event, StatusLines, TextLines

HASTE_SECONDS = 3.0
"""What is left to a worker that was still starting, has failed, or whose operator asked twice."""
MOST_READS = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """The two times that bound a life."""

    start_seconds: float
    """From now until every child but companions must have reported ready."""
    stop_seconds: float
    """From SIGTERM until whatever still drains is killed; SageMaker sends SIGKILL after 30 s."""


class Supervisor:
    """One run of the children, from start to the last reaped descendant."""

    def __init__(
        self, limits: Limits, output: WorkerOutput, progress: Progress, on_ready: Callable[[Event], None]
    ) -> None:
        self._limits = limits
        self._output = output
        self._progress = progress
        self._on_ready = on_ready
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, tuple[Child, Popen[bytes]]] = {}
        self._hosted: dict[str, HostedWorker] = {}
        self._companions = Companions()
        self._not_ready: set[str] = set()
        self._start_limit = time.monotonic() + limits.start_seconds
        self._end_at: float | None = None
        self._kill_at: float | None = None
        self._failure: Event | None = None
        self._outcome: Outcome | None = None
        self._endings = Endings()

    def run(self, children: tuple[Child, ...]) -> Outcome:
        """Start the children; return when none of them, nor anything they started, is left."""
        adopt_orphans()
        with signal_pipe() as signals:
            self._watch(signals, self._take_signals)
            for child in children:
                self._start(child)
            while self._running:
                for key, _ in self._selector.select(self._patience()):
                    key.data(key.fd)
                self._bury()
                self._keep_time()
            end_descendants()
            self._drain()
        return self._outcome or Outcome(Exit.STOPPED, "there was nothing to run")

    def _start(self, child: Child) -> None:
        take = partial(self._take_event, child)
        output = self._pipe(TextLines(partial(self._say, child)) if child.companion else self._output.feed)
        status = None
        if child.hosting:
            worker = self._hosted[child.name] = HostedWorker(child.hosting, take, self._lose_hosted)
            self._watch(worker.descriptor, worker)
        else:
            status = self._pipe(StatusLines(take))
        try:
            process = start(child, output, status)
        finally:
            os.close(output)
            if status is not None:
                os.close(status)
        self._running[process.pid] = (child, process)
        if not child.companion:
            self._not_ready.add(child.name)

    def _start_again(self, child: Child) -> None:
        try:
            self._start(child)
        except OSError as error:  # no memory, or no process may be made, at this moment
            self._lose(child, error.strerror or str(error))

    def _lose(self, child: Child, reason: str) -> None:
        """Plan the next start of a companion; say so."""
        self._say(child, f"its watcher ended: {reason}; started again in {self._companions.died(child):.0f} s")

    def _say(self, child: Child, line: str) -> None:
        self._progress.note(f"{child.name}: {line}")

    def _pipe(self, take: Callable[[bytes], None]) -> int:
        """Return the end of a new pipe that a child writes to, with `take` called for what it writes."""
        reading, writing = os.pipe()
        self._watch(reading, take)
        return writing

    def _watch(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        """Have `take` called with what can be read from `descriptor`, at last with nothing."""
        os.set_blocking(descriptor, False)
        self._selector.register(descriptor, selectors.EVENT_READ, partial(self._read, take))

    def _read(self, take: Callable[[bytes], None], descriptor: int) -> bool:
        """Pass one read on; tell whether there may be more."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        take(data)
        if not data:
            self._selector.unregister(descriptor)
            os.close(descriptor)
        return bool(data)

    def _drain(self) -> None:
        """Take everything that has been written so far."""
        for key in list(self._selector.get_map().values()):
            for _ in range(MOST_READS):  # an orphan may go on writing for ever
                if not key.data(key.fd):
                    break

    def _take_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in STOP_SIGNALS:
                self._stop(signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        """Ask the children to end: with time to drain when serving, with little when starting or when asked again."""
        again = self._outcome is not None
        seconds = HASTE_SECONDS if again or self._not_ready else self._limits.stop_seconds
        if not again:
            self._progress.note(f"{name}: stopping, at most {seconds:.0f} s; a second signal hastens it")
            self._outcome = Outcome(Exit.STOPPED, f"stopped by {name}")
            self._output.stopping()
        self._end_children(seconds)

    def _take_event(self, child: Child, event: Event) -> None:
        match event.get("event"):
            case "phase":
                self._progress.step(f"{child.name}: {event.get('name')}")
            case "notice":
                self._progress.warn(f"{child.name}: {event.get('text')}")
            case "ready" if child.name in self._not_ready:
                self._take_ready(child.name, event)
            case "drained":
                self._end_at = time.monotonic() + LAST_REPLIES_SECONDS
            case "failed":
                self._failure = event
                if child.hosting:  # what hosts it does not know, and would start another
                    self._end_at = time.monotonic() + LAST_REPLIES_SECONDS
                else:
                    self._kill_at = time.monotonic() + HASTE_SECONDS

    def _take_ready(self, name: str, event: Event) -> None:
        self._not_ready.discard(name)
        if not self._not_ready and self._outcome is None:
            self._output.started()
            self._on_ready(event)

    def _lose_hosted(self) -> None:
        """End what hosts a worker that has ended: it would start another, and never be healthy again."""
        if self._outcome is None and self._failure is None:
            self._failure = {"cause": self._endings.of_grandchild(), "code": Exit.ENGINE}
        self._end_at = time.monotonic() + LAST_REPLIES_SECONDS / 2

    def _bury(self) -> None:
        """Reap the dead; a child of ours among them that is no companion ends the run."""
        for pid, code in reap():
            if pid not in self._running:
                continue  # an orphan that came to us
            child, process = self._running.pop(pid)
            process.returncode = code  # reaped here, so Popen must not wait for it
            self._drain()
            if not child.companion:
                self._outcome = self._outcome or self._endings.outcome(
                    child.name, code, self._failure, self._output, starting=bool(self._not_ready)
                )
                self._end_children(HASTE_SECONDS)
            elif self._outcome is None:
                self._lose(child, self._endings.described(code))

    def _keep_time(self) -> None:
        now = time.monotonic()
        for child in self._companions.take_due() if self._outcome is None else ():
            self._start_again(child)
        if self._not_ready and self._outcome is None:
            self._progress.tick()
            if now >= self._start_limit:
                limit = "the start deadline (option.model_loading_timeout) has passed"
                stuck = f"stuck at: {self._progress.current}, after {self._progress.elapsed():.0f} s"
                self._outcome = Outcome(Exit.DEADLINE, f"{limit}; {stuck} (its log: {self._output.log_file})")
                self._end_children(HASTE_SECONDS)
        for name, worker in self._hosted.items():
            if name in self._not_ready and self._outcome is None and (event := worker.ready()):
                self._take_ready(name, event)
        if self._end_at is not None and now >= self._end_at:
            self._end_at = None
            self._end_children(HASTE_SECONDS)
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._progress.note(f"killing what has not ended: {', '.join(c.name for c, _ in self._running.values())}")
            self._signal(self._running, signal.SIGKILL)

    def _patience(self) -> float | None:
        """Return how long nothing can fall due: for ever while serving, at most a second while starting."""
        due = [moment for moment in (self._end_at, self._kill_at) if moment is not None]
        if self._outcome is None:
            due += self._companions.moments()
            look = CHECK_SECONDS if self._hosted else 1.0
            due += [time.monotonic() + look, self._start_limit] if self._not_ready else []
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _end_children(self, seconds: float) -> None:
        """Ask them to end; companions only when nobody is left who may still need them to drain."""
        limit = time.monotonic() + seconds
        self._kill_at = limit if self._kill_at is None else min(self._kill_at, limit)
        needed = {self._asked(pid, child) for pid, (child, _) in self._running.items() if not child.companion}
        self._signal(needed or set(self._running), signal.SIGTERM)

    def _asked(self, pid: int, child: Child) -> int:
        """Return who drains: a hosted worker that serves, as Java cuts every connection when it is told to stop."""
        worker = self._hosted.get(child.name)
        return worker.pid if worker and worker.pid and child.name not in self._not_ready else pid

    def _signal(self, pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):  # a hosted worker is not ours to bury
                os.kill(pid, number)  # not Popen.send_signal: it may reap the child, which _bury would then never see
