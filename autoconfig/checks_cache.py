"""Finds options of the KV cache that contradict each other, and what a cache below the engine's own cannot do."""

from collections.abc import Iterator, Mapping

from autoconfig.errors import BadValueError, ConfigError, ContradictionError
from autoconfig.values import Value

_JUDGEMENTS = ("lmcache_min_cpu_gb", "lmcache_max_cpu_gb", "lmcache_max_disk_gb", "lmcache_force_disk")
_WORKERS = ("min_workers", "max_workers", "minworkers", "maxworkers")
_WORKERS_OF_A_DEVICE = tuple(f"{device}.{name}" for device in ("gpu", "cpu") for name in ("minworkers", "maxworkers"))


def asked_for(values: Mapping[str, Value]) -> tuple[Value, ...]:
    """Return what asks for a cache below the engine's own: planned here, or in a user's YAML."""
    asked = (values.get(name) for name in ("lmcache_auto_config", "lmcache_config_file"))
    return tuple(value for value in asked if value and value.value)


def contradictions(values: Mapping[str, Value], task: str) -> Iterator[ConfigError]:
    """Find options that cannot be obeyed together; `task` is what the engine will do."""
    least, most = values.get("lmcache_min_cpu_gb"), values.get("lmcache_max_cpu_gb")
    if least and most and least.value > most.value:
        yield ContradictionError(f"{least} is above {most}. Keep one, or lower the first.")
    path = values.get("lmcache_disk_path")
    if path and not str(path.value).startswith("/"):
        yield BadValueError(f"{path} is not an absolute directory.")
    asked = asked_for(values)
    if len(asked) == 2:
        yield ContradictionError(f"{asked[0]} plans what {asked[1]} describes. Keep one.")
    for value in asked[:1]:
        yield from _impossible(value, values, task)
    if file := next((value for value in asked if value.option.name == "lmcache_config_file"), None):
        for name in _JUDGEMENTS:
            if said := values.get(name):
                yield ContradictionError(f"{said} is for a cache planned here, and {file} says its sizes. Keep one.")


def _impossible(asked: Value, values: Mapping[str, Value], task: str) -> Iterator[ConfigError]:
    for name in ("kv_transfer_config", "kv_offloading_size"):  # vLLM 0.32 makes a connector of the second as well
        if (own := values.get(name)) and own.given:
            yield ContradictionError(f"{own} says how the engine's cache is connected, and so does {asked}. Keep one.")
    stages = values.get("pipeline_parallel_degree")
    if stages and isinstance(stages.value, int) and stages.value > 1:
        yield ContradictionError(
            f"{stages} does not go with {asked}: the cache is for tensor parallelism only. Set "
            "option.tensor_parallel_degree instead, or remove one."
        )
    for name in (*_WORKERS, *_WORKERS_OF_A_DEVICE):
        if (workers := values.get(name)) and str(workers.value).strip() not in ("0", "1"):
            yield ContradictionError(f"{workers} does not go with {asked}: there is one worker. Set 1, or remove it.")
    models = values.get("load_models")
    if models and "," in str(models.value):
        yield ContradictionError(f"{models} does not go with {asked}: one container serves one model. Keep one model.")
    if task != "generate":
        yield ContradictionError(f"{asked} is for models that generate text; this one's task is {task}. Remove it.")


def remarks(values: Mapping[str, Value], environ: Mapping[str, str]) -> Iterator[str]:
    """Say a line about what is given and changes nothing."""
    asked = asked_for(values)
    if not asked:
        for name in (*_JUDGEMENTS, "lmcache_disk_path"):
            if said := values.get(name):
                yield f"{said}: no effect without option.lmcache_auto_config=true"
    keys = [name for name in sorted(environ) if name.startswith("LMCACHE_") and name != "LMCACHE_CONFIG_FILE"]
    if not keys:
        return
    if "kv_transfer_config" in values:
        yield f"{', '.join(keys)}: handed to the engine as they are, for option.kv_transfer_config"
    elif not asked or asked[0].option.name == "lmcache_auto_config":
        yield f"{', '.join(keys)}: no effect without option.lmcache_config_file, whose keys they overrule"
