"""Turns the environment, serving.properties and the host into the LaunchPlan: all that a start will do, as one value.

`serve` carries it out and `explain` prints it; deciding happens here and in autoconfig, and nothing is written.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from autoconfig.host import HostFacts, probe
from autoconfig.host_disks import DiskProbe, mount_of, place_at, why_unwritable
from autoconfig.instances import InstanceFacts
from autoconfig.launch import WorkerLaunch, plan_worker
from autoconfig.lmcache.worker import with_cache
from autoconfig.model import ModelDirectory, look
from autoconfig.options import table
from autoconfig.properties import parse_properties
from autoconfig.resolve import Resolution, resolve
from autoconfig.sessions import enabled
from autoconfig.values import Value
from container import places
from container.cache_launch import watcher
from container.cache_start import CacheStart, Situation, decide
from container.children import Child
from container.demo_model import MODEL_NAME, embedded_model
from container.errors import PreparationError
from container.frontends.direct import direct
from container.frontends.djl import djl
from container.frontends.djl_start import DjlStart
from container.frontends.front_end import FrontEnd, Worker
from container.hub_cache import cached
from container.supervise import Limits
from container.user_requirements import UserRequirements, plan_requirements

SAGEMAKER_MODEL_DIRECTORY = Path("/opt/ml/model")
ROOT = Path(__file__).resolve().parent.parent
SECONDS_AFTER_DRAINING = 7.0
"""Last replies (2 s) and the end of the engine's processes (up to 5 s in vLLM 0.32). With the longest drain, 20 s, that
leaves 3 of the 30 s SageMaker waits before SIGKILL, for reaping and the last log lines."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where the model comes from, and the local directory it is in or will be brought to."""

    kind: Literal["hub", "directory", "s3", "embedded"]
    name: str
    directory: Path | None


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """Everything a start does, decided."""

    situation: Situation
    engine: WorkerLaunch
    """The worker, as it is without a cache below its engine's."""
    model: ModelSource
    requirements: UserRequirements | None
    limits: Limits
    cache: CacheStart
    djl: DjlStart | None = None
    """What DJL Serving is started with; None: the worker itself answers."""
    instance: InstanceFacts | None = None
    """The machine this is planned for, where it is not this one."""

    @property
    def resolution(self) -> Resolution:
        """Return every option's value and origin."""
        return self.situation.resolution

    @property
    def run_directory(self) -> Path:
        """Return where a start writes what its processes read."""
        return self.situation.run_directory

    @property
    def launch(self) -> WorkerLaunch:
        """Return how the worker is started, with the cache that was decided."""
        return with_cache(self.engine, self.cache.launch) if self.cache.launch else self.engine

    @property
    def children(self) -> tuple[Child, ...]:
        """Return what runs: the cache server's watcher, where there is one, and the worker."""
        worker = self.front_end.child
        if self.cache.launch is None or self.cache.launch.placement is None:
            return (worker,)
        return (watcher(self.cache.launch, self.run_directory, ROOT), worker)

    @property
    def front_end(self) -> FrontEnd:
        """Return what answers HTTP."""
        places = (ROOT, *([self.requirements.target] if self.requirements else []))
        worker = Worker.importing(places, self.launch.plan, self.launch.environment, self.file)
        return djl(worker, self.djl) if self.djl else direct(worker)

    @property
    def file(self) -> Path:
        """Return where the worker reads its part of this plan."""
        return self.run_directory / "launch-plan.json"

    @property
    def log_file(self) -> Path:
        """Return where everything goes that the engine says."""
        return self.run_directory / "engine.log"


def prepare(
    environ: Mapping[str, str],
    model_directory: Path | None = None,
    port: int | None = None,
    instance: InstanceFacts | None = None,
) -> LaunchPlan:
    """Read what is configured and decide the start, on this machine or another.

    ConfigErrors and PreparationError carry the operator's message.
    """
    directory = look_at(model_directory)
    file = directory.properties if directory else None
    properties = parse_properties(file.read_bytes()) if file else None
    host = instance.host() if instance else probe(visible_devices=environ.get("CUDA_VISIBLE_DEVICES"))
    command_line = {} if port is None else {"bind_to_port": str(port)}
    resolution = resolve(environ, properties, host, directory, command_line, partial(_at_hand, environ))
    if instance is None:
        _check_sessions(resolution, host)
    run_directory = places.run_directory(environ, resolution.settings.port)
    return replace(_plan(environ, resolution, host, run_directory), instance=instance)


def _plan(environ: Mapping[str, str], resolution: Resolution, host: HostFacts, run_directory: Path) -> LaunchPlan:
    settings = resolution.settings
    cache = places.cache_directory(environ, run_directory)
    downloads = Path(settings.download_directory or cache / "s3")
    model = _model_source(settings.model, resolution.values["model_id"], downloads, cache)
    launch = plan_worker(
        resolution,
        environ,
        model=str(model.directory or model.name),
        run_directory=str(run_directory),
        model_name=model.name if model.kind == "embedded" else None,
        cache_directory=None if places.has_home(environ) else str(cache),
    )
    listed = resolution.model_directory.requirements if resolution.model_directory else None
    requirements = plan_requirements(listed, cache) if listed else None
    drain_seconds = launch.plan.serving.drain_timeout_seconds
    in_front = DjlStart.of(resolution, environ, host, run_directory, ROOT)
    if in_front:
        host = replace(host, ram_available_bytes=max(0, host.ram_available_bytes - in_front.heap_bytes))
    plan = LaunchPlan(
        situation=Situation(resolution, launch.environment, host, run_directory),
        engine=launch,
        model=model,
        requirements=requirements,
        limits=Limits(settings.model_loading_timeout_seconds, drain_seconds + SECONDS_AFTER_DRAINING),
        cache=CacheStart(),
        djl=in_front,
    )
    return with_cache_planned(plan)


def with_cache_planned(plan: LaunchPlan, ports: tuple[int, int] = (0, 0), probe: DiskProbe | None = None) -> LaunchPlan:
    """Decide the cache from whatever of the model is on this machine now."""
    directory, commit = plan.model.directory, ""
    if plan.model.kind == "hub":
        directory = cached(plan.model.name, plan.resolution.settings.revision, plan.engine.environment)
        commit = directory.name if directory else ""
    return replace(plan, cache=decide(plan.situation, directory, commit, ports=ports, probe=probe))


def look_at(given: Path | None) -> ModelDirectory | None:
    """Return what the model directory holds; SageMaker's is optional, one that was named is not.

    Raises:
        PreparationError: the one that was named is not there.
    """
    if given is None:
        return look(SAGEMAKER_MODEL_DIRECTORY) if SAGEMAKER_MODEL_DIRECTORY.is_dir() else None
    if not given.is_dir():
        raise PreparationError(f"--model-dir {given}: there is no such directory")
    return look(given.resolve())


def _check_sessions(resolution: Resolution, host: HostFacts) -> None:
    """Refuse a directory for sessions that cannot be written, before the worker does it after minutes."""
    path = resolution.values.get("sessions_path")
    if path is None or not enabled(resolution.values):
        return
    place = place_at(host.root, path.value, host.mounts) if host.root else None
    if why := why_unwritable(mount_of(place.real if place else path.value, host.mounts), place):
        raise PreparationError(f"{path} {why}: sessions cannot be kept there; give a directory that can be written")


def _at_hand(environ: Mapping[str, str], values: Mapping[str, Value]) -> Path | None:
    """Return where the embedded model, or one of the hub's, lies since an earlier start."""
    said = {name: value.value for name, value in values.items()}
    port = said.get("bind_to_port", table().options["bind_to_port"].default)
    cache = places.cache_directory(environ, places.run_directory(environ, port))
    model = said.get("model_id")
    if model is None:
        directory = embedded_model(cache)
        return directory if directory.is_dir() else None
    if model.startswith(("/", ".", "s3://")):
        return None
    home = {} if places.has_home(environ) else {"HF_HOME": str(cache / "huggingface")}
    return cached(model, said.get("revision"), {**home, **environ})


def _model_source(model: str | None, given: Value, downloads: Path, cache: Path) -> ModelSource:
    if model is None:
        return ModelSource("embedded", MODEL_NAME, embedded_model(cache))
    if model.startswith("s3://"):
        digest = hashlib.sha256(model.rstrip("/").encode()).hexdigest()[:8]
        return ModelSource("s3", model, downloads / f"{Path(model).name}-{digest}")
    if Path(model).is_dir():
        return ModelSource("directory", model, Path(model).resolve())
    if model.startswith(("/", "./", "../")):
        raise PreparationError(f"{given}: there is no such directory")
    return ModelSource("hub", model, None)
