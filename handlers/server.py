"""The worker process: a launch plan into a loaded model listening on the serving port, until told to stop.

    python -m handlers.server RUN_DIRECTORY/launch-plan.json

Reports to the supervisor as it goes: handlers/status.py.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import uvicorn
import uvloop

from autoconfig.settings import WorkerPlan
from handlers import start
from handlers.log_format import configure
from handlers.status import Status

_PR_SET_PDEATHSIG = 1
logger = logging.getLogger("lmi")


class _Server(uvicorn.Server):
    """uvicorn, with its signal handling left to us, telling when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(arguments: list[str], status: Status) -> int:
    """Serve until stopped; return the process's exit code."""
    plan = WorkerPlan.read(Path(arguments[0]))
    configure(plan.serving.log_format)
    end_with_parent()
    try:
        listener = bind(plan.host, plan.port)
    except OSError as error:
        return _fail(status, f"cannot listen on {plan.host}:{plan.port}: {error.strerror}", start.BAD_CONFIGURATION)
    try:
        code: int = uvloop.run(serve(start.prepare(plan, status), listener, status))
        return code
    except Exception as error:  # noqa: BLE001 - the boundary of the process
        return _fail(status, *start.failure(error))


async def serve(prepared: start.Prepared, listener: socket.socket, status: Status) -> int:
    """Load the model, answer requests, and stop on SIGTERM (drained) or when the engine dies."""
    loaded = await start.load(prepared, status)
    app, engine, settings = loaded.assembly.app, loaded.engine, prepared.plan.serving
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than SageMaker's 60 s, so that it is never us who closes first
        timeout_graceful_shutdown=int(settings.drain_timeout_seconds) + 2,
        backlog=2048,
    )
    server = _Server(config, status.ready)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if not server.should_exit:
            app.drain()
            loop.call_later(settings.drain_timeout_seconds, app.end_all)
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not serving.done() and not engine.dead():
        await asyncio.wait([serving], timeout=start.CHECK_SECONDS)
    if not serving.done():
        loop.call_later(start.LAST_REPLIES_SECONDS / 2, app.end_all)  # who waits for anything but the engine
        return await _after_death(server, serving, status)
    await loaded.assembly.close()
    await engine.shutdown()
    return start.STOPPED


async def _after_death(server: uvicorn.Server, serving: "asyncio.Task[None]", status: Status) -> int:
    """Let callers read their errors for a moment, then give the process up: only a restart helps."""
    status.failed("the engine process died", start.ENGINE_FAILED)
    await asyncio.wait([serving], timeout=start.LAST_REPLIES_SECONDS)
    server.force_exit = server.should_exit = True
    return start.ENGINE_FAILED


def bind(host: str, port: int) -> socket.socket:
    """Take the port without listening: a conflict shows before the model loads, and callers are refused until then."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when the supervisor dies, however it dies; elsewhere this does nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _fail(status: Status, cause: str, code: int) -> int:
    status.failed(cause, code)
    logger.error("%s", cause)
    return code


def _exit(code: int) -> NoReturn:
    """Leave without running finalisers: vLLM's background threads can hold them for seconds."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _exit(main(sys.argv[1:], Status.of(os.environ)))
