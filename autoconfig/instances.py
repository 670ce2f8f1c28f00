"""The facts of SageMaker's GPU instance types, so that a plan can be read for a machine one does not have."""

import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from autoconfig.errors import ConfigErrors, UnknownNameError
from autoconfig.host import Gpu, HostFacts
from autoconfig.host_disks import Mount

# A container sees less than the nominal RAM; what the kernel and the platform take was not measured on SageMaker.
RAM_SHARE = 0.95
_MIB, _GIB, _GB = 1 << 20, 1 << 30, 10**9


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One row of instances.json."""

    name: str
    gpu: str
    gpus: int
    gpu_memory_mib: int
    vcpu: int
    ram_gib: int
    nvme_gb: tuple[int, ...]
    source: str
    verified: bool
    unverified_fields: tuple[str, ...] = ()
    note: str = ""

    def host(self) -> HostFacts:
        """Return the machine as a container on it is taken to see it, the instance store as one file system."""
        size = sum(self.nvme_gb) * _GB
        store = (Mount("/tmp", "assumed", size, "instance store"),) if size else (Mount("/", "assumed", 0, "EBS"),)
        return HostFacts(
            gpus=(Gpu(self.gpu, self.gpu_memory_mib * _MIB),) * self.gpus,
            cpus=self.vcpu,
            ram_available_bytes=int(self.ram_gib * RAM_SHARE * _GIB),
            ram_total_bytes=self.ram_gib * _GIB,
            ram_bound_by=f"{RAM_SHARE:.0%} of the nominal, assumed",
            mounts=store,
        )

    @property
    def described(self) -> str:
        """The machine in one line."""
        memory = f"{self.gpu_memory_mib / 1024:.4g} GiB"
        disks = f"{sum(self.nvme_gb):,} GB instance store (assumed under /tmp)" if self.nvme_gb else "no instance store"
        return f"{self.name}: {self.gpus} x {self.gpu} ({memory}), {self.vcpu} vCPU, {self.ram_gib} GiB RAM, {disks}"

    @property
    def provenance(self) -> str:
        """Where the row comes from, and what of it nobody has checked."""
        if not self.verified:
            return f"not verified; from {self.source}"
        unverified = ", ".join(self.unverified_fields)
        return f"verified{f' but for {unverified}' if unverified else ''} against {self.source}"


@cache
def table() -> dict[str, InstanceFacts]:
    """Return every type by name."""
    rows = json.loads(files("autoconfig").joinpath("instances.json").read_text(encoding="utf-8"))
    return {name: _row(name, row) for name, row in rows.items() if not name.startswith("_")}


def _row(name: str, row: dict[str, Any]) -> InstanceFacts:
    lists = {field: tuple(row.get(field, ())) for field in ("nvme_gb", "unverified_fields")}
    return InstanceFacts(name=name, **{**row, **lists})


def instance(name: str) -> InstanceFacts:
    """Return a type's facts; `p5.48xlarge` is taken for `ml.p5.48xlarge`. An unknown one raises, with what is near."""
    full = name if name.startswith("ml.") else f"ml.{name}"
    if found := table().get(full):
        return found
    raise ConfigErrors([UnknownNameError(f"--instance {name}: not in the table of GPU instance types. {_hint(full)}")])


def _hint(unknown: str) -> str:
    """Name what a slip of the finger explains, else a known family's sizes, else all families."""
    if near := difflib.get_close_matches(unknown, table(), n=2, cutoff=0.93):  # m5 for g5 is no slip: 0.92
        return f"Did you mean {' or '.join(near)}?"
    families: dict[str, list[str]] = {}
    for known in table():
        _, family, size = known.split(".")
        families.setdefault(family, []).append(size)
    family = unknown.split(".")[1]
    if family in families:
        return f"{family} comes as {', '.join(families[family])}."
    return f"It holds these families: {', '.join(families)}."
