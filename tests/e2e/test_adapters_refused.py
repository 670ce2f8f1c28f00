"""Checks 57, 58, 61, 64 and 66: what cannot be an adapter is refused in words, and leaves nothing behind."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from autoconfig.adapters import FIXED_ROOTS
from tests.e2e.adapter_calls import ask, completion, describe, read, register, registered, remove, send
from tests.e2e.adapters import DEFECTS, write_adapter
from tests.e2e.client import Client, refusal
from tests.e2e.server import Server


@pytest.fixture
def api(lora: Server) -> Client:
    return lora.client


def test_check_57_a_registration_without_name_or_src_is_400(api: Client, adapter: Path) -> None:
    for given in ({}, {"name": "x"}, {"src": str(adapter)}, {"name": "", "src": str(adapter)}):
        refusal(api.http.post("/adapters", params=given), 400)
        refusal(api.post("/adapters", given), 400)
    refusal(register(api, "x", adapter, preload="false", pin="true"), 400)


def test_check_57_no_url_is_fetched(api: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        port = listener.getsockname()[1]
        for scheme in ("http", "https", "s3", "hf", "ftp"):
            refusal(register(api, "remote", f"{scheme}://127.0.0.1:{port}/adapter"), 400)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_directory_outside_the_roots_is_refused_and_untouched(api: Client, tmp_path: Path, yard: Path) -> None:
    outside = write_adapter(tmp_path / "outside", 1, "from pathlib import Path\nPath(__file__ + '.ran').touch()\n")
    (yard / "way-out").symlink_to(outside)
    by_dots = f"{yard}/../{os.path.relpath(outside, yard.parent)}"
    for src in (str(outside), by_dots, f"{yard}/way-out", f"file://{outside}", "/etc", "adapter"):
        told = register(api, "outside", src)
        # Whoever registers adapters may know where they may lie.
        refusal(told, 400, paths=(f"{yard.parent}/lora-model", str(yard), *FIXED_ROOTS))
        assert src == "adapter" or all(root in told.text for root in (str(yard), *FIXED_ROOTS))
        refusal(send(api, "outside"), 404)
    assert not (outside / "model.py.ran").exists()


@pytest.mark.parametrize(("make", "word"), DEFECTS.values(), ids=DEFECTS)
def test_check_58_a_bad_adapter_is_refused_in_words_and_not_registered(
    api: Client, yard: Path, request: pytest.FixtureRequest, make: Callable[[Path], object], word: str
) -> None:
    bad = yard / "bad" / request.node.callspec.id.replace(" ", "-")
    make(bad)
    for more in ({}, {"preload": "true"}):
        response = register(api, "bad", bad, **more)
        assert word in refusal(response, 400)["message"]
    refusal(api.http.get("/adapters/bad"), 404)
    refusal(send(api, "bad"), 404)
    assert api.http.get("/ping").status_code == 200
    assert ask(api).tokens


def test_check_58_a_directory_that_does_not_exist_is_404(api: Client, yard: Path) -> None:
    src = str(yard / "nowhere")
    assert src in refusal(register(api, "bad", src), 404, paths=(src,))["message"]


def test_an_adapter_that_failed_is_no_model_until_its_files_are_back(api: Client, adapter: Path) -> None:
    def models() -> list[str]:
        return [model["id"] for model in api.http.get("/v1/models").json()["data"]]

    with registered(api, failing=adapter):
        away = adapter.rename(adapter.with_name(f"{adapter.name}-away"))
        assert str(adapter) not in refusal(send(api, "failing"), 400)["message"]
        found = describe(api, "failing")
        assert (found["state"], str(adapter) in found["reason"], "failing" in models()) == ("failed", True, False)
        away.rename(adapter)
        assert ask(api, "failing").tokens
        assert "failing" in models()


def test_a_slip_of_the_pen_is_refused_and_what_the_platform_may_add_is_not(api: Client, adapter: Path) -> None:
    assert "preload" in refusal(register(api, "slip", adapter, preloaded="true"), 400)["message"]
    response = register(api, "slip", adapter, added_by_the_platform="x")
    assert (response.status_code, response.json()["ignored"]) == (200, ["added_by_the_platform"])


NAMES = ("team/summaries", "50%", "v1.2", "a b", "Zürich", "x" * 256, "update", "a/update", "?adapter=x")


@pytest.mark.parametrize("name", NAMES)
def test_check_61_an_odd_name_is_registered_used_and_deleted(api: Client, adapter: Path, name: str) -> None:
    assert register(api, name, adapter).status_code == 200
    assert describe(api, name)["name"] == name
    body = completion(adapters=name)
    assert read(api.invoke(body)).likeness(ask(api)) == "other"
    assert remove(api, name).status_code == 200
    refusal(api.invoke(body), 404)


@pytest.mark.parametrize("name", ["x" * 257, "a\nb", "\0", "lmi"])
def test_check_61_what_cannot_be_a_name_is_400(api: Client, adapter: Path, name: str) -> None:
    refusal(register(api, name, adapter), 400)


def test_check_64_without_lora_adapters_are_refused_with_400(tiny: Server, yard: Path) -> None:
    src = write_adapter(yard / "check-64", 64)
    replies = (register(tiny.client, "x", src), tiny.client.http.get("/adapters"), remove(tiny.client, "x"))
    for response in replies:
        assert "option.enable_lora" in refusal(response, 400)["message"]


@pytest.mark.parametrize("route", ["/adapters", "/adapters?name=x&src=/opt/ml/model", "/v1/load_lora_adapter"])
def test_check_66_no_management_route_is_reached_through_invocations(api: Client, adapter: Path, route: str) -> None:
    before = api.http.get("/adapters").json()
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": f"route={route}", "X-Amzn-SageMaker-Route": route}
    responses: list[httpx.Response] = [
        api.invoke({"name": "smuggled", "src": str(adapter)}, attributes),
        api.invoke({"lora_name": "smuggled", "lora_path": str(adapter)}, attributes),
        api.post("/v1/load_lora_adapter", {"lora_name": "smuggled", "lora_path": str(adapter)}),
    ]
    assert [response.status_code // 100 for response in responses] == [4] * 3
    assert read(api.invoke(completion(), attributes)) == ask(api)
    assert api.http.get("/adapters").json() == before
