"""The one ASGI application: SageMaker's contract on the outside, vLLM's own OpenAI application on the inside.

Whatever front end runs it, a request goes: route, admission, body, screening, schema, vLLM, reply, one log line.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import orjson
from starlette.types import Receive, Scope, Send

from autoconfig.settings import VERSION, ServingSettings
from handlers import routes, salts, screening
from handlers.engine_port import EnginePort
from handlers.errors import RequestError
from handlers.exchange import CallerLeftError, Exchange, early_end
from handlers.invocations import EngineCall, Invocations
from handlers.metrics import RequestMetrics
from handlers.reply import Reply
from handlers.request_log import RequestLog
from handlers.tgi_reply import TokenNames

logger = logging.getLogger("lmi")
_FORWARDED = (b"accept", b"authorization", b"traceparent", b"tracestate", b"x-request-id", b"user-agent")
"""Headers vLLM may see. Others of its own would steer the engine (X-data-parallel-rank, X-Vllm-Priority)."""


class Application:
    """One model behind SageMaker's contract. `drain` and `end_all` are for the process that runs it."""

    def __init__(
        self,
        engine: EnginePort,
        settings: ServingSettings,
        task: Literal["generate", "embed", "pooling"],
        model_names: tuple[str, ...],
        metrics: RequestMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._model_names = frozenset((*model_names, "model"))
        self._invocations = Invocations(settings, task, TokenNames(engine.tokenizer))
        self._metrics = metrics
        self._log = RequestLog(settings.log_requests)
        self._clock = clock
        self._in_flight: set[Exchange] = set()
        self._draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self._clock)
        route = routes.find(exchange.path)
        try:
            await self._answer(exchange, route, scope)
        except RequestError as error:
            await exchange.fail(error)
        except CallerLeftError:
            pass
        except Exception:  # the boundary of the process: whatever went wrong, the caller is told and others go on
            logger.exception("%s %s failed", exchange.method, exchange.path)
            await exchange.fail(RequestError(500, "The server failed on this request."))
        finally:
            exchange.close()
            self._record(exchange, route)

    def drain(self) -> None:
        """Refuse new requests from now on; those in flight go on."""
        self._draining = True

    def end_all(self) -> None:
        """End every request in flight with an error its caller can read."""
        for exchange in tuple(self._in_flight):
            exchange.end("shutdown")

    async def _answer(self, exchange: Exchange, route: routes.Route | None, scope: Scope) -> None:
        if route is None:
            raise RequestError(404, f"{exchange.path[:100]} is not a path of this server.")
        if exchange.method not in route.methods:
            error = RequestError(405, f"{exchange.method} is not allowed here.")
            allowed = ", ".join(sorted(route.methods)).encode()
            await exchange.respond(405, error.body(), headers=((b"allow", allowed),))
        elif route.kind == "ping":
            await exchange.respond(503 if self._draining or self._engine.dead() else 200, b"")
        elif route.kind == "version":
            versions = {"version": self._engine.version, "lmi": VERSION}
            await exchange.respond(200, orjson.dumps(versions))
        elif route.kind == "read":
            if exchange.path == "/metrics":
                await self._metrics.refresh()
            await self._call(exchange, EngineCall(exchange.path, b""), scope, b"")
        else:
            await self._infer(exchange, route, scope)

    async def _infer(self, exchange: Exchange, route: routes.Route, scope: Scope) -> None:
        if self._draining:
            raise early_end("shutdown", 0)
        if self._engine.dead():
            raise RequestError(503, "The engine has failed; the container is restarting.")
        limit = self._settings.max_concurrent_requests
        if len(self._in_flight) >= limit:
            raise RequestError(429, f"{limit} requests are in flight, the limit of this server; retry shortly.")
        self._in_flight.add(exchange)
        self._metrics.in_flight.set(len(self._in_flight))
        try:
            body = await self._body(exchange)
            if route.kind == "upload":
                content_type = exchange.headers.get(b"content-type", b"")
                await self._call(exchange, EngineCall(exchange.path, body), scope, content_type)
            else:
                call = self._schema(exchange, route, body)
                await self._call(exchange, call, scope, b"application/json")
        finally:
            self._in_flight.discard(exchange)
            self._metrics.in_flight.set(len(self._in_flight))

    async def _body(self, exchange: Exchange) -> bytes:
        """Read the body in the time a request has: one that never arrives must not keep its place for ever."""
        seconds = self._settings.predict_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await exchange.read_body(self._settings.max_request_bytes)
        except TimeoutError:
            raise RequestError(408, f"The request body did not arrive within {seconds:g} s.") from None

    def _schema(self, exchange: Exchange, route: routes.Route, body: bytes) -> EngineCall:
        """Choose what to ask of vLLM; everything that can be refused before it is asked is refused here."""
        if route.model is not None and route.model not in self._model_names:
            raise RequestError(404, f"The model `{route.model[:100]}` does not exist.", "model")
        if adapter := exchange.header(b"x-amzn-sagemaker-adapter-identifier"):
            raise RequestError(404, f"The adapter `{adapter[:100]}` does not exist.")
        text = screening.decode(body, exchange.header(b"content-type"))
        payload = screening.parse_object(text)
        screening.check_fields(payload, self._engine.vocabulary_size)
        constrained = screening.constrained(payload)
        if constrained:
            screening.check_constraints(payload, text)
        text = salts.with_salt_hashed(payload, text)
        if route.kind == "json":
            call = EngineCall(exchange.path, text)
        else:
            call = self._invocations.call(payload, text, exchange.header(b"accept"))
        return replace(call, constrained=True) if constrained else call

    async def _call(self, exchange: Exchange, call: EngineCall, scope: Scope, content_type: bytes) -> None:
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
        reply = Reply(exchange, call.rewrite, call.constrained)
        timeout = self._settings.predict_timeout_seconds
        deadline = asyncio.get_running_loop().call_later(timeout, exchange.end, "deadline")
        try:
            await self._engine.app(inner, exchange.replay(call.body), reply)
        finally:
            deadline.cancel()
        if exchange.ended is not None and exchange.ended != "caller left":
            await exchange.fail(early_end(exchange.ended, timeout))

    def _record(self, exchange: Exchange, route: routes.Route | None) -> None:
        if route is None or route.kind in ("ping", "read", "version"):
            return
        seconds = self._clock() - exchange.started_at
        status = 499 if exchange.ended == "caller left" else exchange.status or 500
        self._metrics.count(route.label, status, seconds, exchange.ended)
        self._log.write(exchange, status, seconds)
