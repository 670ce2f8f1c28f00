"""Chooses what the operator left open, from the facts of the host and the model; every choice carries its reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from autoconfig.host import HostFacts
from autoconfig.model import ModelConfig, ModelDirectory

GIB = 1 << 30

# A GiB for keys and values; vLLM's own processes were seen to take about 1.5 GiB beside a small model.
SMALLEST_RAM = int(2.5 * GIB)
USUAL_KV_SPACE_GIB = 4
# x86, x86 with tiles, ARM: without one of these bfloat16 is emulated. SmolLM2-135M on two such cores took 44 s for
# 4,000 prompt tokens as float32, and 183 s as bfloat16.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A value nobody gave; `name` is an option, or a variable of the engine's process."""

    name: str
    value: Any
    reason: str


def parallelism(given: Mapping[str, Any], host: HostFacts, config: ModelConfig | None) -> Iterator[Recommendation]:
    """Use every GPU: as few copies of the model as it can be divided for, the rest as copies inside the one engine."""
    gpus = len(host.gpus)
    stages = given.get("pipeline_parallel_degree", 1)
    degree = given.get("tensor_parallel_degree", "max")
    if gpus == 0:
        if degree == "max":
            yield Recommendation("tensor_parallel_degree", 1, "no GPU; one process uses every core")
        return
    if degree == "max":
        degree, reason = _widest(gpus // (stages * given.get("data_parallel_size", 1)), config)
        yield Recommendation("tensor_parallel_degree", degree, reason)
    copies = gpus // max(1, degree * stages)
    if copies > 1 and "data_parallel_size" not in given:
        reason = (
            f"{gpus} GPUs hold {copies} copies of {degree * stages}; one engine, so that they share adapters and cache"
        )
        yield Recommendation("data_parallel_size", copies, reason)


def _widest(gpus: int, config: ModelConfig | None) -> tuple[int, str]:
    heads = config.attention_heads if config else None
    if heads is None or gpus < 1 or heads % gpus == 0:
        return max(1, gpus), f"max: {gpus} GPU{'s' * (gpus != 1)}"
    degree = max(n for n in range(1, gpus + 1) if heads % n == 0 and gpus % n == 0)
    return degree, f"max: {heads} attention heads divide over {degree} of {gpus} GPUs"


def cpu_options(given: Mapping[str, Any], host: HostFacts, config: ModelConfig | None) -> Iterator[Recommendation]:
    """Choose engine options that start, and answer in acceptable time, on a host without GPU."""
    if host.gpus:
        return
    if "dtype" not in given and (dtype := cpu_dtype(host, config)):
        yield Recommendation("dtype", *dtype)
    if "worker_extension_cls" not in given:
        reason = "no GPU; without it a request with a seed and a long prompt ends vLLM 0.32's engine"
        yield Recommendation("worker_extension_cls", "handlers.cpu_worker.CpuWorker", reason)
    if "enforce_eager" not in given:
        yield Recommendation("enforce_eager", True, "no GPU; compiling would add minutes to the start")
    if "gpu_memory_utilization" not in given:
        share = host.ram_available_bytes / host.ram_total_bytes if host.ram_total_bytes else 1.0
        reason = "no GPU; the share of RAM vLLM wants free at start, less than its 0.92"
        yield Recommendation("gpu_memory_utilization", max(0.05, min(0.3, int(share * 90) / 100)), reason)


def cpu_dtype(host: HostFacts, config: ModelConfig | None) -> tuple[str, str] | None:
    """Return the number format this CPU computes natively and why, or None where the model's own will do."""
    native = BFLOAT16_FLAGS & host.cpu_flags
    if not native:
        return "float32", "this CPU has no bfloat16 instructions; emulated, it is several times slower"
    if config and config.dtype == "float16" and "avx512_fp16" not in host.cpu_flags:
        return "bfloat16", f"the model's float16 would be emulated; this CPU has {min(native)}"
    return None


@dataclass(frozen=True, slots=True)
class KvSpace:
    """Memory for keys and values on a host without GPU: what is set aside, and what a context asks for."""

    size_bytes: int
    reason: str
    bytes_per_token: int | None
    most_bytes: int
    """What could be set aside at most."""

    @property
    def tokens(self) -> int | None:
        """The longest context the set-aside space holds."""
        return self.size_bytes // self.bytes_per_token if self.bytes_per_token else None


def kv_space(
    environ: Mapping[str, str], given: Mapping[str, Any], host: HostFacts, model: ModelDirectory | None
) -> KvSpace:
    """Set aside a quarter of the RAM the weights leave, 4 GiB at most, or what the asked-for context needs."""
    width = 2 if given.get("dtype") == "float32" else 1
    config = model.config if model else None
    per_token = config.kv_bytes_per_token * width if config and config.kv_bytes_per_token else None
    # vLLM takes it all from one NUMA node (v1/worker/cpu_worker.py).
    left = max(0, host.ram_available_bytes // host.numa_nodes - (model.weight_bytes * width if model else 0))
    usual = max(1, min(USUAL_KV_SPACE_GIB, left // 4 // GIB)) * GIB
    most = max(usual, left * 6 // 10 // GIB * GIB)
    if said := given.get("kv_cache_memory_bytes"):
        return KvSpace(said, "", per_token, most)
    if (variable := environ.get("VLLM_CPU_KVCACHE_SPACE", "")).isdecimal() and int(variable) > 0:
        return KvSpace(int(variable) * GIB, "", per_token, most)
    tokens = given.get("max_model_len")
    needed = ceil(tokens * per_token / GIB) * GIB if per_token and isinstance(tokens, int) else 0
    if needed > usual:
        return KvSpace(needed, f"no GPU; what {tokens} tokens of context need", per_token, most)
    share = "a quarter" if usual < USUAL_KV_SPACE_GIB * GIB else f"{USUAL_KV_SPACE_GIB} GiB"
    return KvSpace(usual, f"no GPU; {share} of the {left / GIB:.1f} GiB the weights leave", per_token, most)


def cpu_context(given: Mapping[str, Any], space: KvSpace, config: ModelConfig | None) -> Iterator[Recommendation]:
    """Let vLLM shorten the context to what fits, where the model's own is longer or not known yet."""
    if "max_model_len" in given:
        return
    longest = config.max_position_embeddings if config else None
    if longest is None or space.tokens is None or longest > space.tokens:
        most = f"the model's {longest}" if longest else "the model's own"
        reason = f"no GPU; as long as {space.size_bytes / GIB:g} GiB of KV cache holds, {most} at most"
        yield Recommendation("max_model_len", "auto", reason)


def cpu_variables(environ: Mapping[str, str], given: Mapping[str, Any], space: KvSpace) -> Iterator[Recommendation]:
    """Choose what vLLM reads from its environment on a CPU; what the operator set there stays."""
    chosen = {"VLLM_CPU_OMP_THREADS_BIND": ("nobind", "no GPU; vLLM's own binding leaves cores of a small host idle")}
    # LMCache's llvmlite, imported in the one process, breaks vLLM's kernel scan; copies need processes of their own.
    if "kv_transfer_config" not in given and given.get("data_parallel_size", 1) == 1:
        reason = "no GPU; one process less, which starts about 10 s sooner"
        chosen["VLLM_ENABLE_V1_MULTIPROCESSING"] = ("0", reason)
    if given.get("enforce_eager", True):
        # vLLM 0.32 compiles one function nevertheless: v1/sample/ops/logprobs.py.
        reason = "no GPU; else the first request for log probabilities compiles C++ for seconds, or fails without gcc"
        chosen["TORCH_COMPILE_DISABLE"] = ("1", reason)
    if "kv_cache_memory_bytes" not in given:
        chosen["VLLM_CPU_KVCACHE_SPACE"] = (str(space.size_bytes // GIB), f"GiB; {space.reason}")
    yield from (Recommendation(name, *choice) for name, choice in chosen.items() if not environ.get(name))
