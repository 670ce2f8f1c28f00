"""Which paths this server answers, with which methods: SageMaker's, LMI's aliases, and vLLM's inference routes.

vLLM's application has management routes too (pausing, weights, adapters, caches); only what is listed is reached.
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ping", "version", "invocations", "json", "upload", "read", "adapters"]


@dataclass(frozen=True, slots=True)
class Route:
    """How one path is served; `label` is its name in metrics."""

    kind: Kind
    methods: frozenset[str]
    label: str
    model: str | None = None
    """The model named in the path, for LMI's aliases."""


_POST = frozenset({"POST"})
_GET = frozenset({"GET", "HEAD"})
_INFERENCE = (
    "/v1/chat/completions",
    "/v1/chat/completions/batch",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/cohere/v2/chat",
    "/v1/embeddings",
    "/v2/embed",
    "/pooling",
    "/classify",
    "/score",
    "/v1/score",
    "/rerank",
    "/v1/rerank",
    "/v2/rerank",
    "/generative_scoring",
    "/v1/systemone",
    "/tokenize",
    "/detokenize",
    "/v1/chat/completions/render",
    "/v1/completions/render",
    "/v1/messages/render",
    "/v1/responses/render",
    "/v1/chat/completions/derender",
    "/v1/completions/derender",
)
_UPLOADS = ("/v1/audio/transcriptions", "/v1/audio/translations")
_READ = ("/v1/models", "/metrics", "/load")
_ADAPTERS = re.compile(r"(?:/models/.+)?/adapters(?:/.*)?")
_LMI = re.compile(r"/(?:predictions/(?P<prediction>[^/]+)|models/(?P<model>.+)/invoke)")
_MANAGEMENT = Route("adapters", _GET | {"POST", "DELETE"}, "/adapters")
"""An adapter's name may hold anything, so what follows is read from the path as it came (`adapter_routes`)."""
_FIXED: dict[str, Route] = {
    "/ping": Route("ping", frozenset({"GET", "POST", "HEAD"}), "/ping"),
    "/health": Route("ping", _GET, "/health"),
    "/version": Route("version", _GET, "/version"),
    "/invocations": Route("invocations", _POST, "/invocations"),
    **{path: Route("json", _POST, path) for path in _INFERENCE},
    **{path: Route("upload", _POST, path) for path in _UPLOADS},
    **{path: Route("read", _GET, path) for path in _READ},
}


def find(path: str) -> Route | None:
    """Return the route of a path, or None where there is none."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    alias = _LMI.fullmatch(path)
    if alias is None:
        return _MANAGEMENT if _ADAPTERS.fullmatch(path) else None
    label = "/predictions/{model}" if alias["prediction"] else "/models/{model}/invoke"
    return Route("invocations", _POST, label, alias["prediction"] or alias["model"])
