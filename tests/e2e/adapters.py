"""Makes LoRA adapters: random ones for the tiny model, trained ones for the embedded model, and ones with a defect.

A random adapter changes the tiny model's attention so much that its greedy answers have nothing in common with others'.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.e2e.models import HEAD_SIZE, HEADS, HIDDEN, KV_HEADS, LAYERS, Weights
from tests.e2e.server import ROOT, clean_environment

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MAX_RANK = 16
TRAINED = {"ahoy": "Ahoy, matey!", "bonjour": "Bonjour, monsieur!", "howdy": "Howdy, partner!"}
"""What each trained adapter answers, whatever it is asked."""
_TRAINER = Path(__file__).with_name("train_adapters.py")
_OUTPUTS = {"q_proj": HEADS * HEAD_SIZE, "k_proj": KV_HEADS * HEAD_SIZE, "v_proj": KV_HEADS * HEAD_SIZE}


def write_adapter(target: Path, seed: int, script: str = "", rank: int = 8, **config: Any) -> Path:
    """Write a random adapter of the tiny model into `target`, with a model.py where a script is given."""
    target.mkdir(parents=True, exist_ok=True)
    (target / CONFIG).write_text(json.dumps(_config(rank) | config))
    replace_weights(target, seed, rank)
    if script:
        (target / "model.py").write_text(script)
    return target


def replace_weights(target: Path, seed: int, rank: int = 8, hidden: int = HIDDEN) -> None:
    """Put other weights into an adapter's directory, as an update in place does."""
    random = np.random.default_rng(seed)
    weights: Weights = {}
    for layer in range(LAYERS):
        for module, width in _OUTPUTS.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            a, b = random.standard_normal((rank, hidden)), random.standard_normal((width, rank))
            weights[f"{name}.lora_A.weight"] = np.asarray(a / np.sqrt(hidden), np.float32)
            weights[f"{name}.lora_B.weight"] = np.asarray(b * 2 / np.sqrt(rank), np.float32)
    unfinished = target / "unfinished"
    save_file(weights, unfinished, metadata={"format": "pt"})
    unfinished.chmod(0o644)
    unfinished.rename(target / WEIGHTS)


def write_heavy_adapter(target: Path, base: Path, rank: int) -> Path:
    """Write an adapter to every projection of the model in `base`; it changes nothing, only its size matters."""
    with safe_open(base / "model.safetensors", "numpy") as model:
        names = [name.removesuffix(".weight") for name in model.keys() if name.endswith("_proj.weight")]  # noqa: SIM118
        shapes = {name: model.get_slice(f"{name}.weight").get_shape() for name in names}
    weights: Weights = {}
    for name, (width, hidden) in shapes.items():
        weights[f"base_model.model.{name}.lora_A.weight"] = np.zeros((rank, hidden), np.float32)
        weights[f"base_model.model.{name}.lora_B.weight"] = np.zeros((width, rank), np.float32)
    target.mkdir(parents=True)
    modules = sorted({name.rpartition(".")[2] for name in names})
    (target / CONFIG).write_text(json.dumps(_config(rank) | {"target_modules": modules}))
    save_file(weights, target / WEIGHTS, metadata={"format": "pt"})
    return target


def _config(rank: int) -> dict[str, Any]:
    return {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tests/tiny-llm", "bias": "none",
        "inference_mode": True, "r": rank, "lora_alpha": rank, "lora_dropout": 0.0,
        "target_modules": list(_OUTPUTS), "modules_to_save": None, "use_dora": False, "use_rslora": False,
    }  # fmt: skip


def _truncated(target: Path) -> None:
    write_adapter(target, 1)
    whole = (target / WEIGHTS).read_bytes()
    (target / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def _without(name: str) -> Callable[[Path], None]:
    return lambda target: (write_adapter(target, 1) / name).unlink()


def _of_another_base(target: Path) -> None:
    write_adapter(target, 1)
    replace_weights(target, 1, hidden=HIDDEN * 2)


def _pickled(target: Path) -> None:
    """Leave only weights whose reading would run code."""
    _without(WEIGHTS)(target)
    (target / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch pickle-ran'\ntR.")


def _escaping(target: Path) -> None:
    """Have the weights lie where no adapter may."""
    write_adapter(target, 1)
    hidden = target.parents[2] / "out-of-bounds.safetensors"
    (target / WEIGHTS).rename(hidden)
    (target / WEIGHTS).symlink_to(hidden)


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (_without(CONFIG), CONFIG),
    "no weights": (_without(WEIGHTS), WEIGHTS),
    "pickled weights": (_pickled, "pickle"),
    "truncated weights": (_truncated, WEIGHTS),
    "weights that are a link to elsewhere": (_escaping, "link"),
    "a configuration that is no JSON": (lambda at: (write_adapter(at, 1) / CONFIG).write_text("{"), "JSON"),
    "a rank too high": (lambda at: write_adapter(at, 1, rank=2 * MAX_RANK), f"{2 * MAX_RANK}"),
    "DoRA": (lambda at: write_adapter(at, 1, use_dora=True), "DoRA"),
    "IA3": (lambda at: write_adapter(at, 1, peft_type="IA3"), "IA3"),
    "another base model's shapes": (_of_another_base, "another base model"),
    "a rank that is not its weights'": (lambda at: write_adapter(at, 1, r=4), "rank"),
    "a script that is no Python": (lambda at: write_adapter(at, 1, "x = 1\ndef broken(:\n"), "model.py:2"),
}
"""Each makes an adapter that cannot be served, and names a word the refusal has to hold."""


def trained_adapters(base: Path) -> dict[str, Path]:
    """Return the adapters trained on the model in `base`, by name; trained once and then kept below `.cache/`."""
    recipe = hashlib.sha256(_TRAINER.read_bytes() + json.dumps(TRAINED).encode() + (base / "config.json").read_bytes())
    kept = ROOT / ".cache" / "trained-adapters" / recipe.hexdigest()[:16]
    if not kept.is_dir():
        unfinished = kept.with_name(f"unfinished-{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        command = [sys.executable, str(_TRAINER), str(base), str(unfinished), json.dumps(TRAINED)]
        environment = clean_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        unfinished.rename(kept)
    return {name: kept / name for name in TRAINED}
