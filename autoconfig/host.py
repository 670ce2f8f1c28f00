"""Looks at the machine once: GPUs, usable cores, available memory, CPU flags; all else takes these facts as a value."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any


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
    """What may still be allocated: the kernel's estimate, cut by the cgroup's limit."""
    ram_total_bytes: int = 0
    cpu_flags: frozenset[str] = field(default_factory=frozenset)
    numa_nodes: int = 1

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "HostFacts":
        """Build facts from plain JSON, as test cases and recorded hosts hold them."""
        gpus = tuple(Gpu(**gpu) for gpu in facts.get("gpus", ()))
        return cls(**{**facts, "gpus": gpus, "cpu_flags": frozenset(facts.get("cpu_flags", ()))})


def probe(root: Path = Path("/"), visible_devices: str | None = None) -> HostFacts:
    """Return the facts of the machine whose `proc` and `sys` lie below `root`.

    `visible_devices` is CUDA_VISIBLE_DEVICES, where it is set.
    """
    memory = _meminfo(root)
    limit, used = _cgroup_memory(root)
    available = memory.get("MemAvailable", 0)
    total = memory.get("MemTotal", 0)
    return HostFacts(
        gpus=_gpus(visible_devices),
        cpus=_cpus(root),
        ram_available_bytes=min(available, limit - used) if limit else available,
        ram_total_bytes=min(total, limit) if limit else total,
        cpu_flags=_cpu_flags(root),
        numa_nodes=max(1, len(list((root / "sys/devices/system/node").glob("node[0-9]*")))),
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
    if (version_2 := _text(group / "cpu.max").split()) and version_2[0].isdecimal():
        return int(version_2[0]), int(version_2[1])
    quota, period = _text(group / "cpu/cpu.cfs_quota_us"), _text(group / "cpu/cpu.cfs_period_us")
    return (int(quota), int(period)) if quota.isdecimal() and period.isdecimal() else (0, 1)


def _cgroup_memory(root: Path) -> tuple[int, int]:
    """Return the cgroup's limit, 0 where there is none, and what it uses without the page cache it can give back."""
    group = root / "sys/fs/cgroup"
    for limit, usage, statistics, reclaimable in (
        (group / "memory.max", group / "memory.current", group / "memory.stat", "inactive_file"),
        (
            group / "memory/memory.limit_in_bytes",
            group / "memory/memory.usage_in_bytes",
            group / "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        # Version 1 writes "no limit" as a number near 2**63.
        if (bound := _text(limit)).isdecimal() and int(bound) < 1 << 60:
            lines = dict(line.split() for line in _text(statistics).splitlines())
            return int(bound), max(0, int(_text(usage) or 0) - int(lines.get(reclaimable, 0)))
    return 0, 0


def _meminfo(root: Path) -> dict[str, int]:
    lines = (line.split() for line in _text(root / "proc/meminfo").splitlines())
    return {name.rstrip(":"): int(number) * 1024 for name, number, *_ in lines}


def _cpu_flags(root: Path) -> frozenset[str]:
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(flags.split())
    return frozenset()


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return ""
