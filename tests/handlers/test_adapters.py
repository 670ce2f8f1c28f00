"""The registry around an engine of the test's own: when adapters load, wait, leave, fail and are tried again."""

import asyncio
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from autoconfig.settings import AdapterSource
from handlers.adapters.registry import Adapters, Lease
from handlers.errors import AdapterRefusedError, RequestError
from tests.handlers.lora import FakeLora, registry, write_adapter, write_base
from tests.timing import LONG_SECONDS


def run(test: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(LONG_SECONDS):
            await test

    asyncio.run(in_time())


async def until(met: Callable[[], object]) -> None:
    while not met():  # noqa: ASYNC110 - what is waited for is the registry's state, which sets no event
        await asyncio.sleep(0.001)


class Use:
    """A request that holds an adapter until it is told to end."""

    def __init__(self, adapters: Adapters, name: str) -> None:
        self.lease: Lease | None = None
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run(adapters, name))

    async def _run(self, adapters: Adapters, name: str) -> None:
        async with adapters.lease(name) as self.lease:
            await self._end.wait()

    async def begun(self) -> Lease:
        await until(lambda: self.lease or self.task.done())
        if self.task.done():
            self.task.result()
        assert self.lease is not None
        return self.lease

    async def end(self) -> None:
        self._end.set()
        await self.task


@asynccontextmanager
async def using(adapters: Adapters, name: str) -> AsyncIterator[Lease]:
    use = Use(adapters, name)
    yield await use.begun()
    await use.end()


async def refused(call: Awaitable[object]) -> RequestError:
    with pytest.raises(RequestError) as raised:
        await call
    return raised.value


async def begun(adapters: Adapters, name: str) -> Lease:
    async with adapters.lease(name) as lease:
        return lease


def test_registering_loads_nothing_and_32_first_requests_load_once(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path)
        told = await adapters.register("a", str(write_adapter(tmp_path / "a")), alias="Alias")
        assert (told.state, told.shown, told.rank, engine.calls) == ("registered", "Alias", 4, [])
        leases = await asyncio.gather(*(begun(adapters, "a") for _ in range(32)))
        assert {(lease.name, lease.shown, lease.scripts) for lease in leases} == {("a", "Alias", None)}
        assert {lease.key for lease in leases} == engine.keys
        assert (engine.count("load"), len(engine.calls), adapters.describe("a").state) == (1, 1, "loaded")

    run(test())


def test_a_caller_who_leaves_takes_the_load_from_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(by_hand=True)
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a")))
        first, second = Use(adapters, "a"), Use(adapters, "a")
        await until(lambda: engine.pending)
        assert (adapters.describe("a").state, adapters.waiting) == ("loading", 2)
        first.task.cancel()
        await asyncio.wait([first.task])
        engine.step()
        await second.begun()
        await second.end()
        assert (engine.count("load"), adapters.waiting) == (1, 0)

    run(test())


@pytest.mark.parametrize("turns", range(16))
def test_weights_do_not_stay_whenever_their_user_or_their_adapter_goes(tmp_path: Path, turns: int) -> None:
    async def test() -> None:
        for removes in (False, True):
            engine = FakeLora(by_hand=True)
            adapters = registry(engine, tmp_path)
            await adapters.register("a", str(write_adapter(tmp_path / "a")))
            use = Use(adapters, "a")
            await until(lambda engine=engine: engine.pending)  # type: ignore[misc]
            engine.by_hand = False
            engine.step()
            for _ in range(turns):
                await asyncio.sleep(0)
            removal = asyncio.create_task(adapters.remove("a")) if removes else None
            await asyncio.sleep(0)
            use.task.cancel()
            await asyncio.wait([use.task])
            await (removal or adapters.remove("a"))
            assert engine.held == {}

    run(test())


def test_a_caller_who_leaves_at_the_moment_of_the_load_holds_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a")))
        use = Use(adapters, "a")
        while adapters.describe("a").state != "loaded":  # noqa: ASYNC110 - at that very turn of the loop
            await asyncio.sleep(0)
        assert use.lease is None
        use.task.cancel()
        await asyncio.wait([use.task])
        await adapters.remove("a")
        assert engine.held == {}

    run(test())


def test_the_least_recently_used_idle_one_leaves(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path)
        for number, name in enumerate("abc"):
            await adapters.register(name, str(write_adapter(tmp_path / name, value=number)))
        keys = {name: (await begun(adapters, name)).key for name in "aba"}
        assert (await begun(adapters, "c")).key not in keys.values()
        assert [adapters.describe(name).state for name in "abc"] == ["loaded", "registered", "loaded"]
        assert (await begun(adapters, "b")).key == keys["b"]
        assert engine.most_held == 2
        assert (adapters.counts.loads, adapters.counts.evictions, adapters.loaded) == (4, 2, 2)

    run(test())


def test_one_in_use_does_not_leave_and_who_waits_is_served_before_newcomers(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path, slots=1, cpu_slots=1)
        for number, name in enumerate("ab"):
            await adapters.register(name, str(write_adapter(tmp_path / name, value=number)))
        busy = Use(adapters, "a")
        await busy.begun()
        waiting = Use(adapters, "b")
        await until(lambda: adapters.waiting == 1)
        await asyncio.sleep(0.05)
        newcomer = Use(adapters, "a")
        await until(lambda: adapters.waiting == 2)
        assert engine.count("unload") == 0
        await busy.end()
        assert (await waiting.begun()).name == "b"
        assert newcomer.lease is None
        await waiting.end()
        assert (await newcomer.begun()).name == "a"
        await newcomer.end()

    run(test())


def test_room_is_made_for_all_who_wait_at_once_and_one_loads_after_the_other(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path)
        for number, name in enumerate("abcd"):
            await adapters.register(name, str(write_adapter(tmp_path / name, value=number)))
        await asyncio.gather(begun(adapters, "a"), begun(adapters, "b"))
        engine.by_hand = True
        uses = [Use(adapters, name) for name in "cd"]
        await until(lambda: len(engine.pending) == 2)
        assert engine.count("unload") == 2
        engine.step()
        await until(lambda: engine.count("load") == 3)
        engine.step()
        engine.step()
        await until(lambda: engine.count("load") == 4)
        engine.step()
        for use in uses:
            await use.begun()
            await use.end()
        assert engine.most_held == 2

    run(test())


def test_adapters_that_are_always_busy_starve_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        engine, served = FakeLora(), dict.fromkeys("abcdef", 0)
        adapters = registry(engine, tmp_path)
        for number, name in enumerate(served):
            await adapters.register(name, str(write_adapter(tmp_path / name, value=number)))

        async def client(name: str) -> None:
            while min(served.values()) < 5:
                async with adapters.lease(name):
                    await asyncio.sleep(0.002)
                    served[name] += 1

        await asyncio.gather(*(client(name) for name in "abcdef" * 3))
        assert engine.most_held == 2

    run(test())


def test_when_another_place_is_free_first_who_had_to_yield_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        adapters = registry(FakeLora(), tmp_path)
        for number, name in enumerate("abc"):
            await adapters.register(name, str(write_adapter(tmp_path / name, value=number)))
        first, second = Use(adapters, "a"), Use(adapters, "b")
        await first.begun()
        await second.begun()
        third = Use(adapters, "c")
        await until(lambda: adapters.waiting == 1)
        late = Use(adapters, "a")
        await second.end()
        await third.begun()
        await late.begun()
        for use in (first, third, late):
            await use.end()

    run(test())


def test_a_pinned_adapter_stays_and_pins_leave_a_slot_for_the_others(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path)
        for number, name in enumerate("abc"):
            await adapters.register(name, str(write_adapter(tmp_path / name, value=number)), pin=name == "a")
        assert adapters.describe("a").state == "loaded"
        error = await refused(adapters.update("b", pin=True))
        assert (error.status, error.message) == (
            507,
            "1 adapters are pinned, of at most 1 with option.max_loras=2; raise it.",
        )
        for name in "bcbc":
            await begun(adapters, name)
        assert (adapters.describe("a").state, engine.count("load")) == ("loaded", 5)
        await adapters.update("a", pin=False)
        assert adapters.describe("a").state == "loaded"
        await begun(adapters, "a")
        assert engine.count("load") == 5
        assert (await adapters.update("b", pin=True)).pin

    run(test())


def test_pinning_what_is_said_not_to_be_loaded_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), str(write_adapter(tmp_path / "a"))
        assert (await refused(adapters.register("a", src, preload=False, pin=True))).status == 400
        single = registry(FakeLora(), tmp_path, slots=1)
        error = await refused(single.register("a", src, pin=True))
        assert (error.status, single.known("a")) == (507, False)

    run(test())


def test_registering_the_same_again_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters, src = registry(engine, tmp_path), str(write_adapter(tmp_path / "a"))
        await adapters.register("a", src)
        async with using(adapters, "a") as lease:
            assert (await adapters.register("a", src, alias="Other")).state == "loaded"
            async with using(adapters, "a") as again:
                assert (again.key, again.shown) == (lease.key, "Other")
        assert (engine.count("load"), len(engine.calls)) == (1, 1)

    run(test())


@pytest.mark.parametrize("place", ["a", "elsewhere"])
@pytest.mark.parametrize("preload", [False, True])
def test_new_files_serve_new_requests_while_old_ones_end_with_the_old(
    tmp_path: Path, place: str, preload: bool
) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a", value=1)))
        old = Use(adapters, "a")
        lease = await old.begun()
        await adapters.register("a", str(write_adapter(tmp_path / place, value=2)), preload=preload)
        async with using(adapters, "a") as new:
            assert engine.keys == {lease.key, new.key}
            await old.end()
            await until(lambda: engine.keys == {new.key})
        assert adapters.registered == 1

    run(test())


def test_the_same_content_has_the_same_key_again_and_no_two_names_share_one(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path, cpu_slots=3), write_adapter(tmp_path / "a")
        await adapters.register("a", str(src))
        await adapters.register("b", str(src))
        keys = [(await begun(adapters, name)).key for name in "ab"]
        write_adapter(src)
        await adapters.register("a", str(src))
        assert [(await begun(adapters, name)).key for name in "ab"] == keys
        assert len(set(keys)) == 2

    run(test())


def test_a_removed_adapter_is_gone_at_once_and_unloaded_after_its_last_request(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters, src = registry(engine, tmp_path), str(write_adapter(tmp_path / "a"))
        await adapters.register("a", src)
        use = Use(adapters, "a")
        await use.begun()
        removal = asyncio.create_task(adapters.remove("a"))
        await until(lambda: not adapters.known("a"))
        assert adapters.describe("a").state == "draining"
        assert (await refused(begun(adapters, "a"))).status == 404
        assert (await refused(adapters.remove("a"))).message == "The adapter `a` does not exist."
        assert (removal.done(), engine.count("unload")) == (False, 0)
        await use.end()
        assert ((await removal).state, (await removal).engine_name) == ("unregistered", "")
        assert (engine.held, engine.count("unload")) == ({}, 1)
        with pytest.raises(RequestError):
            adapters.describe("a")

    run(test())


def test_who_waits_for_an_adapter_that_is_removed_is_told_404(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(by_hand=True)
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a")))
        waiting = asyncio.create_task(begun(adapters, "a"))
        await until(lambda: engine.pending)
        removal = asyncio.create_task(adapters.remove("a"))
        assert (await refused(waiting)).status == 404
        engine.step()
        await until(lambda: engine.pending)
        engine.step()
        await removal
        assert engine.held == {}

    run(test())


def test_an_adapter_that_is_removed_while_a_caller_tries_it_again_is_not_loaded(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(refuse=lambda _: AdapterRefusedError("no"))
        adapters, src = registry(engine, tmp_path), write_adapter(tmp_path / "a")
        await adapters.register("a", str(src))
        await refused(begun(adapters, "a"))
        write_adapter(src)
        again = asyncio.create_task(begun(adapters, "a"))
        await asyncio.sleep(0)
        await adapters.remove("a")
        assert (await refused(again)).status == 404
        assert engine.count("load") == 1

    run(test())


def test_an_adapter_registered_anew_while_the_old_one_drains_is_served(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters, src = registry(engine, tmp_path, slots=1, cpu_slots=1), str(write_adapter(tmp_path / "a"))
        await adapters.register("a", src)
        use = Use(adapters, "a")
        await use.begun()
        removal = asyncio.create_task(adapters.remove("a"))
        await until(lambda: not adapters.known("a"))
        await adapters.register("a", src)
        async with using(adapters, "a"):
            await removal
        await use.end()
        assert (engine.count("load"), adapters.describe("a").state) == (1, "loaded")

    run(test())


def test_what_the_engine_refuses_is_told_to_every_caller_and_not_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(refuse=lambda directory: AdapterRefusedError(f"no place in {directory} for lm_head."))
        adapters, src = registry(engine, tmp_path), write_adapter(tmp_path / "a")
        await adapters.register("a", str(src))
        errors = await asyncio.gather(*(refused(begun(adapters, "a")) for _ in range(3)))
        assert {error.status for error in errors} == {400}
        assert b'"The adapter `a` cannot be loaded: no place in <path> for lm_head."' in errors[0].body()
        assert (adapters.describe("a").state, adapters.describe("a").reason) == (
            "failed",
            f"no place in {src} for lm_head",
        )
        assert (adapters.registered, adapters.failed) == (0, 1)
        assert (await refused(begun(adapters, "a"))).status == 400
        assert (engine.count("load"), adapters.counts.failures) == (1, 1)

    run(test())


@pytest.mark.parametrize("by", ["files", "update", "register"])
def test_an_adapter_that_failed_is_tried_again_when_something_changed(tmp_path: Path, by: str) -> None:
    async def test() -> None:
        engine = FakeLora(refuse=lambda _: AdapterRefusedError("no"))
        adapters, src = registry(engine, tmp_path), write_adapter(tmp_path / "a")
        await adapters.register("a", str(src))
        await refused(begun(adapters, "a"))
        engine.refuse = lambda _: None
        if by == "files":
            write_adapter(src)
        elif by == "update":
            assert (await adapters.update("a")).state == "registered"
        else:
            await adapters.register("a", str(src))
        await begun(adapters, "a")
        assert adapters.describe("a").state == "loaded"

    run(test())


@pytest.mark.parametrize("trouble", [OSError("out of file descriptors"), asyncio.CancelledError()])
def test_trouble_of_the_engine_is_503_and_the_next_request_tries_again(tmp_path: Path, trouble: BaseException) -> None:
    async def test() -> None:
        engine = FakeLora(refuse=lambda _: trouble)
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a")))
        assert (await refused(begun(adapters, "a"))).status == 503
        engine.refuse = lambda _: None
        assert adapters.describe("a").state == "registered"
        await begun(adapters, "a")

    run(test())


def test_no_number_is_one_of_those_vllm_gives_its_own_adapters_from_1_on(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a")))
        await begun(adapters, "a")
        assert min(engine.held) > 10_000

    run(test())


def test_what_the_engine_says_of_an_adapter_is_told_by_its_own_name(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(refuse=lambda _: AdapterRefusedError(f"Loading lora {min(engine.keys)} failed"))
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a")))
        assert (await refused(begun(adapters, "a"))).message.endswith("cannot be loaded: Loading lora a failed.")

    run(test())


def test_files_that_go_before_the_first_request_fail_it_with_the_reason(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), write_adapter(tmp_path / "a")
        await adapters.register("a", str(src))
        src.rename(tmp_path / "away")
        error = await refused(begun(adapters, "a"))
        assert (error.status, adapters.describe("a").state) == (400, "failed")
        assert "does not exist" in error.message
        (tmp_path / "away").rename(src)
        await begun(adapters, "a")

    run(test())


def test_files_that_change_while_they_are_loaded_are_loaded_again(tmp_path: Path) -> None:
    async def test() -> None:
        changes = [1]
        src = write_adapter(tmp_path / "a")

        def change(_directory: str) -> None:
            if changes:
                write_adapter(src, value=changes.pop())

        engine = FakeLora(refuse=change)
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(src))
        lease = await begun(adapters, "a")
        await until(lambda: len(engine.held) == 1)
        assert (engine.count("load"), engine.keys) == (2, {lease.key})
        changes = [2, 3, 4, 5]
        write_adapter(src, value=9)
        await adapters.update("a")
        assert "its files keep changing" in (await refused(begun(adapters, "a"))).message

    run(test())


def test_preloading_tells_the_failure_and_registers_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(refuse=lambda _: AdapterRefusedError("no"))
        adapters, src = registry(engine, tmp_path), str(write_adapter(tmp_path / "a"))
        error = await refused(adapters.register("a", src, preload=True))
        assert (error.status, error.message) == (400, "The adapter `a` cannot be loaded: no.")
        assert (adapters.known("a"), adapters.registered) == (False, 0)
        engine.refuse = lambda _: None
        assert (await adapters.register("a", src, preload=True)).state == "loaded"

    run(test())


def test_of_two_calls_for_one_name_the_later_stays(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(by_hand=True)
        adapters = registry(engine, tmp_path)
        places = [str(write_adapter(tmp_path / name, value=value)) for value, name in enumerate("abc")]
        await adapters.register("x", places[0])
        slow = asyncio.create_task(adapters.register("x", places[1], preload=True))
        await until(lambda: engine.pending)
        await adapters.register("x", places[2])
        engine.by_hand = False
        engine.step()
        assert (await refused(slow)).status == 409
        assert adapters.describe("x").src == places[2]
        await until(lambda: not engine.held)

    run(test())


def test_the_same_call_made_twice_at_once_succeeds_twice(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters, src = registry(engine, tmp_path), str(write_adapter(tmp_path / "a"))
        told = await asyncio.gather(*(adapters.register("a", src, preload=True) for _ in range(8)))
        assert {adapter.state for adapter in told} == {"loaded"}
        assert (engine.count("load"), adapters.registered) == (1, 1)

    run(test())


def test_a_replacement_that_cannot_be_used_leaves_the_old_one_serving(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora(refuse=lambda directory: AdapterRefusedError("no") if directory.endswith("b") else None)
        adapters = registry(engine, tmp_path)
        await adapters.register("a", str(write_adapter(tmp_path / "a")))
        key = (await begun(adapters, "a")).key
        await refused(adapters.register("a", str(write_adapter(tmp_path / "b", value=1)), preload=True))
        await refused(adapters.register("a", str(write_adapter(tmp_path / "c", r=99))))
        await refused(adapters.update("a", src="/absent"))
        assert (await begun(adapters, "a")).key == key

    run(test())


@pytest.mark.parametrize("name", ["", "n" * 257, "a\nb", "a\0b", "a\u2028b", "tiny"])
def test_names_that_could_not_be_used_are_refused(tmp_path: Path, name: str) -> None:
    adapters = registry(FakeLora(), tmp_path)
    error = asyncio.run(refused(adapters.register(name, str(write_adapter(tmp_path / "a")))))
    assert (error.status, error.param) == (400, "name")


@pytest.mark.parametrize("alias", ["n" * 257, "a\u2028b"])
def test_an_alias_is_held_to_what_a_name_is(tmp_path: Path, alias: str) -> None:
    """It stands in every reply, and in every chunk of a stream."""

    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), str(write_adapter(tmp_path / "a"))
        assert (await refused(adapters.register("a", src, alias=alias))).param == "alias"
        await adapters.register("a", src, alias="good")
        assert (await refused(adapters.update("a", alias=alias))).param == "alias"
        assert adapters.describe("a").shown == "good"

    run(test())


def test_an_adapter_of_another_base_model_is_refused_when_it_is_registered(tmp_path: Path) -> None:
    async def test() -> None:
        write_base(tmp_path / "base", hidden=16)
        adapters = registry(FakeLora(), tmp_path)
        await adapters.start()
        error = await refused(adapters.register("a", str(write_adapter(tmp_path / "a"))))
        assert error.message.startswith("The adapter `a` cannot be used: made for another base model: model.layers.0.")
        assert not adapters.known("a")

    run(test())


def test_the_operators_adapters_are_there_from_the_start_good_or_bad(tmp_path: Path) -> None:
    async def test() -> None:
        engine, outside = FakeLora(), tmp_path / "outside"
        sources = [
            AdapterSource("good", str(write_adapter(outside / "good"))),
            AdapterSource("loaded", str(write_adapter(outside / "loaded")), preload=True),
            AdapterSource("pinned", str(write_adapter(outside / "pinned")), pin=True),
            AdapterSource("unpinned", str(write_adapter(outside / "unpinned")), pin=True),
            AdapterSource("bad", str(outside / "bad")),
            AdapterSource("refused", str(write_adapter(outside / "refused")), preload=True),
        ]
        engine.refuse = lambda directory: AdapterRefusedError("no") if directory.endswith("refused") else None
        (tmp_path / "root").mkdir()
        adapters = registry(engine, tmp_path / "root", cpu_slots=4, sources=sources)
        await adapters.start()
        told = {adapter.name: (adapter.state, adapter.pin) for adapter in adapters.page()[0]}
        assert told == {
            "bad": ("failed", False),
            "good": ("registered", False),
            "loaded": ("loaded", False),
            "pinned": ("loaded", True),
            "refused": ("failed", False),
            "unpinned": ("loaded", False),
        }
        assert "does not exist" in adapters.describe("bad").reason
        write_adapter(outside / "bad")
        await begun(adapters, "bad")
        assert (await adapters.update("good", preload=True)).state == "loaded"
        assert (await refused(adapters.register("new", str(outside / "good")))).status == 400

    run(test())


def test_a_script_is_run_with_the_first_load_and_dropped_with_its_last_adapter(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), write_adapter(tmp_path / "a")
        (src / "model.py").write_text(f"with open({str(tmp_path / 'runs')!r}, 'a') as f: f.write('x')")
        for name in "ab":
            await adapters.register(name, str(src))
        assert not (tmp_path / "runs").exists()
        leases = [await begun(adapters, name) for name in "aab"]
        assert (tmp_path / "runs").read_text() == "x"
        assert leases[0].scripts is not None
        module = leases[0].scripts.module
        await adapters.remove("a")
        assert module in sys.modules
        await adapters.remove("b")
        assert module not in sys.modules

    run(test())


def test_a_script_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), write_adapter(tmp_path / "a")
        (src / "model.py").write_text("x = 1\nbad")
        await adapters.register("a", str(src))
        error = await refused(begun(adapters, "a"))
        assert error.message == "The adapter `a` cannot be loaded: model.py:2: NameError: name 'bad' is not defined."
        (src / "model.py").write_text("good = 1")
        await begun(adapters, "a")
        await adapters.remove("a")

    run(test())


def test_a_module_beside_the_script_is_part_of_the_adapter(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), write_adapter(tmp_path / "a")
        (src / "model.py").write_text("from .words import handle")
        for word in ("first", "second"):
            (src / "words.py").write_text(f"def handle(inputs):\n    return {word!r}\n")
            await adapters.register("a", str(src))
            lease = await begun(adapters, "a")
            assert lease.scripts is not None
            assert lease.scripts.handle is not None
            assert lease.scripts.handle.call(None) == word

    run(test())


def write_endless(src: Path) -> None:
    """Write a script that runs until there is a file `end` beside it."""
    unless_ended = "while not pathlib.Path(__file__).with_name('end').exists():"
    (src / "model.py").write_text(f"import pathlib, time\n{unless_ended}\n    time.sleep(0.01)\n")


def scripts_running() -> set[str]:
    return {name for name in sys.modules if name.startswith("lmi_script_")}


def test_a_script_still_being_run_leaves_with_the_adapter_that_is_removed(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src, before = registry(FakeLora(), tmp_path), write_adapter(tmp_path / "a"), scripts_running()
        write_endless(src)
        await adapters.register("a", str(src))
        waiting = asyncio.create_task(refused(begun(adapters, "a")))
        await until(lambda: scripts_running() > before)
        await adapters.remove("a")
        assert (await waiting).status == 404
        (src / "end").touch()
        await until(lambda: scripts_running() == before)

    run(test())


def test_a_script_that_does_not_end_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    async def test() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        adapters = registry(FakeLora(), tmp_path)
        for name in "ab":
            await adapters.register(name, str(write_adapter(tmp_path / name)))
        write_endless(tmp_path / "a")
        waiting = Use(adapters, "a")
        await until(lambda: adapters.describe("a").state == "loading")
        await begun(adapters, "b")
        assert (await asyncio.to_thread(lambda: "others' threads"), waiting.lease) == ("others' threads", None)
        (tmp_path / "a" / "end").touch()
        await waiting.begun()
        await waiting.end()

    run(test())


def test_an_update_changes_only_what_it_is_given(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), str(write_adapter(tmp_path / "a"))
        await adapters.register("a", src, alias="Alias")
        pinned = await adapters.update("a", pin=True)
        assert (pinned.src, pinned.alias, pinned.preload, pinned.pin) == (src, "Alias", True, True)
        assert (await refused(adapters.update("a", preload=False))).status == 400
        other = str(write_adapter(tmp_path / "b", value=2))
        assert (await adapters.update("a", src=other, pin=False, preload=False)).src == other
        assert (await refused(adapters.update("x"))).status == 404

    run(test())


def test_a_thousand_adapters_are_registered_in_seconds_and_little_memory(tmp_path: Path) -> None:
    async def test() -> None:
        engine = FakeLora()
        adapters, src = registry(engine, tmp_path), str(write_adapter(tmp_path / "a"))
        started = time.process_time()  # what else runs on the machine must not count
        await asyncio.gather(*(adapters.register(f"adapter-{number}", src) for number in range(1000)))
        seconds = time.process_time() - started
        tracemalloc.start()
        await asyncio.gather(*(adapters.register(f"traced-{number}", src) for number in range(100)))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (adapters.registered, engine.calls) == (1100, [])
        assert seconds < 5
        assert held / 100 < 4000
        await begun(adapters, "adapter-500")
        assert engine.count("load") == 1

    run(test())


def test_pages_come_in_the_order_of_names(tmp_path: Path) -> None:
    async def test() -> None:
        adapters, src = registry(FakeLora(), tmp_path), str(write_adapter(tmp_path / "a"))
        for name in "cab":
            await adapters.register(name, src)
        first, more = adapters.page(limit=2)
        assert ([adapter.name for adapter in first], more) == (["a", "b"], True)
        last, more = adapters.page(after="b", limit=2)
        assert ([adapter.name for adapter in last], more) == (["c"], False)

    run(test())
