"""Turns a GGUF file into a model directory: `python convert_model.py GGUF DIRECTORY`.

Imports nothing of ours, so that the image's build, which runs it too, repeats it only when this file changes.
"""

import sys
from pathlib import Path


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
