"""From timings to the table: percentiles, throughput, the ratio's interval, and the rows that may be shown."""

from dataclasses import astuple
from math import isnan
from pathlib import Path

import pytest

from benchmarks.cells import Cell, Workload, bodies, table
from benchmarks.load import Load, Timing
from benchmarks.report import Measured, markdown
from benchmarks.stats import Figures, ratio, summarise

CELL = Cell("own", stream=True, concurrency=8)


def figures(ttft: float, tokens_per_second: float) -> Figures:
    return Figures(ttft, ttft * 2, 5.0, 9.0, tokens_per_second)


def test_figures_are_percentiles_in_milliseconds_and_tokens_by_the_clock() -> None:
    timings = tuple(Timing(first / 1000, (0.004, 0.006), 3) for first in range(101))
    assert astuple(summarise(Load(timings, seconds=10.0))) == (
        pytest.approx(50.0),
        pytest.approx(99.0),
        pytest.approx(5.0),
        pytest.approx(6.0),
        pytest.approx(30.3),
        None,
    )


def test_whole_answers_have_no_time_between_tokens() -> None:
    assert summarise(Load((Timing(0.1, (), 5),), seconds=1.0)).itl_mean_ms is None


def test_the_interval_is_students_over_the_logarithms() -> None:
    # logs 0, 0.1, 0.2: mean 0.1, standard error 0.1/sqrt(3), t(2, 97.5 %) = 4.3027
    result = ratio([1.0, 1.1051709, 1.2214028], [1.0, 1.0, 1.0])
    assert (result.mean, result.low, result.high) == pytest.approx((1.10517, 0.86208, 1.41681), rel=1e-4)


def test_one_pair_has_a_ratio_and_no_interval() -> None:
    result = ratio([2.0], [1.0])
    assert result.mean == 2.0
    assert isnan(result.low)


def test_the_table_compares_pair_by_pair_and_leaves_an_unfinished_pair_out() -> None:
    measured = [
        Measured(1, "ours", CELL, figures(11, 90)),
        Measured(1, "plain", CELL, figures(10, 100)),
        Measured(2, "plain", CELL, figures(20, 200)),
        Measured(2, "ours", CELL, figures(24, 160)),
        Measured(3, "ours", CELL, figures(99, 1)),
    ]
    page = markdown({"machine": "a machine"}, measured, "ours", "plain")
    assert page.splitlines()[0] == "ours / plain"
    assert "| own | stream | 8 | 2 | 1.149 [0.661, 1.997] |" in page
    assert "| 0.849 [0.402, 1.793] | - | 15.0 ms | 150 |" in page
    assert page.endswith("- machine: a machine\n")


def test_every_number_of_clients_is_measured_streaming_whole_and_by_vllms_client() -> None:
    own, theirs = table([1, 8])
    assert [(cell.client, cell.stream, cell.concurrency) for cell in (*own, *theirs)] == [
        ("own", True, 1),
        ("own", True, 8),
        ("own", False, 1),
        ("own", False, 8),
        ("vllm bench", True, 1),
        ("vllm bench", True, 8),
    ]


def test_both_servers_are_sent_the_same_prompts_and_no_two_of_them_start_alike() -> None:
    work = Workload(Path("model"), prompt_tokens=16, output_tokens=8)
    sent = bodies(CELL, work, 50, "run 1")
    assert sent == bodies(CELL, work, 50, "run 1")
    assert len({body["messages"][0]["content"] for body in sent}) == 50


def test_a_figure_of_nothing_is_shown_as_none() -> None:
    cell = Cell("own", stream=False, concurrency=1)
    whole = Figures(10, 20, None, None, 100)
    page = markdown({}, [Measured(1, "ours", cell, whole), Measured(1, "plain", cell, whole)], "ours", "plain")
    assert "| own | whole | 1 | 1 | 1.000 [nan, nan] | 1.000 [nan, nan] | - | - |" in page
