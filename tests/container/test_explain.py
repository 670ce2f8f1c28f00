"""What `explain` says about the start; a case is a folder of `environ`, perhaps a `model`, and `expect.txt`."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from container.explain import explain
from container.prepare import LaunchPlan, prepare

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())


def planned(case: Path, home: Path) -> LaunchPlan:
    environ = dict(line.split("=", 1) for line in (case / "environ").read_text().splitlines())
    model = case / "model"
    return prepare({"HOME": str(home), **environ}, model if model.is_dir() else None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_start_is_explained(case: Path, tmp_path: Path) -> None:
    page = explain(planned(case, tmp_path), as_json=False)
    start = page[page.index("\nStart\n") + 1 :]
    for text, name in ((str(case), "CASE"), (str(tmp_path), "HOME"), (sys.executable, "PYTHON")):
        start = start.replace(text, f"<{name}>")
    start = re.sub(r"/[0-9a-f]{16}", "/<DIGEST>", start).replace(f"/lmi-{os.geteuid()}-", "/lmi-<UID>-")
    assert start + "\n" == (case / "expect.txt").read_text()


def test_the_json_says_the_same(tmp_path: Path) -> None:
    plan = planned(CASES[0], tmp_path)
    start = json.loads(explain(plan, as_json=True))["start"]
    page = explain(plan, as_json=False)
    assert all(text in page for text in start.values())
