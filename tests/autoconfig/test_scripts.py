from pathlib import Path
from typing import Any

import pytest

from autoconfig.model import look
from tests.autoconfig.configured import errors, launched, resolved


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model directory with two scripts."""
    (tmp_path / "code").mkdir()
    for name in ("model.py", "code/inference.py", "serving.properties"):
        (tmp_path / name).write_text("")
    return tmp_path


def script(model: Path, **environ: str) -> str:
    return launched(resolved(directory=look(model), **environ)).plan.script


def test_a_model_py_beside_the_model_is_used_and_remarked(model: Path) -> None:
    assert script(model) == str(model / "model.py")
    (model / "model.py").write_text("def handle(inputs): ...")
    assert resolved(directory=look(model)).notes == (f"{model}/model.py: handle is used",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing in it is used: no function has @input_formatter or @output_formatter, or is called input_fn, "),
        ("from djl_python.input_parser import input_formatter", "nothing in it is used"),
        ("@input_formatter\ndef f(body): ...", "input_formatter is used"),
        ("@djl_python.output_formatter.output_formatter\nasync def f(body): ...", "output_formatter is used"),
        ("from a import input_formatter as ask\nif True:\n    @ask\n    def f(x): ...", "input_formatter is used"),
        ("@input_formatter\ndef f(x): ...\n@output_formatter\ndef g(x): ...\nfrom h import handle\ndef input_fn(): ...",
         "input_formatter, output_formatter and handle are used"),
        ("def input_fn(body, kind): ...\noutput_fn = print\n", "input_fn and output_fn are used"),
        ("class A:\n    def handle(self): ...", "nothing in it is used"),
        ("from . import mine", "what it imports is used where it is a formatter or a handler"),
        ("import code.inference", "what it imports is used where it is a formatter or a handler"),
        ("from os import *", "what it imports is used where it is a formatter or a handler"),
        ("import os.path", "nothing in it is used"),
    ],
)  # fmt: skip
def test_what_is_used_of_a_script_is_said_by_name(model: Path, text: str, said: str) -> None:
    (model / "model.py").write_text(text)
    (note,) = resolved(directory=look(model)).notes
    assert note.startswith(f"{model}/model.py: {said}")


@pytest.mark.parametrize(
    "entry", [{}, {"OPTION_ENTRYPOINT": "model.py"}, {"OPTION_ENTRYPOINT": "djl_python.huggingface"}]
)
def test_a_script_that_is_no_python_stops_the_start_with_its_line(model: Path, entry: dict[str, Any]) -> None:
    (model / "model.py").write_text("x = 1\ndef broken(:\n")
    assert errors("", directory=look(model), **entry) == f"{model}/model.py:2: invalid syntax."
    (model / "model.py").write_text("return 1")
    assert errors("", directory=look(model), **entry) == f"{model}/model.py:1: 'return' outside function."


def test_a_script_elsewhere_is_not_confused_with_the_one_beside_the_model(model: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "model.py"
    file.write_text("def handle(inputs): ...")
    assert resolved(directory=look(model), OPTION_ENTRYPOINT=str(file)).notes == (
        f"{file}: handle is used",
        f"{model}/model.py: not used, as option.entrypoint={file} (OPTION_ENTRYPOINT) names another file",
    )


def test_without_one_there_is_no_script(tmp_path: Path) -> None:
    assert script(tmp_path) == ""
    assert script(tmp_path, OPTION_ENTRYPOINT="djl_python.huggingface") == ""


@pytest.mark.parametrize("variable", ["OPTION_ENTRYPOINT", "OPTION_entryPoint", "DJL_ENTRY_POINT"])
@pytest.mark.parametrize("named", ["model.py", "djl_python.lmi_vllm.vllm_async_service", "djl_python.huggingface"])
def test_the_usual_entry_points_of_lmi_leave_it_at_that(model: Path, variable: str, named: str) -> None:
    assert script(model, **{variable: named}) == str(model / "model.py")


def test_another_file_of_the_models_own_takes_its_place(model: Path) -> None:
    assert script(model, OPTION_ENTRYPOINT="code/inference.py") == str(model / "code" / "inference.py")
    notes = resolved(directory=look(model), OPTION_ENTRYPOINT="code/inference.py").notes
    assert notes[1].startswith(
        f"{model}/model.py: not used, as option.entrypoint=code/inference.py (OPTION_ENTRYPOINT)"
    )


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("serve.py", "there is no such file in "),
        ("https://example.com/x.py", "is not a file of the model's own"),
        ("my.handlers", "is not a file of the model's own"),
    ],
)
def test_an_entry_point_that_is_not_there_stops_the_start(model: Path, named: str, problem: str) -> None:
    assert problem in errors("", directory=look(model), OPTION_ENTRYPOINT=named)
    assert "there is no such file" in errors(DJL_ENTRY_POINT="model.py")


def test_a_handler_may_read_the_configuration_without_its_secrets(model: Path) -> None:
    given = {"OPTION_DTYPE": "fp16", "OPTION_HF_TOKEN": "hf_abc", "OPTION_CUSTOM_STYLE": "terse"}
    options = launched(resolved(directory=look(model), **given)).plan.script_options
    assert (options["dtype"], options["style"], options["max_new_tokens"]) == ("float16", "terse", "30")
    assert options["model_dir"] == str(model)
    assert "hf_token" not in options
    assert launched(resolved(OPTION_DTYPE="fp16")).plan.script_options == {}


def test_an_adapters_handler_may_read_it_too(model: Path) -> None:
    (model / "model.py").unlink()
    options = launched(resolved(directory=look(model), OPTION_ENABLE_LORA="true")).plan.script_options
    assert (options["model_dir"], options["enable_lora"]) == (str(model), "true")
    assert "model_dir" not in launched(resolved(OPTION_ENABLE_LORA="true")).plan.script_options
