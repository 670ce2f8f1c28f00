"""Looks at a model directory, without changing it: what is in it, and what its config.json says about the model."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What this container needs of a model's config.json; None where the file does not say."""

    architectures: tuple[str, ...] = ()
    max_position_embeddings: int | None = None
    """The longest context; None also where RoPE scaling may stretch it."""
    dtype: str | None = None
    attention_heads: int | None = None
    kv_bytes_per_token: int | None = None
    """At two bytes a number; None where the layout is not the plain one (MLA, mixed layers)."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Read the parsed config.json; multimodal models keep the language model's part in `text_config`."""
        text = config.get("text_config")
        language: Mapping[str, Any] = text if isinstance(text, dict) else config
        return cls(
            architectures=tuple(map(str, config.get("architectures") or ())),
            max_position_embeddings=_longest_context(language),
            dtype=str(d) if (d := language.get("dtype") or language.get("torch_dtype")) else None,
            attention_heads=_count(language, "num_attention_heads"),
            kv_bytes_per_token=_kv_bytes_per_token(language),
        )


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


def look(directory: Path) -> ModelDirectory:
    """Return what is in the directory; a single visible sub-directory, with nothing beside it, is entered."""
    entries = _visible(directory)
    entered = None
    if len(entries) == 1 and entries[0].is_dir():
        directory, entered = entries[0], entries[0].name
        entries = _visible(directory)
    raw, unreadable = _config(directory / "config.json")
    return ModelDirectory(
        path=directory,
        files=tuple(entry.name for entry in entries),
        weight_bytes=sum(entry.stat().st_size for entry in entries if entry.name.endswith(WEIGHTS) and entry.is_file()),
        config=ModelConfig.read(raw) if raw else None,
        entered=entered,
        unreadable=unreadable,
    )


def _visible(directory: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    return []


def _config(path: Path) -> tuple[dict[str, Any], str]:
    if not path.is_file():
        return {}, ""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {}, str(error)
    return (config, "") if isinstance(config, dict) else ({}, "not a JSON object")


def _count(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _longest_context(config: Mapping[str, Any]) -> int | None:
    return None if config.get("rope_scaling") else _count(config, "max_position_embeddings")


def _kv_bytes_per_token(config: Mapping[str, Any]) -> int | None:
    layers, heads = _count(config, "num_hidden_layers"), _count(config, "num_attention_heads")
    if not layers or not heads or "kv_lora_rank" in config or "layer_types" in config:
        return None
    hidden = _count(config, "hidden_size") or 0
    head_dim = _count(config, "head_dim") or hidden // heads
    return 2 * 2 * layers * (_count(config, "num_key_value_heads") or heads) * head_dim
