"""Reads what is mounted where, how much is free there, what storage it is, and what is at a path; writes nothing."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from autoconfig.host_files import MountLine, mounts_below, text_of

Storage = Literal["instance store", "EBS", "disk", "overlay", "memory", "network", "kernel", "unknown"]

_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_ON_DISK = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "xfs", "zfs"}
_OF_THE_KERNEL = {
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
}
# A statistics call on a dead server's mount never returns: network file systems are named, not asked.
_ON_NETWORK = {"9p", "afs", "ceph", "cifs", "lustre", "nfs", "nfs4", "smb3", "virtiofs"}


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system, and whether files can be kept on it."""

    path: str
    filesystem: str
    free_bytes: int
    storage: Storage
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class DiskPlace:
    """What is where a directory is to be, as far as looking shows."""

    real: str
    """The path with every link followed."""
    exists: bool
    nearest: str
    """The path, or the first above it that exists."""
    is_directory: bool
    """Whether that is one."""
    writable: bool
    """Whether this process may write there."""


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
    """Return all file systems; of several mounted at one place, the last, which is the one seen."""
    seen = {line.path: line for line in mounts_below(root)}
    return tuple(_mount(root, line, _storage(root, line)) for line in seen.values())


def _mount(root: Path, line: MountLine, storage: Storage) -> Mount:
    free = 0 if storage in ("network", "kernel", "unknown") else free_bytes(root, line.path)
    return Mount(line.path, line.filesystem, free, storage, "ro" in line.options)


def place_at(root: Path, path: str, among: tuple[Mount, ...]) -> DiskPlace | None:
    """Look at a path; None on a network file system, where looking may take for ever."""
    mount = mount_of(path, among)
    if mount and mount.storage == "network":
        return None
    below = root / path.lstrip("/")
    nearest = next(parent for parent in (below, *below.parents) if parent.exists())
    real = PurePosixPath(os.path.realpath(below))
    top = os.path.realpath(root)
    return DiskPlace(
        real=f"/{real.relative_to(top)}" if real.is_relative_to(top) else str(real),
        exists=nearest == below,
        nearest=f"/{nearest.relative_to(root)}" if nearest.is_relative_to(root) else str(nearest),
        is_directory=nearest.is_dir(),
        writable=os.access(nearest, os.W_OK | os.X_OK),
    )


def why_unwritable(mount: Mount | None, place: DiskPlace | None) -> str:
    """Say why nothing can be kept at a path on that mount, whatever is wished: `is on proc, which keeps no files`."""
    if mount and mount.storage == "kernel":
        return f"is on {mount.filesystem}, which keeps no files"
    if mount and mount.read_only:
        return f"is on {mount.path}, which is mounted read-only"
    if place and not place.is_directory:
        return f"cannot be a directory: {place.nearest} is a file"
    return f"cannot be written: this process may not write in {place.nearest}" if place and not place.writable else ""


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


def _storage(root: Path, line: MountLine) -> Storage:
    if line.filesystem in _IN_MEMORY:
        return "memory"
    if line.filesystem in _ON_NETWORK or line.filesystem.startswith("fuse"):
        return "network"
    if line.filesystem == "overlay":
        return "overlay"
    if line.filesystem in _OF_THE_KERNEL:
        return "kernel"
    return _disk(root, PurePosixPath(line.source).name) if line.filesystem in _ON_DISK else "unknown"


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
