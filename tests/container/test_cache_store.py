"""The cache server's client for Redis, with a real one: whatever becomes of it, every task is told of, and soon."""

import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

from container.cache_store import ANSWER_SECONDS, Done, RedisStore
from tests.container.processes import ROOT
from tests.redis_server import PASSWORD, RedisServer, redis_server
from tests.timing import LONG_SECONDS, assert_within, eventually, seconds_of

VALUE = bytes(range(256)) * 400


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def store(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisStore]:
    monkeypatch.setenv("LMCACHE_RESP_PASSWORD", PASSWORD)
    store = RedisStore("127.0.0.1", redis.port, num_workers=2, pause_seconds=0.2)
    yield store
    store.close()


def done(store: RedisStore, number: int) -> Done:
    """Wait for a task as LMCache does, on the eventfd."""
    poll = select.poll()
    poll.register(store.event_fd(), select.POLLIN)
    assert poll.poll(LONG_SECONDS * 1000), "the task was never told of"
    (told,) = store.drain_completions()
    assert told[0] == number
    return told


def keep(store: RedisStore, *keys: str) -> Done:
    return done(store, store.submit_batch_set(keys, [memoryview(VALUE)] * len(keys)))


def there(store: RedisStore, *keys: str) -> list[bool] | None:
    return done(store, store.submit_batch_exists(keys))[3]


def test_what_is_kept_is_found_brought_and_deleted(store: RedisStore) -> None:
    assert keep(store, "a", "b")[1:] == (True, "", [True, True])
    assert there(store, "a", "missing", "b") == [True, False, True]
    places = [bytearray(len(VALUE)) for _ in range(2)]
    brought = store.submit_batch_get(["missing", "a"], [memoryview(place) for place in places])
    assert done(store, brought)[3] == [False, True]
    assert places[1] == VALUE
    assert done(store, store.submit_batch_delete(["a", "missing"]))[3] == [True, False]
    assert there(store, "a", "b") == [False, True]
    assert store.drain_completions() == []


def test_a_value_of_another_size_is_as_good_as_missing(store: RedisStore) -> None:
    keep(store, "a")
    assert done(store, store.submit_batch_get(["a"], [memoryview(bytearray(10))]))[3] == [False]


def test_many_tasks_at_once_are_each_told_of_once(store: RedisStore) -> None:
    keep(store, "a")
    numbers = {store.submit_batch_exists(["a"]) for _ in range(200)}
    told: list[Done] = []

    def all_are_told() -> bool:
        told.extend(store.drain_completions())
        return len(told) >= 200

    eventually(all_are_told, "200 tasks are done")
    assert {task[0] for task in told} == numbers
    assert all(task[1:] == (True, "", [True]) for task in told)


def test_a_full_store_keeps_what_it_has_and_answers_on(store: RedisStore, redis: RedisServer) -> None:
    keep(store, "a")
    redis.client.config_set("maxmemory", "1")
    assert keep(store, "b")[1] is False
    assert there(store, "a", "b") == [True, False]


def test_a_store_that_is_lost_and_comes_back_is_used_again(
    store: RedisStore, redis: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(store, "a")
    redis.kill()
    assert there(store, "a") == [False]
    assert keep(store, "a")[1] is False
    redis.start()
    eventually(lambda: keep(store, "a")[1], "it is used again")
    said = capfd.readouterr().err
    assert said.count("gives no answer") == said.count("answers again") == 1
    assert PASSWORD not in said


def test_a_store_that_hangs_is_not_waited_for_twice(store: RedisStore, redis: RedisServer) -> None:
    keep(store, "a")
    redis.hang()

    def asked_a_second_time() -> float:
        assert there(store, "a") == [False]
        return seconds_of(lambda: there(store, "a"))

    assert_within(ANSWER_SECONDS / 10, asked_a_second_time)
    redis.go_on()
    eventually(lambda: there(store, "a") == [True], "it is asked again")


def test_a_store_that_comes_later_than_its_client_is_used(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMCACHE_RESP_PASSWORD", PASSWORD)
    redis.kill()
    store = RedisStore("127.0.0.1", redis.port, pause_seconds=0.2)
    assert there(store, "a") == [False]
    redis.start()
    eventually(lambda: keep(store, "a")[1], "it is used")
    store.close()


def test_a_wrong_password_is_said_at_once_and_not_shown(redis: RedisServer) -> None:
    code = f"from container.cache_store import RedisStore; RedisStore('127.0.0.1', {redis.port})"
    environment = {"LMCACHE_RESP_PASSWORD": "another-hunter2"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "invalid username-password pair" in done.stderr.splitlines()[-1]
    assert "hunter2" not in done.stderr
