"""DJL Serving's management API listens at a unix socket, which takes native code; where Java has none, that is said."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.prepare import prepare

INSTEAD = "DJL Serving without unix sockets; set SERVING_MANAGEMENT_ADDRESS=http://127.0.0.1:8081"


@pytest.fixture
def data_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that runs no code, as docker mounts --tmpfs."""
    if os.geteuid() != 0:
        pytest.skip("a file system without programs is a mount, which needs root")
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def problem(home: Path, run: Path, **environ: str) -> str:
    (home / "lib").mkdir(parents=True, exist_ok=True)
    (home / "lib" / "serving.jar").touch()
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin" / "java").touch(mode=0o755)
    places = {"PATH": "/bin", "JAVA_HOME": str(home), "LMI_DJL_SERVING": str(home), "LMI_RUN_DIR": str(run)}
    return prepare({"OPTION_FRONTEND": "djl", **places, **environ}).front_end.problem


def test_a_run_directory_that_runs_no_code_needs_the_library_elsewhere(tmp_path: Path, data_only: Path) -> None:
    run, home = data_only / "run", tmp_path / "djl"
    assert problem(home, run) == f"run directory {run}: mounted noexec, which leaves {INSTEAD}"
    assert problem(home, run, SERVING_MANAGEMENT_ADDRESS="http://127.0.0.1:8081") == ""
    (home / "native").mkdir()  # as the image has it
    assert problem(home, run) == ""


def test_without_native_io_there_is_no_unix_socket(tmp_path: Path) -> None:
    home, off = tmp_path / "djl", {"SERVING_USE_NATIVE_IO": "false"}
    assert problem(home, Path("/tmp/run")) == ""
    assert problem(home, Path("/tmp/run"), **off) == f"use_native_io=false leaves {INSTEAD}"
    assert problem(home, Path("/tmp/run"), **off, OPTION_ENABLE_LORA="true") == ""
