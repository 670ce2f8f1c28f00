"""The servers compared: one model and set of flags, and a cache below the engine's own that differs from arm to arm."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.long_doc_qa.documents import Workload

GIB = 1 << 30
MODEL_NAME = "bench"
# vLLM's default on a CPU. LMCache's chunk of 256 tokens is two of them.
BLOCK_TOKENS = 128
# What our planner wants in flight between the engine and the tiers: the least RAM below which there is no cache.
STAGED_TOKENS = 64 * 256
YAML_FILE = "lmcache.yaml"
# LMCache evicts before a tier is full.
ROOM = 1.5


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the servers compared."""

    name: str
    title: str
    options: Mapping[str, Any]
    """Our server's, without their `option.`."""
    note: str = ""
    announced: tuple[float, float] | None = None
    """How many times shorter AWS's announcement says TTFT and the query round become."""

    @property
    def has_tiers(self) -> bool:
        """Whether there is a cache below the engine's own, planned or described."""
        return not {"lmcache_auto_config", "lmcache_config_file"}.isdisjoint(self.options)

    def on_top_of(self, shared: Mapping[str, Any]) -> "Arm":
        """Return the arm with what every arm's server is given."""
        return replace(self, options={**shared, **self.options})


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the caches of the arms hold."""

    bytes_per_token: int
    engine_documents: int
    block_tokens: int
    ram_gib: float
    disk_gib: float
    staging_gib: float

    def documents_in(self, gib: float, work: Workload) -> float:
        """Return how many documents fit into so much memory."""
        return gib * GIB / (self.bytes_per_token * work.context)


def sizes(work: Workload, bytes_per_token: int, engine_documents: int = 4, block_tokens: int = BLOCK_TOKENS) -> Sizes:
    """Size the tiers so that they hold every document, and the engine's cache so that it does not."""
    needed = ROOM * work.documents * work.context * bytes_per_token
    return Sizes(
        bytes_per_token,
        engine_documents,
        block_tokens,
        ram_gib=max(1.0, _tenths_up(needed)),
        disk_gib=max(2.0, _tenths_up(needed)),
        staging_gib=_tenths_up(STAGED_TOKENS * bytes_per_token),
    )


def arms(work: Workload, size: Sizes, disk: Path) -> list[Arm]:
    """List every arm in the order they are measured in, the one the others are compared with first."""
    blocks = ceil(work.context / size.block_tokens)
    small = {"num_gpu_blocks_override": size.engine_documents * blocks + 1}  # one block is vLLM's own
    # Every document with its answer, the pre-warm-up, and one more round in flight: nothing is ever evicted.
    large = {"num_gpu_blocks_override": (work.documents + 5 + work.concurrency) * blocks + 1}
    cache: dict[str, Any] = small | {"lmcache_auto_config": True}
    on_disk = {"lmcache_disk_path": str(disk), "lmcache_max_disk_gb": size.disk_gib, "lmcache_force_disk": True}
    half = max(size.staging_gib, _tenths_up(work.documents * work.context * size.bytes_per_token / 2))
    return [
        Arm("none", "no offload", small),
        Arm(
            "ram",
            "RAM",
            cache | {"lmcache_max_cpu_gb": size.ram_gib, "lmcache_max_disk_gb": 0},
            f"{size.ram_gib:.1f} GiB of RAM, which holds every document",
            announced=(2.65, 2.18),
        ),
        Arm(
            "disk",
            "disk",
            small | {"lmcache_config_file": str(disk / YAML_FILE)},
            f"{size.disk_gib:.1f} GiB of disk, O_DIRECT; the {size.staging_gib:.1f} GiB of RAM it is read and written "
            "through keep nothing",
            announced=(1.57, 1.84),
        ),
        Arm(
            "both",
            "RAM and disk",
            cache | {"lmcache_max_cpu_gb": half} | on_disk,
            f"{half:.1f} GiB of RAM, which hold {size.documents_in(half, work):.1f} documents, above "
            f"{size.disk_gib:.1f} GiB of disk",
        ),
        Arm("floor", "floor", large, "no offload; the engine's own cache holds everything"),
    ]


def disk_yaml(size: Sizes, disk: Path) -> str:
    """Write LMCache's configuration of a tier on disk alone; the automatic one would keep what fits in RAM as well."""
    return (
        f"local_cpu: false\nmax_local_cpu_size: {size.staging_gib}\n"
        f"local_disk: {disk}\nmax_local_disk_size: {size.disk_gib}\nextra_config:\n  use_odirect: true\n"
    )


def environment(arm: Arm) -> dict[str, str]:
    """Write the arm's options as our server reads them from its environment."""
    return {
        # With LMCache the engine needs a process of its own on a CPU, so every arm's has one.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        **{f"OPTION_{name.upper()}": _text(value) for name, value in arm.options.items()},
    }


def shared_options(model: Path, work: Workload) -> dict[str, Any]:
    """Return what every arm's server is given."""
    return {
        "model_id": str(model),
        "served_model_name": MODEL_NAME,
        "max_model_len": work.context,
        "block_size": BLOCK_TOKENS,
        "enable_prompt_tokens_details": True,
    }


def kv_bytes_per_token(model: Path, number_bytes: int) -> int:
    """Return what a token takes in the cache of a model whose every layer keeps plain keys and values."""
    config = json.loads((model / "config.json").read_text())
    config = config.get("text_config", config)
    if "kv_lora_rank" in config or "num_hidden_layers" not in config:
        raise ValueError("how much a token of this model takes is not known here; give --kv-bytes-per-token")
    heads = config["num_attention_heads"]
    head_size = config.get("head_dim") or config["hidden_size"] // heads
    return int(2 * config["num_hidden_layers"] * config.get("num_key_value_heads", heads) * head_size * number_bytes)


def _tenths_up(size: float) -> float:
    return ceil(size / GIB * 10) / 10


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
