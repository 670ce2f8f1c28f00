"""Adds to the worker's launch what a cache brings: the connector, variables, and what the worker is told of it."""

from dataclasses import replace

from autoconfig.launch import WorkerLaunch
from autoconfig.lmcache.launch import CacheLaunch


def with_cache(launch: WorkerLaunch, cache: CacheLaunch) -> WorkerLaunch:
    """Return the launch of a worker whose engine has this cache below its own."""
    tokens = tuple(
        f"--{choice.name.replace('_', '-')}" + ("" if choice.value is True else f"={choice.value}")
        for choice in cache.worker_arguments
    )
    names = {choice.name for choice in cache.worker_variables}
    # What the operator said in LMCACHE_* is part of the cache's own configuration by now.
    kept = {name: text for name, text in launch.environment.items() if not name.startswith("LMCACHE_")}
    return WorkerLaunch(
        plan=replace(launch.plan, engine_arguments=(*launch.plan.engine_arguments, *tokens), cache=cache.settings),
        environment={**kept, **{choice.name: choice.value for choice in cache.worker_variables}},
        additions=(*(one for one in launch.additions if one.name not in names), *cache.worker_variables),
    )
