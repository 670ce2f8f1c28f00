"""`python -m container` as an operator or the platform calls it: verbs, mistakes, exit statuses, and how fast."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.autoconfig.adapter_files import write_adapter
from tests.container.processes import ROOT
from tests.timing import LONG_SECONDS


def start(tmp_path: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LMI_RUN_DIR": str(tmp_path / "run")}
    return subprocess.Popen(
        [sys.executable, "-m", "container", *arguments],
        env=base | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    process = start(tmp_path, *arguments, **environment)
    said, _ = process.communicate(timeout=LONG_SECONDS)
    return process.returncode, said


def children_seconds() -> float:
    """Return the processor time of finished children: what else runs on the machine must not count."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_every_mistake_is_named_at_once_within_a_second(tmp_path: Path) -> None:
    mistakes = {"OPTION_MAX_MODLE_LEN": "1", "OPTION_DTYPE": "float12", "OPTION_TENSOR_PARALLEL_DEGREE": "100000"}
    began = children_seconds()
    code, said = run(tmp_path, "serve", **mistakes)
    assert children_seconds() - began < 1
    assert code == 2
    assert all(name in said for name in mistakes)
    assert "OPTION_MAX_MODEL_LEN" in said
    assert "Traceback" not in said


def test_explain_answers_within_a_second_and_writes_nothing(tmp_path: Path) -> None:
    began = children_seconds()
    code, said = run(tmp_path, "explain", HF_MODEL_ID="org/model")
    assert children_seconds() - began < 1
    assert (code, "org/model" in said) == (0, True)
    assert list(tmp_path.iterdir()) == []


def test_explain_as_json_holds_the_values_and_the_start(tmp_path: Path) -> None:
    code, said = run(tmp_path, "explain", "--json", "--port", "9123", OPTION_HF_TOKEN="hf_secret")
    explained = json.loads(said)
    assert code == 0
    assert explained["values"]["bind_to_port"]["value"] == 9123
    assert explained["start"]["run directory"] == str(tmp_path / "run")
    assert "hf_secret" not in said


def config_json(folder: Path) -> Path:
    model = folder / "model"
    model.mkdir()
    llama = {"num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
    (model / "config.json").write_text(
        json.dumps({**llama, "architectures": ["LlamaForCausalLM"], "vocab_size": 128256, "intermediate_size": 14336})
    )
    return model


def test_a_plan_for_a_machine_one_does_not_have_needs_no_more_than_its_name(tmp_path: Path) -> None:
    began = children_seconds()
    model = str(config_json(tmp_path))
    code, said = run(tmp_path, "explain", "--instance", "ml.p4de.24xlarge", OPTION_MODEL_ID=model)
    assert children_seconds() - began < 1
    assert code == 0
    assert said.startswith("Planned for\n  ml.p4de.24xlarge: 8 x A100 (80 GiB), 96 vCPU, 1152 GiB RAM, ")
    assert "verified against " in said
    assert "\nKV cache\n  a token                 128 KiB" in said
    assert "--tensor-parallel-size=8" in said


def test_the_plan_for_another_machine_is_there_as_json(tmp_path: Path) -> None:
    model = str(config_json(tmp_path))
    code, said = run(tmp_path, "explain", "--json", "--instance", "g5.2xlarge", OPTION_MODEL_ID=model)
    explained = json.loads(said)
    assert (code, explained["instance"]["verified"]) == (0, True)
    assert explained["kv_cache"]["bytes_per_token"] == 131072
    assert explained["kv_cache"]["off"] == ""


def test_an_instance_type_nobody_knows_is_told_with_the_nearest(tmp_path: Path) -> None:
    code, said = run(tmp_path, "explain", "--instance", "ml.p4de.24xlagre")
    assert (code, "Did you mean ml.p4de.24xlarge" in said) == (2, True)


def test_a_cache_is_explained_with_its_yaml_its_server_and_its_connector(tmp_path: Path) -> None:
    asked = {"OPTION_LMCACHE_AUTO_CONFIG": "true", "OPTION_LMCACHE_MAX_CPU_GB": "90.5"}
    model = str(config_json(tmp_path))
    code, said = run(tmp_path, "explain", "--instance", "ml.g5.12xlarge", OPTION_MODEL_ID=model, **asked)
    assert code == 0
    for shown in ("RAM tier", "lmcache server --host 127.0.0.1", "max_local_cpu_size: 90.5", "--kv-transfer-config="):
        assert shown in said


def test_a_mistake_in_a_users_own_yaml_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "kv.yaml"
    file.write_text("chunk_sze: 256\nlocal_cpu: 1\n")
    code, said = run(
        tmp_path, "serve", OPTION_MODEL_ID=str(config_json(tmp_path)), OPTION_LMCACHE_CONFIG_FILE=str(file)
    )
    assert code == 2
    assert said.splitlines() == [
        f"{file}:1: LMCache has no key chunk_sze; did you mean chunk_size?",
        f"{file}:2: local_cpu must be true or false, and is 1.",
    ]


def test_a_reader_who_has_seen_enough_gets_no_traceback(tmp_path: Path) -> None:
    process = start(tmp_path, "schema")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(LONG_SECONDS) == -signal.SIGPIPE


def test_the_schema_is_json(tmp_path: Path) -> None:
    code, said = run(tmp_path, "schema")
    assert (code, json.loads(said)["type"]) == (0, "object")


def test_version_names_the_engine(tmp_path: Path) -> None:
    code, said = run(tmp_path, "version")
    assert (code, "vllm" in said) == (0, True)


def test_help_explains_the_verbs_and_the_exit_statuses(tmp_path: Path) -> None:
    code, said = run(tmp_path, "--help")
    assert code == 0
    assert all(word in said for word in ("serve", "explain", "schema", "version", "5 start deadline"))


@pytest.mark.parametrize("arguments", [("partition",), ("explain", "--jsn"), ("serve", "--port", "eighty")])
def test_a_wrong_command_line_is_refused_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, said = run(tmp_path, *arguments)
    assert (code, "Traceback" in said) == (2, False)


@pytest.mark.parametrize("arguments", [("--model-dir", "/nowhere"), ("serve", "--model-dir", "/nowhere")])
def test_a_model_directory_that_is_not_there_is_refused_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run(tmp_path, *arguments) == (2, "--model-dir /nowhere: there is no such directory\n")


def test_a_model_path_that_is_not_there_is_refused_with_2_and_its_origin(tmp_path: Path) -> None:
    code, said = run(tmp_path, "serve", OPTION_MODEL_ID="/nowhere")
    assert (code, said) == (2, "option.model_id=/nowhere (OPTION_MODEL_ID): there is no such directory\n")


def test_row_21_secure_mode_is_refused_and_no_script_is_run(tmp_path: Path) -> None:
    model = config_json(tmp_path)
    (model / "model.safetensors").touch()
    (model / "model.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    asked = {"SAGEMAKER_SECURE_MODE": "true", "SAGEMAKER_SECURITY_CONTROLS": "DISALLOW_CUSTOM_INFERENCE_SCRIPTS"}
    around = {"OPTION_ENTRYPOINT": "djl_python.lmi_vllm.vllm_async_service"}
    code, said = run(tmp_path, "serve", "--model-dir", str(model), **asked, **around)
    assert (code, "SAGEMAKER_SECURE_MODE" in said, "asks for controls" in said) == (2, True, True)
    assert not (tmp_path / "ran").exists()


def test_an_argument_that_serve_does_not_know_is_diagnosed_and_ignored(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path)  # ends the start soon afterwards
    code, said = run(tmp_path, "serve", "surprise")
    assert code == 2
    assert "serve takes no such arguments, ignored: surprise" in said


def test_options_that_serve_does_not_have_are_all_refused_with_the_nearest_name(tmp_path: Path) -> None:
    arguments = ("--instance", "ml.g5.xlarge", "--json", "--prot=8081", "--model_dir", "x", "surprise", "-q")
    refused = (
        "`serve` takes no --instance; `explain` does\n"
        "`serve` takes no --json; `explain` does\n"
        "`serve` takes no --prot; did you mean --port?\n"
        "`serve` takes no --model_dir; did you mean --model-dir?\n"
        "`serve` takes no -q; see --help\n"
    )
    assert run(tmp_path, "serve", *arguments) == (2, refused)
    assert run(tmp_path, *arguments) == (2, refused)


def test_an_option_is_not_guessed_from_its_beginning(tmp_path: Path) -> None:
    assert run(tmp_path, "serve", "--por", "8081") == (2, "`serve` takes no --por; did you mean --port?\n")


def test_explain_takes_nothing_that_it_does_not_know(tmp_path: Path) -> None:
    refused = "`explain` takes no argument surprise; see --help\n`explain` takes no --jsn; did you mean --json?\n"
    assert run(tmp_path, "explain", "surprise", "--jsn") == (2, refused)


def test_a_model_directory_without_its_flag_is_told_with_it(tmp_path: Path) -> None:
    told = f"`explain` takes no argument {tmp_path}; a model directory is given as --model-dir {tmp_path}\n"
    assert run(tmp_path, "explain", str(tmp_path)) == (2, told)


def test_an_adapter_that_is_named_and_cannot_be_served_stops_the_start_at_once(tmp_path: Path) -> None:
    law = write_adapter(tmp_path / "law", use_dora=True)
    given = {"OPTION_ADAPTERS": law, "OPTION_MODEL_ID": str(config_json(tmp_path))}
    why = "it uses DoRA, which vLLM does not support. Mend it, or leave it out."
    for verb in ("serve", "explain"):
        began = children_seconds()
        assert run(tmp_path, verb, **given) == (2, f"option.adapters (OPTION_ADAPTERS): {law}: {why}\n")
        assert children_seconds() - began < 1


def test_a_run_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path)
    code, said = run(tmp_path, "serve")
    assert (code, "not a directory of its own" in said) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_run_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 12345, 12345)
    code, said = run(tmp_path, "serve")
    assert (code, "belongs to uid 12345" in said) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_home_that_may_not_be_entered_is_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    os.chown(tmp_path / "home", 12345, 12345)
    as_anyone = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "container", "explain")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    ended = subprocess.run(as_anyone, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"to be converted once: {tmp_path}/lmi-0-8080/cache/models" in ended.stdout


@pytest.mark.parametrize("verb", ["serve", "explain"])
def test_a_path_that_cannot_be_looked_at_is_named_with_the_reason(tmp_path: Path, verb: str) -> None:
    name = "/" + 300 * "x"
    code, said = run(tmp_path, verb, LMI_CACHE_DIR=name)
    assert (code, said) == (2, f"{name}/models/SmolLM2-135M-Instruct: File name too long\n")


def test_explain_shows_no_password_among_javas_options(tmp_path: Path) -> None:
    given = {"OPTION_FRONTEND": "djl", "JAVA_OPTS": "-Dproxy.password=geheim -Dproxy.port=81"}
    said = run(tmp_path, "explain", **given)[1]
    assert ("geheim" in said, "-Dproxy.password=********" in said, "-Dproxy.port=81" in said) == (False, True, True)


@pytest.fixture
def silent_s3() -> Iterator[dict[str, str]]:
    """Yield what configures a model on an S3 that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        credentials = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
        yield {"OPTION_MODEL_ID": "s3://models/llama", "AWS_ENDPOINT_URL": endpoint, **credentials}


def test_a_signal_while_the_model_is_downloaded_stops_at_once_with_0(tmp_path: Path, silent_s3: dict[str, str]) -> None:
    process = start(tmp_path, "serve", **silent_s3)
    assert process.stdout is not None
    while "looking at s3://models/llama" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=8)  # the download itself would wait ten for each answer
    assert (process.returncode, "stopped by SIGTERM" in said) == (0, True)


def test_the_start_deadline_covers_the_download(tmp_path: Path, silent_s3: dict[str, str]) -> None:
    code, said = run(tmp_path, "serve", OPTION_MODEL_LOADING_TIMEOUT="6", **silent_s3)
    assert code == 5
    assert "model_loading_timeout" in said
    assert "looking at s3://models/llama" in said
    assert "Traceback" not in said


def test_an_adapter_that_is_found_and_cannot_be_served_is_told_and_the_start_goes_on(
    tmp_path: Path, silent_s3: dict[str, str]
) -> None:
    law = write_adapter(tmp_path / "model" / "adapters" / "law", use_dora=True)
    told = f"the adapter law ({law}) cannot be served: it uses DoRA, which vLLM does not support\n"
    arguments = ("--model-dir", str(tmp_path / "model"))
    code, said = run(tmp_path, "explain", *arguments, **silent_s3)
    assert (code, f"  {told}" in said, "fails, as it uses DoRA" in said) == (0, True, True)
    code, said = run(tmp_path, "serve", *arguments, OPTION_MODEL_LOADING_TIMEOUT="2", **silent_s3)
    assert (code, f"s] {told}" in said, "looking at s3://models/llama" in said) == (5, True, True)


def test_two_servers_do_not_share_a_run_directory(tmp_path: Path, silent_s3: dict[str, str]) -> None:
    first = start(tmp_path, "serve", **silent_s3)
    assert first.stdout is not None
    while "looking at" not in first.stdout.readline():
        assert first.poll() is None
    code, said = run(tmp_path, "serve")
    first.terminate()
    first.communicate(timeout=LONG_SECONDS)
    assert (code, "another server is running" in said) == (2, True)


def test_mistakes_are_json_where_the_log_is_to_be(tmp_path: Path) -> None:
    model = config_json(tmp_path)
    (model / "serving.properties").write_text("option.log_format=json\noption.model_id=s3://\noption.dtype=float12\n")
    code, said = run(tmp_path, "serve", "--model-dir", str(model))
    lines = [json.loads(line) for line in said.splitlines()]
    assert (code, [line["level"] for line in lines]) == (2, ["error", "error"])
    assert lines[1]["message"].startswith("option.model_id=s3:// (serving.properties:2) is neither")
    code, said = run(tmp_path, "serve", OPTION_MODEL_ID="/nowhere", OPTION_LOG_FORMAT="json")
    assert (code, json.loads(said)["message"].endswith("there is no such directory")) == (2, True)


def test_json_logs_are_json_from_the_first_line(tmp_path: Path) -> None:
    options = {"OPTION_MODEL_ID": "s3://models/llama", "OPTION_LOG_FORMAT": "json"}  # and no credentials
    lines = run(tmp_path, "serve", "surprise", **options, AWS_EC2_METADATA_DISABLED="true")[1].splitlines()
    assert [json.loads(line)["level"] for line in lines] == ["warning", "info", "info", "error"]
