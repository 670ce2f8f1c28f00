"""A call of DJL's into the ASGI request that asks the same.

DJL tells neither path nor method: inference is `/invocations`, whose body says what it is, and adapters have calls.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode

from starlette.types import Scope

from handlers.djl_engine.wire import TRACKING_ID, Call

_BODY = "data"
_NOT_HEADERS = frozenset(
    {
        # DJL's own: a request's internal names, and what stock djl_python adds to each call (python_sync_engine.py).
        *(TRACKING_ID, "requestid", "handler", "batch_size", "model_dir", "device_id", "cluster_size"),
        *("tensor_parallel_degree", "pipeline_parallel_degree", "input_formatter", "output_formatter"),
        # Of a connection that ended at DJL's front end, or of a body it has taken apart.
        *("connection", "content-length", "expect", "transfer-encoding"),
    }
)
_ALIAS = b"x-amzn-sagemaker-adapter-alias"


def inference(call: Call) -> tuple[Scope, bytes]:
    """Return the request and its body. Query parameters come as content before the body, which may share their name."""
    bodies = [data for name, data in call.content if name == _BODY]
    query = [(name, data) for name, data in call.content if name and name != _BODY]
    body = bodies[-1] if bodies else b""
    headers = [
        (name.lower().encode(), value.encode())
        for name, value in call.properties.items()
        if name.lower() not in _NOT_HEADERS
    ]
    headers.append((b"content-length", str(len(body)).encode()))
    return _scope("POST", "/invocations", urlencode(query), headers), body


def registration(call: Call) -> tuple[Scope, bytes]:
    """Return the request that registers an adapter."""
    return _scope("POST", "/adapters", urlencode(_given(call)), _alias(call.properties)), b""


def update(call: Call) -> tuple[Scope, bytes]:
    """Return the request that updates one."""
    given = _given(call)
    path = f"/adapters/{quote(given.pop('name', ''), safe='')}/update"
    return _scope("POST", path, urlencode(given), _alias(call.properties)), b""


def removal(call: Call) -> tuple[Scope, bytes]:
    """Return the request that removes one."""
    path = f"/adapters/{quote(call.properties.get('name', ''), safe='')}"
    return _scope("DELETE", path, "", _alias(call.properties)), b""


def _given(call: Call) -> dict[str, Any]:
    """Return what is said of an adapter; DJL's properties go before the query of the caller's, which it repeats."""
    options = {name: data.decode("utf-8", "replace") for name, data in call.content if name}
    return options | {name: call.properties[name] for name in ("name", "src") if name in call.properties}


def _alias(properties: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    alias = properties.get("alias")
    return [(_ALIAS, alias.encode())] if alias else []


def _scope(method: str, raw_path: str, query: str, headers: list[tuple[bytes, bytes]]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
        "state": {},
    }
