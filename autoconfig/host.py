"""Looks at the machine once: GPUs, cores, memory, disks; everything else takes these facts as a value."""

import os
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from autoconfig.host_disks import Mount, free_bytes, mounts
from autoconfig.host_files import text_of
from autoconfig.host_memory import allowed_nodes, memory


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU the engine may use."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What this machine offers to this container."""

    gpus: tuple[Gpu, ...] = ()
    cpus: int = 1
    """Cores that may be used: the affinity mask, cut by the cgroup's quota."""
    ram_available_bytes: int = 0
    """What may still be allocated: the kernel's estimate, cut by the limits of every cgroup and by cpuset.mems."""
    ram_total_bytes: int = 0
    ram_bound_by: str = ""
    """The limit that decides what is available, empty where the machine itself does."""
    cpu_flags: frozenset[str] = field(default_factory=frozenset)
    numa_nodes: int = 1
    """Nodes memory may come from."""
    shm_free_bytes: int | None = None
    """Free in /dev/shm; None where nobody looked."""
    memlock_bytes: int | None = None
    """What may be pinned (RLIMIT_MEMLOCK); None is without limit."""
    mounts: tuple[Mount, ...] = ()
    root: Path | None = None
    """Where this machine's files are; None for one that is known from a table."""

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "HostFacts":
        """Build facts from plain JSON, as test cases and recorded hosts hold them."""
        gpus = tuple(Gpu(**gpu) for gpu in facts.get("gpus", ()))
        mounted = tuple(Mount(**mount) for mount in facts.get("mounts", ()))
        flags = frozenset(facts.get("cpu_flags", ()))
        return cls(**{**facts, "gpus": gpus, "mounts": mounted, "cpu_flags": flags})


def probe(root: Path = Path("/"), visible_devices: str | None = None) -> HostFacts:
    """Return the facts of the machine whose `proc` and `sys` lie below `root`.

    `visible_devices` is CUDA_VISIBLE_DEVICES, where it is set.
    """
    ram = memory(root)
    return HostFacts(
        gpus=_gpus(visible_devices),
        cpus=_cpus(root),
        ram_available_bytes=ram.available_bytes,
        ram_total_bytes=ram.total_bytes,
        ram_bound_by=ram.bound_by,
        cpu_flags=_cpu_flags(root),
        numa_nodes=len(allowed_nodes(root)),
        shm_free_bytes=free_bytes(root, "/dev/shm"),
        memlock_bytes=_memlock(root),
        mounts=mounts(root),
        root=root,
    )


def _gpus(visible_devices: str | None) -> tuple[Gpu, ...]:
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        found = [Gpu(str(pynvml.nvmlDeviceGetName(h)), int(pynvml.nvmlDeviceGetMemoryInfo(h).total)) for h in handles]
        uuids = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    return tuple(found if visible_devices is None else _visible(found, uuids, visible_devices))


def _visible(gpus: list[Gpu], uuids: list[str], visible_devices: str) -> list[Gpu]:
    """Keep what CUDA would: devices by index or UUID prefix, up to the first that does not exist."""
    kept: list[Gpu] = []
    for device in (part.strip() for part in visible_devices.split(",")):
        if device.isdecimal() and int(device) < len(gpus):
            kept.append(gpus[int(device)])
        elif device and (match := [i for i, uuid in enumerate(uuids) if uuid.startswith(device)]):
            kept.append(gpus[match[0]])
        else:
            break
    return kept


def _cpus(root: Path) -> int:
    usable = len(os.sched_getaffinity(0))
    quota, period = _cpu_quota(root)
    return max(1, min(usable, ceil(quota / period))) if quota > 0 else usable


def _cpu_quota(root: Path) -> tuple[int, int]:
    group = root / "sys/fs/cgroup"
    if (version_2 := text_of(group / "cpu.max").split()) and version_2[0].isdecimal():
        return int(version_2[0]), int(version_2[1])
    quota, period = text_of(group / "cpu/cpu.cfs_quota_us"), text_of(group / "cpu/cpu.cfs_period_us")
    return (int(quota), int(period)) if quota.isdecimal() and period.isdecimal() else (0, 1)


def _memlock(root: Path) -> int | None:
    for line in text_of(root / "proc/self/limits").splitlines():
        if line.startswith("Max locked memory"):
            soft = line.split()[3]
            return int(soft) if soft.isdecimal() else None
    return None


def _cpu_flags(root: Path) -> frozenset[str]:
    for line in text_of(root / "proc/cpuinfo").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(flags.split())
    return frozenset()
