"""The process contract where Java starts the worker: who is asked to drain, who is ended, and with which status."""

import os
import signal
import socket
import time

import pytest

from tests.container.processes import Supervise, Supervised, is_running
from tests.timing import LONG_SECONDS, eventually

WRITE_PID = 'open(os.environ["DIRECTORY"] + "/pid", "w").write(str(os.getpid()))\n'
LOADED = (
    WRITE_PID
    + "java = os.getppid()\n"
    + 'tell(event="phase", name="loading")\ntell(event="ready")\nprint("loaded", flush=True)\n'
)
DRAIN = """
def drain(*_):
    time.sleep(0.3)
    print("last reply sent", flush=True)
    tell(event="drained")
    time.sleep(60)
signal.signal(signal.SIGTERM, drain)
"""
WAIT = "while True: time.sleep(0.05)\n"
SECONDS_AFTER_DEATH = 5


@pytest.fixture
def port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: int = listener.getsockname()[1]
        return found


def ended(server: Supervised) -> tuple[int, str]:
    """Return status and words at the end, when its worker must have ended too."""
    outcome = server.end()
    assert not is_running(server.worker_pid())
    return outcome


def test_it_is_ready_only_when_the_port_answers(supervise: Supervise, port: int) -> None:
    server = supervise(LOADED + WAIT, port=port)
    server.read_until("READY")
    assert "the port is open" in (server.directory / "engine.log").read_text()


def test_the_worker_drains_before_java_is_told_to_stop(supervise: Supervise, port: int) -> None:
    server = supervise(DRAIN + LOADED + WAIT, port=port)
    server.read_until("READY")
    server.process.terminate()
    code, said = ended(server)
    assert code == 0
    assert "last reply sent" in said
    assert "killing" not in said


def test_java_is_told_to_end_when_the_supervisor_is_killed(supervise: Supervise, port: int) -> None:
    until_then = "java = os.getppid()\nwhile os.getppid() == java: time.sleep(0.05)\n"
    server = supervise(LOADED + until_then, port=port)
    server.read_until("READY")
    server.process.kill()
    eventually(lambda: not is_running(server.worker_pid()), "Java has ended, and its worker")


def test_a_worker_that_drains_too_long_is_killed_at_the_limit(supervise: Supervise, port: int) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    server = supervise(ignore + LOADED + WAIT, port=port, stop_seconds=1)
    server.read_until("READY")
    server.process.terminate()
    code, said = ended(server)
    assert (code, "killing what has not ended" in said) == (0, True)


def test_a_stop_during_the_start_does_not_wait_for_a_drain(supervise: Supervise, port: int) -> None:
    server = supervise(DRAIN + WRITE_PID + 'tell(event="phase", name="loading")\n' + WAIT, port=port)
    server.read_until("loading")
    server.process.terminate()
    code, said = ended(server)
    assert (code, "last reply sent" in said) == (0, False)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_in_silence_ends_all_with_4_although_java_starts_another(
    supervise: Supervise, port: int, number: signal.Signals
) -> None:
    server = supervise(LOADED + WAIT, port=port)
    server.read_until("READY")
    os.kill(server.worker_pid(), number)
    died = time.monotonic()
    code, said = server.end()
    assert time.monotonic() - died < SECONDS_AFTER_DEATH
    assert code == 4
    assert "ended while serving: the engine process died" in said
    eventually(lambda: not is_running(server.worker_pid()), "the second worker has ended")


def test_an_engine_that_is_told_to_have_died_ends_all_with_4(supervise: Supervise, port: int) -> None:
    worker = 'tell(event="failed", cause="the engine ran out of memory", code=4)\n'
    server = supervise(LOADED + "time.sleep(1.5)\n" + worker + WAIT, port=port)
    server.read_until("READY")
    code, said = ended(server)
    assert code == 4
    assert "ended while serving: the engine ran out of memory" in said


@pytest.mark.parametrize(
    ("code", "words"), [(2, "model.py:3: no such name (log: "), (4, "failed to start: model.py:3")]
)
def test_a_start_that_fails_keeps_its_status_and_cause(supervise: Supervise, port: int, code: int, words: str) -> None:
    worker = f'tell(event="failed", cause="model.py:3: no such name", code={code})\n'
    found, said = ended(supervise(WRITE_PID + worker + WAIT, port=port))
    assert (found, words in said) == (code, True)


def test_a_start_that_takes_too_long_ends_with_5(supervise: Supervise, port: int) -> None:
    worker = WRITE_PID + 'tell(event="phase", name="loading")\n' + WAIT
    code, said = ended(supervise(worker, port=port, start_seconds=1.5))
    assert (code, "stuck at: engine: loading" in said) == (5, True)


def test_java_that_cannot_start_ends_with_4_and_its_last_words(supervise: Supervise, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        server = supervise("os.kill(os.getppid(), signal.SIGKILL)\n" + WAIT, port=port)
        code, said = server.process.communicate(timeout=LONG_SECONDS)[0], server.process.returncode
    assert said == 4
    assert "the engine failed to start" in code
