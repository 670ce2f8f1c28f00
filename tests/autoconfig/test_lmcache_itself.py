"""What LMCache itself makes of our files and arguments: its own loader, its own parser, and its own table of keys."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from autoconfig.lmcache.config import read_yaml
from autoconfig.lmcache.schema import schema
from autoconfig.lmcache.server import Placement, server_arguments
from tests.autoconfig.planned import launch_of

ROOT = Path(__file__).parents[2]
CASES = [
    json.loads((case / "case.json").read_text())
    for case in sorted((Path(__file__).parent / "cache_cases").iterdir())
    if (case / "lmcache.yaml").exists()
]
STORES = [
    "remote_url: redis://host:6379\nextra_config: {resp_num_threads: 4}",
    "remote_url: valkey://host:6379",
    "remote_url: s3://bucket.host\nextra_config: {s3_region: eu-west-1, s3_prefer_http2: false, disable_tls: true}",
    "remote_url: fs://localhost:0/mnt/efs\nextra_config: {fs_connector_use_odirect: true}",
    "local_cpu: false\nlocal_disk: /tmp/kv\nmax_local_disk_size: 20",
]

pytestmark = pytest.mark.skipif(find_spec("lmcache") is None, reason="LMCache is not installed")


def python(*arguments: str, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "LMCACHE_TRACK_USAGE": "false", "LMCACHE_LOG_LEVEL": "ERROR"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_committed_table_is_what_the_installed_lmcache_says() -> None:
    said = python("tests/autoconfig/lmcache_keys.py", "--print")
    assert said == (ROOT / "autoconfig" / "lmcache" / "keys.json").read_text(encoding="utf-8")


def test_lmcache_reads_our_files_and_arguments_as_we_mean_them(tmp_path: Path) -> None:
    launches = [launch_of(case) for case in CASES]
    files = [tmp_path / f"{number}.yaml" for number in range(len(launches))]
    for file, launch in zip(files, launches, strict=True):
        file.write_text(launch.yaml)
    placement = Placement(5001, 5002, "engine_driven")
    stores = [server_arguments(read_yaml(text, "my.yaml"), placement) for text in STORES]
    asked = {"files": list(map(str, files)), "arguments": [*(launch.arguments for launch in launches), *stores]}
    said: dict[str, Any] = json.loads(
        python("tests/autoconfig/lmcache_itself.py", given=json.dumps(asked)).split("\n")[-2]
    )

    for launch, loaded in zip(launches, said["files"], strict=True):
        config = launch.config
        extra = loaded["extra_config"] or {}
        assert (loaded["chunk_size"], loaded["local_cpu"]) == (config.chunk_size, True)
        assert (loaded["max_local_cpu_size"], loaded["local_disk"]) == (config.max_local_cpu_size, config.local_disk)
        assert (loaded["max_local_disk_size"], extra) == (config.max_local_disk_size, config.extra_config)
        given = {"chunk_size", "local_cpu", "max_local_cpu_size", "local_disk", "max_local_disk_size", "extra_config"}
        rest = set(schema().keys) - given - {"lmcache_instance_id", "pd_allocation_timeout_sec"}
        assert {name: loaded[name] for name in rest} == {name: schema().keys[name].default for name in rest}

    for launch, parsed in zip(launches, said["arguments"], strict=False):
        assert parsed["l1_bytes"] == launch.cpu_bytes
        assert parsed["server"]["chunk_size"] == launch.config.chunk_size
        assert (parsed["server"]["host"], parsed["server"]["port"]) == ("127.0.0.1", 5001)
        assert parsed["http"] == {"http_host": "127.0.0.1", "http_port": 5002}
        assert parsed["eviction"]["eviction_policy"] == "LRU"
        kept = parsed["eviction"]["trigger_watermark"] * launch.cpu_bytes
        assert kept == pytest.approx(launch.kept_bytes[0], abs=1)
        if launch.config.local_disk:
            (disk,) = parsed["adapters"]
            assert disk["class"] == "FSNativeL2AdapterConfig"
            assert (disk["base_path"], disk["max_capacity_gb"]) == (
                launch.disk_directory,
                launch.config.max_local_disk_size,
            )
            assert disk["eviction"]["eviction_policy"] == "LRU"
            kept = disk["eviction"]["trigger_watermark"] * launch.disk_bytes
            assert kept == pytest.approx(launch.kept_bytes[1], abs=1)
            assert parsed["policies"] == ["default", "retain"]

    remotes = [parsed["adapters"][0] for parsed in said["arguments"][len(launches) :]]
    assert [(one["class"], one["shared"]) for one in remotes] == [
        ("NativePluginL2AdapterConfig", True),
        ("NativePluginL2AdapterConfig", True),
        ("S3L2AdapterConfig", True),
        ("FSNativeL2AdapterConfig", True),
        ("FSNativeL2AdapterConfig", False),
    ]
    assert said["arguments"][-1]["policies"] == ["skip_l1", "default"]
