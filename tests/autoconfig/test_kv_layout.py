import pytest

from autoconfig.kv_layout import kv_layout
from autoconfig.parameters import adapter_numbers, estimated_weight_bytes
from tests.autoconfig.configured import LLAMA_8B
from tests.autoconfig.released_models import MODELS, layout_of


@pytest.mark.parametrize("name", MODELS)
def test_a_released_model_takes_what_its_published_figures_give(name: str) -> None:
    assert layout_of(name).node_bytes(2) / 1024 == pytest.approx(MODELS[name]["kib_per_token_bf16"], abs=0.001)


@pytest.mark.parametrize(("size", "kib"), [("1.5B", 28), ("7B", 56), ("72B", 320)])
def test_the_announcements_three_figures_come_out(size: str, kib: int) -> None:
    assert layout_of(f"Qwen/Qwen2.5-{size}").node_bytes(2) == kib * 1024


def test_heads_are_divided_over_the_ranks_and_the_node_keeps_them_all() -> None:
    layout = layout_of("Qwen/Qwen2.5-72B")
    assert [layout.rank_bytes(2, ranks) for ranks in (1, 4, 8)] == [320 * 1024, 80 * 1024, 40 * 1024]
    assert {layout.node_bytes(2, ranks) for ranks in (1, 2, 4, 8)} == {320 * 1024}


def test_with_more_ranks_than_heads_every_copy_counts() -> None:
    layout = layout_of("Qwen/Qwen2.5-7B")
    assert layout.kv_heads == 4
    assert layout.node_bytes(2, 8) == 2 * layout.node_bytes(2, 4) == 112 * 1024


def test_latents_are_whole_on_every_rank_and_kept_once() -> None:
    layout = layout_of("deepseek-ai/DeepSeek-V3")
    assert layout.rank_bytes(2, 8) == layout.node_bytes(2, 8) == layout.node_bytes(2) == 61 * 576 * 2


def test_the_index_of_sparse_attention_keeps_its_width_whatever_the_caches_is() -> None:
    layout = layout_of("deepseek-ai/DeepSeek-V3.2")
    assert layout.node_bytes(2) - layout.node_bytes(1) == 61 * 576
    assert layout.node_bytes(1, kv_dtype="fp8_ds_mla") == 61 * (656 + 132)


def test_an_8_bit_cache_halves_and_float32_doubles_it() -> None:
    layout = layout_of("meta-llama/Llama-3.1-8B")
    assert [layout.node_bytes(width) // 1024 for width in (1, 2, 4)] == [64, 128, 256]


def test_layers_for_drafting_count_only_where_they_are_used() -> None:
    layout = layout_of("deepseek-ai/DeepSeek-V3")
    assert layout.draft_layers == 1
    assert layout.node_bytes(2, drafts=layout.draft_layers) == 62 * 576 * 2


@pytest.mark.parametrize(
    ("name", "local", "window"),
    [
        ("openai/gpt-oss-20b", 12, 128),
        ("google/gemma-3-27b-it", 52, 1024),
        ("google/gemma-3-1b-it", 22, 512),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 36, 8192),
        ("Qwen/Qwen2.5-7B", 0, None),
        ("microsoft/Phi-4-mini-instruct", 0, None),
    ],
)
def test_layers_that_see_a_window_only_are_told_apart(name: str, local: int, window: int | None) -> None:
    assert (layout_of(name).window_layers, layout_of(name).window) == (local, window)


def test_every_layer_slides_where_a_window_is_all_that_is_said() -> None:
    layout = kv_layout({**LLAMA_8B, "sliding_window": 4096})
    assert layout is not None
    assert (layout.layers, layout.window_layers) == (32, 32)


def test_qwen_slides_from_a_layer_on() -> None:
    layout = kv_layout({**LLAMA_8B, "sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 20})
    assert layout is not None
    assert layout.window_layers == 12


def test_linear_attention_keeps_nothing_for_each_token() -> None:
    layout = layout_of("Qwen/Qwen3-Next-80B-A3B-Thinking")
    assert (layout.layers, layout.linear_layers) == (12, 36)
    listed = kv_layout({**LLAMA_8B, "layer_types": ["linear_attention", "full_attention"] * 16})
    assert listed is not None
    assert (listed.layers, listed.linear_layers) == (16, 16)


def test_defaults_a_release_relies_on_are_filled_in() -> None:
    layout = kv_layout({"text_config": {"model_type": "gemma3_text", "num_hidden_layers": 34, "hidden_size": 2560}})
    assert layout is not None
    assert layout.node_bytes(2) == 136 * 1024


@pytest.mark.parametrize("config", [{}, {"num_hidden_layers": 4}, {**LLAMA_8B, "mamba_d_state": 16}])
def test_what_is_not_declared_is_not_guessed(config: dict[str, object]) -> None:
    assert kv_layout(config) is None


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if estimated_weight_bytes(row)])
def test_weights_are_estimated_within_two_per_cent(name: str) -> None:
    row = MODELS[name]
    width = 1 if row.get("quantization_config") else 2
    estimate = estimated_weight_bytes(row)
    assert estimate is not None
    assert estimate / width / 1e9 == pytest.approx(row["total_params_b"], rel=0.02)


@pytest.mark.parametrize("name", ["openai/gpt-oss-20b", "Qwen/Qwen3-Next-80B-A3B-Thinking"])
def test_weights_of_a_layout_the_arithmetic_does_not_cover_are_not_estimated(name: str) -> None:
    assert estimated_weight_bytes(MODELS[name]) is None


def test_an_adapter_has_a_row_and_a_column_for_every_linear_layer_of_the_model() -> None:
    attention = 2 * (4096 + 4096) + 2 * (4096 + 1024)
    assert adapter_numbers(MODELS["meta-llama/Llama-3.1-8B"]) == 32 * (attention + 3 * (4096 + 14336))
    assert adapter_numbers(MODELS["Qwen/Qwen3-Next-80B-A3B-Thinking"]) is None
