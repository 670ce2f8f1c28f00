import pytest

from tests.autoconfig.configured import errors, resolved
from tests.autoconfig.hosts import FOUR_GPUS

HINT = "Did you mean float32 or float16?"


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("max_rolling_batch_size", "8k", "is not a whole number of at least 1."),
        ("gpu_memory_utilization", "90", "is not a number from 0.01 to 1."),
        ("enforce_eager", "maybe", "is not true or false."),
        ("tensor_parallel_degree", "all", 'is not a whole number of at least 1, or "max".'),
        ("dtype", "float12", f"is not one of auto, bfloat16, float16, float32. {HINT}"),
        ("scheduling_policy", "prio", "is not one of fcfs, priority. Did you mean priority?"),
        ("max_lora_rank", "24", "is not one of 1, 8, 16, 32, 64, 128, 256, 320, 512. Set 32."),
        ("speculative_config", "{'method': 'ngram'}", "is not a JSON object."),
        ("drain_timeout", "60", "is not a number from 0 to 20."),
        ("bind_to_port", "http", "is not a whole number from 1 to 65535."),
        ("model_id", "a b", "is neither a Hugging Face id, nor an absolute directory, nor s3://bucket/prefix."),
        ("safe_port_range", "9-8", "is not a range of ports, as 5000-5999."),
        ("env", "A=1,2B", "must be variables as A=b,C=d; '2B' is none."),
    ],
)
def test_a_bad_value_says_what_where_and_what_was_expected(option: str, text: str, expected: str) -> None:
    assert errors(f"option.{option}={text}") == f"option.{option}={text} (serving.properties:1) {expected}"


def test_a_bad_value_of_a_lower_layer_does_not_matter() -> None:
    assert resolved("option.dtype=bf16", OPTION_DTYPE="float12").values["dtype"].value == "bfloat16"


def test_a_back_end_may_be_spelled_as_vllm_also_takes_it() -> None:
    assert resolved(OPTION_MOE_BACKEND="FlashInfer-TRTLLM").values["moe_backend"].value == "flashinfer_trtllm"


def test_none_means_none_where_vllm_takes_none() -> None:
    assert resolved(OPTION_SAFETENSORS_LOAD_STRATEGY="None").values["safetensors_load_strategy"].value is None


def test_a_value_the_length_of_a_book_is_shown_shortened() -> None:
    assert len(errors(OPTION_DTYPE="x" * 10_000)) < 250


def test_all_mistakes_of_all_kinds_are_told_at_once() -> None:
    told = errors(
        "option.max_modle_len=1\noption.dtype=float12\noption.dtype=fp16\nbad=\\u00\n",
        host=FOUR_GPUS,
        OPTION_TENSOR_PARALLEL_DEGREE="8",
        OPTION_UDS="/x",
        SERVING_KEYSTORE="x",
    )
    assert (
        told
        == """\
serving.properties:4: \\u00 is no character; \\u takes four hex digits.
option.max_modle_len=1 (serving.properties:1): neither LMI nor vLLM has this option. Did you mean option.max_model_len?
option.dtype is given 2 times: float12 (serving.properties:2) and fp16 (serving.properties:3). Keep one.
option.dtype=float12 (serving.properties:2) is not one of auto, bfloat16, float16, float32. \
Did you mean float32 or float16?
keystore=x (SERVING_KEYSTORE) asks for TLS, which this container leaves to SageMaker or a proxy in front; remove it.
option.uds=/x (OPTION_UDS) is the container's own listener: use SAGEMAKER_BIND_TO_PORT or --port; \
the address is always 0.0.0.0.
option.tensor_parallel_degree=8 (OPTION_TENSOR_PARALLEL_DEGREE) needs 8 GPUs; this host has 4. Set 4, or "max"."""
    )
