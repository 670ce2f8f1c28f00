"""Must-shows 2 and 3, checks 59 and 60, and rows 8 and 9: adapters that come, go and change amid traffic."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.e2e.adapter_calls import IDENTIFIER, ask, completion, describe, register, registered, remove
from tests.e2e.adapters import replace_weights, write_adapter
from tests.e2e.client import Client, pinging, refusal
from tests.e2e.conftest import CPU_SLOTS, GPU_SLOTS
from tests.e2e.fleet import Fleet
from tests.e2e.server import Server
from tests.e2e.test_health import PING_SECONDS
from tests.timing import assert_within, eventually, seconds_of

MIB = 2**20
MANY, MANY_SECONDS = 1000, 10.0
FLEET, CHANGES = 20, 6


@pytest.fixture
def api(lora: Server) -> Client:
    return lora.client


def worker(server: Server) -> psutil.Process:
    """Return the process that answers requests."""
    return next(p for p in server.family() if "handlers.server" in p.cmdline())


@pytest.fixture(scope="module")
def thousand(yard: Path) -> list[Path]:
    """The directories of a thousand small adapters."""
    return [write_adapter(yard / f"thousand-{n}", 10_000 + n, rank=1) for n in range(MANY)]


def test_must_show_2_a_thousand_adapters_are_registered_in_ten_seconds(lora: Server, thousand: list[Path]) -> None:
    api = lora.client
    names = {f"many-{number}": path for number, path in enumerate(thousand)}

    def register_all() -> float:
        """Return how much of the time there is was taken, by all of them or by the slowest ping meanwhile."""
        for name in names:
            remove(api, name)
        with pinging(api) as pings:
            taken = seconds_of(lambda: [register(api, name, path).raise_for_status() for name, path in names.items()])
        return max(taken / MANY_SECONDS, max(pings) / PING_SECONDS)

    before = worker(lora).memory_info().rss
    assert_within(1, register_all)
    assert api.metric("lmi_adapters_registered") >= MANY
    assert worker(lora).memory_info().rss - before < 32 * MIB
    loads = api.metric("lmi_adapter_loads_total")
    ask(api, "many-500")
    assert api.metric("lmi_adapter_loads_total") == loads + 1
    assert [n for n in ("many-499", "many-500", "many-501") if describe(api, n)["state"] == "loaded"] == ["many-500"]
    for name in names:
        assert remove(api, name).status_code == 200


def test_must_show_2_simultaneous_first_requests_cause_one_load(api: Client, adapter: Path) -> None:
    with registered(api, crowded=adapter), ThreadPoolExecutor(32) as pool:
        loads = api.metric("lmi_adapter_loads_total")
        answers = list(pool.map(lambda _: ask(api, "crowded"), range(32)))
        assert api.metric("lmi_adapter_loads_total") == loads + 1
        assert {answer.likeness(ask(api, "crowded")) for answer in answers} <= {"equal", "near"}


def test_row_08_an_adapter_that_is_not_preloaded_is_loaded_by_its_first_request(api: Client, adapter: Path) -> None:
    assert register(api, "row-8", adapter, preload="false").status_code == 200
    assert describe(api, "row-8")["state"] == "registered"
    assert ask(api, "row-8").likeness(ask(api)) == "other"
    assert describe(api, "row-8")["state"] == "loaded"


def test_row_09_a_registration_that_fails_says_so_itself(api: Client, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(b"no weights")
    refusal(register(api, "row-9", adapter), 400)
    refusal(api.http.get("/adapters/row-9"), 404)


def test_an_adapter_that_has_failed_tells_everyone_why_and_is_tried_again_when_its_files_change(
    api: Client, adapter: Path
) -> None:
    register(api, "mended", adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"no weights any more")
    for _ in range(2):
        error = refusal(api.invoke(completion(), {IDENTIFIER: "mended"}), 400)
        assert "adapter_model.safetensors" in error["message"]
    told = describe(api, "mended")
    assert told["state"] == "failed"
    assert "adapter_model.safetensors" in told["reason"]
    replace_weights(adapter, 77)
    assert ask(api, "mended").likeness(ask(api)) == "other"
    assert describe(api, "mended")["state"] == "loaded"


def test_a_pinned_adapter_stays_loaded_and_the_others_share_the_slots(
    api: Client, adapter: Path, other: Path, yard: Path
) -> None:
    crowd = {f"crowd-{n}": write_adapter(yard / f"crowd-{n}", 300 + n) for n in range(CPU_SLOTS + 1)}
    assert register(api, "pinned", adapter, preload="true", pin="true").status_code == 200
    refusal(register(api, "pinned-too", other, preload="true", pin="true"), 507)
    with registered(api, **crowd):
        for name in crowd:
            ask(api, name)
        with ThreadPoolExecutor(8) as pool:  # as many in a batch as there are slots, the pinned one not among them
            list(pool.map(lambda name: ask(api, name), [*crowd] * 4))
        assert describe(api, "pinned")["state"] == "loaded"
        assert sum(describe(api, name)["state"] == "loaded" for name in crowd) < CPU_SLOTS
    remove(api, "pinned")


def test_an_adapter_is_deleted_when_its_last_request_is_done(api: Client, adapter: Path) -> None:
    register(api, "drained", adapter)
    wanted = ask(api, "drained", max_tokens=600)
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(ask, api, "drained", max_tokens=600)
        eventually(lambda: api.requests_running() == 1, "the request running")
        deleted = pool.submit(remove, api, "drained")
        assert asked.result().likeness(wanted) in ("equal", "near")
        assert deleted.result().status_code == 200
    refusal(api.invoke(completion(), {IDENTIFIER: "drained"}), 404)


def test_check_60_adapters_and_base_in_one_batch_answer_as_alone(api: Client, yard: Path) -> None:
    names = ["", *(f"mixed-{n}" for n in range(CPU_SLOTS))]
    sources = {name: write_adapter(yard / name, 400 + n) for n, name in enumerate(names) if name}
    with registered(api, **sources), ThreadPoolExecutor(16) as pool:
        alone = {name: ask(api, name, max_tokens=24) for name in names}
        asked = random.Random(60).choices(names, k=64)
        answers = list(pool.map(lambda name: ask(api, name, max_tokens=24), asked))
    assert len({answer.text for answer in alone.values()}) == len(names)
    assert {answer.likeness(alone[name]) for name, answer in zip(asked, answers, strict=True)} <= {"equal", "near"}


@pytest.fixture
def fleet(api: Client, yard: Path) -> Iterator[Fleet]:
    gathered = Fleet(api, yard, FLEET, 3 * CHANGES)
    yield gathered
    for name in gathered.names:
        remove(api, name)


def test_check_59_and_must_show_3_twenty_adapters_over_two_slots_answer_as_alone_amid_changes(fleet: Fleet) -> None:
    assert (GPU_SLOTS, CPU_SLOTS) == (2, 4)
    assert len({solo.text for solo in fleet.versions.values()}) == len(fleet.versions)
    over = threading.Event()

    def ask_on(seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            fleet.check(chance.choice(fleet.names))

    def change_on() -> None:
        chance = random.Random("changes")
        for number in range(FLEET, FLEET + CHANGES):
            fleet.change(f"fleet-{number}")
            fleet.serve()
            fleet.change(chance.choice(fleet.names[CHANGES:10]), by="update")
            fleet.serve()
            fleet.change(chance.choice(fleet.names[10:FLEET]), by="delete")
            fleet.serve()
            fleet.delete(f"fleet-{number - FLEET}")
            fleet.serve()

    with ThreadPoolExecutor(17) as pool, pinging(fleet.api) as pings:
        clients = [pool.submit(ask_on, seed) for seed in range(16)]
        try:
            change_on()
        finally:
            over.set()
            for client in clients:
                client.result()
    print(f"{fleet.answered} answers, {fleet.near} of them near ties, {fleet.gone} times gone, ping {max(pings):.2f} s")
