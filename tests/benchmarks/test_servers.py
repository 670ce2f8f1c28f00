"""Starting and stopping what is measured, with a small server that answers /ping and has a child of its own."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.servers import Server, ServerError, running
from tests.e2e.server import free_port
from tests.timing import LONG_SECONDS, eventually

ANSWERS = """
import http.server, subprocess, sys, time
class Ping(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ping" else 404)
        self.end_headers()
subprocess.Popen([sys.executable, "-c", "sum(range(20_000_000)); import time; time.sleep(600)"])
time.sleep(0.5)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ping).serve_forever()
"""
FAILS = "import sys; print('no such model'); sys.exit(3)"


def server(code: str) -> Server:
    port = free_port()
    command = (sys.executable, "-c", code, str(port))
    return Server("a server", command, os.environ, f"http://127.0.0.1:{port}", "/chat")


def test_the_block_begins_when_the_server_answers_and_leaves_no_process(tmp_path: Path) -> None:
    with running(server(ANSWERS), tmp_path / "log") as started:
        assert 0.5 <= started.ready_seconds < LONG_SECONDS
        family = [started.process, *started.process.children(recursive=True)]
        assert len(family) == 2
    _, alive = psutil.wait_procs(family, timeout=LONG_SECONDS)
    assert alive == []


def test_the_processor_time_of_children_counts(tmp_path: Path) -> None:
    with running(server(ANSWERS), tmp_path / "log") as started:
        (child,) = started.process.children()
        eventually(lambda: child.cpu_times().user >= 0.1, "the child has worked")
        assert started.front_end_cpu_seconds >= started.process.cpu_times().user + 0.1


def test_a_server_that_fails_is_quoted(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=r"a server ended with 3:\nno such model"),
        running(server(FAILS), tmp_path / "log"),
    ):
        pass
