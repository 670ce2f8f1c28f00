"""Options of the KV cache that contradict each other stop the start; those that change nothing are remarked."""

import pytest

from tests.autoconfig.configured import LLAMA_8B, directory_with, errors, resolved
from tests.autoconfig.hosts import FOUR_GPUS

AUTO = "option.lmcache_auto_config=true"


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ("option.lmcache_config_file=/kv.yaml", "plans what option.lmcache_config_file=/kv.yaml"),
        (
            'option.kv_transfer_config={"kv_connector":"X","kv_role":"kv_both"}',
            "says how the engine's cache is connected",
        ),
        ("option.kv_offloading_size=1", "says how the engine's cache is connected"),
        ("option.pipeline_parallel_degree=2", "the cache is for tensor parallelism only"),
        ("maxWorkers=2", "there is one worker"),
        ("gpu.minWorkers=3", "there is one worker"),
        ("load_models=a,b", "one container serves one model"),
        ("option.task=embed", "is for models that generate text; this one's task is embed"),
        ("option.lmcache_disk_path=kv", "is not an absolute directory"),
    ],
)
def test_what_a_cache_does_not_go_with_stops_the_start(others: str, said: str) -> None:
    assert said in errors(f"{AUTO}\n{others}", FOUR_GPUS)


def test_a_model_that_embeds_has_no_cache_to_keep() -> None:
    directory = directory_with(LLAMA_8B | {"architectures": ["BertModel"]})
    assert "this one's task is embed" in errors(AUTO, FOUR_GPUS, directory)


def test_one_worker_is_what_there_is() -> None:
    assert resolved(f"{AUTO}\nmaxWorkers=1\nminWorkers=1", FOUR_GPUS).values["lmcache_auto_config"].value is True


@pytest.mark.parametrize("name", ["lmcache_min_cpu_gb", "lmcache_max_cpu_gb", "lmcache_max_disk_gb"])
def test_sizes_for_a_plan_contradict_a_users_own_file(name: str) -> None:
    assert errors(f"option.lmcache_config_file=/kv.yaml\noption.{name}=8") == (
        f"option.{name}=8 (serving.properties:2) is for a cache planned here, and option.lmcache_config_file=/kv.yaml "
        "(serving.properties:1) says its sizes. Keep one."
    )


@pytest.mark.parametrize("size", ["0.5GB", "8GiB", "8G"])
def test_a_size_with_a_unit_is_refused_with_the_unit_it_has(size: str) -> None:
    assert errors(OPTION_LMCACHE_MAX_CPU_GB=size) == (
        f"option.lmcache_max_cpu_gb={size} (OPTION_LMCACHE_MAX_CPU_GB) is not a number of at least 0.1, in GiB and "
        "without a unit."
    )


def test_lmcaches_own_variable_names_the_file_below_ours() -> None:
    value = resolved(LMCACHE_CONFIG_FILE="/theirs.yaml", OPTION_LMCACHE_CONFIG_FILE="/ours.yaml").values[
        "lmcache_config_file"
    ]
    assert (value.value, [one.text for one in value.shadowed]) == ("/ours.yaml", ["/theirs.yaml"])
    assert "Keep one." in errors(AUTO, LMCACHE_CONFIG_FILE="/theirs.yaml")


def test_what_changes_nothing_is_remarked() -> None:
    assert resolved("option.lmcache_max_cpu_gb=8").notes == (
        "option.lmcache_max_cpu_gb=8 (serving.properties:1): no effect without option.lmcache_auto_config=true",
    )
    assert resolved(OPTION_LMCACHE_MIN_CPU_GB="8").notes == (
        "option.lmcache_min_cpu_gb=8 (OPTION_LMCACHE_MIN_CPU_GB): no effect without option.lmcache_auto_config=true",
    )
    assert resolved(AUTO, LMCACHE_CHUNK_SIZE="512").notes == (
        "LMCACHE_CHUNK_SIZE: no effect without option.lmcache_config_file, whose keys they overrule",
    )
    own = 'option.kv_transfer_config={"kv_connector":"X","kv_role":"kv_both"}'
    assert resolved(own, LMCACHE_CHUNK_SIZE="512").notes == (
        "LMCACHE_CHUNK_SIZE: handed to the engine as they are, for option.kv_transfer_config",
    )
    assert resolved("option.lmcache_config_file=/kv.yaml", LMCACHE_CHUNK_SIZE="512").notes == ()
