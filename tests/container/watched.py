"""A cache server's watcher as a process of its own, and how to listen to it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import zmq

from autoconfig.settings import CacheStatus
from container.cache_task import CacheTask
from tests.container.processes import ROOT
from tests.timing import LONG_SECONDS


class Watched:
    """A watcher, its task, and what it says."""

    def __init__(self, task: CacheTask, directory: Path) -> None:
        self.task = task
        file = directory / "cache-launch.json"
        file.write_text(task.to_json())
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "container.cache_server", str(file)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def says(self, text: str) -> str:
        """Return the first line that holds `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line.strip()
        raise AssertionError(f"the watcher ended without saying {text!r}")

    @property
    def status(self) -> CacheStatus | None:
        """What it told last."""
        return CacheStatus.read(Path(self.task.status_file))

    def server(self) -> psutil.Process:
        """Return the server it watches."""
        return psutil.Process(self.process.pid).children()[0]

    def stop(self) -> int:
        """Tell it to end, and return its exit status."""
        self.process.terminate()
        return self.process.wait(LONG_SECONDS)


def send_short_message(port: int) -> None:
    """Send a server on loopback what ends the thread that takes the engine's messages, and nothing else of it."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        socket.send(b"short")
