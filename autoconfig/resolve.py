"""Turns all sources, the host and the model directory into one Resolution, or raises every mistake together."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoconfig import checks, checks_adapters, checks_cache, recommend, recommend_adapters, sessions
from autoconfig.adapters import PlannedAdapter, find, judged, looked_at
from autoconfig.errors import ConfigError, ConfigErrors
from autoconfig.host import HostFacts
from autoconfig.model import ModelConfig, ModelDirectory, look
from autoconfig.options import Layer, table
from autoconfig.options.model import TASKS
from autoconfig.properties import PropertiesFile
from autoconfig.recommend import Recommendation
from autoconfig.scripts import find_script
from autoconfig.settings import ServingSettings, StartSettings
from autoconfig.sources import Given, Origin, gather, of_command_line, of_directory
from autoconfig.values import Value, default, merged

SHOWN_GROUPS = ("Model", "Engine", "Serving")


@dataclass(frozen=True, slots=True)
class Resolution:
    """What counts, and why: one value for every option of ours, and for each other one that somebody gave."""

    values: Mapping[str, Value]
    variables: tuple[Recommendation, ...]
    """What the engine's process should find in its environment, on this host."""
    custom: Mapping[str, str]
    notes: tuple[str, ...]
    settings: StartSettings
    model_directory: ModelDirectory | None = None
    adapters: tuple[PlannedAdapter, ...] = ()
    """LoRA adapters known from the start, be they served or not."""
    script: Path | None = None
    """The base model's own formatters or handler."""


def resolve(
    environ: Mapping[str, str],
    properties: PropertiesFile | None,
    host: HostFacts,
    model_directory: ModelDirectory | None = None,
    command_line: Mapping[str, str] | None = None,
    at_hand: Callable[[Mapping[str, Value]], Path | None] | None = None,
) -> Resolution:
    """Decide every option. `command_line` holds options by name; it wins over all sources.

    `at_hand` tells where a model that comes from elsewhere lies on this machine already, if it does.
    """
    gathered = gather(environ, properties)
    given = [*gathered.given, *of_command_line(command_line or {}), *of_directory(model_directory)]
    values, unreadable = _merge(given)
    model = _served(values, model_directory)
    config = model.config if model else None
    _recommend(values, recommend.parallelism(_spoken(values), host, config))
    variables: tuple[Recommendation, ...] = ()
    unfit: list[ConfigError] = []
    if not host.gpus:
        variables, unfit = _without_gpu(environ, values, host, model)
    place = _model_place(values, model_directory)
    found = find(values, [*([model_directory.path] if model_directory else ()), *([place] if place else ())])
    script = find_script(values, model_directory.path if model_directory else None)
    weights = place or (at_hand(values) if at_hand else None)
    shapes = config or (look(weights).config if weights else None)
    _recommend(values, recommend_adapters.adapters(_spoken(values), found.adapters, host, shapes))
    adapters = looked_at(found.adapters, weights)
    served = judged(adapters, values)
    values = _complete(values)
    errors = (
        *gathered.errors,
        *unreadable,
        *checks.refused(values),
        *checks.forms(values),
        *checks.contradictions(values),
        *checks_cache.contradictions(values, _task(values, config)),
        *checks.parallelism(values, host, config),
        *unfit,
        *found.errors,
        *checks_adapters.contradictions(values, adapters),
        *sessions.contradictions(values),
        *script.errors,
    )
    if errors:
        raise ConfigErrors(errors)
    notes = (
        *gathered.notes,
        *_notes(values, model_directory),
        *script.notes,
        *found.notes,
        *checks_adapters.remarks(values, served, environ),
        *sessions.remarks(values),
        *checks_cache.remarks(values, environ),
    )
    settings = _settings(values, config, model_directory)
    return Resolution(values, variables, gathered.custom, notes, settings, model_directory, served, script.file)


def _without_gpu(
    environ: Mapping[str, str], values: dict[str, Value], host: HostFacts, model: ModelDirectory | None
) -> tuple[tuple[Recommendation, ...], list[ConfigError]]:
    """Put in what lets a CPU start, and return what its engine finds in the environment and what is amiss."""
    config = model.config if model else None
    _recommend(values, recommend.cpu_options(_spoken(values), host, config))
    space = recommend.kv_space(environ, _spoken(values), host, model)
    variables = tuple(recommend.cpu_variables(environ, _spoken(values), space))
    unfit = list(checks.memory(values, host, space))
    _recommend(values, recommend.cpu_context(_spoken(values), space, config))
    return variables, unfit


def _spoken(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: value.value for name, value in values.items()}


def _merge(given: Iterable[Given]) -> tuple[dict[str, Value], list[ConfigError]]:
    values: dict[str, Value] = {}
    errors: list[ConfigError] = []
    by_name = sorted(given, key=lambda one: one.option.name)
    for name, group in itertools.groupby(by_name, key=lambda one: one.option.name):
        value, wrong = merged(group)
        errors += wrong
        if value is not None:
            values[name] = value
    return values, errors


def _recommend(values: dict[str, Value], choices: Iterable[Recommendation]) -> None:
    """Put recommendations in; what the operator gave instead of a number, such as `max`, keeps its origin."""
    # A list first: the rules look at the values while they choose.
    for choice in list(choices):
        spoken = values.get(choice.name)
        origin = spoken.origin if spoken else Origin(Layer.RECOMMENDED, "recommended")
        shadowed = spoken.shadowed if spoken else ()
        values[choice.name] = Value(table().options[choice.name], choice.value, origin, shadowed, choice.reason)


def _complete(values: Mapping[str, Value]) -> dict[str, Value]:
    """Add our own options' defaults, and put everything into the table's order."""
    return {
        name: values.get(name) or default(option)
        for name, option in table().options.items()
        if name in values or option.group in SHOWN_GROUPS
    }


def _served(values: Mapping[str, Value], directory: ModelDirectory | None) -> ModelDirectory | None:
    """Return the model directory where its model is the one that is served."""
    model = values.get("model_id")
    return directory if directory and model and model.value == str(directory.path) else None


def _model_place(values: Mapping[str, Value], directory: ModelDirectory | None) -> Path | None:
    """Return where the model itself is on this machine, if it is."""
    model = _located(values["model_id"].value, directory) if "model_id" in values else None
    return Path(model) if model and model.startswith("/") else None


def _notes(values: Mapping[str, Value], directory: ModelDirectory | None) -> Iterable[str]:
    in_front = values["frontend"].value == "djl"
    for value in values.values():
        if value.given and value.option.note and not (in_front and value.option.in_front):
            yield f"{value}: {value.option.note}"
    if directory is not None:
        if directory.entered:
            yield f"the model directory holds nothing but {directory.entered}/, which is used in its place, as in LMI"
        if directory.unreadable:
            yield f"config.json in the model directory cannot be read: {directory.unreadable}"


def _settings(
    values: Mapping[str, Value], config: ModelConfig | None, directory: ModelDirectory | None
) -> StartSettings:
    def of(name: str) -> Any:
        return values[name].value

    serving = ServingSettings(
        predict_timeout_seconds=of("predict_timeout"),
        max_concurrent_requests=of("max_concurrent_requests"),
        max_request_bytes=of("max_request_size"),
        max_new_tokens=of("max_new_tokens"),
        output_formatter=of("output_formatter"),
        tgi_compat=of("tgi_compat"),
        normalize_embeddings=of("normalize"),
        drain_timeout_seconds=of("drain_timeout"),
        log_format=of("log_format"),
        log_requests=of("log_requests"),
    )
    model = values["model_id"]
    return StartSettings(
        model=_located(model.value, directory),
        model_origin=str(model.origin) if model.given else "embedded",
        revision=of("revision"),
        hf_token=of("hf_token"),
        trust_remote_code=of("trust_remote_code"),
        host="0.0.0.0",
        port=of("bind_to_port"),
        frontend=of("frontend"),
        model_loading_timeout_seconds=of("model_loading_timeout"),
        download_directory=of("download_directory"),
        log_level=of("log_level"),
        task=_task(values, config),
        serving=serving,
    )


def _located(model: str | None, directory: ModelDirectory | None) -> str | None:
    """Read a relative path from the model directory, as LMI's worker does, whose working directory that is."""
    if model is None or directory is None:
        return model
    relative = model.startswith(".") or model in directory.files
    return str(directory.path / model) if relative else model


def _task(values: Mapping[str, Value], config: ModelConfig | None) -> Literal["generate", "embed", "pooling"]:
    runner, convert = TASKS.get(str(values["task"].value), ("auto", "auto"))
    said = {name: values[name].value for name in ("runner", "convert") if name in values}
    runner, convert = said.get("runner", runner), said.get("convert", convert)
    if convert == "embed":
        return "embed"
    if runner == "pooling" or convert == "classify":
        return "pooling"
    architectures = config.architectures if config and runner == "auto" else ()
    if any(
        name.endswith(("ForSequenceClassification", "ForTokenClassification", "RewardModel")) for name in architectures
    ):
        return "pooling"
    # Models without a head, such as BertModel, embed; vLLM decides likewise (config/model.py, runner "auto").
    return "embed" if architectures and all(name.endswith("Model") for name in architectures) else "generate"
