"""One process of the cache server: started, asked whether it is well, and ended so that nothing of it is left."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from container.cache_health import is_well
from container.cache_task import TELL_FD, Attempt, CacheTask
from container.endings import Endings
from container.errors import Exit, Interruption
from container.logs import LOG_BYTES, shortened
from container.processes import STOP_SIGNALS, die_with_parent

STOP_SECONDS = 1.0
"""For a server that is told to end: all it holds is lost anyway."""

# When memory runs out the kernel ends this process rather than the engine, which can do without it.
_FIRST_TO_GO = "800"


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep signals for `pause`, which waits for them: nothing is ever interrupted half-way."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pause(seconds: float, *, until_a_child_ends: bool = False) -> None:
    """Wait; raise Interruption when this process is to end."""
    limit = time.monotonic() + seconds
    while came := signal.sigtimedwait({*STOP_SIGNALS, signal.SIGCHLD}, max(0.0, limit - time.monotonic())):
        if came.si_signo in STOP_SIGNALS:
            raise Interruption(Exit.STOPPED, "told to stop")
        if until_a_child_ends:
            return


class CacheProcess:
    """At most one running server."""

    def __init__(self, task: CacheTask) -> None:
        self._task = task
        self._log = Path(task.log_file)
        self._running: subprocess.Popen[bytes] | None = None
        self._endings = Endings()
        # The server's own output is its log; container.cache_store, in that process, has something for the operator.
        self._operator = os.dup(sys.stdout.fileno())

    def start(self, attempt: Attempt) -> str:
        """Start the server and wait until it is well; return why it is not, or nothing."""
        self._remove_shared_memory()
        limit = time.monotonic() + self._task.start_seconds
        while taken := self._taken_port():
            # The last server's, which was killed with its watcher, until the kernel has taken its memory back.
            if time.monotonic() > limit:
                return f"port {taken} is in use"
            pause(1)
        try:
            self._running = self._spawn(attempt)
        except OSError as error:
            return f"{attempt.argv[0]}: {error.strerror}"
        while not self.answers():
            if ending := self.ending():
                self.end(gently=False)
                return ending
            if time.monotonic() > limit:
                self.end(gently=False)
                return f"not up after {self._task.start_seconds:.0f} s (its log: {self._log})"
            pause(0.5, until_a_child_ends=True)
        return ""

    def ending(self) -> str:
        """Return how the server ended, nothing while it runs."""
        if self._running is None or (code := self._running.poll()) is None:
            return ""
        if killed := self._endings.of(code):
            return f"it was {killed}"
        said = self._last_line()
        return f"it ended with status {code}{': ' if said else ''}{said} (its log: {self._log})"

    def answers(self) -> bool:
        """Ask the server whether it is well."""
        return is_well(*self._task.ports, self._task.check_seconds)

    def end(self, *, gently: bool = True) -> None:
        """End the server and all it has started, and remove the memory it shared."""
        process, self._running = self._running, None
        if process is None:
            return
        if gently:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._remove_shared_memory()

    def bound_log(self) -> None:
        """Start the log anew when it is long; the server goes on writing at its end, wherever that is."""
        with suppress(OSError):
            if self._log.stat().st_size > LOG_BYTES:
                with suppress(OSError):
                    shutil.copyfile(self._log, self._log.with_name(f"{self._log.name}.1"))
                os.truncate(self._log, 0)

    def _spawn(self, attempt: Attempt) -> subprocess.Popen[bytes]:
        def prepare(parent: int) -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            die_with_parent(signal.SIGKILL, parent)
            with suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")

        with self._log.open("ab", buffering=0) as log:
            return subprocess.Popen(
                attempt.argv,
                env={**self._task.environment, TELL_FD: str(self._operator)},
                pass_fds=(self._operator,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # This process has a single thread, and the functions it calls are loaded: safe after a fork.
                preexec_fn=partial(prepare, os.getpid()),  # noqa: PLW1509
            )

    def _remove_shared_memory(self) -> None:
        """Give back what a killed server leaves: the next one looks for free memory before it replaces the file."""
        if self._task.shared_memory:
            Path(self._task.shared_memory).unlink(missing_ok=True)

    def _taken_port(self) -> int | None:
        """Return a port another process listens on."""
        for port in self._task.ports:
            with socket.socket() as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    trial.bind(("127.0.0.1", port))
                except OSError:
                    return port
        return None

    def _last_line(self) -> str:
        """Return what the server said last, which names the exception."""
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(-min(4096, self._log.stat().st_size), os.SEEK_END)
            lines = log.read().decode(errors="replace").split("\n")
            return next((shortened(line) for line in reversed(lines) if line.strip()), "")
        return ""
