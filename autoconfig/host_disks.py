"""Reads what is mounted where, how much is free there, and what kind of storage it is; writes and measures nothing."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from autoconfig.host_files import MountLine, mounts_below, text_of

Storage = Literal["instance store", "EBS", "disk", "overlay", "memory", "network"]

_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_ON_DISK = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "xfs", "zfs"}
# A statistics call on a dead server's mount never returns: network file systems are named, not asked.
_ON_NETWORK = {"9p", "afs", "ceph", "cifs", "lustre", "nfs", "nfs4", "smb3", "virtiofs"}


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system that files can be kept on."""

    path: str
    filesystem: str
    free_bytes: int
    storage: Storage


@dataclass(frozen=True, slots=True)
class DiskProbe:
    """What writing to and reading from a directory showed; `explain` without --probe knows of none."""

    path: str
    writable: bool
    odirect: bool
    """Whether files can be read and written past the page cache."""
    read_bytes_per_second: float | None = None
    write_bytes_per_second: float | None = None
    reason: str = ""
    """Why it cannot be written, or could not be measured."""


def mounts(root: Path) -> tuple[Mount, ...]:
    """Return the file systems that hold files; of several mounted at one place, the last, which is the one seen."""
    seen = {line.path: line for line in mounts_below(root)}
    return tuple(
        Mount(line.path, line.filesystem, 0 if storage == "network" else free_bytes(root, line.path), storage)
        for line in seen.values()
        if (storage := _storage(root, line))
    )


def free_bytes(root: Path, path: str) -> int:
    """Return what an unprivileged process may still write there, 0 where there is no such directory."""
    with suppress(OSError):
        said = os.statvfs(root / path.lstrip("/"))
        return said.f_bavail * said.f_frsize
    return 0


def mount_of(path: str, among: tuple[Mount, ...]) -> Mount | None:
    """Return the file system a path is on: `/tmp/x` is on `/tmp` where that is a mount, else on `/`."""
    holding = [mount for mount in among if PurePosixPath(path).is_relative_to(mount.path)]
    return max(holding, key=lambda mount: len(PurePosixPath(mount.path).parts), default=None)


def _storage(root: Path, line: MountLine) -> Storage | None:
    if line.filesystem in _IN_MEMORY:
        return "memory"
    if line.filesystem in _ON_NETWORK or line.filesystem.startswith("fuse"):
        return "network"
    if line.filesystem == "overlay":
        return "overlay"
    return _disk(root, PurePosixPath(line.source).name) if line.filesystem in _ON_DISK else None


def _disk(root: Path, device: str) -> Storage:
    """Tell EC2's kinds apart by the disk's model; one made of several (RAID, LVM) is what all its parts are."""
    blocks = root / "sys/block"
    parts = [entry.name for folder in blocks.glob(f"{device}/slaves") for entry in folder.iterdir()]
    if parts:
        kinds = {_disk(root, part) for part in parts}
        return kinds.pop() if len(kinds) == 1 else "disk"
    # A partition, nvme1n1p1, is a folder inside its disk's, nvme1n1.
    whole = next((folder.parent.name for folder in blocks.glob(f"*/{device}")), device)
    model = text_of(blocks / whole / "device/model")
    if "Instance Storage" in model:
        return "instance store"
    return "EBS" if "Elastic Block Store" in model else "disk"
