"""A small process that outlives the worker by a moment, to end whatever it has started.

Java ends its Python with SIGKILL, which no process can act upon, and its own death ends nothing. The kernel's signal
at a parent's death is no help: it comes at the end of the thread of Java's that started us, which may end any time.
"""

import os
import select
import signal


def stand_guard() -> None:
    """Make this process lead a group of its own, and have that group killed when it, or its parent, is gone.

    Call it before there are threads. Where the kernel cannot tell of a process's end (before Linux 5.3) nobody guards.
    """
    os.setpgid(0, 0)
    try:
        watched = [os.pidfd_open(os.getppid()), os.pidfd_open(os.getpid())]
    except (AttributeError, OSError):
        return
    if os.fork() == 0:
        _guard(watched)
    for descriptor in watched:
        os.close(descriptor)


def _guard(watched: list[int]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # or Java would wait for the end of our output
        os.dup2(nowhere, standard)
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    os.killpg(0, signal.SIGKILL)
