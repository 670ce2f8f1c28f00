"""A real engine behind the handler in DJL's Java engine, under DJL's Python engine and under ours."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.djl_wire.parts import Parts
from container.frontends.djl_settings import model_properties
from container.prepare import prepare
from tests.djl.host import EngineKind, Host, hosting
from tests.e2e.adapters import write_adapter
from tests.e2e.models import SPLIT_CHARACTERS, write_model
from tests.e2e.server import START_SECONDS, clean_environment
from tests.timing import LONG_SECONDS

pytestmark = [pytest.mark.djl, pytest.mark.engine, pytest.mark.timeout(START_SECONDS + 60)]
CHAT = {"messages": [{"role": "user", "content": "Say something"}], "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vllm")


@pytest.fixture(scope="module")
def host(parts: Parts, kind: EngineKind, place: Path) -> Iterator[Host]:
    """A JVM with a tiny model, told by the properties that `frontend=djl` writes."""
    directory = place / kind
    directory.mkdir()
    if not (place / "model").exists():
        write_model(place / "model")
    environ = clean_environment(
        LMI_RUN_DIR=str(directory), OPTION_MODEL_ID=str(place / "model"), OPTION_DTYPE="float32",
        OPTION_ENABLE_LORA="true", OPTION_MAX_LORAS="2", OPTION_ADAPTER_ROOTS=str(place), OPTION_PREDICT_TIMEOUT="8",
        OPTION_MAX_LORA_RANK="16", OPTION_MAX_MODEL_LEN="4096", OPTION_LMCACHE_AUTO_CONFIG="false",
    )  # fmt: skip
    launch = prepare(environ).engine
    for name in ("empty", "ipc"):  # as `serve` does
        (directory / name).mkdir()
    file = directory / "launch-plan.json"
    file.write_text(json.dumps({"version": 1, "worker": launch.plan.to_json(), "children": []}))
    told = model_properties(launch.plan, file, START_SECONDS)
    options = {name.removeprefix("option."): value for name, value in told.items() if name.startswith("option.")}
    entry_point = options.pop("entryPoint")
    for default in ("async_mode", "rolling_batch"):
        del options[default]
    with hosting(parts, kind, directory, entry_point, options, **launch.environment) as running:
        yield running


def texts(stream: str) -> str:
    events = [json.loads(event.removeprefix("data: ")) for event in stream.split("\n\n") if "choices" in event]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def test_a_chat_is_answered(host: Host) -> None:
    told = host.ask(CHAT)
    answer = json.loads(told["body"])
    assert (told["status"], answer["object"], answer["usage"]["completion_tokens"]) == (200, "chat.completion", 8)
    assert "internal-request-id" not in told["body"]


def test_a_stream_says_what_the_whole_answer_says(host: Host) -> None:
    whole = json.loads(host.ask(CHAT)["body"])["choices"][0]["message"]["content"]
    streamed = host.ask(CHAT | {"stream": True})
    assert texts(streamed["body"]) == whole
    assert streamed["body"].endswith("data: [DONE]\n\n")
    assert streamed["chunks"] >= 8


def test_lmis_own_schema_streams_json_lines(host: Host) -> None:
    told = host.ask({"inputs": "Say 1", "parameters": {"max_new_tokens": 12}, "stream": True})
    lines = [json.loads(line) for line in told["body"].splitlines()]
    assert told["headers"]["content-type"] == "application/jsonlines"
    assert lines[-1]["generated_text"] is not None
    assert SPLIT_CHARACTERS[0] in lines[-1]["generated_text"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(CHAT | {"temperature": -1}, 400), (CHAT | {"max_tokens": 100_000}, 400), (CHAT | {"model": "other"}, 404)],
)
def test_what_vllm_refuses_is_told_in_one_line_with_its_status(host: Host, body: object, status: int) -> None:
    told = host.ask(body)
    assert told["status"] == status
    assert json.loads(told["body"])["error"] == told["message"]
    assert "\n" not in told["message"]


def test_a_request_that_takes_too_long_is_ended_by_its_deadline(host: Host) -> None:
    told = host.ask({"prompt": "go on", "max_tokens": 4000, "ignore_eos": True, "n": 8})
    assert (told["status"], "option.predict_timeout" in told["body"]) == (504, True)


def test_sixteen_streams_at_once_are_all_complete(host: Host) -> None:
    asked = [host.asking(CHAT | {"stream": True, "seed": n, "temperature": 1}) for n in range(16)]
    assert all(answer.result(LONG_SECONDS)["body"].endswith("data: [DONE]\n\n") for answer in asked)


def test_an_adapter_answers_after_its_registration_and_no_more_after_its_removal(host: Host, place: Path) -> None:
    source = write_adapter(place / "adapter", seed=1)
    plain = json.loads(host.ask(CHAT)["body"])["choices"][0]["message"]["content"]
    told = host.adapter("register", "one", str(source), preload="false")
    assert (told["status"], "registered" in told["body"]) == (200, True)
    adapted = host.ask(CHAT, X_Amzn_SageMaker_Adapter_Identifier="one")
    assert adapted["status"] == 200
    assert json.loads(adapted["body"])["choices"][0]["message"]["content"] != plain
    assert host.ask(CHAT, query={"adapter": "one"})["status"] == 200
    assert host.adapter("unregister", "one")["status"] == 200
    assert host.ask(CHAT, X_Amzn_SageMaker_Adapter_Identifier="one")["status"] == 404


def test_an_adapter_that_does_not_fit_the_model_is_refused(host: Host, place: Path) -> None:
    source = write_adapter(place / "wide", seed=2, rank=32)
    told = host.adapter("register", "wide", str(source))
    assert (told["status"], "rank" in told["body"]) == (400, True)
