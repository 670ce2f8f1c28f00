"""Looks at a model directory, without changing it: what is in it, and what its configuration says about the model."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autoconfig.kv_layout import KvLayout, kv_layout, language_part
from autoconfig.parameters import adapter_numbers, estimated_weight_bytes

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What this container needs of a model's config.json; None where the file does not say."""

    architectures: tuple[str, ...] = ()
    max_position_embeddings: int | None = None
    """The longest context; None also where RoPE scaling may stretch it."""
    dtype: str | None = None
    attention_heads: int | None = None
    kv: KvLayout | None = None
    """What a token leaves in the KV cache; None where the file does not say, or says something not known here."""
    estimated_weight_bytes: int | None = None
    adapter_numbers: int | None = None
    """Of a LoRA adapter of rank 1 that changes every linear layer."""

    @property
    def kv_bytes_per_token(self) -> int | None:
        """At two bytes a number; None where not every layer keeps every token, and a context needs less or other."""
        if self.kv is None or self.kv.window_layers or self.kv.linear_layers:
            return None
        return self.kv.node_bytes(2)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Read the parsed config.json; multimodal models keep the language model's part in `text_config`."""
        language = language_part(config)
        return cls(
            architectures=tuple(map(str, config.get("architectures") or ())),
            max_position_embeddings=_longest_context(language),
            dtype=_dtype(language) or _dtype(config),
            attention_heads=_count(language, "num_attention_heads"),
            kv=kv_layout(config),
            estimated_weight_bytes=estimated_weight_bytes(config),
            adapter_numbers=adapter_numbers(config),
        )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What planning a cache needs to know of a model."""

    kv: KvLayout
    weight_bytes: int | None = None
    """None where neither files, nor an index, nor arithmetic tells."""
    weights_from: Literal["files", "index", "estimate"] = "files"
    largest_file_bytes: int = 0
    context: int | None = None
    adapter_numbers: int | None = None
    """Of a LoRA adapter of rank 1 that changes every linear layer."""


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """A directory a model may be in, and what was seen there."""

    path: Path
    files: tuple[str, ...] = ()
    """Names in it, without hidden ones, sorted."""
    weight_bytes: int = 0
    config: ModelConfig | None = None
    entered: str | None = None
    """Name of the one sub-directory that was entered, as LMI does."""
    unreadable: str = ""
    """Why config.json could not be read."""
    largest_file_bytes: int = 0
    """Of its weights."""
    indexed_weight_bytes: int = 0
    """What the index of the safetensors files says all of them hold, be they here or not."""

    @property
    def has_weights(self) -> bool:
        """Whether there is a model to load: weights, and a config.json or a GGUF file that says what they are."""
        weights = [name for name in self.files if name.endswith(WEIGHTS)]
        return bool(weights) and ("config.json" in self.files or any(name.endswith(".gguf") for name in weights))

    @property
    def properties(self) -> Path | None:
        """The serving.properties in it."""
        return self.path / "serving.properties" if "serving.properties" in self.files else None

    @property
    def requirements(self) -> Path | None:
        """The requirements.txt in it."""
        return self.path / "requirements.txt" if "requirements.txt" in self.files else None

    @property
    def has_code(self) -> bool:
        """Whether it brings a model.py."""
        return "model.py" in self.files

    @property
    def facts(self) -> ModelFacts | None:
        """What is known of the model's size and its keys and values."""
        if self.config is None or self.config.kv is None:
            return None
        sizes: tuple[tuple[int | None, Literal["files", "index", "estimate"]], ...] = (
            (self.weight_bytes if self.weight_bytes >= self.indexed_weight_bytes else 0, "files"),
            (self.indexed_weight_bytes, "index"),
            (self.config.estimated_weight_bytes, "estimate"),
        )
        known, source = next(((size, name) for size, name in sizes if size), (None, sizes[0][1]))
        return ModelFacts(
            self.config.kv,
            known,
            source,
            self.largest_file_bytes,
            context=self.config.max_position_embeddings,
            adapter_numbers=self.config.adapter_numbers,
        )


def look(directory: Path) -> ModelDirectory:
    """Return what is in the directory; a single visible sub-directory, with nothing beside it, is entered."""
    entries = _visible(directory)
    entered = None
    # A directory of adapters alone comes with a model from elsewhere.
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name != "adapters":
        directory, entered = entries[0], entries[0].name
        entries = _visible(directory)
    name = "config.json" if (directory / "config.json").exists() else "params.json"
    raw, unreadable = read_object(directory / name)
    sizes = [entry.stat().st_size for entry in _weight_files(entries)]
    return ModelDirectory(
        path=directory,
        files=tuple(entry.name for entry in entries),
        weight_bytes=sum(sizes),
        config=ModelConfig.read(raw) if raw else None,
        entered=entered,
        unreadable=unreadable,
        largest_file_bytes=max(sizes, default=0),
        indexed_weight_bytes=_indexed(directory / "model.safetensors.index.json"),
    )


def _weight_files(entries: list[Path]) -> list[Path]:
    """Return the files the engine loads: of one model in several formats, a single one."""
    for suffix in WEIGHTS:
        found = [entry for entry in entries if entry.name.endswith(suffix) and entry.is_file()]
        split = [entry for entry in found if not entry.name.startswith("consolidated")]
        if found:
            return split or found
    return []


def _indexed(index: Path) -> int:
    metadata = read_object(index)[0].get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, dict) else None
    return int(size) if isinstance(size, int | float) else 0


def _visible(directory: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    return []


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """Return the JSON object in a file, and why there is none; a file that is not there is an empty one."""
    if not path.is_file():
        return {}, ""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, str(error)
    return (value, "") if isinstance(value, dict) else ({}, "not a JSON object")


def _count(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _longest_context(config: Mapping[str, Any]) -> int | None:
    return None if config.get("rope_scaling") else _count(config, "max_position_embeddings")


def _dtype(config: Mapping[str, Any]) -> str | None:
    said = config.get("dtype") or config.get("torch_dtype")
    return str(said) if said else None
