"""The command line of the benchmark."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.long_doc_qa.documents import Workload

ARMS = ("none", "ram", "disk", "both", "floor")
DESCRIPTION = """Long Doc QA: three rounds of long documents, answered with and without a KV cache in RAM and on disk.
On a GPU, 10,000 tokens a document are what LMCache and AWS publish: --tokens 10000 --model DIR --dtype bfloat16."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    work: Workload
    arms: frozenset[str]
    repeats: int
    url: str
    model: Path | None
    dtype: str
    kv_bytes_per_token: int | None
    server_options: Mapping[str, str]
    engine_documents: int
    disk_path: Path | None
    port: int
    output: Path


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    given = _parser().parse_args(arguments)
    return Options(
        work=Workload(given.documents, given.tokens, given.output_tokens, given.concurrency, given.seed),
        arms=frozenset(given.arms),
        repeats=given.repeats,
        url=(given.url or "").rstrip("/"),
        model=given.model and given.model.resolve(),  # our server takes a model by its absolute path
        dtype=given.dtype,
        kv_bytes_per_token=given.kv_bytes_per_token,
        server_options=dict(given.option),
        engine_documents=given.engine_documents,
        disk_path=given.disk_path and given.disk_path.resolve(),
        port=given.port,
        output=given.output.resolve(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_doc_qa",
        description=DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    work = Workload()
    add = parser.add_argument
    add("--documents", type=int, default=work.documents, help="how many")
    add("--tokens", type=int, default=work.tokens, help="of a document with its question")
    add("--output-tokens", type=int, default=work.output_tokens, help="of an answer")
    add("--concurrency", type=int, default=work.concurrency, help="requests in flight")
    add("--seed", type=int, default=work.seed, help="of the words and of the query round's order")
    add(
        "--arms",
        nargs="+",
        choices=ARMS,
        default=list(ARMS),
        help="which servers; the first in this order is what the others are compared with",
    )
    add("--repeats", type=int, default=1, help="how often every arm is started anew and measured")
    add("--url", help="measure this running server, as the only arm; --model names its tokenizer")
    add("--model", type=Path, metavar="DIR", help="a model directory; default: a random one of 18 MB, made here")
    add("--dtype", default="float32", help="of weights and cache; only float32 answers the same to the last token")
    add("--kv-bytes-per-token", type=int, help="of the whole model; default: from its config.json")
    add(
        "--option",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further option for every server",
    )
    add("--engine-documents", type=int, default=4, help="how many documents the engine's own cache holds")
    add("--disk-path", type=Path, metavar="DIR", help="on the disk to measure; default: the output directory")
    add("--port", type=int, default=18080, help="where the servers listen, on loopback")
    add("--output", type=Path, default=Path("build/long-doc-qa"), help="where the report, figures and logs go")
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
