"""Starts the server to be measured in a process group of its own, waits until it answers, and stops it by pid."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

START_SECONDS = 600
STOP_SECONDS = 40
# What would configure our server behind a comparison's back.
SETTINGS = (
    "HF_MODEL_ID",
    "LMI_",
    "LMCACHE_",
    "OPTION_",
    "SAGEMAKER_",
    "SERVING_",
    "SM_",
    "TENSOR_PARALLEL_DEGREE",
    "VLLM_",
)


class ServerError(Exception):
    """The server did not start; the message ends with what it wrote last."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to start one of the servers compared, and where it answers chats."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    base_url: str
    chat_path: str


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    server: Server
    process: psutil.Process
    ready_seconds: float

    @property
    def front_end_cpu_seconds(self) -> float:
        """The processor time of all its processes but the engine's own: no other load on the machine disturbs it."""
        family = [self.process, *self.process.children(recursive=True)]
        spent = [process.cpu_times() for process in family if not process.name().startswith("VLLM::Engine")]
        return sum(times.user + times.system for times in spent)


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which only the benchmark decides how a server runs."""
    return {name: value for name, value in environ.items() if not name.startswith(SETTINGS)}


@contextmanager
def running(server: Server, log: Path) -> Iterator[Running]:
    """Run the server for the length of the block, which begins when it is ready."""
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command, env=dict(server.environment), stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_ready(server, process, log)
        yield Running(server, psutil.Process(process.pid), time.monotonic() - started)
    finally:
        _stop(process)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(f"{server.base_url}/ping"):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            state = "is not ready" if process.returncode is None else f"ended with {process.returncode}"
            raise ServerError(f"{server.name} {state}:\n{tail}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then end what is left of its process group."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
