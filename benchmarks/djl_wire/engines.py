"""Starts a Python engine as DJL's Java side does (Connection.java 0.34): the same command line, the same handshake."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.djl_wire.peer import Peer

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "handlers" / "djl_engine" / "launch"
STOP_SECONDS = 10


@dataclass(frozen=True)
class Engine:
    """A Python engine that listens; `stock` is where djl_python's own was unpacked, None for ours."""

    process: subprocess.Popen[str]
    socket: Path
    log: list[str]

    def connect(self) -> Peer:
        """Connect as Java does."""
        return Peer(self.socket)


def environment(**more: str) -> dict[str, str]:
    """Return what an engine's process needs of this one's environment."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONPATH": str(ROOT)} | more


@contextmanager
def running(
    stock: Path | None, entry_point: str, directory: Path, more: Mapping[str, str] | None = None
) -> Iterator[Engine]:
    """Start an engine and wait for the line that Java waits for; end it as Java does, with SIGKILL."""
    path = directory / "djl_sock.19000"
    script = (stock or Path("/nowhere")) / "djl_python_engine.py"
    python = sys.executable if stock else str(LAUNCHER)
    command = [
        *(python, str(script), "--sock-type", "unix", "--sock-name", str(path), "--model-dir", str(directory)),
        *("--entry-point", entry_point, "--device-id", "-1", "--cluster-size", "1", "--recommended-entry-point", ""),
        *("--log-level", "warning" if stock is None else "info", "--async-mode"),
    ]
    process = subprocess.Popen(
        command, cwd=directory, env=environment(LMI_PYTHON=sys.executable, **(more or {})), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    started, log = threading.Event(), list[str]()
    reader = threading.Thread(target=_read, args=(process, log, started), daemon=True)
    reader.start()
    try:
        if not started.wait(120) or process.poll() is not None:
            raise RuntimeError("the engine did not start:\n" + "".join(log[-20:]))
        yield Engine(process, path, log)
    finally:
        process.kill()
        process.wait(STOP_SECONDS)
        reader.join(STOP_SECONDS)


def _read(process: subprocess.Popen[str], log: list[str], started: threading.Event) -> None:
    """Read what it writes until its end, which also ends the wait for its start."""
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            log.append(line)
            if "Python engine started." in line:
                started.set()
    started.set()
