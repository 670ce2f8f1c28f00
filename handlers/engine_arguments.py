# ruff: noqa: SLF001  argparse offers no public way to look at a finished parser
"""Turns the pinned vLLM's parser into `autoconfig/engine_args.json`, by which options are checked without vLLM.

`python -m handlers.engine_arguments` writes the file, `--print` shows it; a test compares the two.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent.parent / "autoconfig" / "engine_args.json"

# How vLLM 0.32 converts a value (engine/arg_utils.py, utils/argparse_utils.py), by the name of the converting function.
KIND_OF_CONVERTER = {
    "str": "text",
    "int": "int",
    "float": "float",
    "human_readable_int": "human_int",
    "human_readable_int_or_auto": "model_length",
    "loads": "json_object",
    "union_dict_and_str": "text_or_json",
    "_compute_kwargs.<locals>.parse_dataclass": "json_object",
    "EngineArgs.add_cli_args.<locals>.<lambda>": "text",
}


def engine_arguments() -> dict[str, Any]:
    """Return vLLM's version and, for each argument, name, kind, choices, default, group and first line of help."""
    # vLLM attaches help texts only when an argument containing "--help" is present (0.32: engine/arg_utils.py:279).
    sys.argv.append("--help-texts")
    import vllm
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    described = [
        _describe(action, str(group.title))
        for group in parser._action_groups
        for action in group._group_actions
        if action.dest != "help"
    ]
    return {"vllm": vllm.__version__, "arguments": sorted(described, key=lambda entry: str(entry["name"]))}


def _describe(action: argparse.Action, group: str) -> dict[str, Any]:
    kind, optional = _kind(action)
    entry: dict[str, Any] = {"name": action.dest, "kind": kind, "group": group}
    if optional:
        entry["optional"] = True
    if other_names := [name for name in map(_plain_name, action.option_strings) if name and name != action.dest]:
        entry["aliases"] = other_names
    if action.choices is not None:
        entry["choices"] = [choice for choice in action.choices if choice is not None]
    if isinstance(action.default, bool | int | float | str) and action.default not in ("", argparse.SUPPRESS):
        entry["default"] = str(action.default) if isinstance(action.default, str) else action.default
    if action.help and action.help != argparse.SUPPRESS:
        entry["help"] = _first_sentence(action.help)
    return entry


def _kind(action: argparse.Action) -> tuple[str, bool]:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "bool", False
    if isinstance(action, argparse._StoreTrueAction):
        return "flag", False
    converter, optional = _converter_name(action.type)
    kind = KIND_OF_CONVERTER[converter]
    if action.nargs == "+" or isinstance(action, argparse._AppendAction):
        kind = "int_list" if kind == "int" else "list"
    elif kind == "json_object" and isinstance(action.default, list):
        kind = "json_list"
    return kind, optional


def _converter_name(converter: Any) -> tuple[str, bool]:
    """Look through vLLM's optional_type(...) and parse_type(...) closures: `optional_type(int)` -> ("int", True)."""
    name = getattr(converter, "__qualname__", "str") if converter else "str"
    if not name.startswith(("optional_type.", "parse_type.")):
        return name, False
    inner: list[Callable[[str], Any]] = [cell.cell_contents for cell in converter.__closure__]
    return _converter_name(inner[0])[0], name.startswith("optional_type.")


def _plain_name(flag: str) -> str | None:
    """`--max-num-seqs` -> "max_num_seqs"; None for short flags and for the `--no-` half of a boolean."""
    return flag[2:].replace("-", "_") if flag.startswith("--") and not flag.startswith("--no-") else None


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.replace("%%", "%").split("\n\n")[0].split())
    sentence = re.split(r"(?<!e\.g)(?<!i\.e)(?<!vs)\. ", paragraph)[0].rstrip(":.")
    return f"{sentence}."


def as_text(table: dict[str, Any]) -> str:
    """Return the table as the committed file holds it: one argument a line."""
    lines = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in table["arguments"])
    return f'{{"vllm": {json.dumps(table["vllm"])}, "arguments": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    text = as_text(engine_arguments())
    if "--print" in sys.argv:
        sys.stdout.write(text)
    else:
        TABLE.write_text(text, encoding="utf-8")
