"""The adapters' HTTP interface, as SageMaker's platform, LMI's and vLLM's clients call it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from starlette.types import Message

from handlers import routes
from handlers.adapters.routes import AdapterRoutes
from handlers.errors import RequestError
from handlers.exchange import Exchange
from tests.handlers.asgi import Response, scope_of
from tests.handlers.lora import FakeLora, registry, write_adapter

OUTSIDE = "src is outside the directories of adapters (option.adapter_roots adds to them): {root}."
ODD_NAMES = ["a/b", "a%2Fb", "100%", "..", "a.b", "ü 😀+&?#", "x/update", "n" * 256]


class Caller:
    """Calls the routes over one registry."""

    def __init__(self, root: Path, enabled: bool = True) -> None:
        self.engine = FakeLora()
        self._routes = AdapterRoutes(registry(self.engine, root) if enabled else None, ("tiny", "org/tiny"))

    async def call(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        response = Response()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                response.chunks.append(message["body"])

        scope = scope_of(method, target, headers)
        assert routes.find(scope["path"]) is not None
        exchange = Exchange(scope, receive, send, lambda: 0.0)
        try:
            await self._routes.answer(exchange)
        except RequestError as error:
            await exchange.fail(error)
        return response

    async def post(self, path: str = "/adapters", body: Any = None, **query: str) -> Response:
        raw = b"" if body is None else json.dumps(body).encode()
        return await self.call("POST", f"{path}?{urlencode(query)}", raw)


Test = Callable[[Caller], Awaitable[None]]


def run(root: Path, test: Test, enabled: bool = True) -> None:
    asyncio.run(asyncio.wait_for(test(Caller(root, enabled)), 20))


def test_sagemaker_registers_with_query_parameters_and_reads_the_alias_back(tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        src = str(write_adapter(tmp_path / "a"))
        target = f"/adapters?{urlencode({'name': 'opaque', 'src': src, 'preload': 'False', 'more': '1'})}"
        response = await caller.call("POST", target, x_amzn_sagemaker_adapter_alias="French")
        facts = {"name": "opaque", "src": src, "alias": "French", "preload": False, "pin": False}
        facts |= {"state": "registered", "reason": "", "rank": 4, "engine_name": ""}
        told = {"status": "Adapter French registered", "adapter": facts, "ignored": ["more"]}
        assert (response.status, response.json()) == (200, told)
        assert (await caller.call("GET", "/adapters/opaque")).json() == facts
        assert (await caller.call("GET", "/adapters")).json() == {"adapters": [facts]}
        response = await caller.call("DELETE", "/adapters/opaque")
        gone = {"status": "Adapter French unregistered", "adapter": facts | {"state": "unregistered"}}
        assert (response.status, response.json()) == (200, gone)
        response = await caller.call("DELETE", "/adapters/opaque")
        assert (response.status, response.message) == (404, "The adapter `opaque` does not exist.")

    run(tmp_path, test)


def test_a_json_body_goes_before_the_query(tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        src = str(write_adapter(tmp_path / "a"))
        response = await caller.post(body={"name": "a", "src": src, "preload": True, "pin": "TRUE"}, name="b")
        assert (response.status, response.json()["status"]) == (200, "Adapter a registered")
        assert (await caller.call("GET", "/adapters/a")).json()["state"] == "loaded"
        assert (await caller.call("GET", "/adapters/b")).status == 404

    run(tmp_path, test)


@pytest.mark.parametrize("prefix", ["", "/models/tiny", "/models/model", "/models/org/tiny", "/models/org%2Ftiny"])
def test_every_route_exists_below_a_models_name_too(tmp_path: Path, prefix: str) -> None:
    async def test(caller: Caller) -> None:
        src = str(write_adapter(tmp_path / "a"))
        assert (await caller.post(f"{prefix}/adapters", name="a", src=src)).status == 200
        assert len((await caller.call("GET", f"{prefix}/adapters")).json()["adapters"]) == 1
        response = await caller.post(f"{prefix}/adapters/a/update", preload="true")
        assert (response.json()["status"], response.json()["adapter"]["state"]) == ("Adapter a updated", "loaded")
        assert (await caller.call("GET", f"{prefix}/adapters/a")).json()["preload"] is True
        assert (await caller.call("DELETE", f"{prefix}/adapters/a")).status == 200

    run(tmp_path, test)


def test_another_models_adapters_do_not_exist(tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        response = await caller.call("GET", "/models/other/adapters")
        assert (response.status, response.message) == (404, "The model `other` does not exist.")

    run(tmp_path, test)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_may_hold_anything_printable(tmp_path: Path, name: str) -> None:
    async def test(caller: Caller) -> None:
        path = f"/adapters/{quote(name, safe='')}"
        assert (await caller.post(name=name, src=str(write_adapter(tmp_path / "a")))).status == 200
        assert (await caller.call("GET", path)).json()["name"] == name
        assert (await caller.call("POST", f"{path}/update?preload=true")).status == 200
        assert (await caller.call("DELETE", path)).status == 200
        assert (await caller.call("GET", path)).status == 404

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("body", "query", "status", "message"),
    [
        (None, {}, 400, "The parameter name is required."),
        (None, {"name": "", "src": "/a"}, 400, "The parameter name is required."),
        (None, {"name": "a"}, 400, "The parameter src is required."),
        ({"name": 5, "src": "/a"}, {}, 400, "name must be a string."),
        (None, {"name": "a", "src": "/a", "pin": "yes"}, 400, "pin must be true or false."),
        ({"name": "a", "src": "/a", "preload": 1}, {}, 400, "preload must be true or false."),
        ([], {}, 400, "The request body must be a JSON object."),
        (None, {"name": "a", "src": "s3://b/a"}, 400, "A src of s3: is not fetched; give a local directory."),
        (None, {"name": "a", "src": "/srv/a/b"}, 400, OUTSIDE),
        (None, {"name": "a", "src": "b/a"}, 400, "src `b/a` is not an absolute path."),
        (None, {"name": "a", "src": "/a", "preloaded": "1"}, 400, "There is no parameter preloaded. Did you mean pre"),
        ({"name": "a", "Source": "/a"}, {}, 400, "There is no parameter Source. Did you mean src?"),
        (None, {"name": "tiny", "src": "/etc"}, 400, "`tiny` is the name of the base model."),
        (None, {"name": "a\nb", "src": "/etc"}, 400, "name must be 1 to 256 characters"),
        (None, {f"p{n}": "" for n in range(101)}, 400, "The query has more than 100 parameters."),
        (None, {"name": "a", "src": "{root}/absent"}, 404, "src `{root}/absent` does not exist."),
        (None, {"name": "a", "src": "{root}", "pin": "true", "preload": "false"}, 400, "pin=true needs preload=true"),
        (None, {"name": "a", "src": "{root}"}, 400, "The adapter `a` cannot be used: it has no adapter_config.json."),
    ],
)
def test_what_cannot_be_registered_is_refused(
    tmp_path: Path, body: object, query: dict[str, str], status: int, message: str
) -> None:
    async def test(caller: Caller) -> None:
        given = {name: value.replace("{root}", str(tmp_path)) for name, value in query.items()}
        response = await caller.post(body=body, **given)
        wanted = message.replace("{root}", str(tmp_path))
        assert (response.status, response.message[: len(wanted)]) == (status, wanted)
        assert (await caller.call("GET", "/adapters")).json() == {"adapters": []}

    run(tmp_path, test)


def test_a_body_that_is_no_json_is_refused(tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        response = await caller.call("POST", "/adapters", b"name=a")
        assert (response.status, response.message[:31]) == (400, "The request body is not valid J")
        assert (await caller.call("POST", "/adapters", b" " * 70_000)).status == 413

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("DELETE", "/adapters", 405),
        ("POST", "/adapters/a", 405),
        ("DELETE", "/adapters/absent", 404),
        ("POST", "/adapters/absent/update", 404),
        ("GET", "/adapters/absent", 404),
        ("GET", "/adapters?limit=0", 400),
        ("GET", "/adapters?limit=1001", 400),
        ("GET", "/adapters?next_page_token=x", 400),
        ("GET", "/adapters?nextPageToken=2", 400),
        ("GET", "/adapters?limt=2", 400),
        ("GET", "/adapters?next_page_token=7", 400),
        ("GET", "/adapters?next_page_token=%C3%BC", 400),
        ("GET", "/adapters?next_page_token=_w", 400),
        ("GET", "/adapters?next_page_token=", 200),
        ("HEAD", "/adapters/", 200),
    ],
)
def test_the_status_says_what_is_wrong_with_a_call(tmp_path: Path, method: str, target: str, status: int) -> None:
    async def test(caller: Caller) -> None:
        response = await caller.call(method, target)
        allowed = (
            {"/adapters": "GET, HEAD, POST", "/adapters/a": "DELETE, GET, HEAD"}[target] if status == 405 else None
        )
        assert (response.status, response.headers.get("allow")) == (status, allowed)

    run(tmp_path, test)


def test_an_update_leaves_an_adapter_its_name(tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        await caller.post(name="a", src=str(write_adapter(tmp_path / "a")))
        response = await caller.post("/adapters/a/update", {"name": "b"})
        assert (response.status, response.json()["error"]["param"]) == (400, "name")
        assert (await caller.post("/adapters/a/update", {"name": "a", "tag": 1})).json()["ignored"] == ["tag"]

    run(tmp_path, test)


def test_a_loaded_adapter_tells_what_the_engine_calls_it(tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        response = await caller.post(name="a", src=str(write_adapter(tmp_path / "a")), preload="true")
        assert {response.json()["adapter"]["engine_name"]} == caller.engine.keys

    run(tmp_path, test)


def test_pages_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    async def test(caller: Caller) -> None:
        src = str(write_adapter(tmp_path / "a"))
        for name in "cab":
            await caller.post(name=name, src=src)
        page = (await caller.call("GET", "/adapters?limit=2&next_page_token=0")).json()
        assert [adapter["name"] for adapter in page["adapters"]] == ["a", "b"]
        page = (await caller.call("GET", f"/adapters?limit=2&next_page_token={page['nextPageToken']}")).json()
        assert ([adapter["name"] for adapter in page["adapters"]], "nextPageToken" in page) == (["c"], False)

    run(tmp_path, test)


@pytest.mark.parametrize("removed", ["a", "b 50%", "d"])
def test_a_page_misses_none_and_repeats_none_when_adapters_go_and_come_meanwhile(tmp_path: Path, removed: str) -> None:
    async def test(caller: Caller) -> None:
        src = str(write_adapter(tmp_path / "a"))
        for name in ("a", "b 50%", "d", "ü"):
            await caller.post(name=name, src=src)
        first = (await caller.call("GET", "/adapters?limit=2")).json()
        await caller.call("DELETE", f"/adapters/{quote(removed)}")
        await caller.post(name="aa", src=src)
        second = (await caller.call("GET", f"/adapters?limit=9&next_page_token={first['nextPageToken']}")).json()
        names = [adapter["name"] for page in (first, second) for adapter in page["adapters"]]
        assert names == ["a", "b 50%"] + [name for name in ("d", "ü") if name != removed]

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/adapters?name=a&src=/a"),
        ("GET", "/adapters"),
        ("DELETE", "/adapters/a"),
        ("POST", "/adapters/a/update"),
        ("GET", "/models/tiny/adapters/a"),
    ],
)
def test_without_lora_every_route_says_how_to_enable_it(tmp_path: Path, method: str, target: str) -> None:
    async def test(caller: Caller) -> None:
        response = await caller.call(method, target)
        assert (response.status, response.message) == (400, "LoRA is not enabled; set option.enable_lora=true.")

    run(tmp_path, test, enabled=False)
