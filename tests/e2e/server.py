"""A real server as a process of its own: started with the words a person would use, stopped with a signal."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.e2e.client import Client
from tests.e2e.front_end import DJL

ROOT = Path(__file__).parents[2]
DJL_VARIABLES = ("LMI_DJL_SERVING", "JAVA_HOME", "PYTHON_EXECUTABLE")
START_SECONDS = 300
STOP_SECONDS = 30
"""From SIGTERM until SageMaker sends SIGKILL."""
LEAVE_SECONDS = 10
"""For the kernel to end what the server has killed."""


def clean_environment(**more: str) -> dict[str, str]:
    """Return what a child needs of this process's environment, so that nobody's OPTION_* leaks into a test."""
    kept = ["PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"]
    chosen = {}
    if DJL:
        kept += DJL_VARIABLES
        chosen = {"OPTION_FRONTEND": "djl"}
    return {name: os.environ[name] for name in kept if name in os.environ} | chosen | more


def forgetful_engine(model: Path, **more: str) -> dict[str, str]:
    """Return the environment of an engine whose own cache holds two documents of the cache tests, and forgets more."""
    return clean_environment(
        OPTION_MODEL_ID=str(model),
        OPTION_DTYPE="float32",  # so that what is found and what is computed are the same to the last digit
        OPTION_MAX_MODEL_LEN="4096",
        OPTION_NUM_GPU_BLOCKS_OVERRIDE="48",  # of 128 tokens each
        **more,
    )


def free_port() -> int:
    """Return a port nobody listens on now, below those the kernel hands out to whoever asks for any."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
    raise AssertionError("none of a hundred ports is free")


@dataclass
class Server:
    """`python -m container ...` running in `directory`, which also receives its output and its run directory."""

    process: subprocess.Popen[bytes]
    directory: Path
    client: Client
    pings: list[str] = field(default_factory=list)
    """What /ping answered during the start: each status or `refused`, without repetitions."""

    @classmethod
    def start(
        cls,
        directory: Path,
        arguments: list[str],
        environment: dict[str, str],
        port: int,
        wrapper: tuple[str, ...] = (),
    ) -> "Server":
        """Start the server and wait until it is ready; `wrapper` is a command to run it through."""
        directory.mkdir(parents=True, exist_ok=True)
        environment = environment | {"LMI_RUN_DIR": str(directory / "run")}
        with (directory / "output.log").open("wb") as output:
            process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "container", *arguments], cwd=ROOT, env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        server = cls(process, directory, Client(f"http://127.0.0.1:{port}"))
        try:
            server.wait_until_ready()
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def output(self) -> str:
        """What the operator has seen so far."""
        return (self.directory / "output.log").read_text(encoding="utf-8", errors="replace")

    @property
    def everything_logged(self) -> str:
        """The operator's output and every log file of the run directory."""
        files = sorted((self.directory / "run").rglob("*.log*"))
        return self.output + "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)

    def wait_until_ready(self) -> None:
        """Poll /ping as SageMaker does until it answers 200."""
        deadline = time.monotonic() + START_SECONDS
        while not self.pings or self.pings[-1] != "200":
            assert self.process.poll() is None, f"exited with {self.process.returncode}:\n{self.output[-3000:]}"
            assert time.monotonic() < deadline, f"not ready in {START_SECONDS} s:\n{self.output[-3000:]}"
            answer = self.ping()
            if self.pings[-1:] != [answer]:
                self.pings.append(answer)
            time.sleep(0.1)

    def ping(self) -> str:
        """Return the status of /ping, or `refused`."""
        try:
            return str(self.client.http.get("/ping", timeout=10).status_code)
        except httpx.TransportError:
            return "refused"

    def family(self) -> list[psutil.Process]:
        """Return the server's processes, itself first."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def engine_process(self) -> psutil.Process:
        """Return the process vLLM's engine runs in."""
        return next(p for p in self.family() if "EngineCore" in p.name() or "EngineCore" in " ".join(p.cmdline()))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait, and return the exit code; fail if a child outlives the server."""
        family = self.family()
        self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_SECONDS)
            _, alive = psutil.wait_procs(family[1:], timeout=LEAVE_SECONDS)
            assert not alive, f"left behind: {alive}"
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """End whatever is left, without asking."""
        self.client.http.close()
        family = self.family() if self.process.poll() is None else []
        for process in family:
            process.kill()
        self.process.wait(STOP_SECONDS)
