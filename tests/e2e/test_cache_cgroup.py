"""Auto-configuration where a memory cgroup allows less than the machine has: planned inside it, nothing is killed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.container.cgroups import Group, memory_group
from tests.e2e.conftest import Engines
from tests.e2e.models import write_model
from tests.e2e.server import ROOT, Server, forgetful_engine, free_port
from tests.e2e.test_cache import complete, document, figures

MIB = 1 << 20
LIMIT = 8704 * MIB
"""Leaves some hundred MiB to the tier: what the system, the engine and LMCache's server are given comes to 8 GiB."""
DOCUMENTS = 100


@pytest.fixture
def group(engines: Engines) -> Iterator[Group]:
    engines.stop()  # so that its memory is available
    if psutil.virtual_memory().available < LIMIT + 1024 * MIB:
        pytest.skip("a limit below the machine's RAM needs 10 GiB of it")
    with memory_group(LIMIT) as made:
        yield made


@pytest.mark.engine
@pytest.mark.timeout(420)
def test_a_start_inside_a_cgroup_stays_inside_it(engines: Engines, place: Path, group: Group) -> None:
    port = free_port()
    environment = forgetful_engine(
        write_model(place / "confined-llm", seed=51),
        OPTION_LMCACHE_AUTO_CONFIG="true",
        OPTION_LMCACHE_MIN_CPU_GB="0.1",
        OPTION_LMCACHE_MAX_DISK_GB="0",
        VLLM_CPU_KVCACHE_SPACE="1",
    )
    explain = [*group.wrapper, sys.executable, "-m", "container", "explain", "--json"]
    said = subprocess.run(explain, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    plan = json.loads(said)["kv_cache"]
    assert plan["off"] == ""
    assert 0 < plan["cpu_bytes"] < 1024 * MIB
    assert any(f"of cgroup /{group.path.name}" in reason or f"/{group.path.name})" in reason
               for reason in plan["cpu_reasons"])  # fmt: skip

    server = engines.use(
        "confined",
        lambda: Server.start(place / "confined", ["serve", "--port", str(port)], environment, port, group.wrapper),
    )
    assert "KV cache: up after" in server.output
    inside = {int(pid) for pid in (group.path / "cgroup.procs").read_text().split()}
    assert {process.pid for process in server.family()} <= inside

    documents = [document(seed) for seed in range(500, 500 + DOCUMENTS)]
    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda prompt: complete(server.client, prompt)["text"], documents))
    assert figures(server.client)["lmi_cache_tier_used_bytes"] > plan["cpu_bytes"] / 3
    again = [complete(server.client, prompt) for prompt in documents[-10:]]
    assert [answer["text"] for answer in again] == first[-10:]
    assert any(answer["cached"] for answer in again)
    assert group.kills() == 0
    assert group.peak_bytes() <= LIMIT
    assert "serving goes on without it" not in server.output
    engines.stop()
