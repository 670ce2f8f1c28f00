"""Checks 12 and 75 and must-show 5: what is configured is what is run, and mistakes end the start at once, in words."""

import json
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Json
from tests.e2e.server import ROOT, clean_environment
from tests.timing import LONG_SECONDS

MISTAKES = {"OPTION_MAX_MODLE_LEN": "1", "OPTION_DTYPE": "float12", "OPTION_TENSOR_PARALLEL_DEGREE": "8"}
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 512}


@dataclass(frozen=True)
class Run:
    code: int
    output: str
    seconds: float
    """Of processor time: what else runs on the machine must not count."""


def children_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def container(*arguments: str | Path, **environment: str) -> Run:
    """Run `python -m container` to its end."""
    before = children_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "container", *map(str, arguments)], cwd=ROOT, env=clean_environment(**environment),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONG_SECONDS, check=False,
    )  # fmt: skip
    return Run(done.returncode, done.stdout, children_seconds() - before)


def model_directory(place: Path, properties: str = "", *, weights: bool = True) -> Path:
    """Write what looks like a model from outside, which is all that configuration looks at."""
    place.mkdir(parents=True, exist_ok=True)
    if weights:
        (place / "config.json").write_text(json.dumps(CONFIG))
        (place / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    if properties:
        (place / "serving.properties").write_text(properties)
    return place


@dataclass(frozen=True)
class Case:
    """An environment and a serving.properties, and what becomes of them."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    properties: str = ""
    values: Json = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


BELOW = {"OPTION_PREDICT_TIMEOUT": "13", "PREDICT_TIMEOUT": "14"}
TIMEOUTS = {"SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "11", **BELOW}
CASES = (
    Case("bool false", {"OPTION_ENFORCE_EAGER": "false"}, arguments=("--no-enforce-eager",)),
    Case("bool true", {"OPTION_ENABLE_LOG_REQUESTS": "true"}, arguments=("--enable-log-requests",)),
    Case("vLLM's bool", {"SM_VLLM_ENABLE_PREFIX_CACHING": "false"}, arguments=("--no-enable-prefix-caching",)),
    Case("int", {"OPTION_MAX_MODEL_LEN": "256"}, arguments=("--max-model-len=256",)),
    Case("vLLM's int", {"SM_VLLM_MAX_NUM_SEQS": "3"}, arguments=("--max-num-seqs=3",)),
    Case("float", {"OPTION_GPU_MEMORY_UTILIZATION": "0.25"}, arguments=("--gpu-memory-utilization=0.25",)),
    Case("LMI's name", {"OPTION_MAX_ROLLING_BATCH_SIZE": "5"}, arguments=("--max-num-seqs=5",)),
    Case("JSON object", {"OPTION_HF_OVERRIDES": '{"a": {"b": [1]}}'}, arguments=('--hf-overrides={"a":{"b":[1]}}',)),
    Case("JSON list", {"OPTION_SERVED_MODEL_NAME": '["one", "two"]'}, models=("one", "two", "lmi")),
    Case("list with commas", {"OPTION_SERVED_MODEL_NAME": "one,two"}, models=("one", "two", "lmi")),
    Case("dtype of LMI", {"OPTION_DTYPE": "fp32"}, arguments=("--dtype=float32",)),
    Case("max", {"OPTION_TENSOR_PARALLEL_DEGREE": "max"}, values={"tensor_parallel_degree": 1}),
    Case("comments, continuation", {}, "# a\n! b\noption.max_new_\\\n    tokens = 7\n", values={"max_new_tokens": 7}),
    Case("escapes and non-ASCII", {}, "option.served_model_name=\\u00e9\\tt\u00e9\n", models=("é\tté", "lmi")),
    Case("SAGEMAKER_* first", TIMEOUTS, "option.predict_timeout=12", values={"predict_timeout": 11}),
    Case("then the file", BELOW, "option.predict_timeout=12", values={"predict_timeout": 12}),
    Case("then OPTION_*", BELOW, values={"predict_timeout": 13}),
    Case("then aliases", {"PREDICT_TIMEOUT": "14"}, values={"predict_timeout": 14}),
    Case("then the default", values={"predict_timeout": 240, "max_concurrent_requests": 256, "max_new_tokens": 30}),
    Case("the port SageMaker gives", {"SAGEMAKER_BIND_TO_PORT": "9123"}, values={"bind_to_port": 9123}),
    Case("a payload limit in MB", {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, values={"max_request_size": 6 * 2**20}),
    Case("vLLM's name for LMI's", {"OPTION_TENSOR_PARALLEL_SIZE": "1"}, arguments=("--tensor-parallel-size=1",)),
    Case("unknown SAGEMAKER_*", {"SAGEMAKER_INVENTED_TOMORROW": "1"}, values={"predict_timeout": 240}),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_check_75_the_environment_and_the_file_become_the_effective_configuration(tmp_path: Path, case: Case) -> None:
    directory = model_directory(tmp_path / "model", case.properties)
    run = container("explain", "--json", "--model-dir", directory, **case.environment)
    assert run.code == 0, run.output
    told = json.loads(run.output)
    assert {name: told["values"][name]["value"] for name in case.values} == case.values
    assert [a for a in case.arguments if a not in map(compact, told["engine_arguments"])] == []
    assert set(case.models) <= set(told["model"]["names"])


def compact(argument: str) -> str:
    """`--x={"a": 1}` -> `--x={"a":1}`: JSON written one way."""
    name, separator, text = argument.partition("=")
    try:
        return f"{name}={json.dumps(json.loads(text), separators=(',', ':'))}"
    except ValueError:
        return name + separator + text


LADDER = (
    "option.model_id in the file",
    "OPTION_MODEL_ID",
    "SM_VLLM_MODEL",
    "weights in the directory",
    "HF_MODEL_ID",
    "embedded",
)


@pytest.mark.parametrize("top", LADDER)
def test_check_75_the_model_comes_from_the_first_of_the_ladder(tmp_path: Path, top: str) -> None:
    rest = LADDER[LADDER.index(top) :]
    variables = {name: f"org/{name.lower()}" for name in rest if name.isupper()}
    properties = "option.model_id=org/file" if LADDER[0] in rest else ""
    directory = model_directory(tmp_path / "model", properties or "option.max_new_tokens=5", weights=LADDER[3] in rest)
    told = json.loads(container("explain", "--json", "--model-dir", directory, **variables).output)
    expected = {LADDER[0]: "org/file", LADDER[3]: str(directory), LADDER[5]: "SmolLM2"}.get(top, f"org/{top.lower()}")
    assert expected in told["model"]["loaded"]


def test_check_75_a_shadowed_value_is_shown(tmp_path: Path) -> None:
    directory = model_directory(tmp_path / "model", "option.predict_timeout=12")
    told = json.loads(container("explain", "--json", "--model-dir", directory, OPTION_PREDICT_TIMEOUT="13").output)
    value: Any = told["values"]["predict_timeout"]
    assert value["origin"] == "serving.properties:1"
    assert value["shadows"] == [{"value": "13", "origin": "OPTION_PREDICT_TIMEOUT"}]


def test_explain_answers_in_under_a_second_and_shows_no_secret(tmp_path: Path) -> None:
    directory = model_directory(tmp_path / "model")
    for form in ([], ["--json"]):
        run = container("explain", *form, "--model-dir", directory, HF_TOKEN="hf_verysecret")
        assert run.code == 0, run.output
        assert run.seconds < 1
        assert "verysecret" not in run.output


def test_must_show_5_all_mistakes_are_told_at_once_with_origin_and_remedy() -> None:
    run = container("serve", **MISTAKES)
    assert (run.code, run.seconds < 1) == (2, True), run
    assert "Traceback" not in run.output
    assert len(run.output.splitlines()) == 3
    for words in (("OPTION_MAX_MODLE_LEN", "OPTION_MAX_MODEL_LEN"), ("OPTION_DTYPE", "float12", "float32"),
                  ("OPTION_TENSOR_PARALLEL_DEGREE", "8", "max")):  # fmt: skip
        assert [line for line in run.output.splitlines() if all(word in line for word in words)], (words, run.output)


BAD: dict[str, dict[str, str]] = {
    "no such directory": {"OPTION_MODEL_ID": "/no/such/model"},
    "bad port": {"SAGEMAKER_BIND_TO_PORT": "eighty"},
    "two names for one option": {"OPTION_TENSOR_PARALLEL_DEGREE": "1", "OPTION_TENSOR_PARALLEL_SIZE": "2"},
    "bad JSON": {"OPTION_KV_TRANSFER_CONFIG": "{"},
    "bad JSON where text could stand": {"OPTION_HF_OVERRIDES": '{"a": }'},
    "bad bool": {"OPTION_ENFORCE_EAGER": "perhaps"},
}


@pytest.mark.parametrize("environment", BAD.values(), ids=BAD)
def test_check_12_bad_configuration_ends_the_start_with_one_clear_line(environment: dict[str, str]) -> None:
    run = container("serve", **environment)
    assert run.code == 2, run.output
    assert run.seconds < 1
    (line,) = run.output.strip().splitlines()
    assert any(name in line for name in environment)


def test_check_12_a_model_directory_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    run = container("serve", "--model-dir", tmp_path / "nowhere")
    assert run.code == 2
    assert str(tmp_path / "nowhere") in run.output


def test_check_78_requirements_that_cannot_be_installed_fail_the_start_and_say_why(tmp_path: Path) -> None:
    directory = model_directory(tmp_path / "model")
    (directory / "requirements.txt").write_text("torch==1.0\n")
    places = {"LMI_RUN_DIR": str(tmp_path / "run"), "LMI_CACHE_DIR": str(tmp_path / "cache")}
    run = container("serve", "--model-dir", directory, DJL_OFFLINE="true", **places)
    assert run.code == 2, run.output
    assert "requirements.txt" in run.output
    assert "torch" in run.output
    assert "Traceback" not in run.output


def test_checks_1_and_81_an_unknown_argument_of_explain_is_diagnosed() -> None:
    run = container("explain", "--frobnicate")
    assert run.code == 2
    assert "--frobnicate" in run.output
