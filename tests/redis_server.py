"""A Redis of the tests' own: on a free loopback port, with a password, in memory only, and ended by its pid."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotConnectedError

from tests.e2e.server import free_port
from tests.timing import eventually

PASSWORD = "hunter2-of-redis"


class RedisServer:
    """A server that can be ended, stopped and started again on its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.client = Redis(port=self.port, password=PASSWORD, socket_timeout=5)

    def start(self, *options: str) -> None:
        """Start it, empty, and wait until it answers."""
        command = shutil.which("redis-server")
        if command is None:
            pytest.skip("redis-server is not installed")
        said = {"--port": str(self.port), "--bind": "127.0.0.1", "--save": "", "--appendonly": "no", "--dir": "/"}
        words = [word for pair in said.items() for word in pair]
        self._process = subprocess.Popen(
            # The password comes as a line of the configuration, on standard input.
            [command, "-", *words, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin
        self._process.stdin.write(f"requirepass {PASSWORD}\n".encode())
        self._process.stdin.close()
        eventually(self._answers, "Redis answers")

    def hang(self) -> None:
        """Leave every question unanswered until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, and lose what it holds."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except NotConnectedError:
            return False


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis for as long as the block lasts."""
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.kill()
        server.client.close()
