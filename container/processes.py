"""What Linux asks of a process that others are orphaned to: adopt them, reap them, leave none behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from container.errors import Exit, Interruption
from container.progress import Progress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def adopt_orphans() -> None:
    """Have orphaned descendants re-parented to this process, as they are to PID 1 anyway."""
    if os.getpid() != 1 and sys.platform == "linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Have this process sent a signal when its parent dies, and now if that has happened already."""
    parent = parent or os.getppid()
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def reap() -> Iterator[tuple[int, int]]:
    """Yield (pid, exit code as subprocess counts it) of every child that has died, adopted ones included."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def end_descendants(seconds: float = 2.0) -> None:
    """Kill and reap until no child is left: since orphans come to us, that means no descendant at all."""
    give_up = time.monotonic() + seconds
    while (children := _children()) and time.monotonic() < give_up:
        for pid in children:
            with suppress(PermissionError):  # it has become another user; only its end is ours to await
                os.kill(pid, signal.SIGKILL)
        for _ in reap():
            pass
        time.sleep(0.01)


def _children() -> list[int]:
    """Return the pids whose parent is this process, dead ones not yet reaped included."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # "pid (name) state ppid ..." where the name may itself hold spaces and parentheses (proc(5)).
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:
            continue  # it ended while we looked
        if int(parent) == os.getpid():
            found.append(int(stat.parent.name))
    return found


@contextmanager
def interruptible(seconds: float, progress: Progress) -> Iterator[None]:
    """Let SIGTERM, ^C or the start deadline end the preparation steps in this block; PID 1 has no default action.

    The stop handlers stay in place afterwards, until `supervise` puts its own: in between, too, a signal must count.
    """

    def stop(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        raise Interruption(Exit.STOPPED, f"stopped by {name} before serving, at: {progress.current}")

    def expire(_number: int, _frame: object) -> None:
        limit = f"not ready after {seconds:.0f} s (option.model_loading_timeout)"
        raise Interruption(Exit.DEADLINE, f"{limit}; stuck at: {progress.current}")

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def signal_pipe() -> Iterator[int]:
    """Yield a descriptor from which the numbers of signals can be read.

    The handlers stay when the block ends: this process is about to exit, and a late signal must not change how.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        os.close(writing)
        os.close(reading)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a preparation command ended, and what it wrote to both streams."""

    code: int
    text: str

    @property
    def last_line(self) -> str:
        """Return the last line it wrote, where Python and pip put the reason."""
        lines = self.text.strip().splitlines()
        return lines[-1].strip() if lines else f"exit status {self.code}"


def run_step(argv: list[str], environment: Mapping[str, str], directory: Path, progress: Progress) -> Finished:
    """Run one command of the preparation to its end, with signs of life while it takes long."""
    with subprocess.Popen(
        argv,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        while True:
            try:
                text, _ = process.communicate(timeout=1)
                return Finished(process.returncode, text)
            except subprocess.TimeoutExpired:
                progress.tick()
            except BaseException:
                process.kill()
                raise
