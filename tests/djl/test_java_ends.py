"""How things end under DJL's Java engine: a failed start, a Python that dies, a JVM that dies, a drain."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.djl_wire.parts import Parts
from tests.djl.host import EngineKind, hosting, java
from tests.timing import LONG_SECONDS, eventually

pytestmark = pytest.mark.djl


class StatusPipe:
    """The supervisor's end of the status line."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "status.fifo"
        os.mkfifo(self.path)
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._text = ""

    def events(self) -> list[dict[str, object]]:
        """Return what was told so far."""
        try:
            while data := os.read(self._descriptor, 65536):
                self._text += data.decode()
        except BlockingIOError:
            pass
        return [json.loads(line) for line in self._text.splitlines()]

    def names(self) -> list[object]:
        return [event["event"] for event in self.events()]

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def status(tmp_path: Path) -> StatusPipe:
    return StatusPipe(tmp_path)


def test_a_start_that_fails_is_told_to_the_supervisor(
    parts: Parts, kind: EngineKind, tmp_path: Path, status: StatusPipe
) -> None:
    with java(parts, kind, tmp_path, LMI_STATUS_PIPE=str(status.path)) as host:
        # Java hangs then: two of its threads wait for each other (PyProcess 0.34, stopPythonProcess).
        host.send("load", directory=str(tmp_path), options={"entryPoint": "tests.djl.fake", "fail": "it does not fit"})
        eventually(lambda: "failed" in status.names(), "the supervisor is told")
    assert status.events()[-1].items() >= {"event": "failed", "cause": "it does not fit", "code": 2}.items()
    status.close()


def test_a_python_that_dies_leaves_no_caller_waiting(parts: Parts, kind: EngineKind, tmp_path: Path) -> None:
    with hosting(parts, kind, tmp_path, "tests.djl.fake") as host:
        waiting = host.asking({"prompt": "never"})
        streaming = host.asking({"prompt": "slowly", "stream": True, "max_tokens": 1000})
        died = host.python()
        deadly = host.asking({"prompt": "die"})
        assert {answer.result(LONG_SECONDS)["status"] for answer in (waiting, deadly)} == {500}
        assert "Inference Engine Failure" in streaming.result(LONG_SECONDS)["body"]
        eventually(lambda: host.python() not in (died, 0), "Java starts another Python")
        eventually(lambda: host.ask({"prompt": "again"}).get("status") == 200, "the other Python answers")


def test_our_python_and_its_children_end_with_the_jvm_however_it_ends(parts: Parts, tmp_path: Path) -> None:
    with hosting(parts, "ours", tmp_path, "tests.djl.fake", {"child": "yes"}) as host:
        python = psutil.Process(host.python())
        family = [python, *python.children(recursive=True)]
        assert len(family) == 3, family  # itself, its guardian, and what stands for a process of vLLM's
        host.process.kill()
        eventually(lambda: not any(map(_runs, family)), "all of them end")


def test_a_python_that_java_kills_takes_its_children_along(parts: Parts, tmp_path: Path) -> None:
    with hosting(parts, "ours", tmp_path, "tests.djl.fake", {"child": "yes"}) as host:
        python = psutil.Process(host.python())
        children = python.children(recursive=True)
        python.kill()
        eventually(lambda: not any(map(_runs, children)), "its children end")


def test_a_python_told_to_stop_drains_first(parts: Parts, kind: EngineKind, tmp_path: Path, status: StatusPipe) -> None:
    with hosting(parts, kind, tmp_path, "tests.djl.fake", LMI_STATUS_PIPE=str(status.path)) as host:
        assert status.names() == ["phase", "ready"]
        streaming = host.asking({"prompt": "slowly", "stream": True, "max_tokens": 100})
        never = host.asking({"prompt": "never"})
        time.sleep(0.5)  # the stream takes two seconds
        os.kill(host.python(), signal.SIGTERM)
        eventually(lambda: host.ask({"prompt": "x"})["status"] == 503, "new requests are refused")
        assert streaming.result(LONG_SECONDS)["body"].endswith("data: [DONE]\n\n")
        assert never.result(LONG_SECONDS)["status"] == 503
        eventually(lambda: status.names()[-1] == "drained", "the supervisor is told")
    status.close()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
