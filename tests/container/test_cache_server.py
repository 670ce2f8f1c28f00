"""The cache server's watcher, a real process, over a stand-in for `lmcache server` that crashes, hangs or never comes.

The real server's test is in tests/e2e/test_cache_server.py.
"""

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoconfig.settings import CacheStatus
from container.cache_task import Attempt, CacheTask, write_status
from container.ports import reserved_ports
from tests.container.mounts import fill
from tests.container.processes import is_running
from tests.container.watched import Watched, send_short_message
from tests.timing import LONG_SECONDS, eventually

FAKE = str(Path(__file__).with_name("fake_cache_server.py"))
GIB = 1 << 30


class Watch:
    """Starts watchers over servers that behave as told, one behaviour an attempt."""

    def __init__(self, directory: Path, ports: tuple[int, int]) -> None:
        self._directory = directory
        self._ports = ports
        self.started: list[Watched] = []

    def __call__(self, *attempts: str, **more: Any) -> Watched:
        return self.over(self.task(*attempts, **more))

    def task(self, *attempts: str, **more: Any) -> CacheTask:
        command = (sys.executable, FAKE, *map(str, self._ports))
        tried = [
            Attempt((*command, *how.split()), GIB >> number, 0 if number else 2 * GIB)
            for number, how in enumerate(attempts)
        ]
        usual: dict[str, Any] = {
            "status_file": str(self._directory / "cache-server.json"),
            "log_file": str(self._directory / "cache-server.log"),
            "start_seconds": LONG_SECONDS,
            "check_seconds": 0.5,
            "settle_seconds": 0.1,
        }
        return CacheTask(tuple(tried), {}, self._ports, **{**usual, **more})

    def over(self, task: CacheTask) -> Watched:
        self.started.append(Watched(task, self._directory))
        return self.started[-1]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with reserved_ports(2, None, frozenset()) as (http_port, port):
        watch = Watch(tmp_path, (http_port, port))
        yield watch
        for watched in watch.started:
            watched.process.kill()
            watched.process.communicate()


def test_a_server_that_comes_up_is_told_with_its_sizes(watch: Watch) -> None:
    watched = watch("slow 0.3")
    assert watched.says("up after").endswith("RAM 1.0 GiB, disk 2.0 GiB")
    assert watched.status == CacheStatus("up", "", 0, GIB, 2 * GIB)


def test_the_kernel_would_end_the_server_rather_than_the_engine(watch: Watch) -> None:
    watched = watch("")
    watched.says("up after")
    assert int(Path(f"/proc/{watched.server().pid}/oom_score_adj").read_text()) >= 800


def test_told_to_stop_it_ends_its_server_and_leaves_nothing(watch: Watch, tmp_path: Path) -> None:
    shared = tmp_path / "lmcache_l1_pool_x"
    watched = watch("", shared_memory=str(shared))
    watched.says("up after")
    shared.touch()
    server = watched.server().pid
    assert watched.stop() == 0
    assert not is_running(server)
    assert not shared.exists()


def test_a_first_start_that_fails_is_tried_once_with_less(watch: Watch) -> None:
    watched = watch("fails no-memory", "")
    assert "RuntimeError: no-memory" in watched.says("did not start")
    assert watched.says("up after").endswith("RAM 0.5 GiB, disk none")
    assert watched.status == CacheStatus("up", "", 0, GIB // 2, 0)


def test_a_server_that_never_comes_up_stays_off_and_the_watcher_stays_quiet(watch: Watch) -> None:
    watched = watch("fails one", "mute", start_seconds=1)
    assert "not up after 1 s" in watched.says("off:")
    status = watched.status
    assert status is not None
    assert (status.state, "not up after 1 s" in status.reason) == ("off", True)
    time.sleep(0.5)
    assert psutil.Process(watched.process.pid).children() == []
    assert watched.stop() == 0


def test_a_program_that_is_not_there_is_a_reason(watch: Watch) -> None:
    task = replace(watch.task(), attempts=(Attempt(("/nowhere/python",), GIB, 0),))
    assert "/nowhere/python: No such file or directory" in watch.over(task).says("off:")


def test_a_server_that_is_killed_is_started_again(watch: Watch, tmp_path: Path) -> None:
    shared = tmp_path / "lmcache_l1_pool_x"
    watched = watch("", shared_memory=str(shared))
    watched.says("up after")
    shared.touch()
    watched.server().kill()
    assert "it was killed by SIGKILL: by hand or by the platform, " in watched.says("down:")
    assert not shared.exists()
    watched.says("up again after")
    assert watched.status == CacheStatus("up", "", 1, GIB, 2 * GIB)


def test_a_server_that_hangs_is_killed_and_started_again(watch: Watch) -> None:
    watched = watch("")
    watched.says("up after")
    server = watched.server()
    server.send_signal(signal.SIGSTOP)
    assert "it has not answered 3 times" in watched.says("down:")
    watched.says("up again after")
    assert not is_running(server.pid)


def test_a_server_that_is_deaf_to_the_engine_is_killed_and_started_again(watch: Watch) -> None:
    watched = watch("")
    watched.says("up after")
    send_short_message(watched.task.ports[1])
    assert "it has not answered 3 times" in watched.says("down:")
    watched.says("up again after")


def test_one_that_keeps_failing_to_come_back_is_given_up(watch: Watch, tmp_path: Path) -> None:
    watched = watch(f"fails-after {tmp_path / 'once'}")
    watched.says("up after")
    watched.server().kill()
    began = time.monotonic()
    for _ in range(5):
        watched.says("down:")
    assert "RuntimeError: not again" in watched.says("off:")
    assert time.monotonic() - began > 0.1 * (1 + 2 + 4 + 8 + 16)


def test_a_watcher_that_is_killed_takes_its_server_along_and_the_next_goes_on(watch: Watch) -> None:
    watched = watch("")
    watched.says("up after")
    server = watched.server().pid
    watched.process.kill()
    eventually(lambda: not is_running(server), "the server is gone")
    following = watch.over(watched.task)
    assert "its watcher was killed" in following.says("down:")
    following.says("up again after")
    assert following.status == CacheStatus("up", "", 1, GIB, 2 * GIB)
    assert following.stop() == 0


def test_a_watcher_that_is_killed_while_off_stays_off(watch: Watch) -> None:
    watched = watch("fails once")
    watched.says("off:")
    watched.process.kill()
    status = Path(watched.task.status_file)
    told = status.stat().st_mtime_ns
    following = watch.over(watched.task)
    eventually(lambda: status.stat().st_mtime_ns > told, "it has begun, and told the same again")
    time.sleep(0.5)
    assert psutil.Process(following.process.pid).children() == []
    assert following.stop() == 0


def test_the_disk_tier_is_emptied_at_every_start_and_removed_at_the_end(watch: Watch, tmp_path: Path) -> None:
    folder = tmp_path / "lmi-cache"
    disk = folder / "0123"
    watched = watch("", disk_directory=str(disk), marker=str(folder / ".lmi-cache"))
    watched.says("up after")
    (disk / "stale").touch()
    watched.server().kill()
    watched.says("up again after")
    assert list(disk.iterdir()) == []
    assert watched.stop() == 0
    assert [path.name for path in folder.iterdir()] == [".lmi-cache"]


def test_a_disk_that_cannot_be_had_leaves_the_smaller_cache(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "lmi-cache").mkdir()
    (tmp_path / "lmi-cache/somebodys").touch()
    folder = tmp_path / "lmi-cache"
    watched = watch("", "", disk_directory=str(folder / "0123"), marker=str(folder / ".lmi-cache"))
    assert "is not ours to empty" in watched.says("did not start")
    assert watched.says("up after").endswith("disk none")
    assert (folder / "somebodys").exists()


def test_a_full_disk_delays_what_is_told_and_nothing_else(watch: Watch, small_disk: Path) -> None:
    files = {"status_file": str(small_disk / "cache-server.json"), "log_file": str(small_disk / "cache-server.log")}
    watched = watch("", **files)
    watched.says("up after")
    fill(small_disk)
    watched.server().kill()
    watched.says("up again after")
    assert watched.status == CacheStatus("up", "", 0, GIB, 2 * GIB)  # the earlier one, whole
    (small_disk / "filler").unlink()
    eventually(lambda: watched.status == CacheStatus("up", "", 1, GIB, 2 * GIB), "the restart is told")
    assert watched.stop() == 0


def test_the_status_is_readable_at_any_moment(tmp_path: Path) -> None:
    file = tmp_path / "status"
    assert CacheStatus.read(file) is None
    write_status(file, CacheStatus("down", "it hangs", 3, 7, 5))
    assert CacheStatus.read(file) == CacheStatus("down", "it hangs", 3, 7, 5)
