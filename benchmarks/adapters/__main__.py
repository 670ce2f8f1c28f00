"""Compares this server's adapters with those of `vllm serve --enable-lora`: `python -m benchmarks.adapters --help`.

The same model, adapters, flags and slots; both servers are up at once and measured in turns. Plain vLLM loads an
adapter when it is made known, ours when it is first asked for: a first request is shown with that call and without.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import tiny_model
from benchmarks.adapters import files, phases
from benchmarks.adapters.arms import OURS, PLAIN, Up, ours, plain
from benchmarks.adapters.page import Measured, markdown
from benchmarks.load import LoadError
from benchmarks.report import save
from benchmarks.servers import ServerError, running
from benchmarks.surroundings import surroundings


def main() -> int:
    """Run the comparison, and print and keep the tables."""
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the servers are stopped
    options.output = options.output.resolve()  # our server takes a model and adapters by their absolute paths
    options.output.mkdir(parents=True, exist_ok=True)
    model = options.model or tiny_model.write(options.output)
    described = surroundings("benchmarks.adapters")
    described["slots"] = f"{options.slots} in a batch, {options.cpu_slots} in memory; adapters of rank {options.rank}"
    work = phases.Mix(options.adapters, options.skew, options.requests, options.concurrency, 64, 16)
    described["mix"] = str(work)
    paths = files.write(
        options.output, model, max(options.adapters, options.registrations, options.first), options.rank
    )
    measured: list[Measured] = []
    slots = {"max_loras": options.slots, "max_cpu_loras": options.cpu_slots, "max_lora_rank": options.rank}
    arms = (ours(model, paths[0].parent, options.port, slots), plain(model, options.port + 1, slots))
    with ExitStack() as block:
        logs = [options.output / f"{arm.server.name.replace(' ', '-')}.log" for arm in arms]
        up = [Up(arm, block.enter_context(running(arm.server, log))) for arm, log in zip(arms, logs, strict=True)]

        def turns(phase: str, count: int, measure: Callable[[Up, int], phases.Figures]) -> None:
            """Measure both servers in turns, each first in every other one."""
            for turn in range(count):
                for one in up if turn % 2 == 0 else up[::-1]:
                    measured.append(Measured(phase, turn, one.name, measure(one, turn)))
                    save(options.output / "adapters.json", described, measured)
                print(f"{phase}: turn {turn + 1} of {count}", flush=True)

        for one in up:
            for number, path in enumerate(paths[: options.adapters]):
                one.make_known(f"mix-{number}", path)
            phases.mix(one, work, "warm-up")
        turns("first", options.turns, lambda one, turn: phases.first_requests(one, paths[: options.first], turn))
        turns("mix", options.turns, lambda one, turn: phases.mix(one, work, f"turn {turn}"))
        turns("registrations", 1, lambda one, _: phases.registrations(one, paths[: options.registrations], "many"))
    page = markdown(described, measured, OURS, PLAIN)
    (options.output / "adapters.md").write_text(page)
    print(page)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adapters", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, help="a Llama's directory (default: a random one of 5 MB, made here)")
    parser.add_argument("--rank", type=int, default=8, help="of the adapters (default: 8)")
    parser.add_argument("--slots", type=int, default=4, help="adapters in one batch (default: 4)")
    parser.add_argument("--cpu-slots", type=int, default=16, help="adapters in memory (default: 16)")
    parser.add_argument("--adapters", type=int, default=100, help="in the mix (default: 100)")
    parser.add_argument("--skew", type=float, default=1.0, help="of their popularity, Zipf's exponent (default: 1)")
    parser.add_argument("--requests", type=int, default=320, help="of the mix in one turn (default: 320)")
    parser.add_argument("--concurrency", type=int, default=16, help="clients of the mix (default: 16)")
    parser.add_argument(
        "--first", type=int, default=10, help="adapters asked for the first time in one turn (default: 10)"
    )
    parser.add_argument(
        "--registrations", type=int, default=1000, help="adapters made known at the end (default: 1000)"
    )
    parser.add_argument("--turns", type=int, default=8, help="turns of each server (default: 8)")
    parser.add_argument("--port", type=int, default=18080, help="where ours listens, on loopback; plain on the next")
    parser.add_argument("--output", type=Path, default=Path("build/adapters"), help="where results and logs go")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LoadError, ServerError) as error:
        sys.exit(str(error))
