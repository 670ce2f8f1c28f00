"""Keeps the KV cache of live sessions in LMCache's tier in RAM, whatever else passes through it.

LMCache evicts what was used least recently. A session between two turns looks idle to it, so the last prompt of each
is looked up again every few seconds, within a share of the tier: the next turn finds it there, and not on disk or gone.
"""

import asyncio
import http.client
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar

from autoconfig.settings import CacheSettings
from handlers.sessions.prefetch import CacheServer, Prefix, Tier

_SHARE = 0.5
"""Of what the tier holds before it evicts: the rest stays with everybody else, however many sessions there are."""
_TOKENS_AT_FIRST = 1_000_000
"""What is remembered until the tier's size is known."""
_FASTEST_BYTES = 0.6e9
"""What an engine stores in a second; judged, as autoconfig.lmcache.server.STORED_BYTES."""
_TURNOVER = 0.1
"""Share of the tier that may be written between two looks: half of it holds no session, and a fifth goes at once."""
_LEAST_SECONDS, _MOST_SECONDS = 1.0, 30.0
"""LMCache itself looks once a second whether to evict."""
_QUIET_SECONDS = 60.0
"""After the last request nothing is stored any more, and so nothing is evicted."""
_session: ContextVar[str] = ContextVar("session", default="")
logger = logging.getLogger("lmi")


class SessionAffinity:
    """The last prompt of each live session, the session served least recently first."""

    def __init__(
        self, tiers: CacheSettings, alive: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tiers = tiers
        self._alive = alive
        self._clock = clock
        self._prefixes: OrderedDict[str, Prefix] = OrderedDict()
        self._tokens = 0
        self._tier: Tier | None = None
        self._asked_at = -_QUIET_SECONDS
        self._stopping = False
        self._told = ""

    @staticmethod
    def serving(session: str) -> None:
        """Say whose requests the current task will send to the engine."""
        _session.set(session)

    def seen(self, prompt_token_ids: list[int] | None, cache_salt: str | None) -> None:
        """Take note of a request on its way into the engine, of a session or not; None where tokens are not all."""
        self._asked_at = self._clock()
        session = _session.get()
        if not session or prompt_token_ids is None:
            return
        self._forget(session)
        prefix = Prefix.of(prompt_token_ids, cache_salt, self._tiers.chunk_tokens)
        if prefix.tokens:
            self._prefixes[session] = prefix
            self._tokens += prefix.tokens
        self._keep_within(self._room())

    async def run(self) -> None:
        """Until cancelled, look the prompts up again in time; a server that does not answer is asked again later."""
        try:
            while True:
                await asyncio.sleep(self._seconds())
                await self.look_up()
        finally:
            self._stopping = True

    async def look_up(self) -> None:
        """Look the prompts of all live sessions up once, in a thread."""
        if prefixes := self._due():
            await asyncio.to_thread(self._look_up, prefixes)

    @property
    def kept_tokens(self) -> int:
        """How many tokens are kept warm."""
        return self._tokens

    def _due(self) -> tuple[Prefix, ...]:
        for session in [session for session in self._prefixes if not self._alive(session)]:
            self._forget(session)
        self._keep_within(self._room())
        quiet = self._clock() - self._asked_at > _QUIET_SECONDS
        return () if quiet else tuple(self._prefixes.values())

    def _look_up(self, prefixes: tuple[Prefix, ...]) -> None:
        """Look prompts up, one after the other; what was served last is looked up last and so leaves RAM last."""
        try:
            with CacheServer(self._tiers) as server:
                if self._tier is None:
                    self._tier = server.tier()
                    return  # from now on it is known how many there is room for
                for prefix in prefixes:
                    if self._stopping:
                        return
                    server.prefetch(self._tier, prefix, lambda: self._stopping)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._tier = None  # it may come back smaller
            if self._told != str(error):
                self._told = str(error)
                logger.warning("sessions' prompts are not kept warm for now: %s", error)

    def _seconds(self) -> float:
        if self._tier is None:
            return _LEAST_SECONDS
        return min(_MOST_SECONDS, max(_LEAST_SECONDS, _TURNOVER * self._tier.usable_bytes / _FASTEST_BYTES))

    def _room(self) -> int:
        """Return how many tokens are kept warm; none where it is not known what a token takes."""
        if not self._tiers.bytes_per_token:
            return 0
        return int(_SHARE * self._tier.usable_bytes / self._tiers.bytes_per_token) if self._tier else _TOKENS_AT_FIRST

    def _keep_within(self, room: int) -> None:
        while self._tokens > room:
            self._forget(next(iter(self._prefixes)))

    def _forget(self, session: str) -> None:
        if prefix := self._prefixes.pop(session, None):
            self._tokens -= prefix.tokens
