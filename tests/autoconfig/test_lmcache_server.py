"""The server's arguments say what the YAML says, and can be read back; no credential is among them."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoconfig.lmcache.adapters import secrets
from autoconfig.lmcache.config import LMCacheConfig, read_yaml
from autoconfig.lmcache.connector import in_process, kv_transfer_config
from autoconfig.lmcache.server import (
    Placement,
    read_server_arguments,
    server_arguments,
    unread,
    without_counterpart,
    without_meaning,
)

GPU = Placement(5001, 5002, "lmcache_driven", workers=4)
CPU = Placement(5001, 5002, "engine_driven", "lmi_5001")

sizes = st.integers(1, 10**6).map(lambda tenths: tenths / 10)
hosts = st.sampled_from(["redis", "10.0.0.1", "[fd00::1]"])
remotes: st.SearchStrategy[tuple[str | None, dict[str, Any]]] = st.one_of(
    st.just((None, {})),
    st.tuples(
        st.builds("resp://{}:{}".format, hosts, st.integers(1, 65535)),
        st.dictionaries(st.just("resp_num_threads"), st.integers(1, 64)),
    ),
    st.just(("s3://bucket.s3.eu-west-1.amazonaws.com", {"s3_region": "eu-west-1", "s3_prefer_http2": False})),
    st.just(("fs://localhost:0/mnt/efs/kv", {"fs_connector_use_odirect": True, "fs_connector_read_ahead_size": 4096})),
)


@st.composite
def configs(draw: st.DrawFn) -> LMCacheConfig:
    """Every configuration that has a counterpart, in the words in which it is read back."""
    url, extra = draw(remotes)
    disk = draw(st.booleans())
    if disk:
        extra = extra | draw(
            st.fixed_dictionaries({}, optional={"use_odirect": st.booleans(), "disk_io_threads": st.integers(1, 64)})
        )
    return LMCacheConfig(
        chunk_size=draw(st.integers(1, 10**5)),
        local_cpu=draw(st.booleans()) if disk or url else True,
        max_local_cpu_size=draw(sizes),
        local_cpu_use_hugepages=draw(st.booleans()),
        local_disk="/tmp/kv" if disk else None,
        max_local_disk_size=draw(sizes) if disk else 0.0,
        remote_url=url,
        extra_config=extra,
    )


placements = st.builds(
    Placement,
    port=st.integers(1, 65535),
    http_port=st.integers(1, 65535),
    transfer_mode=st.sampled_from(["lmcache_driven", "engine_driven"]),
    shm_name=st.sampled_from(["", "lmi_1"]),
    workers=st.integers(1, 16),
    slack=st.integers(10, 50).map(lambda hundredths: hundredths / 100),
)


@given(config=configs(), placement=placements)
def test_arguments_are_read_back_as_what_they_were_made_of(config: LMCacheConfig, placement: Placement) -> None:
    assert without_counterpart(config) == ()
    assert read_server_arguments(server_arguments(config, placement)) == (config, placement)


def adapters(text: str) -> list[dict[str, Any]]:
    arguments = server_arguments(read_yaml(text, "my.yaml"), GPU)
    pairs = pairwise(arguments)
    return [json.loads(value) for name, value in pairs if name == "--l2-adapter"]


def test_ram_alone_has_no_tier_below() -> None:
    arguments = server_arguments(LMCacheConfig(max_local_cpu_size=1.5), CPU)
    assert " ".join(arguments) == (
        "--host 127.0.0.1 --port 5001 --http-host 127.0.0.1 --http-port 5002 --chunk-size 256 --max-gpu-workers 1 "
        "--max-cpu-workers 4 --supported-transfer-mode engine_driven --shm-name lmi_5001 --l1-size-gb 1.5 "
        "--eviction-policy LRU --eviction-trigger-watermark 0.80 --eviction-ratio 0.20"
    )


def test_a_disk_is_bounded_by_eviction() -> None:
    (disk,) = adapters("local_disk: /tmp/kv\nmax_local_disk_size: 20\nextra_config: {use_odirect: true}")
    assert disk == {
        "type": "fs_native",
        "base_path": "/tmp/kv",
        "max_capacity_gb": 20.0,
        "use_odirect": True,
        "eviction": {"eviction_policy": "LRU", "trigger_watermark": 0.9, "eviction_ratio": 0.1},
    }


def test_a_small_disk_keeps_more_room_for_what_comes_before_it_is_noticed() -> None:
    (disk,) = adapters("local_disk: /tmp/kv\nmax_local_disk_size: 4")
    assert disk["eviction"] == {"eviction_policy": "LRU", "trigger_watermark": 0.72, "eviction_ratio": 0.28}


def test_ram_that_is_only_passed_through_keeps_nothing() -> None:
    text = "local_cpu: false\nlocal_disk: /tmp/kv\nmax_local_disk_size: 20\n"
    assert "--l2-store-policy skip_l1" in " ".join(server_arguments(read_yaml(text, "my.yaml"), GPU))
    assert "--l2-prefetch-policy retain" in " ".join(server_arguments(read_yaml(text[17:], "my.yaml"), GPU))


@pytest.mark.parametrize("scheme", ["redis", "valkey", "resp"])
def test_credentials_go_into_the_environment(scheme: str) -> None:
    text = f"remote_url: {scheme}://me:p%40ss@host:6380/0"
    (store,) = adapters(text)
    assert (store["class_name"], store["adapter_params"]) == ("RedisStore", {"host": "host", "port": 6380})
    assert secrets(read_yaml(text, "my.yaml")) == {"LMCACHE_RESP_USERNAME": "me", "LMCACHE_RESP_PASSWORD": "p@ss"}


def test_s3_credentials_go_into_the_environment() -> None:
    text = (
        "remote_url: s3://bucket.host\n"
        "extra_config: {s3_region: r, aws_access_key_id: a, aws_secret_access_key: s, s3_num_io_threads: 8}"
    )
    assert adapters(text) == [
        {"type": "s3", "s3_endpoint": "s3://bucket.host", "s3_region": "r", "s3_num_io_threads": 8, "shared": True}
    ]
    assert secrets(read_yaml(text, "my.yaml")) == {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("cache_policy: LFU", "cache_policy: LFU"),
        ("local_disk: /tmp/a,/tmp/b\nmax_local_disk_size: 1", "local_disk with several directories"),
        ("remote_url: lm://host:65432", "remote_url: lm://host:65432"),
        ("remote_url: rediss://me:secret@host:6380", "remote_url: rediss://********@host:6380"),
        ("remote_url: redis://host:6380/3", "remote_url: redis://host:6380/3"),
        ("remote_url: valkey://h:1\nextra_config: {valkey_mode: cluster}", "extra_config.valkey_mode"),
        ("enable_blending: true", "enable_blending"),
        ("remote_serde: cachegen", "remote_serde"),
        ("remote_url: redis-sentinel://a:26379,b:26379", "remote_url: redis-sentinel://a:26379,b:26379"),
    ],
)
def test_what_the_server_has_nothing_for_is_named(text: str, lost: str) -> None:
    assert without_counterpart(read_yaml(text, "my.yaml")) == (lost,)


def test_what_makes_no_difference_in_a_server_is_no_obstacle() -> None:
    text = "pre_caching_hash_algorithm: sha256_cbor\nextra_config: {save_chunk_meta: false, of_a_plugin: 1}"
    config = read_yaml(text, "my.yaml")
    assert without_counterpart(config) == ()
    assert without_meaning(config) == ("pre_caching_hash_algorithm",)
    assert unread(config) == ("extra_config.of_a_plugin",)


def test_the_engine_computes_anew_what_cannot_be_read_back() -> None:
    connector = kv_transfer_config(CPU)
    assert connector["kv_load_failure_policy"] == in_process()["kv_load_failure_policy"] == "recompute"
    assert connector["kv_connector_extra_config"]["lmcache.mp.mp_transfer_mode"] == "engine_driven"
    assert kv_transfer_config(CPU, save_decode_cache=True)["kv_connector_extra_config"]["lmcache.mp.save_decode_cache"]


def test_what_a_killed_server_leaves_behind_has_a_name() -> None:
    assert (CPU.shm_file, GPU.shm_file) == ("/dev/shm/lmcache_l1_pool_lmi_5001", "")
