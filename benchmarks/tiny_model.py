"""Writes a random Llama of a few megabytes with a tokenizer of its own.

A step of it takes a few milliseconds on a CPU, so that what is measured is the server around the engine.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = (
    "the of and to in is was for that on as with by at from it an be this which or are not have had they one you were "
    "all her she there would their we him been has when who will more no if out so said what up its about into than "
    "them can only other new some could time these two may then do first any my now such like our over man me even most"
).split()
END = "<|end|>"
SPECIAL = (END, "<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the weights look like; the default is for measuring what surrounds the engine."""

    name: str = "tiny-llama"
    layers: int = 2
    hidden: int = 256
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 64
    intermediate: int = 512
    context: int = 8192
    deviation: float = 0.02
    """Of the weights; the wider, the more an answer depends on the words far before it."""


def write(directory: Path, shape: Shape | None = None) -> Path:
    """Write the model under `directory` unless it is there already, and return its path."""
    shape = shape or Shape()
    target = directory / shape.name
    if (target / "complete").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(target / "tokenizer.json"))
    special = {"eos_token": END, "pad_token": END, "chat_template": CHAT_TEMPLATE}
    (target / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.context} | special)
    )
    _save_weights(target, shape, tokenizer.get_vocab_size(), SPECIAL.index(END))
    (target / "complete").touch()
    return target


def _tokenizer() -> Tokenizer:
    """Train byte-level BPE on ASCII alone: then every token is text, and every token makes a chunk of the stream."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=list(SPECIAL), show_progress=False)
    printable = "".join(map(chr, range(32, 127)))
    tokenizer.train_from_iterator([printable, " ".join(WORDS)] * 20, trainer)
    return tokenizer


def _save_weights(target: Path, shape: Shape, vocabulary: int, end: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        max_position_embeddings=shape.context,
        initializer_range=shape.deviation,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = LlamaForCausalLM(config).to(torch.float32)
    with torch.no_grad():
        model.lm_head.weight[: len(SPECIAL)] = 0  # never the likeliest, so never a token without text
    model.save_pretrained(target)
