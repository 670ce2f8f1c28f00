"""Cache plans for whole machines and models: each folder of `cache_cases` holds a case and what `explain` says to it.

Rewrite an expectation, after reading it, with `PYTHONPATH=. python tests/autoconfig/test_cache_cases.py NAME...`.
"""

import json
import sys
from pathlib import Path

import pytest

from autoconfig.explain import aligned
from autoconfig.explain_cache import cache_rows
from tests.autoconfig.planned import plan_of

CASES = Path(__file__).parent / "cache_cases"


def explained(case: Path) -> str:
    plan = plan_of(json.loads((case / "case.json").read_text()))
    return "\n".join(line.rstrip() for line in aligned(cache_rows(plan))) + "\n"


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: str(case.name))
def test_what_is_planned_and_why(case: Path) -> None:
    assert explained(case) == (case / "expect.txt").read_text()


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(case.name for case in CASES.iterdir()):
        (CASES / name / "expect.txt").write_text(explained(CASES / name))
