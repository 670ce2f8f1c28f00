"""The process that DJL starts for its Python: binds, says so at once, and answers Java's calls with a service.

    python -m handlers.djl_engine --sock-type unix --sock-name PATH --entry-point handlers.djl --async-mode ...

The arguments are djl_python_engine.py's. The entry point is a module with a `service` (handlers.djl).
"""

import argparse
import asyncio
import contextlib
import importlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from handlers.djl_engine.connection import Connection
from handlers.djl_engine.guardian import stand_guard

ACCEPT_SECONDS = 120.0
"""Java connects at once; it gives a start up after two minutes."""
STARTED = "Python engine started."
"""What Java waits for in our output."""


def arguments(given: list[str]) -> argparse.Namespace:
    """Read the command line of djl_python's engine, as far as it says something to this one."""
    parser = argparse.ArgumentParser(prog="djl_engine", description=__doc__.partition("\n")[0])
    parser.add_argument("--sock-type", choices=("unix", "tcp"), required=True)
    parser.add_argument("--sock-name", help="the socket's path, or the address to bind to")
    parser.add_argument("--port", type=int)
    parser.add_argument("--entry-point", required=True)
    parser.add_argument("--async-mode", action=argparse.BooleanOptionalAction, required=True)
    options, _ = parser.parse_known_args(given)
    if not options.async_mode:
        parser.error("this engine needs option.async_mode=true")
    if options.port is None if options.sock_type == "tcp" else not options.sock_name:
        parser.error(
            f"--sock-type {options.sock_type} needs {'--port' if options.sock_type == 'tcp' else '--sock-name'}"
        )
    return options


@contextlib.contextmanager
def listener(options: argparse.Namespace) -> Iterator[socket.socket]:
    """Listen where Java will connect, with our pid beside a unix socket: Java ends whom it finds there from before."""
    if options.sock_type == "tcp":
        with socket.create_server((options.sock_name or "127.0.0.1", options.port)) as server:
            yield server
        return
    path, pid_file = Path(options.sock_name), Path(f"{options.sock_name}.pid")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        pid_file.write_text(str(os.getpid()), encoding="ascii")
        try:
            server.listen(1)
            yield server
        finally:
            path.unlink(missing_ok=True)
            pid_file.unlink(missing_ok=True)


async def serve(accepted: socket.socket, entry_point: str) -> None:
    """Answer Java until it closes the connection."""
    service = importlib.import_module(entry_point).service
    loop = asyncio.get_running_loop()
    _, connection = await loop.connect_accepted_socket(lambda: Connection(service), accepted)
    await connection.gone.wait()


def main() -> int:
    """Serve one connection; return the exit code."""
    options = arguments(sys.argv[1:])
    stand_guard()
    with listener(options) as server:
        print(STARTED, flush=True)
        server.settimeout(ACCEPT_SECONDS)
        accepted, _ = server.accept()
        accepted.setblocking(False)
        import uvloop  # only now, for Java is waiting no more

        # Not uvloop.run(), which would wait for every thread of a pool before it lets go.
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(accepted, options.entry_point))
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # finalisers of vLLM's threads can take seconds, and Java kills us meanwhile
