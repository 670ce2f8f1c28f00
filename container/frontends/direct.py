"""The worker itself as the front end: uvicorn in its process, nothing between it and the caller."""

import sys

from container.frontends.front_end import FrontEnd, Worker


def direct(worker: Worker) -> FrontEnd:
    """Plan a start without anything in front."""
    # -P keeps the directory we happen to be started in off the worker's import path.
    argv = (sys.executable, "-P", "-m", "handlers.server", str(worker.file))
    return FrontEnd("direct", "the worker itself, no Java", argv, worker.environment)
