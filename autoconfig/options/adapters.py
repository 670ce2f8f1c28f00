"""LoRA adapters: how many are held at once, how large they may be, and which are known from the start."""

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "Adapter options"
ONLY_WITH_LORA = ("max_loras", "max_cpu_loras", "max_lora_rank", "adapter_roots")
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as max_lora_rank."""


def rank_for(rank: int) -> int | None:
    """Return the smallest of them that an adapter of a rank fits into; None where it is larger than all."""
    return next((choice for choice in RANKS if choice >= rank), None)


OPTIONS = (
    Option(
        "enable_lora",
        "Serve LoRA adapters. Default: true where the start finds any, else false.",
        kind=Kind.BOOL,
        engine="enable_lora",
    ),
    Option(
        "max_loras",
        "Adapters in one batch at most; each takes GPU memory. Default: 4, as in LMI, and one more than are pinned.",
        kind=Kind.INT,
        minimum=1,
        engine="max_loras",
    ),
    Option(
        "max_cpu_loras",
        "Adapters whose weights are in RAM at once; others are read again when a request names them. Default: from "
        "max_loras to 32, as many as a small share of the RAM holds.",
        kind=Kind.INT,
        minimum=1,
        engine="max_cpu_loras",
        optional=True,
    ),
    Option(
        "max_lora_rank",
        "Largest rank of an adapter; a larger one takes memory for every adapter. Default: what the adapters of the "
        "start need, at least 16.",
        kind=Kind.INT,
        choices=RANKS,
        engine="max_lora_rank",
    ),
    Option(
        "adapters",
        "Adapters known from the start, beside those in `adapters/` of the model directory: a directory, a list of "
        'them, or as JSON {"name": "directory"} or [{"name": ..., "src": ..., "preload": true, "pin": true}]. A '
        "directory is one adapter, or holds one in each of its own directories; a relative one is below the model "
        "directory.",
    ),
    Option(
        "adapter_roots",
        "More directories that an adapter registered over HTTP may lie in, beside the model directory, /opt/ml/models "
        "and /opt/ml/additional-model-data-sources.",
        kind=Kind.LIST,
    ),
    Option(
        "lora_modules",
        "Adapters in vLLM's own form, as name=directory or as JSON; they are loaded before the first request.",
        kind=Kind.LIST,
        optional=True,
        environment=(Spelling("SM_VLLM_LORA_MODULES"),),
    ),
)
