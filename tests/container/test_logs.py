"""engine.log and what of it reaches the operator, from output as vLLM 0.32 writes it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.console import Console
from container.logs import LOG_BYTES, WorkerOutput

CASES = sorted((Path(__file__).parent / "engine_logs").glob("*.log"))


@pytest.fixture
def output(tmp_path: Path) -> Iterator[WorkerOutput]:
    worker_output = WorkerOutput(Console(descriptor=os.open(os.devnull, os.O_WRONLY)), tmp_path / "engine.log")
    yield worker_output
    worker_output.close()


@pytest.mark.parametrize("log", CASES, ids=lambda log: log.stem)
def test_the_cause_of_a_failed_start_is_found(output: WorkerOutput, log: Path) -> None:
    output.feed(log.read_bytes())
    assert output.cause() == log.with_suffix(".cause").read_text().strip()


def test_a_log_without_an_exception_has_no_cause(output: WorkerOutput) -> None:
    output.feed(b"Loading weights: 10%\nINFO all is well\n")
    assert output.cause() is None


def test_bytes_arrive_in_any_pieces(output: WorkerOutput) -> None:
    for byte in "ValueError: größer\n".encode():
        output.feed(bytes([byte]))
    assert output.cause() == "ValueError: größer"


def test_a_last_line_without_an_end_counts(output: WorkerOutput) -> None:
    output.feed(b"ValueError: cut")
    output.feed(b"")
    assert output.cause() == "ValueError: cut"


def test_a_long_cause_is_cut(output: WorkerOutput) -> None:
    output.feed(b"ValueError: " + b"x" * 10_000 + b"\n")
    assert len(str(output.cause())) < 600


def test_each_start_begins_a_log_and_keeps_the_one_before(output: WorkerOutput) -> None:
    output.feed(b"first start\n")
    again = WorkerOutput(Console(descriptor=os.open(os.devnull, os.O_WRONLY)), output.log_file)
    again.feed(b"second start\n")
    again.close()
    assert output.log_file.read_text() == "second start\n"
    assert output.log_file.with_name("engine.log.1").read_text() == "first start\n"


def test_the_log_file_is_bounded(output: WorkerOutput) -> None:
    line = b"x" * 1000 + b"\n"
    for _ in range(3 * LOG_BYTES // len(line)):
        output.feed(line)
    kept = [file.stat().st_size for file in output.log_file.parent.iterdir()]
    assert len(kept) == 2
    assert max(kept) <= LOG_BYTES


def test_of_the_caches_ups_and_downs_the_operator_hears_from_its_watcher_alone(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    console = Console(descriptor=writing)
    output = WorkerOutput(console, tmp_path / "engine.log")
    output.started()
    stamp, end = "\x1b[33;20m[2026-11-23 04:55:11,114] LMCache", "\x1b[3m(adapter.py:614:lmcache)\x1b[0m"
    output.feed(f"{stamp} WARNING:\x1b[0m LMCache server is unhealthy {end}\n".encode())
    output.feed(f"{stamp} ERROR:\x1b[0m no room {end}\n".encode())
    output.stopping()
    output.feed(b"/lib/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked semaphore\n")
    output.feed(b"  warnings.warn('resource_tracker: There appear to be %d '\n")
    output.close()
    console.close()
    os.close(writing)
    with os.fdopen(reading) as said:
        assert said.read() == "[2026-11-23 04:55:11,114] LMCache ERROR: no room (adapter.py:614:lmcache)\n"
    assert "is unhealthy" in (tmp_path / "engine.log").read_text()
