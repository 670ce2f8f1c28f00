"""One model under a DJL Python engine, from the call that loads it to its end: loading, answering, draining, dying.

`handlers.djl` puts it behind djl_python's own classes, our engine (djl_engine) talks to it directly.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from starlette.types import Message, Receive, Scope
from starlette.types import Send as AsgiSend

from autoconfig.settings import WorkerPlan
from handlers import djl_request, start
from handlers.djl_engine.wire import Call
from handlers.djl_reply import Reply, Send
from handlers.log_format import configure
from handlers.status import Status

logger = logging.getLogger("lmi")
_LAST_FRAMES_SECONDS = 0.1
"""For the last frames to reach Java before the supervisor hears that nothing is in flight."""
_CHANGES_SECONDS = 1.0
"""How old a change of an adapter may be for requests to wait for it: a load that takes longer delays nobody else."""
_STOPPED_SECONDS = 10.0
"""How long a drained process waits for Java to end it."""

_REQUESTS = {
    "handle": djl_request.inference,
    "register_adapter": djl_request.registration,
    "update_adapter": djl_request.update,
    "unregister_adapter": djl_request.removal,
}


class App(Protocol):
    """handlers.app.Application."""

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend, /) -> None:
        """Answer one request."""

    def drain(self) -> None:
        """Refuse new requests from now on."""

    def end_all(self) -> None:
        """End every request in flight with an error its caller can read."""


@dataclass(frozen=True)
class Model:
    """What answers, once it is loaded."""

    app: App
    dead: Callable[[], bool]
    close: Callable[[], Awaitable[None]]
    """Ends what runs beside the application, which may have something to write."""
    drain_seconds: float


Load = Callable[[Mapping[str, str], Status], Awaitable[Model]]


async def load_plan(properties: Mapping[str, str], status: Status) -> Model:
    """Load the model of the launch plan that the properties name, as handlers.server does."""
    plan = WorkerPlan.read(Path(properties["launch_plan"]))
    configure(plan.serving.log_format)
    loaded = await start.load(start.prepare(plan, status), status)
    assembly = loaded.assembly
    return Model(assembly.app, loaded.engine.dead, assembly.close, plan.serving.drain_timeout_seconds)


def end_process(code: int) -> NoReturn:
    """Leave without running finalisers: vLLM's background threads can hold them for seconds."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Service:
    """Loads once, then answers; `end` leaves the process."""

    def __init__(self, load: Load, status: Status, end: Callable[[int], object] = end_process) -> None:
        self._load = load
        self._status = status
        self._end = end
        self._model: Model | None = None
        self._running: set[asyncio.Task[None] | None] = set()
        self._changing: set[asyncio.Task[None]] = set()
        """The calls about adapters among them that are young."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def loaded(self) -> bool:
        """Tell whether the first call, which brings the options and no content, is over."""
        return self._model is not None

    async def start(self, properties: Mapping[str, str]) -> tuple[int, str]:
        """Load the model; return the status and message that Java is told, 200 when it can answer.

        Loading blocks the event loop for long stretches, which nobody else uses yet; until it is done, SIGTERM ends
        the process as it ends any other.
        """
        try:
            self._model = await self._load(properties, self._status)
        except Exception as error:  # noqa: BLE001 - the boundary of the process
            cause, code = start.failure(error)
            self._status.failed(cause, code)
            return 500, cause
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.drain)
        self._tasks.append(asyncio.create_task(self._watch(self._model)))
        self._status.ready()
        return 200, "OK"

    async def answer(self, function: str, call: Call, send: Send) -> None:
        """Answer one call in frames, the last of which says so, whatever goes wrong."""
        task = asyncio.current_task()
        self._running.add(task)
        if task is not None and function != "handle":
            self._changing.add(task)
            asyncio.get_running_loop().call_later(_CHANGES_SECONDS, self._changing.discard, task)
        elif self._changing:
            # Java has told their callers 200 already, who ask for the adapter now.
            await asyncio.wait(self._changing, timeout=_CHANGES_SECONDS)
        # Java looks at an adapter's reply as soon as it has sent the call, and takes what it finds for the outcome.
        reply = Reply(send, at_once=function != "handle")
        try:
            if self._model is not None:
                scope, body = _REQUESTS[function](call)
                await self._model.app(scope, _receive(body), reply)
        except Exception:  # an exception in a generator of DJL's would leave the caller waiting
            logger.exception("%s failed", function)
        finally:
            await reply.fail(500, "The server failed on this request.")
            self._running.discard(task)
            if task is not None:
                self._changing.discard(task)

    def drain(self) -> None:
        """Refuse new requests, let those in flight end, tell the supervisor, and wait for Java to end the process."""
        model = self._model
        if model is not None and len(self._tasks) == 1:
            model.app.drain()
            asyncio.get_running_loop().call_later(model.drain_seconds, model.app.end_all)
            self._tasks.append(asyncio.create_task(self._after_drain(model)))

    async def _after_drain(self, model: Model) -> None:
        while running := [task for task in self._running if task is not None]:
            await asyncio.wait(running)
        await model.close()
        await asyncio.sleep(_LAST_FRAMES_SECONDS)
        self._status.drained()
        await asyncio.sleep(_STOPPED_SECONDS)
        self._end(start.STOPPED)

    async def _watch(self, model: Model) -> None:
        """Give the process up when the engine is dead: only a restart of the container helps."""
        while not model.dead():  # noqa: ASYNC110 - vLLM signals no end
            await asyncio.sleep(start.CHECK_SECONDS)
        self._status.failed("the engine process died", start.ENGINE_FAILED)
        await asyncio.sleep(start.LAST_REPLIES_SECONDS / 2)
        model.app.end_all()
        await asyncio.sleep(start.LAST_REPLIES_SECONDS / 2)
        self._end(start.ENGINE_FAILED)


def _receive(body: bytes) -> Receive:
    """Return a `receive` that hands the body over; that a caller has left is not told by DJL."""
    pending = [body]

    async def receive() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await never

    return receive
