"""Draws the charts of the report as SVG that stands inside an HTML page."""

import io
import re
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.long_doc_qa.answers import Answer
from benchmarks.long_doc_qa.arms import Arm
from benchmarks.long_doc_qa.results import ROUNDS, Results, hit_rate

# Okabe and Ito's, which the colour-blind tell apart.
COLOURS = {"none": "#D55E00", "ram": "#0072B2", "disk": "#009E73", "both": "#CC79A7", "floor": "#666666"}


def charts(results: Results) -> dict[str, str]:
    """Draw every chart, under its caption."""
    with rc_context(
        {
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
        }
    ):
        return {
            "Time to first token in the query round": _ttft_distribution(results),
            "Share of the prompts' tokens that came from a cache": _hit_rates(results),
            "Every request of the first repeat: pale until its first token, full until its last": _timeline(results),
        }


def _ttft_distribution(results: Results) -> str:
    """Show every request's time to its first token in the query round: each as a dot, their quartiles as a box."""
    figure = Figure(figsize=(9, 0.6 + 0.5 * len(results.arms)), layout="constrained")
    axes = figure.subplots()
    rows = [_answers(results, arm, "query") for arm in results.arms]
    times = [[answer.first_token for answer in row if not answer.failure] for row in rows]
    heights = list(range(len(times), 0, -1))
    axes.boxplot(
        times,
        positions=heights,
        orientation="horizontal",
        widths=0.6,
        whis=(0, 100),
        medianprops={"color": "black"},
    )
    for arm, height, row in zip(results.arms, heights, times, strict=True):
        axes.scatter(row, [height] * len(row), s=9, alpha=0.4, color=_colour(arm), linewidths=0)
    axes.set_yticks(heights, [arm.title for arm in results.arms])
    axes.set_xlim(left=0)
    axes.set_xlabel("time to first token (s); box: quartiles, whiskers: all")
    return _svg(figure, "ttft")


def _hit_rates(results: Results) -> str:
    """Show what share of the prompts' tokens came from a cache."""
    figure = Figure(figsize=(9, 0.6 + 0.5 * len(results.arms)), layout="constrained")
    axes = figure.subplots()
    for number, arm in enumerate(reversed(results.arms)):
        for name, shift, shade in zip(ROUNDS, (0.2, -0.2), (0.45, 1.0), strict=True):
            rate = results.figure(arm, name, hit_rate)
            share = rate.median * 100 if rate else 0.0
            axes.barh(number + shift, share, height=0.36, color=_colour(arm), alpha=shade)
            axes.text(
                share + 0.5, number + shift, f"{name} {share:.0f} %" if rate else f"{name}: not told", va="center"
            )
    axes.set_yticks(range(len(results.arms)), [arm.title for arm in reversed(results.arms)])
    axes.set_xlim(0, 115)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("prompt tokens from a cache (%)")
    return _svg(figure, "hits")


def _timeline(results: Results) -> str:
    """Show the first repeat's requests one by one, in the order they were sent."""
    figure = Figure(figsize=(9, 1.9 * len(results.arms)), layout="constrained")
    panels = figure.subplots(len(results.arms), len(ROUNDS), sharex="col", squeeze=False)
    for row, arm in zip(panels, results.arms, strict=True):
        for axes, name in zip(row, ROUNDS, strict=True):
            _panel(axes, results.of(arm)[0].round(name).answers, _colour(arm))
            axes.set_title(f"{arm.title}, {name}")
    for axes in panels[-1]:
        axes.set_xlabel("seconds since the round began")
        axes.set_xlim(left=0)
    return _svg(figure, "timeline")


def _panel(axes: Axes, answers: Sequence[Answer], colour: str) -> None:
    """Draw a line for each request: pale until its first token, full until its last."""
    for number, answer in enumerate(answers):
        first = answer.sent + answer.first_token
        axes.hlines(number, answer.sent, first, color=colour, alpha=0.35, linewidth=1.5)
        axes.hlines(number, first, answer.sent + answer.end, color=colour, linewidth=1.5)
        if answer.failure:
            axes.plot(answer.sent, number, "x", color="red")
    axes.invert_yaxis()
    axes.set_yticks([])


def _answers(results: Results, arm: Arm, name: str) -> list[Answer]:
    return [answer for run in results.of(arm) for answer in run.round(name).answers]


def _colour(arm: Arm) -> str:
    return COLOURS.get(arm.name, COLOURS["ram"])


def _svg(figure: Figure, name: str) -> str:
    """Return the element alone; `name` keeps the ids of several charts on one page apart."""
    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = drawn.getvalue()
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text[text.index("<svg") :])
    return re.sub(r'<g id="[^"]*"', "<g", element)  # the same in every chart, and nothing refers to them
