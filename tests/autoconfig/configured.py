"""Short ways to configure something and look at one thing that comes out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autoconfig.errors import ConfigErrors
from autoconfig.launch import WorkerLaunch, plan_worker
from autoconfig.model import ModelConfig, ModelDirectory
from autoconfig.properties import parse_properties
from autoconfig.resolve import Resolution, resolve
from tests.autoconfig.hosts import LAPTOP

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}


# `Any` below, where it could be narrower: else no dictionary of variables can be unpacked into the calls.
def resolved(
    properties: Any = "",
    host: Any = LAPTOP,
    directory: Any = None,
    command_line: Any = None,
    **environ: str,
) -> Resolution:
    return resolve(environ, parse_properties(properties.encode()), host, directory, command_line)


def value(name: str, properties: Any = "", host: Any = LAPTOP, **environ: str) -> Any:
    return resolved(properties, host, **environ).values[name].value


def errors(properties: Any = "", host: Any = LAPTOP, directory: Any = None, **environ: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        resolved(properties, host, directory, **environ)
    return str(caught.value)


def launched(resolution: Resolution, environ: Mapping[str, str] | None = None, **given: Any) -> WorkerLaunch:
    return plan_worker(resolution, environ or {}, **{"model": "/models/m", "run_directory": "/run/lmi", **given})


def arguments(properties: Any = "", host: Any = LAPTOP, **environ: str) -> tuple[str, ...]:
    return launched(resolved(properties, host, **environ)).plan.engine_arguments


def directory_with(config: Mapping[str, Any] | None = None, *files: str, weight_bytes: int = 0) -> ModelDirectory:
    """A model directory that need not exist: planning only reads what was seen in it."""
    seen = ("config.json", "model.safetensors", *files)
    return ModelDirectory(
        Path("/opt/ml/model"), tuple(sorted(seen)), weight_bytes, ModelConfig.read(config) if config else None
    )
