from typing import Any

import pytest

from tests.autoconfig.configured import errors, resolved, value
from tests.autoconfig.hosts import FOUR_GPUS


def shadowed(name: str, properties: Any = "", **environ: str) -> list[str]:
    return [f"{one.shown} ({one.origin})" for one in resolved(properties, **environ).values[name].shadowed]


def test_the_whole_precedence_in_one_option() -> None:
    everywhere = {
        "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "1",
        "OPTION_PREDICT_TIMEOUT": "3",
        "PREDICT_TIMEOUT": "4",
    }
    file = "option.predict_timeout=2\n"
    assert value("predict_timeout", file, **everywhere) == 1
    assert shadowed("predict_timeout", file, **everywhere) == [
        "2 (serving.properties:1)",
        "3 (OPTION_PREDICT_TIMEOUT)",
        "4 (PREDICT_TIMEOUT)",
    ]
    del everywhere["SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS"]
    assert value("predict_timeout", file, **everywhere) == 2
    assert value("predict_timeout", **everywhere) == 3
    assert value("predict_timeout", PREDICT_TIMEOUT="4") == 4
    assert value("predict_timeout") == 240


def test_the_command_line_wins_over_the_platform() -> None:
    port = resolved(command_line={"bind_to_port": "9000"}, SAGEMAKER_BIND_TO_PORT="8081").values["bind_to_port"]
    assert (port.value, str(port.origin)) == (9000, "--port")


@pytest.mark.parametrize(
    ("variable", "text", "name", "expected"),
    [
        ("OPTION_TENSOR_PARALLEL_SIZE", "2", "tensor_parallel_degree", 2),
        ("OPTION_MAX_NUM_SEQS", "16", "max_rolling_batch_size", 16),
        ("OPTION_MAX_NUM_BATCHED_TOKENS", "8k", "max_rolling_batch_prefill_tokens", 8000),
        ("OPTION_QUANTIZATION", "fp8", "quantize", "fp8"),
        ("OPTION_CPU_OFFLOAD_GB", "4", "cpu_offload_gb_per_gpu", 4.0),
        ("OPTION_ENTRYPOINT", "djl_python.huggingface", "entrypoint", "djl_python.huggingface"),
        ("OPTION_pythonExecutable", "/x", "pythonexecutable", "/x"),
        ("SM_VLLM_MAX_MODEL_LEN", "4096", "max_model_len", 4096),
        ("SM_VLLM_TENSOR_PARALLEL_SIZE", "4", "tensor_parallel_degree", 4),
        ("SM_VLLM_ENABLE_PREFIX_CACHING", "false", "enable_prefix_caching", False),
        ("SM_NUM_GPUS", "4", "tensor_parallel_degree", 4),
        ("TENSOR_PARALLEL_DEGREE", "max", "tensor_parallel_degree", 4),
        ("HF_MODEL_QUANTIZE", "awq", "quantize", "awq"),
        ("HF_MODEL_TRUST_REMOTE_CODE", "true", "trust_remote_code", True),
        ("HF_REVISION", "v1", "revision", "v1"),
        ("HF_TASK", "text-embedding", "task", "text-embedding"),
        ("MAX_CONCURRENT_REQUESTS", "9", "max_concurrent_requests", 9),
        ("MAX_BATCH_PREFILL_TOKENS", "512", "max_rolling_batch_prefill_tokens", 512),
        ("MAX_BATCH_SIZE", "8", "max_rolling_batch_size", 8),
        ("ENABLE_CUDA_GRAPHS", "false", "enforce_eager", True),
        ("CUDA_MEMORY_FRACTION", "0.5", "gpu_memory_utilization", 0.5),
        ("SERVING_JOB_QUEUE_SIZE", "7", "max_concurrent_requests", 7),
        ("SERVING_INFERENCE_ADDRESS", "http://0.0.0.0:9999", "bind_to_port", 9999),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "6", "max_request_size", 6 * 1024 * 1024),
        ("SAGEMAKER_STARTUP_TIMEOUT", "60", "model_loading_timeout", 60.0),
        ("MODEL_LOADING_TIMEOUT", "90", "model_loading_timeout", 90.0),
    ],
)
def test_every_name_reaches_its_option(variable: str, text: str, name: str, expected: object) -> None:
    assert value(name, host=FOUR_GPUS, **{variable: text}) == expected


def test_spellings_of_number_formats_are_vllms() -> None:
    assert [value("dtype", OPTION_DTYPE=text) for text in ("fp16", "BF16", "fp32", "half", "auto")] == [
        "float16",
        "bfloat16",
        "float32",
        "float16",
        "auto",
    ]


def test_an_unprefixed_key_is_a_server_key_and_never_an_option() -> None:
    assert value("max_concurrent_requests", "job_queue_size=5") == 5
    assert errors("tensor_parallel_degree=1") == (
        "tensor_parallel_degree=1 (serving.properties:1): not a key of DJL Serving. "
        "Options carry a prefix: option.tensor_parallel_degree."
    )


def test_a_handlers_own_options_are_kept_untouched() -> None:
    kept = resolved("option.custom.Prompt.Style= terse ", OPTION_CUSTOM_LEVEL="3").custom
    assert kept == {"Prompt.Style": "terse ", "level": "3"}


def test_an_empty_value_is_not_set_and_says_so() -> None:
    resolution = resolved("option.quantize=", OPTION_DTYPE=" ", SAGEMAKER_BIND_TO_PORT="")
    assert resolution.values["bind_to_port"].value == 8080
    assert set(resolution.notes) == {
        "OPTION_DTYPE is empty: taken as not set",
        "SAGEMAKER_BIND_TO_PORT is empty: taken as not set",
        "option.quantize (serving.properties:1) is empty: taken as not set",
    }


def test_what_the_platform_sets_besides_never_breaks_the_start() -> None:
    resolution = resolved(
        SAGEMAKER_REGION="eu-west-1",
        SAGEMAKER_PROGRAM="inference.py",
        SAGEMAKER_ENABLE_LOAD_AWARE="1",
        SAGEMAKER_MODEL_SERVER_TIMEOUT="60",
        AWS_REGION="eu-west-1",
    )
    assert resolution.notes == (
        "SAGEMAKER_MODEL_SERVER_TIMEOUT is not read here; SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS is",
    )


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (
            "OPTION_MAX_MODLE_LEN",
            "neither LMI nor vLLM has this option. Did you mean OPTION_MAX_MODEL_LEN?",
        ),
        ("SM_VLLM_SWAP_SPACE", "vLLM has no such argument. OPTIONS.md lists all names."),
        ("SM_VLLM_ENABLE_LORAS", "vLLM has no such argument. Did you mean SM_VLLM_ENABLE_LORA?"),
        ("SERVING_JOB_QUEU_SIZE", "DJL Serving has no such key. Did you mean SERVING_JOB_QUEUE_SIZE?"),
        ("OPTION_XYZZY", "neither LMI nor vLLM has this option. OPTIONS.md lists all names."),
    ],
)
def test_an_unknown_name_stops_the_start_with_the_nearest(variable: str, message: str) -> None:
    assert errors(**{variable: "1"}) == f"{variable}=1: {message}"


def test_an_unknown_key_of_the_file_names_its_line() -> None:
    assert errors("\n\noption.max_modle_len=1") == (
        "option.max_modle_len=1 (serving.properties:3): neither LMI nor vLLM has this option. "
        "Did you mean option.max_model_len?"
    )


def test_a_dotted_name_is_told_how_to_be_written() -> None:
    assert errors("option.compilation_config.mode=3") == (
        "option.compilation_config.mode=3 (serving.properties:1): "
        'write it as one JSON object: option.compilation_config={"mode": 3}.'
    )


def test_a_secret_under_a_misspelled_or_refused_name_is_not_printed() -> None:
    told = errors(
        "option.model_loader_extra_config.secret=hunter2",
        OPTION_HF_TOKN="hunter2",
        OPTION_MY_PASSWORD="hunter2",
        OPTION_API_KEY="hunter2",
        VLLM_API_KEY="hunter2",
    )
    assert "hunter2" not in told
    assert "OPTION_HF_TOKN=********: neither LMI nor vLLM has this option. Did you mean OPTION_HF_TOKEN?" in told
