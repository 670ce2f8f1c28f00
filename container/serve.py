"""Carries out a LaunchPlan: brings the model and its packages here, writes the plan down, and runs the worker."""

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoconfig.adapters import FOLDER
from autoconfig.checks import port_range
from autoconfig.errors import ConfigErrors
from container.brought import with_adapters_of_model
from container.cache_disk import CacheDisk
from container.cache_launch import write_files
from container.cache_start import CacheStart
from container.console import Console
from container.demo_model import ensure_demo_model
from container.endings import Outcome
from container.errors import Exit, Interruption, PreparationError
from container.files import exclusive, private_directory, write_atomically
from container.hub_config import fetch_config
from container.logs import WorkerOutput
from container.ports import check_free, reserved_ports
from container.prepare import LaunchPlan, with_cache_planned
from container.probe_disk import probe_disk
from container.processes import adopt_orphans, end_descendants, interruptible
from container.progress import Progress, first_request
from container.supervise import Limits, Supervisor
from container.user_requirements import install


def serve(plan: LaunchPlan, console: Console) -> Exit:
    """Serve until told to stop; say in one line why it ended, and return the exit status."""
    adopt_orphans()
    progress = Progress(console)
    try:
        private_directory(plan.run_directory)
        busy = f"another server is running in {plan.run_directory}: choose another port, or set LMI_RUN_DIR"
        with exclusive(plan.run_directory / "lock", busy=busy), ExitStack() as held:
            with interruptible(plan.limits.start_seconds, progress):
                _announce(plan, progress)
                check_front_end(plan)
                _bring(plan, progress)
                plan, unserved = with_adapters_of_model(plan)
                for adapter in unserved:
                    progress.warn(adapter)
                plan = _with_cache(plan, held, progress)
                _write_files(plan)
            outcome = _run(plan, console, progress)
    except (PreparationError, ConfigErrors) as error:
        outcome = Outcome(Exit.CONFIGURATION, str(error))
    except OSError as error:
        outcome = Outcome(Exit.CONFIGURATION, f"{error.filename or plan.run_directory}: {error.strerror}")
    except Interruption as interruption:
        outcome = Outcome(interruption.code, interruption.reason)
    finally:
        end_descendants()
    console.say(outcome.reason, "info" if outcome.code is Exit.STOPPED else "error")
    return outcome.code


def _announce(plan: LaunchPlan, progress: Progress) -> None:
    settings = plan.resolution.settings
    origin = "embedded, as none is configured" if settings.model is None else f"from {settings.model_origin}"
    progress.step(f"configuration: model {plan.model.name} ({origin}), port {settings.port}")
    for note in filter(None, (*plan.resolution.notes, plan.front_end.note)):
        progress.note(note)


def check_front_end(plan: LaunchPlan) -> None:
    """Refuse now what a front end between the worker and its callers would say after the model has loaded."""
    if plan.front_end.problem:
        raise PreparationError(plan.front_end.problem)
    if plan.front_end.hosting:
        check_free(plan.launch.plan.host, plan.launch.plan.port)


def _bring(plan: LaunchPlan, progress: Progress) -> None:
    """Do what must be done before the worker can start; each step does nothing when an earlier start has done it."""
    environment = plan.launch.environment
    if plan.requirements is not None:
        install(plan.requirements, environment, progress)
    if plan.model.directory is None:
        return
    if plan.model.kind == "s3":
        from container.download import download  # boto3 takes a third of a second to import

        download(plan.model.name, plan.model.directory, progress)
        if plan.launch.plan.adapters is None and (plan.model.directory / FOLDER).is_dir():
            progress.note(f"{FOLDER}/ came with the model and is not served; option.enable_lora=true serves it")
    elif plan.model.kind == "embedded":
        ensure_demo_model(plan.model.directory, environment, progress)


def _with_cache(plan: LaunchPlan, held: ExitStack, progress: Progress) -> LaunchPlan:
    """Plan the KV cache again, with the model at hand, its disk measured, and ports that stay ours until the end.

    Where that comes to nothing, serving goes on without one, and the operator is told in one line.
    """
    if plan.situation.asked() is None:
        return plan
    try:
        planned = _planned_again(plan, held, progress)
    except (PreparationError, OSError) as error:
        planned = replace(plan, cache=CacheStart(plan.cache.plan, off=str(error)))
    launch = planned.cache.launch
    if launch is None or launch.incomplete:
        progress.note(f"KV cache: off: {launch.incomplete if launch else planned.cache.off}")
        return replace(planned, cache=replace(planned.cache, launch=None))
    for note in launch.notes:
        progress.note(f"KV cache: {note}")
    return planned


def _planned_again(plan: LaunchPlan, held: ExitStack, progress: Progress) -> LaunchPlan:
    if plan.model.kind == "hub" and plan.cache.plan is None:
        fetch_config(plan.model.name, plan.resolution.settings.revision, plan.engine.environment, progress)
    plan = with_cache_planned(plan)
    if plan.cache.launch is None:
        return plan
    probe = None
    if plan.cache.plan and plan.cache.plan.disk_bytes and not plan.cache.launch.config.origin:
        progress.step(f"KV cache: measuring the disk of {plan.cache.plan.disk_path}")
        probe = probe_disk(plan.cache.plan.disk_path)
    within = port_range(str(plan.resolution.values["safe_port_range"].value))
    never = frozenset({8080, plan.engine.plan.port})
    port, http_port = held.enter_context(reserved_ports(2, within, never))
    plan = with_cache_planned(plan, (port, http_port), probe)
    if probe and plan.cache.plan:
        # The last reason for a disk tier is its measurement; the first one against it decided.
        reason = plan.cache.plan.disk_reasons[-1 if plan.cache.plan.disk_bytes else 0]
        progress.note(f"KV cache: disk {reason}" if plan.cache.plan.disk_bytes else f"KV cache: no disk tier: {reason}")
    launch = plan.cache.launch
    if launch and launch.placement is None and launch.disk_directory:
        # LMCache inside the engine: there is no watcher to do it.
        disk = CacheDisk(Path(launch.disk_directory), Path(launch.marker))
        disk.empty()
        held.callback(disk.remove)
    return plan


def _write_files(plan: LaunchPlan) -> None:
    """Write what the worker reads; the children are listed for whoever looks into the run directory."""
    front_end = plan.front_end
    for directory in front_end.directories:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
    for file, text in front_end.files.items():
        write_atomically(file, text)
    children = [{"name": child.name, "argv": child.argv} for child in plan.children]
    content = {"version": 1, "worker": plan.launch.plan.to_json(), "children": children}
    write_atomically(plan.file, json.dumps(content, indent=2))
    if plan.cache.launch:
        write_files(plan.cache.launch, plan.run_directory)
    (plan.run_directory / "empty").mkdir(exist_ok=True)  # the worker's SAGEMAKER_MODEL_PATH
    sockets = plan.run_directory / "ipc"  # its VLLM_RPC_BASE_PATH
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir()


def _run(plan: LaunchPlan, console: Console, progress: Progress) -> Outcome:
    worker = plan.launch.plan
    verbose = plan.resolution.settings.log_level in ("debug", "info")
    output = WorkerOutput(console, plan.log_file, verbose=verbose)

    def ready(_event: Mapping[str, Any]) -> None:
        chat = plan.model.directory is None or _has_chat_template(plan.model.directory, worker.engine_arguments)
        progress.step(f"ready on port {worker.port}; try:")
        console.say(first_request(worker.port, worker.task, chat))

    remaining = max(0.0, plan.limits.start_seconds - progress.elapsed())
    try:
        supervisor = Supervisor(Limits(remaining, plan.limits.stop_seconds), output, progress, ready)
        return supervisor.run(plan.children)
    finally:
        output.close()


def _has_chat_template(model: Path, engine_arguments: tuple[str, ...]) -> bool:
    """Tell whether the model can chat, from where transformers keeps the template (hub models are taken to)."""
    if any(argument.startswith("--chat-template=") for argument in engine_arguments):
        return True
    if (model / "chat_template.jinja").exists() or (model / "chat_template.json").exists():
        return True
    try:
        return "chat_template" in json.loads((model / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return False
