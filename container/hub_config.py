"""Brings a hub model's configuration into the Hugging Face cache, so that a KV cache can be planned before the engine.

Runs in a child process (`python -m container.hub_config NAME REVISION`): huggingface_hub stays out of PID 1. The
weights are left to the engine; their index, where there is one, says how large they are.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from container.errors import PreparationError
from container.processes import run_step
from container.progress import Progress

ROOT = Path(__file__).resolve().parent.parent


def fetch_config(name: str, revision: str | None, environment: Mapping[str, str], progress: Progress) -> None:
    """Fetch what planning reads, or raise PreparationError; the engine will ask for the weights later and by itself."""
    progress.step(f"model: looking at the configuration of {name}")
    argv = [sys.executable, "-m", "container.hub_config", name, revision or "main"]
    finished = run_step(argv, environment, ROOT, progress)
    if finished.code:
        raise PreparationError(f"the configuration of {name} cannot be fetched: {finished.last_line}")


def main(name: str, revision: str) -> None:
    """Download the configuration, and the index where there is one."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for file in ("config.json", "model.safetensors.index.json"):
        try:
            hf_hub_download(name, file, revision=revision)
        except LocalEntryNotFoundError as error:
            raise SystemExit("it is not in the Hugging Face cache, and the hub cannot be reached") from error
        except EntryNotFoundError as error:
            if file == "config.json":
                raise SystemExit(f"it has no {file}") from error


if __name__ == "__main__":
    main(*sys.argv[1:])
