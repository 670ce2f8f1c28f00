"""LMCache's connector to Redis and Valkey on redis-py, loaded by the cache server through its `native_plugin` adapter.

LMCache's own (`resp`, 0.5.6) holds requests up for ever where an entry was evicted, or the store hangs or is not there
at the start; it never connects again, and after an error reply it may take one key's value for another's.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as NotConnectedError
from redis.exceptions import TimeoutError as NoAnswerError
from redis.retry import Retry

from container.cache_task import TELL_FD

ANSWER_SECONDS = 2.0
"""For an answer, and for a connection; then the entries count as missing, and what was to be kept is dropped."""

Done = tuple[int, bool, str, list[bool] | None]
"""A task's number, whether all of it went well, why not, and for each key whether it did."""


class RedisStore:
    """What LMCache's NativeConnectorL2Adapter expects: tasks are submitted, done by threads, and told by an eventfd."""

    def __init__(self, host: str, port: int, num_workers: int = 8, pause_seconds: float = 5.0) -> None:
        """Connect, now or later; `pause_seconds` go by before a store that gave no answer is asked again."""
        self._name = f"{host}:{port}"
        self._redis = Redis(
            host=host,
            port=port,
            username=os.environ.get("LMCACHE_RESP_USERNAME"),
            password=os.environ.get("LMCACHE_RESP_PASSWORD"),
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            # At once, for a connection that was closed because it was idle.
            retry=Retry(NoBackoff(), 1),
        )
        self._threads = ThreadPoolExecutor(num_workers, "redis")
        self._numbers = count()
        self._done: deque[Done] = deque()
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._pause_seconds = pause_seconds
        self._away_until = 0.0
        try:
            self._asked(lambda: [self._redis.ping()])
        except AuthenticationError:
            raise  # which no waiting mends: the cache stays off, and the operator is told why
        except (NotConnectedError, NoAnswerError):
            return  # it may come; until then the tiers on this machine serve alone

    def event_fd(self) -> int:
        """Return what becomes readable when a task is done."""
        return self._signal

    def submit_batch_exists(self, keys: Sequence[str]) -> int:
        """Ask which keys are there."""

        def ask() -> list[bool]:
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.exists(key)
            return [bool(found) for found in pipeline.execute()]

        return self._submit(len(keys), ask)

    def submit_batch_get(self, keys: Sequence[str], places: Sequence[memoryview]) -> int:
        """Bring values to their places; one of another size is as good as missing."""

        def bring() -> list[bool]:
            values = self._redis.mget(keys)
            return [_copied(value, place) for value, place in zip(values, places, strict=True)]

        return self._submit(len(keys), bring)

    def submit_batch_set(self, keys: Sequence[str], values: Sequence[memoryview]) -> int:
        """Keep values."""

        def keep() -> list[bool]:
            self._redis.mset({key: value.cast("B") for key, value in zip(keys, values, strict=True)})
            return [True] * len(keys)

        return self._submit(len(keys), keep)

    def submit_batch_delete(self, keys: Sequence[str]) -> int:
        """Delete what is there of these."""

        def delete() -> list[bool]:
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.delete(key)
            return [bool(gone) for gone in pipeline.execute()]

        return self._submit(len(keys), delete)

    def drain_completions(self) -> list[Done]:
        """Return every task done since the last call."""
        try:
            os.eventfd_read(self._signal)
        except BlockingIOError:
            return []
        return [self._done.popleft() for _ in range(len(self._done))]

    def close(self) -> None:
        """End the threads and the connections."""
        self._threads.shutdown(cancel_futures=True)
        self._redis.close()
        os.close(self._signal)

    def _submit(self, keys: int, work: Callable[[], list[bool]]) -> int:
        number = next(self._numbers)
        self._threads.submit(self._do, number, keys, work)
        return number

    def _do(self, number: int, keys: int, work: Callable[[], list[bool]]) -> None:
        """Do a task, and tell of it whatever happens: LMCache waits for every one without end."""
        told: Done = (number, False, "", [False] * keys)
        try:
            told = (number, True, "", self._asked(work))
        except (RedisError, OSError) as error:
            told = (number, False, str(error), [False] * keys)
        finally:
            self._done.append(told)
            os.eventfd_write(self._signal, 1)

    def _asked(self, work: Callable[[], list[bool]]) -> list[bool]:
        """Leave a store alone for a while that did not answer, so that requests are not held up one by one."""
        if time.monotonic() < self._away_until:
            raise NotConnectedError("gave no answer a moment ago")
        try:
            found = work()
        except (NotConnectedError, NoAnswerError) as error:
            if not self._away_until:
                say(f"{self._name} gives no answer ({error}); requests do without it")
            self._away_until = time.monotonic() + self._pause_seconds
            raise
        if self._away_until:
            say(f"{self._name} answers again")
            self._away_until = 0.0
        return found


def _copied(value: object, place: memoryview) -> bool:
    if not isinstance(value, bytes) or len(value) != place.nbytes:
        return False
    place.cast("B")[:] = value
    return True


def say(text: str) -> None:
    """Tell the operator one thing, past the cache server's log."""
    with suppress(OSError):
        os.write(int(os.environ.get(TELL_FD, "2")), f"remote tier: {text}\n".encode())
