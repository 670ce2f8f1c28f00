"""The image serving, as strangers run it: narrowed to a reader without network, and as SageMaker's endpoint."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.client import Client
from tests.image.conftest import ENDPOINT_MEMORY_GIB, SECRET
from tests.image.containers import Container, docker, output_of
from tests.timing import eventually

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
QUESTION = {"messages": MESSAGES, "max_tokens": 16, "temperature": 0}
LONG = {"prompt": "Once upon a time", "max_tokens": 4000, "temperature": 1.0, "ignore_eos": True, "stream": True}
STREAMS = 64
STOP_SECONDS = 30
"""From SIGTERM until SageMaker sends SIGKILL."""

ORPHAN = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(0.5)
    os._exit(0)
os.wait()
"""

KILL_ENGINE = """
import os, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if "::EngineC" in (process / "comm").read_text():
        os.kill(int(process.name), 9)
"""


def test_without_model_user_network_or_a_writable_root_it_answers(stranger: Container) -> None:
    status, text = stranger.ask("/invocations", QUESTION)
    assert status == 200
    assert "Paris" in json.loads(text)["choices"][0]["message"]["content"]
    assert stranger.inspect()["HostConfig"]["ReadonlyRootfs"]


def test_an_option_variable_is_obeyed(stranger: Container) -> None:
    assert json.loads(stranger.ask("/v1/models")[1])["data"][0]["max_model_len"] == 1024


def test_docker_is_told_that_it_is_healthy(stranger: Container) -> None:
    eventually(lambda: stranger.state["Health"]["Status"] == "healthy", "healthy")


def test_what_it_wrote_is_its_users_alone(stranger: Container) -> None:
    modes = stranger.python("import os; print(oct(os.stat('/tmp/lmi-1000-8080').st_mode)[-3:])")
    assert modes.strip() == "700"


def test_process_1_reaps_what_others_leave_behind(stranger: Container) -> None:
    for _ in range(20):
        stranger.python(ORPHAN)
    time.sleep(1)
    assert [line for line in stranger.processes().values() if line.startswith("Z")] == []


def test_row_23_an_engine_that_dies_ends_the_container_with_4_and_the_reason(stranger: Container) -> None:
    stranger.python(KILL_ENGINE)
    eventually(lambda: not stranger.state["Running"], "the container ended", STOP_SECONDS)
    assert stranger.state["ExitCode"] == 4
    assert "the engine process died" in stranger.logs.strip().splitlines()[-1]


@pytest.fixture
def api(endpoint: Container, endpoint_port: int) -> Iterator[Client]:  # noqa: ARG001 - the endpoint has to run
    """The endpoint, from outside."""
    client = Client(f"http://127.0.0.1:{endpoint_port}")
    yield client
    client.http.close()


def test_check_13_it_serves_on_the_port_the_platform_names(endpoint: Container, api: Client) -> None:
    assert api.answer(QUESTION)["usage"]["completion_tokens"] > 0
    refused = endpoint.python("import socket; print(socket.socket().connect_ex(('127.0.0.1', 8080)))")
    assert refused.strip() != "0"
    eventually(lambda: endpoint.state["Health"]["Status"] == "healthy", "HEALTHCHECK on this port")


def test_serving_properties_in_a_read_only_directory_outrank_variables(endpoint: Container, api: Client) -> None:
    assert api.http.get("/v1/models").json()["data"][0]["max_model_len"] == 4096
    assert "Read-only file system" in docker("exec", endpoint.name, "touch", "/opt/ml/model/x").stderr


def test_the_cache_is_up_and_within_the_memory_limit(endpoint: Container, api: Client) -> None:
    told = api.metrics()
    assert told["lmi_cache_server_up"] == 1
    assert 0 < told["lmi_cache_tier_bytes"] < (ENDPOINT_MEMORY_GIB - 4) * 2**30
    assert not endpoint.state["OOMKilled"]


def test_row_26_no_log_holds_a_secret(endpoint: Container) -> None:
    files = output_of("exec", endpoint.name, "sh", "-c", "cat /tmp/lmi-*/*.log")
    assert SECRET not in endpoint.logs + files


def test_must_show_4_docker_stop_under_64_streams_drains_and_exits_0(endpoint: Container, api: Client) -> None:
    endings: list[str] = []
    # One client for all: each would read the machine's certificates for itself, and the first streams would end before.
    client = httpx.Client(base_url=api.url, timeout=60, limits=httpx.Limits(max_connections=None), trust_env=False)

    def read() -> None:
        with client.stream("POST", "/invocations", json=LONG) as response:
            endings.append(list(response.iter_lines())[-2])

    threads = [threading.Thread(target=read) for _ in range(STREAMS)]
    for thread in threads:
        thread.start()
    eventually(lambda: api.requests_running() == STREAMS, f"{STREAMS} streams")
    processes = endpoint.processes()
    began = time.monotonic()
    output_of("stop", "--time", str(STOP_SECONDS), endpoint.name)
    seconds = time.monotonic() - began
    for thread in threads:
        thread.join(STOP_SECONDS)
    client.close()
    assert endpoint.state["ExitCode"] == 0, endpoint.logs[-2000:]
    assert seconds < STOP_SECONDS
    assert len(endings) == STREAMS
    assert [line for line in endings if line != "data: [DONE]" and '"error"' not in line] == []
    assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == []
