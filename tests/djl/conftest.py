"""DJL's Java engine, built once a run, and a JVM over each of the two Python engines that tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.djl_wire import parts as djl_parts
from benchmarks.djl_wire.parts import Parts
from tests.djl.host import EngineKind, Host, hosting


@pytest.fixture(scope="session")
def parts() -> Parts:
    if lacking := djl_parts.missing():
        pytest.skip(lacking)
    return djl_parts.build()


@pytest.fixture(scope="module", params=["ours", "stock"])
def kind(request: pytest.FixtureRequest) -> EngineKind:
    chosen: EngineKind = request.param
    return chosen


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def host(parts: Parts, kind: EngineKind, adapters: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A JVM with tests.djl.fake as its model."""
    options = {"adapters": str(adapters)}
    with hosting(parts, kind, tmp_path_factory.mktemp("jvm"), "tests.djl.fake", options) as running:
        yield running
