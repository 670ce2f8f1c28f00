"""tests/defects.md names only tests that exist, and each test that carries a row's number is named in that row."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = 27
NAMED = re.compile(r"`(?P<test>(?P<file>tests/\S+?)::\w+)(\[(?P<case>\w+)\])?`")


@cache
def rows() -> dict[int, str]:
    _, *found = re.split(r"^(?=\d+\. )", (ROOT / "tests/defects.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {int(row.partition(".")[0]): row for row in found}


@cache
def existing() -> frozenset[str]:
    """Return every test there is."""
    return frozenset(
        f"{path.relative_to(ROOT).as_posix()}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_every_row_names_tests_and_cases_that_exist() -> None:
    assert list(rows()) == list(range(1, ROWS + 1))
    for row in rows().values():
        named = list(NAMED.finditer(row))
        assert len(named) == len(re.findall(r"^ +\* ", row, re.MULTILINE)) > 0, row
        assert [found["test"] for found in named if found["test"] not in existing()] == []
        cases = [(ROOT / found["file"]).parent.glob(f"*/{found['case']}") for found in named if found["case"]]
        assert all(any(folders) for folders in cases), row


def test_a_test_that_carries_a_rows_number_is_named_in_that_row() -> None:
    numbered = [(test, int(row)) for test in existing() for row in re.findall(r"row_(\d+)_", test)]
    assert [test for test, row in numbered if f"`{test}`" not in rows()[row]] == []
    assert numbered
