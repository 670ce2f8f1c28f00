"""The README's table of metrics, held to what is registered: where it differs, the failure shows the rows."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from autoconfig.settings import AdapterSettings, CacheSettings
from handlers.adapters.metrics import AdapterMetrics
from handlers.adapters.registry import Adapters
from handlers.cache_metrics import CacheMetrics
from handlers.metrics import RequestMetrics
from handlers.sessions.metrics import SessionMetrics
from handlers.sessions.registry import Sessions
from tests.handlers.asgi import answers
from tests.handlers.test_cache_metrics import UP, lmcache, vllm_counts

README = Path(__file__).parents[2] / "README.md"


def row(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
    return f"| `{name}` | {', '.join(labels)} | {family.documentation} |"


def test_the_readme_lists_every_metric_of_ours_as_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cache-server.json"
    file.write_text(json.dumps(asdict(UP)))
    registry = CollectorRegistry()
    vllm_counts(registry)
    with lmcache() as port:
        cache = CacheMetrics(registry, CacheSettings(str(file), port, 60, 256, 2048, "float32"), connected=True)
        metrics = RequestMetrics(registry, 1, cache)
        asyncio.run(metrics.refresh())
    metrics.count("/invocations", 200, 0.1, "deadline")
    registry.register(AdapterMetrics(Adapters(AdapterSettings(2, 4, 16, ()), answers({}), (), None)))
    registry.register(SessionMetrics(Sessions(None), None))
    rows = [row(family) for family in registry.collect() if family.name.startswith("lmi_")]
    assert [line for line in README.read_text().splitlines() if line.startswith("| `lmi_")] == rows
