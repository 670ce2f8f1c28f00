"""Writes the whole environment of the cache server, which it shows to whoever asks on its port, and the engine's."""

from collections.abc import Iterator, Mapping

from autoconfig.lmcache.adapters import secrets, store_of
from autoconfig.lmcache.config import LMCacheConfig
from autoconfig.recommend import Recommendation

# What a program and CUDA's libraries need; nothing that might be a secret.
_ANY = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "PYTHONPATH",
    "TZ",
)
# boto3's, by which a server that keeps entries on S3 finds its credentials; a proxy and certificates for any network.
_AWS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE")
_REDIS = ("LMCACHE_RESP_USERNAME", "LMCACHE_RESP_PASSWORD")

_PRIVATE = "LMCache would report model and hardware to its makers, in plain HTTP"
_QUIET = (
    Recommendation("LMCACHE_TRACK_USAGE", "false", _PRIVATE),
    Recommendation("DO_NOT_TRACK", "1", _PRIVATE),
    Recommendation("LMCACHE_DISABLE_BANNER", "1", "no advertisement in the log"),
    Recommendation("PYTHONHASHSEED", "0", "LMCache's processes must hash alike"),
)


def server_environment(config: LMCacheConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the server's complete environment; of the container's own only what it is known to need."""
    names = [*_ANY]
    if store := store_of(config.remote_url or ""):
        names += {"s3": (*_AWS, *_NETWORK), "resp": _REDIS, "fs": ()}[store]
    kept = {name: environ[name] for name in names if environ.get(name)}
    ours = {addition.name: addition.value for addition in _QUIET}
    return {**kept, "PYTHONUNBUFFERED": "1", "LMCACHE_LOG_LEVEL": "WARNING", **ours, **secrets(config)}


def worker_variables(*, yaml_file: str = "") -> Iterator[Recommendation]:
    """Yield what the engine's processes find in theirs; `yaml_file` where LMCache runs inside them."""
    yield from _QUIET
    yield Recommendation("LMCACHE_LOG_LEVEL", "WARNING", "it logs every request")
    reason = "LMCache's llvmlite, imported in vLLM's one process, breaks its search for kernels"
    yield Recommendation("VLLM_ENABLE_V1_MULTIPROCESSING", "1", reason)
    if yaml_file:
        yield Recommendation("LMCACHE_CONFIG_FILE", yaml_file, "LMCache runs inside the engine's processes")
