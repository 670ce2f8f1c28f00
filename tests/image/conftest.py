"""The image under test, built once by `make image`, and the two servers in it: an engine takes a minute to start."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.models import write_model
from tests.e2e.server import free_port
from tests.image.containers import DOCKER, ROOT, Container, docker, running

TAG = "lmi:tested"
ENDPOINT_PROPERTIES = """
option.max_model_len=4096
option.max_concurrent_requests=128
option.lmcache_auto_config=true
option.lmcache_max_disk_gb=0
"""
ENDPOINT_MEMORY_GIB = 10
SECRET = "hf_thatNobodyMaySee"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here: `make test` runs it after everything else, for the machine has room for one engine."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.timeout(1800))  # the first test builds the image


@pytest.fixture(scope="session")
def image() -> str:
    """The image's tag."""
    try:
        reached = docker("version")
    except FileNotFoundError:
        pytest.skip(f"the image: {DOCKER} is not installed (Debian: apt-get install docker.io)")
    if reached.returncode:
        pytest.skip("the image: no docker daemon answers (Debian, as root: .ci/docker make test starts one)")
    subprocess.run(["make", "image", "FLAVOUR=cpu", f"TAG={TAG}"], cwd=ROOT, check=True)
    return TAG


@pytest.fixture(scope="session")
def stranger(image: str) -> Iterator[Container]:
    """A server without a model, as a user nobody has heard of, that can write to /tmp alone and reach nobody."""
    narrow = ("--user", "1000:1000", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--pids-limit", "1024")
    options = ("--env", "OPTION_MAX_MODEL_LEN=1024", "--env", "OPTION_MAX_ROLLING_BATCH_SIZE=8")
    with running(image, *narrow, *options) as container:
        container.wait_until_ready()
        yield container


@pytest.fixture(scope="session")
def endpoint_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def endpoint(image: str, endpoint_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A server as SageMaker starts one: as root, a read-only model directory, a port of the platform's choice."""
    model = write_model(tmp_path_factory.mktemp("image") / "model")
    (model / "serving.properties").write_text(ENDPOINT_PROPERTIES)
    with running(
        image,
        *("--memory", f"{ENDPOINT_MEMORY_GIB}g", "--shm-size", "1g", "--volume", f"{model}:/opt/ml/model:ro"),
        *("--env", f"SAGEMAKER_BIND_TO_PORT={endpoint_port}", "--env", "OPTION_MAX_MODEL_LEN=512"),
        *("--env", "VLLM_CPU_KVCACHE_SPACE=1", "--env", f"HF_TOKEN={SECRET}"),
        *("--publish", f"127.0.0.1:{endpoint_port}:{endpoint_port}"),
    ) as container:
        container.wait_until_ready()
        yield container
