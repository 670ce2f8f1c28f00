"""Our Python engine as a process, seen from a peer that speaks as Java does; no Java is needed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.djl_wire.engines import LAUNCHER, Engine, environment, running
from benchmarks.djl_wire.peer import Peer, call
from tests.e2e.server import free_port
from tests.timing import LONG_SECONDS, eventually


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running(None, "tests.djl.fake", tmp_path) as started:
        yield started


@pytest.fixture
def peer(engine: Engine) -> Iterator[Peer]:
    connected = engine.connect()
    assert connected.load({"model_id": "m"}) == (200, "OK")
    yield connected
    connected.close()


def completion(prompt: str, **more: object) -> bytes:
    return json.dumps({"prompt": prompt, **more}).encode()


def test_it_says_that_it_has_started_before_it_imports_anything_heavy(tmp_path: Path) -> None:
    began = time.monotonic()
    with running(None, "no.such.module", tmp_path) as engine:
        assert time.monotonic() - began < 5
        assert any("Python engine started." in line for line in engine.log)


def test_a_start_that_fails_is_an_error_for_java(engine: Engine) -> None:
    peer = engine.connect()
    assert peer.load({"fail": "two\nlines"}) == (500, "two\nlines")
    peer.close()


def test_a_reply_has_its_data_before_the_last_frame(peer: Peer) -> None:
    number = peer.ask(completion("x"))
    frames = []
    for answered, headers, parts in peer.frames():
        assert answered == number
        frames.append((headers, parts))
        if parts[b"last"] == b"True":
            break
    assert [parts[b"data"] != b"" for _, parts in frames] == [True, False]
    assert [headers for headers, _ in frames] == [{"content-type": "application/json"}, {}]


def test_many_requests_share_the_connection(peer: Peer) -> None:
    numbers = [peer.ask(completion(f"p{n}", stream=True, max_tokens=20)) for n in range(100)]
    for n, reply in enumerate(peer.replies(*numbers)):
        assert reply.body.count(f"p{n}-".encode()) == 20


def test_java_that_reads_slowly_gets_all_in_fewer_frames(peer: Peer) -> None:
    numbers = [peer.ask(completion("p" * 2000, stream=True, max_tokens=1000)) for _ in range(8)]
    time.sleep(3)  # 16 MB of tokens wait for a reader
    frames = 0
    replies: dict[str, bytes] = dict.fromkeys(numbers, b"")
    waiting = set(numbers)
    for number, _, parts in peer.frames():
        frames += 1
        replies[number] += parts[b"data"]
        if parts[b"last"] == b"True":
            waiting.remove(number)
        if not waiting:
            break
    assert all(reply.count(b"-999 ") == 1 and reply.count(b"data: ") == 1001 for reply in replies.values())
    assert frames < 6000


def test_the_process_ends_when_java_closes_the_connection(engine: Engine, peer: Peer) -> None:
    peer.ask(completion("never"))
    peer.close()
    assert engine.process.wait(LONG_SECONDS) == 0
    assert not engine.socket.exists()
    assert not Path(f"{engine.socket}.pid").exists()


def test_its_pid_lies_where_java_looks_for_it(engine: Engine) -> None:
    assert int(Path(f"{engine.socket}.pid").read_text()) == engine.process.pid


def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    with running(None, "tests.djl.fake", tmp_path) as engine:
        peer = engine.connect()
        assert peer.load({"child": "yes"})[0] == 200
        children = psutil.Process(engine.process.pid).children(recursive=True)
        engine.process.kill()
        assert len(children) == 2
        eventually(lambda: not any(child.is_running() for child in children), "its children end")
        peer.close()


def test_sigterm_while_it_loads_ends_it(engine: Engine) -> None:
    engine.process.send_signal(signal.SIGTERM)
    assert engine.process.wait(LONG_SECONDS) == -signal.SIGTERM


def test_tcp_is_spoken_where_java_has_no_unix_sockets(tmp_path: Path) -> None:
    port = free_port()
    command = [
        *(str(LAUNCHER), "/x/djl_python_engine.py", "--sock-type", "tcp", "--port", str(port)),
        *("--model-dir", str(tmp_path), "--entry-point", "tests.djl.fake", "--async-mode"),
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(LMI_PYTHON=sys.executable), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "Python engine started." in process.stdout.readline()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(call({"handler": "handle"}, []))
            assert connection.recv(100)[:2] == b"\0\xc8"
        assert process.wait(LONG_SECONDS) == 0


def test_a_mode_it_does_not_speak_is_refused(tmp_path: Path) -> None:
    command = [*(str(LAUNCHER), "/x/djl_python_engine.py", "--sock-type", "unix", "--sock-name", str(tmp_path / "s"))]
    command += ["--entry-point", "tests.djl.fake", "--no-async-mode"]
    done = subprocess.run(
        command, env=environment(LMI_PYTHON=sys.executable), capture_output=True, text=True, check=False
    )
    assert (done.returncode, "option.async_mode=true" in done.stderr) == (2, True)


def test_the_launcher_is_python_for_all_else(tmp_path: Path) -> None:
    given = environment(LMI_PYTHON=sys.executable)
    command = [str(LAUNCHER), "-c", "import sys; print(sys.executable)"]
    done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.executable
    assert os.access(LAUNCHER, os.X_OK)
