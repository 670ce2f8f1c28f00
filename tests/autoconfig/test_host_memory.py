"""RAM under cgroups and cpusets, on machines that are folders. Each has 32 MiB, 16 of them available."""

from pathlib import Path

import pytest

from autoconfig.host import probe
from autoconfig.host_memory import Memory, allowed_nodes, memory
from tests.autoconfig.machines import KIB, MIB, written

V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def group(path: str, limit: int | str, used: int = 0, cache: int = 0, **more: int) -> dict[str, str]:
    folder = f"sys/fs/cgroup{path}"
    files = {"memory.max": str(limit), "memory.current": str(used), "memory.stat": f"anon 1\ninactive_file {cache}\n"}
    return {f"{folder}/{name}": text for name, text in files.items()} | {
        f"{folder}/memory.{name}": str(bound) for name, bound in more.items()
    }


def in_group(path: str, *groups: dict[str, str], mountinfo: str = V2) -> dict[str, str]:
    files = {"proc/self/cgroup": f"0::{path}\n", "proc/self/mountinfo": mountinfo}
    for more in groups:
        files |= more
    return files


def test_without_a_limit_the_machine_itself_decides(tmp_path: Path) -> None:
    found = memory(written(tmp_path, in_group("/a", group("/a", "max"))))
    assert found == Memory(32 * MIB, 16 * MIB)


def test_the_tightest_ancestor_decides_whichever_it_is(tmp_path: Path) -> None:
    groups = group("/a", 12 * MIB, 8 * MIB), group("/a/b", 6 * MIB, MIB), group("/a/b/c", "max")
    found = memory(written(tmp_path, in_group("/a/b/c", *groups)))
    assert found == Memory(6 * MIB, 4 * MIB, "memory.max of cgroup /a")


def test_page_cache_that_can_be_given_back_is_available(tmp_path: Path) -> None:
    found = memory(written(tmp_path, in_group("/a", group("/a", 8 * MIB, 7 * MIB, cache=5 * MIB))))
    assert found.available_bytes == 6 * MIB


def test_memory_high_bounds_as_memory_max_does(tmp_path: Path) -> None:
    found = memory(written(tmp_path, in_group("/a", group("/a", 8 * MIB, MIB, high=4 * MIB))))
    assert found == Memory(4 * MIB, 3 * MIB, "memory.high of cgroup /a")


def test_a_group_above_its_limit_leaves_nothing(tmp_path: Path) -> None:
    assert memory(written(tmp_path, in_group("/", group("", 4 * MIB, 5 * MIB)))).available_bytes == 0


def test_a_group_seen_from_outside_its_namespace_is_found_where_its_part_is_mounted(tmp_path: Path) -> None:
    """Without a namespace /proc names the whole path, and what is mounted begins at the container's own group."""
    mountinfo = "31 23 0:28 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    files = in_group("/docker/1/inner", group("", 8 * MIB), group("/inner", 4 * MIB), mountinfo=mountinfo)
    assert memory(written(tmp_path, files)).available_bytes == 4 * MIB


@pytest.mark.parametrize("path", ["/elsewhere", "/"])
def test_a_path_that_is_not_in_the_mount_leaves_the_mounts_own_group(tmp_path: Path, path: str) -> None:
    mountinfo = "31 23 0:28 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    found = memory(written(tmp_path, in_group(path, group("", 8 * MIB), mountinfo=mountinfo)))
    assert found.available_bytes == 8 * MIB


def test_version_1_is_walked_likewise(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory"
    files = {
        "proc/self/cgroup": "5:cpu:/\n4:hugetlb,memory:/a/b\n0::/\n",
        "proc/self/mountinfo": V1,
        f"{folder}/memory.limit_in_bytes": "9223372036854771712",
        f"{folder}/a/memory.limit_in_bytes": str(8 * MIB),
        f"{folder}/a/memory.usage_in_bytes": str(6 * MIB),
        f"{folder}/a/memory.stat": f"inactive_file 1\ntotal_inactive_file {MIB}\n",
        f"{folder}/a/b/memory.limit_in_bytes": str(4 * MIB),
    }
    found = memory(written(tmp_path, files))
    assert found == Memory(4 * MIB, 3 * MIB, "memory.limit_in_bytes of cgroup /a")


def test_both_versions_at_once_are_both_obeyed(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/a\n0::/u\n",
        "proc/self/mountinfo": V1 + "38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(8 * MIB),
        "sys/fs/cgroup/unified/u/memory.max": str(4 * MIB),
    }
    assert memory(written(tmp_path, files)).available_bytes == 4 * MIB


def two_nodes(allowed: str) -> dict[str, str]:
    node = "Node {n} MemTotal: 16384 kB\nNode {n} MemFree: {free} kB\nNode {n} Inactive(file): 1024 kB\n"
    return {
        "proc/self/status": f"Name: x\nMems_allowed: 3\nMems_allowed_list:\t{allowed}\n",
        "sys/devices/system/node/node0/meminfo": node.format(n=0, free=2048),
        "sys/devices/system/node/node1/meminfo": node.format(n=1, free=9000),
    }


def test_a_cpuset_leaves_the_memory_of_its_nodes(tmp_path: Path) -> None:
    root = written(tmp_path, two_nodes("0"))
    assert allowed_nodes(root) == (0,)
    assert memory(root) == Memory(16 * MIB, 3072 * KIB, "cpuset.mems 0")
    assert probe(root).numa_nodes == 1


def test_a_cpuset_of_all_nodes_cuts_nothing(tmp_path: Path) -> None:
    root = written(tmp_path, two_nodes("0-1"))
    assert memory(root) == Memory(32 * MIB, 16 * MIB)
    assert probe(root).numa_nodes == 2
