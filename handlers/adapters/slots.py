"""The engine's places for adapters' weights: who is in, who waits, who has to leave; one load at a time.

vLLM 0.32 reads an adapter it pushed out again in the middle of a step, and dies of a file that is gone. So no more are
loaded here than it holds, and none leaves that a request uses. Who waits is served in turn: busy ones have to yield.
Pins are kept here alone: vLLM's own take a slot that its scheduler does not count, and a full step ends the engine.
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
    """At most `cpu_slots` revisions in the engine."""

    def __init__(self, engine: LoraEngine, cpu_slots: int, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._cpu_slots = cpu_slots
        self._clock = clock
        self._numbers = itertools.count(_FIRST_NUMBER)
        self._held: dict[str, Weights] = {}
        self._wishes: list[_Wish] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._loading = False
        self._due = False
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
        if not weights.users and (self._wishes or not weights.holders):
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
        """See to what has to be done, once all that happens in this turn of the event loop has happened."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._make_calls)

    def _make_calls(self) -> None:
        self._due = False
        while call := self._next():
            task = asyncio.create_task(call)
            self._calls.add(task)
            task.add_done_callback(self._made)

    def _made(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._move_on()

    def _next(self) -> Coroutine[Any, Any, None] | None:
        """Hand out what can be, and return an engine call to be made now; None: wait for a use or a call to end.

        One adapter is loaded at a time, for no step of the engine to wait for several. What makes room for the next
        leaves meanwhile, and nothing is loaded before the engine has said that there is room.
        """
        held = self._held.values()
        wanted = self._wanted()
        self._mark(len(wanted) - (self._cpu_slots - len(held)) - sum(each.leaving for each in held))
        self._grant(wanted[0] if wanted else None)
        for each in [each for each in held if each.loaded]:
            if not each.users and not each.holders:
                return self._unload(each)
        if wanted and len(held) < self._cpu_slots and not self._loading:
            return self._load(wanted[0])
        idle = [each for each in held if each.yields and not each.users]
        if not idle:
            return None
        self.counts.evictions += 1
        return self._unload(idle[0])

    def _wanted(self) -> list[_Wish]:
        """Return the first wish for each revision that is not there, in the order they came."""
        first: dict[str, _Wish] = {}
        for wish in self._wishes:
            if wish.key not in self._held:
                first.setdefault(wish.key, wish)
        return list(first.values())

    def _mark(self, count: int) -> None:
        """Have as many yield as places are missing: the idle one not used for longest, else who is in for longest."""
        free = [each for each in self._held.values() if each.loaded and not each.pinned]
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

    def _load(self, wish: _Wish) -> Coroutine[Any, Any, None]:
        weights = Weights(wish.key, next(self._numbers), wish.name)
        self._held[wish.key] = weights
        self._loading = True
        return self._make_load(weights, wish.directory)

    async def _make_load(self, weights: Weights, directory: str) -> None:
        started = self._clock()
        error = await _outcome(self._engine.load_adapter(weights.key, weights.number, directory))
        found: Weights | HandlerError = weights
        if error is None:
            weights.loaded, weights.loaded_at = True, self._clock()
            self.counts.loads += 1
            logger.debug("adapter %s loaded in %.2f s", weights.name, weights.loaded_at - started)
        elif isinstance(error, AdapterRefusedError):
            found = AdapterRefusedError(str(error).replace(weights.key, weights.name))
        else:
            logger.error("the engine failed to load the adapter %s", weights.name, exc_info=error)
            await _outcome(self._engine.unload_adapter(weights.key, weights.number))
            found = RequestError(503, "The engine failed to load the adapter; retry shortly.")
        if error is not None:
            self._forget(weights)
        self._loading = False
        # All who wait for it are let in at once: otherwise it might have to leave before they were.
        for each in [each for each in self._wishes if each.key == weights.key]:
            self._fulfil(each, found)

    def _unload(self, weights: Weights) -> Coroutine[Any, Any, None]:
        weights.loaded, weights.leaving = False, True
        return self._make_unload(weights)

    async def _make_unload(self, weights: Weights) -> None:
        error = await _outcome(self._engine.unload_adapter(weights.key, weights.number))
        if error is not None:
            logger.error("the engine failed to unload the adapter %s", weights.name, exc_info=error)
        self._forget(weights)

    def _forget(self, weights: Weights) -> None:
        del self._held[weights.key]
        weights.left.set()


async def _outcome(call: Coroutine[Any, Any, None]) -> BaseException | None:
    """Make an engine call, which nothing interrupts, and return what it raised."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task])
    return asyncio.CancelledError() if task.cancelled() else task.exception()
