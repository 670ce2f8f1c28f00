"""Writes the report: one HTML page that needs nothing but itself, and every figure and answer as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.long_doc_qa.charts import charts
from benchmarks.long_doc_qa.results import ROUNDS, Results, checks
from benchmarks.long_doc_qa.tables import tables

METHOD = (
    "Three rounds, as LMCache's long_doc_qa.py and AWS's announcement have them: a few short prompts, then every "
    "document once (warm-up), then every document again in another order with the same prompt (query). Every arm is "
    "this server on the same model, flags and prompts; figures are the median of the repeats [least, largest]."
)


def html(results: Results, described: Mapping[str, str]) -> str:
    """Render the page."""
    environment = Environment(
        loader=PackageLoader("benchmarks.long_doc_qa", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html").render(
        method=METHOD,
        described=described,
        checks=checks(results),
        tables=tables(results),
        charts=charts(results),
        arms=results.arms,
        said={arm.name: results.of(arm)[0].said for arm in results.arms},
    )


def as_json(results: Results, described: Mapping[str, str]) -> str:
    """Return the figures of every run, and every answer they are from."""
    runs = [
        {
            "arm": run.arm.name,
            "repeat": run.repeat,
            "ready_seconds": run.ready_seconds,
            "engine_tokens": run.rounds.engine_tokens,
            "said": run.said,
            "rounds": {name: {"figures": asdict(run.figures(name)), **asdict(run.round(name))} for name in ROUNDS},
        }
        for run in results.runs
    ]
    whole = {
        "run": dict(described),
        "workload": asdict(results.work),
        "arms": [asdict(arm) for arm in results.arms],
        "checks": [asdict(check) for check in checks(results)],
        "runs": runs,
    }
    return json.dumps(whole) + "\n"
