"""Runs where LMCache is installed: gives files to LMCache's own loader and arguments to its server's own parser.

Reads {"files": [path...], "arguments": [[...]...]} and prints what each became.
"""

import argparse
import json
import sys
from typing import Any


def loaded(file: str) -> dict[str, Any]:
    from lmcache.v1.config import load_engine_config_with_overrides

    config: dict[str, Any] = load_engine_config_with_overrides(file).to_dict()
    return config


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Return what `lmcache server` would start with (0.5.6: cli/commands/server.py)."""
    from lmcache.cli.commands.server import ServerCommand
    from lmcache.v1.distributed.config import parse_args_to_config
    from lmcache.v1.multiprocess.config import parse_args_to_http_frontend_config, parse_args_to_mp_server_config

    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    ServerCommand().add_arguments(parser)
    said = parser.parse_args(arguments)
    storage = parse_args_to_config(said)
    l1 = storage.l1_manager_config
    return {
        "server": vars(parse_args_to_mp_server_config(said)),
        "http": vars(parse_args_to_http_frontend_config(said)),
        "l1_bytes": l1.memory_config.size_in_bytes,
        "shm_name": l1.memory_config.shm_name,
        "eviction": vars(l1.eviction),
        "policies": [storage.store_policy, storage.prefetch_policy],
        "adapters": [
            {"class": type(adapter).__name__, **vars(adapter), "eviction": vars(adapter.eviction_config or object)}
            for adapter in storage.l2_adapter_config.adapters
        ],
    }


def main() -> None:
    asked = json.load(sys.stdin)
    said = {"files": list(map(loaded, asked["files"])), "arguments": list(map(parsed, asked["arguments"]))}
    print("\n" + json.dumps(said, default=lambda value: type(value).__name__))


if __name__ == "__main__":
    main()
