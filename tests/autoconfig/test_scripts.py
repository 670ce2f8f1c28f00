from pathlib import Path

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
    assert resolved(directory=look(model)).notes == ("model.py: its formatters or handler are used",)


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
    assert notes[1].startswith("model.py is not used, as option.entrypoint=code/inference.py (OPTION_ENTRYPOINT)")


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
    assert "hf_token" not in options
    assert launched(resolved(OPTION_DTYPE="fp16")).plan.script_options == {}
