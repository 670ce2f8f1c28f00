"""Whole configurations: each folder of `cases` holds what was configured, the host, and what `explain` says to it.

A case with a `model` folder has files beside its configuration; another has at most the model's config.json.

Rewrite an expectation, after reading it, with `PYTHONPATH=. python tests/autoconfig/test_cases.py NAME...`.
"""

import json
import sys
from pathlib import Path

import pytest

from autoconfig.errors import ConfigErrors
from autoconfig.explain import render
from autoconfig.host import HostFacts
from autoconfig.launch import plan_worker
from autoconfig.model import ModelConfig, ModelDirectory, look
from autoconfig.properties import parse_properties
from autoconfig.resolve import resolve

CASES = Path(__file__).parent / "cases"


def explained(case: Path) -> str:
    """Return what is printed for a folder; without a file in it, nothing was given."""
    file = (case / "model" if (case / "model").is_dir() else case) / "serving.properties"
    properties = parse_properties(file.read_bytes()) if file.exists() else None
    host = HostFacts.from_json(json.loads((case / "host.json").read_text()))
    lines = (case / "env").read_text().splitlines() if (case / "env").exists() else []
    environ = dict(line.split("=", 1) for line in lines)
    try:
        resolution = resolve(environ, properties, host, _directory(case))
    except ConfigErrors as errors:
        return _moved(f"{errors}\n", case)
    model = resolution.settings.model or "/cache/SmolLM2-135M-Instruct"
    page = render(resolution, plan_worker(resolution, environ, model=model, run_directory="/run/lmi"))
    return _moved(f"{page}\n", case)


def _moved(text: str, case: Path) -> str:
    """Write the folder's `model` as where SageMaker puts one, wherever the tests are."""
    return text.replace(str(case / "model"), "/opt/ml/model")


def _directory(case: Path) -> ModelDirectory | None:
    if (case / "model").is_dir():
        return look(case / "model")
    config = case / "config.json"
    if not config.exists():
        return None
    names = ("config.json", "model.safetensors")
    return ModelDirectory(Path("/opt/ml/model"), names, 1 << 30, ModelConfig.read(json.loads(config.read_text())))


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: str(case.name))
def test_what_explain_says(case: Path) -> None:
    assert explained(case) == (case / "expect.txt").read_text()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        (CASES / name / "expect.txt").write_text(explained(CASES / name))
