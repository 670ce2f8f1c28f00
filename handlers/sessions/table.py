"""Which sessions are alive, until when, and which one leaves when there are too many. The time is always told."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

Standing = Literal["alive", "expired", "closed", "crowded out", "unknown"]


@dataclass(frozen=True, slots=True)
class Session:
    """One session; times are seconds since the epoch, as they have to mean something after a restart."""

    id: str
    expires_at: float
    used_at: float


class SessionTable:
    """The sessions, the least recently used one first."""

    def __init__(self, lifetime: float, limit: int, *, sliding: bool) -> None:
        self._lifetime = lifetime
        self._limit = limit
        self._sliding = sliding
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._ended: OrderedDict[str, Standing] = OrderedDict()
        """How the latest of those that have ended did, as many as may be alive."""

    def __len__(self) -> int:
        return len(self._sessions)

    def restore(self, sessions: Iterable[Session], now: float) -> tuple[str, ...]:
        """Take over the sessions of an earlier process; return the ids of those that have ended."""
        self._sessions.update((session.id, session) for session in sorted(sessions, key=lambda s: s.used_at))
        return (*self.expire(now), *self._crowded_out())

    def open(self, name: str, now: float) -> tuple[Session, tuple[str, ...]]:
        """Add a session; return it, and the ids of those that have ended for it."""
        ended = self.expire(now) if len(self._sessions) >= self._limit else ()
        session = Session(name, now + self._lifetime, now)
        self._sessions[name] = session
        return session, (*ended, *self._crowded_out())

    def standing(self, name: str, now: float) -> Standing:
        """Tell what a session's id is worth, without counting it as a use; one that ended long ago is unknown."""
        session = self._sessions.get(name)
        if session is None:
            return self._ended.get(name, "unknown")
        return "alive" if now < session.expires_at else "expired"

    def use(self, name: str, now: float) -> Standing:
        """Count a use of a session that is alive."""
        standing = self.standing(name, now)
        if standing == "alive":
            session = self._sessions[name]
            expires_at = now + self._lifetime if self._sliding else session.expires_at
            self._sessions[name] = replace(session, used_at=now, expires_at=expires_at)
            self._sessions.move_to_end(name)
        return standing

    def close(self, name: str) -> None:
        """End a session."""
        self._end(name, "closed")

    def expire(self, now: float) -> tuple[str, ...]:
        """End the sessions whose time is over, and return their ids."""
        ended = tuple(name for name, session in self._sessions.items() if now >= session.expires_at)
        for name in ended:
            self._end(name, "expired")
        return ended

    def get(self, name: str) -> Session | None:
        """Return a session as it stands; None where there is none."""
        return self._sessions.get(name)

    def _crowded_out(self) -> tuple[str, ...]:
        surplus = max(0, len(self._sessions) - self._limit)
        ended = tuple(islice(self._sessions, surplus))
        for name in ended:
            self._end(name, "crowded out")
        return ended

    def _end(self, name: str, how: Standing) -> None:
        if self._sessions.pop(name, None):
            self._ended[name] = how
            if len(self._ended) > self._limit:
                self._ended.popitem(last=False)
