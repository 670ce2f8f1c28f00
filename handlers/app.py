"""The one ASGI application: SageMaker's contract on the outside, vLLM's own OpenAI application on the inside.

Whatever front end runs it, a request goes: route, admission, body, inference (inference.py), one log line.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

import orjson
from starlette.types import Receive, Scope, Send

from autoconfig.settings import VERSION, ServingSettings
from handlers import routes
from handlers.adapters.routes import AdapterRoutes
from handlers.engine_port import EnginePort
from handlers.errors import RequestError
from handlers.exchange import CallerLeftError, EndedEarlyError, Exchange, early_end
from handlers.inference import Inference
from handlers.metrics import RequestMetrics
from handlers.request_log import RequestLog

logger = logging.getLogger("lmi")
_LAST_WORDS_SECONDS = 1.0
"""How long a caller who may have stopped reading gets to be told of the end; it must not keep its place for ever."""


class Application:
    """One model behind SageMaker's contract. `drain` and `end_all` are for the process that runs it."""

    def __init__(
        self,
        engine: EnginePort,
        settings: ServingSettings,
        inference: Inference,
        adapters: AdapterRoutes,
        metrics: RequestMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._inference = inference
        self._adapters = adapters
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
            told = f"{exchange.path[:100]} is not a path of this server."
            raise RequestError(404, told, paths=(exchange.path,))
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
            await self._in_time(exchange, self._inference.read(exchange, scope))
        else:
            await self._work(exchange, route, scope)

    async def _work(self, exchange: Exchange, route: routes.Route, scope: Scope) -> None:
        if self._draining:
            raise early_end("shutdown", 0)
        if self._engine.dead():
            raise RequestError(503, "The engine has failed; the container is restarting.")
        self._inference.check_model(route)
        if route.kind == "adapters":
            await self._adapters.answer(exchange)
        else:
            await self._infer(exchange, route, scope)

    async def _infer(self, exchange: Exchange, route: routes.Route, scope: Scope) -> None:
        limit = self._settings.max_concurrent_requests
        if len(self._in_flight) >= limit:
            raise RequestError(429, f"{limit} requests are in flight, the limit of this server; retry shortly.")
        self._in_flight.add(exchange)
        self._metrics.in_flight.set(len(self._in_flight))
        try:
            body = await self._body(exchange)
            answer = self._inference.upload if route.kind == "upload" else self._inference.json
            await self._in_time(exchange, answer(exchange, route, scope, body))
        finally:
            self._in_flight.discard(exchange)
            self._metrics.in_flight.set(len(self._in_flight))

    async def _in_time(self, exchange: Exchange, work: Awaitable[None]) -> None:
        """Let an exchange be worked on for as long as a request may take, and tell its caller where it was ended."""
        timeout = self._settings.predict_timeout_seconds
        deadline = asyncio.get_running_loop().call_later(timeout, exchange.end, "deadline")
        try:
            await work
        except EndedEarlyError:
            pass
        finally:
            deadline.cancel()
        if exchange.ended is not None and exchange.ended != "caller left":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await exchange.fail(early_end(exchange.ended, timeout))

    async def _body(self, exchange: Exchange) -> bytes:
        """Read the body in the time a request has: one that never arrives must not keep its place for ever."""
        seconds = self._settings.predict_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await exchange.read_body(self._settings.max_request_bytes)
        except TimeoutError:
            raise RequestError(408, f"The request body did not arrive within {seconds:g} s.") from None

    def _record(self, exchange: Exchange, route: routes.Route | None) -> None:
        if route is None or route.kind in ("ping", "read", "version"):
            return
        seconds = self._clock() - exchange.started_at
        status = 499 if exchange.ended == "caller left" else exchange.status or 500
        self._metrics.count(route.label, status, seconds, exchange.ended)
        self._log.write(exchange, status, seconds)
