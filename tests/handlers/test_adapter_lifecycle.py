"""Whatever callers, operators and the engine do in whatever order: the promises of the registry hold at every step."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from autoconfig.lora import files as adapter_files
from autoconfig.lora.files import AdapterFiles
from handlers.adapters.loading import key_of
from handlers.adapters.registry import Lease
from handlers.errors import AdapterRefusedError, RequestError
from tests.handlers.lora import FakeLora, registry, write_adapter

NAMES = "abcde"
SOME_NAME = st.sampled_from(NAMES)
PLACES = st.sampled_from([f"place-{number}" for number in range(len(NAMES))])
SLOTS, CPU_SLOTS = 2, 3


class Inline(ThreadPoolExecutor):
    """Runs what is submitted at once, so that every run of the same rules is the same."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        try:
            done.set_result(call(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is handed to whoever asked, as an executor does
            done.set_exception(error)
        return done


def expect(error: RequestError, *statuses: int) -> None:
    assert error.status in statuses, error


class Request:
    """One request: since which of its name's registrations it is there, and what it holds."""

    def __init__(self, name: str, since: int) -> None:
        self.name = name
        self.since = since
        self.end = asyncio.Event()
        self.lease: Lease | None = None
        self.task: asyncio.Task[None] | None = None


class Lifecycle(RuleBasedStateMachine):
    requests: "Bundle[Request]" = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(Inline(1))
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.versions = 0
        self.written: dict[str, tuple[str, int]] = {}
        """By digest: the place that had these files, and their version; versions grow."""
        self.registered: dict[str, list[tuple[str, int]]] = {name: [] for name in NAMES}
        """The places a name stood for, one after the other, and at least which version of the files there."""
        self.active: list[Request] = []
        self.management: list[asyncio.Task[Any]] = []
        self.refusing = False

    @initialize()
    def begin(self) -> None:
        self.engine = FakeLora(refuse=lambda _: AdapterRefusedError("no") if self.refusing else None)
        self.adapters = registry(self.engine, self.root, SLOTS, CPU_SLOTS)
        self.adapters._loader._threads = Inline(1)
        for number, name in enumerate(NAMES):
            self.rewrite(f"place-{number}")
            self.register(name, f"place-{number}", preload=False, pin=False)

    def settle(self) -> None:
        """Let everything happen that can without the engine."""

        async def turns() -> None:
            for _ in range(30):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    def manage(self, call: Coroutine[Any, Any, Any]) -> None:
        self.management.append(self.loop.create_task(call))
        self.settle()

    @rule(place=PLACES)
    def rewrite(self, place: str) -> None:
        self.versions += 1
        directory = write_adapter(self.root / place, value=self.versions)
        self.written[adapter_files.digest(AdapterFiles(str(directory), 4, ()))] = (place, self.versions)

    @rule(name=SOME_NAME, place=PLACES, preload=st.booleans(), pin=st.booleans())
    def register(self, name: str, place: str, preload: bool, pin: bool) -> None:
        version = max(version for found, version in self.written.values() if found == place)

        async def call() -> None:
            try:
                await self.adapters.register(name, str(self.root / place), preload=preload or pin, pin=pin)
            except RequestError as error:
                expect(error, 400, 409, 507)
            else:
                self.registered[name].append((place, version))

        self.manage(call())

    @rule(name=SOME_NAME, pin=st.booleans())
    def update(self, name: str, pin: bool) -> None:
        async def call() -> None:
            try:
                await self.adapters.update(name, pin=pin)
            except RequestError as error:
                expect(error, 400, 404, 409, 507)

        self.manage(call())

    @rule(name=SOME_NAME)
    def remove(self, name: str) -> None:
        async def call() -> None:
            known = self.adapters.known(name)
            try:
                await self.adapters.remove(name)
            except RequestError as error:
                expect(error, 404)
                assert not known

        self.manage(call())

    @rule(target=requests, names=st.lists(SOME_NAME, min_size=1, max_size=6))
    def ask_for(self, names: list[str]) -> MultipleResults[Request]:
        return multiple(*[self.ask(name) for name in names])

    def ask(self, name: str) -> Request:
        request = Request(name, max(len(self.registered[name]) - 1, 0))

        async def call() -> None:
            try:
                async with self.adapters.lease(name) as request.lease:
                    self.active.append(request)
                    await request.end.wait()
            except RequestError as error:
                expect(error, 400, 404)
            finally:
                if request in self.active:
                    self.active.remove(request)

        request.task = self.loop.create_task(call())
        self.settle()
        return request

    @rule(request=consumes(requests))
    def finish(self, request: Request) -> None:
        request.end.set()
        self.settle()

    @rule(request=consumes(requests))
    def leave(self, request: Request) -> None:
        assert request.task is not None
        request.task.cancel()
        self.settle()

    @rule(name=SOME_NAME)
    def ask_again(self, name: str) -> None:
        self.finish(self.ask(name))

    @rule(ends=st.sampled_from([False, False, True]), refuses=st.sampled_from([False, False, False, True]))
    def engine_is_slow(self, ends: bool, refuses: bool) -> None:
        """Let the engine's call in progress end, and say how the next ones do."""
        self.refusing = refuses and self.engine.by_hand
        self.engine.by_hand = not ends
        if self.engine.pending:
            self.engine.step()
        self.settle()
        self.refusing = False

    @invariant()
    def the_engine_never_has_more_than_it_holds(self) -> None:
        assert self.engine.most_held <= CPU_SLOTS

    @invariant()
    def what_a_request_uses_is_there_and_is_its_adapters_as_registered_or_newer(self) -> None:
        for request in self.active:
            assert request.lease is not None
            assert request.lease.key in self.engine.keys
            written = [self.written[each] for each in self.written if key_of(request.name, each) == request.lease.key]
            stood_for = self.registered[request.name][request.since :]
            assert any(place == at and version >= least for place, version in written for at, least in stood_for)

    def teardown(self) -> None:
        """Let everybody end: then nobody may be left waiting, and nothing in the engine."""
        requests = [task for task in asyncio.all_tasks(self.loop) if task not in self.management]
        self.engine.by_hand = False
        for _ in range(100):
            for request in tuple(self.active):
                request.end.set()
            self.settle()
            if self.engine.pending:
                self.engine.step()
        self.settle()
        assert [task for task in (*requests, *self.management) if not task.done()] == []
        for name in NAMES:
            self.remove(name)
        self.settle()
        assert self.engine.held == {}
        assert asyncio.all_tasks(self.loop) == set()
        for task in self.management:
            task.result()
        self.loop.close()
        self.folder.cleanup()


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(
    max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
