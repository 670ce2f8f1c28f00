"""Sends the three rounds to one server and keeps what came back, with what its /metrics say changed meanwhile."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import LoadError, send_all
from benchmarks.long_doc_qa.answers import Answer, read
from benchmarks.long_doc_qa.documents import Prompt, Workload, body

PATH = "/v1/completions"


@dataclass(frozen=True, slots=True)
class Round:
    """Every document asked about once."""

    seconds: float
    answers: tuple[Answer, ...]
    """In the order they were sent."""
    changed: Mapping[str, float]
    """The server's counters, by how much they grew."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What one server was measured to do; the pre-warm-up leaves no figures."""

    warm_up: Round
    query: Round
    engine_tokens: int | None
    """What the engine's own cache holds, as the server says."""


def measure(base_url: str, work: Workload, prompts: Sequence[Prompt], pre_warm_up: Sequence[Prompt]) -> Rounds:
    """Run pre-warm-up, warm-up and query round."""
    name = _model_name(base_url)
    bodies = [body(name, prompt, work) for prompt in pre_warm_up]
    for answer in asyncio.run(send_all(base_url + PATH, bodies, work.concurrency)).received:
        if answer.failure:
            raise LoadError(answer.failure)
    in_order = list(range(work.documents))
    warm_up = _round(base_url, name, work, prompts, in_order)
    query = _round(base_url, name, work, prompts, work.query_order())
    return Rounds(warm_up, query, _engine_tokens(_scrape(base_url)))


def _round(base_url: str, name: str, work: Workload, prompts: Sequence[Prompt], order: Sequence[int]) -> Round:
    before = counters(_scrape(base_url))
    bodies = [body(name, prompts[document], work) for document in order]
    exchange = asyncio.run(send_all(base_url + PATH, bodies, work.concurrency))
    after = counters(_scrape(base_url))
    answers = [read(one, order[one.number], exchange.started) for one in exchange.received]
    changed = {counter: after[counter] - before.get(counter, 0.0) for counter in after}
    return Round(exchange.seconds, tuple(sorted(answers, key=lambda answer: answer.sent)), changed)


def _model_name(base_url: str) -> str:
    try:
        with urllib.request.urlopen(f"{base_url}/v1/models", timeout=10) as response:
            return str(json.load(response)["data"][0]["id"])
    except (OSError, ValueError, LookupError) as error:
        raise LoadError(f"{base_url}/v1/models does not name a model: {error}") from None


def _scrape(base_url: str) -> str:
    """Return the server's metrics, none where it has none."""
    try:
        with urllib.request.urlopen(f"{base_url}/metrics", timeout=10) as response:
            return str(response.read().decode())
    except urllib.error.URLError:
        return ""


def counters(metrics: str) -> dict[str, float]:
    """Add up each counter, and each histogram's sum and count, over its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name.endswith(("_total", "_sum", "_count")):
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def _engine_tokens(metrics: str) -> int | None:
    """Read how much vLLM's own cache holds from the labels of its cache_config_info."""
    for family in text_string_to_metric_families(metrics):
        if family.name == "vllm:cache_config_info" and family.samples:
            labels = family.samples[0].labels
            return int(labels["num_gpu_blocks"]) * int(labels["block_size"])
    return None
