"""A caller's `cache_salt` into the one the engine keeps KV cache entries under: entries of two salts are never shared.

What reaches vLLM is a digest, so a caller may use any text: vLLM 0.32 refuses `/` and `@` in salts, which LMCache
writes into file names, and a raw one could be made to look like another tenant's.
"""

import hashlib
from typing import Any

import orjson

from handlers.errors import RequestError

MAX_LENGTH = 1024
"""Characters of a caller's salt."""
_DIGEST_LENGTH = 32
"""128 bits as hexadecimal digits: LMCache's file names carry the salt beside the model's path, in 255 bytes."""


def hashed(salt: Any, name: str = "cache_salt") -> str:
    """Return the digest of a caller's salt; raise RequestError (400) for what is not a text of bounded length."""
    if not isinstance(salt, str) or len(salt) > MAX_LENGTH:
        raise RequestError(400, f"{name} must be a string of at most {MAX_LENGTH} characters.", name)
    return _digest("caller", salt)


def with_salt_hashed(payload: dict[str, Any], text: bytes) -> bytes:
    """Return the body's text with `cache_salt` hashed, in `payload` too; without a salt it is the text as it came."""
    salt = payload.get("cache_salt")
    if salt is None:
        return text
    payload["cache_salt"] = hashed(salt)
    return orjson.dumps(payload)


def combined(tier_salt: str, adapter: str, request_salt: str | None) -> str | None:
    """Return the salt of a request's entries: of its tiers (CacheSettings.salt), its adapter's revision, its caller."""
    if not tier_salt and not adapter:
        return request_salt
    return _digest("tier", tier_salt, adapter, request_salt or "")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST_LENGTH]
