"""Decides what cache a start has below the engine's: from what of the model is on this machine, now or once brought."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoconfig.checks_cache import asked_for
from autoconfig.engine_cache import engine_use
from autoconfig.errors import BadValueError, ConfigErrors, UnfitHostError
from autoconfig.host import HostFacts
from autoconfig.host_disks import DiskPlace, DiskProbe, mount_of, place_at, why_unwritable
from autoconfig.lmcache.config import LMCacheConfig, read_yaml
from autoconfig.lmcache.fingerprint import identity, versions
from autoconfig.lmcache.launch import CacheLaunch, CachePlace, plan_cache_launch
from autoconfig.model import look
from autoconfig.plan import CachePlan, plan_cache
from autoconfig.resolve import Resolution
from autoconfig.tiers import CacheWishes
from autoconfig.values import Value


@dataclass(frozen=True, slots=True)
class Situation:
    """What the cache is decided from, beside the model."""

    resolution: Resolution
    environment: Mapping[str, str]
    """The engine's process's, without anything for the cache."""
    host: HostFacts
    run_directory: Path

    def asked(self) -> Value | None:
        """Return what asks for a cache below the engine's own."""
        return next(iter(asked_for(self.resolution.values)), None)

    def place(self, path: str) -> DiskPlace | None:
        """Look at a directory for the tier on disk; None where this is not the machine it is for."""
        root = self.host.root
        return place_at(root, path, self.host.mounts) if root and path.startswith("/") else None


@dataclass(frozen=True, slots=True)
class CacheStart:
    """What was decided: a plan, to be explained where the model is known, and a launch where one was asked for."""

    plan: CachePlan | None = None
    launch: CacheLaunch | None = None
    off: str = ""
    """Why there is no launch although one was asked for."""


def decide(
    situation: Situation, model: Path | None, commit: str = "", *, ports: tuple[int, int] = (0, 0),
    probe: DiskProbe | None = None,
) -> CacheStart:  # fmt: skip
    """Plan the tiers for the model in a directory; where its files are not there, nothing can be planned.

    The ports, of the server's requests and of its HTTP interface, are 0 until a start has chosen them.
    """
    resolution, host = situation.resolution, situation.host
    asked = situation.asked()
    if resolution.settings.task != "generate":
        return CacheStart(off="a model that generates nothing has no use for it" if asked else "")
    users = _users(asked, situation, model) if asked and asked.option.name == "lmcache_config_file" else None
    if asked:
        _check_disks(users, situation)
    seen = look(model) if model and model.is_dir() else None
    facts = seen.facts if seen else None
    if seen is None or facts is None:
        unknown = (
            "the model's config.json says too little of its KV cache" if seen else "decided when the model is here"
        )
        return CacheStart(off=unknown if asked else "")
    use = engine_use(resolution.values, situation.environment, host, facts)
    wishes = CacheWishes.of(resolution.values)
    plan = plan_cache(wishes, use, host, facts, probe, situation.place(wishes.disk_path))
    if asked is None:
        return CacheStart(plan)
    if plan.off and users is None:
        return CacheStart(plan, off=plan.off)
    place = CachePlace(str(situation.run_directory), *ports, identity(seen.path, commit), versions(), facts)
    launch = plan_cache_launch(users or plan, place, resolution.values, use, host, situation.environment)
    return CacheStart(plan, replace(launch, notes=(*launch.notes, *_to_be_made(users, situation))))


def _disks(users: LMCacheConfig | None, situation: Situation) -> Iterator[tuple[str, str]]:
    """Yield each directory that somebody asked for, and who did."""
    value = situation.resolution.values.get("lmcache_disk_path")
    if users and users.local_disk:
        yield from ((directory, f"{users.origin}: local_disk {directory}") for directory in users.local_disk.split(","))
    elif value and value.given and not users:
        yield str(value.value), str(value)


def _check_disks(users: LMCacheConfig | None, situation: Situation) -> None:
    """Refuse directories in which nothing can be kept."""
    wrong = []
    for directory, said in _disks(users, situation):
        place = situation.place(directory)
        mount = mount_of(place.real if place else directory, situation.host.mounts)
        if why := why_unwritable(mount, place):
            wrong.append(UnfitHostError(f"{said} {why}. Give a directory on a disk that can be written."))
    if wrong:
        raise ConfigErrors(wrong)


def _to_be_made(users: LMCacheConfig | None, situation: Situation) -> Iterator[str]:
    for directory, said in _disks(users, situation) if users else ():
        place = situation.place(directory)
        if place and not place.exists:
            yield f"{said} does not exist, and will be created"


def _users(asked: Value, situation: Situation, model: Path | None) -> LMCacheConfig:
    """Read the user's file; a name alone is one beside the model."""
    given = situation.resolution.model_directory
    beside = given.path if given else model
    if beside is None and not Path(str(asked.value)).is_absolute():
        wrong = f"{asked} is no absolute path, and the model is in no directory yet where it could be beside it."
        raise ConfigErrors((BadValueError(wrong),))
    file = (beside or Path("/")) / str(asked.value)
    try:
        return read_yaml(file.read_text(encoding="utf-8"), str(file), situation.environment)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise ConfigErrors((BadValueError(f"{asked}: {file}: {reason}."),)) from None
