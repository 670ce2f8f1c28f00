"""The frozen values that cross from start-up to the request path: what the worker is told, and nothing else.

`container.prepare` builds a WorkerPlan and writes it into `launch-plan.json`; `handlers.server` reads it back.
The two packages share these types and no code.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

VERSION = "0.1.0"
"""This container's own version."""

OutputFormatter = Literal["auto", "json", "jsonlines", "sse"]


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """What the request path obeys; every field is an option of the same meaning in OPTIONS.md."""

    predict_timeout_seconds: float = 240.0
    max_concurrent_requests: int = 256
    max_request_bytes: int = 64 * 1024 * 1024
    max_new_tokens: int = 30
    output_formatter: OutputFormatter = "auto"
    tgi_compat: bool = False
    normalize_embeddings: bool = True
    drain_timeout_seconds: float = 20.0
    log_format: Literal["text", "json"] = "text"
    log_requests: bool = True


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """What the worker knows of the LMCache server below its engine."""

    status_file: str
    """Written by whoever watches the server, as a CacheStatus; read before the engine starts, and for /metrics."""
    http_port: int
    """Of the server's own HTTP interface, on loopback."""
    start_seconds: float
    """How long the worker waits for the server to be up before it starts without a cache."""
    chunk_tokens: int
    bytes_per_token: int
    kv_dtype: str
    """What the tiers were sized for, as vLLM names it; the worker compares it with what the engine really uses."""
    ranks: int = 1
    """Of the engine's processes, how many store a share of their own of each chunk (with MLA one does for all)."""
    salt: str = ""
    """What entries are salted with beside the caller's own salt: a fingerprint where tiers are shared, else empty."""


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """What the cache server's watcher tells: the content of CacheSettings.status_file, as one JSON object."""

    state: Literal["starting", "up", "down", "off"]
    """`down` is being restarted; `off` stays off for as long as this container lives."""
    reason: str = ""
    restarts: int = 0
    cpu_bytes: int = 0
    disk_bytes: int = 0
    """The tiers' sizes as started, which may be smaller than planned."""

    @classmethod
    def read(cls, file: Path) -> "CacheStatus | None":
        """Return what was told last in this run; None before that."""
        try:
            return cls(**json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """One LoRA adapter the container knows of from its start."""

    name: str
    src: str
    """An absolute directory with `adapter_config.json` and `adapter_model.safetensors`."""
    preload: bool = False
    """Its weights are loaded before the first request."""
    pin: bool = False
    """Its weights stay loaded; implies `preload`."""
    problem: str = ""
    """Why it could not be served when the start was planned; the operator has been told."""


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What the worker knows of LoRA adapters; without it none can be registered."""

    slots: int
    """Adapters the engine can compute with in one batch (max_loras)."""
    cpu_slots: int
    """Adapters whose weights are held at once (max_cpu_loras)."""
    max_rank: int
    roots: tuple[str, ...]
    """Directories an adapter registered over HTTP may lie in."""
    sources: tuple[AdapterSource, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Stateful sessions; without it they are off."""

    directory: str
    expiration_seconds: float = 1200.0
    sliding: bool = False
    """Each use starts the time to live afresh."""
    limit: int = 10_000
    """Sessions alive at once; one more ends the one not used for longest."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """Everything the worker process needs to load one model and serve it."""

    host: str
    port: int
    model: str
    """A local directory or a Hugging Face id, as the engine is given it."""
    model_names: tuple[str, ...]
    """Names a request may use for the base model; the first is the one answers carry."""
    task: Literal["generate", "embed", "pooling"]
    engine_arguments: tuple[str, ...]
    """Tokens for vLLM's own command-line parser, without the program name."""
    serving: ServingSettings
    run_directory: str
    cache: CacheSettings | None = None
    """None: no LMCache server belongs to this start."""
    adapters: AdapterSettings | None = None
    """None: LoRA is not enabled."""
    sessions: SessionSettings | None = None
    """None: sessions are not enabled."""
    script: str = ""
    """The base model's `model.py` with custom formatters or a handler; empty where there is none."""
    script_options: dict[str, str] = field(default_factory=dict)
    """The configuration as text, which a `handle` may read, an adapter's too: options by LMI's names, `custom.*`."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values, the form `launch-plan.json` holds under "worker"."""
        return asdict(self)

    @classmethod
    def read(cls, launch_plan: Path) -> "WorkerPlan":
        """Read the "worker" part of a launch plan; raise KeyError or TypeError where it is not one of ours."""
        worker = json.loads(launch_plan.read_text(encoding="utf-8"))["worker"]
        given = {f.name: worker[f.name] for f in fields(cls)}
        given["model_names"] = tuple(given["model_names"])
        given["engine_arguments"] = tuple(given["engine_arguments"])
        given["serving"] = ServingSettings(**given["serving"])
        given["cache"] = CacheSettings(**given["cache"]) if given["cache"] else None
        given["adapters"] = _adapters(given["adapters"]) if given["adapters"] else None
        given["sessions"] = SessionSettings(**given["sessions"]) if given["sessions"] else None
        return cls(**given)


def _adapters(given: dict[str, Any]) -> AdapterSettings:
    sources = tuple(AdapterSource(**source) for source in given["sources"])
    return AdapterSettings(**{**given, "roots": tuple(given["roots"]), "sources": sources})


@dataclass(frozen=True, slots=True)
class StartSettings:
    """What start-up itself obeys, before and around the worker."""

    model: str | None
    """Hugging Face id, absolute directory or s3:// prefix; None is the embedded model."""
    model_origin: str
    revision: str | None
    hf_token: str | None = field(repr=False)
    trust_remote_code: bool
    host: str
    port: int
    frontend: Literal["direct", "djl"]
    model_loading_timeout_seconds: float
    download_directory: str | None
    log_level: str
    task: Literal["generate", "embed", "pooling"]
    serving: ServingSettings
