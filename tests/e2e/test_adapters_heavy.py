"""Check 65: an adapter of several hundred megabytes is loaded, and neither streams nor /ping notice much of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.adapter_calls import register, remove
from tests.e2e.adapters import WEIGHTS, write_heavy_adapter
from tests.e2e.client import Json, pinging, streaming
from tests.e2e.conftest import HEAVY_RANK
from tests.e2e.server import Server
from tests.e2e.test_health import PING_SECONDS
from tests.timing import assert_within

STREAM_SECONDS = 1.0
HEAVY_BYTES = 200 * 10**6
TALE: Json = {"prompt": "Once upon a time", "max_tokens": 4000, "ignore_eos": True}


@pytest.fixture
def heavy(roomy: Server, yard: Path) -> Iterator[Path]:
    plan = json.loads((roomy.directory / "run" / "launch-plan.json").read_text())
    directory = write_heavy_adapter(yard / "heavy", Path(plan["worker"]["model"]), HEAVY_RANK)
    yield directory
    shutil.rmtree(directory)


def test_check_65_the_load_of_a_heavy_adapter_stalls_neither_streams_nor_ping(roomy: Server, heavy: Path) -> None:
    assert (heavy / WEIGHTS).stat().st_size > HEAVY_BYTES
    api = roomy.client

    def longest_stall() -> float:
        """Load the adapter; return the longest wait for /ping or a stream's next piece, over what each may take."""
        loads = api.metric("lmi_adapter_loads_total")
        with streaming(api, TALE) as first, streaming(api, TALE) as second, pinging(api) as pings:
            assert register(api, "heavy", heavy, preload="true").status_code == 200
        assert api.metric("lmi_adapter_loads_total") == loads + 1
        assert remove(api, "heavy").status_code == 200
        print(f"streams waited {max(first + second):.2f} s at most, /ping {max(pings):.3f} s")
        return max(max(first + second) / STREAM_SECONDS, max(pings) / PING_SECONDS)

    assert_within(1, longest_stall)
