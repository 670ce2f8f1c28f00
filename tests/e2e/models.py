"""Writes a model directory of a few MB for the tests to serve, the same on every machine.

The weights are random but planned: after a digit comes a fixed run of multi-byte characters, one byte per token, and
after "~" the end-of-sequence token. A test can so ask for split UTF-8 or for a natural end; the rest is varied noise.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Weights = dict[str, NDArray[np.float32]]

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_SIZE, MLP = 256, 2, 4, 2, 64, 512
MAX_POSITIONS = 16384
SPLIT_CHARACTERS = "😀你é"
"""What the model writes after a digit, a token for each byte; all nine differ, so each has one successor."""
END_CHARACTER = "~"
"""What the model ends after."""
SPECIAL = ("<|end|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the capital of France is Paris, said the system to the user.",
    "Der schnelle braune Fuchs springt über den faulen Hund; größer, schöner, älter, grün und süß.",
    "Съешь ещё этих мягких французских булок, да выпей чаю, и скажи мне, кто здесь живёт.",
    "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏天地日月天地日月",
    "いろはにほへとちりぬるをわかよたれそつねならむ",
    "🎉🎉🚀🚀🌍🌍 launch 🎉🚀🌍 again 🎉🚀🌍 and again 🎉🚀🌍",
    "def answer(question: str) -> str: return 'forty two' if question else None  # a comment",
]


def write_model(target: Path, seed: int = 7) -> Path:
    """Write a Llama with two small layers, its tokenizer and its chat template into `target`, and return that."""
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(target / "tokenizer.json"))
    save_file(_weights(tokenizer, seed), target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)  # save_file writes 600; another user serves this in one test
    end = tokenizer.token_to_id("<|end|>")
    ends = [end, tokenizer.token_to_id("<|im_end|>")]
    _write(target / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "pad_token": "<|end|>",
        "model_max_length": MAX_POSITIONS, "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE,
    })  # fmt: skip
    _write(target / "generation_config.json", {"eos_token_id": ends, "pad_token_id": end})
    _write(target / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_SIZE, "intermediate_size": MLP,
        "vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": MAX_POSITIONS,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
        "eos_token_id": ends, "pad_token_id": end, "bos_token_id": None,
    })  # fmt: skip
    return target


def cached_model(home: Path, name: str, seed: int) -> None:
    """Lay a model out as huggingface_hub keeps one it has downloaded, below HF_HOME."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    revision = "0123456789abcdef0123456789abcdef01234567"
    write_model(repository / "snapshots" / revision, seed)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)


def untidy_model(tidy: Path, directory: Path, marker: Path) -> Path:
    """Rearrange a model as people upload them: in a top-level folder, weights behind a symlink, with extra files.

    Its model.py, which has neither formatter nor handler, leaves a line in `marker` each time it runs.
    """
    top = directory / "top"
    (top / "blobs").mkdir(parents=True)
    for file in tidy.iterdir():
        file.rename(top / file.name)
    (top / "model.safetensors").rename(top / "blobs" / "weights")
    (top / "model.safetensors").symlink_to("blobs/weights")
    (top / "requirements.txt").write_text("numpy\n")
    (top / "model.py").write_text(f"open({str(marker)!r}, 'a').write('ran\\n')\n")
    return directory


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=768, initial_alphabet=sorted(alphabet), special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return tokenizer


def _weights(tokenizer: Tokenizer, seed: int) -> Weights:
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> NDArray[np.float32]:
        return np.asarray(random.standard_normal((rows, columns)) * scale / np.sqrt(columns), np.float32)

    vocabulary = tokenizer.get_vocab_size()
    weights: Weights = {
        "model.embed_tokens.weight": matrix(vocabulary, HIDDEN, scale=16.0),
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": matrix(vocabulary, HIDDEN, scale=3.0),
    }
    for layer in (f"model.layers.{n}." for n in range(LAYERS)):
        weights[layer + "self_attn.q_proj.weight"] = matrix(HEADS * HEAD_SIZE, HIDDEN, scale=2.0)
        weights[layer + "self_attn.k_proj.weight"] = matrix(KV_HEADS * HEAD_SIZE, HIDDEN, scale=2.0)
        weights[layer + "self_attn.v_proj.weight"] = matrix(KV_HEADS * HEAD_SIZE, HIDDEN, scale=2.0)
        weights[layer + "self_attn.o_proj.weight"] = matrix(HIDDEN, HEADS * HEAD_SIZE, scale=2.0)
        weights[layer + "mlp.gate_proj.weight"] = matrix(MLP, HIDDEN, scale=2.0)
        weights[layer + "mlp.up_proj.weight"] = matrix(MLP, HIDDEN)
        weights[layer + "mlp.down_proj.weight"] = matrix(HIDDEN, MLP)
        weights[layer + "input_layernorm.weight"] = np.ones(HIDDEN, np.float32)
        weights[layer + "post_attention_layernorm.weight"] = np.ones(HIDDEN, np.float32)
    _plan_successors(weights, tokenizer)
    return weights


def _plan_successors(weights: Weights, tokenizer: Tokenizer) -> None:
    """Give each planned token a dimension of its own, which only its embedding writes and only its successor reads."""
    byte_tokens = [_identify(tokenizer, symbol) for symbol in _byte_symbols()]
    split = [byte_tokens[b] for b in SPLIT_CHARACTERS.encode()]
    digits = [byte_tokens[ord(d)] for d in "0123456789"]
    end = _identify(tokenizer, "<|end|>")
    successors: list[tuple[list[int], int]] = [(digits, split[0]), ([byte_tokens[ord(END_CHARACTER)]], end)]
    successors += [([here], following) for here, following in pairwise(split)]
    embed, head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    unlikely = [
        *byte_tokens[0x80:],
        byte_tokens[ord(END_CHARACTER)],
        *(_identify(tokenizer, token) for token in SPECIAL),
    ]
    head[unlikely] = 0.0  # logit 0 is far below the best of several hundred
    for dimension, (tokens, following) in enumerate(successors):
        for name in weights:
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weights[name][dimension, :] = 0.0
        embed[:, dimension] = 0.0
        head[:, dimension] = 0.0
        embed[tokens, dimension] = 16.0
        head[following, dimension] = 8.0


def _identify(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a token that is there."""
    found = tokenizer.token_to_id(token)
    assert found is not None, token
    return found


def _byte_symbols() -> list[str]:
    """Return the printable stand-ins of the 256 bytes in byte-level BPE (the table GPT-2 introduced)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(0x100)]
