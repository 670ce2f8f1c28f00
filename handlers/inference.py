"""One inference request from its body to its reply: session, adapter, formatters, schema, vLLM.

Everything that can be refused before vLLM is asked is refused here, with the status the mistake deserves.
"""

import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from starlette.types import Scope

from autoconfig.settings import ServingSettings
from handlers import batch, salts, screening, selection
from handlers.adapters.loading import KEY_PREFIX
from handlers.adapters.registry import Adapters, Lease
from handlers.engine_port import EnginePort
from handlers.errors import RequestError
from handlers.exchange import Exchange
from handlers.formatters.custom_handle import CustomHandle
from handlers.formatters.formatting import Formatters, RequestContext, texts
from handlers.formatters.scripts import Scripts
from handlers.invocations import EngineCall, Invocations
from handlers.model_list import ModelList
from handlers.reply import Reply
from handlers.request import Request
from handlers.routes import Route
from handlers.sessions.affinity import SessionAffinity
from handlers.sessions.registry import Sessions

_FORWARDED = (b"accept", b"authorization", b"traceparent", b"tracestate", b"x-request-id", b"user-agent")
"""Headers vLLM may see. Others of its own would steer the engine (X-data-parallel-rank, X-Vllm-Priority)."""
_FORMATTED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"})
"""The routes a `model.py` has its say on, beside /invocations and its aliases: those that answer from the model."""
_ANY_MODEL = "model"
"""What LMI's documentation calls the model in paths."""
_BASE = Lease(key="", name="", shown="", scripts=None)
"""What a request for the base model holds."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a request may pass by on its way to the engine; None for what this server does without."""

    sessions: Sessions
    adapters: Adapters | None = None
    script: Scripts | None = None
    """The base model's."""
    affinity: SessionAffinity | None = None
    script_options: Mapping[str, str] = field(default_factory=dict)
    """What a custom handler reads of the configuration."""
    tokenizer: Any = None
    """What formatters are given: a copy, made while nobody used the model's."""


class Inference:
    """The way of a request through one model, its adapters and its scripts."""

    def __init__(
        self,
        engine: EnginePort,
        settings: ServingSettings,
        model_names: tuple[str, ...],
        invocations: Invocations,
        extensions: Extensions,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._base_name = model_names[0]
        self._base_names = frozenset((*model_names, selection.BASE))
        self._invocations = invocations
        self._sessions = extensions.sessions
        self._adapters = extensions.adapters
        self._affinity = extensions.affinity
        self._script = extensions.script
        self._takes_any_body = bool(self._script and (self._script.input_formatter or self._script.handle))
        self._script_options = extensions.script_options
        self._tokenizer = extensions.tokenizer

    def check_model(self, route: Route) -> None:
        """Refuse (404) a model that LMI's aliases name in the path and this server does not have."""
        if route.model is not None and route.model not in self._base_names and route.model != _ANY_MODEL:
            raise RequestError(404, f"The model `{route.model[:100]}` does not exist.", "model")

    async def read(self, exchange: Exchange, scope: Scope) -> None:
        """Answer a GET of vLLM's own; what it lists as models is told by their callers' names."""
        models = ModelList(self._adapters) if exchange.path == "/v1/models" and self._adapters else None
        await self.call(exchange, EngineCall(exchange.path, b"", models), scope, b"")

    async def upload(self, exchange: Exchange, _route: Route, scope: Scope, body: bytes) -> None:
        """Answer a request whose body is a form with a file."""
        if selection.chosen(exchange, {}, self._base_names):
            raise RequestError(400, f"{exchange.path} answers from the base model only; leave the adapter out.")
        if self._adapters and KEY_PREFIX.encode() in body:  # a form's `model` is vLLM's to read
            raise RequestError(404, "The form's model does not exist.", "model")
        self._serving(await self._sessions.begin(exchange))
        await self.call(exchange, EngineCall(exchange.path, body), scope, exchange.headers.get(b"content-type", b""))

    async def json(self, exchange: Exchange, route: Route, scope: Scope, body: bytes) -> None:
        """Answer a request whose body is JSON.

        Raises:
            RequestError: what is wrong with the request, before anything of the reply was sent.
            EndedEarlyError: the exchange had to end while it waited for its adapter or its formatter.
        """
        request = self._read(exchange, route, scope, body)
        if route.kind == "invocations" and self._sessions.opens_or_closes(request.payload):
            await self._sessions.manage(exchange, request.payload)
            return
        names = selection.chosen(exchange, request.payload, self._base_names)
        if names:
            known = self._adapters.known if self._adapters else None
            selection.check(names, request.payload, self._base_names, known)
        elif request.refusal and self._script is None:
            raise request.refusal
        elif self._adapters and not self._takes_any_body:
            selection.refuse_singular(request.payload)
        if session := await self._sessions.begin(exchange):
            self._serving(session)
            request = request._replace(session=session)
        if isinstance(names, str):
            await self.one(exchange, request, names)
        else:
            await batch.by_adapter(exchange, request, names, self.one)

    def one(self, exchange: Exchange, request: Request, name: str) -> Awaitable[None]:
        """Answer a request with one adapter, or with the base model."""
        if not name or self._adapters is None:
            return self._with(_BASE, exchange, request)
        return self._leased(self._adapters.lease(name), exchange, request)

    async def call(
        self,
        exchange: Exchange,
        call: EngineCall,
        scope: Scope,
        content_type: bytes,
        lease: Lease = _BASE,
        formatters: Formatters | None = None,
    ) -> None:
        """Drive vLLM's application for one request, until it is done or has to end early."""
        headers = [(name, exchange.headers[name]) for name in _FORWARDED if name in exchange.headers]
        headers += [(b"content-type", content_type), (b"content-length", str(len(call.body)).encode())]
        inner = {
            **scope,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "path": call.path,
            "raw_path": call.path.encode(),
            "headers": headers,
            "state": {},
        }
        renamed = (lease.key, lease.shown) if lease.key else None
        reply = Reply(exchange, call.rewrite, call.constrained, formatters, renamed)
        await self._engine.app(inner, exchange.replay(call.body), reply)

    async def _leased(
        self, waiting: contextlib.AbstractAsyncContextManager[Lease], exchange: Exchange, request: Request
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            lease = await exchange.unless_ended(stack.enter_async_context(waiting))
            exchange.adapter = lease.shown
            await self._with(lease, exchange, request)

    async def _with(self, lease: Lease, exchange: Exchange, request: Request) -> None:
        """Answer a request with what was leased for it, through the scripts that have their say on it."""
        scripts = lease.scripts.over(self._script) if lease.scripts else self._script
        if scripts is None or (request.route.kind != "invocations" and exchange.path not in _FORMATTED):
            await self._ask(exchange, request, lease)
            return
        context = _context(exchange, request, lease)
        if scripts.handle:
            handle = CustomHandle(scripts.handle, self._script_options)
            if await handle.answer(exchange, request.body, context):
                return
        formatters = Formatters(scripts, self._tokenizer, context)
        documented = request.route.kind == "invocations" and self._invocations.generates  # `inputs` is one text
        if documented and formatters.takes_texts and texts(request.payload):
            await self._formatted_each(exchange, request, lease, formatters)
            return
        payload = await exchange.unless_ended(formatters.input(request.payload, request.refusal))
        if payload is not request.payload:
            request = batch.rewritten(request, payload)
        await self._ask(exchange, request, lease, formatters)

    async def _formatted_each(self, exchange: Exchange, request: Request, lease: Lease, formatters: Formatters) -> None:
        """Answer a batch whose texts went through the input formatter one by one."""
        bodies = await exchange.unless_ended(formatters.input_each(request.payload))
        parts = batch.by_body(request, lease.shown, bodies)
        streamed = any(part.request.payload.get("stream") for part in parts)
        if len(parts) == 1 and (parts[0].listed or streamed):
            await self._ask(exchange, parts[0].request, lease, formatters)
            return
        if streamed:
            raise RequestError(400, "The input formatter asks for each input otherwise; stream them one by one.")

        def one(part: Exchange, body: Request, _name: str) -> Awaitable[None]:
            return self._ask(part, body, lease, formatters)

        await batch.together(exchange, parts, one)

    async def _ask(
        self, exchange: Exchange, request: Request, lease: Lease, formatters: Formatters | None = None
    ) -> None:
        """Answer a request by the engine; raise RequestError for one it cannot be asked."""
        if request.refusal:
            raise request.refusal
        call = self._schema(exchange, request, lease.key)
        await self.call(exchange, call, request.scope, b"application/json", lease, formatters)

    def _serving(self, session: str) -> None:
        if session and self._affinity:
            self._affinity.serving(session)

    def _read(self, exchange: Exchange, route: Route, scope: Scope, body: bytes) -> Request:
        """Parse a request's body, or keep why it cannot be."""
        try:
            text = screening.decode(body, exchange.header(b"content-type"))
            return Request(route, scope, body, screening.parse_object(text), text)
        except RequestError as refusal:
            return Request(route, scope, body, {}, b"", refusal)

    def _names_other(self, model: Any) -> bool:
        """Tell whether a body names something else than the base model, which its header or `adapters` overruled."""
        return isinstance(model, str) and model not in self._base_names

    def _schema(self, exchange: Exchange, request: Request, key: str) -> EngineCall:
        """Choose what to ask of vLLM; `key` is the engine's name of the adapter."""
        payload, text = request.payload, request.text
        screening.check_fields(payload, self._engine.vocabulary_size)
        constrained = screening.constrained(payload)
        if constrained:
            screening.check_constraints(payload, text)
        other = self._names_other(payload.get("model"))
        if other and self._adapters is None:
            raise selection.no_model(payload["model"], self._base_names)
        if key or other:
            payload = {**payload, "model": key or self._base_name}
            payload.pop("adapters", None)
            text = orjson.dumps(payload)
        text = salts.with_salt_hashed(payload, text)
        if request.route.kind == "json":
            call = EngineCall(exchange.path, text)
        else:
            call = self._invocations.call(payload, text, exchange.header(b"accept"))
        return replace(call, constrained=True) if constrained else call


def _context(exchange: Exchange, request: Request, lease: Lease) -> RequestContext:
    return RequestContext(exchange.text_headers, lease.shown, request.session, exchange.inference_id, request.body)
