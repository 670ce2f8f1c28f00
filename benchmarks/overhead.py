"""Compares this server with plain `vllm serve`: the same model, flags and environment, one after the other, in pairs.

What is left in the ratio is the layer around the engine, for the default model is so small that its steps cost little.
`--control` compares plain with plain: what the method itself finds where nothing is to be found.
"""

import argparse
import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import report, tiny_model, vllm_client
from benchmarks.cells import Cell, Workload, bodies, table
from benchmarks.load import LoadError, closed_loop
from benchmarks.servers import Running, Server, ServerError, running
from benchmarks.stats import Figures, summarise

OURS, PLAIN = "ours", "vllm serve"
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
# What would configure our server behind this comparison's back.
FOREIGN = ("HF_MODEL_ID", "LMI_", "OPTION_", "SAGEMAKER_", "SERVING_", "SM_", "TENSOR_PARALLEL_DEGREE", "VLLM_")


def main() -> int:
    """Run the pairs, and print and keep the table."""
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the server measured is stopped
    options.output = options.output.resolve()  # our server takes a model by its absolute path
    options.output.mkdir(parents=True, exist_ok=True)
    model = options.model or tiny_model.write(options.output)
    work = Workload(model, options.prompt_tokens, options.output_tokens)
    plain = _plain(model, options.port)
    contestants = (replace(plain, name=f"{PLAIN} again") if options.control else _ours(model, options.port), plain)
    described = report.surroundings()
    measured: list[report.Measured] = []
    for pair in range(1, options.pairs + 1):
        # Every other pair starts with the other server, so that a machine that warms or tires favours neither.
        for server in contestants if pair % 2 else contestants[::-1]:
            measured += _one_start(server, pair, work, options)
            report.save(options.output / "overhead.json", described, measured)
    page = report.markdown(described, measured, contestants[0].name, PLAIN)
    (options.output / "overhead.md").write_text(page)
    print(page)
    return 0


def _one_start(server: Server, pair: int, work: Workload, options: argparse.Namespace) -> list[report.Measured]:
    """Start the server once and measure every cell on it."""
    measured: list[report.Measured] = []
    with running(server, options.output / f"{server.name.replace(' ', '-')}.log") as started:
        print(f"pair {pair} of {options.pairs}: {server.name}, ready in {started.ready_seconds:.0f} s", flush=True)
        for cell in table(options.concurrency):
            figures = _measure(started, cell, work, seed=pair)
            measured.append(report.Measured(pair, server.name, cell, figures))
            print(f"  {cell}: TTFT {figures.ttft_p50_ms:.1f} ms, {figures.tokens_per_second:.0f} tokens/s", flush=True)
    return measured


def _measure(started: Running, cell: Cell, work: Workload, seed: int) -> Figures:
    """Warm the path up and measure the cell once; the same seed sends the same prompts."""
    if cell.client == "vllm bench":
        return vllm_client.measure(started.server, cell, work)
    url = started.server.base_url + started.server.chat_path
    asyncio.run(closed_loop(url, bodies(cell, work, 20 + 2 * cell.concurrency, f"warm-up {seed}"), cell.concurrency))
    before = started.front_end_cpu_seconds
    load = asyncio.run(closed_loop(url, bodies(cell, work, work.requests(cell), f"run {seed}"), cell.concurrency))
    spent = started.front_end_cpu_seconds - before
    return replace(summarise(load), front_end_cpu_ms=spent / work.requests(cell) * 1000)


def _plain(model: Path, port: int) -> Server:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in FLAGS.items()]
    flags += [f"--{name.replace('_', '-')}" for name in SWITCHES]
    address = ("--host", "127.0.0.1", "--port", str(port))
    command = (sys.executable, "-m", "benchmarks.vllm_cli", "serve", str(model), *flags, *address)
    return Server(PLAIN, command, _environment(), f"http://127.0.0.1:{port}", "/v1/chat/completions")


def _ours(model: Path, port: int) -> Server:
    given = {"model_id": str(model)} | FLAGS | dict.fromkeys(SWITCHES, "true")
    environment = _environment() | {f"OPTION_{name.upper()}": value for name, value in given.items()}
    command = (sys.executable, "-m", "container", "serve", "--port", str(port))
    return Server(OURS, command, environment, f"http://127.0.0.1:{port}", "/invocations")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)} | ENGINE_ENVIRONMENT


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, help="a model directory (default: a random one of 5 MB, made here)")
    parser.add_argument("--pairs", type=int, default=5, help="how often each server is started (default: 5)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64], help="default: 1 8 64")
    parser.add_argument("--prompt-tokens", type=int, default=128, help="default: 128")
    parser.add_argument("--output-tokens", type=int, default=32, help="default: 32")
    parser.add_argument("--port", type=int, default=18080, help="where the servers listen, on loopback")
    parser.add_argument("--output", type=Path, default=Path("build/overhead"), help="where results and logs go")
    parser.add_argument("--control", action="store_true", help="measure plain `vllm serve` against itself")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LoadError, ServerError) as error:
        sys.exit(str(error))
