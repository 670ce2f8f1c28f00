"""A model's and its adapters' `model.py`, black-box: LMI's examples, who overrides whom, and what a mistake costs.

Row 25 of the defects of LMI's own handler (executed many times), 3 (a stream that raises hangs its caller), 21 (code
of an adapter that was refused is run).
"""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.adapter_calls import IDENTIFIER, ask, completion, describe, read, register, registered, send
from tests.e2e.adapters import write_adapter
from tests.e2e.client import Client, Json, error_object, json_lines, pinging, refusal, sse
from tests.e2e.models import write_model
from tests.e2e.scripts import RAN, SIGNING, UNABLE, WISH
from tests.e2e.server import ROOT, Server, free_port
from tests.e2e.test_configuration import container
from tests.e2e.test_health import PING_SECONDS
from tests.timing import assert_within

EXAMPLES = ROOT / "tests" / "handlers" / "lmi_examples"
TGI: Json = {"inputs": "Once upon a time", "parameters": {"max_new_tokens": 6}}


@pytest.fixture
def api(lora: Server) -> Client:
    return lora.client


def wish(what: str, adapter: str = "") -> dict[str, str]:
    return {WISH: what} | ({IDENTIFIER: adapter} if adapter else {})


def example(name: str, directory: Path) -> Path:
    """Make an adapter with a script of LMI's documentation, as it is printed there."""
    write_adapter(directory, 600)
    shutil.copy(EXAMPLES / name / "model.py", directory)
    return directory


def records(text: str) -> list[Json]:
    """Return the JSON of every event, `[DONE]` or not."""
    return json_lines("".join(f"{line[6:]}\n" for line in text.splitlines() if line.startswith("data: {")))


def test_row_25_a_script_is_executed_once(api: Client, place: Path) -> None:
    signed = send_wish(api, "sign")
    assert signed["signed"] == "base"
    workers = (place / "lora-model" / RAN).read_text().split()  # of other servers over the same directory, too
    assert workers.count(str(signed["worker"])) == 1


def test_the_input_formatters_of_lmis_documentation_run_unchanged(api: Client, yard: Path) -> None:
    base, own = example("input_base", yard / "input-base"), example("input_adapter", yard / "input-adapter")
    with registered(api, base=base, own=own):

        def told(adapter: str, field: str, text: str) -> str:
            body = {field: text, "parameters": {"max_new_tokens": 3, "do_sample": False, "temperature": 1.0}}
            response = api.invoke(body, {IDENTIFIER: adapter})
            assert response.status_code == 200, response.text
            return str(response.json()["generated_text"])

        assert told("base", "inputPrompt", "Hello") == told("base", "inputs", "Hello")
        assert told("own", "inputs", "Hello") == told("base", "inputs", "[ADAPTER_PREFIX] Hello")


def test_the_output_formatters_of_lmis_documentation_run_unchanged(api: Client, yard: Path) -> None:
    base, own = example("output_base", yard / "output-base"), example("output_adapter", yard / "output-adapter")
    with registered(api, base=base, own=own):
        told = api.invoke(TGI, {IDENTIFIER: "base"}).json()
        assert told["generated_text"].startswith("[BASE] ")
        assert told["original_length"] == len(told["generated_text"].removeprefix("[BASE] "))
        assert told["custom_formatter_applied"] is True
        assert abs(told["formatter_timestamp"] - time.time()) < 60
        told = api.invoke(TGI, {IDENTIFIER: "own"}).json()
        text = told["generated_text"].removeprefix("[ADAPTER] ")
        assert (told["adapter_name"], told["adapter_version"]) == ("my_adapter", "1.0")
        assert told["custom_metrics"] == {"text_length": len(text), "word_count": len(text.split())}
        *_, last = json_lines(api.stream(TGI, {IDENTIFIER: "own"})[1])
        assert last["generated_text"] == f"[ADAPTER] {text}"


def test_each_text_of_a_batch_goes_through_the_formatters_of_lmis_documentation(api: Client, yard: Path) -> None:
    own, shown = example("input_adapter", yard / "input-batch"), example("output_adapter", yard / "output-batch")
    parameters = {"max_new_tokens": 3, "do_sample": False, "temperature": 1.0}
    with registered(api, own=own, shown=shown):

        def told(inputs: str | list[str], adapters: str | list[str]) -> Any:
            return api.answer({"inputs": inputs, "adapters": adapters, "parameters": parameters})

        for adapters in (["own", "own"], ["own", ""], ["", "own", "plain"]):
            texts = ["Hello", "Once upon a time", "The"][: len(adapters)]
            assert told(texts, adapters) == [told(text, name) for text, name in zip(texts, adapters, strict=True)]
        assert told(["Hello"], "own") == [told("Hello", "own")]
        assert [each["adapter_name"] for each in told(["Hello", "The"], "shown")] == ["my_adapter"] * 2
        lines = json_lines(api.stream({"inputs": ["Hello", "The"], "adapters": "own", "parameters": parameters})[1])
        ends = {line["index"]: line["generated_text"] for line in lines if line["generated_text"] is not None}
        assert [ends[0], ends[1]] == [told(text, "own")["generated_text"] for text in ("Hello", "The")]


def test_an_adapters_formatter_overrides_the_bases_and_one_without_uses_it(api: Client) -> None:
    assert send_wish(api, "sign", "a-b")["signed"] == "a-b"
    assert send_wish(api, "sign", "plain")["signed"] == "base"
    assert send_wish(api, "sign", "plain")["adapter"] == "plain"
    assert send_wish(api, "sign")["signed"] == "base"
    assert "signed" not in send_wish(api, "")


def send_wish(api: Client, what: str, adapter: str = "") -> Json:
    response = api.invoke(completion(), wish(what, adapter))
    assert response.status_code == 200, response.text
    told: Json = response.json()
    return told


def test_scripts_of_names_that_look_alike_share_nothing(api: Client) -> None:
    first = send_wish(api, "", "a-b")["calls"]
    for _ in range(3):
        assert send_wish(api, "", "a.b")["signed"] == "a.b"
    again = send_wish(api, "", "a-b")
    assert (again["signed"], again["calls"]) == ("a-b", first + 1)


def test_a_formatter_may_ask_for_the_tokenizer_and_read_by_attributes(api: Client) -> None:
    assert send_wish(api, "count tokens")["choices"]
    told = send_wish(api, "attributes")
    assert told["text"] == ask(api).text
    assert told["id"]


def test_a_formatter_may_drop_chunks_and_emit_text_of_its_own(api: Client) -> None:
    dropped = api.invoke(completion(stream=True), wish("drop all but the end"))
    (only,) = sse(dropped.text)
    assert only["choices"][0]["finish_reason"]
    own = api.invoke(completion(stream=True), wish("text of its own"))
    assert "data: of its own\n\n" in own.text


def test_a_formatter_that_raises_at_the_request_is_400(api: Client) -> None:
    error = refusal(api.invoke(completion(), wish("raise at the request")), 400)
    assert "no such dish" in error["message"]


def test_a_formatter_that_raises_at_the_reply_is_500_and_the_next_request_is_served(api: Client) -> None:
    refusal(api.invoke(completion(), wish("raise at the reply")), 500)
    assert ask(api).tokens


def test_row_03_a_formatter_that_raises_in_a_stream_ends_it_with_an_error_record(api: Client) -> None:
    response = api.invoke(completion(stream=True), wish("raise at the end"))
    assert response.status_code == 200
    *chunks, last = records(response.text)
    assert "burnt" in error_object(last, 500)["message"]
    assert len(chunks) > 1
    assert "[DONE]" not in response.text
    refusal(api.invoke(completion(stream=True), wish("raise at the reply")), 500)  # nothing was sent yet
    assert read(api.invoke(completion(stream=True))) == ask(api)


def test_requests_of_others_are_untouched_by_one_whose_formatter_raises(api: Client) -> None:
    wanted = ask(api, max_tokens=64)
    with ThreadPoolExecutor(16) as pool:
        good = [pool.submit(ask, api, max_tokens=64) for _ in range(8)]
        bad = [pool.submit(api.invoke, completion(stream=True), wish("raise at the end")) for _ in range(8)]
        assert {one.result().likeness(wanted) for one in good} <= {"equal", "near"}
        assert all("error" in one.result().text for one in bad)


def test_a_slow_formatter_keeps_only_its_own_caller_waiting(api: Client) -> None:
    def longest_ping() -> float:
        with pinging(api) as taken, ThreadPoolExecutor(4) as pool:
            slow = [pool.submit(api.invoke, completion(), wish("dawdle")) for _ in range(4)]
            done = threading.Event()
            slow[0].add_done_callback(lambda _: done.set())
            served = 0
            while not done.is_set():
                served += bool(ask(api).tokens)
            assert [one.result().status_code for one in slow] == [200] * 4
            assert served
        return max(taken)

    assert_within(PING_SECONDS, longest_ping)


def test_an_adapter_whose_script_cannot_run_is_failed_with_the_line_and_can_be_mended(api: Client, place: Path) -> None:
    for _ in range(2):
        error = refusal(send(api, "unable"), 400)
        assert "model.py:2" in error["message"].replace("<path>", "")
        assert "out of order" in error["message"]
    assert describe(api, "unable")["state"] == "failed"
    script = place / "lora-model" / "adapters" / "unable" / "model.py"
    script.write_text(SIGNING)
    try:
        assert send_wish(api, "", "unable")["signed"] == "unable"
    finally:
        script.write_text(UNABLE)


def test_a_changed_script_of_an_adapter_is_used_once_it_is_told(api: Client, adapter: Path) -> None:
    (adapter / "model.py").write_text(SIGNING.replace("Path(__file__).parent.name", "'first'"))
    with registered(api, scripted=adapter):
        assert send_wish(api, "", "scripted")["signed"] == "first"
        (adapter / "model.py").write_text(SIGNING.replace("Path(__file__).parent.name", "'second'"))
        assert register(api, "scripted", adapter).status_code == 200
        assert send_wish(api, "", "scripted")["signed"] == "second"


def test_row_21_the_script_of_an_adapter_that_is_refused_is_not_run(api: Client, yard: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = f"open({str(ran)!r}, 'w').close()\n"
    outside = register(api, "row-21", write_adapter(tmp_path / "outside", 1, script), preload="true")
    assert (outside.status_code, "outside the directories" in outside.text) == (400, True)
    refusal(register(api, "row-21", write_adapter(yard / "row-21", 1, script, use_dora=True), preload="true"), 400)
    assert not ran.exists()


def test_a_base_script_that_cannot_run_ends_the_start_with_its_line(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    (model / "model.py").write_text(UNABLE)
    run = container("serve", "--model-dir", model, "--port", str(free_port()), LMI_RUN_DIR=str(tmp_path / "run"))
    assert run.code == 2, run.output
    assert "model.py:2" in run.output
    assert "out of order" in run.output
    assert "Traceback" not in run.output
