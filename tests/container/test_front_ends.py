"""What is written and started for each front end; a case is a folder of `environ` and what is expected of it.

PYTHONPATH=. python tests/container/test_front_ends.py   writes what is expected anew
"""

import socket
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoconfig.host import HostFacts
from autoconfig.properties import parse_properties
from autoconfig.resolve import resolve
from container.errors import PreparationError
from container.explain import explain
from container.frontends.direct import direct
from container.frontends.djl import LOG4J2, djl
from container.frontends.djl_home import find
from container.frontends.djl_settings import written
from container.frontends.djl_start import MIB, DjlStart
from container.frontends.front_end import FrontEnd, Worker
from container.prepare import ROOT, prepare
from container.serve import check_front_end
from tests.e2e.server import free_port

CASES = sorted(path for path in (Path(__file__).parent / "front_ends").iterdir() if path.is_dir())
GIB = 1 << 30


def planned(environ: dict[str, str]) -> FrontEnd:
    """Plan a front end on a machine with 16 GiB, or a container with less."""
    environ = dict(environ)
    host = HostFacts(cpus=4, ram_available_bytes=int(environ.pop("MEMORY_LIMIT", 16 * GIB)))
    run_directory = Path(environ["LMI_RUN_DIR"])
    resolution = resolve(environ, None, host, None, {})
    start = DjlStart.of(resolution, environ, host, run_directory, ROOT)
    assert start is not None
    plan = prepare(environ)
    worker = Worker(plan.launch.plan, plan.front_end.environment, plan.file)
    return djl(worker, replace(start, serving=replace(start.serving, problem="")))


def described(front_end: FrontEnd) -> dict[str, str]:
    """Return each file of a case: those that are written, Java's arguments, and what is added to the environment."""
    ours = ("APP_HOME", "DJL_", "ENGINE_", "HF_", "LMI_", "MODEL_", "MAX_", "OPT_", "PYTHON_", "SAGEMAKER_", "TENSOR_")
    environment = {name: text for name, text in front_end.environment.items() if name.startswith((*ours, "ARGS_"))}
    files = {file.name: text for file, text in front_end.files.items()}
    files["argv"] = "".join(f"{argument}\n" for argument in front_end.argv)
    files["environment"] = "".join(f"{name}={text}\n" for name, text in sorted(environment.items()))
    for text, name in ((sys.executable, "<PYTHON>"), (str(ROOT), "<ROOT>")):
        files = {file: content.replace(text, name) for file, content in files.items()}
    return files


def environ_of(case: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (case / "environ").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_djl_serving_is_told_all_it_would_guess(case: Path) -> None:
    for name, text in described(planned(environ_of(case))).items():
        assert text == (case / name).read_text(encoding="utf-8"), name


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_what_is_written_is_read_back_by_javas_rules(properties: dict[str, str]) -> None:
    data = written(properties).encode("ascii")
    assert {pair.key: pair.value for pair in parse_properties(data).properties} == properties


def test_the_operator_decides_over_what_is_written() -> None:
    front_end = planned(environ_of(CASES[0].parent / "operators_own"))
    config = next(text for file, text in front_end.files.items() if file.name == "config.properties")
    found = [pair.key for pair in parse_properties(config.encode()).properties]
    assert len(found) == len(set(found))
    assert "management_address=http\\://127.0.0.1\\:8081" in config


def test_that_callers_can_load_models_is_told_where_they_can() -> None:
    environ = environ_of(CASES[0].parent / "adapters")
    assert "http://0.0.0.0:8080 beside /invocations: whoever reaches it can load" in planned(environ).note
    assert planned({**environ, "SERVING_MANAGEMENT_ADDRESS": "http://127.0.0.1:8081"}).note == ""
    assert planned(environ_of(CASES[0].parent / "plain")).note == ""


def test_row_12_which_model_and_handler_is_served_is_asked_of_no_hub() -> None:
    hub = {"HF_MODEL_ID": "org/name", "HF_REVISION": "v2", "HF_ENDPOINT": "https://mirror", "HF_HUB_OFFLINE": "1"}
    environ = {"PATH": "/bin", "OPTION_FRONTEND": "djl", "LMI_RUN_DIR": "/run/lmi", **hub}
    arguments = prepare(environ).launch.plan.engine_arguments
    assert {"--model=org/name", "--revision=v2"} <= {*arguments}
    front_end = planned(environ)
    assert {name: front_end.environment.get(name, "") for name in hub} == {**hub, "HF_MODEL_ID": "", "HF_REVISION": ""}
    told = {file.name: parse_properties(text.encode()).properties for file, text in front_end.files.items()}
    model = {pair.key: pair.value for pair in told["serving.properties"]}
    assert (model["option.entryPoint"], model["option.async_mode"]) == ("handlers.djl", "true")
    assert "org/name" not in model.values()


def test_row_26_java_does_not_log_the_environment_whatever_is_asked_for() -> None:
    loggers = {logger.get("name"): logger.get("level") for logger in ElementTree.parse(LOG4J2).iter("Logger")}
    assert loggers["ai.djl.serving.ModelServer"] == "WARN"  # it is logged there, at INFO (ConfigManager.java)


def test_every_reply_in_flight_has_a_thread_and_so_has_ping() -> None:
    for most in (1, 256, 100_000):
        environ = {"PATH": "/bin", "OPTION_FRONTEND": "djl", "LMI_RUN_DIR": "/run/lmi"}
        argv = planned({**environ, "MAX_CONCURRENT_REQUESTS": str(most)}).argv
        (threads,) = (a.partition("=")[2] for a in argv if a.startswith("-Djava.util.concurrent.ForkJoinPool"))
        assert min(most, 32767) <= int(threads) <= 32767


@pytest.mark.parametrize(("memory", "heap"), [(3, 192), (16, 1024), (1000, 2048)])
def test_the_heap_follows_the_memory_of_the_container(memory: int, heap: int) -> None:
    environ = {"PATH": "/bin", "OPTION_FRONTEND": "djl", "LMI_RUN_DIR": "/run/lmi"}
    assert f"-Xmx{heap}m" in planned({**environ, "MEMORY_LIMIT": str(memory * GIB)}).argv


def test_the_cache_is_planned_in_what_java_leaves(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": "/bin"}
    beside = prepare({**environ, "OPTION_FRONTEND": "djl"})
    assert beside.djl is not None
    left = prepare(environ).situation.host.ram_available_bytes - beside.situation.host.ram_available_bytes
    assert left == pytest.approx(beside.djl.heap_bytes, abs=512 * MIB)  # other processes come and go


def test_direct_starts_the_worker_and_nothing_else(tmp_path: Path) -> None:
    plan = prepare({"HOME": str(tmp_path), "PATH": "/bin"})
    front_end = direct(Worker(plan.launch.plan, {}, plan.file))
    assert front_end.argv == (sys.executable, "-P", "-m", "handlers.server", str(plan.file))
    assert (front_end.files, front_end.hosting) == ({}, None)


@pytest.mark.parametrize(
    ("java", "jars", "problem"),
    [
        (False, True, "option.frontend=djl needs Java 17, and there is none in JAVA_HOME or PATH"),
        (True, False, "option.frontend=djl needs DJL Serving, and there are no jars in <HOME>/djl/lib"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path, java: bool, jars: bool, problem: str) -> None:
    environ = djl_serving(tmp_path, java=java, jars=jars)
    plan = prepare({**environ, "HOME": str(tmp_path), "OPTION_FRONTEND": "djl", "LMI_RUN_DIR": "/run/lmi"})
    with pytest.raises(PreparationError, match=problem.replace("<HOME>", str(tmp_path)).replace("(", r"\(")):
        check_front_end(plan)
    assert f"CANNOT BE STARTED HERE: {problem.replace('<HOME>', str(tmp_path))}" in explain(plan, as_json=False)


def test_java_and_jars_that_are_there_are_found(tmp_path: Path) -> None:
    found = find(djl_serving(tmp_path, java=True, jars=True))
    assert (found.java, found.home, found.problem) == (str(tmp_path / "jdk/bin/java"), tmp_path / "djl", "")


def test_a_run_directory_too_long_for_javas_sockets_is_refused(tmp_path: Path) -> None:
    environ = djl_serving(tmp_path, java=True, jars=True)
    long = "/tmp/" + 90 * "x"
    plan = prepare({**environ, "HOME": str(tmp_path), "OPTION_FRONTEND": "djl", "LMI_RUN_DIR": long})
    with pytest.raises(PreparationError, match="too long a path for the sockets of DJL Serving; set LMI_RUN_DIR"):
        check_front_end(plan)


def test_a_port_in_use_is_told_before_the_model_loads(tmp_path: Path) -> None:

    environ = djl_serving(tmp_path, java=True, jars=True)
    plan = prepare({**environ, "HOME": str(tmp_path), "OPTION_FRONTEND": "djl"}, port=free_port())
    check_front_end(plan)
    in_use = pytest.raises(PreparationError, match=r"cannot listen on 0\.0\.0\.0:\d+: Address already in use")
    with socket.create_server(("0.0.0.0", plan.launch.plan.port)), in_use:
        check_front_end(plan)


def djl_serving(place: Path, *, java: bool, jars: bool) -> dict[str, str]:
    """Put what is asked for of a Java machine and of DJL Serving into a folder; return the variables that name them."""
    program = place / "jdk/bin/java"
    program.parent.mkdir(parents=True)
    if java:
        program.touch(mode=0o755)
    (place / "djl/lib").mkdir(parents=True)
    if jars:
        (place / "djl/lib/serving-0.36.0.jar").touch()
    return {"PATH": "/bin", "JAVA_HOME": str(place / "jdk"), "LMI_DJL_SERVING": str(place / "djl")}


if __name__ == "__main__":
    for folder in CASES:
        for name, text in described(planned(environ_of(folder))).items():
            (folder / name).write_text(text, encoding="utf-8")
