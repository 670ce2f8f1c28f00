"""How the tests speak to a server: httpx for ordinary requests, a bare socket for what httpx would not send.

Nothing here imports the product; what a reply must look like (one error object, one stream record) is asserted here.
"""

import http.client
import json
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.front_end import DJL, NO_METRICS
from tests.timing import LONG_SECONDS, eventually

Json = dict[str, Any]
LONG_GENERATION: Json = {"prompt": "Once upon a time", "max_tokens": 12_000, "temperature": 1.0, "ignore_eos": True}
LONG_CHAT: Json = {"messages": [{"role": "user", "content": "Go on"}], "max_tokens": 12_000, "ignore_eos": True}
LONG_TGI: Json = {"inputs": "Go on", "parameters": {"max_new_tokens": 12_000, "ignore_eos_token": True}}
LONG = {"chat": LONG_CHAT, "completions": LONG_GENERATION, "tgi": LONG_TGI}
"""Generations that take more than ten seconds anywhere, so that a test can look at them while they last."""
UNTIL_THE_DEADLINE_SECONDS = 20
_LEAKS = re.compile(r'Traceback|File "|site-packages|/(usr|root|home|tmp|opt|var|etc|proc|work)/|(?<!\bmodel)\.py\b|\n')


class Client:
    """One server's address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=LONG_SECONDS, trust_env=False)
        parts = urlsplit(url)
        self.address = (parts.hostname or "", parts.port or 80)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> httpx.Response:
        """POST a JSON value, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(path, content=content, headers={"Content-Type": "application/json"} | (headers or {}))

    def invoke(self, body: object, headers: dict[str, str] | None = None) -> httpx.Response:
        """POST to /invocations."""
        return self.post("/invocations", body, headers)

    def answer(self, body: object, path: str = "/invocations") -> Any:
        """POST a body that must be answered with 200, and return the JSON of the answer."""
        response = self.post(path, body)
        assert response.status_code == 200, response.text
        return response.json()

    def stream(self, body: Json, headers: dict[str, str] | None = None, path: str = "/invocations") -> tuple[str, str]:
        """POST a body with `stream` set; return the content type and the whole text."""
        response = self.post(path, {**body, "stream": True}, headers)
        assert response.status_code == 200, response.text
        return response.headers["content-type"], response.content.decode()

    def raw(self, request: bytes) -> bytes:
        """Send bytes on a connection of their own and return all that comes back until the server closes it."""
        with closing(self.connect()) as connection:
            connection.sendall(request)
            return _one_reply(connection) if DJL else b"".join(iter(lambda: connection.recv(65536), b""))

    def connect(self, timeout: float = LONG_SECONDS) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(self.address, timeout=timeout)

    def send(self, body: Json, path: str = "/invocations") -> socket.socket:
        """Send a request on a connection of its own without reading the reply."""
        connection = self.connect()
        content = json.dumps(body).encode()
        connection.sendall(http_request("POST", path, content, {"Content-Type": "application/json"}))
        return connection

    @contextmanager
    def in_flight(self, count: int, body: Json | None = None) -> Iterator[list[socket.socket]]:
        """Keep `count` long generations running, and see them gone afterwards."""
        connections = [self.send({**LONG_GENERATION, "stream": True} if body is None else body) for _ in range(count)]
        try:
            self._until_running(count)
            yield connections
        finally:
            for connection in connections:
                connection.close()
            self._until_running(0)

    def _until_running(self, count: int) -> None:
        if DJL:  # it tells nobody how many there are, and goes on with those whose callers have left
            time.sleep(1 if count else UNTIL_THE_DEADLINE_SECONDS)
        else:
            eventually(lambda: self.requests_running() == count, f"{count} requests running")

    def ping_seconds(self) -> float:
        """Return how long /ping took to answer 200."""

        started = time.monotonic()
        assert self.http.get("/ping").status_code == 200
        return time.monotonic() - started

    def requests_running(self) -> float:
        """Return what the engine has in hand, running or waiting."""
        told = self.metrics()
        return told["vllm:num_requests_running"] + told["vllm:num_requests_waiting"]

    def metric(self, name: str) -> float:
        """Return one metric, summed over its labels."""
        return self.metrics()[name]

    def metrics(self) -> Mapping[str, float]:
        """Return every metric at one moment, summed over its labels; what is not told is zero."""
        if DJL:
            pytest.xfail(NO_METRICS)
        told: dict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(self.http.get("/metrics").text):
            for sample in family.samples:
                told[sample.name] += sample.value
        return told


@contextmanager
def pinging(api: Client) -> Iterator[list[float]]:
    """Ping all the while, from a thread of its own, and collect how long each took."""
    taken: list[float] = []
    done = threading.Event()

    def ping() -> None:
        taken.append(api.ping_seconds())
        while not done.wait(0.02):
            taken.append(api.ping_seconds())

    with ThreadPoolExecutor(1) as pool:
        pings = pool.submit(ping)
        try:
            yield taken
        finally:
            done.set()
        pings.result()


@contextmanager
def streaming(api: Client, body: Json) -> Iterator[list[float]]:
    """Have an answer streamed all the while, from before the block on, and collect how long each piece was awaited."""
    gaps: list[float] = []
    flows, done = threading.Event(), threading.Event()

    def read() -> None:
        with api.http.stream("POST", "/invocations", json={**body, "stream": True}) as response:
            assert response.status_code == 200
            last = 0.0
            for _ in response.iter_bytes():
                now = time.monotonic()
                gaps.extend([now - last] if last else [])
                last = now
                flows.set()
                if done.is_set():
                    return
        raise AssertionError("the answer was over too soon")

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            eventually(lambda: flows.is_set() or reading.done(), "a first piece")
            yield gaps
        finally:
            done.set()
        reading.result()


def http_request(method: str, path: str, content: bytes, headers: dict[str, str], version: str = "1.1") -> bytes:
    """Compose a request with a Content-Length, byte for byte."""
    lines = {"Host": "localhost", "Content-Length": str(len(content)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode() + content


def sse(text: str) -> list[Json]:
    """Split server-sent events into their JSON; the last must be `[DONE]`, and only the last."""
    records = [record.removeprefix("data: ") for record in text.split("\n\n") if record]
    assert records[-1] == "[DONE]", text[-300:]
    return [json.loads(record) for record in records[:-1]]


def json_lines(text: str) -> list[Json]:
    """Split JSON lines into their values; every line must be one."""
    assert text.endswith("\n"), text[-300:]
    return [json.loads(line) for line in text.splitlines()]


def refusal(response: httpx.Response, *statuses: int, paths: tuple[str, ...] = ()) -> Json:
    """Assert that a reply is one of `statuses` with one short OpenAI error object that leaks nothing; return that.

    `paths` are those its reader may see.
    """
    assert response.status_code in statuses, f"{response.status_code} {response.text[:300]}"
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    if DJL and set(body) == {"error", "code"}:  # Java makes the body of an error, out of the message and the status
        body = {"error": {"message": body["error"], "type": "", "param": None, "code": body["code"]}}
    return error_object(body, response.status_code, paths)


def error_object(body: Json, status: int, paths: tuple[str, ...] = ()) -> Json:
    """Assert that a body is exactly `{"error": {"message", "type", "param", "code"}}`, and return the inside."""
    assert list(body) == ["error"], body
    error: Json = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, body
    assert error["code"] == status
    message = error["message"]
    assert isinstance(message, str)
    assert 0 < len(message) <= 1000
    for path in paths:
        message = message.replace(path, "")
    assert not _LEAKS.search(message), message
    return error


def _one_reply(connection: socket.socket) -> bytes:
    """Read one reply, its chunks joined: DJL Serving closes no connection because it is asked to."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    headers = "".join(f"{name}: {value}\r\n" for name, value in response.getheaders())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{headers}\r\n".encode("latin-1") + response.read()
