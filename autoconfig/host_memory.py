"""Reads how much RAM this container may still take: the kernel's estimate, cut by every cgroup above and by its nodes.

All files are read below a given root, so that a test can build any machine as a folder.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autoconfig.host_files import kernel_list, mounts_below, text_of

# Version 1 writes "no limit" as a number near 2**63.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class Memory:
    """RAM of this container; `bound_by` names what cut it below the machine's own, empty where nothing did."""

    total_bytes: int
    available_bytes: int
    bound_by: str = ""


def memory(root: Path) -> Memory:
    """Return the tightest of what the kernel, each cgroup and the allowed NUMA nodes leave."""
    said = _meminfo(root / "proc/meminfo")
    found = Memory(said.get("MemTotal", 0), said.get("MemAvailable", 0))
    for bound in (*_cgroups(root), *_nodes(root)):
        total = min(found.total_bytes, bound.total_bytes)
        if bound.available_bytes < found.available_bytes:
            found = Memory(total, bound.available_bytes, bound.bound_by)
        else:
            found = Memory(total, found.available_bytes, found.bound_by)
    return found


def allowed_nodes(root: Path) -> tuple[int, ...]:
    """Return the NUMA nodes memory may come from: those of the machine that cpuset.mems leaves, one where none is told.

    The kernel writes the cpuset's effective nodes into the process's status, whichever cgroup version set them.
    """
    names = (entry.name for entry in (root / "sys/devices/system/node").glob("node[0-9]*"))
    nodes = sorted(int(name.removeprefix("node")) for name in names)
    for line in text_of(root / "proc/self/status").splitlines():
        if line.startswith("Mems_allowed_list:"):
            allowed = kernel_list(line.partition(":")[2])
            nodes = [node for node in nodes if node in allowed]
    return tuple(nodes) or (0,)


def _nodes(root: Path) -> Iterator[Memory]:
    """Where a cpuset leaves only some nodes, the others' memory cannot be had."""
    nodes = allowed_nodes(root)
    if len(nodes) >= len(list((root / "sys/devices/system/node").glob("node[0-9]*"))):
        return
    # node0/meminfo has lines as "Node 0 MemFree: 1234 kB".
    said = [_meminfo(root / f"sys/devices/system/node/node{node}/meminfo", skip=2) for node in nodes]
    free = sum(node.get("MemFree", 0) + node.get("Inactive(file)", 0) for node in said)
    yield Memory(sum(node.get("MemTotal", 0) for node in said), free, f"cpuset.mems {','.join(map(str, nodes))}")


def memory_kills(root: Path) -> int | None:
    """Return how many processes of this one's cgroup the kernel has ended for lack of memory; None: it does not say."""
    groups = [top / inner for top, inner, _ in _mounted(root)]
    files = [group / name for group in groups for name in ("memory.events", "memory.oom_control")]
    # Version 2 has no such file at the top; there the whole machine's count is this group's.
    for file in (*files, root / "proc/vmstat"):
        for line in text_of(file).splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def _cgroups(root: Path) -> Iterator[Memory]:
    """Yield a bound for every limit set on this process's cgroup and on each of its ancestors."""
    for top, inner, read in _mounted(root):
        for group in (inner, *inner.parents) if inner.parts else (inner,):
            yield from read(top / group, f"/{group}" if group.parts else "/")


def _mounted(root: Path) -> Iterator[tuple[Path, PurePosixPath, Callable[[Path, str], Iterator[Memory]]]]:
    """Yield where each hierarchy that may account memory is mounted, this process's group below, and who reads it."""
    paths = {}
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for mount in mounts_below(root):
        top = root / mount.path.lstrip("/")
        if mount.filesystem == "cgroup2":
            yield top, _inner(mount.origin, paths.get("", "/")), _version_2
        elif mount.filesystem == "cgroup" and "memory" in mount.options:
            yield top, _inner(mount.origin, paths.get("memory", "/")), _version_1


def _inner(origin: str, path: str) -> PurePosixPath:
    """Return a group's path below what is mounted: without a namespace the mount begins lower than the path."""
    below = PurePosixPath(path)
    return below.relative_to(origin) if below.is_relative_to(origin) else PurePosixPath()


def _version_2(group: Path, name: str) -> Iterator[Memory]:
    used = _used(group, "memory.current", "inactive_file")
    for file in ("memory.max", "memory.high"):
        if (limit := text_of(group / file)).isdecimal():
            yield Memory(int(limit), max(0, int(limit) - used), f"{file} of cgroup {name}")


def _version_1(group: Path, name: str) -> Iterator[Memory]:
    used = _used(group, "memory.usage_in_bytes", "total_inactive_file")
    limit = text_of(group / "memory.limit_in_bytes")
    if limit.isdecimal() and int(limit) < _NO_LIMIT:
        yield Memory(int(limit), max(0, int(limit) - used), f"memory.limit_in_bytes of cgroup {name}")


def _used(group: Path, usage: str, reclaimable: str) -> int:
    """Return what the group uses, without the page cache it can give back."""
    statistics = dict(line.split(maxsplit=1) for line in text_of(group / "memory.stat").splitlines())
    return max(0, int(text_of(group / usage) or 0) - int(statistics.get(reclaimable, 0)))


def _meminfo(file: Path, skip: int = 0) -> dict[str, int]:
    lines = (line.split()[skip:] for line in text_of(file).splitlines())
    return {name.rstrip(":"): int(number) * 1024 for name, number, *_ in (line for line in lines if len(line) > 1)}
