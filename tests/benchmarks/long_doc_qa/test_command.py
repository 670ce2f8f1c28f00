"""The whole command against a small server that remembers prompts, as a cache would."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.long_doc_qa.options import ARMS, parse
from benchmarks.tiny_model import _tokenizer
from tests.benchmarks.long_doc_qa.streamed import streamed

METRICS = b"""# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",num_gpu_blocks="10"} 1.0
"""


class Remembering(BaseHTTPRequestHandler):
    seen: set[tuple[int, ...]]

    def do_GET(self) -> None:
        self._answer(METRICS if self.path == "/metrics" else json.dumps({"data": [{"id": "m"}]}).encode())

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = tuple(body["prompt"])
        cached = len(prompt) if prompt in self.seen else 0
        self.seen.add(prompt)
        self._answer(streamed(prompt, body["max_tokens"], cached))

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def remembering() -> Iterator[str]:
    handler = type("Handler", (Remembering,), {"seen": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    _tokenizer().save(str(directory / "tokenizer.json"))
    return directory


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "benchmarks.long_doc_qa", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ)


def test_a_running_server_is_measured_in_three_rounds_and_reported(model: Path, tmp_path: Path) -> None:
    with remembering() as url:
        given = ("--documents", "6", "--tokens", "60", "--output", tmp_path / "out")
        done = command("--url", url, "--model", model, *given)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out" / "long_doc_qa.json").read_text())
    figures = {name: one["figures"] for name, one in found["runs"][0]["rounds"].items()}
    assert (figures["warm-up"]["hit_rate"], figures["query"]["hit_rate"]) == (0.0, 1.0)
    assert [answer["prompt_tokens"] for answer in found["runs"][0]["rounds"]["query"]["answers"]] == [60] * 6
    assert "a working set of 360 tokens does not fit into the engine's cache of 160" in done.stdout
    assert "<svg" in (tmp_path / "out" / "long_doc_qa.html").read_text()


def test_figures_not_to_be_believed_are_an_exit_status(model: Path, tmp_path: Path) -> None:
    with remembering() as url:
        given = ("--documents", "2", "--tokens", "60", "--output", tmp_path)
        done = command("--url", url, "--model", model, *given)
    assert done.returncode == 1
    assert "NO:  " in done.stdout


def test_a_server_that_is_not_there_is_one_line(model: Path, tmp_path: Path) -> None:
    done = command(
        "--url", "http://127.0.0.1:9", "--model", model, "--output", tmp_path, "--kv-bytes-per-token", "8192"
    )
    assert done.returncode == 1
    assert "http://127.0.0.1:9/v1/models does not name a model" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_announcements_workload_is_the_default_and_every_arm_is_measured() -> None:
    options = parse([])
    work = options.work
    assert (work.documents, work.tokens, work.concurrency, work.output_tokens) == (46, 4000, 4, 32)
    assert options.arms == set(ARMS)
    assert parse(["--option", "tensor_parallel_degree=4"]).server_options == {"tensor_parallel_degree": "4"}
