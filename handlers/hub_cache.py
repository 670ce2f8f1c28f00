"""A model's name into where its files lie on this machine: a directory, or a snapshot in Hugging Face's cache."""

from contextlib import suppress
from pathlib import Path


def directory_of(model: str, revision: str | None, cache: str | None) -> Path | None:
    """Return the directory, None where there is none; `cache` is a cache elsewhere than usual. Downloads nothing."""
    from huggingface_hub import snapshot_download  # slow, and vLLM has it at hand by then

    if Path(model).is_dir():
        return Path(model)
    with suppress(OSError, ValueError):
        return Path(snapshot_download(model, revision=revision, cache_dir=cache, local_files_only=True))
    return None
