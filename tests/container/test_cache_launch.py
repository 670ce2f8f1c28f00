"""What a start with a cache below the engine's does: its processes, files and ports, and when it does without."""

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from autoconfig.errors import ConfigErrors
from autoconfig.instances import instance
from container.cache_launch import write_files
from container.cache_task import CacheTask
from container.console import Console
from container.prepare import LaunchPlan, prepare
from container.progress import Progress
from container.serve import _with_cache
from tests.container.processes import ROOT

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1000, "intermediate_size": 512, "torch_dtype": "bfloat16",
    "max_position_embeddings": 4096,
}  # fmt: skip
GIB = 1 << 30


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(bytes(64))
    return folder


def plan(tmp_path: Path, **environ: str) -> LaunchPlan:
    """Plan for a machine of known size; nothing of it is looked at."""
    asked = {"OPTION_LMCACHE_AUTO_CONFIG": "true", "OPTION_LMCACHE_MAX_CPU_GB": "64", "OPTION_LMCACHE_MAX_DISK_GB": "0"}
    return on_p4d(tmp_path, **{**asked, **environ})


def on_p4d(tmp_path: Path, **environ: str) -> LaunchPlan:
    where = {"HOME": str(tmp_path), "PATH": "/bin", "LMI_RUN_DIR": str(tmp_path / "run")}
    return prepare({**where, **environ}, instance=instance("ml.p4d.24xlarge"))


def started(plan: LaunchPlan) -> tuple[LaunchPlan, ExitStack]:
    held = ExitStack()
    return _with_cache(plan, held, Progress(Console(descriptor=os.open(os.devnull, os.O_WRONLY)))), held


def test_the_watcher_runs_beside_the_worker_whose_engine_is_connected(tmp_path: Path, model: Path) -> None:
    planned = plan(tmp_path, OPTION_MODEL_ID=str(model))
    watcher, worker = planned.children
    assert watcher.companion
    assert not worker.companion
    assert watcher.argv[-2:] == ("container.cache_server", str(tmp_path / "run/cache-launch.json"))
    connector = next(a for a in planned.launch.plan.engine_arguments if a.startswith("--kv-transfer-config="))
    assert json.loads(connector.partition("=")[2])["kv_connector_extra_config"]["lmcache.mp.port"] == 0
    assert planned.launch.plan.cache is not None
    assert not planned.run_directory.exists()


def test_a_start_chooses_two_free_ports_that_are_not_ours(tmp_path: Path, model: Path) -> None:
    environ = {"SAGEMAKER_SAFE_PORT_RANGE": "18070-18099", "SAGEMAKER_BIND_TO_PORT": "18099"}
    planned, held = started(plan(tmp_path, OPTION_MODEL_ID=str(model), **environ))
    with held:
        launch = planned.cache.launch
        assert launch is not None
        assert launch.placement is not None
        ports = {launch.placement.port, launch.placement.http_port}
        assert len(ports) == 2
        assert ports < set(range(18070, 18099))
        assert any(f'"lmcache.mp.port":{launch.placement.port}' in a for a in planned.launch.plan.engine_arguments)


def test_the_watcher_reads_what_is_written_for_it(tmp_path: Path, model: Path) -> None:
    planned, held = started(plan(tmp_path, OPTION_MODEL_ID=str(model)))
    run = planned.run_directory
    run.mkdir()
    for stale in ("cache-server.json", "cache-server.log"):
        (run / stale).write_text("of an earlier start")
    launch = planned.cache.launch
    assert launch is not None
    assert launch.placement is not None
    assert launch.settings is not None
    with held:
        write_files(launch, run)
    task = CacheTask.read(run / "cache-launch.json")
    whole, smaller = task.attempts
    assert whole.argv[1:5] == ("-P", "-m", "container.cache_lmcache", "server")
    assert (whole.cpu_bytes, smaller.cpu_bytes, smaller.disk_bytes) == (64 * GIB, 32 * GIB, 0)
    assert task.ports == (launch.placement.http_port, launch.placement.port)
    assert 2 * task.start_seconds < launch.settings.start_seconds
    assert sorted(file.name for file in run.iterdir()) == ["cache-launch.json", "cache-server.log.1", "lmcache.yaml"]
    assert {oct((run / name).stat().st_mode & 0o777) for name in ("cache-launch.json", "lmcache.yaml")} == {"0o600"}
    assert task.environment == {**launch.environment, "PYTHONPATH": str(ROOT)}


def test_a_users_own_connector_is_left_alone(tmp_path: Path, model: Path) -> None:
    own = {"OPTION_KV_TRANSFER_CONFIG": '{"kv_connector": "Mine"}', "OPTION_LMCACHE_AUTO_CONFIG": "false"}
    planned, _ = started(plan(tmp_path, OPTION_MODEL_ID=str(model), **own))
    assert [child.name for child in planned.children] == ["engine"]
    given = [a for a in planned.launch.plan.engine_arguments if a.startswith("--kv-transfer-config=")]
    assert given == ['--kv-transfer-config={"kv_connector": "Mine"}']


def test_without_the_wish_there_is_a_plan_and_nothing_of_it_is_started(tmp_path: Path, model: Path) -> None:
    planned = plan(tmp_path, OPTION_MODEL_ID=str(model), OPTION_LMCACHE_AUTO_CONFIG="false")
    assert planned.cache.plan is not None
    assert (planned.cache.launch, planned.cache.off) == (None, "")
    assert started(planned)[0] == planned


def test_a_range_without_room_for_its_ports_costs_the_cache_and_not_the_start(tmp_path: Path, model: Path) -> None:
    environ = {"SAGEMAKER_SAFE_PORT_RANGE": "18099-18099", "SAGEMAKER_BIND_TO_PORT": "18099"}
    planned, _ = started(plan(tmp_path, OPTION_MODEL_ID=str(model), **environ))
    assert planned.cache.off == "fewer than 2 ports are free in 18099-18099"
    assert [child.name for child in planned.children] == ["engine"]


def test_a_model_that_comes_later_is_planned_for_when_it_is_there(tmp_path: Path, model: Path) -> None:
    before = plan(tmp_path, OPTION_MODEL_ID="s3://bucket/model", SERVING_DOWNLOAD_DIR=str(tmp_path))
    assert before.cache.launch is None
    assert before.model.directory is not None
    model.rename(before.model.directory)
    after, held = started(before)
    with held:
        assert after.cache.launch is not None
        assert [child.name for child in after.children] == ["KV cache", "engine"]


def test_a_hub_model_that_cannot_be_looked_at_is_served_without_a_cache(tmp_path: Path) -> None:
    planned, _ = started(plan(tmp_path, OPTION_MODEL_ID="nobody/nothing", HF_HUB_OFFLINE="1"))
    why = "it is not in the Hugging Face cache, and the hub cannot be reached"
    assert planned.cache.off == f"the configuration of nobody/nothing cannot be fetched: {why}"


def test_what_is_shown_and_what_is_started_differ_in_ports_alone(tmp_path: Path, model: Path) -> None:
    shown = plan(tmp_path, OPTION_MODEL_ID=str(model)).cache.launch
    again, held = started(plan(tmp_path, OPTION_MODEL_ID=str(model)))
    assert shown is not None
    assert again.cache.launch is not None
    assert shown.settings is not None
    with held:
        assert (shown.yaml, shown.environment) == (again.cache.launch.yaml, again.cache.launch.environment)
        assert again.cache.launch.placement is not None
        assert again.cache.launch.settings == replace(shown.settings, http_port=again.cache.launch.placement.http_port)


def test_inside_the_engine_the_disk_is_emptied_by_the_start_itself(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "disk/lmi-cache"
    folder.mkdir(parents=True)
    (folder / ".lmi-cache").touch()
    (folder / "stale").mkdir()
    file = tmp_path / "mine.yaml"
    file.write_text(f"max_local_cpu_size: 3\nlocal_disk: {folder.parent}\nmax_local_disk_size: 5\ncache_policy: LFU\n")
    environ = {"OPTION_LMCACHE_CONFIG_FILE": str(file), "OPTION_LMCACHE_DISK_PATH": str(folder.parent)}
    planned, held = started(on_p4d(tmp_path, OPTION_MODEL_ID=str(model), **environ))
    launch = planned.cache.launch
    assert launch is not None
    assert [child.name for child in planned.children] == ["engine"]
    with held:
        assert {entry.name for entry in folder.iterdir()} == {".lmi-cache", launch.fingerprint}
    assert [entry.name for entry in folder.iterdir()] == [".lmi-cache"]


def test_a_users_yaml_takes_the_place_of_the_plan(tmp_path: Path, model: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("chunk_size: 512\nmax_local_cpu_size: 3\n")
    environ = {"OPTION_MODEL_ID": str(model), "OPTION_LMCACHE_CONFIG_FILE": str(file)}
    planned = on_p4d(tmp_path, **environ)
    assert planned.cache.launch is not None
    assert (planned.cache.launch.config.chunk_size, planned.cache.launch.cpu_bytes) == (512, 3 * GIB)
    for text, mistake in (("chunk_sise: 512\n", "chunk_sise"), (None, "No such file")):
        file.unlink()
        if text:
            file.write_text(text)
        with pytest.raises(ConfigErrors, match=mistake):
            on_p4d(tmp_path, **environ)
