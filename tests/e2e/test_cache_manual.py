"""A user's own LMCache YAML, as LMCache's documentation has them: each is served, or refused for a stated reason.

The served ones answer from a tier what the engine has lost; with Redis, a second server finds what the first has kept.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.conftest import Engines
from tests.e2e.models import write_model
from tests.e2e.server import ROOT, Server, clean_environment, forgetful_engine, free_port
from tests.e2e.test_cache import CHUNK, WHOLE_CHUNKS, complete, document, forget, fresh
from tests.redis_server import PASSWORD, RedisServer, redis_server
from tests.timing import LONG_SECONDS, assert_within, eventually

BOUND_SECONDS = 15
"""For a request while Redis hangs: two attempts of two seconds to look something up, and room for a slow machine."""

# LMCache's kv_cache/storage_backends pages: cpu_ram, local_storage, redis, valkey, fs and resp.
CPU = "chunk_size: 256\nlocal_cpu: true\nmax_local_cpu_size: 5.0\n"
DISK = (
    "chunk_size: 256\nlocal_cpu: false\nmax_local_cpu_size: 5.0\n"
    'local_disk: "file:///local/disk_test/local_disk/"\nmax_local_disk_size: 5.0\n'
)
REDIS = 'chunk_size: 256\nremote_url: "redis://localhost:6379"\nremote_serde: "naive"\n'
VALKEY = (
    'chunk_size: 256\nremote_url: "valkey://localhost:6379"\nremote_serde: "naive"\n'
    f'extra_config:\n  valkey_username: "me"\n  valkey_password: "{PASSWORD}"\n'
)
FILES = (
    "chunk_size: 256\nlocal_cpu: false\nmax_local_cpu_size: 1\nsave_unfull_chunk: false\n"
    'remote_serde: "naive"\nblocking_timeout_secs: 10\n'
)
SERVED = {
    "cpu-offload": (CPU, "--l1-size-gb 5.0"),
    "disk-offload": (DISK.replace("/local/", "/tmp/"), "--l2-store-policy skip_l1"),
    "redis-offload": (REDIS, '"host":"localhost","port":6379'),
    "valkey": (VALKEY, '"host":"localhost","port":6379'),
    "fs": (f'{FILES}remote_url: "fs://localhost:0/tmp/lmcache-fs"\nextra_config:\n  save_chunk_meta: false\n',
           '"base_path":"/tmp/lmcache-fs"'),
}  # fmt: skip
REFUSED = {
    "disk-offload as it is": (DISK, "local_disk /local/disk_test/local_disk/ is outside /tmp"),
    "redis-sentinel-offload": (REDIS.replace("redis:", "redis-sentinel:"), "no counterpart for remote_url: redis-sent"),
    "lmcache-server-offload": (REDIS.replace("redis:", "lm:"), "no counterpart for remote_url: lm://localhost:6379"),
    "valkey cluster": (f'{VALKEY}  valkey_mode: "cluster"\n', "no counterpart for extra_config.valkey_mode"),
    "fs plugin": (
        f'{FILES}remote_storage_plugins: ["fs"]\nextra_config:\n  remote_storage_plugin.fs.base_path: "/tmp/kv"\n',
        "no counterpart for remote_storage_plugins",
    ),
    "resp-config": (REDIS.replace("256", "16"), "chunk_size 16 is no multiple of the engine's block of 128 tokens"),
    "resp.yaml": (f"{REDIS}async_loading: false\n", "LMCache has no key async_loading"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def explain(file: Path, model: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `explain` for a YAML."""
    environment = clean_environment(OPTION_MODEL_ID=str(model), OPTION_LMCACHE_CONFIG_FILE=str(file))
    command = [sys.executable, "-m", "container", "explain", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SERVED)
def test_a_documented_file_is_explained(name: str, tmp_path: Path, model: Path) -> None:
    text, said = SERVED[name]
    file = tmp_path / f"{name}.yaml"
    file.write_text(text)
    done = explain(file, model, "--json")
    assert done.returncode == 0, done.stderr
    lmcache = json.loads(done.stdout)["lmcache"]
    assert said in " ".join(lmcache["server"])
    assert bool(lmcache["salt"]) == ("remote_url" in text)
    assert PASSWORD not in done.stdout + done.stderr + explain(file, model).stdout


@pytest.mark.parametrize("name", REFUSED)
def test_a_documented_file_that_cannot_be_served_is_refused_by_its_keys(name: str, tmp_path: Path, model: Path) -> None:
    text, reason = REFUSED[name]
    file = tmp_path / "lmcache.yaml"
    file.write_text(text)
    done = explain(file, model)
    assert done.returncode == 2
    assert f"{file}" in done.stderr
    assert reason in done.stderr
    assert PASSWORD not in done.stderr


def served(engines: Engines, place: Path, name: str, text: str, seed: int) -> Server:
    """Serve weights of that seed, always at the same path, with a YAML."""
    file = place / f"{name}.yaml"
    file.write_text(text)
    port = free_port()
    environment = forgetful_engine(
        write_model(place / "manual-llm", seed=seed),
        OPTION_LMCACHE_CONFIG_FILE=str(file),
        OPTION_LMCACHE_DISK_PATH=str(place),
    )
    return engines.use(name, lambda: Server.start(place / name, ["serve", "--port", str(port)], environment, port))


def found_again(api: Client) -> bool:
    """Tell whether a document the engine has lost is found in a tier, with the same answer."""
    prompt = fresh()
    first = complete(api, prompt)
    forget(api)
    again = complete(api, prompt)
    assert again["text"] == first["text"]
    return bool(again["cached"] == WHOLE_CHUNKS)


@pytest.mark.engine
@pytest.mark.timeout(420)
@pytest.mark.parametrize("name", ["cpu-offload", "disk-offload"])
def test_what_the_engine_has_lost_comes_back_from_the_tier_the_file_names(
    engines: Engines, place: Path, name: str
) -> None:
    text = {"cpu-offload": CPU, "disk-offload": DISK.replace("/local/disk_test/", f"{place}/")}[name]
    server = served(engines, place, name, text, seed=41)
    eventually(lambda: found_again(server.client), "a hit")
    if name == "disk-offload":
        assert any(path.is_file() for path in (place / "local_disk" / "lmi-cache").glob("*/*"))
    assert "KV cache: up after" in server.output


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def assert_no_password(server: Server) -> None:
    assert PASSWORD not in server.everything_logged
    assert not any(PASSWORD in part for process in server.family() for part in process.cmdline())


def told_again(server: Server, text: str, times: int) -> bool:
    """Send something new, and tell whether the operator has been told so often of the remote tier, and hardly more."""
    complete(server.client, fresh())
    lines = server.output.splitlines()
    told = sum("KV cache: remote tier: localhost:" in line and text in line for line in lines)
    assert told <= times + 2, "more than this machine's stalls explain"
    return told >= times


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_servers_share_a_redis_and_do_without_it_when_it_hangs_or_dies(
    engines: Engines, place: Path, redis: RedisServer
) -> None:
    text = REDIS.replace("localhost:6379", f":{PASSWORD}@localhost:{redis.port}")
    prompts = [document(seed) for seed in range(50, 54)]
    chunks = len(prompts) * (WHOLE_CHUNKS // CHUNK)

    first = served(engines, place, "redis-first", text, seed=43)
    kept = [complete(first.client, prompt)["text"] for prompt in prompts]
    eventually(lambda: redis.client.dbsize() >= chunks, "every chunk is kept in Redis")
    assert_no_password(first)

    other = served(engines, place, "redis-other-weights", text, seed=44)
    answers = [complete(other.client, prompt) for prompt in prompts]
    assert [answer["cached"] for answer in answers] == [0] * len(prompts)
    eventually(lambda: redis.client.dbsize() >= 2 * chunks, "its own chunks are kept beside")

    second = served(engines, place, "redis-second", text, seed=43)
    found = complete(second.client, prompts[0])
    assert (found["text"], found["cached"]) == (kept[0], WHOLE_CHUNKS)

    redis.hang()
    try:
        for _ in range(3):
            assert_within(BOUND_SECONDS, lambda: complete(second.client, fresh())["seconds"])
    finally:
        redis.go_on()
    eventually(lambda: told_again(second, "answers again", 1), "Redis is asked again")

    new = [fresh() for _ in range(8)]
    under_way = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        answers_amid = [pool.submit(complete, second.client, prompt) for prompt in [*prompts[1:], *new] * 2]
        answers_amid[2].add_done_callback(lambda _: under_way.set())
        under_way.wait(LONG_SECONDS)
        redis.kill()
        texts = [answer.result()["text"] for answer in answers_amid]
    assert texts[: len(kept) - 1] == kept[1:]
    assert texts[: len(texts) // 2] == texts[len(texts) // 2 :]

    eventually(lambda: found_again(second.client), "the tier in RAM serves on")
    assert "serving goes on without it" not in second.output
    assert told_again(second, "gives no answer", 2)
    redis.start()
    eventually(lambda: told_again(second, "answers again", 2), "Redis is asked again")
    eventually(lambda: redis.client.dbsize() > 0, "and keeps what is new")
    assert_no_password(second)
