"""What we believe of vLLM's arguments, held against the vLLM that is installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoconfig.kinds import Kind
from autoconfig.options import Option, table
from tests.autoconfig.configured import launched, resolved
from tests.autoconfig.hosts import FOUR_GPUS

ROOT = Path(__file__).parents[2]

SAMPLES = {
    Kind.BOOL: "true",
    Kind.FLAG: "true",
    Kind.INT: "3",
    Kind.HUMAN_INT: "8k",
    Kind.MODEL_LENGTH: "32k",
    Kind.FLOAT: "0.5",
    Kind.TEXT: "-some.text",
    Kind.TEXT_OR_JSON: '{"some": {"nested": 1}}',
    Kind.LIST: "first.one,second",
    Kind.INT_LIST: "1,2",
    Kind.JSON_OBJECT: "{}",
    Kind.JSON_LIST: '["first"]',
}
# Where vLLM asks for more than the kind says.
SAMPLE_OF = {
    "enable_auto_tool_choice": "false",
    "lora_modules": "first=/adapters/first,second=/adapters/second",
    "kv_transfer_config": '{"kv_connector": "X", "kv_role": "kv_both"}',
}
# What vLLM turns into an object of its own, or splits; that it takes the text is what counts.
OBJECTS = {"lora_modules", "device_ids"}


def sample(option: Option) -> str:
    if option.choices:
        return str(option.choices[-1])
    return SAMPLE_OF.get(option.engine, SAMPLES[option.kind])


ENGINE_OPTIONS = [
    option for option in table().options.values() if option.engine and not option.refused and not option.note
]


def tokens(option: Option) -> list[str]:
    lora = "" if option.name == "enable_lora" else "option.enable_lora=true\n"  # without it some are not handed on
    plan = launched(resolved(f"{lora}option.{option.name}={sample(option)}", FOUR_GPUS)).plan
    flag = f"-{option.engine.replace('_', '-')}"
    start = next(i for i, token in enumerate(plan.engine_arguments) if token.partition("=")[0].endswith(flag))
    rest = plan.engine_arguments[start + 1 :]
    end = next((i for i, token in enumerate(rest) if token.startswith("--")), len(rest))
    return [plan.engine_arguments[start], *rest[:end]]


@pytest.mark.parametrize("option", ENGINE_OPTIONS, ids=lambda option: str(option.name))
def test_every_vllm_argument_is_taken_by_all_three_names(option: Option) -> None:
    text = sample(option)
    expected = resolved(f"option.{option.name}={text}", FOUR_GPUS).values[option.name].value
    for variable in (f"OPTION_{option.engine.upper()}", f"SM_VLLM_{option.engine.upper()}"):
        assert resolved(host=FOUR_GPUS, **{variable: text}).values[option.name].value == expected


@pytest.mark.engine
def test_the_committed_table_is_what_the_installed_vllm_says() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "handlers.engine_arguments", "--print"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    assert said == (ROOT / "autoconfig" / "engine_args.json").read_text(encoding="utf-8")


@pytest.mark.engine
def test_vllms_own_parser_makes_of_our_tokens_what_we_mean() -> None:
    given = {option.engine: tokens(option) for option in ENGINE_OPTIONS}
    said = subprocess.run(
        [sys.executable, "tests/autoconfig/vllm_parser.py"],
        cwd=ROOT,
        input=json.dumps(given).encode(),
        capture_output=True,
        check=True,
    ).stdout
    made: dict[str, Any] = json.loads(said)
    meant = {
        option.engine: resolved(f"option.{option.name}={sample(option)}", FOUR_GPUS).values[option.name].value
        for option in ENGINE_OPTIONS
    }
    assert {name: value for name, value in made.items() if str(value).startswith("refused")} == {}
    # A JSON object may have become one of vLLM's dataclasses, of which only the name is told.
    assert {
        name: (value, meant[name])
        for name, value in made.items()
        if value != meant[name] and name not in OBJECTS and not isinstance(meant[name], dict)
    } == {}
