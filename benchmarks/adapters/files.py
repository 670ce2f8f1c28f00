"""Writes LoRA adapters with random weights for a Llama's attention, as PEFT would, each with another seed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file


def write(directory: Path, model: Path, count: int, rank: int) -> list[Path]:
    """Write the first `count` adapters for a model, those that are not there yet, and return where they lie."""
    shape = json.loads((model / "config.json").read_text())
    targets = [directory / f"{model.name}-{rank}" / str(number) for number in range(count)]
    for number, target in enumerate(targets):
        if not (target / "adapter_config.json").exists():
            _write(target, shape, number, rank)
    return targets


def _write(target: Path, shape: dict[str, Any], seed: int, rank: int) -> None:
    hidden, size = shape["hidden_size"], shape["head_dim"]
    queries, keys = shape["num_attention_heads"] * size, shape["num_key_value_heads"] * size
    modules = {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (queries, hidden),
    }
    random = np.random.default_rng(seed)
    weights = {}
    for layer in range(shape["num_hidden_layers"]):
        for module, (inputs, outputs) in modules.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = random.standard_normal((rank, inputs), np.float32) / np.sqrt(inputs)
            weights[f"{name}.lora_B.weight"] = random.standard_normal((outputs, rank), np.float32) * 0.02
    target.mkdir(parents=True, exist_ok=True)
    save_file(weights, target / "adapter_model.safetensors", metadata={"format": "pt"})
    # Last, as it tells a complete one.
    (target / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "r": rank,
                "lora_alpha": rank,
                "target_modules": list(modules),
                "bias": "none",
            }
        )
    )
