"""Shows a CacheLaunch: the YAML, the server's command line, the engine's connector and why they are as they are."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from autoconfig.lmcache.config import write_yaml
from autoconfig.lmcache.launch import CacheLaunch
from autoconfig.masking import masked

COMMAND = ("lmcache", "server")


def launch_rows(launch: CacheLaunch) -> Iterator[list[str]]:
    """Yield label and text, a credential nowhere among them."""
    if launch.placement:
        yield ["server", shlex.join((*COMMAND, *launch.arguments))]
        if not launch.placement.port:
            yield ["", "ports 0: free ones, which are chosen at the start"]
        yield ["if that fails", "once more with half the RAM and no disk; then serving goes on without it"]
    else:
        yield ["server", "none: LMCache runs inside the engine's processes"]
    for choice in launch.worker_arguments:
        text = "" if choice.value is True else f"={choice.value}"
        yield ["engine", f"--{choice.name.replace('_', '-')}{text}: {choice.reason}"]
    if launch.disk_directory:
        yield ["disk", f"{launch.disk_directory}, emptied at each start; its name tells models and versions apart"]
    if launch.salt:
        yield ["salt", f"{launch.salt}, as others share the remote tier: model, number format, chunk and versions"]
    if launch.incomplete:
        yield ["not yet", launch.incomplete]
    yield from (["note", note] for note in launch.notes)


def yaml_lines(launch: CacheLaunch) -> Iterator[str]:
    """Yield the YAML as it may be shown."""
    yield from shown_yaml(launch).splitlines()


def shown_yaml(launch: CacheLaunch) -> str:
    """Return the YAML with its secrets masked."""
    config = launch.config
    hidden = replace(
        config,
        remote_url=masked(config.remote_url),
        extra_config=masked(dict(config.extra_config)),
        others=masked(dict(config.others)),
    )
    return write_yaml(hidden)


def launch_document(launch: CacheLaunch) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    return {
        "yaml": shown_yaml(launch),
        "yaml_file": launch.yaml_file,
        "server": [*COMMAND, *launch.arguments] if launch.placement else None,
        "server_environment": masked(dict(launch.environment)),
        "engine_arguments": {choice.name: choice.value for choice in launch.worker_arguments},
        "connector": json.loads(json.dumps(launch.connector)),
        "disk_directory": launch.disk_directory,
        "salt": launch.salt,
        "incomplete": launch.incomplete,
        "notes": list(launch.notes),
    }
