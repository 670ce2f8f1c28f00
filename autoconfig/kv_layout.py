"""Reads from a model's config.json what its keys and values take: per token, for the engine's ranks and for the node.

Upstream's own names are kept (Hugging Face's config.json, Mistral's params.json); what is not declared is not guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

# Mistral's params.json -> Hugging Face's names.
_PARAMS = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
}
# What transformers 5 fills in where a release leaves it out; none of this is in those releases' files.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma2": {"sliding_window_pattern": 2},
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    },
    "llama4_text": {"no_rope_layer_interval": 4},
}
_NO_ATTENTION = ("linear_attention", "mamba", "mamba2", "conv", "recurrent")
_LOCAL_ATTENTION = ("sliding_attention", "chunked_attention")
# vLLM 0.32's fp8_ds_mla: 512 latent bytes, 16 of scales, 128 for the rotary part, whatever the model's type.
_FP8_DS_MLA_BYTES = 656


@dataclass(frozen=True, slots=True)
class KvLayout:
    """The keys and values one token leaves behind."""

    layers: int
    """Layers that keep keys and values for each token; linear attention keeps a fixed state instead."""
    kv_heads: int
    head_size: int
    latent_size: int = 0
    """Numbers a token leaves in one layer of multi-head latent attention (MLA), 0 for every other kind."""
    indexer_bytes: int = 0
    """Bytes a layer's sparse-attention indexer (DeepSeek-V3.2) keeps for a token."""
    window: int | None = None
    window_layers: int = 0
    """Layers that look back `window` tokens only; LMCache keeps them in full all the same."""
    linear_layers: int = 0
    draft_layers: int = 0
    """Layers for multi-token prediction in the checkpoint, used only where speculation asks for them."""

    def rank_bytes(self, number_bytes: float, tensor_parallel: int = 1, *, kv_dtype: str = "", drafts: int = 0) -> int:
        """Return the bytes of a token on one of the engine's ranks: latents are whole on each, heads are divided."""
        if self.latent_size:
            latents = _FP8_DS_MLA_BYTES if kv_dtype == "fp8_ds_mla" else self.latent_size * number_bytes
            return ceil((self.layers + drafts) * (latents + self.indexer_bytes))
        heads = max(1, ceil(self.kv_heads / tensor_parallel))
        return ceil(2 * (self.layers + drafts) * heads * self.head_size * number_bytes)

    def node_bytes(self, number_bytes: float, tensor_parallel: int = 1, *, kv_dtype: str = "", drafts: int = 0) -> int:
        """Return the bytes a cache of the node keeps for a token: every rank's heads, latents once.

        With more ranks than heads each rank has a copy of one, and LMCache keeps them all.
        """
        rank = self.rank_bytes(number_bytes, tensor_parallel, kv_dtype=kv_dtype, drafts=drafts)
        return rank if self.latent_size else rank * tensor_parallel


def language_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the language model's part in Hugging Face's names, with the defaults a release may rely on."""
    nested = config.get("text_config")
    part: Mapping[str, Any] = nested if isinstance(nested, dict) else config
    named = {_PARAMS.get(name, name): value for name, value in part.items()} if "n_layers" in part else dict(part)
    return _DEFAULTS.get(str(part.get("model_type")), {}) | named


def kv_layout(config: Mapping[str, Any]) -> KvLayout | None:
    """Read the parsed file; None where it does not declare enough, or declares a kind of layer not known here."""
    part = language_part(config)
    layers, heads = _count(part, "num_hidden_layers"), _count(part, "num_attention_heads")
    if not layers or not heads:
        return None
    kinds = _layer_kinds(part, layers)
    if kinds is None:
        return None
    linear = sum(kind in _NO_ATTENTION for kind in kinds)
    local = sum(kind in _LOCAL_ATTENTION for kind in kinds)
    latent = _count(part, "kv_lora_rank")
    head_size = _count(part, "head_dim") or (_count(part, "hidden_size") or 0) // heads
    if not latent and not head_size:
        return None
    return KvLayout(
        layers=layers - linear,
        kv_heads=_count(part, "num_key_value_heads") or heads,
        head_size=head_size,
        latent_size=latent + _count(part, "qk_rope_head_dim") if latent else 0,
        indexer_bytes=_indexer_bytes(part),
        window=_count(part, "sliding_window") or _count(part, "attention_chunk_size") if local else None,
        window_layers=local,
        linear_layers=linear,
        draft_layers=_count(part, "num_nextn_predict_layers") or _count(part, "mtp_num_hidden_layers"),
    )


def _layer_kinds(part: Mapping[str, Any], layers: int) -> list[str] | None:
    """Return each layer's kind of attention, under transformers' names."""
    listed = part.get("layer_types") or part.get("layers_block_type")
    if isinstance(listed, list):
        return [str(kind) for kind in listed[:layers]]
    if every := _count(part, "full_attention_interval"):
        return _every(every, layers, "linear_attention")
    if any(name.startswith(("mamba", "ssm", "hybrid_override")) for name in part):
        return None
    if _count(part, "attention_chunk_size"):
        return _every(_count(part, "no_rope_layer_interval"), layers, "chunked_attention")
    window = _count(part, "sliding_window")
    if not window or part.get("use_sliding_window") is False or window >= _count(part, "max_position_embeddings"):
        return ["full_attention"] * layers
    if pattern := _count(part, "sliding_window_pattern"):
        return _every(pattern, layers, "sliding_attention")
    # Qwen2 counts the layers below that do not slide.
    full = min(layers, _count(part, "max_window_layers"))
    return ["full_attention"] * full + ["sliding_attention"] * (layers - full)


def _every(interval: int, layers: int, between: str) -> list[str]:
    """Return full attention in every so many layers, and another kind in those between; none is full at interval 0."""
    return ["full_attention" if interval and (layer + 1) % interval == 0 else between for layer in range(layers)]


def _indexer_bytes(part: Mapping[str, Any]) -> int:
    """One byte a number and four of scale for each 128 of them, whatever the cache's type (vLLM 0.32)."""
    size = _count(part, "index_head_dim")
    return size + 4 * ceil(size / 128) if size else 0


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
