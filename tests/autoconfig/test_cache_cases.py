"""Cache plans for whole machines and models: each folder of `cache_cases` holds a case and what `explain` says to it.

Rewrite an expectation, after reading it, with `PYTHONPATH=. python tests/autoconfig/test_cache_cases.py NAME...`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoconfig.explain import aligned
from autoconfig.explain_cache import cache_rows
from autoconfig.explain_launch import launch_rows
from tests.autoconfig.planned import launch_of, plan_of

CASES = Path(__file__).parent / "cache_cases"


def explained(folder: Path) -> dict[str, str]:
    """Return what `explain` says to a case by the file that expects it: the plan, and where there is one, its start."""
    case = json.loads((folder / "case.json").read_text())
    plan = plan_of(case)
    said = {"expect.txt": _page(cache_rows(plan))}
    if plan.off:
        return said
    launch = launch_of(case)
    return said | {"start.txt": _page(launch_rows(launch)), "lmcache.yaml": launch.yaml}


def _page(rows: Iterator[list[str]]) -> str:
    return "\n".join(line.rstrip() for line in aligned(rows)) + "\n"


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: str(case.name))
def test_what_is_planned_and_why_and_how_it_is_started(case: Path) -> None:
    expected = {file.name: file.read_text() for file in case.iterdir() if file.name != "case.json"}
    assert explained(case) == expected


def test_there_are_enough_of_them() -> None:
    assert len(list(CASES.iterdir())) >= 40


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(case.name for case in CASES.iterdir()):
        for file, text in explained(CASES / name).items():
            (CASES / name / file).write_text(text)
