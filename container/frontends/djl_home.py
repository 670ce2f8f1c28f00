"""Finds a Java machine and DJL Serving's jars, or says in one line what is missing."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

USUAL_HOME = Path("/opt/djl-serving")
"""Where the image has DJL Serving; LMI_DJL_SERVING names another place."""


@dataclass(frozen=True, slots=True)
class DjlServing:
    """DJL Serving as this machine has it."""

    java: str
    home: Path
    """Its jars are in `lib`, its plugins in `plugins`."""
    problem: str = ""
    """Why it cannot be started, in one line; empty where it can."""


def find(environ: Mapping[str, str]) -> DjlServing:
    """Look for what the variables LMI_DJL_SERVING, JAVA_HOME and PATH name."""
    home = Path(environ.get("LMI_DJL_SERVING") or USUAL_HOME)
    java = _java(environ)
    problem = ""
    if java is None:
        problem = "option.frontend=djl needs Java 17, and there is none in JAVA_HOME or PATH"
    elif next((home / "lib").glob("*.jar"), None) is None:
        problem = f"option.frontend=djl needs DJL Serving, and there are no jars in {home}/lib (LMI_DJL_SERVING)"
    return DjlServing(java or "java", home, problem)


def _java(environ: Mapping[str, str]) -> str | None:
    if home := environ.get("JAVA_HOME"):
        return shutil.which(str(Path(home, "bin", "java")))
    return shutil.which("java", path=environ.get("PATH", os.defpath))
