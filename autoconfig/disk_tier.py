"""Sizes the tier on disk below the one in RAM: what is free, cut by every cap, where the disk is fit."""

from collections.abc import Iterator
from math import floor

from autoconfig.engine_cache import GIB
from autoconfig.host import HostFacts
from autoconfig.host_disks import DiskPlace, DiskProbe, Mount, mount_of, why_unwritable
from autoconfig.tiers import CacheWishes, Tier, gib, in_tenths
from autoconfig.watermark import brought_bytes, slack

# Judgements, to be tuned by measurement: what is left for everything else there, and what is too little to bother.
MOST_OF_DISK, DISK_LEFT_BYTES = 0.8, 10 * GIB
# What a token's cache takes to read is to be well below what computing it takes, which is known only once the model
# runs: 10,000 tokens/s of 56 KiB would be 0.6 GB/s on a GPU, a tenth of that on a CPU. This floor keeps away what
# helps in neither case, such as a small EBS volume (0.125 GB/s).
SLOWEST_DISK = 0.2e9
SMALLEST_DISK_BYTES, SMALLEST_FORCED_BYTES = 10 * GIB, GIB


def disk_tier(
    wishes: CacheWishes,
    host: HostFacts,
    ram_bytes: int,
    probe: DiskProbe | None = None,
    place: DiskPlace | None = None,
) -> Tier:
    """Take most of what is free where the disk is fit, and much larger than the tier above it."""
    if wishes.max_disk_bytes == 0:
        return Tier(0, ("option.lmcache_max_disk_gb=0",))
    mount = mount_of(place.real if place else wishes.disk_path, host.mounts)
    if mount is None:
        return Tier(0, (f"what {wishes.disk_path} is on is not known",))
    if unwritable := why_unwritable(mount, place):
        return Tier(0, (f"{wishes.disk_path} {unwritable}",))
    if unfit := _unfit(mount, forced=wishes.force_disk):
        return Tier(0, (f"{wishes.disk_path} is on {unfit}",))
    size, reasons = _free(wishes, mount)
    small = max(SMALLEST_DISK_BYTES, 2 * ram_bytes) if not wishes.force_disk else SMALLEST_FORCED_BYTES
    if size < small:
        return Tier(0, (f"less than {gib(small)} is not worth it beside {gib(ram_bytes)} of RAM", *reasons))
    if probe and (unusable := _unusable(probe, forced=wishes.force_disk)):
        return Tier(0, (unusable, *reasons))
    if place and not place.exists:
        reasons.append(f"{wishes.disk_path} does not exist, and will be created")
    size = in_tenths(size)
    free = slack(size, brought_bytes(on_gpus=bool(host.gpus)))
    return Tier(size, (*reasons, f"{free:.0%} of it stay free", _measured(probe)), slack=free)


def _free(wishes: CacheWishes, mount: Mount) -> tuple[int, list[str]]:
    reasons = [f"{gib(mount.free_bytes)} free on {mount.path} ({mount.filesystem}, {mount.storage})"]
    size = mount.free_bytes
    for cap, why in _disk_caps(wishes, mount):
        if cap < size:
            size = max(0, cap)
            reasons.append(f"cut to {gib(size)}: {why}")
    return size, reasons


def _disk_caps(wishes: CacheWishes, mount: Mount) -> Iterator[tuple[int, str]]:
    yield floor(MOST_OF_DISK * mount.free_bytes), f"{MOST_OF_DISK:.0%} of what is free at most"
    yield mount.free_bytes - DISK_LEFT_BYTES, f"{gib(DISK_LEFT_BYTES)} stay free"
    if wishes.max_disk_bytes is not None:
        yield wishes.max_disk_bytes, "option.lmcache_max_disk_gb"


def _unfit(mount: Mount, *, forced: bool) -> str:
    if mount.storage == "unknown":
        return f"{mount.filesystem}, which is not known here as a disk"
    if mount.storage == "memory":
        return f"{mount.filesystem}, which is RAM"
    if mount.storage == "network":
        return f"{mount.filesystem}, a network file system"
    if mount.storage == "EBS" and not forced:
        return "an EBS volume, which is read over the network; option.lmcache_force_disk=true takes it"
    return ""


def _unusable(probe: DiskProbe, *, forced: bool) -> str:
    if not probe.writable:
        return f"{probe.path} cannot be written: {probe.reason}"
    read = probe.read_bytes_per_second
    if read is not None and read < SLOWEST_DISK and not forced:
        return (
            f"{probe.path} reads {_speed(read)}, and less than {_speed(SLOWEST_DISK)} is hardly faster than computing "
            "anew; option.lmcache_force_disk=true takes it"
        )
    return ""


def _measured(probe: DiskProbe | None) -> str:
    if probe is None:
        return "not measured: O_DIRECT and speed, which decide at the start"
    speeds = [
        f"{what} {_speed(speed)}"
        for what, speed in (("reads", probe.read_bytes_per_second), ("writes", probe.write_bytes_per_second))
        if speed is not None
    ]
    direct = "with O_DIRECT" if probe.odirect else "without O_DIRECT, which it does not take, through the page cache"
    return f"measured: {', '.join(speeds) or 'can be written'} {direct}"


def _speed(bytes_per_second: float) -> str:
    return f"{bytes_per_second / 1e9:.2f} GB/s"
