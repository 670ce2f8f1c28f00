"""The start of a cache, planned or described: the server's environment, the engine's arguments, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from autoconfig.errors import ConfigErrors
from autoconfig.explain import render
from autoconfig.explain_cache import cache_rows
from autoconfig.explain_launch import launch_document, shown_yaml
from autoconfig.lmcache.config import LMCacheConfig, read_yaml
from autoconfig.lmcache.fingerprint import identity
from autoconfig.lmcache.launch import CacheLaunch
from autoconfig.lmcache.worker import with_cache
from tests.autoconfig.configured import launched, resolved
from tests.autoconfig.planned import launch_of, plan_of

QWEN_CPU: dict[str, Any] = {
    "host": {
        "cpus": 4,
        "ram_gib": [22, 24],
        "cpu_flags": ["avx2"],
        "shm_free_gib": 22,
        "mounts": [
            {"path": "/", "filesystem": "overlay", "storage": "overlay", "free_gib": 200},
            {"path": "/ram", "filesystem": "tmpfs", "storage": "memory", "free_gib": 20},
        ],
    },
    "model": "Qwen/Qwen2.5-0.5B-Instruct",
    "weights_gib": 1,
    "options": {"max_model_len": 8192},
}
GPUS: dict[str, Any] = {"instance": "ml.g5.12xlarge", "model": "meta-llama/Llama-3.1-8B"}


# `Any`, where it could be narrower: else no dictionary of variables can be unpacked into the calls.
def described(text: str, case: Any = None, **environ: str) -> CacheLaunch:
    return launch_of(case or QWEN_CPU, read_yaml(text, "my.yaml", environ), environ)


def explained(text: str) -> list[list[str]]:
    return list(cache_rows(plan_of(QWEN_CPU), described(text)))


def refusal(text: str, case: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigErrors) as caught:
        described(text, case)
    return str(caught.value)


def test_a_users_sizes_are_the_servers() -> None:
    launch = described("max_local_cpu_size: 2\nlocal_disk: /tmp/kv/\nmax_local_disk_size: 20\n")
    assert (launch.cpu_bytes, launch.disk_bytes) == (2 << 30, 20 << 30)
    assert launch.disk_directory == f"/tmp/kv/lmi-cache/{launch.fingerprint}"
    assert launch.marker == "/tmp/kv/lmi-cache/.lmi-cache"
    assert launch.config.local_disk == launch.disk_directory
    assert launch.settings is not None
    assert (launch.settings.bytes_per_token, launch.settings.chunk_tokens, launch.settings.salt) == (24576, 256, "")
    assert "--l1-size-gb 1.0" in " ".join(launch.smaller_arguments)
    assert "--l2-adapter" not in launch.smaller_arguments


@pytest.mark.parametrize(
    ("size", "context", "watermark"),
    [("64", 8192, "0.98"), ("4", 8192, "0.90"), ("1", 8192, "0.81"), ("0.5", 8192, "0.62"), ("0.1", 32768, "0.50")],
)
def test_the_longest_prompt_fits_into_what_is_kept_free(size: str, context: int, watermark: str) -> None:
    host = {**QWEN_CPU["host"], "ram_gib": [100, 128]}
    case = {**QWEN_CPU, "host": host, "options": {"max_model_len": context}}
    arguments = described(f"max_local_cpu_size: {size}", case).arguments
    assert arguments[arguments.index("--eviction-trigger-watermark") + 1] == watermark


def test_what_is_told_of_a_plan_is_what_its_server_keeps() -> None:
    for case in (QWEN_CPU, GPUS):
        plan, launch = plan_of(case), launch_of(case)
        assert launch.placement is not None
        assert launch.placement.slack == plan.cpu_slack
        assert [size // plan.bytes_per_token for size in launch.kept_bytes] == [plan.cpu_tokens, plan.disk_tokens]


def test_one_salt_for_all_that_share_a_remote_tier_and_one_model() -> None:
    text = "max_local_cpu_size: 2\nremote_url: redis://host:6379"
    launch = described(text)
    assert launch.settings is not None
    assert launch.salt == launch.settings.salt == launch.fingerprint == described(text).salt
    others = [
        {"dtype": "bfloat16"},
        {"kv_cache_dtype": "fp8"},
        {"hf_overrides": '{"rope_theta":1}'},
        {"block_size": 64},
    ]
    salts = {described(text, {**QWEN_CPU, "options": options}).salt for options in others}
    assert len({*salts, launch.salt}) == len(others) + 1
    assert described(f"chunk_size: 512\n{text}").salt not in {*salts, launch.salt}


def test_without_a_gpu_blocks_go_through_a_socket_however_large_the_shared_memory() -> None:
    placement = described("max_local_cpu_size: 2").placement
    assert placement is not None
    assert (placement.transfer_mode, placement.shm_name) == ("engine_driven", "")


def test_nothing_of_the_containers_environment_reaches_the_server_but_what_it_needs() -> None:
    environ = {
        "PATH": "/bin",
        "HF_TOKEN": "hf_secret",
        "AWS_SECRET_ACCESS_KEY": "s",
        "HTTPS_PROXY": "http://proxy",
        "LMCACHE_RESP_PASSWORD": "p",
        "LMCACHE_TRACK_USAGE": "true",
    }
    local = described("max_local_cpu_size: 2", **environ).environment
    assert set(local) == {
        "PATH",
        "PYTHONUNBUFFERED",
        "LMCACHE_LOG_LEVEL",
        "LMCACHE_TRACK_USAGE",
        "DO_NOT_TRACK",
        "LMCACHE_DISABLE_BANNER",
        "PYTHONHASHSEED",
    }
    assert local["LMCACHE_TRACK_USAGE"] == "false"
    s3 = "max_local_cpu_size: 2\nremote_url: s3://b.host\nextra_config: {s3_region: r}"
    assert set(described(s3, **environ).environment) - set(local) == {"AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"}
    redis = "max_local_cpu_size: 2\nremote_url: redis://host:1"
    assert set(described(redis, **environ).environment) - set(local) == {"LMCACHE_RESP_PASSWORD"}


def test_keys_without_a_counterpart_run_in_process_on_gpus_only() -> None:
    text = "max_local_cpu_size: 2\ncache_policy: LFU\nenable_blending: true"
    launch = described(text, GPUS)
    assert (launch.placement, launch.arguments, launch.settings) == (None, (), None)
    assert launch.connector["kv_connector"] == "LMCacheConnectorV1"
    assert {one.name: one.value for one in launch.worker_variables}["LMCACHE_CONFIG_FILE"] == "/run/lmi/lmcache.yaml"
    assert launch.notes == (
        "LMCache runs inside the engine: its server has no counterpart for cache_policy: LFU, enable_blending",
        "inside the engine LMCache does not heed cache_salt: whoever sends a prompt finds what others left of it",
    )
    assert (launch.cpu_bytes, launch.kept_bytes) == (8 << 30, (8 << 30, 0))
    assert refusal(text) == (
        "my.yaml: LMCache's server has no counterpart for cache_policy: LFU, enable_blending, and without a GPU "
        "LMCache does not run inside the engine. Remove them."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chunk_size: 100", "chunk_size 100 is no multiple of the engine's block of 128 tokens."),
        ("max_local_cpu_size: 40", "max_local_cpu_size 40 GiB is more than the 22.0 GiB of RAM available."),
        ("local_disk: kv\nmax_local_disk_size: 1", "local_disk kv is not an absolute directory."),
        (
            "local_disk: /data/kv\nmax_local_disk_size: 1",
            "is outside /tmp. Set option.lmcache_disk_path=/data/kv if it",
        ),
        ("local_disk: /tmp/../data\nmax_local_disk_size: 1", "is not an absolute directory"),
        ("local_disk: /tmp/kv\nmax_local_disk_size: 500", "500 GiB is more than the 200.0 GiB free on /."),
    ],
)
def test_what_this_machine_or_engine_cannot_do_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_ram_for_hardly_a_chunk_is_refused_and_for_few_is_remarked_with_numbers() -> None:
    case = {**QWEN_CPU, "model": "Qwen/Qwen2.5-7B"}
    assert refusal("max_local_cpu_size: 0.1", case) == (
        "my.yaml: max_local_cpu_size 0.1 GiB holds 3 chunks of 256 tokens, 28.0 MiB each: too few to keep any. "
        "Set 0.2 at least; 1.8 holds 64, which may be on their way at once."
    )
    said = "my.yaml: max_local_cpu_size 0.5 GiB"
    assert described("max_local_cpu_size: 0.5", case).notes == (
        f"{said} holds 18 chunks, 4.61 K tokens; 64 may be on their way at once, which take 1.8 GiB",
        f"{said}: a prompt of more than 2.34 K tokens finds no room once it is full, and is not kept then",
    )
    assert described("max_local_cpu_size: 4", case).notes == ()


def test_what_lmcache_does_not_read_is_named_wherever_it_runs() -> None:
    extra = "extra_config: {my_plugin_key: 1, remote_storage_plugin.fs.base_path: /kv}"
    for text, case in ((extra, QWEN_CPU), (f"{extra}\nenable_blending: true", GPUS)):
        assert "my.yaml: LMCache does not read extra_config.my_plugin_key" in described(text, case).notes


def test_an_empty_file_says_what_counts() -> None:
    assert described("").notes == ("my.yaml: no max_local_cpu_size, and so LMCache's default, 5 GiB",)


def test_chunk_and_advice_are_explained_for_a_users_own_file() -> None:
    text = "chunk_size: 512\nmax_local_cpu_size: 8\nlocal_disk: /tmp/kv\nmax_local_disk_size: 100\n"
    shown = explained(f"{text}remote_url: redis://host")
    assert ["chunk", "512", "tokens that are kept and found together"] in shown
    assert ["RAM tier", "8.0 GiB", "keeps 315 K tokens, as my.yaml says"] in shown
    assert [row[2] for row in shown[-4:]] == [
        "up to 175 K tokens in use again: the engine's own cache holds them; offloading adds nothing",
        "from 175 K to 315 K tokens: the RAM tier pays",
        "from 315 K to 4.28 M tokens: the disk tier pays",
        "beyond 4.28 M tokens: the remote tier pays, as far as it holds them",
    ]
    through = explained("local_cpu: false\nmax_local_cpu_size: 8\nlocal_disk: /tmp/kv\nmax_local_disk_size: 100\n")
    assert ["RAM tier", "8.0 GiB", "passes through, and keeps nothing, as my.yaml says"] in through
    assert through[-2][2].startswith("from 175 K to 4.28 M tokens: the disk tier pays")


def test_a_disk_that_is_ram_is_no_disk() -> None:
    case = {**QWEN_CPU, "options": {"lmcache_disk_path": "/ram"}}
    assert "local_disk /ram/kv is on tmpfs, which is RAM." in refusal(
        "local_disk: /ram/kv\nmax_local_disk_size: 1", case
    )


def test_lora_adapters_need_lmcaches_server_where_salts_tell_them_apart() -> None:
    lora = {"options": {"enable_lora": "true"}}
    for case in (QWEN_CPU, GPUS):
        assert described("max_local_cpu_size: 2", {**case, **lora}).placement
    assert refusal("max_local_cpu_size: 2\nenable_blending: true", {**GPUS, **lora}) == (
        "my.yaml: with enable_blending, LMCache runs inside the engine, where it does not tell LoRA adapters apart, "
        "and one would answer from another's cache. Remove it, or option.enable_lora=true (serving.properties:1)."
    )


def test_layers_with_a_window_are_kept_in_full_where_there_is_no_gpu() -> None:
    case = {**QWEN_CPU, "model": "openai/gpt-oss-20b"}
    names = [choice.name for choice in described("max_local_cpu_size: 2", case).worker_arguments]
    assert names == ["kv_transfer_config", "enable_prompt_tokens_details", "disable_hybrid_kv_cache_manager"]
    gpus = described("max_local_cpu_size: 2", {**GPUS, "model": "openai/gpt-oss-20b"})
    assert len(gpus.worker_arguments) == 2


def test_the_worker_gets_the_connector_and_a_process_for_its_engine() -> None:
    cache = described("max_local_cpu_size: 2", LMCACHE_CHUNK_SIZE="512")
    plain = launched(resolved(""), {"LMCACHE_CHUNK_SIZE": "512", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"})
    launch = with_cache(plain, cache)
    assert launch.plan.cache == cache.settings
    assert any(token.startswith('--kv-transfer-config={"kv_connector":') for token in launch.plan.engine_arguments)
    assert "--enable-prompt-tokens-details" in launch.plan.engine_arguments
    assert launch.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
    assert launch.environment["PYTHONHASHSEED"] == "0"
    assert "LMCACHE_CHUNK_SIZE" not in launch.environment
    assert len({addition.name for addition in launch.additions}) == len(launch.additions)


def test_it_is_explained_without_its_credentials() -> None:
    text = (
        "max_local_cpu_size: 2\nremote_url: redis://me:hunter2@host:6379\n"
        "extra_config: {password: hunter2, resp_num_threads: 4}"
    )
    launch = described(text)
    resolution = resolved("")
    page = render(resolution, launched(resolution), None, launch)
    assert "hunter2" not in page + str(launch_document(launch))
    assert "hunter2" in launch.yaml
    assert "redis://********@host:6379" in shown_yaml(launch)
    for shown in ("lmcache server --host 127.0.0.1", "--kv-transfer-config=", "max_local_cpu_size: 2.0", launch.salt):
        assert shown in page


def test_a_remote_tier_waits_for_the_weights_that_tell_its_entries_apart() -> None:
    remote, local = (read_yaml(f"max_local_cpu_size: 2\n{rest}", "my.yaml") for rest in ("remote_url: fs://h:0/kv", ""))
    assert "are not here yet" in launch_of(QWEN_CPU, remote, identity="").incomplete
    assert launch_of(QWEN_CPU, remote).incomplete == launch_of(QWEN_CPU, local, identity="").incomplete == ""


def test_weights_are_known_by_their_commit_or_their_content(tmp_path: Path) -> None:
    assert identity(tmp_path, "1234abcd") == "1234abcd"
    header = b"{}".ljust(8)
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100_000))
    (tmp_path / "README.md").write_text("a")
    first = identity(tmp_path)
    (tmp_path / "README.md").write_text("b")
    assert identity(tmp_path) == first
    content = bytearray(weights.read_bytes())
    content[-1] = 1
    weights.write_bytes(content)
    second = identity(tmp_path)
    (tmp_path / "config.json").write_text('{"rope_theta": 1}')
    assert len({first, second, identity(tmp_path)}) == 3


def test_a_plan_becomes_the_same_yaml_as_a_reader_would_write() -> None:
    launch = launch_of(QWEN_CPU)
    assert read_yaml(launch.yaml, "lmcache.yaml") == launch.config
    assert isinstance(launch.config, LMCacheConfig)


# As in LMCache's documentation, where the last two are disk-offload.yaml and redis-offload.yaml.
CPU_RAM = "chunk_size: 256\nlocal_cpu: true\nmax_local_cpu_size: 5.0\n"
DISK = """\
chunk_size: 256
local_cpu: false
max_local_cpu_size: 5.0
enable_async_loading: true
local_disk: "file:///local/disk_test/local_disk/"
max_local_disk_size: 5.0

extra_config:
    use_odirect: True
    use_uring: true
    ring_size: 4096
"""
REDIS = 'chunk_size: 256\nremote_url: "redis://localhost:6379"\nremote_serde: "naive"\n'


def test_the_documented_examples_run_on_a_cpu() -> None:
    on_disk = {**QWEN_CPU, "options": {"lmcache_disk_path": "/local"}}
    launches = [described(CPU_RAM), described(DISK, on_disk), described(REDIS)]
    assert all(launch.placement for launch in launches)
    assert [launch.notes for launch in launches] == [
        (),
        (
            "my.yaml: LMCache does not read extra_config.use_uring, extra_config.ring_size",
            "my.yaml: no effect in LMCache's server: enable_async_loading",
        ),
        (
            "my.yaml: no max_local_cpu_size, and so LMCache's default, 5 GiB",
            "my.yaml:3: remote_serde is LMCache's default, and left out",
        ),
    ]
    assert launches[1].disk_directory.startswith("/local/disk_test/local_disk/lmi-cache/")
    assert "--l2-store-policy" in launches[1].arguments


def test_a_documented_example_with_a_key_lmcache_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigErrors, match="LMCache has no key async_loading; did you mean enable_async_loading"):
        described('remote_url: "resp://localhost:6379"\nasync_loading: false\n')
