"""What the request path asks of an engine; `engine.Engine` is the real one, tests bring their own."""

from typing import Any, Protocol

from starlette.types import ASGIApp


class EnginePort(Protocol):
    """A loaded model behind an OpenAI-style ASGI application."""

    @property
    def app(self) -> ASGIApp:
        """The application that answers `/v1/...`."""

    @property
    def tokenizer(self) -> Any:
        """A `tokenizers.Tokenizer`, or None."""

    @property
    def vocabulary_size(self) -> int:
        """Token ids are below this."""

    @property
    def version(self) -> str:
        """The engine's version."""

    def dead(self) -> bool:
        """Tell whether it can never answer again."""
