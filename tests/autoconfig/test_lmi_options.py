"""Every option LMI or DJL Serving documents is taken, with its meaning or with a line that says why it has none."""

import pytest

from autoconfig.options import table
from tests.autoconfig.configured import errors, resolved
from tests.autoconfig.hosts import FOUR_GPUS

# name -> a value that users give it (djl-serving d21927c4: PyModel.java, properties.py, vllm_rb_properties.py)
MODEL_LEVEL = {
    "model_id": "org/name",
    "revision": "main",
    "task": "text-generation",
    "trust_remote_code": "true",
    "tensor_parallel_degree": "max",
    "pipeline_parallel_degree": "1",
    "cluster_size": "1",
    "dtype": "fp16",
    "quantize": "fp8",
    "quantization": "fp8",
    "max_model_len": "4096",
    "rolling_batch": "disable",
    "async_mode": "true",
    "mpi_mode": "false",
    "batch_size": "1",
    "max_batch_delay": "100",
    "max_rolling_batch_size": "32",
    "max_rolling_batch_prefill_tokens": "4096",
    "max_num_batched_tokens": "4096",
    "max_num_seqs": "32",
    "gpu_memory_utilization": "0.9",
    "cpu_offload_gb_per_gpu": "4",
    "cpu_offload_gb": "4",
    "enforce_eager": "false",
    "enable_streaming": "false",
    "waiting_steps": "4",
    "output_formatter": "jsonlines",
    "tgi_compat": "false",
    "bedrock_compat": "false",
    "enable_lora": "true",
    "max_loras": "4",
    "max_lora_rank": "16",
    "max_cpu_loras": "8",
    "fully_sharded_loras": "false",
    "long_lora_scaling_factors": "2.0",
    "enable_auto_tool_choice": "false",
    "tool_call_parser": "hermes",
    "enable_reasoning": "true",
    "reasoning_parser": "qwen3",
    "normalize": "true",
    "chat_template": "/opt/ml/model/chat.jinja",
    "chat_template_content_format": "auto",
    "limit_mm_per_prompt": '{"image": 2}',
    "speculative_config": '{"method": "ngram"}',
    "kv_transfer_config": '{"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}',
    "lmcache_auto_config": "false",
    "enable_stateful_sessions": "false",
    "sessions_path": "/dev/shm/x",
    "sessions_expiration": "1200",
    "sessions_s3url": "s3://b/s",
    "entryPoint": "djl_python.lmi_vllm.vllm_async_service",
    "handler": "handle",
    "pythonExecutable": "/usr/bin/python3",
    "env": "A=b,C=d",
    "predict_timeout": "240",
    "model_loading_timeout": "1200",
    "parallel_loading": "true",
    "enable_venv": "false",
    "use_passive_workers": "true",
    "retry_threshold": "0",
    "log_request_metric": "true",
    "metrics_aggregation": "1000",
    "is_peft_model": "true",
    "device_id": "0",
}
SERVER_LEVEL = """
    management_address cluster_address load_models model_store wait_model_loading allow_multi_status
    number_of_netty_threads job_queue_size max_idle_time batch_size max_batch_delay reserved_memory_mb load_on_devices
    max_request_size chunked_read_timeout error_rate_wlm error_rate_server error_rate_model error_rate_any
    bad_request_http_code wlm_error_http_code throttle_error_http_code timeout_http_code server_error_http_code
    request_id_header_key cors_allowed_origin cors_allowed_methods cors_allowed_headers model_url_pattern plugin_folder
    use_native_io io_ratio minWorkers maxWorkers gpu.minWorkers gpu.maxWorkers engine
""".split()
VARIABLES = """
    SERVING_FEATURES SERVING_RETRY_THRESHOLD SERVING_FAIL_FAST SERVING_HEALTH_CHECK_OVERRIDE
    SERVING_MIN_WORKERS SERVING_MAX_WORKERS SERVING_PROMETHEUS
    SAGEMAKER_HEALTH_CHECK_OVERRIDE SAGEMAKER_NUM_MODEL_WORKERS SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT
    SAGEMAKER_MODEL_SERVER_VMARGS MODEL_SERVER_HOME DJL_CACHE_DIR ENGINE_CACHE_DIR DJL_OFFLINE DJL_VENV_DIR
    PYTHON_EXECUTABLE MAX_NETTY_BUFFER_SIZE ALLOW_REQUEST_HANDLER_OVERRIDE OPT_OUT_TRACKING
""".split()
TLS = ["keystore", "keystore_pass", "keystore_type", "certificate_file", "private_key_file"]


@pytest.mark.parametrize(("name", "text"), MODEL_LEVEL.items())
def test_an_option_of_the_model_is_taken_from_the_file_and_from_the_environment(name: str, text: str) -> None:
    option = table().keys[f"option.{name.lower()}"].option
    for resolution in (
        resolved(f"option.{name}={text}", FOUR_GPUS),
        resolved(host=FOUR_GPUS, **{f"OPTION_{name.upper()}": text}),
    ):
        assert option.name in resolution.values
        assert bool(option.note) == any(option.note in note for note in resolution.notes if option.note)


@pytest.mark.parametrize("name", SERVER_LEVEL)
def test_a_key_of_the_server_is_taken_unprefixed_and_as_a_serving_variable(name: str) -> None:
    option = table().keys[name.lower()].option
    for resolution in (resolved(f"{name}=1", FOUR_GPUS), resolved(host=FOUR_GPUS, **{f"SERVING_{name.upper()}": "1"})):
        assert bool(option.note) == any(option.note in note for note in resolution.notes if option.note)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_djl_reads_itself_is_taken_with_a_line_about_it(name: str) -> None:
    assert len(resolved(host=FOUR_GPUS, **{name: "true"}).notes) == 1


@pytest.mark.parametrize("name", TLS)
def test_asking_for_tls_stops_the_start(name: str) -> None:
    assert "asks for TLS" in errors(f"{name}=x")


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("input_formatter=x", "@input_formatter"),
        ("entryPoint=https://example.com/x.py", "is not a file of the model's own"),
        ("handler=serve", "call it handle"),
        ("bedrock_compat=true", "is not offered"),
        ("draft_model_id=org/draft", "use option.speculative_config"),
        ("speculative_draft_model=org/draft", "use option.speculative_config"),
        ("spec_length=4", "num_speculative_tokens"),
        ("cluster_size=2", "needs several nodes"),
        ("rolling_batch=trtllm", "is not one of auto, disable, vllm, lmi-dist, scheduler"),
    ],
)
def test_what_would_change_answers_stops_the_start_with_what_to_do(option: str, remedy: str) -> None:
    assert remedy in errors(f"option.{option}")


@pytest.mark.parametrize("name", ["SAGEMAKER_MULTI_MODEL", "SAGEMAKER_SECURE_MODE"])
def test_what_sagemaker_would_rely_on_is_refused_or_absent(name: str) -> None:
    assert name in errors(**{name: "true"})
    assert resolved(**{name: "false"}).notes == ()


def test_row_22_a_job_that_would_only_fail_later_is_refused() -> None:
    assert "this container serves models only" in errors(SM_NEO_EXECUTION_CONTEXT="quantize")


def test_no_two_options_share_a_name() -> None:
    names = [name for option in table().options.values() for name in option.names]
    assert len(names) == len(set(names))
