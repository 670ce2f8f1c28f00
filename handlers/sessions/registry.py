"""SageMaker's stateful sessions: opened, used, closed, expired. A session's id routes its requests to this instance.

Sessions live in memory and in one file each. The request path touches the disk only where a session begins or ends,
in a thread; uses are written every few seconds.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from autoconfig.settings import SessionSettings
from handlers.errors import RequestError
from handlers.exchange import Exchange
from handlers.sessions.files import SessionFiles
from handlers.sessions.table import Session, SessionTable

_HEADER = b"x-amzn-sagemaker-session-id"
_NEW, _CLOSE = "NEW_SESSION", "CLOSE"
_LONGEST_ID = 64
# As botocore has it (sagemaker-runtime, NewSessionResponseHeader).
_ID = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9])*")
_KEEP_SECONDS = 5.0
_REFUSED = {
    "expired": "The session has expired; open a new one.",
    "closed": "The session was closed; open a new one.",
    "crowded out": "The session gave way to newer ones (option.max_sessions); open a new one.",
    "unknown": "The session does not exist here, or ended long ago; open a new one.",
}
_ANSWERED = ("messages", "prompt", "inputs", "input", "documents", "text_1")
"""Fields that ask for an answer."""
logger = logging.getLogger("lmi")


class Sessions:
    """The sessions of one worker; without settings they are off, and a session's header means nothing."""

    def __init__(self, settings: SessionSettings | None, now: Callable[[], float] = time.time) -> None:
        """Take over what an earlier process left; raise SessionsError where nothing could be left to the next."""
        self._now = now
        self._kept = _Kept(settings, now()) if settings else None

    @staticmethod
    def opens_or_closes(payload: Mapping[str, Any]) -> bool:
        """Tell whether a body asks for a session rather than for an answer."""
        return payload.get("requestType") in (_NEW, _CLOSE)

    async def manage(self, exchange: Exchange, payload: Mapping[str, Any]) -> None:
        """Open or close a session, and answer; raise RequestError where that cannot be."""
        if self._kept is None:
            reason = "Stateful sessions are not enabled on this server; set option.enable_stateful_sessions=true."
            raise RequestError(400, reason, "requestType")
        if asked := next((key for key in _ANSWERED if payload.get(key)), None):
            how = "leave that out, and send NEW_SESSION as X-Amzn-SageMaker-Session-Id for a session with an answer"
            raise RequestError(400, f"{asked} is not answered beside a requestType; {how}.", asked)
        if payload["requestType"] == _NEW:
            session = await self._kept.open(self._now())
            exchange.reply_headers += _opened(session)
            await exchange.respond(200, orjson.dumps({"result": f"Session {session.id} created"}))
            return
        name = exchange.header(_HEADER)
        if name in ("", _NEW):
            raise RequestError(400, "CLOSE needs the session's id in the header X-Amzn-SageMaker-Session-Id.")
        self._use(self._kept, name)
        await self._kept.close(name)
        exchange.reply_headers.append((b"x-amzn-sagemaker-closed-session-id", name.encode()))
        await exchange.respond(200, orjson.dumps({"result": f"Session {name} closed"}))

    async def begin(self, exchange: Exchange) -> str:
        """Return the session of a request that wants an answer, empty where it has none; RequestError if it is over.

        `NEW_SESSION` in the header opens one for it, which the reply's headers tell beside the answer.
        """
        if self._kept is None:
            return ""
        name = exchange.header(_HEADER)
        if not name:
            return ""
        if name == _NEW:
            session = await self._kept.open(self._now())
            exchange.reply_headers += _opened(session)
            return session.id
        self._use(self._kept, name)
        return name

    def __len__(self) -> int:
        """Count the sessions, with those that have expired since they were last looked at."""
        return len(self._kept.table) if self._kept else 0

    def alive(self, name: str) -> bool:
        """Tell whether a session could be used now."""
        return self._kept is not None and self._kept.table.standing(name, self._now()) == "alive"

    async def keep(self, seconds: float = _KEEP_SECONDS) -> None:
        """Until cancelled, forget what has expired and write when sessions were used, every so many seconds."""
        if self._kept is None:
            return
        try:
            while True:
                await asyncio.sleep(seconds)
                self._kept.expire(self._now())
                await self._kept.write()
        finally:
            self._kept.write_now()

    def _use(self, kept: "_Kept", name: str) -> None:
        if len(name) > _LONGEST_ID or not _ID.fullmatch(name):
            hint = "send what is before the `;`" if ";" in name else "it is what NEW_SESSION was answered with"
            raise RequestError(400, f"The session id is malformed: {hint}.")
        standing = kept.use(name, self._now())
        if standing != "alive":
            raise RequestError(400, _REFUSED[standing])


class _Kept:
    """The table of sessions and their files, the files a little behind."""

    def __init__(self, settings: SessionSettings, now: float) -> None:
        self._files = SessionFiles(Path(settings.directory))
        self.table = SessionTable(settings.expiration_seconds, settings.limit, sliding=settings.sliding)
        self._used: set[str] = set()
        self._told = ""
        found = self._files.read(settings.expiration_seconds if settings.sliding else 0)
        self._ended = list(self.table.restore(found, now))
        self.write_now()

    async def open(self, now: float) -> Session:
        session, ended = self.table.open(str(uuid.uuid4()), now)
        self._ended += ended
        try:
            await asyncio.to_thread(self._files.add, session)
        except OSError as error:
            self.table.close(session.id)
            logger.warning("a session could not be written: %s", error)
            raise RequestError(503, "The server cannot store a session now; retry shortly.") from None
        return session

    async def close(self, name: str) -> None:
        self.table.close(name)
        self._ended.append(name)
        await self.write()

    def use(self, name: str, now: float) -> str:
        standing = self.table.use(name, now)
        if standing == "alive":
            self._used.add(name)
        elif standing == "expired":
            self.expire(now)
        return standing

    def expire(self, now: float) -> None:
        self._ended += self.table.expire(now)

    async def write(self) -> None:
        self._ended += await asyncio.to_thread(self._write, *self._changes())

    def write_now(self) -> None:
        self._ended += self._write(*self._changes())

    def _changes(self) -> tuple[tuple[Session, ...], tuple[str, ...]]:
        used = tuple(session for name in self._used if (session := self.table.get(name)))
        ended = tuple(self._ended)
        self._used.clear()
        self._ended.clear()
        return used, ended

    def _write(self, used: Iterable[Session], ended: tuple[str, ...]) -> tuple[str, ...]:
        """Bring the files up to date; a disk that refuses is told once, as the sessions themselves go on.

        Returns what is left to be removed: a session that was closed must not be there again after a restart.
        """
        try:
            self._files.note_uses(used)
            self._files.remove(ended)
        except OSError as error:
            if self._told != str(error):
                self._told = str(error)
                logger.warning("sessions on disk are out of date: %s", error)
            return ended
        return ()


def _opened(session: Session) -> list[tuple[bytes, bytes]]:
    """Return SageMaker's header of a new session, and the one LMI's clients know."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(session.expires_at)))
    value = f"{session.id}; Expires={until}".encode()
    return [(b"x-amzn-sagemaker-new-session-id", value), (_HEADER, value)]
