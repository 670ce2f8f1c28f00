"""Follows a worker that another child of ours has started: its reports, its pid, and its end."""

import http.client
import os
from collections.abc import Callable

from container.children import Hosting
from container.status import Event, StatusLines

PATIENCE_SECONDS = 1.0
CHECK_SECONDS = 0.1
LAST_REPLIES_SECONDS = 1.0
"""What requests in flight get to be told of an engine's death, and the last bytes to pass through the front end."""


class HostedWorker:
    """Receives what a worker writes into its FIFO, whose end is the worker's own."""

    def __init__(self, hosting: Hosting, take: Callable[[Event], None], lost: Callable[[], None]) -> None:
        pipe = hosting.pipe
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe, 0o600)
        self.pid: int | None = None
        """Whom to ask to drain: known from the first report on, and None where there is nothing to drain."""
        self._port = hosting.port
        self._loaded: Event | None = None
        self._take = take
        self._lost = lost
        self._lines = StatusLines(self._report)
        # Without a writer a FIFO is at its end. Until the worker is one, we are.
        self._writing: int | None = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self.descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    def __call__(self, data: bytes) -> None:
        """Take what a read returned; nothing is the worker's end."""
        self._lines(data)
        if not data:
            self.pid = None
            self._lost()

    def ready(self) -> Event | None:
        """Return its report that it is ready, once the front end answers too: Java opens its port after loading."""
        return self._loaded if self._loaded and answers(self._port) else None

    def _report(self, event: Event) -> None:
        if self._writing is not None and isinstance(pid := event.get("pid"), int):
            self.pid = pid
            os.close(self._writing)
            self._writing = None
        match event.get("event"):
            case "ready":
                self._loaded = event
                return
            case "drained" | "failed":
                self.pid = None
        self._take(event)


def answers(port: int) -> bool:
    """Tell whether the server on a port of this machine answers, whatever it says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/ping")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
