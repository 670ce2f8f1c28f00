"""Measures what tiers below the engine's own KV cache are worth: `python -m benchmarks.long_doc_qa --help`.

Every arm is this server on the same model and flags (arms.py); MODEL_TEXT says why the default model has its shape.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import tiny_model
from benchmarks.load import LoadError
from benchmarks.long_doc_qa import page
from benchmarks.long_doc_qa.arms import (
    BLOCK_TOKENS,
    YAML_FILE,
    Arm,
    arms,
    disk_yaml,
    environment,
    kv_bytes_per_token,
    shared_options,
    sizes,
)
from benchmarks.long_doc_qa.disk_speed import sequential_read
from benchmarks.long_doc_qa.documents import pre_warm_up, prompts, tokenizer_of
from benchmarks.long_doc_qa.options import Options, parse
from benchmarks.long_doc_qa.results import ArmRun, Results, checks
from benchmarks.long_doc_qa.rounds import measure
from benchmarks.long_doc_qa.tables import tables
from benchmarks.servers import Server, ServerError, running, without_settings
from benchmarks.surroundings import surroundings

# Weights so wide that an answer depends on all of its document.
MODEL = tiny_model.Shape(
    "long-doc-llama-3-384", layers=3, hidden=384, heads=8, intermediate=768, context=32768, deviation=0.1
)
MODEL_TEXT = (
    f"random float32 Llama of 18 MB: {MODEL.layers} layers of {MODEL.hidden}, {MODEL.heads} heads over "
    f"{MODEL.kv_heads} KV heads, as many over one as in Llama-3.1-8B. At 4,000 tokens that is 7 thousand operations "
    "for a byte of cache, against 260 thousand of Qwen2.5-7B at 10,000: a few cores compute far slower than a GPU, "
    "their memory and disk only some times slower"
)
# 460,000 tokens in 52.978 s without offload, of models that take 28 to 320 KiB for a token.
RATE_TEXT = (
    "times the baseline's prompt tok/s, this is the rate a tier has to beat; AWS's baseline did 8,700 tok/s, "
    "0.25 to 2.8 GB/s for the smallest and the largest model it names"
)


def main() -> int:
    """Measure every arm as often as asked; print and keep the results. 1: they may not be believed."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that the server measured is stopped
    options.output.mkdir(parents=True, exist_ok=True)
    model = options.model or tiny_model.write(options.output, MODEL)
    described = surroundings("benchmarks.long_doc_qa") | {
        "workload": str(options.work),
        "model": str(options.model or MODEL_TEXT),
    }
    if options.url:
        return _measure(options, model, [Arm("url", options.url, {})], described)
    per_token = options.kv_bytes_per_token or kv_bytes_per_token(model, 4 if options.dtype == "float32" else 2)
    described["a token in the cache"] = f"{per_token / 1024:g} KiB; {RATE_TEXT}"
    with tempfile.TemporaryDirectory(dir=options.disk_path or options.output, prefix="kv-cache-") as disk:
        described["disk"] = _disk_speed(Path(disk))
        block_tokens = int(options.server_options.get("block_size", BLOCK_TOKENS))
        size = sizes(options.work, per_token, options.engine_documents, block_tokens)
        Path(disk, YAML_FILE).write_text(disk_yaml(size, Path(disk)))
        given = shared_options(model, options.work) | {"dtype": options.dtype, **options.server_options}
        chosen = [arm.on_top_of(given) for arm in arms(options.work, size, Path(disk)) if arm.name in options.arms]
        return _measure(options, model, chosen, described)


def _measure(options: Options, model: Path, chosen: list[Arm], described: dict[str, str]) -> int:
    """Run every arm, keeping what there is after each, and write the report."""
    runs: list[ArmRun] = []
    results = Results(options.work, chosen, runs)
    for run in _runs(options, model, chosen):
        runs.append(run)
        (options.output / "long_doc_qa.json").write_text(page.as_json(results, described))
    (options.output / "long_doc_qa.html").write_text(page.html(results, described))
    print("", *tables(results), sep="\n\n", end="\n\n")
    for check in checks(results):
        print("yes:" if check.holds else "NO: ", check.text)
    for name, text in described.items():
        print(f"{name}: {text}")
    print(f"report: {options.output / 'long_doc_qa.html'}")
    return 0 if all(check.holds for check in checks(results)) else 1


def _runs(options: Options, model: Path, chosen: list[Arm]) -> Iterator[ArmRun]:
    tokenizer = tokenizer_of(model)
    asked, first = prompts(options.work, tokenizer), pre_warm_up(options.work, tokenizer)
    for repeat in range(1, options.repeats + 1):
        # Every other repeat goes backwards, so that a machine that warms or tires favours no arm.
        for arm in chosen if repeat % 2 else chosen[::-1]:
            if options.url:
                run = ArmRun(arm, repeat, 0.0, measure(options.url, options.work, asked, first))
            else:
                log = options.output / f"{arm.name}-{repeat}.log"
                with running(_server(arm, options.port), log) as started:
                    rounds = measure(started.server.base_url, options.work, asked, first)
                run = ArmRun(arm, repeat, started.ready_seconds, rounds, _said(log))
            query = run.figures("query")
            ready = f"repeat {repeat}, {arm.title}: ready after {run.ready_seconds:.0f} s"
            print(f"{ready}, query round {query.seconds:.1f} s, TTFT {query.ttft_mean:.3f} s", flush=True)
            yield run


def _server(arm: Arm, port: int) -> Server:
    command = (sys.executable, "-m", "container", "serve", "--port", str(port))
    return Server(arm.title, command, without_settings(os.environ) | environment(arm), f"http://127.0.0.1:{port}", "")


def _said(log: Path) -> list[str]:
    """Return the server's own lines on its cache; they begin with the seconds since it started."""
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if line.startswith("[") and "cache" in line.lower()]


def _disk_speed(directory: Path) -> str:
    speed = sequential_read(directory)
    return f"reads {speed / 1e9:.2f} GB/s in sequence with O_DIRECT" if speed else "has no O_DIRECT here"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LoadError, ServerError, ValueError, OSError) as error:
        sys.exit(str(error))
