"""Translates the tiers below RAM, a disk and a remote store, into LMCache's `--l2-adapter` objects and back."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from autoconfig.engine_cache import GIB
from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.watermark import slack

_REDIS_PORT = 6379

# What the client for Redis and Valkey alike is not made for (TLS, clusters, several databases) has no counterpart.
_STORE_OF_SCHEME = {"redis": "resp", "resp": "resp", "valkey": "resp", "s3": "s3", "fs": "fs"}
# extra_config's keys by the adapter's; where a key is not given, the adapters' defaults are those in process.
_DISK = {"disk_io_threads": "num_workers", "use_odirect": "use_odirect"}
_STORES = {
    "resp": {"resp_num_threads": "num_workers", "valkey_num_workers": "num_workers"},
    "s3": {
        name: name for name in "s3_num_io_threads s3_prefer_http2 s3_region s3_enable_s3express disable_tls".split()
    },
    "fs": {
        "fs_connector_relative_tmp_dir": "relative_tmp_dir",
        "fs_connector_read_ahead_size": "read_ahead_size",
        "fs_connector_use_odirect": "use_odirect",
    },
}
# LMCache's own for these, resp, waits for ever where one hangs or has evicted an entry.
_REDIS_CLIENT = {"type": "native_plugin", "module_path": "container.cache_store", "class_name": "RedisStore"}
# Given to the server in its environment: arguments can be read by everybody on the machine.
_SECRETS = {
    "username": "LMCACHE_RESP_USERNAME",
    "valkey_username": "LMCACHE_RESP_USERNAME",
    "password": "LMCACHE_RESP_PASSWORD",
    "valkey_password": "LMCACHE_RESP_PASSWORD",
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
}
TRANSLATED = {*_DISK, *_SECRETS, *(name for names in _STORES.values() for name in names)}
"""Keys of extra_config that have a counterpart."""


def adapters(config: LMCacheConfig, stored_bytes: float) -> Iterator[dict[str, Any]]:
    """Yield an object for each tier below RAM: a disk, bounded by eviction, and a store others may share.

    `stored_bytes` is what may come before LMCache notices that a disk is full.
    """
    if config.local_disk:
        yield {
            "type": "fs_native",
            "base_path": config.local_disk,
            "max_capacity_gb": config.max_local_disk_size,
            **_renamed(config.extra_config, _DISK),
            "eviction": _eviction(config.max_local_disk_size, stored_bytes),
        }
    if config.remote_url and (store := store_of(config.remote_url)):
        found = {**_located(store, urlsplit(config.remote_url)), **_renamed(config.extra_config, _STORES[store])}
        yield {**({**_REDIS_CLIENT, "adapter_params": found} if store == "resp" else found), "shared": True}


def _eviction(size_gib: float, stored_bytes: float) -> dict[str, Any]:
    """Bound a disk; without this LMCache counts what it holds, and bounds nothing (0.5.6: fs_native_l2_adapter.py)."""
    free = slack(size_gib * GIB, stored_bytes)
    return {"eviction_policy": "LRU", "trigger_watermark": round(1 - free, 2), "eviction_ratio": free}


def _located(store: str, url: SplitResult) -> dict[str, Any]:
    if store == "resp":
        return {"host": url.hostname, "port": url.port or _REDIS_PORT}
    if store == "s3":
        return {"type": "s3", "s3_endpoint": f"s3://{url.netloc}"}
    return {"type": "fs_native", "base_path": url.path}


def _renamed(extra: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[key]: value for key, value in extra.items() if key in names}


def store_of(remote_url: str) -> str:
    """Return which store of LMCache's server a `remote_url` names; empty where the server has none for it."""
    url = urlsplit(remote_url)
    store = _STORE_OF_SCHEME.get(url.scheme, "")
    database = store == "resp" and url.path.strip("/") not in ("", "0")
    inside_a_bucket = store == "s3" and url.path.strip("/")
    return "" if database or inside_a_bucket or "," in remote_url else store


def secrets(config: LMCacheConfig) -> dict[str, str]:
    """Return the credentials of a remote store as variables of the server's environment."""
    found = {_SECRETS[key]: str(value) for key, value in config.extra_config.items() if key in _SECRETS}
    url = urlsplit(config.remote_url or "")
    for variable, text in (("LMCACHE_RESP_USERNAME", url.username), ("LMCACHE_RESP_PASSWORD", url.password)):
        if text:
            found[variable] = unquote(text)
    return found


def read(adapter: Mapping[str, Any]) -> dict[str, Any]:
    """Turn one of our objects back into keys of the YAML, `extra_config` among them."""
    kind = adapter["type"]
    if "eviction" in adapter:
        tier = {"local_disk": adapter["base_path"], "max_local_disk_size": adapter["max_capacity_gb"]}
        return {**tier, "extra_config": _named_back(adapter, _DISK)}
    if kind == "fs_native":
        url, names = f"fs://localhost:0{adapter['base_path']}", _STORES["fs"]
    elif kind == "s3":
        url, names = adapter["s3_endpoint"], _STORES["s3"]
    else:
        adapter = adapter["adapter_params"]
        url, names = f"resp://{_bracketed(adapter['host'])}:{adapter['port']}", _STORES["resp"]
    return {"remote_url": url, "extra_config": _named_back(adapter, names)}


def _named_back(adapter: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    # Of two names for one thing, the first is LMCache's usual one.
    back = {theirs: ours for ours, theirs in reversed(list(names.items()))}
    return {back[key]: value for key, value in adapter.items() if key in back}


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
