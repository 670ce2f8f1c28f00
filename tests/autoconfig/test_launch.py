import json
from pathlib import Path

import pytest

from autoconfig.settings import WorkerPlan
from tests.autoconfig.configured import LLAMA_8B, arguments, directory_with, errors, launched, resolved
from tests.autoconfig.hosts import FOUR_GPUS


def test_the_arguments_begin_with_the_model_and_its_names() -> None:
    plan = launched(resolved(OPTION_MODEL_ID="Qwen/Qwen3-8B"), model="Qwen/Qwen3-8B").plan
    assert plan.engine_arguments[:4] == ("--model=Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "lmi")
    assert plan.model_names == ("Qwen/Qwen3-8B", "lmi")


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ("option.enable_prefix_caching=false", ["--no-enable-prefix-caching"]),
        ("option.enforce_eager=true", ["--enforce-eager"]),
        ("option.disable_log_stats=true", ["--disable-log-stats"]),
        ("option.max_model_len=8k", ["--max-model-len=8000"]),
        ("option.kv_offloading_size=-0.5", ["--kv-offloading-size=-0.5"]),
        ("option.tokenizer_revision=-1.x", ["--tokenizer-revision=-1.x"]),
        ("option.chat_template={{ '{%' }}", ["--chat-template={{ '{%' }}"]),
        ("option.limit_mm_per_prompt={'image': 2}".replace("'", '"'), ['--limit-mm-per-prompt={"image": 2}']),
        ("option.allowed_media_domains=a.com", ["--allowed-media-domains=a.com"]),
        ("option.allowed_media_domains=a.com,b.com", ["--allowed-media-domains", "a.com", "b.com"]),
        ('option.allowed_origins=["https://a"]', ['--allowed-origins=["https://a"]']),
        ("option.cudagraph_capture_sizes=1,2", ["--cudagraph-capture-sizes", "1", "2"]),
        ("option.quantize=fp8", ["--quantization=fp8"]),
        ("option.max_rolling_batch_size=8", ["--max-num-seqs=8"]),
        ("option.dtype=bf16", ["--dtype=bfloat16"]),
        ("option.task=text-embedding", ["--runner=pooling", "--convert=embed"]),
        ("option.task=text-embedding\noption.convert=embed", ["--runner=pooling", "--convert=embed"]),
        ("option.safetensors_load_strategy=None", ["--safetensors-load-strategy=None"]),
    ],
)
def test_an_option_becomes_the_tokens_vllms_parser_takes(given: str, tokens: list[str]) -> None:
    assert set(tokens) <= set(arguments(given, FOUR_GPUS))
    start = arguments(given, FOUR_GPUS).index(tokens[0])
    if "task" not in given:
        assert arguments(given, FOUR_GPUS)[start : start + len(tokens)] == tuple(tokens)


def test_flags_that_are_off_and_options_without_effect_leave_no_token() -> None:
    quiet = arguments("option.disable_log_stats=false\noption.shutdown_timeout=3\noption.rolling_batch=auto", FOUR_GPUS)
    assert quiet == arguments(host=FOUR_GPUS)


def test_answers_carry_the_served_name_and_every_other_name_works() -> None:
    named = resolved("option.served_model_name=chat,chat-v2\noption.model_id=org/name")
    assert launched(named, model="org/name").plan.model_names == ("chat", "chat-v2", "org/name", "lmi")


def test_a_model_on_disk_is_called_lmi_rather_than_by_its_path() -> None:
    assert launched(resolved(OPTION_MODEL_ID="/models/m")).plan.model_names == ("lmi", "/models/m")
    assert launched(resolved(OPTION_MODEL_ID="s3://b/m")).plan.model_names == ("lmi", "s3://b/m")
    assert launched(resolved(), model_name="SmolLM2").plan.model_names == ("SmolLM2", "lmi")


@pytest.mark.parametrize(
    ("given", "config", "task"),
    [
        ("", LLAMA_8B, "generate"),
        ("", {"architectures": ["BertModel"]}, "embed"),
        ("", {"architectures": ["BertForSequenceClassification"]}, "pooling"),
        ("option.task=text-embedding", LLAMA_8B, "embed"),
        ("option.task=feature-extraction", LLAMA_8B, "embed"),
        ("option.task=classify", LLAMA_8B, "pooling"),
        ("option.runner=pooling", LLAMA_8B, "pooling"),
        ("option.runner=generate", {"architectures": ["BertModel"]}, "generate"),
    ],
)
def test_the_task_comes_from_the_options_else_from_the_model(given: str, config: dict[str, object], task: str) -> None:
    assert resolved(given, directory=directory_with(config)).settings.task == task


def test_the_worker_gets_the_containers_environment_without_what_configures_the_container() -> None:
    environ = {
        "PATH": "/bin",
        "OPTION_DTYPE": "fp16",
        "SM_VLLM_SEED": "1",
        "SERVING_JOB_QUEUE_SIZE": "9",
        "CUSTOM": "x",
    }
    environment = launched(resolved(**environ), environ).environment
    assert (environment["PATH"], environment["CUSTOM"]) == ("/bin", "x")
    assert not any(name.startswith(("OPTION_", "SM_VLLM_", "SERVING_")) for name in environment)
    assert environment["VLLM_HOST_IP"] == "127.0.0.1"
    assert environment["SAGEMAKER_MODEL_PATH"] == "/run/lmi/empty"
    assert environment["VLLM_LOGGING_LEVEL"] == "WARNING"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_variables_of_the_operators_own_stay() -> None:
    environ = {"HF_HUB_OFFLINE": "0", "VLLM_LOGGING_LEVEL": "DEBUG", "VLLM_NO_USAGE_STATS": "0"}
    environment = launched(resolved(**environ), environ).environment
    assert {name: environment[name] for name in environ} == environ
    assert launched(resolved("option.log_level=info"), environ).environment["VLLM_LOGGING_LEVEL"] == "INFO"


def test_a_model_on_disk_may_still_fetch_what_an_option_names() -> None:
    speculative = resolved('option.speculative_config={"method": "eagle", "model": "org/draft"}')
    assert "HF_HUB_OFFLINE" not in launched(speculative).environment
    assert "HF_HUB_OFFLINE" not in launched(resolved(HF_MODEL_ID="org/name"), model="org/name").environment


def test_the_token_travels_as_a_variable_and_never_as_an_argument() -> None:
    launch = launched(resolved(OPTION_HF_TOKEN="hf_abc"))
    assert launch.environment["HF_TOKEN"] == "hf_abc"
    assert "hf_abc" not in " ".join(launch.plan.engine_arguments)


def test_variables_for_the_engine_come_from_option_env() -> None:
    environment = launched(resolved("option.env=NCCL_DEBUG=INFO,EMPTY=,A=b=c")).environment
    assert (environment["NCCL_DEBUG"], environment["EMPTY"], environment["A"]) == ("INFO", "", "b=c")


@pytest.mark.parametrize(("ports", "base"), [("5000-5999", "5000"), ("8080-8090", "8081")])
def test_other_listeners_stay_inside_the_safe_port_range(ports: str, base: str) -> None:
    assert launched(resolved(SAGEMAKER_SAFE_PORT_RANGE=ports)).environment["VLLM_PORT"] == base


def test_caches_move_where_home_cannot_be_written() -> None:
    environ = {"HF_HOME": "/mnt/hf"}
    environment = launched(resolved(**environ), environ, cache_directory="/run/lmi/cache").environment
    assert environment["HOME"] == "/run/lmi/cache"
    assert environment["VLLM_CACHE_ROOT"] == "/run/lmi/cache/vllm"
    assert environment["HF_HOME"] == "/mnt/hf"


def test_a_template_beside_the_model_is_found_by_its_name() -> None:
    beside = resolved("option.chat_template=chat.jinja", directory=directory_with(LLAMA_8B, "chat.jinja"))
    assert "--chat-template=/opt/ml/model/chat.jinja" in launched(beside).plan.engine_arguments


def test_serving_options_reach_the_worker_as_settings() -> None:
    serving = resolved(
        "option.predict_timeout=30\noption.tgi_compat=true\noption.output_formatter=sse\noption.normalize=false",
        SAGEMAKER_MAX_PAYLOAD_IN_MB="1",
        MAX_CONCURRENT_REQUESTS="3",
        OPTION_LOG_FORMAT="json",
        OPTION_LOG_REQUESTS="false",
    ).settings.serving
    assert (serving.predict_timeout_seconds, serving.tgi_compat, serving.output_formatter) == (30.0, True, "sse")
    assert (serving.max_request_bytes, serving.max_concurrent_requests) == (1024 * 1024, 3)
    assert (serving.normalize_embeddings, serving.log_format, serving.log_requests) == (False, "json", False)


def test_the_plan_survives_the_file_it_travels_in(tmp_path: Path) -> None:
    plan = launched(resolved("option.served_model_name=a,b")).plan
    file = tmp_path / "launch-plan.json"
    file.write_text(json.dumps({"worker": plan.to_json()}))
    assert WorkerPlan.read(file) == plan


def test_the_containers_own_listener_cannot_be_moved_by_vllms_names() -> None:
    for name in ("host", "port", "uds", "ssl_keyfile", "root_path", "middleware", "api_key", "config", "headless"):
        assert f"option.{name}=" in errors(f"option.{name}=1")
