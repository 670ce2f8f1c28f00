"""A thread in a network namespace of its own, with loopback and nothing else, and a wrapper for servers in it.

Whatever the thread starts or connects is inside as well; the test's own thread stays outside.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
UID = 61234
"""Nobody: no name in /etc/passwd, no home, no group."""
_CLONE_NEWNET = 0x40000000
_LISTENING = "0A"


class Namespace:
    """Runs functions in the isolated thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.run(_enter)

    def run(self, function: Callable[[], T]) -> T:
        """Return what the function returns inside."""
        return self._thread.submit(function).result()


def unprivileged(read_only: Path) -> tuple[str, ...]:
    """Return the words before a command that make it run as nobody, with `read_only` mounted read-only.

    Reading is the one right it keeps: the interpreter may lie in a home that others may not enter.
    """
    mounts = f"mount --bind '{read_only}' '{read_only}' && mount -o remount,bind,ro '{read_only}'"
    return (
        "unshare", "--mount", "--propagation", "private", "bash", "-c", f'{mounts} && exec "$@"', "bash",
        "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search", "--bounding-set=-all,+dac_read_search",
    )  # fmt: skip


def listeners(pid: int) -> set[tuple[str, int]]:
    """Return the addresses anybody listens on in the network that process `pid` lives in."""
    found = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, port = local.split(":")
            words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
            if state == _LISTENING:
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


def _enter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
