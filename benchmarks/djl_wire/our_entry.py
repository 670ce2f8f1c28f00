"""An entry point for either Python engine: our handler, over an application that streams tokens as fast as it can."""

import asyncio
import os
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from benchmarks.djl_wire.tokens import TOKEN, asked
from handlers.djl import Handler
from handlers.djl_service import Model, Service
from handlers.status import Status


class _Tokens:
    """The application."""

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        count = asked((await receive())["body"])
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(count):
            await send({"type": "http.response.body", "body": TOKEN, "more_body": True})
            await asyncio.sleep(0)  # other streams' turn
        await send({"type": "http.response.body", "body": b""})

    def drain(self) -> None:
        """Nothing is drained here."""

    def end_all(self) -> None:
        """Nothing is ended here."""


async def _load(_properties: Mapping[str, str], _status: Status) -> Model:
    return Model(_Tokens(), lambda: False, _close, drain_seconds=0)


async def _close() -> None:
    pass


service = Service(_load, Status.of(os.environ))
handle = Handler(service).handle
