"""Plans a cache from what a case says: a machine or an instance type, a released model, and options."""

from pathlib import Path
from typing import Any

from autoconfig.engine_cache import EngineUse, engine_use
from autoconfig.host import HostFacts
from autoconfig.host_disks import DiskProbe
from autoconfig.instances import instance
from autoconfig.launch import plan_worker
from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.lmcache.launch import CacheLaunch, CachePlace, plan_cache_launch
from autoconfig.model import ModelConfig, ModelDirectory, ModelFacts
from autoconfig.plan import CachePlan, plan_cache
from autoconfig.properties import parse_properties
from autoconfig.resolve import Resolution, resolve
from autoconfig.tiers import CacheWishes
from tests.autoconfig.hosts import GIB
from tests.autoconfig.released_models import MODELS

PORTS = (5001, 5002)


def plan_of(case: dict[str, Any]) -> CachePlan:
    return _planned(case)[0]


def launch_of(
    case: dict[str, Any], config: LMCacheConfig | None = None, environ: Any = None, identity: str = "c0ffee"
) -> CacheLaunch:
    """Return the start of what a case plans, or of a configuration on its machine."""
    plan, resolution, use, host, model = _planned(case)
    place = CachePlace("/run/lmi", *PORTS, identity=identity, versions=("vllm 1", "lmcache 2"), model=model)
    return plan_cache_launch(config or plan, place, resolution.values, use, host, environ or {})


def _planned(case: dict[str, Any]) -> tuple[CachePlan, Resolution, EngineUse, HostFacts, ModelFacts]:
    """`ram_gib` and `mounts[].free_gib` are GiB, so that a case can be read; all else is as HostFacts has it."""
    host = instance(case["instance"]).host() if "instance" in case else host_of(case["host"])
    config = ModelConfig.read(MODELS[case["model"]] if isinstance(case["model"], str) else case["model"])
    weights = int(case.get("weights_gib", 0) * GIB)
    files = ("config.json", "model.safetensors")
    directory = ModelDirectory(Path("/opt/ml/model"), files, weights, config, largest_file_bytes=min(weights, 5 * GIB))
    text = "".join(f"option.{name}={value}\n" for name, value in case.get("options", {}).items())
    resolution = resolve({}, parse_properties(text.encode()), host, directory)
    launch = plan_worker(resolution, {}, model="/opt/ml/model", run_directory="/run/lmi")
    assert directory.facts is not None
    use = engine_use(resolution.values, launch.environment, host, directory.facts)
    probe = DiskProbe(**case["probe"]) if "probe" in case else None
    plan = plan_cache(CacheWishes.of(resolution.values), use, host, directory.facts, probe)
    return plan, resolution, use, host, directory.facts


def host_of(said: dict[str, Any]) -> HostFacts:
    available, total = said.get("ram_gib", (64, 64))
    mounts = [
        {**{key: mount[key] for key in ("path", "filesystem", "storage")}, "free_bytes": int(mount["free_gib"] * GIB)}
        for mount in said.get("mounts", ())
    ]
    gpus = [{"name": said.get("gpu", "GPU"), "memory_bytes": int(said.get("gpu_gib", 0) * GIB)}] * said.get("gpus", 0)
    sizes = {name: int(said[f"{name}_gib"] * GIB) for name in ("shm_free", "memlock") if f"{name}_gib" in said}
    rest: dict[str, Any] = {
        key: said[key] for key in ("cpus", "cpu_flags", "numa_nodes", "ram_bound_by") if key in said
    }
    return HostFacts.from_json(
        {
            **rest,
            **{f"{name}_bytes": size for name, size in sizes.items()},
            "ram_available_bytes": int(available * GIB),
            "ram_total_bytes": int(total * GIB),
            "mounts": mounts,
            "gpus": gpus,
        }
    )
