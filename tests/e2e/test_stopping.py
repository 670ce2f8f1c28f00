"""Checks 8-10 and 36: how a server ends. These run last of each server's tests, for they end it."""

import json
import os
import signal
import socket
from collections.abc import Callable

import psutil

from tests.e2e.client import LONG_GENERATION, Client, http_request
from tests.e2e.server import LEAVE_SECONDS, STOP_SECONDS, Server
from tests.timing import eventually

Isolated = tuple[Server, Callable[[Callable[[Client], object]], object]]
STREAM = {"messages": [{"role": "user", "content": "Count to one hundred"}], "max_tokens": 30, "ignore_eos": True}


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def can_connect(api: Client) -> bool:
    try:
        api.connect(1).close()
    except OSError:
        return False
    return True


def test_check_09_sigterm_when_idle_exits_0_in_time_and_releases_the_port(tiny: Server) -> None:
    before = len(tiny.output)
    assert tiny.stop(signal.SIGTERM) == 0, tiny.output[-2000:]
    assert not can_connect(tiny.client)
    assert "Traceback" not in tiny.output[before:]


def test_must_show_1_control_c_exits_0_and_leaves_no_child(embedder: Server) -> None:
    family = embedder.family()
    os.killpg(embedder.process.pid, signal.SIGINT)  # as a terminal sends it: to the whole foreground group
    assert embedder.process.wait(STOP_SECONDS) == 0, embedder.output[-2000:]
    _, alive = psutil.wait_procs(family[1:], timeout=LEAVE_SECONDS)
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
    eventually(lambda: inside(lambda _: server.ping()) != "200", "/ping other than 200", 5)
    text = read_to_end(connection)
    connection.close()
    assert b'"error"' in text.split(b"}\n")[-2]
    assert b"[DONE]" not in text
    assert server.process.wait(STOP_SECONDS) == 4, server.output[-2000:]
    assert "the engine process died" in server.output.strip().splitlines()[-1]
