"""Drives a server with vLLM's own client, `vllm bench serve`, so that the figures are not only this package's."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cells import Cell, Workload
from benchmarks.load import LoadError
from benchmarks.servers import Server
from benchmarks.stats import Figures

RESULT = "result.json"
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def measure(server: Server, cell: Cell, work: Workload) -> Figures:
    """Send the cell's requests, random prompts of the workload's length, always answered as a stream."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            _command(server, cell, work, scratch), env=os.environ | OFFLINE, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LoadError(f"vllm bench serve ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
        found = json.loads(Path(scratch, RESULT).read_text())
    if found["completed"] != work.requests(cell):
        raise LoadError(f"vllm bench serve: {found['completed']} of {work.requests(cell)} requests were answered")
    return Figures(
        ttft_p50_ms=found["median_ttft_ms"],
        ttft_p99_ms=found["p99_ttft_ms"],
        itl_mean_ms=found["median_tpot_ms"],
        itl_p99_ms=found["p99_itl_ms"],
        tokens_per_second=found["output_throughput"],
    )


def _command(server: Server, cell: Cell, work: Workload, scratch: str) -> list[str]:
    # The client insists on an address that ends in chat/completions; as a query it reaches any path.
    path = server.chat_path
    endpoint = path if path.endswith("chat/completions") else f"{path}?route=/v1/chat/completions"
    options = {
        "backend": "openai-chat",
        "base-url": server.base_url,
        "endpoint": endpoint,
        "model": str(work.model),
        "served-model-name": "bench",
        "dataset-name": "random",
        "random-input-len": work.prompt_tokens,
        "random-output-len": work.output_tokens,
        "num-prompts": work.requests(cell),
        "num-warmups": 20 + 2 * cell.concurrency,
        "max-concurrency": cell.concurrency,
        "temperature": 0,
        "percentile-metrics": "ttft,tpot,itl",
        "metric-percentiles": 99,
        "result-dir": scratch,
        "result-filename": RESULT,
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    vllm = [sys.executable, "-m", "benchmarks.vllm_cli"]
    return [*vllm, "bench", "serve", "--ignore-eos", "--disable-tqdm", "--save-result", *given]
