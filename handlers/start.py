"""The start that both front ends share: a launch plan into a loaded engine and its application, told as it goes."""

import logging
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoconfig.settings import CacheSettings, WorkerPlan
from handlers import cache
from handlers.assembly import Assembly, Preparation, assemble
from handlers.errors import EngineRefusedError, ScriptError, SessionsError, one_line
from handlers.status import NOTICES, Notices, Status

if TYPE_CHECKING:
    from handlers.engine import Engine

STOPPED, BAD_CONFIGURATION, ENGINE_FAILED = 0, 2, 4
"""What the worker process exits with."""
CHECK_SECONDS = 0.5
"""How often the engine is looked at."""
LAST_REPLIES_SECONDS = 1.0
"""What requests in flight get to be told of an engine's death before the process ends (the contract allows 5 s)."""
logger = logging.getLogger("lmi")


@dataclass(frozen=True)
class Prepared:
    """All that is known before the model is loaded."""

    plan: WorkerPlan
    preparation: Preparation
    namespace: Namespace
    """The engine's arguments, as vLLM's parser returns them."""
    tiers: CacheSettings | None


@dataclass(frozen=True)
class Loaded:
    """A model that can answer."""

    engine: "Engine"
    assembly: Assembly


def prepare(plan: WorkerPlan, status: Status) -> Prepared:
    """Check what the operator brought, import vLLM, and wait for the cache server. Blocks for seconds to a minute."""
    logging.getLogger(NOTICES).addHandler(Notices(status))
    if plan.script:
        status.phase("running model.py")
    preparation = Preparation.of(plan)
    status.phase("importing vLLM")
    from handlers import engine  # seconds of imports, after all that can be known to be wrong before

    namespace = engine.parse(plan.engine_arguments)
    tiers = plan.cache
    if tiers:
        if cache.read_status(tiers).state != "up":
            status.phase("waiting for the cache server")
        if reason := cache.wait(tiers):
            engine.without_tiers(namespace, reason)
            tiers = None
    return Prepared(plan, preparation, namespace, tiers)


async def load(prepared: Prepared, status: Status) -> Loaded:
    """Load the model and join the request path to it."""
    from prometheus_client import REGISTRY

    from handlers import engine

    plan, preparation = prepared.plan, prepared.preparation
    status.phase("loading the model")
    seen = preparation.affinity.seen if preparation.affinity else None
    running = await engine.start(prepared.namespace, prepared.tiers, seen)
    if plan.adapters and plan.adapters.sources:
        status.phase("reading the adapters")
    assembly = await assemble(plan, preparation, running, REGISTRY, tiers=running.tiers is not None)
    logging.getLogger(NOTICES).handlers.clear()  # once it serves, the console shows warnings as they are logged
    return Loaded(running, assembly)


def failure(error: Exception) -> tuple[str, int]:
    """Return in one line why a start failed, and the exit code that says whose fault it is."""
    if isinstance(error, EngineRefusedError | ScriptError | SessionsError):
        return str(error), BAD_CONFIGURATION
    # The boundary of the process: the traceback is in the log, one line goes up.
    logger.error("the engine failed to start", exc_info=error)
    return one_line(f"{type(error).__name__}: {error}"), ENGINE_FAILED
