"""What the request path asks of an engine; `engine.Engine` is the real one, tests bring their own."""

from pathlib import Path
from typing import Any, Protocol

from starlette.types import ASGIApp


class LoraEngine(Protocol):
    """What the adapter registry asks of an engine. `key` is what a request's `model` says to be answered by it."""

    async def load_adapter(self, key: str, number: int, directory: str) -> None:
        """Read an adapter's weights and make it answer requests for `key`.

        `number` is the engine's id, at least 1, and never used for two revisions of an adapter.

        Raises:
            AdapterRefusedError: it cannot be loaded; the engine is as it was.
        """

    async def unload_adapter(self, key: str, number: int) -> None:
        """Forget an adapter, which no request may be using; one that is not loaded is nothing to do."""


class EnginePort(LoraEngine, Protocol):
    """A loaded model behind an OpenAI-style ASGI application."""

    @property
    def app(self) -> ASGIApp:
        """The application that answers `/v1/...`."""

    @property
    def tokenizer(self) -> Any:
        """A `tokenizers.Tokenizer`, or None."""

    @property
    def formatting_tokenizer(self) -> Any:
        """The tokenizer custom formatters are given, Hugging Face's class; they use it in threads of their own."""

    @property
    def weights_directory(self) -> Path | None:
        """Where the base model's files lie: adapters are held against their shapes. None where that is not known."""

    @property
    def vocabulary_size(self) -> int:
        """Token ids are below this."""

    @property
    def version(self) -> str:
        """The engine's version."""

    def dead(self) -> bool:
        """Tell whether it can never answer again."""
