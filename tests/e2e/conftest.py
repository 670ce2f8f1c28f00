"""The servers the tests share, one at a time: an engine takes most of a minute to start and two cores to run.

A test names its server as a fixture; tests are ordered by server, so that each starts once per run.
"""

import json
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from tests.e2e import front_end
from tests.e2e.adapter_calls import registered
from tests.e2e.adapters import MAX_RANK, TRAINED, trained_adapters, write_adapter
from tests.e2e.client import Client
from tests.e2e.isolation import UID, Namespace, unprivileged
from tests.e2e.models import cached_model, untidy_model, write_model
from tests.e2e.scripts import write_model_with_adapters
from tests.e2e.server import ROOT, Server, clean_environment, forgetful_engine, free_port

T = TypeVar("T")
SERVERS = ("tiny", "lora", "brief", "cached", "embedder", "isolated", "smollm", "roomy")
MAX_REQUEST_MIB = 32
MAX_CONCURRENT = 80
PREDICT_SECONDS = 20
SESSION_SECONDS, BRIEF_SECONDS = 600.0, 15.0
GPU_SLOTS, CPU_SLOTS = 2, 4
HEAVY_RANK = 256
SECRET = "hf_fig-and-sorrel"
_seeds = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine, allow it longer, and put the tests of one server next to each other."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in here:
        if _server_of(item):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.timeout(420))
        if front_end.DJL and (why := front_end.reason(item.path.name, getattr(item, "originalname", item.name))):
            item.add_marker(pytest.mark.xfail(reason=why, strict=False))  # some of its cases may pass
    order = ("", *SERVERS)
    items.sort(
        key=lambda item: (order.index(_server_of(item)) if item in here else -1, item.path.name == "test_stopping.py")
    )


def _server_of(item: pytest.Item) -> str:
    names = getattr(item, "fixturenames", ())
    return next((name for name in SERVERS if name in names), "")


class Engines:
    """Starts servers on demand; at most one runs."""

    def __init__(self) -> None:
        self._running: dict[str, Server] = {}

    def use(self, name: str, start: Callable[[], Server]) -> Server:
        """Return the server of that name, after stopping any other."""
        if name not in self._running:
            self.stop()
            self._running[name] = start()
        return self._running[name]

    def stop(self) -> None:
        """Stop the server that runs, as SageMaker would; one that a test has ended already is left alone."""
        for name, server in list(self._running.items()):
            del self._running[name]
            code = server.stop() if server.process.poll() is None else 0
            server.kill()
            assert code == 0, f"{name} exited with {code}:\n{server.output[-2000:]}"


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    running = Engines()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for models and servers that other users may read."""
    directory = tmp_path_factory.mktemp("e2e")
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(0o755)
    return directory


@pytest.fixture
def tiny(engines: Engines, place: Path) -> Server:
    """A tiny model with random weights; nearly every test's server. Its limits are small enough to reach."""

    def start() -> Server:
        port = free_port()
        environment = clean_environment(
            OPTION_MODEL_ID=str(write_model(place / "tiny-llm")),
            OPTION_MAX_CONCURRENT_REQUESTS=str(MAX_CONCURRENT),
            OPTION_MAX_REQUEST_SIZE=str(MAX_REQUEST_MIB * 2**20),
            OPTION_PREDICT_TIMEOUT=str(PREDICT_SECONDS),
            OPTION_ENABLE_STATEFUL_SESSIONS="False",  # as LMI's users write it; there it fails every request
            # Check 76: what SageMaker's platform and other containers' recipes set harms nothing.
            SAGEMAKER_ENABLE_LOAD_AWARE="1",
            SAGEMAKER_MAX_NUMBER_OF_ADAPTERS_IN_MEMORY="128",
            SAGEMAKER_INVENTED_TOMORROW="x",
            OPTION_HF_TOKEN=SECRET,
            HF_HUB_TOKEN=SECRET,
            # No compiler, as in a slim image: nothing a request asks for may need one.
            CXX="/nonexistent",
        )
        return Server.start(place / "tiny", ["serve", "extra-argument", "--port", str(port)], environment, port)

    return engines.use("tiny", start)


@pytest.fixture
def api(tiny: Server) -> Client:
    """The tiny server's address."""
    return tiny.client


@pytest.fixture(scope="session")
def yard(place: Path) -> Path:
    """Where adapters may lie that are registered over HTTP."""
    directory = place / "yard"
    directory.mkdir()
    return directory


@pytest.fixture
def adapter(yard: Path) -> Path:
    """An adapter of the tiny models that nobody has seen yet."""
    seed = next(_seeds)
    return write_adapter(yard / f"adapter-{seed}", seed)


@pytest.fixture
def other(yard: Path) -> Path:
    """One more."""
    seed = next(_seeds)
    return write_adapter(yard / f"adapter-{seed}", seed)


@pytest.fixture
def start_lora(place: Path, yard: Path) -> Callable[[float], Server]:
    """Starts the server of adapters, scripts and sessions, which live so many seconds, in the same place each time."""

    def start(session_seconds: float) -> Server:
        port = free_port()
        model = place / "lora-model"
        if not model.exists():
            write_model_with_adapters(model)
        environment = clean_environment(
            OPTION_DTYPE="float32",  # so that an answer is the same alone and amid others
            OPTION_ENABLE_LORA="true",
            OPTION_MAX_LORAS=str(GPU_SLOTS),
            OPTION_MAX_CPU_LORAS=str(CPU_SLOTS),
            OPTION_MAX_LORA_RANK=str(MAX_RANK),
            OPTION_ADAPTER_ROOTS=str(yard),
            OPTION_ENABLE_STATEFUL_SESSIONS="true",
            OPTION_SESSIONS_EXPIRATION=str(session_seconds),
        )
        arguments = ["serve", "--model-dir", str(model), "--port", str(port)]
        return Server.start(place / "lora", arguments, environment, port)

    return start


@pytest.fixture
def lora(engines: Engines, start_lora: Callable[[float], Server]) -> Server:
    """A tiny model with more adapters than slots, a script of its own, and sessions."""
    return engines.use("lora", lambda: start_lora(SESSION_SECONDS))


@pytest.fixture
def brief(engines: Engines, start_lora: Callable[[float], Server]) -> Server:
    """The same once more, over what the first has left; its sessions are brief."""
    return engines.use("brief", lambda: start_lora(BRIEF_SECONDS))


@pytest.fixture
def cached(engines: Engines, place: Path, yard: Path) -> Server:
    """A tiny model with a KV cache tier in RAM, adapters and sessions."""

    def start() -> Server:
        port = free_port()
        environment = forgetful_engine(
            write_model(place / "cached-llm", seed=13),
            OPTION_LMCACHE_AUTO_CONFIG="true",
            OPTION_LMCACHE_MAX_CPU_GB="0.5",
            OPTION_LMCACHE_MAX_DISK_GB="0",
            OPTION_ENABLE_LORA="true",
            OPTION_MAX_LORAS=str(GPU_SLOTS),
            OPTION_ADAPTER_ROOTS=str(yard),
            OPTION_ENABLE_STATEFUL_SESSIONS="true",
        )
        return Server.start(place / "cached", ["serve", "--port", str(port)], environment, port)

    return engines.use("cached", start)


@pytest.fixture
def embedder(engines: Engines, place: Path) -> Server:
    """A model that embeds, named in a serving.properties and found offline in the Hugging Face cache."""

    def start() -> Server:
        port = free_port()
        cached_model(place / "huggingface", "tests/tiny-embedder", seed=11)
        model = place / "named-model"
        model.mkdir()
        (model / "serving.properties").write_text("option.model_id=tests/tiny-embedder\noption.task=text-embedding\n")
        environment = clean_environment(
            SAGEMAKER_BIND_TO_PORT=str(port), HF_HOME=str(place / "huggingface"), HF_HUB_OFFLINE="1"
        )
        return Server.start(place / "embedder", ["serve", "--model-dir", str(model)], environment, port)

    return engines.use("embedder", start)


@pytest.fixture(scope="session")
def namespace() -> Namespace:
    """A network with loopback and nothing else; making one takes the rights of root."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    return Namespace()


@pytest.fixture
def isolated(
    engines: Engines, place: Path, namespace: Namespace
) -> tuple[Server, Callable[[Callable[[Client], T]], T]]:
    """The odd environment, all at once; the server, and a function that runs others where it can be reached."""

    def start() -> Server:
        directory = place / "isolated"
        directory.mkdir()
        os.chown(directory, UID, UID)
        model = untidy_model(write_model(place / "tidy"), place / "untidy-model", directory / "model-py-ran")
        environment = clean_environment(
            SAGEMAKER_BIND_TO_PORT="9123", SAGEMAKER_SAFE_PORT_RANGE="5000-5099", TMPDIR=str(directory),
            OPTION_OUTPUT_FORMATTER="jsonlines", OPTION_LOG_FORMAT="json",
        )  # fmt: skip
        del environment["HOME"]
        arguments = ["serve", "--model-dir", str(model)]
        return namespace.run(lambda: Server.start(directory, arguments, environment, 9123, unprivileged(model)))

    server = engines.use("isolated", start)
    return server, lambda function: namespace.run(lambda: function(server.client))


@pytest.fixture
def smollm(engines: Engines, place: Path) -> Server:
    """The embedded model, as `make serve` starts it: on port 8080, without a verb; adapters need to be allowed."""

    def start() -> Server:
        environment = clean_environment(OPTION_ENABLE_LORA="true", OPTION_ADAPTER_ROOTS=str(ROOT / ".cache"))
        return Server.start(place / "smollm", [], environment, 8080)

    return engines.use("smollm", start)


@pytest.fixture
def roomy(engines: Engines, place: Path, yard: Path) -> Server:
    """The embedded model once more, with room for an adapter of several hundred megabytes: computing takes longer."""

    def start() -> Server:
        port = free_port()
        environment = clean_environment(
            OPTION_ENABLE_LORA="true", OPTION_MAX_LORA_RANK=str(HEAVY_RANK), OPTION_ADAPTER_ROOTS=str(yard)
        )
        return Server.start(place / "roomy", ["serve", "--port", str(port)], environment, port)

    return engines.use("roomy", start)


@pytest.fixture
def trained(smollm: Server) -> Iterator[dict[str, str]]:
    """What the adapters trained on the embedded model answer, by the names they are registered under."""
    plan = json.loads((smollm.directory / "run" / "launch-plan.json").read_text())
    with registered(smollm.client, **trained_adapters(Path(plan["worker"]["model"]))):
        yield TRAINED
