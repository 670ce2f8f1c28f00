"""Turns the pinned LMCache's definitions into `autoconfig/lmcache/keys.json`, by which files are checked without it.

`python tests/autoconfig/lmcache_keys.py` writes the file, `--print` shows it; a test compares the two.
"""

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_origin

TABLE = Path(__file__).parents[2] / "autoconfig" / "lmcache" / "keys.json"

# extra_config is free-form: what LMCache reads from it is found where it does.
_READS_EXTRA = re.compile(r"""(?:extra_config\.get|get_extra_config_value|extra_config\[)\(?\s*["']([\w.]+)["']""")


def keys() -> dict[str, Any]:
    """Return LMCache's version, each key's kind and default, its deprecated names, and the keys of extra_config."""
    from lmcache.v1 import config

    defined = {name: _describe(said) for name, said in config._CONFIG_DEFINITIONS.items()}
    sources = Path(config.__file__).parents[1].rglob("*.py")
    extra = {name for source in sources for name in _READS_EXTRA.findall(source.read_text(encoding="utf-8"))}
    return {
        "lmcache": version("lmcache"),
        "keys": dict(sorted(defined.items())),
        "deprecated": dict(sorted(config._CONFIG_ALIASES.items())),
        "extra_config": sorted(extra),
    }


def _describe(said: dict[str, Any]) -> dict[str, Any]:
    kind, optional = said["type"], type(None) in get_args(said["type"])
    if optional:
        kind = next(one for one in get_args(kind) if one is not type(None))
    items = get_args(kind)
    name = f"list of {items[0].__name__}" if get_origin(kind) is list and items else (get_origin(kind) or kind).__name__
    default = None if said["default"] == float("inf") else said["default"]
    return {"kind": name, "optional": optional or default is None, "default": default}


def main() -> None:
    text = json.dumps(keys(), indent=1) + "\n"
    if sys.argv[1:] == ["--print"]:
        print(text, end="")
    else:
        TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
