"""The LoRA adapters a server knows of, by name: registered at once, loaded on the first request, replaced, removed.

A name stands for one revision of its files at a time. Who has begun with one ends with it; nobody gets another's.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from autoconfig.lora.files import Demands
from autoconfig.lora.shapes import BaseShapes
from autoconfig.lora.source import ANYWHERE, Roots
from autoconfig.settings import AdapterSettings, AdapterSource
from handlers.adapters.catalogue import Catalogue, check_text
from handlers.adapters.loading import Loader, look, reason
from handlers.adapters.registration import Adapter, Registration
from handlers.adapters.slots import Slots
from handlers.adapters.weights import AdapterCounts, Weights
from handlers.engine_port import LoraEngine
from handlers.errors import AdapterRefusedError, HandlerError, RequestError
from handlers.formatters.scripts import Scripts

logger = logging.getLogger("lmi")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use one revision of an adapter."""

    key: str
    """What the engine calls it."""
    name: str
    shown: str
    scripts: Scripts | None


class Adapters:
    """The registry. It reads nothing before `start`."""

    def __init__(
        self,
        settings: AdapterSettings,
        engine: LoraEngine,
        model_names: tuple[str, ...],
        weights_directory: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._weights_directory = weights_directory
        self._roots = Roots(settings.roots)
        self._demands = Demands(settings.max_rank)
        self._slots = Slots(engine, settings.cpu_slots, clock)
        self._loader = Loader(self._slots)
        self._catalogue = Catalogue(model_names, settings.slots)

    @property
    def counts(self) -> AdapterCounts:
        """What has happened so far."""
        return self._slots.counts

    @property
    def registered(self) -> int:
        """How many adapters a request may ask for."""
        return len(self._catalogue) - self.failed

    @property
    def failed(self) -> int:
        """How many cannot be loaded as their files are."""
        return self._catalogue.failed

    @property
    def loaded(self) -> int:
        """How many the engine has, with those that are about to leave."""
        return self._slots.loaded

    @property
    def waiting(self) -> int:
        """How many requests wait for an adapter to be loaded."""
        return self._loader.waiting

    async def start(self) -> None:
        """Register the adapters the operator named, and load those that are wanted now; bad ones stay as failed."""
        base = await asyncio.to_thread(BaseShapes.read, self._weights_directory)
        self._demands = Demands(self._settings.max_rank, base)
        for source in self._settings.sources:
            registration = await self._source(source)
            if registration.preload and not registration.failure:
                try:
                    await self._loaded_now(registration)
                except RequestError:
                    continue  # the loader has logged why

    async def register(
        self, name: str, src: str, *, alias: str = "", preload: bool | None = None, pin: bool = False
    ) -> Adapter:
        """Make an adapter available under a name, in place of what had it; the same again changes nothing.

        Raises:
            RequestError: 400 or 404 with what is wrong with it, 507 where nothing more can be pinned.
        """
        self._catalogue.check_name(name)
        _check_pin(pin, preload)
        return await self._put(self._registration(name, src, alias, bool(preload), pin))

    async def update(
        self,
        name: str,
        *,
        src: str | None = None,
        alias: str | None = None,
        preload: bool | None = None,
        pin: bool | None = None,
    ) -> Adapter:
        """Change what is given of an adapter, and look at its files again; one that failed is tried afresh.

        Raises:
            RequestError: 404 where there is none, and as `register`; it is then as it was.
        """
        known = self._catalogue.find(name)
        src = known.src if src is None else src
        alias = known.alias if alias is None else alias
        pin = known.pin if pin is None else pin
        _check_pin(pin, preload)
        preload = known.preload if preload is None else preload
        return await self._put(self._registration(name, src, alias, preload, pin))

    async def remove(self, name: str) -> Adapter:
        """Forget an adapter: nobody can ask for it from now on. Returns it as unregistered, its last request done.

        Raises:
            RequestError: 404.
        """
        registration = self._catalogue.find(name)
        self._catalogue.remove(name)
        told = replace(registration.told(), state="draining", reason="")
        self._loader.close(registration)
        self._catalogue.drains(told)
        try:
            await self._slots.drained(name)
        finally:
            self._catalogue.drained(told)
        return replace(told, state="unregistered", engine_name="")

    def known(self, name: str) -> bool:
        """Tell whether requests may ask for an adapter."""
        return self._catalogue.get(name) is not None

    def describe(self, name: str) -> Adapter:
        """Return what is known of an adapter, or of one that is being removed; raise RequestError (404)."""
        return self._catalogue.describe(name)

    def page(self, after: str = "", limit: int | None = None) -> tuple[list[Adapter], bool]:
        """Return adapters in the order of their names, from behind a name on, and whether there are more."""
        return self._catalogue.page(after, limit)

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Lease]:
        """Hold an adapter for one request, loading it first where it is not; it does not leave meanwhile.

        Never wait for one while holding another: with few slots, two such requests could wait for each other.

        Raises:
            RequestError: 404 for one there is not, 400 for one that cannot be loaded, 503 where the engine failed.
        """
        weights: Weights | None = None
        while weights is None:
            registration = self._catalogue.find(name)
            weights = await self._loader.weights(registration, self._demands)
        try:
            yield Lease(weights.key, name, registration.shown, registration.scripts)
        finally:
            self._slots.release(weights)

    async def _source(self, source: AdapterSource) -> Registration:
        """Register an adapter of the operator's, who may keep it anywhere."""
        registration = Registration(source.name, source.src, "", source.preload or source.pin, source.pin, ANYWHERE)
        try:
            self._catalogue.check_pins(registration)
        except RequestError as error:
            registration.pin = False
            logger.warning("adapter %s is not pinned: %s", source.name, error)
        try:
            self._catalogue.check_name(source.name)
            registration.files = await asyncio.to_thread(look, registration, self._demands)
        except (HandlerError, OSError) as error:
            self._loader.fail(registration, error)
        self._catalogue.put(registration)
        return registration

    def _registration(self, name: str, src: str, alias: str, preload: bool, pin: bool) -> Registration:
        known = self._catalogue.get(name)
        roots = known.roots if known is not None and known.src == src else self._roots
        return Registration(name, src, alias, preload or pin, pin, roots)

    async def _put(self, new: Registration) -> Adapter:
        """Let a name stand for a registration, loaded first where it is to be; the same as before stays what it is.

        Of two calls for one name the earlier does not undo the later, however long its load takes.
        """
        check_text(new.alias, "alias")
        self._catalogue.check_pins(new)
        before = self._catalogue.get(new.name)
        try:
            new.files = await asyncio.to_thread(look, new, self._demands)
        except (AdapterRefusedError, OSError) as error:
            raise RequestError(400, f"The adapter `{new.name[:100]}` cannot be used: {reason(error)}.") from None
        try:
            if new.preload:
                await self._loaded_now(before if before is not None and before.same(new) else new)
            now = self._catalogue.get(new.name)
            kept = now if now is not None and now.same(new) else None
            if now is not before and kept is None:
                raise _changed_meanwhile(new.name)
            self._catalogue.check_pins(new)
        except BaseException:
            self._loader.close(new)
            raise
        self._loader.close(new if kept else before)
        return self._keep(kept, new) if kept else self._catalogue.put(new).told()

    def _keep(self, kept: Registration, new: Registration) -> Adapter:
        kept.alias, kept.preload, kept.pin = new.alias, new.preload, new.pin
        if kept.weights is not None:
            self._slots.pin(kept.weights, new.pin)
        return kept.told()

    async def _loaded_now(self, registration: Registration) -> None:
        weights = await self._loader.weights(registration, self._demands)
        if weights is None:
            raise _changed_meanwhile(registration.name)
        self._slots.release(weights)


def _check_pin(pin: bool, preload: bool | None) -> None:
    if pin and preload is False:
        raise RequestError(400, "pin=true needs preload=true: what is pinned is loaded.", "preload")


def _changed_meanwhile(name: str) -> RequestError:
    return RequestError(409, f"The adapter `{name[:100]}` was changed by another call at the same time; retry.")
