"""Where the tier on disk is to be: a place where nothing can be kept is refused, a directory that is not there made."""

import json
from pathlib import Path

import pytest

from autoconfig.errors import ConfigErrors
from container.prepare import LaunchPlan, prepare

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1000, "intermediate_size": 512, "torch_dtype": "bfloat16",
    "max_position_embeddings": 4096,
}  # fmt: skip


def planned(tmp_path: Path, **options: str) -> LaunchPlan:
    """Plan for this machine."""
    model = tmp_path / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(CONFIG))
    (model / "model.safetensors").write_bytes(bytes(64))
    given = {f"OPTION_{name.upper()}": text for name, text in options.items()}
    where = {"HOME": str(tmp_path), "PATH": "/bin", "LMI_RUN_DIR": str(tmp_path / "run")}
    return prepare({**where, "OPTION_MODEL_ID": str(model), **given})


def refusal(tmp_path: Path, **options: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        planned(tmp_path, **options)
    return str(caught.value)


@pytest.mark.parametrize(("path", "filesystem"), [("/proc", "proc"), ("/proc/sys/kv", "proc"), ("/sys/x", "sysfs")])
def test_a_file_system_of_the_kernel_is_refused(tmp_path: Path, path: str, filesystem: str) -> None:
    assert refusal(tmp_path, lmcache_auto_config="true", lmcache_disk_path=path) == (
        f"option.lmcache_disk_path={path} (OPTION_LMCACHE_DISK_PATH) is on {filesystem}, which keeps no files. "
        "Give a directory on a disk that can be written."
    )


def test_a_file_is_refused_as_is_a_link_to_a_file_system_of_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/proc")
    said = refusal(tmp_path, lmcache_auto_config="true", lmcache_disk_path=f"{tmp_path}/file/kv")
    assert f"cannot be a directory: {tmp_path}/file is a file. Give a directory" in said
    assert "is on proc" in refusal(tmp_path, lmcache_auto_config="true", lmcache_disk_path=f"{tmp_path}/link")


def test_the_directory_of_a_users_own_file_is_looked_at_as_well(tmp_path: Path) -> None:
    yaml = tmp_path / "kv.yaml"
    options = {"lmcache_config_file": str(yaml), "lmcache_disk_path": "/"}
    yaml.write_text("max_local_cpu_size: 0.5\nlocal_disk: /proc/kv\nmax_local_disk_size: 0.5\n")
    assert refusal(tmp_path, **options).startswith(f"{yaml}: local_disk /proc/kv is on proc, which keeps no files.")
    yaml.write_text(f"max_local_cpu_size: 0.5\nlocal_disk: {tmp_path}/kv\nmax_local_disk_size: 0.5\n")
    launch = planned(tmp_path, **options).cache.launch
    assert launch is not None
    assert f"{yaml}: local_disk {tmp_path}/kv does not exist, and will be created" in launch.notes
    assert not (tmp_path / "kv").exists()


def test_a_file_that_is_not_there_is_named_with_the_folder_it_was_looked_for_in(tmp_path: Path) -> None:
    asked = "option.lmcache_config_file=kv.yaml (OPTION_LMCACHE_CONFIG_FILE)"
    assert refusal(tmp_path, lmcache_config_file="kv.yaml") == (
        f"{asked}: {tmp_path}/model/kv.yaml: No such file or directory."
    )
    assert refusal(tmp_path, lmcache_config_file="kv.yaml", model_id="nobody/nothing").startswith(
        f"{asked} is no absolute path, and the model is in no directory yet"
    )


def test_without_a_cache_nobody_minds_where_it_would_be(tmp_path: Path) -> None:
    plan = planned(tmp_path, lmcache_disk_path="/proc").cache.plan
    assert plan is not None
    assert "/proc is on proc, which keeps no files" in plan.disk_reasons or plan.off
