"""An adapter's `adapter_config.json` into the few facts serving it needs; refuses the kinds vLLM does not compute.

vLLM makes the same checks when it loads an adapter (0.32, lora/peft_helper.py); made here, they need no engine.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from autoconfig.lora.errors import UnusableAdapterError

FILE = "adapter_config.json"
MAX_BYTES = 4 * 1024 * 1024
_UNSUPPORTED = {
    "use_dora": "DoRA",
    "lora_bias": "a bias of LoRA's own (lora_bias)",
    "alora_invocation_tokens": "Activated LoRA (alora_invocation_tokens)",
    "layer_replication": "layer_replication",
    "use_bdlora": "block-diagonal LoRA (use_bdlora)",
    "use_qalora": "QALoRA (use_qalora)",
}
# Others (PiSSA, OLoRA, CorDA, LoftQ) change the base model's weights when PEFT loads the adapter.
_HARMLESS_INITS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
_SAVED_MODULES = frozenset({"classifier", "score"})


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """What an adapter says of itself."""

    ranks: frozenset[int]
    """Of its modules: `r`, and those of `rank_pattern`."""
    fan_in_fan_out: bool = False
    """The base model keeps its weights transposed (GPT-2)."""

    @property
    def rank(self) -> int:
        """The highest rank."""
        return max(self.ranks)

    @classmethod
    def parse(cls, text: bytes) -> "PeftConfig":
        """Read the file's text.

        Raises:
            UnusableAdapterError: it is not a LoRA adapter's configuration, or of a kind the engine does not run.
        """
        try:
            given = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UnusableAdapterError(f"{FILE} is not valid JSON: {error}") from None
        if not isinstance(given, dict):
            raise UnusableAdapterError(f"{FILE} is not a JSON object")
        _check_kind(given)
        return cls(_ranks(given), bool(given.get("fan_in_fan_out")))


def _check_kind(given: dict[str, Any]) -> None:
    kind = given.get("peft_type", "LORA")
    if kind != "LORA":
        raise UnusableAdapterError(f"its peft_type is {str(kind)[:40]}; only LORA is supported")
    for field, name in _UNSUPPORTED.items():
        if given.get(field):
            raise UnusableAdapterError(f"it uses {name}, which vLLM does not support")
    bias = given.get("bias", "none")
    if bias != "none":
        raise UnusableAdapterError(f"its bias is {str(bias)[:40]}; vLLM supports only none")
    init = given.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in _HARMLESS_INITS:
        raise UnusableAdapterError(
            f"init_lora_weights={init[:40]} changes the base model's weights, which vLLM does not do; "
            "convert the adapter with PEFT's path_initial_model_for_weight_conversion"
        )
    saved = given.get("modules_to_save") or []
    if not isinstance(saved, list) or not _SAVED_MODULES.issuperset(map(str, saved)):
        raise UnusableAdapterError(f"modules_to_save holds {str(saved)[:80]}; vLLM supports only classifier and score")


def _ranks(given: dict[str, Any]) -> frozenset[int]:
    """Return the ranks, having seen that the fields vLLM needs are there."""
    alpha = given.get("lora_alpha")
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        raise UnusableAdapterError(f"{FILE} has no number as lora_alpha")
    targets = given.get("target_modules", 0)
    texts = targets if isinstance(targets, list) else [targets]
    if targets is not None and not all(isinstance(target, str) for target in texts):
        raise UnusableAdapterError(f"{FILE} names no target_modules")
    patterns = given.get("rank_pattern") or {}
    ranks = [given.get("r"), *(patterns.values() if isinstance(patterns, dict) else [None])]
    if not all(type(rank) is int and rank > 0 for rank in ranks):
        raise UnusableAdapterError(f"{FILE} needs positive integers as r and in rank_pattern")
    return frozenset(ranks)
