"""Runs where vLLM is installed: gives lists of tokens to vLLM's own parser, and prints what it made of each."""

import argparse
import json
import sys
from typing import Any

from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser


class Parser(FlexibleArgumentParser):  # type: ignore[misc]  # vLLM is not followed
    def error(self, message: str) -> Any:
        raise ValueError(message)


def main() -> None:
    parser = make_arg_parser(Parser(allow_abbrev=False))
    made: dict[str, Any] = {}
    for name, tokens in json.load(sys.stdin).items():
        try:
            made[name] = getattr(parser.parse_args(tokens), name)
        except (ValueError, argparse.ArgumentError) as error:
            made[name] = f"refused: {error}"
    print(json.dumps(made, default=lambda value: f"{type(value).__name__}"))


if __name__ == "__main__":
    main()
