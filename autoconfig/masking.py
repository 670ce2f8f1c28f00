"""Hides secrets wherever configuration is shown: by option, by the words in a variable's name, and inside JSON."""

import re
from typing import Any

MASK = "********"

_SECRET_WORDS = {"token", "secret", "password", "passwd", "pass", "pwd", "key", "apikey", "credential", "credentials"}
# Hugging Face's and AWS's own, wherever they turn up
_KNOWN_SHAPES = re.compile(r"\b(hf_[A-Za-z0-9]{6,}|(?:AKIA|ASIA)[A-Z0-9]{12,})\b")
_USER_IN_ADDRESS = re.compile(r"(\w+://)[^/\s:@]*:[^/\s@]+@")


def is_secret(name: str) -> bool:
    """Say whether a name speaks of a secret: AWS_SECRET_ACCESS_KEY does, max_new_tokens does not."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name)
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z]+", words.lower()))


def masked(value: Any, name: str = "") -> Any:
    """Return the value with every secret in it replaced, JSON objects and lists included."""
    if name and is_secret(name) and value not in (None, "", True, False):
        return MASK
    if isinstance(value, dict):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return _masked_text(value) if isinstance(value, str) else value


def _masked_text(text: str) -> str:
    text = _KNOWN_SHAPES.sub(MASK, _USER_IN_ADDRESS.sub(rf"\1{MASK}@", text))
    # "access_key": "abc" in JSON, and API_KEY=abc in option.env
    text = re.sub(r'"([^"\\]+)"(\s*:\s*)"((?:[^"\\]|\\.)*)"', lambda m: _pair(m, f'"{MASK}"'), text)
    return re.sub(r"\b(\w+)(=)([^\s,]+)", lambda m: _pair(m, MASK), text)


def _pair(match: re.Match[str], mask: str) -> str:
    quoted = '"' if mask.startswith('"') else ""
    return f"{quoted}{match[1]}{quoted}{match[2]}{mask}" if is_secret(match[1]) else match[0]
