"""Turns a Resolution into what the worker is started with: its plan, vLLM's arguments, and its whole environment."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from autoconfig import adapters, sessions
from autoconfig.checks import port_range
from autoconfig.kinds import Kind
from autoconfig.options.adapters import ONLY_WITH_LORA
from autoconfig.options.model import TASKS
from autoconfig.recommend import Recommendation
from autoconfig.resolve import Resolution
from autoconfig.settings import WorkerPlan
from autoconfig.values import Value, as_text

# Read by this container, and meaningless or misleading to the engine.
_OURS = ("OPTION_", "SM_VLLM_", "SERVING_")
# A socket's path has at most 107 bytes, and vLLM appends a name of 36 (0.32: utils/network_utils.py).
_SOCKET_DIRECTORY_LENGTH = 70
# Files beside the model, which LMI's worker finds by their bare name.
_BESIDE_THE_MODEL = {"chat_template", "tool_parser_plugin", "reasoning_parser_plugin"}
# Options that may name something on Hugging Face although the model itself is on disk.
_MAY_NEED_THE_HUB = {
    "tokenizer",
    "hf_config_path",
    "default_mm_loras",
    "speculative_config",
    "spec_model",
}
_PRIVATE = "nothing is reported to anybody"


@dataclass(frozen=True, slots=True)
class WorkerLaunch:
    """How the worker is started."""

    plan: WorkerPlan
    environment: Mapping[str, str]
    """The worker's complete environment."""
    additions: tuple[Recommendation, ...]
    """What of it is not the container's own environment, each with its reason."""


def plan_worker(
    resolution: Resolution,
    environ: Mapping[str, str],
    *,
    model: str,
    run_directory: str,
    model_name: str | None = None,
    cache_directory: str | None = None,
) -> WorkerLaunch:
    """Plan the worker for a model that lies ready: `model` is the directory or Hugging Face id the engine loads.

    `model_name` is what requests call the embedded model; `cache_directory` is given where HOME cannot be written.
    """
    settings = resolution.settings
    names = _model_names(resolution, model_name)
    lora = adapters.settings(resolution.values, resolution.adapters, _directories(resolution, model))
    plan = WorkerPlan(
        host=settings.host,
        port=settings.port,
        model=model,
        model_names=names,
        task=settings.task,
        engine_arguments=tuple(_arguments(resolution, model, names)),
        serving=settings.serving,
        run_directory=run_directory,
        adapters=lora,
        sessions=sessions.settings(resolution.values, str(PurePosixPath(run_directory, "sessions"))),
        script=str(resolution.script or ""),
        script_options=_script_options(resolution, model) if resolution.script or lora else {},
    )
    additions = tuple(_additions(resolution, environ, plan, cache_directory))
    kept = {name: text for name, text in environ.items() if not name.startswith(_OURS)}
    environment = kept | {addition.name: addition.value for addition in additions}
    return WorkerLaunch(plan, environment, additions)


def _directories(resolution: Resolution, model: str) -> Iterator[Path]:
    """Yield where adapters may lie that come with the model: its directory, and the one its weights are in."""
    if resolution.model_directory:
        yield resolution.model_directory.path
    if resolution.settings.model is not None and model.startswith("/"):
        yield Path(model)


def _script_options(resolution: Resolution, model: str) -> dict[str, str]:
    """Return what LMI's handlers, an adapter's too, find among a request's properties, without what is secret."""
    known = {
        name: as_text(value.value)
        for name, value in resolution.values.items()
        if value.value is not None and value.option.prefixed and not value.option.secret
    }
    directories = [*([resolution.script.parent] if resolution.script else ()), *_directories(resolution, model)]
    where = {"model_dir": str(directories[0])} if directories else {}
    return {**known, **resolution.custom, **where, "model_id": model}


def _model_names(resolution: Resolution, model_name: str | None) -> tuple[str, ...]:
    """Put what answers carry first: the served names, else the Hugging Face id, else `lmi` rather than a path."""
    served = resolution.values["served_model_name"].value or ()
    model = resolution.settings.model
    is_path = model is not None and model.startswith(("/", "s3://"))
    identity = model_name if model is None else model
    fallback = ("lmi", identity) if is_path else (identity, "lmi")
    return tuple(dict.fromkeys(name for name in (*served, *fallback) if name))


def _arguments(resolution: Resolution, model: str, names: tuple[str, ...]) -> Iterator[str]:
    """Yield tokens for vLLM's parser. `--x=value` is the form in which a value may begin with a dash or hold a dot."""
    yield f"--model={model}"
    yield from ("--served-model-name", *names)
    values = resolution.values
    for name, meant in zip(("runner", "convert"), TASKS[values["task"].value], strict=True):
        if meant != "auto" and name not in values:
            yield f"--{name}={meant}"
    lora = values.get("enable_lora")
    unused = () if lora and lora.value else ONLY_WITH_LORA
    for name in sorted(values):
        value = values[name]
        effective = value.given or value.reason
        if effective and value.option.engine and not value.option.note and name not in unused:
            yield from _tokens(value, resolution)


def _tokens(value: Value, resolution: Resolution) -> list[str]:
    flag = f"--{value.option.engine.replace('_', '-')}"
    kind, content = value.option.kind, value.value
    if kind is Kind.BOOL:
        return [flag if content else flag.replace("--", "--no-", 1)]
    if kind is Kind.FLAG:
        return [flag] if content else []
    if kind in (Kind.LIST, Kind.INT_LIST) and content is not None:
        # argparse takes one value after "=", so that several have to follow as tokens of their own.
        return [f"{flag}={content[0]}"] if len(content) == 1 else [flag, *map(str, content)]
    if value.option.name in _BESIDE_THE_MODEL:
        content = _beside_the_model(str(content), resolution)
    return [f"{flag}={_text(content)}"]


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False) if isinstance(content, dict | list) else str(content)


def _beside_the_model(name: str, resolution: Resolution) -> str:
    directory = resolution.model_directory
    return str(directory.path / name) if directory and name in directory.files else name


def _additions(
    resolution: Resolution, environ: Mapping[str, str], plan: WorkerPlan, cache_directory: str | None
) -> Iterator[Recommendation]:
    """Yield the variables the worker gets beside the container's own; a later one wins."""
    settings, values = resolution.settings, resolution.values
    yield from _unless_set(environ, PYTHONUNBUFFERED=("1", "log lines arrive when they are written"))
    yield from _unless_set(environ, VLLM_NO_USAGE_STATS=("1", _PRIVATE), DO_NOT_TRACK=("1", _PRIVATE))
    yield Recommendation("VLLM_HOST_IP", "127.0.0.1", "every listener but the front end stays on loopback")
    if values["log_level"].given or not environ.get("VLLM_LOGGING_LEVEL"):
        yield Recommendation("VLLM_LOGGING_LEVEL", settings.log_level.upper(), "option.log_level")
    empty = str(PurePosixPath(plan.run_directory, "empty"))
    yield Recommendation("SAGEMAKER_MODEL_PATH", empty, "vLLM would run a model.py it finds there")
    sockets = str(PurePosixPath(plan.run_directory, "ipc"))
    if len(sockets) <= _SOCKET_DIRECTORY_LENGTH:
        yield from _unless_set(
            environ, VLLM_RPC_BASE_PATH=(sockets, "vLLM leaves its sockets behind; each start empties it")
        )
    if plan.model.startswith("/") and not any(name in values for name in _MAY_NEED_THE_HUB):
        yield from _unless_set(environ, HF_HUB_OFFLINE=("1", "the model is on disk"))
    if settings.hf_token:
        yield Recommendation("HF_TOKEN", settings.hf_token, f"option.hf_token ({values['hf_token'].origin})")
    if ports := port_range(str(values["safe_port_range"].value)):
        low, high = ports
        reason = f"{values['safe_port_range'].origin}; vLLM counts up from it"
        yield Recommendation("VLLM_PORT", str(low + (low == plan.port and low < high)), reason)
    if cache_directory:
        yield from _caches(environ, cache_directory)
    yield from resolution.variables
    for item in values["env"].value or ():
        name, _, text = item.partition("=")
        yield Recommendation(name, text, f"option.env ({values['env'].origin})")


def _caches(environ: Mapping[str, str], directory: str) -> Iterator[Recommendation]:
    reason = "HOME cannot be written"
    yield Recommendation("HOME", directory, reason)
    folders = {
        "XDG_CACHE_HOME": "",
        "HF_HOME": "huggingface",
        "VLLM_CACHE_ROOT": "vllm",
        "VLLM_CONFIG_ROOT": "vllm-config",
        "TRITON_CACHE_DIR": "triton",
        "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
        "NUMBA_CACHE_DIR": "numba",
        "FLASHINFER_WORKSPACE_BASE": "",
    }
    places = {name: (str(PurePosixPath(directory, folder)), reason) for name, folder in folders.items()}
    yield from _unless_set(environ, **places)


def _unless_set(environ: Mapping[str, str], **choices: tuple[str, str]) -> Iterator[Recommendation]:
    return (Recommendation(name, *choice) for name, choice in choices.items() if not environ.get(name))
