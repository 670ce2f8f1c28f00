"""A registered adapter into weights a request can use: checked, loaded once however many wait, tried again when it may.

What is wrong with an adapter is told to everybody who asks for it until its files change.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from autoconfig.lora import files as adapter_files
from autoconfig.lora.errors import UnusableAdapterError
from autoconfig.lora.files import AdapterFiles, Demands
from handlers.adapters.registration import Registration
from handlers.adapters.slots import Slots
from handlers.adapters.source import locate
from handlers.adapters.weights import Weights
from handlers.errors import AdapterRefusedError, HandlerError, RequestError, one_line, public
from handlers.formatters import scripts
from handlers.formatters.scripts import Scripts

logger = logging.getLogger("lmi")
KEY_PREFIX = "lmi-adapter-"
_KEY_DIGITS = 32
_ATTEMPTS = 3
_THREADS = 32
"""Adapters whose files are read and whose scripts are run at a time."""
_Prepared = tuple[AdapterFiles, str, Scripts | None]
"""An adapter's files, the engine's name for them, and what their script brings."""


class Loader:
    """Loads registrations into slots; the slots decide when."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._scripts: Counter[str] = Counter()
        """How many registrations use a script, by its module."""
        # Not the event loop's: a script that never ends would keep sessions from the disk, and the process from exit.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="adapter")
        self.waiting = 0

    async def weights(self, registration: Registration, demands: Demands) -> Weights | None:
        """Return an adapter's weights, in use by the caller; None where it was removed or replaced meanwhile.

        Raises:
            RequestError: 400 with the reason where they cannot be loaded, 503 where the engine failed.
        """
        if registration.failure and not await asyncio.to_thread(_changed, registration):
            raise registration.refusal()
        if registration.closed:
            return None
        held = registration.weights
        if held is not None and self._slots.take(held):
            return held
        if registration.loading is None:
            registration.failure = ""
            registration.loading = asyncio.create_task(self._load(registration, demands))
            registration.loading.add_done_callback(partial(self._loaded, registration))
        return await self._wait(registration)

    def fail(self, registration: Registration, error: HandlerError | OSError) -> None:
        """Note why an adapter cannot be loaded, in the log too, which is the operator's."""
        registration.failure = public(reason(error), paths=(registration.src,)).rstrip(".")
        self._slots.counts.failures += 1
        logger.error("adapter %s cannot be loaded: %s", registration.name, one_line(reason(error)))

    def close(self, registration: Registration | None) -> None:
        """Let nobody begin to use an adapter, where there is one; its weights leave when those who do are done."""
        if registration is None:
            return
        registration.closed = True
        if registration.loading is not None:
            registration.loading.cancel()
        self._answer(registration, None)
        if registration.weights is not None:
            self._slots.detach(registration.weights)
            registration.weights = None
        self._use(registration, None)

    async def _wait(self, registration: Registration) -> Weights | None:
        waiter: asyncio.Future[Weights | RequestError | None] = asyncio.get_running_loop().create_future()
        registration.waiting.append(waiter)
        self.waiting += 1
        try:
            found = await waiter
        except asyncio.CancelledError:
            if waiter in registration.waiting:
                registration.waiting.remove(waiter)
            elif not waiter.cancelled() and isinstance(given := waiter.result(), Weights):
                self._slots.release(given)
            raise
        finally:
            self.waiting -= 1
        if isinstance(found, RequestError):
            raise found
        return found

    async def _load(self, registration: Registration, demands: Demands) -> Weights:
        for _ in range(_ATTEMPTS):
            files, key, script = await self._prepared(registration, demands)
            self._use(registration, script)
            weights = await self._slots.hold(key, registration.name, files.directory)
            try:
                unchanged = await asyncio.to_thread(adapter_files.signature, files.directory) == files.signature
            except asyncio.CancelledError:
                self._slots.release(weights)
                raise
            if unchanged:
                registration.files = files
                return weights
            self._slots.release(weights)
        raise AdapterRefusedError("its files keep changing")

    async def _prepared(self, registration: Registration, demands: Demands) -> _Prepared:
        """Prepare a load in a thread, which goes on when nobody wants it any more."""
        preparing = asyncio.get_running_loop().run_in_executor(self._threads, _prepare, registration, demands)
        try:
            return await asyncio.shield(preparing)
        except asyncio.CancelledError:
            preparing.add_done_callback(self._unwanted)
            raise

    def _unwanted(self, prepared: "asyncio.Future[_Prepared]") -> None:
        if prepared.exception() is None and (script := prepared.result()[2]) and script.module not in self._scripts:
            scripts.forget(script)

    def _use(self, registration: Registration, script: Scripts | None) -> None:
        """Give a registration its script; one that none uses any more is dropped."""
        replaced, registration.scripts = registration.scripts, script
        if script is not None:
            self._scripts[script.module] += 1
        if replaced is not None:
            self._scripts[replaced.module] -= 1
            if not self._scripts[replaced.module]:
                del self._scripts[replaced.module]
                scripts.forget(replaced)

    def _loaded(self, registration: Registration, task: "asyncio.Task[Weights]") -> None:
        """Hand what the load came to, to all who wait for it."""
        registration.loading = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._keep(registration, task.result())
        elif isinstance(error, RequestError) and error.status >= 500:
            self._answer(registration, error)
        elif isinstance(error, (HandlerError, OSError)):
            self.fail(registration, error)
            self._answer(registration, registration.refusal())
        else:
            logger.error("loading the adapter %s failed", registration.name, exc_info=error)
            self._answer(registration, RequestError(500, "The server failed to load the adapter."))

    def _keep(self, registration: Registration, weights: Weights) -> None:
        if not registration.closed:
            if registration.weights is not weights:
                self._slots.attach(weights)
                if registration.weights is not None:
                    self._slots.detach(registration.weights)
                registration.weights = weights
            self._slots.pin(weights, registration.pin)
            self._answer(registration, weights)
        self._slots.release(weights)

    def _answer(self, registration: Registration, found: Weights | RequestError | None) -> None:
        waiting, registration.waiting = registration.waiting, []
        for waiter in waiting:
            if not waiter.cancelled():
                if isinstance(found, Weights):
                    found.users += 1
                waiter.set_result(found)


def key_of(name: str, digest: str) -> str:
    """Return the engine's name for one revision of an adapter: the same files have the same, and no two adapters."""
    return KEY_PREFIX + hashlib.sha256(f"{name}\0{digest}".encode()).hexdigest()[:_KEY_DIGITS]


def reason(error: HandlerError | OSError) -> str:
    """Return in words why an adapter's files cannot be used."""
    if isinstance(error, OSError):
        return f"its files cannot be read: {error.strerror or type(error).__name__}"
    return str(error)


def look(registration: Registration, demands: Demands) -> AdapterFiles:
    """Look at an adapter's files, without loading anything; for a thread.

    Raises:
        RequestError: its `src` is not a directory within the roots.
        AdapterRefusedError: what is in there cannot be served.
        OSError: a file cannot be read.
    """
    registration.seen = ()
    directory = locate(registration.src, registration.roots)
    registration.seen = adapter_files.signature(directory)
    try:
        return demands.check(directory, registration.roots)
    except UnusableAdapterError as error:
        raise AdapterRefusedError(str(error)) from None


def _prepare(registration: Registration, demands: Demands) -> _Prepared:
    """Read all of an adapter's files; that the weights were read also has them at hand for the engine."""
    files = look(registration, demands)
    script = scripts.load(Path(files.script)) if files.script else None
    return files, key_of(registration.name, adapter_files.digest(files)), script


def _changed(registration: Registration) -> bool:
    """Tell whether an adapter's files have changed since they were last looked at."""
    try:
        return adapter_files.signature(locate(registration.src, registration.roots)) != registration.seen
    except RequestError:
        return registration.seen != ()
