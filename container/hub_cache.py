"""Finds a model of the Hugging Face hub among what was downloaded earlier, to plan for it; downloads nothing."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def cached(name: str, revision: str | None, environment: Mapping[str, str]) -> Path | None:
    """Return the directory of the model's files, None where it is not in the cache the engine will use."""
    user = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME', '')}/.cache"
    home = environment.get("HF_HOME") or f"{user}/huggingface"
    model = Path(environment.get("HF_HUB_CACHE") or f"{home}/hub") / f"models--{name.replace('/', '--')}"
    commit = revision or "main"
    with suppress(OSError):
        commit = (model / "refs" / commit).read_text(encoding="utf-8").strip()
    snapshot = model / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None
