"""A JVM that hosts a Python handler as DJL Serving does: tests/djl/java, told what to do over its standard input."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.djl_wire.engines import LAUNCHER, environment
from benchmarks.djl_wire.parts import Parts
from tests.timing import LONG_SECONDS, eventually

EngineKind = Literal["ours", "stock"]
LOAD_SECONDS = 300


@dataclass
class Host:
    """A JVM; each call is a Future of what it answers."""

    process: subprocess.Popen[str]
    directory: Path
    waiting: dict[int, Future[dict[str, Any]]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)
    log: list[str] = field(default_factory=list)

    def send(self, what: str, **given: Any) -> Future[dict[str, Any]]:
        """Give a command."""
        number, answer = next(self.numbers), Future[dict[str, Any]]()
        self.waiting[number] = answer
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": number, "do": what, **given}) + "\n")
        self.process.stdin.flush()
        return answer

    def asking(
        self, body: Any, query: Mapping[str, str] | None = None, what: str = "ask", **headers: str
    ) -> Future[dict[str, Any]]:
        """Send an inference request."""
        properties = {"Content-Type": "application/json", "requestId": "internal-request-id"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        return self.send(what, properties=properties, content={**(query or {}), "data": text})

    def ask(self, body: Any, **given: Any) -> dict[str, Any]:
        """Send one and wait for the reply."""
        return self.asking(body, **given).result(LONG_SECONDS)

    def adapter(self, handler: str, name: str, src: str = "", **options: str) -> dict[str, Any]:
        """Make a call about an adapter, as PyAdapter does; `micros` is how soon a failure of it was known."""
        properties = {"handler": f"{handler}_adapter", "name": name} | ({"src": src} if src else {})
        given = {"name": name, **({"src": src} if src else {}), **options}
        return self.send("outcome", properties=properties, content=given).result(LONG_SECONDS)

    def python(self) -> int:
        """Return the pid of the Python engine, which both engines leave beside their socket; 0 where there is none."""
        try:
            return int((self.directory / "djl_sock.19000.pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return 0


@contextmanager
def hosting(
    parts: Parts,
    kind: EngineKind,
    directory: Path,
    entry_point: str,
    options: Mapping[str, str] | None = None,
    **more: str,
) -> Iterator[Host]:
    """Start a JVM with one engine and load the model; raise AssertionError where that fails."""
    with java(parts, kind, directory, **more) as host:
        loading = host.send("load", directory=str(directory), options={"entryPoint": entry_point, **(options or {})})
        log = directory / "java.log"
        # Where the start fails, Java hangs (test_java_ends).
        eventually(lambda: loading.done() or "predict[init=true]" in log.read_text(), "the model loads", LOAD_SECONDS)
        assert loading.done(), log.read_text()[-4000:]
        told = loading.result()
        assert told.get("loaded"), f"{told}\n{log.read_text()[-4000:]}"
        yield host


@contextmanager
def java(parts: Parts, kind: EngineKind, directory: Path, **more: str) -> Iterator[Host]:
    """Start a JVM, its sockets and unpacked engine in `directory`, and end it at once when done with."""
    python = {"PYTHON_EXECUTABLE": str(LAUNCHER) if kind == "ours" else sys.executable, "LMI_PYTHON": sys.executable}
    command = ["java", "-Xmx512m", f"-Djava.io.tmpdir={directory}", "-cp", parts.class_path, "lmi.Host"]
    with (directory / "java.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, env=environment(ENGINE_CACHE_DIR=str(directory / "cache"), **python, **more), cwd=directory,
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    host = Host(process, directory)
    reader = threading.Thread(target=_read, args=(host,), daemon=True)
    reader.start()
    try:
        yield host
    finally:
        _end_stock(host)
        process.kill()
        process.wait(LONG_SECONDS)
        reader.join(LONG_SECONDS)
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()


def _end_stock(host: Host) -> None:
    """DJL's own engine outlives the JVM, as one of its threads waits for ever; and vLLM's processes outlive it."""
    for pid_file in host.directory.glob("djl_sock.*.pid"):
        with suppress(psutil.NoSuchProcess, ValueError):
            python = psutil.Process(int(pid_file.read_text(encoding="ascii")))
            family = [python, *python.children(recursive=True)]
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _read(host: Host) -> None:
    assert host.process.stdout is not None
    with host.process.stdout as lines:
        for line in lines:
            if line.startswith("{"):
                told = json.loads(line)
                host.waiting.pop(told.pop("id")).set_result(told)
            else:
                host.log.append(line)
    for answer in host.waiting.values():
        answer.set_exception(ConnectionError("the JVM has ended"))
