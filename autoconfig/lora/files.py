"""An adapter's directory into what serving it needs to know, in milliseconds: no weights are read, nothing is loaded.

What is wrong with it is so found when a start is planned or it is registered, in words, and not by the engine while
requests wait.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from autoconfig import script_text
from autoconfig.lora import peft_config, safetensors_header
from autoconfig.lora import shapes as adapter_shapes
from autoconfig.lora.errors import HeaderError, UnusableAdapterError
from autoconfig.lora.peft_config import PeftConfig
from autoconfig.lora.shapes import BaseShapes
from autoconfig.lora.source import Roots
from autoconfig.script_text import NotPythonError, ScriptText

WEIGHTS = "adapter_model.safetensors"
SCRIPT = "model.py"
MAX_SCRIPT_BYTES = 1024 * 1024
_NAMES = (peft_config.FILE, WEIGHTS, SCRIPT)
_PICKLES = ("adapter_model.bin", "adapter_model.pt")

Signature = tuple[tuple[int, int, int] | None, ...]
"""Size, time of change and inode of each of an adapter's files and other modules; None for one that is not there."""


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """One adapter as it lies on disk, checked."""

    directory: str
    """With every symbolic link resolved."""
    rank: int
    signature: Signature
    script: str = ""
    """Its `model.py`; empty where it has none."""
    brings: ScriptText | None = None
    """What that holds."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What an adapter has to fulfil to be served here."""

    max_rank: int | None = None
    """None: it follows from the adapters."""
    base: BaseShapes = field(default_factory=BaseShapes)

    def check(self, directory: str, roots: Roots) -> AdapterFiles:
        """Look at the files of an adapter in a directory that `roots` located.

        Raises:
            UnusableAdapterError: the text is one line that says what is wrong.
            OSError: a file cannot be read.
        """
        signed = signature(directory)
        config = PeftConfig.parse(_config_text(directory, roots))
        if self.max_rank is not None and config.rank > self.max_rank:
            raise UnusableAdapterError(f"its rank is {config.rank}, above option.max_lora_rank={self.max_rank}")
        weights = _weights(directory, roots)
        try:
            tensors = safetensors_header.read(Path(weights))
        except HeaderError as error:
            raise UnusableAdapterError(f"{WEIGHTS} cannot be read: {error}") from None
        adapter_shapes.check(tensors, config, self.base)
        return AdapterFiles(directory, config.rank, signed, *_script(directory, roots))


def rank_of(directory: str, roots: Roots) -> int:
    """Return what an adapter's configuration says of its rank, which is needed to plan for it, whatever else is wrong.

    Raises:
        UnusableAdapterError: it says none, or is of a kind that cannot be served.
        OSError: it cannot be read.
    """
    return PeftConfig.parse(_config_text(directory, roots)).rank


def signature(directory: str) -> Signature:
    """Return what changes when an adapter's files do, with those its script may import, without opening them."""
    beside = sorted(file for file in Path(directory).glob("*.py") if file.name != SCRIPT)
    return tuple(map(_stat, [*(Path(directory, name) for name in _NAMES), *beside]))


def digest(files: AdapterFiles) -> str:
    """Return a digest of an adapter's weights and configuration; reads all of them, for a thread.

    Raises:
        OSError: a file cannot be read.
    """
    both = hashlib.sha256()
    for name in (peft_config.FILE, WEIGHTS):
        with Path(files.directory, name).open("rb") as stream:
            both.update(hashlib.file_digest(stream, "sha256").digest())
    return both.hexdigest()


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_size, seen.st_mtime_ns, seen.st_ino


def _config_text(directory: str, roots: Roots) -> bytes:
    try:
        return _text(roots.file(directory, peft_config.FILE), peft_config.FILE, peft_config.MAX_BYTES)
    except FileNotFoundError:
        raise UnusableAdapterError(f"it has no {peft_config.FILE}") from None


def _weights(directory: str, roots: Roots) -> str:
    try:
        return roots.file(directory, WEIGHTS)
    except FileNotFoundError:
        for name in _PICKLES:
            if Path(directory, name).is_file():
                raise UnusableAdapterError(
                    f"{name} is a pickle, which can run code when it is read; save it as {WEIGHTS}"
                ) from None
        raise UnusableAdapterError(f"it has no {WEIGHTS}") from None


def _script(directory: str, roots: Roots) -> tuple[str, ScriptText | None]:
    """Return the adapter's script, having compiled it: what runs only later is then at least Python."""
    try:
        script = roots.file(directory, SCRIPT)
        return script, script_text.read(_text(script, SCRIPT, MAX_SCRIPT_BYTES), Path(script))
    except FileNotFoundError:
        return "", None
    except NotPythonError as error:
        raise UnusableAdapterError(str(error)) from None


def _text(path: str, name: str, limit: int) -> bytes:
    with Path(path).open("rb") as stream:
        text = stream.read(limit + 1)
    if len(text) > limit:
        raise UnusableAdapterError(f"{name} is above {limit} bytes")
    return text
