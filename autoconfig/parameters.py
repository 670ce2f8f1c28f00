"""Estimates a model's weights from its config.json alone, for planning before a single byte of them is downloaded."""

from collections.abc import Mapping
from typing import Any

from autoconfig.kv_layout import language_part

# Bytes a number by quantisation; a method not listed mixes widths, and nothing is estimated.
_WIDTHS: dict[str | None, float] = {None: 2.0, "fp8": 1.0}
_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts")


def estimated_weight_bytes(config: Mapping[str, Any]) -> int | None:
    """Return the language model's weights at their released width; None for a layout this arithmetic does not cover."""
    part = language_part(config)
    quantisation = part.get("quantization_config") or config.get("quantization_config")
    width = _WIDTHS.get(quantisation.get("quant_method") if isinstance(quantisation, dict) else None)
    if width is None or "full_attention_interval" in part or "moe" in part or "layers_block_type" in part:
        return None
    try:
        layers, vocabulary = int(part["num_hidden_layers"]), int(part["vocab_size"])
        tied = part.get("tie_word_embeddings", config.get("tie_word_embeddings", False))
        embeddings = vocabulary * int(part["hidden_size"]) * (1 if tied else 2)
        return int(width * (embeddings + layers * _attention(part) + _feed_forward(part, layers)))
    except (KeyError, TypeError, ValueError):
        return None


def _attention(part: Mapping[str, Any]) -> int:
    hidden, heads = int(part["hidden_size"]), int(part["num_attention_heads"])
    if not part.get("kv_lora_rank"):
        size = int(part.get("head_dim") or hidden // heads)
        return 2 * hidden * size * (heads + int(part.get("num_key_value_heads") or heads))
    rope, nope, value = int(part["qk_rope_head_dim"]), int(part["qk_nope_head_dim"]), int(part["v_head_dim"])
    latent, query = int(part["kv_lora_rank"]), int(part.get("q_lora_rank") or 0)
    queries = query * (hidden + heads * (nope + rope)) if query else hidden * heads * (nope + rope)
    return queries + hidden * (latent + rope) + latent * heads * (nope + value) + heads * value * hidden


def _feed_forward(part: Mapping[str, Any], layers: int) -> int:
    """Three matrices a layer; in a mixture of experts, that many for each expert and those all tokens share."""
    hidden, inner = int(part["hidden_size"]), int(part["intermediate_size"])
    experts = next((int(part[name]) for name in _EXPERTS if part.get(name)), 0)
    if not experts:
        return 3 * hidden * inner * layers
    dense = int(part.get("first_k_dense_replace") or 0)
    width = int(part.get("moe_intermediate_size") or inner)
    shared = int(part.get("n_shared_experts") or (1 if part.get("model_type") == "llama4_text" else 0))
    return 3 * hidden * (inner * dense + width * (experts + shared) * (layers - dense))
