"""How the engine uses the machine: parallelism, batches, memory."""

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "Engine"


def _opposite(text: str) -> str:
    """`ENABLE_CUDA_GRAPHS=true` -> enforce_eager=false; anything else is left for the type check to refuse."""
    return {"true": "false", "1": "false", "false": "true", "0": "true"}.get(text.strip().lower(), text)


OPTIONS = (
    Option(
        "tensor_parallel_degree",
        "GPUs that share one copy of the model; `max` takes as many as there are and the model can be divided over.",
        kind=Kind.INT,
        words=("max",),
        default="max",
        minimum=1,
        aliases=("tensor_parallel_size",),
        engine="tensor_parallel_size",
        environment=(Spelling("TENSOR_PARALLEL_DEGREE"), Spelling("SM_NUM_GPUS")),
    ),
    Option(
        "pipeline_parallel_degree",
        "Stages the model's layers are split into.",
        kind=Kind.INT,
        default=1,
        minimum=1,
        aliases=("pipeline_parallel_size",),
        engine="pipeline_parallel_size",
        environment=(Spelling("PIPELINE_PARALLEL_DEGREE"),),
    ),
    Option(
        "data_parallel_size",
        "Copies of the model inside the one engine. Default: as many as the GPUs hold.",
        kind=Kind.INT,
        minimum=1,
        engine="data_parallel_size",
    ),
    Option(
        "max_rolling_batch_size",
        "Sequences in a batch at most. Default: vLLM's.",
        kind=Kind.INT,
        minimum=1,
        aliases=("max_num_seqs",),
        engine="max_num_seqs",
        environment=(Spelling("MAX_BATCH_SIZE"),),
    ),
    Option(
        "max_rolling_batch_prefill_tokens",
        "Tokens in a batch at most. Default: vLLM's.",
        kind=Kind.HUMAN_INT,
        minimum=1,
        aliases=("max_num_batched_tokens",),
        engine="max_num_batched_tokens",
        environment=(Spelling("MAX_BATCH_PREFILL_TOKENS"),),
    ),
    Option(
        "gpu_memory_utilization",
        "Share of each GPU's memory the engine may take.",
        kind=Kind.FLOAT,
        minimum=0.01,
        maximum=1,
        aliases=("device_memory_utilization",),
        engine="gpu_memory_utilization",
        environment=(Spelling("CUDA_MEMORY_FRACTION"),),
    ),
    Option(
        "enforce_eager",
        "Run without compiled graphs: starts sooner, answers more slowly.",
        kind=Kind.BOOL,
        engine="enforce_eager",
        environment=(Spelling("ENABLE_CUDA_GRAPHS", _opposite),),
    ),
    Option(
        "cpu_offload_gb_per_gpu",
        "GiB of weights kept in RAM for each GPU.",
        kind=Kind.FLOAT,
        minimum=0,
        aliases=("cpu_offload_gb",),
        engine="cpu_offload_gb",
    ),
    Option(
        "env",
        "More environment variables for the engine's process, as A=b,C=d.",
        kind=Kind.LIST,
    ),
)
