"""From rounds to figures, ratios, checks and the page."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from benchmarks.long_doc_qa.figures import Spread, spread, summarise
from benchmarks.long_doc_qa.page import as_json, html
from benchmarks.long_doc_qa.results import checks
from benchmarks.long_doc_qa.rounds import Rounds, counters
from benchmarks.long_doc_qa.tables import tables
from tests.benchmarks.long_doc_qa.made_up import FLOOR, NONE, RAM, a_round, answer, results, run


def test_a_round_is_reduced_to_seconds_rates_and_hits() -> None:
    answers = [answer(number, first_token=number / 100, cached_tokens=50) for number in range(101)]
    found = summarise(a_round(10.0, [*answers, answer(0, failure="503")]))
    assert (found.ttft_mean, found.ttft_p50, found.ttft_p90, found.ttft_p99) == pytest.approx((0.5, 0.5, 0.9, 0.99))
    assert (found.output_tokens_per_second, found.prompt_tokens_per_second) == pytest.approx((30.3, 1010))
    assert (found.failures, found.hit_rate, found.hit_rate_metrics) == (1, 0.5, None)


def test_hits_and_phases_are_taken_from_vllms_counters() -> None:
    changed = {
        "prefix_cache_queries_total": 200.0,
        "prefix_cache_hits_total": 20.0,
        "external_prefix_cache_hits_total": 100.0,
        "request_queue_time_seconds_sum": 3.0,
        "request_queue_time_seconds_count": 2.0,
    }
    found = summarise(a_round(10.0, [answer()], **changed))
    assert (found.hit_rate_metrics, found.own_hit_rate, found.phases) == (0.6, 0.1, (1.5, None, None))


def test_counters_are_added_up_over_their_labels() -> None:
    text = '# TYPE a counter\na_total{x="1"} 2\na_total{x="2"} 3\n# TYPE g gauge\ng 7\n'
    assert counters(text) == {"a_total": 5.0}


def test_a_figure_of_several_repeats_is_the_middle_one_with_its_spread() -> None:
    assert spread([3.0, 1.0, None, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
    assert (Spread(2.0, 1.0, 3.0, 3).text(), Spread(2.0, 2.0, 2.0, 1).text()) == ("2.00 [1.00, 3.00]", "2.00")
    assert spread([None]) is None


def test_ratios_are_taken_within_a_repeat_and_stand_beside_the_announced_and_the_floor() -> None:
    found = results(
        run(NONE, 1, first_token=0.9, seconds=8), run(RAM, 1, 0.3, 2), run(FLOOR, 1, 0.1, 1),
        run(NONE, 2, first_token=2.0, seconds=9), run(RAM, 2, 0.5, 3), run(FLOOR, 2, 0.1, 1),
    )  # fmt: skip
    (table,) = [table for table in tables(found) if "faster" in table.title]
    ram, floor = table.rows
    assert ram[:5] == ["RAM", "3.50 [3.00, 4.00]", "2.65x", "3.50 [3.00, 4.00]", "2.18x"]
    assert ram[5:7] == ["4.00 [3.00, 5.00]", "2.50 [2.00, 3.00]"]
    assert (floor[2], floor[5], ram[7]) == ("-", "1.00 [1.00, 1.00]", "8 equal, 0 near ties, 0 different")


def test_a_run_as_it_should_be_passes_every_check() -> None:
    assert [check.text for check in checks(results(run(NONE), run(RAM, cached=96))) if not check.holds] == []


def test_a_cache_that_was_off_all_along_is_noticed() -> None:
    (check,) = [check for check in checks(results(run(NONE), run(RAM))) if not check.holds]
    assert check.text == "RAM: 0% of the query round's prompt tokens came from a cache"


def test_a_baseline_whose_cache_holds_the_working_set_is_not_believed() -> None:
    roomy = replace(run(NONE), rounds=replace(run(NONE).rounds, engine_tokens=1000))
    (check,) = [check for check in checks(results(roomy)) if not check.holds]
    assert check.text == "no offload: a working set of 200 tokens FITS into the engine's cache of 1,000"


def test_failures_lengths_differences_and_answers_that_ignore_their_document_are_not_believed() -> None:
    wrong = a_round(1.0, [answer(0, failure="503"), answer(1, prompt_tokens=99), answer(1, tokens=("x",))])
    alike = a_round(1.0, [answer(0, tokens=("x", "y", "z")), answer(1, tokens=("x", "y", "z"))])
    found = checks(
        results(
            replace(run(NONE), rounds=Rounds(alike, alike, 150)), replace(run(RAM), rounds=Rounds(wrong, wrong, 150))
        )
    )
    assert [check.holds for check in found] == [False, False, True, False, False, False]
    assert found[0].text == "2 of 10 requests failed; 503"
    assert found[1].text == "prompts of 99, 100 tokens; 100 were meant"


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id" and value]
        self.loads += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data") and value]


def test_the_page_holds_three_charts_and_loads_nothing() -> None:
    page = Page(html(results(run(NONE), run(RAM, cached=96)), {"command": "python -m it --seed 0", "machine": "<m>"}))
    assert page.tags.count("svg") == 3
    assert [target for target in page.loads if not target.startswith("#")] == []
    assert len(page.ids) == len(set(page.ids))


def test_the_page_shows_the_command_the_machine_and_every_figure_of_the_tables() -> None:
    found = results(run(NONE), run(RAM, cached=96))
    text = html(found, {"command": "python -m it --seed 0", "machine": "a <machine>"})
    assert "<pre>python -m it --seed 0</pre>" in text
    assert "a &lt;machine&gt;" in text
    assert "[  2.0 s] cache: RAM" in text
    for table in tables(found):
        assert all(f"<td>{cell}</td>" in text for row in table.rows for cell in row)


def test_the_json_holds_every_answer() -> None:
    whole = json.loads(as_json(results(run(NONE)), {"machine": "m"}))
    assert whole["runs"][0]["rounds"]["query"]["answers"][1]["tokens"] == ["token_id:1", "token_id:7", "token_id:8"]
    assert whole["checks"][0] == {"holds": True, "text": "0 of 4 requests failed"}
