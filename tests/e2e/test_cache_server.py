"""The cache server's watcher over the real `lmcache server`, without an engine; test_cache.py has one with."""

import json
from pathlib import Path
from urllib.request import urlopen

import pytest

from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.lmcache.environment import server_environment
from autoconfig.lmcache.server import Placement, server_arguments
from autoconfig.settings import CacheStatus
from container.cache_launch import LMCACHE
from container.cache_task import Attempt, CacheTask
from container.ports import reserved_ports
from tests.container.processes import ROOT, is_running
from tests.container.watched import Watched, send_short_message
from tests.e2e.server import clean_environment

CPU_BYTES, DISK_BYTES = 100 << 20, 1 << 30


@pytest.mark.engine
@pytest.mark.timeout(240)
def test_the_real_server_comes_up_comes_back_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "lmi-cache"
    config = LMCacheConfig(
        max_local_cpu_size=CPU_BYTES / 2**30,
        local_disk=str(folder / "0123"),
        max_local_disk_size=DISK_BYTES / 2**30,
        extra_config={"use_odirect": True},
    )
    with reserved_ports(2, None, frozenset({8080})) as (port, http_port):
        placement = Placement(port, http_port, "engine_driven", f"test_{port}")
        command = (*LMCACHE, *server_arguments(config, placement))
        task = CacheTask(
            attempts=(Attempt(command, CPU_BYTES, DISK_BYTES),),
            environment=server_environment(config, clean_environment(PYTHONPATH=str(ROOT))),
            ports=(http_port, port),
            status_file=str(tmp_path / "cache-server.json"),
            log_file=str(tmp_path / "cache-server.log"),
            start_seconds=90,
            shared_memory=placement.shm_file,
            disk_directory=str(folder / "0123"),
            marker=str(folder / ".lmi-cache"),
        )
        watched = Watched(task, tmp_path)
        try:
            assert watched.says("up after").endswith("RAM 100.0 MiB, disk 1.0 GiB")
            assert Path(placement.shm_file).exists()
            first = watched.server()
            first.kill()
            watched.says("up again after")
            assert watched.status == CacheStatus("up", "", 1, CPU_BYTES, DISK_BYTES)
            with urlopen(f"http://127.0.0.1:{http_port}/status") as answer:
                assert json.load(answer)["storage_manager"]["l1_manager"]
            send_short_message(port)
            assert "it has not answered 3 times" in watched.says("down:")
            watched.says("up again after")
            log = Path(task.log_file).read_text()
            assert "AssertionError: Expected at least 3 message parts" in log  # of the thread the message ended
            assert "GET /" not in log
            last = watched.server()
            assert watched.stop() == 0
        finally:
            watched.process.kill()
            watched.process.communicate()
    assert not is_running(first.pid)
    assert not is_running(last.pid)
    assert not Path(placement.shm_file).exists()
    assert [path.name for path in folder.iterdir()] == [".lmi-cache"]
