"""The embedded model, converted from the GGUF file in its package: it answers as it should, and is converted once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from container.console import Console
from container.demo_model import embedded_model, ensure_demo_model
from container.errors import PreparationError
from container.progress import Progress
from tests.container.processes import ROOT

ASK = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="float32")
question = [{"role": "user", "content": "What is the capital of France?"}]
prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
reply = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0][prompt["input_ids"].shape[1]:]
print(tokenizer.decode(reply))
"""
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(descriptor=os.open(os.devnull, os.O_WRONLY)))


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_the_converted_model_knows_the_capital_of_france(tmp_path: Path, progress: Progress) -> None:
    target = tmp_path / "cache" / "model"
    ensure_demo_model(target, OFFLINE, progress)
    argv = [sys.executable, "-c", ASK, str(target)]
    reply = subprocess.run(argv, env=OFFLINE, capture_output=True, text=True, check=True).stdout
    assert reply.strip() == "The capital of France is Paris.<|im_end|>"
    assert {file.name for file in target.iterdir()} >= {"config.json", "model.safetensors", "chat_template.jinja"}


def test_a_model_that_was_converted_is_not_converted_again(tmp_path: Path, progress: Progress) -> None:
    ensure_demo_model(tmp_path, {}, progress)  # an empty environment converts nothing
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_came_with_the_image_is_used_where_it_is(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert embedded_model(cache, root=tmp_path) == cache / "models" / "SmolLM2-135M-Instruct"
    (tmp_path / "models" / "SmolLM2-135M-Instruct").mkdir(parents=True)
    assert embedded_model(cache, root=tmp_path) == tmp_path / "models" / "SmolLM2-135M-Instruct"


def test_a_conversion_that_fails_leaves_nothing_and_says_why(tmp_path: Path, progress: Progress) -> None:
    without_memory = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    (tmp_path / "torch.py").write_text("raise MemoryError('no room for torch')")
    with pytest.raises(PreparationError, match="could not be converted: MemoryError: no room for torch"):
        ensure_demo_model(tmp_path / "model", without_memory, progress)
    assert not list(tmp_path.glob("model*/*"))


def test_the_supervising_process_does_not_import_torch() -> None:
    argv = [sys.executable, "-c", "import container.demo_model, sys; assert 'torch' not in sys.modules"]
    subprocess.run(argv, cwd=ROOT, check=True)
