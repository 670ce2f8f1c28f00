"""What a start will do, decided from an environment and a model directory: where model, packages and files go."""

import json
import os
from pathlib import Path

import pytest

from autoconfig.errors import ConfigErrors
from container.brought import with_adapters_of_model
from container.errors import PreparationError
from container.prepare import LaunchPlan, prepare
from tests.autoconfig.adapter_files import MODULE, write_adapter, write_weights


def plan(home: Path, model_directory: Path | None = None, **environ: str) -> LaunchPlan:
    return prepare({"HOME": str(home), "PATH": "/bin", **environ}, model_directory)


def model_directory(tmp_path: Path, *files: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("{}")
    return folder


def test_without_a_model_the_embedded_one_lies_in_the_users_cache(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    assert planned.model.kind == "embedded"
    assert planned.model.directory == tmp_path / ".cache/lmi/models/SmolLM2-135M-Instruct"
    assert f"--model={planned.model.directory}" in planned.launch.plan.engine_arguments
    assert planned.launch.plan.model_names[0] == "SmolLM2-135M-Instruct"


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"LMI_CACHE_DIR": "/data/lmi", "XDG_CACHE_HOME": "/tmp"}, "/data/lmi"),
        ({"XDG_CACHE_HOME": "/tmp/x"}, "/tmp/x/lmi"),
        ({"HOME": "/dev/null", "LMI_RUN_DIR": "/tmp/run"}, "/tmp/run/cache"),
        ({"HOME": "", "LMI_RUN_DIR": "/tmp/run"}, "/tmp/run/cache"),
    ],
)
def test_the_cache_is_the_first_place_that_can_be_written(tmp_path: Path, environ: dict[str, str], place: str) -> None:
    directory = plan(tmp_path, None, **environ).model.directory
    assert directory == Path(place) / "models/SmolLM2-135M-Instruct"


def test_without_a_home_every_cache_of_the_engine_is_in_the_run_directory(tmp_path: Path) -> None:
    environment = plan(tmp_path, HOME="", LMI_RUN_DIR="/tmp/run").launch.environment
    assert environment["HF_HOME"].startswith("/tmp/run/cache")
    assert environment["VLLM_CACHE_ROOT"].startswith("/tmp/run/cache")


def test_the_engines_caches_go_where_ours_is_told_to_be(tmp_path: Path) -> None:
    environment = plan(tmp_path, HOME="", LMI_CACHE_DIR="/data/lmi").launch.environment
    assert environment["HF_HOME"].startswith("/data/lmi")


def test_a_model_in_the_hubs_cache_is_planned_for_before_it_is_loaded(tmp_path: Path) -> None:
    hub = tmp_path / ".cache/huggingface/hub/models--org--name"
    snapshot = hub / "snapshots/0123"
    snapshot.mkdir(parents=True)
    config = {"num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4}
    (snapshot / "config.json").write_text(json.dumps(config))
    assert plan(tmp_path, HF_MODEL_ID="org/name").cache.plan is None
    (hub / "refs").mkdir()
    (hub / "refs/main").write_text("0123\n")
    places = {"HF_HOME": str(hub.parents[1]), "HF_HUB_CACHE": str(hub.parent), "XDG_CACHE_HOME": str(hub.parents[2])}
    for name, place in {"PATH": "/bin", **places}.items():
        planned = prepare({"HOME": str(tmp_path), "HF_MODEL_ID": "org/name", "OPTION_DTYPE": "bfloat16", name: place})
        assert planned.cache.plan is not None
        assert planned.cache.plan.bytes_per_token == 2 * 2 * 256 * 2
    assert plan(tmp_path, HF_MODEL_ID="org/name", OPTION_TASK="embed").cache.plan is None


def test_a_model_on_s3_is_loaded_from_where_it_is_downloaded_to(tmp_path: Path) -> None:
    planned = plan(tmp_path, OPTION_MODEL_ID="s3://models/llama/", SERVING_DOWNLOAD_DIR="/data")
    assert planned.model.kind == "s3"
    assert str(planned.model.directory).startswith("/data/llama-")
    assert planned.launch.plan.model == str(planned.model.directory)


def test_two_s3_prefixes_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    one, other = (plan(tmp_path, OPTION_MODEL_ID=f"s3://{bucket}/llama").model.directory for bucket in ("a", "b"))
    assert one != other


def test_a_hub_model_is_left_to_the_engine(tmp_path: Path) -> None:
    planned = plan(tmp_path, HF_MODEL_ID="org/model")
    assert (planned.model.kind, planned.model.directory, planned.launch.plan.model) == ("hub", None, "org/model")


def test_weights_in_the_model_directory_are_served_as_they_are(tmp_path: Path) -> None:
    folder = model_directory(tmp_path, "config.json", "model.safetensors")
    planned = plan(tmp_path, folder, HF_MODEL_ID="org/model")
    assert (planned.model.kind, planned.model.directory) == ("directory", folder)


def test_serving_properties_alone_configure_a_hub_model(tmp_path: Path) -> None:
    folder = model_directory(tmp_path)
    (folder / "serving.properties").write_text("option.model_id=org/model\n")
    assert plan(tmp_path, folder).launch.plan.model == "org/model"


def test_requirements_go_on_the_workers_import_path_behind_our_own_code(tmp_path: Path) -> None:
    folder = model_directory(tmp_path, "config.json", "model.safetensors")
    (folder / "requirements.txt").write_text("einops\n")
    planned = plan(tmp_path, folder, PYTHONPATH="/users/own")
    assert planned.requirements is not None
    ours, packages, users = planned.children[0].environment["PYTHONPATH"].split(os.pathsep)
    assert (Path(ours) / "handlers").is_dir()
    assert (packages, users) == (str(planned.requirements.target), "/users/own")


def test_options_and_their_secrets_do_not_reach_the_worker(tmp_path: Path) -> None:
    environment = plan(tmp_path, OPTION_MODEL_ID="org/model", MINE="1").children[0].environment
    assert "OPTION_MODEL_ID" not in environment
    assert environment["MINE"] == "1"


@pytest.mark.parametrize(("drain", "stop"), [("5", 12), ("20", 27)])
def test_the_end_comes_before_the_platforms_sigkill(tmp_path: Path, drain: str, stop: float) -> None:
    assert plan(tmp_path, OPTION_DRAIN_TIMEOUT=drain).limits.stop_seconds == stop


def test_the_run_directory_is_named_after_user_and_port(tmp_path: Path) -> None:
    planned = plan(tmp_path, SAGEMAKER_BIND_TO_PORT="9123", TMPDIR="/var/tmp")
    assert planned.run_directory == Path(f"/var/tmp/lmi-{os.geteuid()}-9123")


def test_a_model_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"OPTION_MODEL_ID.*there is no such directory"):
        plan(tmp_path, OPTION_MODEL_ID="./nowhere")


def test_sessions_are_kept_in_the_run_directory_or_where_one_says(tmp_path: Path) -> None:
    asked = {"SAGEMAKER_ENABLE_STATEFUL_SESSIONS": "true", "LMI_RUN_DIR": "/tmp/run"}
    sessions = [
        plan(tmp_path, None, **asked, **more).launch.plan.sessions for more in ({}, {"OPTION_SESSIONS_PATH": "/tmp"})
    ]
    assert [one.directory for one in sessions if one] == ["/tmp/run/sessions", "/tmp"]


def test_sessions_that_cannot_be_kept_stop_the_start_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = {"SAGEMAKER_SESSIONS_PATH": str(tmp_path / "file" / "sessions")}
    with pytest.raises(PreparationError, match=r"SAGEMAKER_SESSIONS_PATH.*sessions cannot be kept there"):
        plan(tmp_path, None, **path, OPTION_ENABLE_STATEFUL_SESSIONS="true")
    assert plan(tmp_path, None, **path).launch.plan.sessions is None


def test_a_file_system_of_the_kernel_keeps_no_sessions(tmp_path: Path) -> None:
    asked = {"SAGEMAKER_SESSIONS_PATH": "/proc/sessions", "OPTION_ENABLE_STATEFUL_SESSIONS": "true"}
    with pytest.raises(PreparationError, match="is on proc, which keeps no files: sessions cannot be kept there"):
        plan(tmp_path, None, **asked)


def test_adapters_and_the_script_beside_the_model_reach_the_worker(tmp_path: Path) -> None:
    folder = model_directory(tmp_path, "config.json", "model.safetensors", "model.py")
    write_adapter(folder / "adapters" / "law")
    worker = plan(tmp_path, folder).launch.plan
    assert worker.script == str(folder / "model.py")
    assert worker.adapters is not None
    assert [source.src for source in worker.adapters.sources] == [str(folder / "adapters" / "law")]


def test_adapters_that_a_download_brings_are_known_once_they_are_there(tmp_path: Path) -> None:
    asked = {
        "OPTION_MODEL_ID": "s3://models/llama",
        "SERVING_DOWNLOAD_DIR": str(tmp_path),
        "OPTION_ENABLE_LORA": "true",
    }
    planned = plan(tmp_path, None, **asked)
    assert planned.model.directory is not None
    write_adapter(planned.model.directory / "adapters" / "law")
    bad = write_adapter(planned.model.directory / "adapters" / "med", use_dora=True)
    later, unserved = with_adapters_of_model(planned)
    assert later.launch.plan.adapters is not None
    assert [source.name for source in later.launch.plan.adapters.sources] == ["law", "med"]
    assert str(planned.model.directory) in later.launch.plan.adapters.roots
    why = "it uses DoRA, which vLLM does not support"
    assert unserved == (f"the adapter med ({bad}) cannot be served: {why}",)
    assert later.launch.plan.adapters.sources[1].problem == why


def test_adapters_that_are_not_for_the_model_are_found_out_when_it_is_there(tmp_path: Path) -> None:
    law = write_adapter(tmp_path / "law", size=8)
    planned = plan(tmp_path, None, OPTION_ADAPTERS=law)
    assert with_adapters_of_model(planned)[1] == ()
    embedded = planned.model.directory
    assert embedded is not None
    embedded.mkdir(parents=True)
    write_weights(embedded / "model.safetensors", {f"{MODULE}.weight": [4, 4]})
    with pytest.raises(ConfigErrors, match=r"option.adapters \(OPTION_ADAPTERS\): .*is 4x4 here, the adapter's 8x8"):
        with_adapters_of_model(planned)
    with pytest.raises(ConfigErrors, match="the adapter's 8x8"):  # as an earlier start has converted it
        plan(tmp_path, None, OPTION_ADAPTERS=law)


def test_adapters_are_planned_for_the_models_shapes_wherever_it_comes_from(tmp_path: Path) -> None:
    config = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
              "num_key_value_heads": 3, "vocab_size": 49152, "architectures": ["LlamaForCausalLM"]}  # fmt: skip
    for model, place in (
        ("", "lmi/models/SmolLM2-135M-Instruct"),
        ("org/m", "huggingface/hub/models--org--m/snapshots/main"),
    ):
        asked = {"OPTION_ENABLE_LORA": "true", **({"HF_MODEL_ID": model} if model else {})}
        assert "assumed" in plan(tmp_path, None, **asked).resolution.values["max_cpu_loras"].reason
        (tmp_path / ".cache" / place).mkdir(parents=True)
        (tmp_path / ".cache" / place / "config.json").write_text(json.dumps(config))
        assert " MiB at most" in plan(tmp_path, None, **asked).resolution.values["max_cpu_loras"].reason
