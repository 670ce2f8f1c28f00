"""The engine's places for adapters' weights: who is in, who waits, who has to leave; one engine call at a time.

vLLM 0.32 reads an adapter it pushed out again in the middle of a step, and dies of a file that is gone. So no more are
loaded here than it holds, and none leaves that a request uses. Who waits is served in turn: busy ones have to yield.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from handlers.adapters.weights import AdapterCounts, Weights
from handlers.engine_port import LoraEngine
from handlers.errors import AdapterRefusedError, HandlerError, RequestError

logger = logging.getLogger("lmi")
_FIRST_NUMBER = 1 << 20
"""vLLM counts its own from 1 (option.default_mm_loras), and takes two with one number for the same."""


@dataclass(eq=False, slots=True)
class _Wish:
    key: str
    name: str
    directory: str
    granted: "asyncio.Future[Weights | HandlerError]"


class Slots:
    """At most `cpu_slots` revisions in the engine, fewer than `slots` of them pinned."""

    def __init__(self, engine: LoraEngine, slots: int, cpu_slots: int, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._slots = slots
        self._cpu_slots = cpu_slots
        self._clock = clock
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._held: dict[str, Weights] = {}
        self._wishes: list[_Wish] = []
        self._mover: asyncio.Task[None] | None = None
        self.counts = AdapterCounts()

    @property
    def loaded(self) -> int:
        """Return how many revisions the engine has."""
        return sum(weights.loaded for weights in self._held.values())

    def take(self, weights: Weights) -> bool:
        """Begin to use weights that are there; False where they are not, or others wait for their place."""
        if not weights.loaded or weights.yields:
            return False
        weights.users += 1
        return True

    def release(self, weights: Weights) -> None:
        """End one use of weights."""
        weights.users -= 1
        weights.used_at = self._clock()
        if not weights.users and (self._wishes or not weights.holders or weights.pin_told != weights.pinned):
            self._move_on()

    async def hold(self, key: str, name: str, directory: str) -> Weights:
        """Return the weights of `key`, in use by the caller, once they are loaded and it is the caller's turn.

        Raises:
            AdapterRefusedError: the engine cannot load them.
            RequestError: 503, the engine failed.
        """
        weights = self._held.get(key)
        if weights is not None and self.take(weights):
            return weights
        wish = _Wish(key, name, directory, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._move_on()
        try:
            found = await wish.granted
        except asyncio.CancelledError:
            if wish in self._wishes:
                self._wishes.remove(wish)
            elif not wish.granted.cancelled() and isinstance(given := wish.granted.result(), Weights):
                self.release(given)
            self._move_on()
            raise
        if isinstance(found, HandlerError):
            raise found
        return found

    def attach(self, weights: Weights) -> None:
        """Keep weights beyond their present use, for a registration."""
        weights.holders += 1
        weights.left.set()
        weights.left = asyncio.Event()

    def detach(self, weights: Weights) -> None:
        """Let weights go once their present uses end, unless another registration keeps them."""
        weights.holders -= 1
        weights.pinned = weights.pinned and weights.holders > 0
        self._move_on()

    def pin(self, weights: Weights, pinned: bool) -> None:
        """Keep weights from leaving for others, or no longer so."""
        if weights.pinned != pinned:
            weights.pinned = pinned
            self._move_on()

    async def drained(self, name: str) -> None:
        """Wait until nothing is left of an adapter's weights that no registration keeps."""
        for left in [each.left for each in self._held.values() if each.name == name and not each.holders]:
            await left.wait()

    def _move_on(self) -> None:
        if self._mover is None:
            self._mover = asyncio.create_task(self._move())

    async def _move(self) -> None:
        try:
            while step := self._next():
                await step
        finally:
            self._mover = None

    def _next(self) -> Coroutine[Any, Any, None] | None:
        """Hand out what can be, and return the engine call that has to be made next; None: wait for a use to end."""
        held = self._held.values()
        wanted = self._wanted()
        self._mark(len(wanted) - (self._cpu_slots - len(held)))
        self._grant(wanted[0] if wanted else None)
        for each in held:
            if not each.users and (not each.holders or (each.pin_told and not each.pinned)):
                return self._unload(each)
            if each.pinned and not each.pin_told and sum(other.pin_told for other in held) < self._slots - 1:
                return self._pin(each)
        if wanted and len(held) < self._cpu_slots:
            return self._load(wanted[0])
        leaving = [each for each in held if each.yields and not each.users]
        if not leaving:
            return None
        self.counts.evictions += 1
        return self._unload(leaving[0])

    def _wanted(self) -> list[_Wish]:
        """Return the first wish for each revision that is not there, in the order they came."""
        first: dict[str, _Wish] = {}
        for wish in self._wishes:
            if wish.key not in self._held:
                first.setdefault(wish.key, wish)
        return list(first.values())

    def _mark(self, count: int) -> None:
        """Have as many yield as places are missing: the idle one not used for longest, else who is in for longest."""
        free = [each for each in self._held.values() if not each.pinned]
        free.sort(key=lambda each: (each.users > 0, each.holders > 0, each.loaded_at if each.users else each.used_at))
        for each in self._held.values():
            each.yields = False
        for each in free[: max(count, 0)]:
            each.yields = True

    def _grant(self, first_waiting: _Wish | None) -> None:
        """Fulfil the wishes for what is there; for what has to yield, only those older than the first that waits."""
        before = True
        for wish in tuple(self._wishes):
            before = before and wish is not first_waiting
            weights = self._held.get(wish.key)
            if weights is not None and weights.loaded and (before or not weights.yields):
                self._fulfil(wish, weights)

    def _fulfil(self, wish: _Wish, found: Weights | HandlerError) -> None:
        self._wishes.remove(wish)
        if not wish.granted.cancelled():
            if isinstance(found, Weights):
                found.users += 1
            wish.granted.set_result(found)

    async def _load(self, wish: _Wish) -> None:
        started = self._clock()
        weights = Weights(wish.key, next(self._numbers), wish.name)
        self._held[wish.key] = weights
        error = await _outcome(
            self._engine.load_adapter(weights.key, weights.number, wish.directory),
        )
        found: Weights | HandlerError = weights
        if error is None:
            weights.loaded, weights.loaded_at = True, self._clock()
            self.counts.loads += 1
            logger.debug("adapter %s loaded in %.2f s", wish.name, weights.loaded_at - started)
        elif isinstance(error, AdapterRefusedError):
            found = error
        else:
            logger.error("the engine failed to load the adapter %s", wish.name, exc_info=error)
            await _outcome(self._engine.unload_adapter(weights.key, weights.number))
            found = RequestError(503, "The engine failed to load the adapter; retry shortly.")
        if error is not None:
            self._forget(weights)
        # All who wait for it are let in at once: otherwise it might have to leave before they were.
        for each in [each for each in self._wishes if each.key == wish.key]:
            self._fulfil(each, found)

    async def _unload(self, weights: Weights) -> None:
        weights.loaded = False
        error = await _outcome(self._engine.unload_adapter(weights.key, weights.number))
        if error is not None:
            logger.error("the engine failed to unload the adapter %s", weights.name, exc_info=error)
        self._forget(weights)

    def _forget(self, weights: Weights) -> None:
        del self._held[weights.key]
        weights.left.set()

    async def _pin(self, weights: Weights) -> None:
        weights.pin_told = True
        error = await _outcome(self._engine.pin_adapter(weights.number))
        if error is not None:
            logger.error("the engine failed to pin the adapter %s", weights.name, exc_info=error)


async def _outcome(call: Coroutine[Any, Any, None]) -> BaseException | None:
    """Make an engine call, which nothing interrupts, and return what it raised."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task])
    return task.exception()
