"""Checks 47-56, 62, 63 and 77: adapters are registered, chosen and replaced as SageMaker's contract has it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.adapter_calls import (
    ALIAS,
    IDENTIFIER,
    Answer,
    ask,
    completion,
    describe,
    read,
    register,
    registered,
    remove,
    send,
)
from tests.e2e.adapters import replace_weights, write_adapter
from tests.e2e.client import Client, Json, refusal, streaming
from tests.e2e.server import Server
from tests.timing import eventually

PLATFORM = {"51": "/opt/ml/models/container_123-adapter", "77": "/opt/ml/additional-model-data-sources/channel"}


@pytest.fixture
def api(lora: Server) -> Client:
    return lora.client


def test_check_48_an_adapter_registered_by_query_answers_otherwise_than_the_base(api: Client, adapter: Path) -> None:
    assert register(api, "check-48", adapter).status_code == 200
    assert ask(api, "check-48").likeness(ask(api)) == "other"


def test_check_49_an_adapter_is_registered_by_a_json_body(api: Client, adapter: Path) -> None:
    given = {"name": "check-49", "src": str(adapter), "preload": True, "pin": False}
    assert api.post("/adapters", given).status_code == 200
    assert describe(api, "check-49")["state"] == "loaded"


def test_check_50_the_reply_names_the_alias(api: Client, adapter: Path) -> None:
    response = api.http.post("/adapters", params={"name": "opaque", "src": str(adapter)}, headers={ALIAS: "my-alias"})
    assert response.json()["status"] == "Adapter my-alias registered"


@pytest.fixture
def platform_directory(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory where SageMaker unpacks adapters, which is none of the model's."""
    directory = Path(f"{PLATFORM[request.param]}-{os.getpid()}")
    missing = [parent for parent in (directory, *directory.parents) if not parent.exists()]
    if not os.access(missing[-1].parent, os.W_OK):
        pytest.skip(f"{directory} cannot be made here")
    directory.mkdir(parents=True)
    yield directory
    shutil.rmtree(missing[-1])


@pytest.mark.parametrize("platform_directory", PLATFORM, indirect=True)
def test_checks_51_and_77_an_adapter_lies_where_the_platform_puts_it(api: Client, platform_directory: Path) -> None:
    write_adapter(platform_directory, 51)
    with registered(api, platform=platform_directory):
        assert ask(api, "platform").likeness(ask(api)) == "other"


def test_check_52_a_deleted_adapter_is_gone(api: Client, adapter: Path) -> None:
    register(api, "check-52", adapter)
    ask(api, "check-52")
    removed = remove(api, "check-52")
    assert (removed.status_code, removed.json()["adapter"]["state"]) == (200, "unregistered")
    refusal(remove(api, "check-52"), 404)
    refusal(send(api, "check-52"), 404)


@pytest.mark.parametrize("where", ["another path", "the same path"])
@pytest.mark.parametrize("way", ["delete and register", "register again", "update"])
def test_check_53_new_weights_give_new_answers(api: Client, adapter: Path, other: Path, where: str, way: str) -> None:
    prompt = "A long prompt, so that its keys and values are worth keeping. " * 20
    wanted = {}
    with registered(api, fresh_a=adapter, fresh_b=other):
        wanted = {path: ask(api, name, prompt=prompt) for path, name in ((adapter, "fresh_a"), (other, "fresh_b"))}
    register(api, "check-53", adapter)
    for path in (adapter, other):
        if path == other and where == "the same path":
            shutil.copytree(other, adapter, dirs_exist_ok=True)
        src = adapter if where == "the same path" else path
        if way == "delete and register":
            remove(api, "check-53")
        if way == "update":
            changed = api.http.post("/adapters/check-53/update", params={"src": str(src)})
        else:
            changed = register(api, "check-53", src)
        assert changed.status_code == 200
        for _ in range(2):
            assert ask(api, "check-53", prompt=prompt) == wanted[path]
    remove(api, "check-53")


def test_other_weights_at_the_same_path_are_another_revision_once_it_is_told(api: Client, adapter: Path) -> None:
    register(api, "revised", adapter)
    first = ask(api, "revised")
    replace_weights(adapter, 53)
    register(api, "revised", adapter)
    second = ask(api, "revised")
    assert second.likeness(first) == "other"


@pytest.mark.parametrize("path", ["/invocations", "/v1/completions"])
@pytest.mark.parametrize("by", ["the header", "the body", "a list in the body", "the model", "the query"])
def test_check_47_an_adapter_is_chosen_on_every_route_in_every_way(
    api: Client, adapter: Path, path: str, by: str
) -> None:
    body: dict[str, Json] = {
        "the body": {"adapters": "check-47"}, "a list in the body": {"adapters": ["check-47"]},
        "the model": {"model": "check-47"},
    }  # fmt: skip
    with registered(api, **{"check-47": adapter}):
        headers = {IDENTIFIER: "check-47"} if by == "the header" else {}
        query = "?adapter=check-47" if by == "the query" else ""
        response = api.post(path + query, completion() | body.get(by, {}), headers)
        assert response.status_code == 200, response.text
        assert read(response) == ask(api, "check-47")


def test_the_header_goes_before_the_body_and_the_body_before_the_model(api: Client, adapter: Path, other: Path) -> None:
    with registered(api, first=adapter, second=other):
        first, second = ask(api, "first"), ask(api, "second")
        assert read(api.invoke(completion(adapters="second"), {IDENTIFIER: "first"})) == first
        assert read(api.invoke(completion(adapters="second", model="first"))) == second
        assert read(api.post("/invocations?adapter=first", completion(model="second"))) == second


def test_each_input_of_a_list_has_its_adapter(api: Client, adapter: Path, other: Path) -> None:
    parameters = {"max_new_tokens": 8}
    with registered(api, first=adapter, second=other):
        alone = [
            api.invoke({"inputs": text, "parameters": parameters, "adapters": name}).json()["generated_text"]
            for text, name in (("One", "first"), ("Two", "second"), ("One", ""))
        ]
        asked = {"inputs": ["One", "Two", "One"], "parameters": parameters, "adapters": ["first", "second", ""]}
        together = api.answer(asked)
    assert [one["generated_text"] for one in together] == alone
    assert len(set(alone)) == 3


@pytest.mark.parametrize("by", ["the header", "the body", "the model", "the query"])
def test_check_54_an_unknown_adapter_is_404_and_names_nobody_elses(api: Client, adapter: Path, by: str) -> None:
    with registered(api, **{"somebody-elses": adapter}):
        body = {"the body": {"adapters": "nobodys"}, "the model": {"model": "nobodys"}}.get(by, {})
        headers = {IDENTIFIER: "nobodys"} if by == "the header" else {}
        path = "/invocations?adapter=nobodys" if by == "the query" else "/invocations"
        error = refusal(api.post(path, completion() | body, headers), 404)
    assert "nobodys" in error["message"]
    assert "somebody-elses" not in error["message"]


def test_vllms_metric_of_running_adapters_tells_those_that_run_as_their_descriptions_do(
    api: Client, adapter: Path, other: Path
) -> None:
    def told() -> list[str]:
        return [line for line in api.http.get("/metrics").text.splitlines() if line.startswith("vllm:lora_requests_in")]

    with registered(api, running=adapter, ran=other):
        ask(api, "ran")
        with streaming(api, completion(adapters="running", max_tokens=12_000)):
            eventually(lambda: describe(api, "running")["state"] == "loaded", "it is loaded")
            series = f'running_lora_adapters="{describe(api, "running")["engine_name"]}"'
            eventually(lambda: any(series in line for line in told()), "it is told")
            assert len(told()) == 1


def test_check_55_the_base_answers_the_same_before_and_after_adapters(api: Client, adapter: Path, other: Path) -> None:
    def told() -> Answer:
        return ask(api, max_tokens=32)

    before = told()
    with registered(api, first=adapter, second=other):
        ask(api, "first")
        assert told() == before
        ask(api, "second")
    assert told() == before


def test_check_56_the_same_registration_again_is_200(api: Client, adapter: Path) -> None:
    assert [register(api, "check-56", adapter).status_code for _ in range(3)] == [200] * 3
    loads = api.metric("lmi_adapter_loads_total")
    ask(api, "check-56")
    assert register(api, "check-56", adapter).status_code == 200
    ask(api, "check-56")
    assert api.metric("lmi_adapter_loads_total") == loads + 1


def test_check_62_replies_show_the_alias_and_never_the_opaque_name(api: Client, adapter: Path) -> None:
    api.http.post("/adapters", params={"name": "opaque-62", "src": str(adapter)}, headers={ALIAS: "shown-62"})
    whole = send(api, "opaque-62")
    streamed = send(api, "opaque-62", stream=True)
    error = send(api, "opaque-62", temperature=-1)
    assert whole.json()["model"] == "shown-62"
    assert '"model":"shown-62"' in streamed.text.replace(" ", "")
    for response in (whole, streamed, error):
        assert "lmi-adapter-" not in response.text + str(response.headers)
        assert "opaque-62" not in response.text


def test_check_63_adapters_are_listed_page_by_page(api: Client, adapter: Path) -> None:
    with registered(api, **{f"paged-{number}": adapter for number in range(5)}):
        found: list[str] = []
        page: Json = {"nextPageToken": "0"}
        while "nextPageToken" in page:
            page = api.http.get("/adapters", params={"limit": 2, "next_page_token": page["nextPageToken"]}).json()
            assert len(page["adapters"]) <= 2
            found += [one["name"] for one in page["adapters"]]
        assert len(found) == len(set(found))
        assert {f"paged-{number}" for number in range(5)} <= set(found)
        one = describe(api, "paged-1")
    assert (one["name"], one["src"], one["preload"], one["pin"]) == ("paged-1", str(adapter), False, False)


def test_check_63_the_routes_are_there_under_the_model_too(api: Client, adapter: Path) -> None:
    at = "/models/lmi/adapters"
    assert api.http.post(at, params={"name": "check-63", "src": str(adapter)}).status_code == 200
    assert api.http.get(f"{at}/check-63").json() == describe(api, "check-63")
    assert "check-63" in api.http.get(f"{at}?limit=1000").text
    assert api.http.post(f"{at}/check-63/update", params={"preload": "true"}).status_code == 200
    assert api.http.delete(f"{at}/check-63").status_code == 200
    refusal(api.http.get("/models/another/adapters"), 404)


def test_a_file_url_is_a_path(api: Client, adapter: Path) -> None:
    assert register(api, "file-url", f"file://{adapter}").status_code == 200
    assert ask(api, "file-url").likeness(ask(api)) == "other"
