"""Estimates a model's weights from its config.json alone, for planning before a single byte of them is downloaded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoconfig.kv_layout import language_part

# Bytes a number by quantisation; a method not listed mixes widths, and nothing is estimated.
_WIDTHS: dict[str | None, float] = {None: 2.0, "fp8": 1.0}
_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts")


@dataclass(frozen=True, slots=True)
class _Matrices:
    """So many weight matrices of one shape."""

    rows: int
    columns: int
    count: int = 1


def estimated_weight_bytes(config: Mapping[str, Any]) -> int | None:
    """Return the language model's weights at their released width; None for a layout this arithmetic does not cover."""
    part = language_part(config)
    quantisation = part.get("quantization_config") or config.get("quantization_config")
    width = _WIDTHS.get(quantisation.get("quant_method") if isinstance(quantisation, dict) else None)
    try:
        tied = part.get("tie_word_embeddings", config.get("tie_word_embeddings", False))
        embeddings = int(part["vocab_size"]) * int(part["hidden_size"]) * (1 if tied else 2)
        linear = sum(one.rows * one.columns * one.count for one in _linear_layers(part))
    except (KeyError, TypeError, ValueError):
        return None
    return int(width * (embeddings + linear)) if width else None


def adapter_numbers(config: Mapping[str, Any]) -> int | None:
    """Return how many numbers a LoRA adapter of rank 1 has that changes every linear layer; None where not known."""
    try:
        return sum((one.rows + one.columns) * one.count for one in _linear_layers(language_part(config)))
    except (KeyError, TypeError, ValueError):
        return None


def _linear_layers(part: Mapping[str, Any]) -> Iterator[_Matrices]:
    if "full_attention_interval" in part or "moe" in part or "layers_block_type" in part:
        raise ValueError("layers of several kinds")
    layers = int(part["num_hidden_layers"])
    yield from _attention(part, layers)
    yield from _feed_forward(part, layers)


def _attention(part: Mapping[str, Any], layers: int) -> Iterator[_Matrices]:
    hidden, heads = int(part["hidden_size"]), int(part["num_attention_heads"])
    if not part.get("kv_lora_rank"):
        size = int(part.get("head_dim") or hidden // heads)
        yield _Matrices(hidden, size * heads, 2 * layers)
        yield _Matrices(hidden, size * int(part.get("num_key_value_heads") or heads), 2 * layers)
        return
    rope, nope, value = int(part["qk_rope_head_dim"]), int(part["qk_nope_head_dim"]), int(part["v_head_dim"])
    latent, query = int(part["kv_lora_rank"]), int(part.get("q_lora_rank") or 0)
    if query:
        yield _Matrices(hidden, query, layers)
    yield _Matrices(query or hidden, heads * (nope + rope), layers)
    yield _Matrices(hidden, latent + rope, layers)
    yield _Matrices(latent, heads * (nope + value), layers)
    yield _Matrices(heads * value, hidden, layers)


def _feed_forward(part: Mapping[str, Any], layers: int) -> Iterator[_Matrices]:
    """Three matrices a layer; in a mixture of experts, that many for each expert and those all tokens share."""
    hidden, inner = int(part["hidden_size"]), int(part["intermediate_size"])
    experts = next((int(part[name]) for name in _EXPERTS if part.get(name)), 0)
    dense = int(part.get("first_k_dense_replace") or 0) if experts else layers
    yield _Matrices(hidden, inner, 3 * dense)
    if experts:
        width = int(part.get("moe_intermediate_size") or inner)
        shared = int(part.get("n_shared_experts") or (1 if part.get("model_type") == "llama4_text" else 0))
        yield _Matrices(hidden, width, 3 * (experts + shared) * (layers - dense))
