"""Carries out a LaunchPlan: brings the model and its packages here, writes the plan down, and runs the worker."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from container.console import Console
from container.demo_model import ensure_demo_model
from container.errors import Exit, Interruption, PreparationError
from container.files import exclusive, private_directory, write_atomically
from container.logs import WorkerOutput
from container.prepare import LaunchPlan
from container.processes import adopt_orphans, end_descendants, interruptible
from container.progress import Progress, first_request
from container.supervise import Limits, Outcome, Supervisor
from container.user_requirements import install


def serve(plan: LaunchPlan, console: Console) -> Exit:
    """Serve until told to stop; say in one line why it ended, and return the exit status."""
    adopt_orphans()
    progress = Progress(console)
    try:
        private_directory(plan.run_directory)
        busy = f"another server is running in {plan.run_directory}: choose another port, or set LMI_RUN_DIR"
        with exclusive(plan.run_directory / "lock", busy=busy):
            with interruptible(plan.limits.start_seconds, progress):
                _announce(plan, progress)
                _bring(plan, progress)
                _write_files(plan)
            outcome = _run(plan, console, progress)
    except PreparationError as error:
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
    for note in plan.resolution.notes:
        progress.note(note)


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
    elif plan.model.kind == "embedded":
        ensure_demo_model(plan.model.directory, environment, progress)


def _write_files(plan: LaunchPlan) -> None:
    """Write what the worker reads; the children are listed for whoever looks into the run directory."""
    children = [{"name": child.name, "argv": child.argv} for child in plan.children]
    content = {"version": 1, "worker": plan.launch.plan.to_json(), "children": children}
    write_atomically(plan.file, json.dumps(content, indent=2))
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
