"""Containers of the image under test, by docker's own command line: run, asked from inside or outside, stopped."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCKER = os.environ.get("DOCKER", "docker")
START_SECONDS = 300
ROOT = Path(__file__).parents[2]

# An image has no curl, and a container without network can be asked from inside only.
_ASK = """
import http.client, json, sys
port, method, path, body = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
reply = connection.getresponse()
print(json.dumps([reply.status, reply.read().decode()]))
"""


def docker(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run one of docker's commands to its end."""
    return subprocess.run([DOCKER, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def output_of(*arguments: str) -> str:
    """Return what a command of docker's prints; it must succeed."""
    ended = docker(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@dataclass(frozen=True)
class Container:
    """A container that was started in the background."""

    name: str

    def inspect(self) -> Any:
        """Return all that docker knows of it."""
        return json.loads(output_of("inspect", self.name))[0]

    @property
    def state(self) -> Any:
        """Whether it runs, its exit status, its health."""
        return self.inspect()["State"]

    @property
    def logs(self) -> str:
        """What its operator has seen so far."""
        ended = docker("logs", self.name)
        return ended.stdout + ended.stderr

    def python(self, code: str, *arguments: str) -> str:
        """Run a script inside, beside the server, and return what it prints."""
        return output_of("exec", self.name, "python3", "-I", "-S", "-c", code, *arguments)

    def ask(self, path: str, body: object = None, port: int = 8080) -> tuple[int, str]:
        """Send a request from inside; return status and text of the reply."""
        request = json.dumps([port, "POST" if body else "GET", path, body])
        status, text = json.loads(self.python(_ASK, request))
        return status, text

    def processes(self) -> dict[int, str]:
        """Return the command lines of what runs in it, by the pids that the host sees."""
        _, *lines = output_of("top", self.name, "-eo", "pid,stat,args").splitlines()
        return {int(line.split(maxsplit=1)[0]): line.split(maxsplit=1)[1] for line in lines}

    def wait_until_ready(self) -> float:
        """Wait for the line that says so; return how many seconds after the container's start it came."""
        began = time.monotonic()
        while "ready on port" not in self.logs:
            assert self.state["Running"], self.logs[-3000:]
            assert time.monotonic() < began + START_SECONDS, self.logs[-3000:]
            time.sleep(1)
        return time.monotonic() - began


@contextmanager
def running(image: str, *arguments: str, command: Sequence[str] = ("serve",)) -> Iterator[Container]:
    """Start a container in the background, and remove it after the block whatever becomes of it."""
    container = Container(output_of("run", "--detach", *arguments, image, *command).strip())
    try:
        yield container
    finally:
        docker("rm", "--force", container.name)
