"""Measures what a session's KV affinity is worth: `python -m benchmarks.sessions --help`.

One server per arm; rounds with and without sessions take turns on it, every other pair in the other order.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks import tiny_model
from benchmarks.load import LoadError
from benchmarks.long_doc_qa.__main__ import MODEL
from benchmarks.long_doc_qa.arms import BLOCK_TOKENS, GIB, MODEL_NAME, Arm, environment, kv_bytes_per_token
from benchmarks.long_doc_qa.documents import Workload, tokenizer_of
from benchmarks.servers import Server, ServerError, running, without_settings
from benchmarks.sessions.results import Results, as_json, checks, markdown
from benchmarks.sessions.rounds import Round, Work, measure
from benchmarks.surroundings import surroundings

ARMS = ("ram", "both")
DESCRIPTION = """A session's next turn after a flood of other traffic, against the same turn without a session. What a
session keeps warm is half of the tier in RAM at most, so the tier is made four times what the conversations take."""
TIER_PER_CONVERSATION = 4
ENGINE_DOCUMENTS = 4


def main() -> int:
    """Measure every arm; print and keep the results. 1: they may not be believed."""
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the server measured is stopped
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    model = options.model.resolve() if options.model else tiny_model.write(options.output, MODEL)
    conversations = Workload(options.conversations, options.tokens, options.output_tokens, 1, options.seed)
    flood = Workload(options.flood, options.tokens, options.output_tokens, options.concurrency, options.seed + 1)
    work = Work.of(conversations, flood, tokenizer_of(model))
    described = surroundings("benchmarks.sessions") | {"conversations": str(conversations), "others": str(flood)}
    results: list[Results] = []
    for name in options.arms:
        with ExitStack() as block:
            disk = block.enter_context(tempfile.TemporaryDirectory(dir=options.output, prefix="kv-cache-"))
            arm = _arm(name, model, work, options.dtype, Path(disk))
            rounds: list[Round] = []
            described[arm.title] = arm.note
            results.append(Results(arm.title, rounds))
            for measured in _rounds(arm, work, options):
                rounds.append(measured)
                (options.output / "sessions.json").write_text(as_json(results, described))
                (options.output / "sessions.md").write_text(markdown(results, described))
    print(markdown(results, described))
    return 0 if all(check.holds for check in checks(results)) else 1


def _rounds(arm: Arm, work: Work, options: argparse.Namespace) -> Iterator[Round]:
    base_url = f"http://127.0.0.1:{options.port}"
    command = (sys.executable, "-m", "container", "serve", "--port", str(options.port))
    server = Server(arm.title, command, without_settings(os.environ) | environment(arm), base_url, "")
    with running(server, options.output / f"{arm.name}.log") as started:
        print(f"{arm.title}: ready after {started.ready_seconds:.0f} s", flush=True)
        measure(base_url, MODEL_NAME, work, -1, sessions=False)  # what a first request costs, and a tier that is full
        for pair in range(options.repeats):
            for sessions in (True, False) if pair % 2 == 0 else (False, True):
                one = measure(base_url, MODEL_NAME, work, pair, sessions=sessions)
                turn = sum(answer.first_token for answer in one.next) / len(one.next)
                told = f"pair {pair + 1}, {'in sessions' if sessions else 'without'}: next turn's TTFT {turn:.3f} s"
                print(f"{told}, the others in {one.flood_seconds:.0f} s", flush=True)
                yield one


def _arm(name: str, model: Path, work: Work, dtype: str, disk: Path) -> Arm:
    per_token = kv_bytes_per_token(model, 4 if dtype == "float32" else 2)
    taken = per_token * work.context * work.conversations.documents
    ram = ceil(TIER_PER_CONVERSATION * taken / GIB * 10) / 10
    options: dict[str, Any] = {
        "model_id": str(model),
        "served_model_name": MODEL_NAME,
        "max_model_len": work.context,
        "block_size": BLOCK_TOKENS,
        "dtype": dtype,
        "num_gpu_blocks_override": ENGINE_DOCUMENTS * ceil(work.context / BLOCK_TOKENS) + 1,
        "enable_prompt_tokens_details": True,
        "enable_stateful_sessions": True,
        "lmcache_auto_config": True,
        "lmcache_max_cpu_gb": ram,
    }
    below: dict[str, Any] = {"lmcache_max_disk_gb": 0}
    if name == "both":
        below = {"lmcache_disk_path": str(disk), "lmcache_max_disk_gb": max(4.0, 8 * ram), "lmcache_force_disk": True}
    note = f"{ram:.1f} GiB of RAM for conversations of {taken / GIB:.2f} GiB, {per_token / 1024:g} KiB a token"
    return Arm(name, "RAM" if name == "ram" else "RAM and disk", options | below, note)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sessions",
        description=DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--conversations", type=int, default=4, help="how many at once")
    add("--flood", type=int, default=16, help="other requests between two turns; they must exceed the tier in RAM")
    add("--tokens", type=int, default=4000, help="of a conversation's first prompt, and of each other request")
    add("--output-tokens", type=int, default=16, help="of every answer")
    add("--concurrency", type=int, default=2, help="of the other requests; turns are taken one after the other")
    add("--seed", type=int, default=0, help="of the words")
    add("--repeats", type=int, default=4, help="pairs of rounds, one with sessions and one without")
    add("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="the tiers below the engine's own cache")
    add("--model", type=Path, metavar="DIR", help="a model directory; default: Long Doc QA's random one of 18 MB")
    add("--dtype", default="float32", help="of weights and cache; only float32 answers the same to the last token")
    add("--port", type=int, default=18081, help="where the server listens, on loopback")
    add("--output", type=Path, default=Path("build/sessions"), help="where the report, figures and logs go")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LoadError, ServerError, ValueError, OSError) as error:
        sys.exit(str(error))
