"""Turns the options of stateful sessions into what the worker is told of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoconfig.errors import BadValueError, ConfigError
from autoconfig.options import sessions, table
from autoconfig.settings import SessionSettings
from autoconfig.values import Value

SWITCH = "enable_stateful_sessions"


def enabled(values: Mapping[str, Value]) -> bool:
    """Say whether sessions were asked for."""
    return bool(_said(values, SWITCH))


def contradictions(values: Mapping[str, Value]) -> Iterator[ConfigError]:
    """Find a directory that depends on where the container happens to be started."""
    path = values.get("sessions_path")
    if path and path.given and not path.value.startswith("/"):
        yield BadValueError(f"{path} is not an absolute directory.")


def remarks(values: Mapping[str, Value]) -> Iterator[str]:
    """Say a line about what is given and changes nothing."""
    if enabled(values):
        return
    for option in sessions.OPTIONS:
        if option.name != SWITCH and (value := values.get(option.name)) and value.given:
            yield f"{value}: no effect without option.{SWITCH}=true"


def settings(values: Mapping[str, Value], usual_directory: str) -> SessionSettings | None:
    """Return None where sessions are off, as they are by default."""
    if not enabled(values):
        return None
    return SessionSettings(
        directory=_said(values, "sessions_path") or usual_directory,
        expiration_seconds=_said(values, "sessions_expiration"),
        sliding=_said(values, "sessions_sliding"),
        limit=_said(values, "max_sessions"),
    )


def _said(values: Mapping[str, Value], name: str) -> Any:
    return values[name].value if name in values else table().options[name].default
