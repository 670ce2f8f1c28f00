"""requirements.txt of a model: installed beside the server's packages without an index, or refused with the reason."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from container.console import Console
from container.errors import PreparationError
from container.progress import Progress
from container.user_requirements import UserRequirements, install, plan_requirements
from tests.container.wheels import make_wheel

OFFLINE = {**os.environ, "DJL_OFFLINE": "true"}
Install = Callable[[str], UserRequirements]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    make_wheel(folder / "requirements", "lmitop", "1.0", "lmidep", "numpy")
    make_wheel(folder / "requirements", "lmidep", "1.0", "numpy")
    make_wheel(folder / "requirements", "lmidep", "2.0", "numpy>=99")
    return folder


@pytest.fixture
def installed(model: Path, tmp_path: Path) -> Install:
    def from_text(text: str) -> UserRequirements:
        (model / "requirements.txt").write_text(text)
        wanted = plan_requirements(model / "requirements.txt", tmp_path / "cache")
        install(wanted, OFFLINE, Progress(Console(descriptor=os.open(os.devnull, os.O_WRONLY))))
        return wanted

    return from_text


def import_from(target: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(target)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_what_is_missing_goes_into_a_directory_of_its_own(installed: Install) -> None:
    target = installed("lmitop\n").target
    assert import_from(target, "import lmitop, lmidep; print(lmitop.VERSION, lmidep.VERSION)") == "1.0 1.0\n"
    assert not (target / "numpy").exists()


def test_the_model_directory_is_left_alone(installed: Install, model: Path) -> None:
    before = sorted(model.rglob("*"))
    installed("lmitop\n")
    assert sorted(file for file in model.rglob("*") if file.name != "requirements.txt") == before


def test_naming_what_is_installed_installs_nothing(installed: Install) -> None:
    target = installed("vllm\nnumpy\nboto3\n").target
    assert [entry.name for entry in target.iterdir() if not entry.name.startswith(".")] == []


def test_a_list_of_nothing_is_fine(installed: Install) -> None:
    assert installed("# nothing yet\n").target.is_dir()


def test_a_second_start_installs_nothing(installed: Install) -> None:
    target = installed("lmidep\n").target
    (target / "witness").touch()
    assert installed("lmidep\n").target == target
    assert (target / "witness").exists()


def test_a_changed_list_is_installed_anew(installed: Install) -> None:
    assert installed("lmidep\n").target != installed("lmidep\nlmitop\n").target


def test_a_requirement_that_contradicts_a_pinned_package_is_refused(installed: Install) -> None:
    with pytest.raises(
        PreparationError, match=f"requirements.txt cannot be installed: .*numpy=={version('numpy')}"
    ) as caught:
        installed("numpy==1.0\n")
    assert "\n" not in str(caught.value)


def test_a_package_that_is_nowhere_is_named_and_leaves_nothing_behind(installed: Install, tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="nosuchpackage"):
        installed("nosuchpackage\n")
    left = {entry.name for entry in (tmp_path / "cache" / "requirements").iterdir() if entry.is_dir()}
    assert left == {"uv"}  # uv's own cache


def test_a_list_that_is_no_list_is_refused_in_one_line(installed: Install) -> None:
    with pytest.raises(PreparationError, match="cannot be installed") as caught:
        installed("this is = not a requirement\n")
    assert "\n" not in str(caught.value)
