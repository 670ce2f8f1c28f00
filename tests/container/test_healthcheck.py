"""The image's HEALTHCHECK, run as docker runs it, beside a server that says how it is."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from container.prepare import prepare
from container.serve import _write_files
from tests.container.processes import ROOT


class Server(ThreadingHTTPServer):
    status = 200


class Ping(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/ping" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Ping) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def check(**environ: str) -> tuple[int, str]:
    script = str(ROOT / "container" / "healthcheck.py")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", script], env=environ, capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_the_port_is_the_planned_one_wherever_it_was_configured(tmp_path: Path, server: Server) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "serving.properties").write_text(f"option.bind_to_port={server.server_port}\n")
    for environ in ({"TMPDIR": str(tmp_path)}, {"LMI_RUN_DIR": str(tmp_path / "run")}):
        plan = prepare({"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environ}, tmp_path / "model")
        plan.run_directory.mkdir()
        _write_files(plan)
        assert check(**environ) == (0, "200\n")
    server.status = 503
    assert check(**environ) == (1, "503\n")


def test_before_anything_has_started_it_is_not_healthy(tmp_path: Path) -> None:
    assert check(TMPDIR=str(tmp_path)) == (1, f"nothing has started yet, as {tmp_path} shows\n")
    assert check(LMI_RUN_DIR=str(tmp_path))[0] == 1
