"""A body of /invocations into the vLLM route that answers it, and how the answer is told.

The first key found decides: `messages` chat, `prompt` completions, `inputs` LMI/TGI (or LMI embeddings), `input`
embeddings or Responses, `query`+`documents` rerank. vLLM's own /invocations guesses by trial and drops the model.
"""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from autoconfig.settings import ServingSettings
from handlers import tgi
from handlers.errors import RequestError
from handlers.streams import EmbeddingLists, JsonLines, Rewrite, StreamFormat, stream_format
from handlers.tgi_reply import TgiReply, TokenNames

Task = Literal["generate", "embed", "pooling"]
_BY_KEY = (
    ("messages", "/v1/chat/completions"),
    ("prompt", "/v1/completions"),
    ("documents", "/rerank"),
    ("text_1", "/score"),
)


@dataclass(frozen=True, slots=True)
class EngineCall:
    """One call of vLLM's application: the route, the body, and how the reply is rewritten (None: not at all)."""

    path: str
    body: bytes
    rewrite: Rewrite | None = None
    constrained: bool = False
    """The request brings a grammar or schema its output has to follow."""


class Invocations:
    """The choice of schema, for one model and its settings."""

    def __init__(self, settings: ServingSettings, task: Task, names: TokenNames) -> None:
        self._settings = settings
        self._task = task
        self._names = names

    @property
    def generates(self) -> bool:
        """Tell whether the model answers with text."""
        return self._task == "generate"

    def call(self, payload: dict[str, Any], body: bytes, accept: str) -> EngineCall:
        """Choose the call for a body; raise RequestError (400) for one of no known schema."""
        if "inputs" in payload:
            return self._lmi(payload, accept)
        path = next((path for key, path in _BY_KEY if key in payload), None)
        if path is None and "input" in payload:
            path = "/v1/responses" if self._task == "generate" else "/v1/embeddings"
        if path is None and payload.get("requestType") is not None:
            raise RequestError(400, "requestType must be NEW_SESSION or CLOSE.", "requestType")
        if path is None:
            raise RequestError(400, "The body needs one of: messages, prompt, inputs, input.")
        form = stream_format(accept, self._settings.output_formatter, "sse")
        return EngineCall(path, body, JsonLines() if form == "jsonlines" else None)

    def _lmi(self, payload: dict[str, Any], accept: str) -> EngineCall:
        if self._task != "generate":
            wanted = {
                "model": payload.get("model"),
                "input": payload["inputs"],
                "use_activation": self._settings.normalize_embeddings,
                "cache_salt": payload.get("cache_salt"),
            }
            return EngineCall("/v1/embeddings", orjson.dumps(wanted), EmbeddingLists())
        request = tgi.parse(payload, self._settings.max_new_tokens)
        default: StreamFormat = "sse" if self._settings.tgi_compat else "jsonlines"
        form = stream_format(accept, self._settings.output_formatter, default)
        reply = TgiReply(request, self._names, form, self._settings.tgi_compat)
        return EngineCall("/v1/completions", orjson.dumps(request.completion), reply)
