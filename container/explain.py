"""Adds to autoconfig's explanation what the start itself will do: which files it brings, what it runs, where."""

import json
import shlex
from dataclasses import asdict
from textwrap import wrap

from autoconfig.explain import render
from autoconfig.masking import masked
from container.prepare import LaunchPlan


def explain(plan: LaunchPlan, *, as_json: bool) -> str:
    """Return the whole LaunchPlan, as a page to read or as one JSON object."""
    decided = render(plan.resolution, plan.launch, plan.cache.plan, plan.cache.launch, as_json=as_json)
    start = _start(plan)
    if as_json:
        instance = {"instance": asdict(plan.instance)} if plan.instance else {}
        return json.dumps({**instance, **json.loads(decided), "start": start}, indent=2)
    width = max(map(len, start))
    page = [decided, "", "Start", *(f"  {name.ljust(width)}  {text}" for name, text in start.items())]
    if plan.instance:
        source = wrap(plan.instance.provenance, 110, initial_indent="  ", subsequent_indent="  ")
        page = ["Planned for", f"  {plan.instance.described}", *source, "", *page]
    return "\n".join(page)


def _start(plan: LaunchPlan) -> dict[str, str]:
    start = {"model": _model(plan)}
    if plan.cache.off:
        start["KV cache"] = f"not planned: {plan.cache.off}"
    elif plan.cache.plan is None and plan.launch.plan.task == "generate":
        start["KV cache"] = "not planned: the model's config.json is not on this machine, or says too little"
    if plan.requirements is not None:
        state = "installed in" if plan.requirements.target.is_dir() else "to be installed into"
        start["packages"] = f"{plan.requirements.file}, {state} {plan.requirements.target}"
    start["run directory"] = str(plan.run_directory)
    start["front end"] = _front_end(plan)
    for child in plan.children:
        start[child.name] = masked(shlex.join(child.argv))  # JAVA_OPTS may hold a password
    start["start deadline"] = f"{plan.limits.start_seconds:.0f} s"
    start["stops within"] = f"{plan.limits.stop_seconds:.0f} s of SIGTERM"
    return start


def _front_end(plan: LaunchPlan) -> str:
    chosen, front_end = plan.resolution.values["frontend"], plan.front_end
    text = f"{front_end.name}, {front_end.description} ({chosen.origin if chosen.given else 'default'})"
    text += f"; {front_end.note}" if front_end.note else ""
    return f"{text}; CANNOT BE STARTED HERE: {front_end.problem}" if front_end.problem else text


def _model(plan: LaunchPlan) -> str:
    model = plan.model
    if model.kind == "hub":
        return f"{model.name}, which the engine finds in the Hugging Face cache or downloads"
    if model.kind == "directory":
        return f"{model.name}, as it is"
    if model.kind == "s3":
        return f"{model.name}, downloaded into {model.directory}"
    state = "converted earlier" if model.directory and model.directory.is_dir() else "to be converted once"
    return f"{model.name}, which comes with this server, {state}: {model.directory}"
