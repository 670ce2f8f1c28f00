from dataclasses import replace
from typing import Any

import pytest

from tests.autoconfig.configured import LLAMA_8B, arguments, directory_with, errors, launched, resolved, value
from tests.autoconfig.hosts import FOUR_GPUS, GIB, LAPTOP, OLD_LAPTOP


def reason(name: str, properties: Any = "", host: Any = LAPTOP, **environ: str) -> str:
    return resolved(properties, host, **environ).values[name].reason


def variables(properties: Any = "", host: Any = LAPTOP, **environ: str) -> dict[str, str]:
    return {choice.name: choice.value for choice in resolved(properties, host, **environ).variables}


def test_all_gpus_share_one_model_unless_told_otherwise() -> None:
    assert value("tensor_parallel_degree", host=FOUR_GPUS) == 4
    assert value("data_parallel_size", host=FOUR_GPUS) is None
    assert variables(host=FOUR_GPUS) == {}


def test_fewer_gpus_a_copy_make_more_copies_inside_the_one_engine() -> None:
    configured = resolved(host=FOUR_GPUS, OPTION_TENSOR_PARALLEL_DEGREE="2")
    assert configured.values["data_parallel_size"].value == 2
    assert str(configured.values["data_parallel_size"].origin) == "recommended"
    assert "--data-parallel-size=2" in launched(configured).plan.engine_arguments


def test_max_keeps_its_origin_and_shows_its_number() -> None:
    configured = resolved("option.tensor_parallel_degree=max\noption.pipeline_parallel_degree=2", FOUR_GPUS)
    degree = configured.values["tensor_parallel_degree"]
    assert (degree.value, str(degree.origin), degree.reason) == (2, "serving.properties:1", "max: 2 GPUs")


def test_max_is_what_the_models_heads_divide_over() -> None:
    nine_heads = directory_with({**LLAMA_8B, "num_attention_heads": 9, "num_key_value_heads": 3})
    values = resolved(host=FOUR_GPUS, directory=nine_heads).values
    assert (values["tensor_parallel_degree"].value, values["data_parallel_size"].value) == (1, 4)
    assert values["tensor_parallel_degree"].reason == "max: 9 attention heads divide over 1 of 4 GPUs"


def test_a_degree_the_heads_do_not_divide_over_is_refused_with_those_that_work() -> None:
    assert errors("option.tensor_parallel_degree=3", FOUR_GPUS, directory_with(LLAMA_8B)) == (
        "option.tensor_parallel_degree=3 (serving.properties:1) does not divide the model's 32 attention heads. "
        "Set 1 or 2 or 4."
    )


def test_copies_that_were_asked_for_share_the_gpus() -> None:
    assert value("tensor_parallel_degree", "option.data_parallel_size=2", FOUR_GPUS) == 2


def test_devices_count_for_all_parallel_options_together() -> None:
    assert errors("option.tensor_parallel_degree=4\noption.data_parallel_size=2", FOUR_GPUS) == (
        "option.data_parallel_size=2 (serving.properties:2) needs 8 GPUs together with the other parallel options; "
        "this host has 4. Set 1."
    )


@pytest.mark.parametrize("front_end", ["direct", "djl"])
def test_row_11_vllm_decides_how_many_run_at_once_unless_the_operator_does(front_end: str) -> None:
    for host in (LAPTOP, FOUR_GPUS):
        given = arguments(host=host, OPTION_FRONTEND=front_end)
        assert [token for token in given if token.startswith("--max-num-seqs")] == []
        assert "--max-num-seqs=64" in arguments(host=host, OPTION_FRONTEND=front_end, MAX_BATCH_SIZE="64")


def test_row_10_a_model_is_split_over_pipeline_stages() -> None:
    split = {"OPTION_TENSOR_PARALLEL_SIZE": "2", "OPTION_PIPELINE_PARALLEL_SIZE": "2"}
    assert {"--tensor-parallel-size=2", "--pipeline-parallel-size=2"} <= {*arguments(host=FOUR_GPUS, **split)}


def test_a_host_without_gpu_gets_settings_that_start_each_with_its_reason() -> None:
    values = resolved().values
    assert values["tensor_parallel_degree"].value == 1
    assert values["enforce_eager"].value is True
    assert values["gpu_memory_utilization"].value == 0.3
    assert all(values[name].reason.startswith("no GPU;") for name in ("enforce_eager", "gpu_memory_utilization"))
    assert variables() == {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "TORCH_COMPILE_DISABLE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "4",
    }


def test_who_wants_compiling_on_a_cpu_gets_it() -> None:
    assert "TORCH_COMPILE_DISABLE" not in variables("option.enforce_eager=false")


def test_what_the_operator_set_stays() -> None:
    given = {
        "OPTION_ENFORCE_EAGER": "false",
        "OPTION_GPU_MEMORY_UTILIZATION": "0.5",
        "OPTION_DTYPE": "bfloat16",
        "OPTION_MAX_MODEL_LEN": "2k",
        "VLLM_CPU_KVCACHE_SPACE": "9",
        "VLLM_CPU_OMP_THREADS_BIND": "0-1",
    }
    configured = resolved(host=OLD_LAPTOP, **given)
    names = ("enforce_eager", "gpu_memory_utilization", "dtype", "max_model_len")
    assert [configured.values[name].value for name in names] == [False, 0.5, "bfloat16", 2000]
    environment = launched(configured, given).environment
    assert (environment["VLLM_CPU_KVCACHE_SPACE"], environment["VLLM_CPU_OMP_THREADS_BIND"]) == ("9", "0-1")


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"avx512_bf16"}, "auto"),
        ({"amx_bf16"}, "auto"),
        ({"bf16"}, "auto"),
        ({"avx512f"}, "float32"),
        (set(), "float32"),
    ],
)
def test_the_number_format_follows_the_cpus_instructions(flags: set[str], dtype: str) -> None:
    assert value("dtype", host=replace(LAPTOP, cpu_flags=frozenset(flags))) == dtype


def test_a_float16_model_is_not_emulated_either() -> None:
    half = directory_with({**LLAMA_8B, "torch_dtype": "float16", "max_position_embeddings": 4096})
    assert resolved(directory=half).values["dtype"].value == "bfloat16"


@pytest.mark.parametrize(("available", "space"), [(3, "1"), (9, "2"), (24, "4"), (500, "4")])
def test_keys_and_values_get_a_quarter_of_the_memory_up_to_four_gib(available: int, space: str) -> None:
    host = replace(LAPTOP, ram_available_bytes=available * GIB, ram_total_bytes=512 * GIB)
    assert variables(host=host)["VLLM_CPU_KVCACHE_SPACE"] == space


def test_weights_are_taken_off_before_and_numa_nodes_counted_apart() -> None:
    heavy = directory_with(LLAMA_8B, weight_bytes=16 * GIB)
    chosen = {choice.name: choice for choice in resolved(directory=heavy).variables}["VLLM_CPU_KVCACHE_SPACE"]
    assert (chosen.value, chosen.reason) == ("2", "GiB; no GPU; a quarter of the 8.0 GiB the weights leave")
    assert variables(host=replace(LAPTOP, numa_nodes=2))["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_a_context_that_was_asked_for_gets_the_space_it_needs() -> None:
    llama = directory_with(LLAMA_8B)
    asked = resolved("option.max_model_len=64000", directory=llama)
    chosen = {choice.name: choice for choice in asked.variables}["VLLM_CPU_KVCACHE_SPACE"]
    assert (chosen.value, chosen.reason) == ("8", "GiB; no GPU; what 64000 tokens of context need")


def test_a_context_that_cannot_fit_is_refused_with_the_longest_that_does() -> None:
    assert errors("option.max_model_len=131072", directory=directory_with(LLAMA_8B)) == (
        "option.max_model_len=131072 (serving.properties:1) needs 16 GiB of KV cache; this host can give 14 GiB. "
        'Set 114688 at most, or "auto".'
    )


def test_a_model_with_a_longer_context_than_fits_is_shortened_by_vllm() -> None:
    length = resolved(directory=directory_with(LLAMA_8B)).values["max_model_len"]
    assert (length.value, length.reason) == (
        "auto",
        "no GPU; as long as 4 GiB of KV cache holds, the model's 131072 at most",
    )
    fits = directory_with({**LLAMA_8B, "max_position_embeddings": 8192})
    assert resolved(directory=fits).values["max_model_len"].value is None


def test_a_host_with_too_little_memory_is_told_so_before_anything_starts() -> None:
    tiny = replace(LAPTOP, ram_available_bytes=GIB, ram_total_bytes=2 * GIB)
    assert errors(host=tiny) == (
        "This host has 1.0 GiB of memory available; vLLM with 1 GiB of KV cache needs 2.5 GiB. "
        "Free memory, or raise the container's limit."
    )


def test_tensor_parallelism_on_a_cpu_is_bound_by_its_cores() -> None:
    assert errors(OPTION_TENSOR_PARALLEL_DEGREE="8").endswith('needs 8 CPU cores; this host has 4. Set 4, or "max".')
    assert value("tensor_parallel_degree", OPTION_TENSOR_PARALLEL_DEGREE="max") == 1


def test_a_connector_keeps_the_engine_in_a_process_of_its_own() -> None:
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in variables('option.kv_transfer_config={"kv_connector": "X"}')


def test_adapters_are_held_as_in_lmi() -> None:
    assert (value("max_loras", OPTION_ENABLE_LORA="true"), reason("max_loras", OPTION_ENABLE_LORA="true")) == (
        4,
        "LMI's default; vLLM's is 1",
    )
    assert value("max_loras", OPTION_ENABLE_LORA="true", OPTION_MAX_LORAS="2") == 2
