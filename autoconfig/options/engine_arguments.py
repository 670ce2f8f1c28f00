"""Turns `engine_args.json`, names and types of every vLLM argument, into options; rules on those we own ourselves."""

import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from typing import Any

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "vLLM"

_LISTENER = "is the container's own listener: use SAGEMAKER_BIND_TO_PORT or --port; the address is always 0.0.0.0"
_TLS = "asks for TLS, which this container leaves to SageMaker or a proxy in front; remove it"
_ONE_SERVER = "belongs to `vllm serve`; this container runs one HTTP server of its own; remove it"
_ONE_NODE = "needs several nodes; this container is one: option.data_parallel_size makes copies on its own GPUs"

REFUSED = {
    "host": _LISTENER,
    "port": _LISTENER,
    "uds": _LISTENER,
    "root_path": "moves the routes SageMaker calls; remove it",
    "middleware": "would run other code around every request; remove it",
    "api_key": "would guard /v1 and leave /invocations open; let SageMaker (IAM) or a proxy in front check callers",
    "config": "reads options from a second file, whose origins could not be shown; put them into serving.properties",
    "model_tag": "is the positional form of option.model_id; use that",
    "headless": _ONE_SERVER,
    "grpc": _ONE_SERVER,
    "grpc_port": _ONE_SERVER,
    "api_server_count": _ONE_SERVER,
    "tokens_only": _ONE_SERVER,
    **dict.fromkeys(
        ("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_cert_reqs", "ssl_ciphers", "enable_ssl_refresh"), _TLS
    ),
    **dict.fromkeys(
        (
            "nnodes",
            "node_rank",
            "master_addr",
            "master_port",
            "data_parallel_rank",
            "data_parallel_start_rank",
            "data_parallel_size_local",
            "data_parallel_address",
            "data_parallel_rpc_port",
            "data_parallel_external_lb",
            "data_parallel_hybrid_lb",
            "data_parallel_multi_port_external_lb",
            "data_parallel_supervisor_port",
            "dp_supervisor_probe_interval_s",
            "dp_supervisor_probe_timeout_s",
            "dp_supervisor_probe_failure_threshold",
        ),
        _ONE_NODE,
    ),
}

_OWN_SERVER = "no effect: it configures the server of `vllm serve`, which is not the one here"
_ONE_LINE = "no effect: there is one log line per request; option.log_requests=false turns it off"

NOTED = {
    "uvicorn_log_level": _OWN_SERVER,
    "disable_uvicorn_access_log": _ONE_LINE,
    "disable_access_log_for_endpoints": _ONE_LINE,
    "h11_max_incomplete_event_size": _OWN_SERVER,
    "h11_max_header_count": _OWN_SERVER,
    "shutdown_timeout": "no effect: option.drain_timeout says how long requests in flight get",
}

_SECRET = {"api_key"}
_ENVIRONMENT = {"api_key": (Spelling("VLLM_API_KEY"),)}


def read_table() -> dict[str, Any]:
    """Return `engine_args.json`: vLLM's version, and one entry for each of its arguments."""
    table: dict[str, Any] = json.loads(files("autoconfig").joinpath("engine_args.json").read_text(encoding="utf-8"))
    return table


def options(entries: Iterable[dict[str, Any]], owned: frozenset[str]) -> Iterator[Option]:
    """Yield an option for every argument that no option of ours already stands for."""
    for entry in entries:
        name = entry["name"]
        if name in owned:
            continue
        yield Option(
            name,
            entry.get("help", ""),
            kind=Kind(entry["kind"]),
            group=f"{GROUP}: {entry['group']}",
            choices=tuple(entry.get("choices", ())),
            optional=entry.get("optional", False),
            aliases=tuple(entry.get("aliases", ())),
            engine=name,
            engine_default=entry.get("default"),
            environment=_ENVIRONMENT.get(name, ()),
            secret=name in _SECRET,
            note=NOTED.get(name, ""),
            refused=REFUSED.get(name, ""),
        )
