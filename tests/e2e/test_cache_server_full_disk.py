"""A disk that is full to the last block under the cache's disk tier: no request fails, no answer changes."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import Engines
from tests.e2e.models import write_model
from tests.e2e.server import Server, forgetful_engine, free_port
from tests.timing import eventually

GIB = 1 << 30
DOCUMENTS, TOKENS = 12, 2_400


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 12 GiB, next to nothing of which is ever written: a tier leaves 10 GiB to others."""
    if os.geteuid() != 0:
        pytest.skip("a full disk is a mount, which needs root")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(12 * GIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    image.unlink()


def fill(folder: Path) -> None:
    """Take every block that is free."""
    with (folder / "filler").open("wb") as file:
        said = os.statvfs(folder)
        os.posix_fallocate(file.fileno(), 0, said.f_bavail * said.f_frsize - (16 << 20))
        file.seek(0, os.SEEK_END)
        try:
            while True:
                os.write(file.fileno(), bytes(1 << 16))
        except OSError:
            return


def answers(api: Client, first: int = 0) -> list[str]:
    """Return what the model says to some documents, the same ones for the same first."""
    said = []
    for seed in range(first, first + DOCUMENTS):
        prompt = random.Random(seed).choices(range(300, 600), k=TOKENS)
        body = {"prompt": prompt, "max_tokens": 8, "temperature": 0}
        said.append(str(api.answer(body, "/v1/completions")["choices"][0]["text"]))
    return said


@pytest.mark.engine
@pytest.mark.timeout(420)
def test_a_full_disk_fails_no_request(engines: Engines, place: Path, disk: Path) -> None:
    port = free_port()
    environment = forgetful_engine(
        write_model(place / "full-disk-llm", seed=17),
        OPTION_LMCACHE_AUTO_CONFIG="true",
        OPTION_LMCACHE_MAX_CPU_GB="0.1",
        OPTION_LMCACHE_MAX_DISK_GB="1",
        OPTION_LMCACHE_FORCE_DISK="true",
        OPTION_LMCACHE_DISK_PATH=str(disk),
    )
    arguments = ["serve", "--port", str(port)]
    server = engines.use("full disk", lambda: Server.start(place / "full-disk", arguments, environment, port))
    assert "RAM 0.1 GiB, disk 1.0 GiB" in server.output
    assert "KV cache: disk measured: reads " in server.output
    cache = next((disk / "lmi-cache").glob("[0-9a-f]*"))
    fill(disk)
    first = answers(server.client)
    assert [answers(server.client) for _ in range(2)] == [first] * 2
    assert "serving goes on without it" not in server.output
    (disk / "filler").unlink()
    assert answers(server.client) == first
    answers(server.client, DOCUMENTS)  # new ones: what could not be written is not tried again
    eventually(lambda: any(cache.iterdir()), "the disk is used again")
    engines.stop()
    assert [entry.name for entry in (disk / "lmi-cache").iterdir()] == [".lmi-cache"]
