"""Scripts that read bodies and write replies themselves, black-box: DJL's `handle`, SageMaker's `input_fn`."""

from pathlib import Path

import pytest

from tests.e2e.adapter_calls import IDENTIFIER, ask, registered
from tests.e2e.client import Client, Json, json_lines, refusal
from tests.e2e.scripts import HANDLING, SAGEMAKER, WISH
from tests.e2e.server import Server
from tests.timing import eventually

TGI: Json = {"inputs": "Once upon a time", "parameters": {"max_new_tokens": 6}}


@pytest.fixture
def api(lora: Server) -> Client:
    return lora.client


def test_a_handler_answers_by_itself_or_leaves_a_request_to_its_ordinary_way(api: Client) -> None:
    assert api.invoke({"anything": 1}, {WISH: "handle"}).json() == {"handled": {"anything": 1}}
    assert ask(api).tokens


def test_an_adapters_handler_answers_streams_or_leaves_a_request_to_the_model(api: Client, adapter: Path) -> None:
    (adapter / "model.py").write_text(HANDLING)
    words = {"Content-Type": "text/words", IDENTIFIER: "handling"}
    with registered(api, handling=adapter):
        counted = api.invoke(b"Once upon a time", words)
        assert (counted.json(), counted.headers["x-counted"]) == ({"words": 4}, "yes")
        streamed = api.invoke(b"Once upon", {**words, WISH: "stream"})
        assert json_lines(streamed.text) == [{"outputs": "Once"}, {"outputs": "upon"}]
        assert ask(api, "handling").tokens
        refusal(api.invoke(b"Once upon a time", {"Content-Type": "text/words"}), 415)  # the base model's has no use


def test_input_fn_and_output_fn_read_and_write_types_of_their_own(api: Client, adapter: Path) -> None:
    (adapter / "model.py").write_text(SAGEMAKER)
    own = {IDENTIFIER: "sagemaker"}
    with registered(api, sagemaker=adapter):
        told = api.invoke(TGI, own)
        assert told.status_code == 200, told.text
        words = api.invoke(b"Once upon a time", {**own, "Content-Type": "text/words", "Accept": "text/words"})
        assert (words.text, words.headers["content-type"]) == (told.json()["generated_text"], "text/words")
        assert [each["generated_text"] for each in api.invoke({**TGI, "inputs": [TGI["inputs"]]}, own).json()] == [
            words.text
        ]
        for body in (b"[]", b"null", b"3"):
            assert "must be a JSON object, not " in refusal(api.invoke(body, own), 400)["message"]


def test_a_script_without_effect_is_told_on_the_console(lora: Server, adapter: Path) -> None:
    (adapter / "model.py").write_text("def input_formatter(payload):\n    return payload\n")
    with registered(lora.client, idle=adapter):
        assert ask(lora.client, "idle").tokens
    told = f"{adapter}/model.py has no effect: nothing in it is decorated"
    eventually(lambda: lora.output.count(told) == 1, "the warning")
