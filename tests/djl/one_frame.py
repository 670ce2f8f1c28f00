"""An entry point that puts a whole reply into its last frame, as DJL allows: what our handler avoids."""

import asyncio
from collections.abc import Mapping

from handlers.djl import Handler
from handlers.djl_engine.wire import Call, Frame
from handlers.djl_reply import Send
from handlers.djl_service import Model, Service
from handlers.status import Status
from tests.handlers.asgi import answers, application


class _OneFrame(Service):
    async def answer(self, function: str, call: Call, send: Send) -> None:
        assert (function, len(call.content)) == ("handle", 1)
        await asyncio.sleep(0.3)
        await send(Frame(b"all of it", last=True))


async def _load(_properties: Mapping[str, str], _status: Status) -> Model:
    async def close() -> None:
        pass

    return Model(application(answers({})), lambda: False, close, drain_seconds=0)


service = _OneFrame(_load, Status(None))
handle = Handler(service).handle
