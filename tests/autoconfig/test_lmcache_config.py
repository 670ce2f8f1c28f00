"""LMCache's YAML: every mistake found at once with its line, and what is written is what is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoconfig.errors import ConfigErrors
from autoconfig.lmcache.config import LMCacheConfig, in_gib, read_yaml, write_yaml
from autoconfig.lmcache.schema import schema
from tests.autoconfig.hosts import GIB

FULL = """\
# A disk below RAM.
chunk_size: 256
local_cpu: true
max_local_cpu_size: 5
local_disk: "file:///tmp/lmcache/"
max_local_disk_size: 20.5
remote_serde: "naive"
extra_config:
  use_odirect: true
"""


def mistakes(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read_yaml(text, "my.yaml", environ)
    return str(caught.value).splitlines()


def test_a_file_is_read_and_what_it_leaves_out_is_lmcaches_default() -> None:
    config = read_yaml(FULL, "my.yaml")
    assert config == LMCacheConfig(
        max_local_cpu_size=5.0, local_disk="/tmp/lmcache/", max_local_disk_size=20.5, extra_config={"use_odirect": True}
    )
    assert read_yaml("", "my.yaml") == LMCacheConfig()
    assert {name: schema().keys[name].default for name in ("chunk_size", "local_cpu", "max_local_cpu_size")} == {
        "chunk_size": LMCacheConfig().chunk_size,
        "local_cpu": LMCacheConfig().local_cpu,
        "max_local_cpu_size": LMCacheConfig().max_local_cpu_size,
    }


def test_every_mistake_is_found_at_once_and_says_where() -> None:
    text = """\
chunk_sze: 256
local_cpu: 1
max_local_cpu_size: "5"
local_disk: /tmp/x
cache_policy: lru
chunk_size: 256
chunk_size: 512
extra_config: {use_odirct: true, my_plugin_key: 1}
"""
    assert mistakes(text) == [
        "my.yaml:1: LMCache has no key chunk_sze; did you mean chunk_size?",
        "my.yaml:2: local_cpu must be true or false, and is 1.",
        "my.yaml:3: max_local_cpu_size must be a number, and is '5'.",
        "my.yaml:5: cache_policy must be one of LRU, LFU, FIFO, MRU, and is 'lru'.",
        "my.yaml:7: chunk_size was given before, at my.yaml:6.",
        "my.yaml:8: LMCache reads no extra_config.use_odirct; did you mean use_odirect or use_direct_io?",
        "my.yaml:4: local_disk needs max_local_disk_size, its GiB, above 0.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chunk_size: [", "my.yaml:1: expected the node content, but found '<stream end>'."),
        ("- chunk_size", "my.yaml must be a mapping of LMCache's keys to values."),
        ("chunk_size: !!python/object:os.system x", "could not determine a constructor for the tag"),
        ("chunk_size: true", "chunk_size must be a whole number, and is True."),
        ("max_local_cpu_size: 0", "max_local_cpu_size must be above 0"),
        ("local_cpu: false", "there is no local_disk or remote_url to keep anything in"),
        ("remote_url: redis:6379", "remote_url must be an address as redis://host:6379, and is 'redis:6379'."),
        ("remote_url: redis://h:x", "remote_url must be an address"),
        ("remote_url: s3://bucket.host", "a remote_url on S3 needs extra_config.s3_region."),
        ("remote_url: fs://host:0", "write fs://localhost:0/the/directory."),
    ],
)
def test_what_cannot_be_is_said(text: str, said: str) -> None:
    assert said in mistakes(text)[0]


def test_a_password_in_an_address_is_not_shown_with_the_mistake() -> None:
    for user in ("me", ""):
        assert "hunter2" not in mistakes(f"remote_url: redis://{user}:hunter2@host:sixty")[0]


def test_what_lmcaches_own_plugins_read_is_no_slip() -> None:
    text = "local_cpu: false\nremote_storage_plugins: [fs]\nextra_config: {remote_storage_plugin.fs.base_path: /kv}\n"
    assert read_yaml(text, "my.yaml").others == {"remote_storage_plugins": ["fs"]}


def test_former_names_are_read_and_remarked() -> None:
    config = read_yaml("external_backends: a,b\nmax_local_cpu_size: 1\n", "my.yaml")
    assert config.others == {"storage_plugins": ["a", "b"]}
    assert config.notes == ("my.yaml:1: external_backends is now called storage_plugins; LMCache ignores the old name",)


def test_variables_overrule_the_file_as_they_do_in_lmcache() -> None:
    environ = {"LMCACHE_CHUNK_SIZE": "512", "LMCACHE_MAX_LOCAL_CPU_SIZE": "2.5", "LMCACHE_TRACK_USAGE": "true"}
    config = read_yaml("chunk_size: 256", "my.yaml", environ)
    assert (config.chunk_size, config.max_local_cpu_size) == (512, 2.5)
    assert config.notes == ("LMCACHE_CHUNK_SIZE overrules chunk_size at my.yaml:1",)
    assert mistakes("", LMCACHE_LOCAL_CPU="maybe") == [
        "LMCACHE_LOCAL_CPU: local_cpu must be true or false, and is 'maybe'."
    ]


def test_a_key_at_its_default_is_no_further_key_and_that_is_said() -> None:
    config = read_yaml("max_local_cpu_size: 1\nremote_serde: naive\nsave_unfull_chunk: false\n", "my.yaml")
    assert config.others == {}
    assert config.notes == (
        "my.yaml:2: remote_serde is LMCache's default, and left out",
        "my.yaml:3: save_unfull_chunk is LMCache's default, and left out",
    )
    assert read_yaml("save_unfull_chunk: true\n", "my.yaml").others == {"save_unfull_chunk": True}


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_: #'\"é", min_size=1, max_size=20)
sizes = st.integers(1, 10**6).map(lambda tenths: tenths / 10)


@given(
    config=st.builds(
        LMCacheConfig,
        chunk_size=st.integers(1, 10**5),
        local_cpu=st.just(value=True),
        max_local_cpu_size=sizes,
        local_disk=names.map(lambda name: f"/tmp/{name.strip()}x"),
        max_local_disk_size=sizes,
        cache_policy=st.sampled_from(["LRU", "LFU", "FIFO", "MRU"]),
        remote_url=st.none() | st.just("redis://host:6379"),
        save_decode_cache=st.booleans(),
        extra_config=st.dictionaries(st.sampled_from(["use_odirect", "s3_region"]), st.booleans() | names),
        others=st.sampled_from([{}, {"numa_mode": "auto"}, {"min_retrieve_tokens": 7, "retrieve_locations": ["a"]}]),
    )
)
def test_what_is_written_is_what_is_read(config: LMCacheConfig) -> None:
    assert read_yaml(write_yaml(config), "my.yaml") == config


@given(tenths=st.integers(1, 10**6))
def test_a_size_in_gib_keeps_its_tenth(tenths: int) -> None:
    assert in_gib(tenths * GIB // 10) == tenths / 10
    assert int(in_gib(tenths * GIB // 10) * GIB) <= tenths * GIB // 10 + 1
