"""Decides which of the user's own files holds formatters or a handler for the base model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoconfig import script_text
from autoconfig.errors import BadValueError, ConfigError, RefusedError, UserCodeError
from autoconfig.script_text import NotPythonError
from autoconfig.values import Value

USUAL = "model.py"
# LMI's own handlers, and names that stand for them.
_OF_UPSTREAM = ("djl_python", "vllm", "lmi_vllm")


@dataclass(frozen=True, slots=True)
class Script:
    """The file, if any, with what is to be said about it."""

    file: Path | None = None
    errors: tuple[ConfigError, ...] = ()
    notes: tuple[str, ...] = ()


def find_script(values: Mapping[str, Value], model_directory: Path | None) -> Script:
    """Return the file the entry point names, else the model directory's model.py, as in LMI; it is read, never run."""
    usual = model_directory / USUAL if model_directory else None
    usual = usual if usual and usual.is_file() else None
    entry = values.get("entrypoint")
    if entry is None or not entry.given:
        return _used(usual)
    name = str(entry.value)
    if name.removesuffix(".py").split(".")[0].split(":")[0] in _OF_UPSTREAM and not name.endswith(".py"):
        used = _used(usual)
        note = f"{entry}: no effect: this container has one handler, and vLLM behind it"
        return replace(used, notes=(note, *used.notes))
    if not name.endswith(".py") or "://" in name:
        what = "is not a file of the model's own: put the code into model.py in the model directory and remove this"
        return Script(errors=(RefusedError(f"{entry} {what}."),))
    file = model_directory / name if model_directory else Path(name)
    if not file.is_absolute() or not file.is_file():
        where = f"in {model_directory}" if model_directory else "as there is no model directory"
        return Script(errors=(BadValueError(f"{entry}: there is no such file {where}."),))
    used = _used(file)
    if usual and file != usual:
        return replace(used, notes=(*used.notes, f"{usual}: not used, as {entry} names another file"))
    return used


def _used(file: Path | None) -> Script:
    if file is None:
        return Script()
    try:
        text = script_text.read(file.read_bytes(), file)
    except NotPythonError as error:
        return Script(file, errors=(UserCodeError(f"{file.parent}/{error}."),))
    except OSError as error:
        return Script(file, errors=(BadValueError(f"{file} cannot be read: {error.strerror}."),))
    return Script(file, notes=(f"{file}: {text}",))
