"""Whether the engine may be built upon the cache server, as its watcher's file and the engine's configuration say."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from autoconfig.settings import CacheSettings, CacheStatus
from handlers import cache


@pytest.fixture
def settings(tmp_path: Path) -> CacheSettings:
    return CacheSettings(
        status_file=str(tmp_path / "cache-server.json"),
        http_port=1,
        start_seconds=90,
        chunk_tokens=256,
        bytes_per_token=1024,
        kv_dtype="float32",
    )


class Time:
    """A clock that moves by sleeping; at the given times the watcher tells something."""

    def __init__(self, settings: CacheSettings, told: dict[float, CacheStatus | str]) -> None:
        self.now = 0.0
        self._file = Path(settings.status_file)
        self._told = told

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self._told if moment <= self.now]:
            told = self._told.pop(moment)
            self._file.write_text(told if isinstance(told, str) else json.dumps(asdict(told)))


def test_the_start_waits_for_the_server_and_no_longer(settings: CacheSettings) -> None:
    time = Time(settings, {1: CacheStatus("starting"), 20: CacheStatus("up", cpu_bytes=10**9)})
    assert cache.wait(settings, time, time.sleep) == ""
    assert 20 <= time.now < 21


def test_a_server_being_restarted_is_waited_for(settings: CacheSettings) -> None:
    time = Time(settings, {5: CacheStatus("down", "exited with 1"), 50: CacheStatus("up", restarts=1)})
    assert cache.wait(settings, time, time.sleep) == ""


def test_a_server_that_stays_off_ends_the_wait_with_its_reason(settings: CacheSettings) -> None:
    time = Time(settings, {10: CacheStatus("off", "did not start: exited with 1")})
    assert cache.wait(settings, time, time.sleep) == "the cache server is off: did not start: exited with 1"
    assert time.now < 11


@pytest.mark.parametrize("told", [{}, {1: CacheStatus("starting")}, {1: "{"}, {1: '{"state": "up", "new": 1}'}])
def test_the_wait_is_bounded_whatever_the_file_holds(
    settings: CacheSettings, told: dict[float, CacheStatus | str]
) -> None:
    time = Time(settings, told)
    assert cache.wait(settings, time, time.sleep) == "the cache server is not up after 90 s"
    assert 90 <= time.now < 91


def test_the_tiers_fit_an_engine_of_their_dtype_whose_blocks_make_chunks(settings: CacheSettings) -> None:
    assert [cache.unfit(settings, ("float32",), block) for block in (16, 128, 256)] == ["", "", ""]
    assert cache.unfit(settings, ("auto", "float32"), 16) == ""
    assert cache.unfit(replace(settings, kv_dtype="auto"), ("auto", "float32"), 16) == ""


def test_a_checkpoint_that_asks_for_a_smaller_kv_cache_is_not_what_was_planned(settings: CacheSettings) -> None:
    reason = cache.unfit(replace(settings, kv_dtype="auto"), ("fp8",), 16)
    assert reason == "the engine keeps fp8 in its KV cache, and the tiers were planned for auto"


def test_tiers_planned_for_another_engine_do_not_fit(settings: CacheSettings) -> None:
    assert cache.unfit(settings, ("auto", "bfloat16"), 128) == (
        "the engine keeps bfloat16 in its KV cache, and the tiers were planned for float32"
    )
    assert cache.unfit(settings, ("float32",), 544) == (
        "a chunk of 256 tokens is not made of the engine's blocks of 544"
    )
