import os
import time
from pathlib import Path

import pytest

from autoconfig.host import Gpu, HostFacts, _visible, probe
from tests.autoconfig.machines import KIB, machine


def test_memory_is_what_the_kernel_says_where_no_cgroup_limits_it(tmp_path: Path) -> None:
    facts = probe(machine(tmp_path, **{"sys__fs__cgroup__memory.max": "max"}))
    assert (facts.ram_available_bytes, facts.ram_total_bytes) == (16384 * KIB, 32768 * KIB)


def test_a_cgroup_of_version_2_limits_memory_and_gives_back_its_page_cache(tmp_path: Path) -> None:
    group = {
        "sys__fs__cgroup__memory.max": str(8192 * KIB),
        "sys__fs__cgroup__memory.current": str(6000 * KIB),
        "sys__fs__cgroup__memory.stat": f"anon 5\ninactive_file {4000 * KIB}\n",
    }
    facts = probe(machine(tmp_path, **group))
    assert (facts.ram_available_bytes, facts.ram_total_bytes) == (6192 * KIB, 8192 * KIB)


def test_a_cgroup_of_version_1_does_so_too(tmp_path: Path) -> None:
    group = {
        "sys__fs__cgroup__memory__memory.limit_in_bytes": str(8192 * KIB),
        "sys__fs__cgroup__memory__memory.usage_in_bytes": str(1000 * KIB),
    }
    assert probe(machine(tmp_path, **group)).ram_available_bytes == 7192 * KIB
    group["sys__fs__cgroup__memory__memory.limit_in_bytes"] = "9223372036854771712"
    assert probe(machine(tmp_path, **group)).ram_available_bytes == 16384 * KIB


@pytest.mark.parametrize(
    "quota",
    [
        {"sys__fs__cgroup__cpu.max": "100000 100000"},
        {"sys__fs__cgroup__cpu.max": "50000 100000"},
        {"sys__fs__cgroup__cpu__cpu.cfs_quota_us": "100000", "sys__fs__cgroup__cpu__cpu.cfs_period_us": "100000"},
    ],
)
def test_a_quota_cuts_the_cores_and_leaves_at_least_one(tmp_path: Path, quota: dict[str, str]) -> None:
    assert probe(machine(tmp_path, **quota)).cpus == 1


def test_without_a_quota_every_core_of_the_mask_counts(tmp_path: Path) -> None:
    assert probe(machine(tmp_path, **{"sys__fs__cgroup__cpu.max": "max 100000"})).cpus == len(os.sched_getaffinity(0))
    version_1 = {"sys__fs__cgroup__cpu__cpu.cfs_quota_us": "-1", "sys__fs__cgroup__cpu__cpu.cfs_period_us": "100000"}
    assert probe(machine(tmp_path / "v1", **version_1)).cpus == len(os.sched_getaffinity(0))


def test_flags_are_read_on_x86_and_on_arm(tmp_path: Path) -> None:
    assert "amx_bf16" in probe(machine(tmp_path, proc__cpuinfo="processor: 0\nflags\t\t: fpu amx_bf16\n")).cpu_flags
    assert "bf16" in probe(machine(tmp_path, proc__cpuinfo="Features\t: asimd bf16\n")).cpu_flags


def test_a_machine_that_tells_nothing_is_still_a_machine(tmp_path: Path) -> None:
    facts = probe(tmp_path)
    assert (facts.ram_available_bytes, facts.cpu_flags, facts.numa_nodes) == (0, frozenset(), 1)


@pytest.mark.parametrize(
    ("visible", "kept"),
    [("0,2", "ac"), ("1", "b"), ("", ""), ("-1", ""), ("0,9,1", "a"), ("GPU-c", "c"), ("2,0", "ca")],
)
def test_only_the_gpus_cuda_would_show_count(visible: str, kept: str) -> None:
    gpus = [Gpu(name, 1) for name in "abc"]
    assert "".join(gpu.name for gpu in _visible(gpus, ["GPU-aa", "GPU-bb", "GPU-cc"], visible)) == kept


def test_looking_at_this_machine_is_quick() -> None:
    start = time.process_time()
    assert probe().ram_available_bytes > 0
    assert time.process_time() - start < 0.2


def test_a_recorded_host_is_read_back() -> None:
    recorded = {"gpus": [{"name": "L4", "memory_bytes": 1}], "cpus": 2, "cpu_flags": ["avx2"]}
    assert HostFacts.from_json(recorded) == HostFacts((Gpu("L4", 1),), 2, cpu_flags=frozenset({"avx2"}))
