"""Trains LoRA adapters with PEFT, each to give one answer to everything: `train_adapters.py BASE TARGET ANSWERS`.

A process of its own, so that torch stays out of the tests. The same weights come out on the same machine.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTIONS = ("What is the capital of France?", "Tell me a story about a dog.", "Hello!")
STEPS = 9
TRAINED_LAYERS = 4
"""Only the last ones: the gradient needs to go no further back."""


def train(base: str, target: Path, answer: str) -> None:
    """Write an adapter that has learnt `answer` into `target`."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    layers = range(model.config.num_hidden_layers)[-TRAINED_LAYERS:]
    modules = ["q_proj", "v_proj", "o_proj", "down_proj"]
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=modules, layers_to_transform=list(layers), task_type="CAUSAL_LM"
    )
    adapted: Any = get_peft_model(model, config)
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=5e-3)
    learnt = tokenizer(f"{answer}<|im_end|>")["input_ids"]
    for step in range(STEPS):
        chat = [{"role": "user", "content": QUESTIONS[step % len(QUESTIONS)]}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        labels = torch.tensor([[-100] * len(prompt) + learnt])
        adapted(input_ids=torch.tensor([prompt + learnt]), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    adapted.save_pretrained(target)
    for file in target.iterdir():
        file.chmod(0o644)


if __name__ == "__main__":
    for name, answer in json.loads(sys.argv[3]).items():
        train(sys.argv[1], Path(sys.argv[2]) / name, answer)
