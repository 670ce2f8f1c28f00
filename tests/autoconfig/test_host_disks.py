import os
from pathlib import Path

import pytest

from autoconfig.host import probe
from autoconfig.host_disks import DiskPlace, Mount, mount_of, mounts, place_at, why_unwritable
from tests.autoconfig.machines import written

MOUNTINFO = """\
27 1 254:0 / / rw,relatime - overlay overlay rw,upperdir=/x
28 27 0:24 / /dev/shm rw - tmpfs tmpfs rw,size=64k
29 27 0:21 / /proc rw - proc proc rw
30 27 259:1 / /tmp rw - ext4 /dev/nvme1n1 rw
31 27 259:2 / /opt/ml rw - xfs /dev/nvme0n1p1 rw
32 27 9:0 / /scratch\\040space rw - xfs /dev/md0 rw
33 27 0:40 / /fsx rw - lustre 10.0.0.1@tcp:/fsx rw
34 27 0:41 / /s3 rw - fuse.mountpoint-s3 s3 rw
35 27 254:1 / /data rw - ext4 /dev/vda rw
"""
DISKS = {
    "sys/block/nvme1n1/device/model": "Amazon EC2 NVMe Instance Storage\n",
    "sys/block/nvme2n1/device/model": "Amazon EC2 NVMe Instance Storage\n",
    "sys/block/nvme0n1/device/model": "Amazon Elastic Block Store\n",
    "sys/block/nvme0n1/nvme0n1p1/partition": "1\n",
    "sys/block/md0/slaves/nvme1n1/x": "",
    "sys/block/md0/slaves/nvme2n1/x": "",
    "tmp/x": "",
}


def test_every_file_system_is_named_with_its_storage(tmp_path: Path) -> None:
    found = mounts(written(tmp_path, {"proc/self/mountinfo": MOUNTINFO, **DISKS}))
    assert {mount.path: mount.storage for mount in found} == {
        "/": "overlay",
        "/dev/shm": "memory",
        "/tmp": "instance store",
        "/opt/ml": "EBS",
        "/scratch space": "instance store",
        "/fsx": "network",
        "/s3": "network",
        "/data": "disk",
        "/proc": "kernel",
    }


def test_free_space_is_asked_of_what_is_there_and_not_of_a_server(tmp_path: Path) -> None:
    free = {
        mount.path: mount.free_bytes
        for mount in mounts(written(tmp_path, {"proc/self/mountinfo": MOUNTINFO, **DISKS, "fsx/x": ""}))
    }
    said = os.statvfs(tmp_path)
    assert free["/tmp"] == pytest.approx(said.f_bavail * said.f_frsize, rel=0.05)
    assert free["/data"] == free["/fsx"] == 0


def test_the_last_of_several_mounts_at_one_place_is_the_one_seen(tmp_path: Path) -> None:
    covered = MOUNTINFO + "36 30 0:50 / /tmp rw - tmpfs tmpfs rw\n"
    found = mounts(written(tmp_path, {"proc/self/mountinfo": covered, **DISKS}))
    assert [mount.storage for mount in found if mount.path == "/tmp"] == ["memory"]


@pytest.mark.parametrize(
    ("path", "on"), [("/tmp/lmcache", "/tmp"), ("/tmp", "/tmp"), ("/tmpfile", "/"), ("/var/x", "/")]
)
def test_a_path_is_on_the_deepest_mount_above_it(path: str, on: str) -> None:
    among = tuple(Mount(place, "ext4", 1, "disk") for place in ("/", "/tmp", "/opt"))
    found = mount_of(path, among)
    assert found is not None
    assert found.path == on


def test_a_machine_that_does_not_tell_has_no_file_systems(tmp_path: Path) -> None:
    assert mount_of("/tmp", mounts(written(tmp_path, {}))) is None
    assert mount_of("/tmp", ()) is None


def test_limits_on_pinned_and_shared_memory_are_read(tmp_path: Path) -> None:
    limits = "Limit   Soft Limit  Hard Limit  Units\nMax locked memory  8388608  unlimited  bytes\n"
    facts = probe(written(tmp_path, {"proc/self/limits": limits, "dev/shm/x": ""}))
    assert facts.memlock_bytes == 8388608
    assert facts.shm_free_bytes
    unlimited = limits.replace("8388608", "unlimited")
    assert probe(written(tmp_path, {"proc/self/limits": unlimited})).memlock_bytes is None


def test_what_keeps_no_files_is_known_with_the_disks(tmp_path: Path) -> None:
    odd = MOUNTINFO + "36 27 7:0 / /snap ro,nodev - squashfs /dev/loop0 ro\n37 27 254:2 / /data rw - xfs /dev/vdb ro\n"
    found = {mount.path: mount for mount in mounts(written(tmp_path, {"proc/self/mountinfo": odd, **DISKS}))}
    assert (found["/proc"].storage, found["/snap"].storage) == ("kernel", "unknown")
    assert {path for path, mount in found.items() if mount.read_only} == {"/snap", "/data"}


def test_a_place_is_looked_at_and_not_made(tmp_path: Path) -> None:
    root = written(tmp_path, {"tmp/file": "", "mnt/x": ""})
    (root / "tmp/link").symlink_to(root / "mnt")
    (root / "tmp/loop").symlink_to("loop")
    assert place_at(root, "/tmp", ()) == DiskPlace("/tmp", True, "/tmp", True, True)
    assert place_at(root, "/tmp/to/be/made", ()) == DiskPlace("/tmp/to/be/made", False, "/tmp", True, True)
    linked = place_at(root, "/tmp/link/kv", ())
    assert linked is not None
    assert (linked.real, linked.exists) == ("/mnt/kv", False)
    in_a_file = place_at(root, "/tmp/file/kv", ())
    assert in_a_file is not None
    assert (in_a_file.nearest, in_a_file.is_directory) == ("/tmp/file", False)
    assert sorted(path.name for path in (root / "tmp").iterdir()) == ["file", "link", "loop"]


def test_a_place_on_a_network_is_not_looked_at(tmp_path: Path) -> None:
    assert place_at(tmp_path, "/fsx/kv", (Mount("/fsx", "lustre", 0, "network"),)) is None


@pytest.mark.parametrize(
    ("mount", "place", "said"),
    [
        (Mount("/proc", "proc", 0, "kernel"), None, "is on proc, which keeps no files"),
        (Mount("/mnt", "ext4", 1, "disk", read_only=True), None, "is on /mnt, which is mounted read-only"),
        (None, DiskPlace("/a/b", False, "/a", False, True), "cannot be a directory: /a is a file"),
        (None, DiskPlace("/a/b", False, "/a", True, False), "cannot be written: this process may not write in /a"),
        (Mount("/", "ext4", 1, "disk"), DiskPlace("/a", True, "/a", True, True), ""),
    ],
)
def test_why_nothing_can_be_kept_somewhere(mount: Mount | None, place: DiskPlace | None, said: str) -> None:
    assert why_unwritable(mount, place) == said
