"""An entry point whose model is the tests' own: the whole application over an engine that says what it is told to.

Under either Python engine: `tests.djl.fake`. The options of the first call may say `fail=TEXT`, for a start that fails,
`adapters=DIRECTORY`, for a model with LoRA, and `child=yes`, for one with a process of its own; a request's `prompt`
may say what should happen to it.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from autoconfig.settings import AdapterSettings
from handlers.djl import Handler
from handlers.djl_service import Model, Service
from handlers.errors import EngineRefusedError
from handlers.status import Status
from tests.handlers.asgi import FakeEngine, application

DRAIN_SECONDS = 5.0
_arrived = defaultdict[str, asyncio.Event](asyncio.Event)


async def _answer(_scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
    asked = json.loads(body)
    prompt, count = asked.get("prompt", ""), asked.get("max_tokens", 1)
    _arrived[prompt].set()
    if prompt == "die":
        for other in ("never", "slowly"):  # sent before it, but Java's threads may overtake each other
            await _arrived[other].wait()
        os._exit(1)
    if prompt == "later":
        await asyncio.sleep(0.3)
    if asked.get("stream"):
        await send(_start(b"text/event-stream; charset=utf-8"))
        for number in range(count):
            if prompt == "break" and number:
                raise RuntimeError("broken")
            event = json.dumps({"choices": [{"index": 0, "text": f"{prompt}-{number} "}]}, ensure_ascii=False)
            await send({"type": "http.response.body", "body": f"data: {event}\n\n".encode(), "more_body": True})
            await asyncio.sleep(0.02 if prompt == "slowly" else 0)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if prompt == "never":
        await receive()  # until the request has to end
    told = {"choices": [{"index": 0, "text": prompt * count, "finish_reason": "stop"}]}
    await send(_start(b"application/json"))
    await send({"type": "http.response.body", "body": json.dumps(told, ensure_ascii=False).encode()})


def _start(content_type: bytes) -> dict[str, object]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}


async def _load(properties: Mapping[str, str], status: Status) -> Model:
    status.phase("loading the model")
    if "fail" in properties:
        raise EngineRefusedError(properties["fail"])
    if "child" in properties:
        await asyncio.create_subprocess_exec("sleep", "600")
    roots = properties.get("adapters")
    adapters = AdapterSettings(slots=2, cpu_slots=4, max_rank=16, roots=(roots,)) if roots else None
    engine = FakeEngine(_answer)

    async def close() -> None:
        pass

    app = application(engine, adapters=adapters, log_requests=False, drain_timeout_seconds=DRAIN_SECONDS)
    return Model(app, engine.dead, close, DRAIN_SECONDS)


service = Service(_load, Status.of(os.environ))
_handler = Handler(service)
handle = _handler.handle
register_adapter = _handler.register_adapter
update_adapter = _handler.update_adapter
unregister_adapter = _handler.unregister_adapter
