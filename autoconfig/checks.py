"""Finds what each value alone cannot show: options that exclude each other, and what this host or model cannot do."""

import re
from collections.abc import Iterator, Mapping

from autoconfig.errors import BadValueError, ConfigError, ContradictionError, RefusedError, UnfitHostError
from autoconfig.host import HostFacts
from autoconfig.model import ModelConfig
from autoconfig.options.model import TASKS
from autoconfig.recommend import GIB, SMALLEST_RAM, KvSpace
from autoconfig.values import Value

_HF_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?")


def refused(values: Mapping[str, Value]) -> Iterator[ConfigError]:
    """Stop on what is understood and not done here."""
    for value in values.values():
        if value.option.refused and value.given and value.option.refused_when(value.value):
            yield RefusedError(f"{value} {value.option.refused}.")


def forms(values: Mapping[str, Value]) -> Iterator[ConfigError]:
    """Check the values that are text with a form of its own."""
    if (model := values.get("model_id")) and not is_model(str(model.value)):
        yield BadValueError(f"{model} is neither a Hugging Face id, nor an absolute directory, nor s3://bucket/prefix.")
    if (ports := values.get("safe_port_range")) and ports.given and port_range(str(ports.value)) is None:
        yield BadValueError(f"{ports} is not a range of ports, as 5000-5999.")
    if (env := values.get("env")) and env.given:
        for item in env.value:
            if not re.fullmatch(r"[A-Za-z_]\w*=.*", item, re.DOTALL):
                yield BadValueError(f"{env} must be variables as A=b,C=d; {item!r} is none.")


def is_model(text: str) -> bool:
    """Say whether the text can name a model at all."""
    return text.startswith(("/", ".")) or bool(re.fullmatch(r"s3://[^/]+(/.*)?", text) or _HF_ID.fullmatch(text))


def port_range(text: str) -> tuple[int, int] | None:
    """`5000-5999` -> (5000, 5999)."""
    if not (match := re.fullmatch(r"(\d{1,5})\s*-\s*(\d{1,5})", text)):
        return None
    low, high = int(match[1]), int(match[2])
    return (low, high) if 0 < low <= high <= 65535 else None


def contradictions(values: Mapping[str, Value]) -> Iterator[ConfigError]:
    """Find options that say different things about one matter."""
    task = values["task"]
    for name, meant in zip(("runner", "convert"), TASKS.get(str(task.value), ("auto", "auto")), strict=True):
        said = values.get(name)
        if said and said.given and task.given and "auto" not in (meant, said.value) and said.value != meant:
            yield ContradictionError(f"{task} means {name}={meant}, and {said} says otherwise. Keep one.")
    tools = values.get("enable_auto_tool_choice")
    if tools and tools.value and "tool_call_parser" not in values:
        yield ContradictionError(f"{tools} needs option.tool_call_parser, such as hermes or llama3_json.")


def parallelism(values: Mapping[str, Value], host: HostFacts, config: ModelConfig | None) -> Iterator[ConfigError]:
    """Check that the devices are there, and that the model can be divided over them."""
    have = len(host.gpus) or host.cpus
    what = "GPU" if host.gpus else "CPU core"
    needed = 1
    for name in ("tensor_parallel_degree", "pipeline_parallel_degree", "data_parallel_size"):
        value = values.get(name)
        if value is None or not isinstance(value.value, int):
            continue
        needed *= value.value
        if value.given and needed > have:
            yield UnfitHostError(_too_many(value, needed, have, what))
            return
    degree, heads = values["tensor_parallel_degree"], config.attention_heads if config else None
    if degree.given and heads and isinstance(degree.value, int) and heads % degree.value:
        fitting = [str(n) for n in range(1, have + 1) if heads % n == 0]
        yield UnfitHostError(
            f"{degree} does not divide the model's {heads} attention heads. Set {' or '.join(fitting)}."
        )


def _too_many(value: Value, needed: int, have: int, what: str) -> str:
    largest = have * value.value // needed
    word = ', or "max"' if "max" in value.option.words else ""
    together = "" if needed == value.value else " together with the other parallel options"
    remedy = f"Set {largest}{word}." if largest else "Lower the other parallel options."
    return f"{value} needs {needed} {what}s{together}; this host has {have}. {remedy}"


def memory(values: Mapping[str, Value], host: HostFacts, space: KvSpace) -> Iterator[ConfigError]:
    """Check that a host without GPU has the RAM."""
    if host.ram_available_bytes < SMALLEST_RAM:
        yield UnfitHostError(
            f"This host has {host.ram_available_bytes / GIB:.1f} GiB of memory available; vLLM with 1 GiB of KV cache "
            f"needs {SMALLEST_RAM / GIB:.1f} GiB. Free memory, or raise the container's limit."
        )
    length = values.get("max_model_len")
    if length and length.given and space.size_bytes > space.most_bytes and space.bytes_per_token:
        tokens = space.most_bytes // space.bytes_per_token
        yield UnfitHostError(
            f"{length} needs {space.size_bytes / GIB:g} GiB of KV cache; this host can give "
            f'{space.most_bytes / GIB:g} GiB. Set {tokens} at most, or "auto".'
        )
