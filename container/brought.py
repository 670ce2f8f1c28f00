"""Looks at the adapters again once the model itself is here: whether they fit it, and what came with it."""

from dataclasses import replace

from autoconfig.adapters import brought, judged, looked_at, problems, unserved
from autoconfig.errors import ConfigErrors
from container.prepare import LaunchPlan


def with_adapters_of_model(plan: LaunchPlan) -> tuple[LaunchPlan, tuple[str, ...]]:
    """Let the worker know what is known of the adapters now, and return a line for each that it cannot serve.

    Raises:
        ConfigErrors: an option names some that are not for this model.
    """
    worker, directory = plan.engine.plan, plan.model.directory
    if worker.adapters is None or directory is None or plan.model.kind == "directory":
        return plan, ()
    before = plan.resolution.adapters
    adapters = (*before, *brought(before, directory)) if plan.model.kind == "s3" else before
    adapters = judged(looked_at(adapters, directory), plan.resolution.values)
    if wrong := list(problems(adapters)):
        raise ConfigErrors(wrong)
    told = {one.source.src for one in before if one.problem}
    sources = tuple(replace(one.source, problem=one.problem) for one in adapters)
    worker = replace(worker, adapters=replace(worker.adapters, sources=sources))
    new = (unserved(one) for one in adapters if one.problem and one.source.src not in told)
    return replace(plan, engine=replace(plan.engine, plan=worker)), tuple(new)
