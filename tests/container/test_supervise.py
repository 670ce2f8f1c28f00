"""The process contract of the supervisor, with real children that are ready, crash, hang, drain or leave orphans."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.container.processes import Supervise, is_running, wait_for
from tests.timing import LONG_SECONDS, eventually

READY = """
tell(event="phase", name="importing")
tell(event="ready")
"""
WAIT = "time.sleep(60)\n"
WAIT_FOR = """
while not os.path.exists(os.environ["DIRECTORY"] + "/{}"):
    time.sleep(0.02)
"""
WRITE_PID = 'open(os.environ["DIRECTORY"] + "/pid", "w").write(str(os.getpid()))\n'
LEAVE_ORPHANS = """
code = "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL, start_new_session=True).pid)"
orphan = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True).stdout
open(os.environ["DIRECTORY"] + "/pid", "w").write(orphan)
"""


def test_a_worker_that_is_told_to_stop_drains_and_the_status_is_0(supervise: Supervise) -> None:
    drain = """
def drain(*_):
    time.sleep(0.3)
    print("last reply sent", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
"""
    server = supervise(drain + READY + WAIT)
    server.read_until("READY")
    server.process.send_signal(signal.SIGTERM)
    code, said = server.end()
    assert code == 0
    assert "last reply sent" in said
    assert "stopped by SIGTERM" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_stop_like_sigterm(supervise: Supervise, number: signal.Signals) -> None:
    server = supervise(READY + WAIT)
    server.read_until("READY")
    server.process.send_signal(number)
    assert server.end()[0] == 0


def test_a_crash_at_start_ends_with_4_and_the_last_exception_but_no_traceback(supervise: Supervise) -> None:
    code, said = supervise('tell(event="phase", name="loading")\nraise ValueError("no room for the KV cache")\n').end()
    assert code == 4
    assert "the engine failed to start: ValueError: no room for the KV cache" in said
    assert "Traceback" not in said


def test_what_the_worker_reports_as_cause_is_preferred_to_its_log(supervise: Supervise) -> None:
    code, said = supervise('tell(event="failed", cause="bad weights", code=4)\nraise ValueError("noise")\n').end()
    assert code == 4
    assert "failed to start: bad weights" in said


def test_a_cause_that_points_elsewhere_is_looked_up_in_the_log(supervise: Supervise) -> None:
    worker = """
print("(EngineCore pid=7) ERROR 11-23 00:52:10 [core.py:9] ValueError: the model does not fit", file=sys.stderr)
print("RuntimeError: Engine core initialization failed. See root cause above.", file=sys.stderr)
tell(event="failed", cause="RuntimeError: Engine core initialization failed. See root cause above.", code=4)
sys.exit(4)
"""
    assert "failed to start: ValueError: the model does not fit" in supervise(worker).end()[1]


def test_bad_user_code_ends_with_2_and_is_not_said_to_be_the_engines_fault(supervise: Supervise) -> None:
    code, said = supervise('tell(event="failed", cause="model.py:3: no such name", code=2)\nsys.exit(2)\n').end()
    assert (code, said.startswith("model.py:3: no such name (log: ")) == (2, True)


def test_what_the_worker_wants_known_is_told_while_it_starts(supervise: Supervise) -> None:
    server = supervise('tell(event="notice", text="the adapter law cannot be loaded: why")\n' + READY + WAIT)
    assert server.read_until("cannot be loaded").endswith("s] engine: the adapter law cannot be loaded: why\n")
    server.read_until("READY")


def test_what_killed_a_worker_is_said(supervise: Supervise) -> None:
    """test_endings.py has what the kernel does."""
    code, said = supervise("os.kill(os.getpid(), signal.SIGKILL)\n").end()
    assert (code, "killed by SIGKILL: by hand or by the platform" in said) == (4, True)


def test_a_start_that_hangs_ends_with_5_and_names_the_phase(supervise: Supervise) -> None:
    code, said = supervise('tell(event="phase", name="loading the model")\n' + WAIT, start_seconds=4).end()
    assert code == 5
    assert "model_loading_timeout" in said
    assert "loading the model" in said


def test_a_worker_that_dies_while_serving_ends_the_container_with_4(supervise: Supervise) -> None:
    server = supervise(READY + "time.sleep(0.2)\nraise MemoryError('CUDA')\n")
    code, said = server.end()
    assert (code, "ended while serving: MemoryError: CUDA" in said) == (4, True)


def test_a_worker_that_exits_unasked_with_0_is_a_failure(supervise: Supervise) -> None:
    assert supervise(READY + "sys.exit(0)\n").end()[0] == 4


def test_a_worker_that_does_not_drain_in_time_is_killed_and_the_status_is_still_0(supervise: Supervise) -> None:
    server = supervise("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WRITE_PID + READY + WAIT, stop_seconds=1)
    server.read_until("READY")
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0
    assert not is_running(server.worker_pid())


def test_a_second_signal_hastens(supervise: Supervise) -> None:
    server = supervise("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + WAIT, stop_seconds=50)
    server.read_until("READY")
    server.process.send_signal(signal.SIGINT)
    server.read_until("stopping")
    server.process.send_signal(signal.SIGINT)
    assert server.end()[0] == 0


def test_a_signal_while_starting_stops_at_once_with_0(supervise: Supervise) -> None:
    server = supervise('tell(event="phase", name="importing")\n' + WAIT)
    server.read_until("importing")
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0


def test_nothing_a_worker_started_outlives_the_supervisor(supervise: Supervise) -> None:
    server = supervise(LEAVE_ORPHANS + READY + WAIT)
    server.read_until("READY")
    orphan = server.worker_pid()
    assert is_running(orphan)
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0
    assert not is_running(orphan)


def test_dead_orphans_are_reaped_while_serving(supervise: Supervise) -> None:
    server = supervise(LEAVE_ORPHANS + READY + WAIT)
    server.read_until("READY")
    orphan = server.worker_pid()
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{orphan}").exists(), "the orphan is reaped")


def test_lines_are_held_back_while_starting_and_all_are_in_the_log(supervise: Supervise) -> None:
    starting = 'print("held back", flush=True)\n'
    serving = """
print("(EngineCore pid=7) INFO 11-23 00:52:10 [core.py:9] chatter", flush=True)
print("2026-11-23T00:52:11 INFO POST /invocations 200", flush=True)
"""
    server = supervise(starting + WAIT_FOR.format("logged") + READY + WAIT_FOR.format("ready") + serving + WAIT)
    wait_for(server.directory / "engine.log")
    (server.directory / "logged").touch()
    server.read_until("READY")
    (server.directory / "ready").touch()
    assert "POST /invocations 200" in server.read_until("POST")
    server.process.send_signal(signal.SIGTERM)
    said = server.end()[1]
    assert "held back" not in said
    assert "chatter" not in said
    log = (server.directory / "engine.log").read_text()
    assert [word in log for word in ("held back", "chatter", "POST")] == [True] * 3


def test_a_reader_who_stopped_reading_blocks_neither_worker_nor_stop(supervise: Supervise) -> None:
    worker = """
for number in range(20_000):
    print(f"line {number} " + "x" * 100, flush=True)
open(os.environ["DIRECTORY"] + "/pid", "w").write(str(os.getpid()))
"""
    server = supervise(READY + worker + WAIT)
    wait_for(server.directory / "pid")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=LONG_SECONDS) == 0


def test_a_companion_that_dies_is_started_again_and_the_service_goes_on(supervise: Supervise) -> None:
    server = supervise(READY + WAIT, companion='print("here", flush=True)\ntime.sleep(0.3)\nsys.exit(3)\n')
    for pause in ("1 s", "2 s"):
        assert "its watcher ended: exit status 3" in (line := server.read_until("its watcher ended"))
        assert line.strip().endswith(pause)
        server.read_until("cache: here")
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0


def test_a_companion_that_never_gets_ready_delays_nothing(supervise: Supervise) -> None:
    server = supervise("time.sleep(0.5)\n" + READY + WAIT, companion=WAIT)
    server.read_until("READY")
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0


def test_a_companion_is_asked_to_end_when_the_worker_has_drained(supervise: Supervise) -> None:
    drain = """
def drain(*_):
    time.sleep(0.5)
    os.kill(int(open(os.environ["DIRECTORY"] + "/companion-pid").read()), 0)
    print("drained with the cache", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
"""
    tell = """
def end(*_):
    print("told to end", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(directory + "/listening", "w").close()
"""
    server = supervise(drain + WAIT_FOR.format("listening") + READY + WAIT, companion=tell + WAIT)
    server.read_until("READY")
    server.process.send_signal(signal.SIGTERM)
    code, said = server.end()
    assert code == 0
    assert said.index("drained with the cache") < said.index("told to end")


def test_a_companion_that_does_not_end_is_killed(supervise: Supervise) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
    server = supervise(READY + WAIT, companion=ignore + WAIT)
    server.read_until("cache: deaf")
    server.process.send_signal(signal.SIGTERM)
    assert server.end()[0] == 0
    assert not is_running(int((server.directory / "companion-pid").read_text()))


def test_a_companion_ends_with_a_worker_that_failed(supervise: Supervise) -> None:
    server = supervise(WAIT_FOR.format("companion-pid") + "raise ValueError('no')\n", companion=WAIT)
    assert server.end()[0] == 4
    assert not is_running(int((server.directory / "companion-pid").read_text()))


def _may_unshare() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([str(unshare), "--pid", "--fork", "true"], check=False).returncode == 0


@pytest.mark.skipif(not _may_unshare(), reason="needs the right to create a PID namespace")
def test_as_pid_1_it_stops_reaps_and_leaves_nothing(supervise: Supervise) -> None:
    server = supervise(
        LEAVE_ORPHANS + READY + WAIT, prefix=("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    )
    server.read_until("READY")
    inside = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(inside.stdout), signal.SIGTERM)
    assert server.end()[0] == 0
