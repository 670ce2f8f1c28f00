from pathlib import Path

import jsonschema
import pytest

from autoconfig.options import table
from autoconfig.properties import parse_properties
from autoconfig.schema import PAGES, json_schema, main
from tests.autoconfig.configured import resolved
from tests.autoconfig.hosts import FOUR_GPUS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_what_the_table_says(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), "make docs"


def test_a_stale_page_is_named_and_then_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "autoconfig").mkdir()
    assert main(["--check"]) == 1
    assert "OPTIONS.md is out of date: make docs" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_every_line_of_the_example_is_taken_when_it_is_uncommented() -> None:
    lines = PAGES["serving.properties.example"]().splitlines()
    uncommented = "\n".join(line[1:] if line.startswith("#option.") else line for line in lines)
    assert len(parse_properties(uncommented.encode()).properties) > 30
    assert resolved(uncommented, FOUR_GPUS).values["dtype"].given


def test_every_option_is_on_the_page_with_all_its_names() -> None:
    page = PAGES["OPTIONS.md"]()
    for option in table().options.values():
        spellings = (*option.environment, *option.overrides, *option.server_keys, *option.fallback)
        for name in (*(f"option.{name}" for name in option.names), *(spelling.name for spelling in spellings)):
            assert f"`{name}`" in page


def test_the_schema_is_one_and_takes_and_refuses_what_the_container_does() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    takes = jsonschema.Draft202012Validator(schema)
    good = {"option.tensor_parallel_degree": "max", "option.dtype": "fp16", "option.custom.x": [1], "option.seed": 1}
    assert takes.is_valid(good)
    for bad in (
        {"option.max_modle_len": 1},
        {"option.drain_timeout": 60},
        {"option.enforce_eager": "x"},
        {"option.host": "x"},
    ):
        assert not takes.is_valid(bad)
