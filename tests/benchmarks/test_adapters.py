import json
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from benchmarks.adapters import files
from benchmarks.adapters.page import Measured, markdown
from benchmarks.adapters.phases import Mix
from benchmarks.tiny_model import Shape

MIX = Mix(adapters=100, skew=1.0, requests=4000, concurrency=16, prompt_tokens=4, output_tokens=2)


def config(directory: Path) -> Path:
    shape = Shape()
    directory.mkdir()
    (directory / "config.json").write_text(
        json.dumps({
            "hidden_size": shape.hidden, "head_dim": shape.head_size, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads, "num_hidden_layers": shape.layers,
        })
    )  # fmt: skip
    return directory


def test_the_same_seed_sends_the_same_requests() -> None:
    assert MIX.bodies("a") == MIX.bodies("a")
    assert MIX.bodies("a") != MIX.bodies("b")


def test_the_second_adapter_is_asked_for_half_as_often_as_the_first() -> None:
    asked = Counter(body["model"] for body in MIX.bodies("a"))
    assert 1.6 < asked["mix-0"] / asked["mix-1"] < 2.4
    assert len(asked) > 90


def test_adapters_are_written_once_for_the_models_shape_and_differ(tmp_path: Path) -> None:
    model = config(tmp_path / "model")
    first, second = files.write(tmp_path, model, 2, rank=4)
    written = (first / "adapter_config.json").stat().st_mtime_ns
    assert files.write(tmp_path, model, 2, rank=4) == [first, second]
    assert (first / "adapter_config.json").stat().st_mtime_ns == written
    one, other = (load_file(path / "adapter_model.safetensors") for path in (first, second))
    name = "base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight"
    assert one[name].shape == (128, 4)
    assert one.keys() == other.keys()
    assert not np.allclose(one[name], other[name])


def test_the_page_shows_medians_and_the_ratio_of_the_pairs() -> None:
    measured = [
        Measured("mix", turn, server, {"ttft_p50_ms": value, "hit rate": 0.5 if server == "ours" else None})
        for turn in range(3)
        for server, value in (("ours", (5.0, 10.0, 20.0)[turn]), ("plain", 20.0))
    ]
    page = markdown({"machine": "this one"}, measured, "ours", "plain")
    assert "| ttft p50 ms | 10 | 20 | 0.500 [" in page
    assert "| hit rate | 0.5 | - | - |" in page
    assert page.endswith("- machine: this one\n")
