"""Says why a start could not be decided, in the form its log was to have, as far as that can be made out."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from autoconfig.errors import ConfigErrors
from autoconfig.properties import parse_properties
from autoconfig.sources import gather
from autoconfig.values import merged
from container.console import Console
from container.errors import PreparationError
from container.prepare import look_at


def tell(error: ConfigErrors | PreparationError, environ: Mapping[str, str], model_directory: Path | None) -> None:
    """Print each mistake on a line of its own."""
    if _log_format(environ, model_directory) != "json":
        print(error, file=sys.stderr)
        return
    console = Console("json")
    for line in str(error).splitlines():
        console.say(line, "error")
    console.close()


def _log_format(environ: Mapping[str, str], model_directory: Path | None) -> str:
    properties = None
    with suppress(PreparationError, OSError):
        directory = look_at(model_directory)
        file = directory.properties if directory else None
        properties = parse_properties(file.read_bytes()) if file else None
    said = [given for given in gather(environ, properties).given if given.option.name == "log_format"]
    value = merged(said)[0] if said else None
    return str(value.value) if value else "text"
