"""Works out how the engine will use the machine, and what its own KV cache will hold; the tiers below build on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from autoconfig.host import HostFacts
from autoconfig.model import ModelFacts
from autoconfig.values import Value

GIB = 1 << 30

# A judgement: what vLLM's profiling run puts aside on each GPU for activations and graphs. With it this arithmetic is
# within 4 % of both capacities AWS published for p4de.24xlarge (Qwen2.5-1.5B on one GPU, 72B on four).
ACTIVATION_BYTES = 2 * GIB
# vLLM 0.32: the usual block on a GPU (other back ends there take 32, 64 or 128, which divide 256 as well) and for MLA;
# without a GPU it is the other.
_USUAL_BLOCK, _CPU_BLOCK = 16, 128
# Bytes a number of the KV cache; a type not listed packs scales in ways this arithmetic does not cover.
_KV_BYTES = {"bfloat16": 2, "float16": 2, "fp8": 1, "fp8_ds_mla": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "fp8_inc": 1}
# What vLLM 0.32's executor of several processes, which a cache brings with it on a CPU, wants free in /dev/shm: for
# what it tells all ranks, and for the replies of each. Docker gives a container 64 MiB.
_SHM_BYTES, _SHM_BYTES_PER_RANK = 160 << 20, 240 << 20
# Speculation that keeps no keys and values of its own.
_DRAFTLESS = {"ngram", "ngram_gpu", "suffix"}


@dataclass(frozen=True, slots=True)
class EngineUse:
    """What of the engine's set-up decides how large its cache is, and whether another may lie below."""

    tensor_parallel: int = 1
    stages: int = 1
    """Pipeline stages, which share the layers."""
    copies: int = 1
    number_bytes: int = 2
    kv_dtype: str = "auto"
    weight_width: int = 1
    """How many times the released size the weights take: 2 for float32."""
    context: int | None = None
    """The longest context, where it was given."""
    memory_share: float = 0.92
    kv_space_bytes: int | None = None
    """What each rank sets aside, where that is fixed."""
    block_tokens: int = _USUAL_BLOCK
    blocks: int | None = None
    """Of the cache of each copy, where that is fixed."""
    draft_layers: int = 0
    adapters: int = 0
    """LoRA adapters each rank has in RAM at once."""
    adapter_rank: int = 16
    obstacle: str = ""
    """Why there can be no tier below."""

    @property
    def ranks(self) -> int:
        """Processes that compute."""
        return self.tensor_parallel * self.stages * self.copies


@dataclass(frozen=True, slots=True)
class EngineCache:
    """The engine's own KV cache: bytes on the whole node, tokens in each copy of the model; None is unknown."""

    tokens: int | None
    node_bytes: int | None
    reason: str


def engine_use(
    values: Mapping[str, Value], environment: Mapping[str, str], host: HostFacts, model: ModelFacts
) -> EngineUse:
    """Read the engine's set-up from the resolved options and its process's environment."""
    said = {name: value.value for name, value in values.items() if value.value is not None}
    wide = said.get("dtype") == "float32"
    kv_dtype = said.get("kv_cache_dtype", "auto")
    space = said.get("kv_cache_memory_bytes")
    if not space and not host.gpus and (variable := environment.get("VLLM_CPU_KVCACHE_SPACE", "")).isdecimal():
        space = int(variable) * GIB
    given = said.get("max_model_len")
    return EngineUse(
        tensor_parallel=said.get("tensor_parallel_degree", 1),
        stages=said.get("pipeline_parallel_degree", 1),
        copies=said.get("data_parallel_size", 1),
        number_bytes=_KV_BYTES.get(kv_dtype, 4 if wide else 2),
        kv_dtype=kv_dtype,
        weight_width=2 if wide else 1,
        context=given if isinstance(given, int) else None,
        memory_share=said.get("gpu_memory_utilization", 0.92),
        kv_space_bytes=space,
        block_tokens=said.get("block_size", _USUAL_BLOCK if host.gpus or model.kv.latent_size else _CPU_BLOCK),
        blocks=said.get("num_gpu_blocks_override"),
        draft_layers=model.kv.draft_layers if "mtp" in _speculation(said) else 0,
        adapters=_adapters(said, host),
        adapter_rank=said.get("max_lora_rank", 16),
        obstacle=next(_obstacles(said, values), "") or _model_obstacle(said, host, model) or _host_obstacle(said, host),
    )


def _adapters(said: Mapping[str, Any], host: HostFacts) -> int:
    """Count the places for adapters in RAM; those they compute from are there as well where there is no GPU."""
    if not said.get("enable_lora"):
        return 0
    computed_from: int = said.get("max_loras", 1)
    held: int = max(computed_from, said.get("max_cpu_loras", 0))
    return held + (0 if host.gpus else computed_from)


def _obstacles(said: Mapping[str, Any], values: Mapping[str, Value]) -> Iterator[str]:
    """Yield every reason in the set-up itself against a cache below the engine's."""
    if "kv_transfer_config" in said:
        yield f"{values['kv_transfer_config'].origin} gives a kv_transfer_config, which decides alone"
    if said.get("pipeline_parallel_degree", 1) > 1:
        yield "pipeline parallelism: the cache is for tensor parallelism only"
    if said.get("enable_expert_parallel"):
        yield "expert parallelism: the cache is for tensor parallelism only"
    if said.get("enable_prefix_caching") is False:
        yield "prefix caching is off, and nothing would be looked up"
    kv_dtype = said.get("kv_cache_dtype", "auto")
    if kv_dtype != "auto" and kv_dtype not in _KV_BYTES:
        yield f"the layout of kv_cache_dtype={kv_dtype} is not known here"
    method = _speculation(said)
    if method and method not in _DRAFTLESS and not method.endswith("mtp"):
        yield f"speculation with {method}: its draft's cache fails together with LMCache under load"


def _model_obstacle(said: Mapping[str, Any], host: HostFacts, model: ModelFacts) -> str:
    if "@" in (path := str(said.get("model_id", ""))):
        return f"the @ in {path}: in LMCache's keys it divides the model's path from the rest"
    if model.kv.window_layers and said.get("disable_hybrid_kv_cache_manager") is False and not host.gpus:
        return "no GPU, and layers with a window: LMCache needs option.disable_hybrid_kv_cache_manager=true then"
    if model.kv.linear_layers and not host.gpus:
        return "no GPU, and layers of linear attention: LMCache has no CPU path for their state"
    return ""


def _host_obstacle(said: Mapping[str, Any], host: HostFacts) -> str:
    ranks = said.get("tensor_parallel_degree", 1) * said.get("data_parallel_size", 1)
    needed = _SHM_BYTES + _SHM_BYTES_PER_RANK * ranks
    if host.gpus or host.shm_free_bytes is None or host.shm_free_bytes >= needed:
        return ""
    return (
        f"/dev/shm has {host.shm_free_bytes >> 20} MiB free, and with a cache vLLM's processes need {needed >> 20} MiB "
        "there (docker run --shm-size=1g)"
    )


def _speculation(said: Mapping[str, Any]) -> str:
    """Return the method; a draft model without one is vLLM's `draft_model`."""
    config = said.get("speculative_config") or {}
    asked = "spec_method" in said or "spec_model" in said or bool(config)
    return str(config.get("method") or said.get("spec_method") or "draft_model") if asked else ""


def token_bytes(use: EngineUse, model: ModelFacts) -> int:
    """Return what a token takes on the whole node, as LMCache keeps it."""
    return model.kv.node_bytes(use.number_bytes, use.tensor_parallel, kv_dtype=use.kv_dtype, drafts=use.draft_layers)


def prompt_bytes(use: EngineUse, host: HostFacts, model: ModelFacts) -> int:
    """Return what the longest prompt takes there, which the engine's own cache has to hold; 0 where it is not known."""
    context = use.context or model.context or 0
    tokens = engine_cache(use, host, model).tokens
    return token_bytes(use, model) * (context if tokens is None else min(context, tokens))


def engine_cache(use: EngineUse, host: HostFacts, model: ModelFacts) -> EngineCache:
    """Return what the engine's own cache holds, from what its processes may take and the weights leave."""
    whole = model.kv.rank_bytes(use.number_bytes, use.tensor_parallel, kv_dtype=use.kv_dtype, drafts=use.draft_layers)
    per_token = ceil(whole / use.stages)
    if use.blocks is not None:
        held = use.blocks * use.block_tokens
        reason = f"option.num_gpu_blocks_override={use.blocks}, of {use.block_tokens} tokens each"
        return EngineCache(held, held * per_token * use.ranks, reason)
    if use.kv_space_bytes:
        reason = f"{use.kv_space_bytes / GIB:g} GiB set aside for each rank"
        return EngineCache(use.kv_space_bytes // per_token, use.kv_space_bytes * use.ranks, reason)
    if not host.gpus or model.weight_bytes is None:
        return EngineCache(None, None, "the size of the weights is not known")
    memory = min(gpu.memory_bytes for gpu in host.gpus)
    weights = model.weight_bytes * use.weight_width // (use.tensor_parallel * use.stages)
    left = int(memory * use.memory_share) - weights - ACTIVATION_BYTES
    reason = (
        f"{use.memory_share:g} of {memory / GIB:.1f} GiB on each GPU, less {weights / GIB:.1f} GiB of weights "
        f"({model.weights_from}) and {ACTIVATION_BYTES / GIB:g} GiB for activations"
    )
    if left < per_token:
        return EngineCache(0, 0, f"the weights do not fit: {reason}")
    if model.kv.window_layers:
        reason += "; at least, as it drops what is outside a layer's window"
    return EngineCache(left // per_token, left * use.ranks, reason)
