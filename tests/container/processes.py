"""A supervisor in a process of its own over a worker made of a few lines, and how to look at both."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.timing import LONG_SECONDS, eventually

ROOT = Path(__file__).parents[2]

WORKER = """
import json, os, signal, subprocess, sys, time
pipe = os.environ.get("LMI_STATUS_PIPE")
status = os.open(pipe, os.O_WRONLY) if pipe else int(os.environ["LMI_STATUS_FD"])
def tell(**event):
    os.write(status, json.dumps({**event, "pid": os.getpid()}).encode() + b"\\n")
"""
"""What every worker of these tests begins with."""

COMPANION = """
import os, signal, sys, time
directory = os.environ["DIRECTORY"]
open(directory + "/companion-pid", "w").write(str(os.getpid()))
"""
"""And every companion."""


class Supervised:
    """A supervisor in a process of its own, with a worker made of a few lines."""

    def __init__(self, process: "subprocess.Popen[str]", directory: Path) -> None:
        self.process = process
        self.directory = directory

    def read_until(self, text: str) -> str:
        """Return the first line that holds `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"the supervisor ended without saying {text!r}")

    def end(self) -> tuple[int, str]:
        """Return the exit status and what was said since the last look."""
        said, _ = self.process.communicate(timeout=LONG_SECONDS / 2)
        return self.process.returncode, said

    def worker_pid(self) -> int:
        """Return the pid the worker has written into its directory."""
        return int(wait_for(self.directory / "pid").read_text())


Supervise = Callable[..., Supervised]


def wait_for(file: Path) -> Path:
    """Return the file once it is there and holds something."""
    eventually(lambda: file.exists() and file.stat().st_size > 0, f"{file} is there")
    return file


def is_running(pid: int) -> bool:
    """Tell whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
