import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from autoconfig.explain import render
from autoconfig.model import look
from tests.autoconfig.adapter_files import write_adapter
from tests.autoconfig.configured import launched, resolved
from tests.autoconfig.hosts import FOUR_GPUS

ROOT = Path(__file__).parents[2]
SECRETS = {
    "OPTION_HF_TOKEN": "hunter2a",
    "HF_TOKEN": "hunter2b",
    "OPTION_CUSTOM_DB_PASSWORD": "hunter2c",
    "OPTION_ENV": "AWS_SECRET_ACCESS_KEY=hunter2d,A=b",
    "OPTION_KV_TRANSFER_CONFIG": '{"kv_connector": "X", "extra": {"s3": {"access_key": "hunter2e"}}}',
    "SM_VLLM_MODEL_LOADER_EXTRA_CONFIG": '{"auth_token": "hunter2f"}',
    "OPTION_OTLP_TRACES_ENDPOINT": "http://me:hunter2g@collector:4317",
}


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_is_shown_in_any_place(as_json: bool) -> None:
    resolution = resolved(host=FOUR_GPUS, **SECRETS)
    shown = render(resolution, launched(resolution, SECRETS), as_json=as_json)
    assert "hunter2" not in shown
    assert "********" in shown


def test_json_holds_value_origin_reason_and_what_is_shadowed() -> None:
    resolution = resolved("option.max_model_len=8k", FOUR_GPUS, OPTION_MAX_MODEL_LEN="4k", SM_NUM_GPUS="2")
    shown = json.loads(render(resolution, launched(resolution), as_json=True))
    assert shown["values"]["max_model_len"] == {
        "value": 8000,
        "origin": "serving.properties:1",
        "layer": "file",
        "shadows": [{"value": "4k", "origin": "OPTION_MAX_MODEL_LEN"}],
    }
    assert shown["values"]["data_parallel_size"] == {
        "value": 2,
        "origin": "recommended",
        "layer": "recommended",
        "reason": "4 GPUs hold 2 copies of 2; one engine, so that they share adapters and cache",
    }
    assert shown["values"]["predict_timeout"]["origin"] == "default"
    assert "--max-model-len=8000" in shown["engine_arguments"]
    assert shown["environment"]["VLLM_HOST_IP"]["value"] == "127.0.0.1"


def test_the_page_has_a_line_for_every_option_of_ours() -> None:
    resolution = resolved()
    page = render(resolution, launched(resolution))
    assert all(f"  {value.option.label} " in page for value in resolution.values.values())


def test_json_holds_the_adapters_the_sessions_and_the_script(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "law")
    (tmp_path / "adapters" / "law" / "model.py").write_text("def handle(inputs): ...")
    (tmp_path / "model.py").write_text("")
    resolution = resolved("option.enable_stateful_sessions=true", directory=look(tmp_path))
    shown = json.loads(render(resolution, launched(resolution), as_json=True))
    assert shown["adapters"]["sources"] == [
        {"name": "law", "src": str(tmp_path / "adapters" / "law"), "preload": False, "pin": False, "rank": 8,
         "state": "loaded on its first request", "origin": "found", "problem": "", "script": ["handle"]}
    ]  # fmt: skip
    assert shown["adapters"]["max_rank"] == 16
    assert shown["sessions"]["expiration_seconds"] == 1200
    assert shown["script"] == str(tmp_path / "model.py")


def test_three_mistakes_are_told_within_a_second_of_a_new_process() -> None:
    code = """
import os, sys
from autoconfig.errors import ConfigErrors
from autoconfig.host import probe
from autoconfig.resolve import resolve
try:
    resolve(os.environ, None, probe(), None)
except ConfigErrors as errors:
    sys.exit(f"{errors}\\n{sorted({'torch', 'vllm', 'pydantic', 'numpy'} & set(sys.modules))}")
"""
    mistakes = {
        "OPTION_MAX_MODLE_LEN": "1",
        "OPTION_DTYPE": "float12",
        "OPTION_TENSOR_PARALLEL_DEGREE": "4096",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=mistakes, capture_output=True, text=True, check=False
    )
    # Its own time: an engine under test beside it must not count.
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    lines = done.stderr.splitlines()
    assert [line.split("=")[0] for line in lines[:2]] == ["OPTION_MAX_MODLE_LEN", "option.dtype"]
    assert lines[2].startswith("option.tensor_parallel_degree=4096 (OPTION_TENSOR_PARALLEL_DEGREE) needs 4096 ")
    assert lines[3] == "[]"
    assert seconds < 1


def test_what_a_debugger_or_a_traceback_prints_holds_no_secret() -> None:
    resolution = resolved("option.hf_token=hunter2", FOUR_GPUS, OPTION_HF_TOKEN="hunter2")
    assert "hunter2" not in repr(resolution)


def test_the_operator_sees_which_variables_the_engine_inherits() -> None:
    environ = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "OPTION_DTYPE": "fp16"}
    resolution = resolved(host=FOUR_GPUS, **environ)
    assert "  and as it is here: CUDA_VISIBLE_DEVICES, PATH" in render(resolution, launched(resolution, environ))
