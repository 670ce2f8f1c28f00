"""Turns environment variables and serving.properties into what was given for each option, by whom, on which layer."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from autoconfig.errors import ConfigError, UnknownNameError
from autoconfig.kinds import Kind
from autoconfig.masking import MASK, is_secret, masked
from autoconfig.model import ModelDirectory
from autoconfig.options import Layer, Name, Option, table
from autoconfig.properties import PropertiesFile

# In these families every name is ours or vLLM's, so that an unknown one is a slip. SAGEMAKER_* is the platform's own.
_FAMILIES = ("OPTION_", "SM_VLLM_", "SERVING_")
_FLAGS = {"bind_to_port": "--port"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from, as an operator would look it up: `serving.properties:7`, `OPTION_DTYPE`."""

    layer: Layer
    source: str

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True, slots=True, repr=False)
class Given:
    """The text somebody gave for one option."""

    option: Option
    text: str
    origin: Origin

    def __str__(self) -> str:
        return f"{self.option.label}={self.shown} ({self.origin})"

    __repr__ = __str__  # never the secret

    @property
    def shown(self) -> str:
        """The text, shortened, and masked where it is secret."""
        return MASK if self.option.secret else shortened(masked(self.text))


@dataclass(slots=True)
class Gathered:
    """Everything that was given, before anything is merged."""

    given: list[Given] = field(default_factory=list)
    custom: dict[str, str] = field(default_factory=dict)
    """`option.custom.*`, untouched, for a user's own handler."""
    notes: list[str] = field(default_factory=list)
    errors: list[ConfigError] = field(default_factory=list)


def gather(environ: Mapping[str, str], properties: PropertiesFile | None) -> Gathered:
    """Collect what every source says: `OPTION_DTYPE=fp16` -> Given(dtype, "fp16", OPTION_DTYPE)."""
    gathered = Gathered()
    for variable in sorted(environ):
        _take_variable(gathered, variable, environ[variable])
    gathered.notes += _remarks(environ)
    if properties is not None:
        gathered.notes += properties.notes
        gathered.errors += properties.errors
        for pair in properties.properties:
            _take_property(gathered, pair.key, pair.value, f"{properties.label}:{pair.line}")
    return gathered


def of_command_line(options: Mapping[str, str]) -> list[Given]:
    """Return what arguments of the command line say, by the names of their options."""
    return [
        Given(table().options[name], text, Origin(Layer.COMMAND_LINE, _FLAGS[name])) for name, text in options.items()
    ]


def of_directory(directory: ModelDirectory | None) -> list[Given]:
    """Return what a model directory says by what is in it."""
    if directory is None or not directory.has_weights:
        return []
    origin = Origin(Layer.DIRECTORY, "weights in the model directory")
    return [Given(table().options["model_id"], str(directory.path), origin)]


def _take_variable(gathered: Gathered, variable: str, text: str) -> None:
    in_family = variable.startswith(_FAMILIES)
    # LMI lower-cases OPTION_ENTRYPOINT and also takes OPTION_entryPoint.
    known = table().variables.get(variable.upper() if in_family else variable)
    if known:
        _take(gathered, known, text, variable, variable)
    elif variable.upper().startswith(("OPTION_CUSTOM_", "OPTION_CUSTOM.")):
        gathered.custom[variable[len("OPTION_CUSTOM_") :].lower()] = text
    elif in_family:
        gathered.errors.append(_unknown_variable(variable, text))


def _take_property(gathered: Gathered, key: str, text: str, place: str) -> None:
    known = table().keys.get(key.lower())
    if known:
        _take(gathered, known, text, place, f"{key} ({place})")
    elif key.lower().startswith("option.custom."):
        gathered.custom[key[len("option.custom.") :]] = text
    else:
        problem, hint = _unknown_key(key.lower(), text)
        gathered.errors.append(UnknownNameError(f"{key}={_shown(key, hint, text)} ({place}): {problem} {hint}"))


def _take(gathered: Gathered, known: Name, text: str, source: str, written: str) -> None:
    if text.strip():
        gathered.given.append(Given(known.option, known.reading(text).strip(), Origin(known.layer, source)))
    else:
        # `docker run -e OPTION_X=$X` with X unset means nothing, not the empty text.
        gathered.notes.append(f"{written} is empty: taken as not set")


def _unknown_variable(variable: str, text: str) -> UnknownNameError:
    family = next(prefix for prefix in _FAMILIES if variable.startswith(prefix))
    hint = _nearest(variable.upper(), [name for name in table().variables if name.startswith(family)])
    return UnknownNameError(f"{variable}={_shown(variable, hint, text)}: {_no_such(variable)} {hint}")


def _unknown_key(key: str, text: str) -> tuple[str, str]:
    """Return what is wrong with a key, and what was probably meant."""
    keys = table().keys
    if f"option.{key}" in keys:
        return "not a key of DJL Serving. Options carry a prefix:", f"option.{key}."
    root, _, rest = key.removeprefix("option.").partition(".")
    owner = keys.get(f"option.{root}")
    if rest and owner and owner.option.kind in (Kind.JSON_OBJECT, Kind.TEXT_OR_JSON):
        return "write it as one JSON object:", f'option.{root}={{"{rest}": {shortened(masked(text, rest), 20)}}}.'
    return _no_such(key), _nearest(key, list(keys))


def _no_such(name: str) -> str:
    if name.startswith("SERVING_"):
        return "DJL Serving has no such key."
    if name.startswith("SM_VLLM_"):
        return "vLLM has no such argument."
    if name.startswith(("OPTION_", "option.")):
        return "neither LMI nor vLLM has this option."
    return "DJL Serving has no such key, and options carry the prefix option."


def _nearest(name: str, candidates: list[str]) -> str:
    slip = difflib.get_close_matches(name, candidates, n=1, cutoff=0.9)
    near = slip or difflib.get_close_matches(name, candidates, n=2, cutoff=0.75)
    return f"Did you mean {' or '.join(near)}?" if near else "OPTIONS.md lists all names."


def _shown(name: str, hint: str, text: str) -> str:
    # Somebody who wrote OPTION_HF_TOKN meant a secret, too.
    return MASK if is_secret(name) or is_secret(hint) else shortened(masked(text))


def _remarks(environ: Mapping[str, str]) -> Iterator[str]:
    """Say a line about variables that nobody here reads, where their owner may expect somebody to."""
    known = [name for name in table().variables if name.startswith("SAGEMAKER_")]
    for variable in sorted(environ):
        if variable.startswith("SAGEMAKER_") and variable not in table().variables:
            if near := difflib.get_close_matches(variable, known, n=1, cutoff=0.88):
                yield f"{variable} is not read here; {near[0]} is"
        elif variable.startswith("ARGS_"):
            yield f"{variable}: no effect: there is one handler, and it takes no arguments"


def shortened(text: str, limit: int = 80) -> str:
    """Return the text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
