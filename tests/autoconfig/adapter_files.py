"""Adapters, and models to hold them against, for tests that look at files: whole in form, and all zeros.

PYTHONPATH=. python -m tests.autoconfig.adapter_files DIRECTORY RANK     adds weights of a rank to a golden case
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

MODULE = "model.layers.0.self_attn.q_proj"


def write_adapter(directory: Path, rank: int = 8, size: int = 0, **config: Any) -> str:
    """Write an adapter of one module as PEFT does, and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    told = {"peft_type": "LORA", "r": rank, "lora_alpha": 16, "target_modules": ["q_proj"], **config}
    (directory / "adapter_config.json").write_text(json.dumps(told))
    write_matrices(directory, rank, size)
    return str(directory)


def write_matrices(directory: Path, rank: int, size: int = 0) -> None:
    """Write the weights of an adapter of one module, of a rank and for a matrix of a size."""
    name = f"base_model.model.{MODULE}.lora_{{}}.weight"
    write_weights(
        directory / "adapter_model.safetensors", {name.format("A"): [rank, size], name.format("B"): [size, rank]}
    )


def write_weights(file: Path, shapes: dict[str, list[int]]) -> None:
    """Write a safetensors file of tensors of such shapes, all of zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


if __name__ == "__main__":
    write_matrices(Path(sys.argv[1]), int(sys.argv[2]))
