"""Checks 8-10 and 36: how a server ends. These run last of each server's tests, for they end it."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable

import psutil

from tests.e2e.client import LONG_GENERATION, Client, eventually, http_request
from tests.e2e.server import STOP_SECONDS, Server

Isolated = tuple[Server, Callable[[Callable[[Client], object]], object]]
STREAM = {"messages": [{"role": "user", "content": "Count to one hundred"}], "max_tokens": 60, "ignore_eos": True}


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def can_connect(api: Client) -> bool:
    try:
        api.connect(1).close()
    except OSError:
        return False
    return True


def test_check_09_sigterm_when_idle_exits_0_at_once_and_releases_the_port(tiny: Server) -> None:
    before, started = len(tiny.output), time.monotonic()
    assert tiny.stop(signal.SIGTERM) == 0, tiny.output[-2000:]
    assert time.monotonic() - started < STOP_SECONDS
    assert not can_connect(tiny.client)
    assert "Traceback" not in tiny.output[before:]


def test_must_show_1_control_c_exits_0_and_leaves_no_child(embedder: Server) -> None:
    family = embedder.family()
    os.killpg(embedder.process.pid, signal.SIGINT)  # as a terminal sends it: to the whole foreground group
    assert embedder.process.wait(STOP_SECONDS) == 0, embedder.output[-2000:]
    _, alive = psutil.wait_procs(family[1:], timeout=3)
    assert alive == []
    assert "Traceback" not in embedder.output


def test_check_10_sigterm_lets_a_stream_in_flight_finish_and_exits_0(smollm: Server) -> None:
    api = smollm.client
    request = http_request(
        "POST", "/invocations", json.dumps({**STREAM, "stream": True}).encode(), {"Connection": "close"}
    )
    with api.connect(STOP_SECONDS) as connection:
        connection.sendall(request)
        head = connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 200")
        assert smollm.stop(signal.SIGTERM) == 0, smollm.output[-2000:]
        text = read_to_end(connection)
    assert text.endswith(b"0\r\n\r\n")
    assert b"data: [DONE]" in text or b'"error"' in text


def test_checks_8_and_36_an_engine_that_dies_ends_streams_with_an_error_and_the_process_with_4(
    isolated: Isolated,
) -> None:
    server, inside = isolated
    body = {**LONG_GENERATION, "stream": True}
    connection = inside(lambda api: api.send(body))
    assert isinstance(connection, socket.socket)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    server.engine_process().kill()
    killed = time.monotonic()
    eventually(lambda: inside(lambda _: server.ping()) != "200", "/ping other than 200", 5)
    text = read_to_end(connection)
    connection.close()
    assert b'"error"' in text.split(b"}\n")[-2]
    assert b"[DONE]" not in text
    assert server.process.wait(10) == 4, server.output[-2000:]
    assert time.monotonic() - killed < 6
    assert "the engine process died" in server.output.strip().splitlines()[-1]
