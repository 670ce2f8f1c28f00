"""Compares this server with plain `vllm serve`: same model, flags and environment, both up, measured in short turns.

Turns, because a shared machine's speed drifts by more within a minute than the servers differ; an idle engine costs the
other nothing. The default model is so small that what is left in the ratio is the layer around the engine.
`--front-end` and `--against` measure DJL Serving in front; `--control` compares plain with plain: what the method
itself finds where nothing is to be found.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import report, tiny_model, vllm_client
from benchmarks.cells import Cell, Workload, bodies, table
from benchmarks.load import LoadError, closed_loop
from benchmarks.servers import Running, Server, ServerError, running, without_settings
from benchmarks.stats import Figures, summarise
from benchmarks.surroundings import surroundings

OURS, PLAIN = "ours", "vllm serve"
FRONT_ENDS = ("direct", "djl", "djl-stock")
"""djl-stock is DJL Serving with its own Python engine in the place of ours."""
FLAGS = {
    "max_model_len": "2048",
    "max_num_seqs": "64",
    "dtype": "float32",
    "gpu_memory_utilization": "0.2",
    "served_model_name": "bench",
}
SWITCHES = ("enforce_eager",)
ENGINE_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


def main() -> int:
    """Run the comparison, and print and keep the table."""
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the server measured is stopped
    options.output = options.output.resolve()  # our server takes a model by its absolute path
    options.output.mkdir(parents=True, exist_ok=True)
    model = options.model or tiny_model.write(options.output)
    work = Workload(model, options.prompt_tokens, options.output_tokens)
    against = options.against
    plain = _plain(model, options.port + 1) if against == PLAIN else _ours(model, options.port + 1, against, against)
    ours = _ours(model, options.port, options.front_end, OURS if options.front_end == "direct" else options.front_end)
    if options.control:
        ours = replace(_plain(model, options.port), name=f"{PLAIN} again")
    described = surroundings("benchmarks.overhead")
    measured: list[report.Measured] = []
    for start in range(options.starts):
        # Every other start begins with the other server, so that neither always has the fresher machine.
        servers = (ours, plain) if start % 2 == 0 else (plain, ours)
        for one in _one_start(servers, start, work, options):
            measured.append(one)
            report.save(options.output / "overhead.json", described, measured)
    page = report.markdown(described, measured, ours.name, plain.name)
    (options.output / "overhead.md").write_text(page)
    print(page)
    return 0


def _one_start(
    servers: tuple[Server, ...], start: int, work: Workload, options: argparse.Namespace
) -> Iterator[report.Measured]:
    """Start both servers once; yield every cell's figures, taken in turns, and vLLM's own client once at the end."""
    with ExitStack() as block:
        logs = [options.output / f"{server.name.replace(' ', '-')}.log" for server in servers]
        up = [block.enter_context(running(server, log)) for server, log in zip(servers, logs, strict=True)]
        ready = ", ".join(f"{one.server.name} after {one.ready_seconds:.0f} s" for one in up)
        print(f"start {start + 1} of {options.starts}: {ready}", flush=True)
        own, theirs = table(options.concurrency)
        for cell in own:
            for one in up:
                _own(one, cell, work, 20 + 2 * cell.concurrency, f"warm-up {start}")
        for turn in range(options.turns):
            number = start * options.turns + turn
            for cell in own:
                for one in up if turn % 2 == 0 else up[::-1]:
                    figures = _own(one, cell, work, work.requests(cell), f"run {number}")
                    yield report.Measured(number, one.server.name, cell, figures)
            print(f"  turn {turn + 1} of {options.turns}", flush=True)
        for cell in theirs:
            for one in up:
                yield report.Measured(start, one.server.name, cell, vllm_client.measure(one.server, cell, work))
            print(f"  {cell}", flush=True)


def _own(one: Running, cell: Cell, work: Workload, requests: int, seed: str) -> Figures:
    """Send the cell's requests; the same seed sends the same prompts."""
    url = one.server.base_url + one.server.chat_path
    before = one.front_end_cpu_seconds
    load = asyncio.run(closed_loop(url, bodies(cell, work, requests, seed), cell.concurrency))
    spent = one.front_end_cpu_seconds - before
    return replace(summarise(load), front_end_cpu_ms=spent / requests * 1000)


def _plain(model: Path, port: int) -> Server:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in FLAGS.items()]
    flags += [f"--{name.replace('_', '-')}" for name in SWITCHES]
    address = ("--host", "127.0.0.1", "--port", str(port))
    command = (sys.executable, "-m", "benchmarks.vllm_cli", "serve", str(model), *flags, *address)
    return Server(PLAIN, command, _environment(), f"http://127.0.0.1:{port}", "/v1/chat/completions")


def _ours(model: Path, port: int, front_end: str, name: str) -> Server:
    given = {"model_id": str(model), "frontend": front_end.partition("-")[0], **FLAGS} | dict.fromkeys(SWITCHES, "true")
    environment = _environment() | {f"OPTION_{name.upper()}": value for name, value in given.items()}
    environment |= {variable: os.environ[variable] for variable in ("LMI_DJL_SERVING",) if variable in os.environ}
    if front_end == "djl-stock":
        environment["PYTHON_EXECUTABLE"] = sys.executable
    command = (sys.executable, "-m", "container", "serve", "--port", str(port))
    return Server(name, command, environment, f"http://127.0.0.1:{port}", "/invocations")


def _environment() -> dict[str, str]:
    return without_settings(os.environ) | ENGINE_ENVIRONMENT


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, help="a model directory (default: a random one of 5 MB, made here)")
    parser.add_argument("--starts", type=int, default=3, help="how often both servers are started (default: 3)")
    parser.add_argument(
        "--turns", type=int, default=5, help="turns of each server in every cell of a start (default: 5)"
    )
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64], help="default: 1 8 64")
    parser.add_argument("--prompt-tokens", type=int, default=128, help="default: 128")
    parser.add_argument("--output-tokens", type=int, default=32, help="default: 32")
    parser.add_argument("--port", type=int, default=18080, help="where ours listens, on loopback; plain on the next")
    parser.add_argument("--output", type=Path, default=Path("build/overhead"), help="where results and logs go")
    parser.add_argument("--front-end", choices=FRONT_ENDS, default="direct", help="of ours (default: direct)")
    parser.add_argument("--against", choices=(PLAIN, *FRONT_ENDS), default=PLAIN, help=f"default: {PLAIN}")
    parser.add_argument("--control", action="store_true", help="measure plain `vllm serve` against itself")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LoadError, ServerError) as error:
        sys.exit(str(error))
