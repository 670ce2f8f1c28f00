"""A worker's plan and its loaded engine into the application: the pieces of the request path are joined here."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from autoconfig.settings import AdapterSettings, WorkerPlan
from handlers.adapters.metrics import AdapterMetrics
from handlers.adapters.registry import Adapters
from handlers.adapters.routes import AdapterRoutes
from handlers.app import Application
from handlers.cache_metrics import CacheMetrics
from handlers.engine_port import EnginePort
from handlers.formatters import scripts
from handlers.formatters.custom_handle import CustomHandle
from handlers.formatters.scripts import Scripts
from handlers.inference import Extensions, Inference
from handlers.invocations import Invocations
from handlers.metrics import RequestMetrics
from handlers.sessions.affinity import SessionAffinity
from handlers.sessions.metrics import SessionMetrics
from handlers.sessions.registry import Sessions
from handlers.status import NOTICES
from handlers.tgi_reply import TokenNames

notices = logging.getLogger(NOTICES)


@dataclass(frozen=True)
class Preparation:
    """What can be wrong on the operator's side and is known before the model is loaded."""

    sessions: Sessions
    script: Scripts | None
    """The base model's."""
    affinity: SessionAffinity | None

    @classmethod
    def of(cls, plan: WorkerPlan) -> "Preparation":
        """Open the sessions and run the base model's script.

        Raises:
            ScriptError: `model.py` cannot be used; says which line.
            SessionsError: the directory of sessions cannot be used.
        """
        sessions = Sessions(plan.sessions)
        scripts.provide_djl_python()
        script = scripts.load_base(Path(plan.script)) if plan.script else None
        affinity = SessionAffinity(plan.cache, sessions.alive) if plan.cache and plan.sessions else None
        return cls(sessions, script, affinity)


@dataclass(frozen=True)
class Assembly:
    """The application, and what runs beside it."""

    app: Application
    _beside: list["asyncio.Task[None]"] = field(default_factory=list)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something for as long as the application."""
        self._beside.append(asyncio.create_task(work))

    async def close(self) -> None:
        """End what runs beside, which may have something to write."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)


async def assemble(
    plan: WorkerPlan, prepared: Preparation, engine: EnginePort, registry: CollectorRegistry, *, tiers: bool
) -> Assembly:
    """Join the request path; `tiers` says whether the engine has the cache's tiers below its own.

    Loads the adapters that are wanted at once; one that fails is logged and told, and does not fail the start.

    Raises:
        ScriptError: the base model's `handle` failed on its first, empty call.
    """
    adapters = None
    if plan.adapters:
        adapters = Adapters(plan.adapters, engine, plan.model_names, engine.weights_directory)
        registry.register(AdapterMetrics(adapters))
        await adapters.start()
        _tell_of_failed(adapters, plan.adapters)
    if prepared.script and prepared.script.handle:
        await CustomHandle(prepared.script.handle, plan.script_options).start()
    affinity = prepared.affinity if tiers else None
    if plan.sessions:
        registry.register(SessionMetrics(prepared.sessions, affinity))
    tokenizer = engine.formatting_tokenizer if plan.adapters or prepared.script else None
    extensions = Extensions(prepared.sessions, adapters, prepared.script, affinity, plan.script_options, tokenizer)
    invocations = Invocations(plan.serving, plan.task, TokenNames(engine.tokenizer))
    inference = Inference(engine, plan.serving, plan.model_names, invocations, extensions)
    cache = CacheMetrics(registry, plan.cache, connected=tiers) if plan.cache else None
    metrics = RequestMetrics(registry, plan.serving.max_concurrent_requests, cache)
    assembly = Assembly(
        Application(engine, plan.serving, inference, AdapterRoutes(adapters, plan.model_names), metrics)
    )
    assembly.beside(prepared.sessions.keep())
    if affinity:
        assembly.beside(affinity.run())
    return assembly


def _tell_of_failed(adapters: Adapters, settings: AdapterSettings) -> None:
    """Tell the operator of the adapters that failed for what nobody could know before the engine was there."""
    told = {source.name for source in settings.sources if source.problem}
    for adapter in adapters.page()[0]:
        if adapter.state == "failed" and adapter.name not in told:
            notices.warning("the adapter %s (%s) cannot be loaded: %s", adapter.name, adapter.src, adapter.reason)
