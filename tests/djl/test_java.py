"""The handler in DJL's own Java engine, under DJL's Python engine and under ours: what a caller gets is the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.djl_wire.parts import Parts
from tests.container.test_front_ends import CASES, environ_of, planned
from tests.djl.host import EngineKind, Host, hosting
from tests.handlers.lora import write_adapter
from tests.timing import LONG_SECONDS, assert_within, eventually

pytestmark = pytest.mark.djl
MIB = 1024 * 1024
STREAM_SECONDS = 1.0


def texts(stream: str) -> list[str]:
    events = [json.loads(event.removeprefix("data: ")) for event in stream.split("\n\n")[:-2]]
    return [event["choices"][0]["text"] for event in events]


def test_a_reply_arrives_with_its_status_its_headers_and_its_body(host: Host) -> None:
    told = host.ask({"prompt": "Grüße, 日本 😀"})
    assert (told["lost"], told["status"], told["headers"]["content-type"]) == (False, 200, "application/json")
    assert json.loads(told["body"])["choices"][0]["text"] == "Grüße, 日本 😀"


def test_a_stream_arrives_event_by_event(host: Host) -> None:
    told = host.ask({"prompt": "a", "stream": True, "max_tokens": 50})
    assert told["headers"]["content-type"] == "text/event-stream; charset=utf-8"
    assert texts(told["body"]) == [f"a-{number} " for number in range(50)]
    assert told["body"].endswith("data: [DONE]\n\n")
    assert told["chunks"] > 10


def test_row_03_a_stream_that_fails_in_the_middle_ends_and_says_so(host: Host) -> None:
    told = host.ask({"prompt": "break", "stream": True, "max_tokens": 3})
    first, error = told["body"].split("\n\n")[:2]
    assert json.loads(first.removeprefix("data: "))["choices"][0]["text"] == "break-0 "
    assert json.loads(error.removeprefix("data: "))["error"]["code"] == 500
    assert "[DONE]" not in told["body"]


def test_a_stream_may_be_json_lines(host: Host) -> None:
    told = host.ask({"prompt": "a", "stream": True, "max_tokens": 3}, accept="application/jsonlines")
    assert told["headers"]["content-type"] == "application/jsonlines"
    assert [json.loads(line)["choices"][0]["text"] for line in told["body"].splitlines()] == ["a-0 ", "a-1 ", "a-2 "]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{not json", 400, "The request body is not valid JSON"),
        ('{"other": 1}', 400, "messages"),
        ("", 400, ""),
        ('{"prompt": "x", "model": "unknown"}', 404, "unknown"),
    ],
)
def test_an_error_has_its_status_and_one_line_that_says_why(host: Host, body: str, status: int, said: str) -> None:
    told = host.ask(body)
    error = json.loads(told["body"])
    assert (told["status"], error["code"]) == (status, status)
    assert said in error["error"]
    # Java makes it the reason phrase, where Netty refuses a line end and answers 500.
    assert told["message"] == error["error"]
    assert not {"\r", "\n"} & set(told["message"])


def test_ten_megabytes_go_in_and_come_out(host: Host) -> None:
    prompt = "é€😀x" * MIB
    told = host.ask({"prompt": prompt})
    assert json.loads(told["body"])["choices"][0]["text"] == prompt
    assert told["largest"] <= 4 * MIB  # Java ends the engine over a frame of more than 20 MiB


def test_a_reply_larger_than_a_frame_of_java_may_be_arrives_whole(host: Host) -> None:
    told = host.ask({"prompt": "0123456789" * 1000, "max_tokens": 2500})
    assert len(json.loads(told["body"])["choices"][0]["text"]) == 25_000_000


def test_256_streams_at_once_arrive_whole(host: Host) -> None:
    asked = [host.asking({"prompt": str(n), "stream": True, "max_tokens": 100}) for n in range(256)]
    for number, answer in enumerate(asked):
        told = answer.result(LONG_SECONDS)
        assert texts(told["body"]) == [f"{number}-{token} " for token in range(100)]


@pytest.mark.parametrize("threads", ["as planned", "as Java has them"])
def test_row_01_no_reply_and_no_ping_waits_for_another_reply(parts: Parts, tmp_path: Path, threads: str) -> None:
    # Java takes a thread less than there are processors, and with two of them a new one each time: here it sees four.
    options = ["-XX:ActiveProcessorCount=4"]
    if threads == "as planned":
        argv = planned(environ_of(CASES[0].parent / "plain")).argv
        options += [argument for argument in argv if argument.startswith("-Djava.util.concurrent.ForkJoinPool.common")]
    prompt = {"prompt": "slowly", "stream": True, "max_tokens": round(STREAM_SECONDS / 0.02)}
    request = {"properties": {"Content-Type": "application/json"}, "content": {"data": json.dumps(prompt)}}
    with hosting(parts, "ours", tmp_path, "tests.djl.fake", JAVA_TOOL_OPTIONS=" ".join(options)) as host:
        if threads == "as planned":
            assert_within(STREAM_SECONDS, lambda: max(_delivered(host, request)))
        else:
            assert min(_delivered(host, request)) > STREAM_SECONDS / 2


def _delivered(host: Host, request: dict[str, Any]) -> tuple[float, float]:
    """Return after how many seconds the last of 16 replies began, and how many /ping took meanwhile."""
    told = host.send("deliver", count=16, **request).result(LONG_SECONDS)
    return told["began"], told["ping"]


def test_a_reader_who_looks_at_the_worst_moment_has_all_of_the_reply(host: Host) -> None:
    told = host.ask({"prompt": "later"}, what="worst")
    assert json.loads(told["body"])["choices"][0]["text"] == "later"
    told = host.ask({"prompt": "later", "stream": True, "max_tokens": 3}, what="worst")
    assert texts(told["body"]) == ["later-0 ", "later-1 ", "later-2 "]


def test_a_reply_in_one_frame_is_lost_to_a_reader_who_looks_at_the_worst_moment(
    parts: Parts, kind: EngineKind, tmp_path: Path
) -> None:
    with hosting(parts, kind, tmp_path, "tests.djl.one_frame") as host:
        assert host.ask({}, what="worst")["lost"] is True
        assert host.ask({})["body"] == "all of it"


def test_no_short_reply_of_2000_is_lost(host: Host) -> None:
    given = {"properties": {"Content-Type": "application/json"}, "content": {"data": '{"prompt": "hi"}'}}
    told = host.send("many", count=2000, threads=16, **given).result(LONG_SECONDS)
    assert (told["ended"], told["lost"], told["wrong"]) == (True, 0, 0)


def test_the_names_java_gives_a_request_do_not_reach_what_is_answered(host: Host) -> None:
    told = host.ask({"prompt": "x"})
    seen = {name: value for name, value in told["headers"].items() if name != "request_tracking_id"}
    assert "internal-request-id" not in f"{seen} {told['body']}"
    assert told["headers"]["request_tracking_id"] not in f"{seen} {told['body']}"


def test_query_parameters_come_along(host: Host) -> None:
    told = host.ask({"prompt": "x"}, query={"adapter": "nobody"})
    assert (told["status"], "nobody" in told["body"]) == (404, True)


def test_an_adapter_is_registered_used_updated_and_removed(host: Host, adapters: Path) -> None:
    source = str(write_adapter(adapters / "french"))
    assert host.adapter("register", "french", source, preload="true")["status"] == 200
    told = host.ask({"prompt": "x"}, X_Amzn_SageMaker_Adapter_Identifier="french")
    assert told["status"] == 200
    assert host.adapter("update", "french", source, pin="true")["status"] == 200
    assert host.adapter("unregister", "french")["status"] == 200
    assert host.ask({"prompt": "x"}, X_Amzn_SageMaker_Adapter_Identifier="french")["status"] == 404
    eventually(lambda: host.send("active").result(LONG_SECONDS)["active"] == 0, "each call was answered to its end")


def test_row_08_an_adapter_that_is_not_preloaded_is_used_all_the_same(host: Host, adapters: Path) -> None:
    source = str(write_adapter(adapters / "lazy"))
    assert host.adapter("register", "lazy", source, preload="false")["status"] == 200
    assert host.ask({"prompt": "x"}, X_Amzn_SageMaker_Adapter_Identifier="lazy")["status"] == 200
    assert host.adapter("unregister", "lazy")["status"] == 200


def test_an_adapter_that_cannot_be_is_told_at_once(host: Host, adapters: Path) -> None:
    told = [host.adapter("register", "ghost", str(adapters / "nowhere")) for _ in range(20)]
    assert {answer["status"] for answer in told} == {404}
    assert min(answer["micros"] for answer in told) < 5000
    assert host.adapter("unregister", "ghost")["status"] == 404
