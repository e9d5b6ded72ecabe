"""Charts show what the frames hold: lengths, names, units, legends; nothing unknown as 0, no text over another."""

from __future__ import annotations

import base64
import io
import random
import re
from datetime import timedelta
from html import unescape
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import _pylab_helpers, style
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from PIL import Image

from chart_frames import (
    FRAMES,
    NOON,
    answers,
    axes,
    bars,
    boxes,
    calls,
    clipped,
    comparison,
    ledger,
    legend,
    long,
    overlapping,
    row_names,
    spans,
    stages,
    texts,
    wild,
)
from victor_nb.accounting.rows import zone
from victor_nb.errors import ConfigError
from victor_nb.reports import charts
from victor_nb.reports.charts import KINDS, Chart, html_image, plot, png
from victor_nb.reports.charts.drawing import PALETTE
from victor_nb.reports.charts.races import plans_chart, race_chart
from victor_nb.reports.charts.text import MINUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.typing import ColorType

kinds = pytest.mark.parametrize("kind", sorted(FRAMES))
Frame = pd.DataFrame


# --- all of them ---


def test_when_a_chart_is_added_then_these_tests_know_it() -> None:
    assert set(FRAMES) == set(KINDS)
    assert list(KINDS) == sorted(KINDS)
    assert {*KINDS} <= {*charts.__all__}
    assert all(getattr(charts, name) for name in charts.__all__)


@kinds
def test_when_data_are_the_same_then_the_picture_is_the_same_bytes_also_in_a_dark_style(kind: str) -> None:
    figure = plot(kind, FRAMES[kind]())
    first = png(figure)
    assert first == png(figure)
    with style.context("dark_background"):
        assert png(plot(kind, FRAMES[kind]())) == first
    assert b"Software" not in first


@kinds
def test_when_a_chart_is_drawn_then_pyplot_knows_nothing_of_it(kind: str) -> None:
    before = dict(mpl.rcParams)
    figure = plot(kind, FRAMES[kind]())
    assert isinstance(figure, Chart)
    assert _pylab_helpers.Gcf.get_all_fig_managers() == []
    assert dict(mpl.rcParams) == before
    assert figure.get_figwidth() == 6.3
    assert 1.0 < figure.get_figheight() < 5.2


@kinds
def test_when_axes_are_given_then_the_chart_is_drawn_there(kind: str) -> None:
    figure = Figure(layout="constrained", figsize=(12, 4))
    left, right = figure.subplots(1, 2)
    assert plot(kind, FRAMES[kind](), ax=right) is figure
    plot(kind, FRAMES[kind](), ax=left)
    alone = getattr(plot(kind, FRAMES[kind]()), "alt")  # noqa: B009 - a plain Figure has none
    assert getattr(figure, "alt") == f"{alone} {alone}"  # noqa: B009


@kinds
def test_when_a_page_is_white_or_dark_then_all_that_is_written_or_drawn_shows_on_it(kind: str) -> None:
    figure = plot(kind, FRAMES[kind]())
    pixels = Image.open(io.BytesIO(png(figure))).convert("RGBA")
    assert pixels.getpixel((0, 0))[3] == 0  # type: ignore[index]
    for text in figure.findobj(Text):
        if text.get_text():
            assert contrast(text.get_color(), "white") >= 4.5
            assert contrast(text.get_color(), "#111111") >= 4
    found = [to_rgba(bar.get_facecolor()) for ax in axes(figure) for bar in bars(ax)]
    assert all(contrast(colour, "#111111") >= 2.8 for colour in found if colour[3] == 1)


def contrast(colour: ColorType, page: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""
    light, dark = sorted((luminance(colour), luminance(page)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: ColorType) -> float:
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_when_profiles_are_charted_then_each_has_one_colour_in_all_charts() -> None:
    def colours(kind: str, frame: Frame) -> dict[str, Any]:
        """Return the colours of the bars by their labels."""
        found = [bars for ax in axes(plot(kind, frame)) for bars in ax.containers]
        return {str(each.get_label()): each.patches[0].get_facecolor() for each in found}  # type: ignore[attr-defined]

    seen = [colours("gantt", calls()), colours("replies", answers()), colours("tokens_vs_cost", ledger())]
    seen += [colours("spend", ledger().assign(model=["gpt-6-luna", "claude-opus-5-5", "gpt-6-luna", "own"]))]
    fast, premium = to_rgba(PALETTE[1]), to_rgba(PALETTE[3])  # the second and the fourth of the built-in profiles
    assert [each["fast"] for each in seen[:3]] == [fast] * 3
    assert [seen[0]["premium"], seen[2]["premium"]] == [premium] * 2
    assert (seen[3]["gpt-6-luna"], seen[3]["claude-opus-5-5"]) == (fast, premium)  # the models of these profiles
    assert seen[1]["gateway"] == seen[2]["gateway"] not in (fast, premium)


def test_when_the_axes_are_of_no_figure_then_the_error_says_so() -> None:
    figure = Figure()
    ax = figure.subplots()
    ax.remove()
    with pytest.raises(ConfigError, match="belong to no figure"):
        plot("spend_over_time", ledger(), ax=ax)


@kinds
@pytest.mark.parametrize("shape", ["tame", "wild", "one row"])
def test_when_a_chart_is_drawn_then_no_text_is_clipped_or_hidden(kind: str, shape: str) -> None:
    frame = wild(kind) if shape == "wild" else FRAMES[kind]().head(1 if shape == "one row" else 99)
    figure = plot(kind, frame)
    assert clipped(figure) == []
    assert overlapping(boxes(figure)) == []


@kinds
def test_when_there_is_nothing_then_the_chart_says_so(kind: str) -> None:
    figure: Any = plot(kind, FRAMES[kind]().head(0))
    assert "nothing to show yet" in figure.alt
    assert figure._repr_mimebundle_() == {"text/html": f"<p>{figure.alt}</p>", "text/plain": f"<Chart: {figure.alt}>"}
    assert [text.replace("\n", " ").rstrip(".") for text in texts(figure)] == [figure.alt.rstrip(".")]
    assert not any(ax.axison for ax in axes(figure))
    assert png(figure)


@kinds
def test_when_a_column_is_missing_then_the_error_says_which_and_where_from(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind} needs the columns .+ Give it .+"):
        plot(kind, pd.DataFrame({"mode": ["live"]}))


def test_when_the_kind_is_misspelt_then_the_error_suggests_one() -> None:
    with pytest.raises(ConfigError, match=r"no chart 'parreto'\. Did you mean 'pareto'\?"):
        plot("parreto", comparison())


@kinds
@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("simulate", "simulated: list prices"),
        ("replay", "replayed: list prices"),
        ("live", None),
        ("record", None),
    ],
)
def test_when_no_money_was_spent_then_the_chart_says_so(kind: str, mode: str, said: str | None) -> None:
    figure = plot(kind, FRAMES[kind]().assign(mode=mode))
    said = said and said.replace("list prices", "not a provider's timings" if kind == "gantt" else "list prices")
    found = [text for text in texts(figure) if "simulated" in text or "replayed" in text]
    assert [text.splitlines()[-1] for text in found] == ([said] if said else [])


def test_when_some_was_simulated_then_it_is_said_to_be_partly() -> None:
    figure = plot("tokens_vs_cost", ledger().assign(mode=["live", "simulate", "simulate", "replay"]))
    assert "partly simulated and replayed: list prices" in texts(figure)


# The others draw money as lines and points: each has a test of its own below.
AS_LINES = {"break_even", "gantt", "pareto", "spend", "spend_over_time"}
DRAWN_AS_BARS = [kind for kind in sorted(FRAMES) if kind not in AS_LINES]


@pytest.mark.parametrize("kind", DRAWN_AS_BARS)
def test_when_no_price_is_known_then_nothing_is_drawn_as_0(kind: str) -> None:
    frame = FRAMES[kind]().assign(cost=None).drop(columns=["what_if_cost"], errors="ignore")
    figure = plot(kind, frame)
    money = axes(figure)[-1]
    hatched = bars(money, "unpriced")
    assert hatched
    assert all(bar.get_hatch() and bar.get_width() > 0 for bar in hatched)
    assert "unpriced" in texts(figure)
    assert "unpriced" in legend(figure)
    assert "unpriced" in figure.alt  # type: ignore[attr-defined]


def test_when_names_are_odd_then_they_are_drawn_as_they_are_written() -> None:
    odd = ["$x_1$ and $y$", "two\nlines", "<b>\\frac{1}{2}", "日本語"]
    figure = plot("cost_by_stage", stages().assign(stage=odd))
    png(figure)
    names = row_names(figure.axes[0])
    assert names[1:4] == [r"\$x_1\$ and \$y\$", "two lines", "<b>\\frac{1}{2}"]


# --- in a notebook ---


def test_when_a_notebook_shows_a_chart_then_it_does_once_and_with_its_alt_text() -> None:
    from IPython.core.formatters import DisplayFormatter

    figure = plot("tokens_vs_cost", ledger())
    data, _ = DisplayFormatter().format(figure)
    assert sorted(data) == ["image/png", "text/html", "text/plain"]
    assert data["text/html"].count("<img") == 1
    assert data["text/plain"] == f"<Chart: {figure.alt}>"  # type: ignore[attr-defined]


def test_when_a_figure_becomes_html_then_it_carries_picture_and_words() -> None:
    figure = plot("cost_by_stage", stages().assign(stage=['"a" <b>', "c", "d", "e"]))
    before = png(figure)
    html = html_image(figure)
    assert "&quot;a&quot; &lt;b&gt;" in html
    assert "<b>" not in html
    (title,) = re.findall("<strong>(.*)</strong>", html)
    assert unescape(title) in " ".join(" ".join(texts(figure)).split())
    assert png(figure) == before
    shown = base64.b64decode(html.split("base64,")[1].split('"')[0])
    bare, whole = (Image.open(io.BytesIO(data)) for data in (shown, before))
    assert bare.width == whole.width
    assert bare.height < whole.height - 40  # title and notes are text above it
    assert 'alt=""' in html_image(Figure())


# --- cost by stage ---


def test_when_each_stage_is_priced_twice_then_the_waterfall_leads_from_the_baseline_to_the_actual_cost() -> None:
    figure = plot("cost_by_stage", stages())
    (ax,) = axes(figure)
    assert row_names(ax) == ["same calls at sonnet's prices", *stages().stage, "actual cost"]
    assert spans(ax) == [
        (0, 0.1227),
        (0.0567, 0.066),
        (0.039555, 0.017145),
        (0.031605, 0.00795),
        (0.031605, 0),
        (0, 0.031605),
    ]
    assert "These calls cost 74 % less than the same calls at sonnet's prices" in written(figure)
    assert "USD 0.0316, not USD 0.1227." in written(figure)
    assert f"USD 0.0009 ({MINUS}0.0171)" in texts(figure)
    assert ax.get_xlabel() == "USD"
    assert legend(figure) == ["baseline", "saved", "actual"]


def test_when_a_stage_is_more_expensive_than_the_baseline_then_its_step_goes_up() -> None:
    frame = pd.DataFrame({"stage": ["a", "b"], "cost": [3.0, 1.0], "what_if": "x", "what_if_cost": [1.0, 4.0]})
    figure = plot("cost_by_stage", frame)
    assert spans(axes(figure)[0]) == [(0, 5), (5, 2), (4, 3), (0, 4)]
    assert "USD 3.0000 (+2.0000)" in texts(figure)
    assert "more than the baseline" in legend(figure)


def test_when_the_baseline_is_one_call_then_the_stages_add_up_and_a_line_marks_it() -> None:
    one = SimpleNamespace(baseline="one call to premium", baseline_cost=0.0234, estimated=True)
    frame = stages().drop(columns=["what_if", "what_if_cost"]).assign(strategy="funnel")
    figure = plot("cost_by_stage", frame, savings=one)
    (ax,) = axes(figure)
    assert spans(ax) == [(0, 0.0234), (0, 0), (0, 0.000855), (0.000855, 0.01725), (0.018105, 0.0135), (0, 0.031605)]
    assert "Funnel cost 35 % more than one call to premium (estimated)" in written(figure)
    assert [line.get_xdata() for line in ax.lines if line.get_linestyle() == "--"] == [[0.0234, 0.0234]]


def test_when_the_baseline_s_price_is_unknown_then_there_is_no_baseline() -> None:
    unknown: Any = SimpleNamespace(baseline="one call to x", baseline_cost=None, estimated=True)
    frame = stages().assign(what_if_cost=[float("nan"), 1, 1, 1])
    for given in (None, unknown):
        figure = plot("cost_by_stage", frame, savings=given)
        assert row_names(axes(figure)[0]) == [*frame.stage, "actual cost"]
        assert "implement took 55 % of USD 0.0316" in texts(figure)


def test_when_a_call_is_unpriced_then_nothing_is_compared_and_the_sum_is_a_lower_bound() -> None:
    figure = plot("cost_by_stage", stages().assign(cost=[0.5, float("nan"), 0.25, float("nan")]))
    (ax,) = axes(figure)
    assert "Cost by stage: >= USD 0.7500 (2 unpriced)" in texts(figure)
    assert legend(figure) == ["local", "fast", "code", "sonnet", "actual", "unpriced"]
    assert spans(ax) == [(0, 0.5), (0.5, 0), (0.5, 0.25), (0.75, 0), (0, 0.75)]
    assert [round(bar.get_x(), 9) for bar in bars(ax, "unpriced")] == [0.5, 0.75, 0.75]


# --- funnel ---


def test_when_a_run_narrows_then_the_funnel_shows_items_and_money() -> None:
    figure = plot("funnel", stages())
    items, money = axes(figure)
    assert row_names(items) == list(stages().stage)
    assert spans(items, "items") == [(-5, 10), (-5, 10), (-1.5, 3), (-0.5, 1)]
    assert spans(items, "kept") == [(-5, 10), (-1.5, 3), (-0.5, 1), (-0.5, 1)]
    assert spans(money) == [(0, 0), (0, 0.000855), (0, 0.01725), (0, 0.0135)]
    assert money.get_xlabel() == "USD"
    assert {"10", "10 → 3", "3 → 1", "1", "From 10 items to 1 for USD 0.0316"} <= {*texts(figure)}


def test_when_a_run_was_stopped_then_the_funnel_ends_with_the_last_stage_that_brought_items() -> None:
    figure = plot("funnel", stages().assign(items=[10, 10, 3, 0], kept_items=[10, 3, 1, 0]))
    assert {"3 → 1", "none", "From 10 items to 1 for USD 0.0316; nothing came of review"} <= {*texts(figure)}


# --- strategies ---


def test_when_strategies_are_compared_then_both_baselines_are_drawn_and_named() -> None:
    figure = plot("strategy_comparison", comparison())
    (ax,) = axes(figure)
    assert row_names(ax) == ["Tiered", "Funnel", "Specialized"]
    assert [spans(ax, name) for name in row_names(ax)] == [[(0, 0.01)], [(0, 0.04)], [(0, 0.04)]]
    assert spans(ax, "same calls") == [(0, 0.12)] * 3
    assert [line.get_xdata() for line in ax.lines if line.get_label() == "one call"] == [[0.02]] * 3
    assert legend(figure) == ["actual cost", "same calls at premium's prices", "one call to premium (estimated)"]
    assert ax.get_xlabel() == "USD for each task"
    assert f"USD 0.0400 ({MINUS}67 % / +100 %)" in texts(figure)
    assert "Tiered cost least on 2 tasks: USD 0.0100 for each" in texts(figure)


def test_when_a_task_of_a_strategy_is_unpriced_then_its_bar_goes_on_hatched_and_it_is_not_the_cheapest() -> None:
    frame = comparison()
    frame.loc[frame.strategy.eq("Tiered") & frame.task.eq("task 1"), "cost"] = None
    figure = plot("strategy_comparison", frame)
    (ax,) = axes(figure)
    assert [bar.get_y() for bar in bars(ax, "unpriced")] == [pytest.approx(2 - 0.31)]
    assert "Funnel cost least" not in figure.alt  # type: ignore[attr-defined]
    assert "Tiered cost least" not in figure.alt  # type: ignore[attr-defined]


def test_when_quality_is_known_then_the_front_holds_what_nothing_beats() -> None:
    figure = plot("pareto", comparison())
    (ax,) = axes(figure)
    (front,) = [line for line in ax.lines if line.get_label() == "front"]
    assert [tuple(map(float, place)) for place in front.get_xydata()] == [  # type: ignore[union-attr]
        pytest.approx((0.01, 0.65)),
        pytest.approx((0.04, 0.9)),
    ]
    # Differences of 0.2 and 0.3 in score: 0.25, and Student's t of one degree of freedom times 0.05.
    assert intervals(ax) == [
        pytest.approx((0.01, 0.9 - 0.25 - 12.7062 * 0.05, 1), abs=1e-5),  # 1.29, and scores end at 1
        pytest.approx((0.04, 0.407, 1), abs=1e-3),
    ]
    assert [line.get_marker() for line in ax.lines if line.get_label() == "end"] == ["_", "^"] * 2
    assert [line.get_ydata()[0] for line in ax.lines if line.get_label() == "reference"] == [0.9]  # type: ignore[index]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("USD for each task", "score (higher is better)")
    assert texts(figure).count("Cost and quality: 2 tasks show no clear best") == 1
    verdict = "No difference in score is visible with 2 tasks; about 10 would show 0.05 between Funnel and Specialized,"
    assert f"{verdict} four times in five." in written(figure)
    assert "Bars: 95 % intervals of the difference from Funnel, the dotted line." in written(figure)
    assert legend(figure) == ["no cheaper one scored as high", "a cheaper one scored as high"]


def intervals(ax: Axes) -> list[tuple[float, float, float]]:
    """Return the bars of a Pareto chart: cost, and the two ends."""
    found = [line for line in ax.lines if line.get_label() == "interval"]
    return [(float(line.get_xdata()[0]), *map(float, line.get_ydata())) for line in found]  # type: ignore[index,arg-type]


def written(figure: Figure) -> str:
    """Return all that is written on one line, however it is broken."""
    return " ".join(" ".join(texts(figure)).split())


def scored(**scores: list[float | None]) -> pd.DataFrame:
    """Return a comparison of strategies by their scores on tasks; None is a run that failed."""
    rows = [
        {
            "strategy": name,
            "task": f"task {at}",
            "cost": cost,
            "score": score,
            "error": None if score is not None else "no",
        }
        for cost, (name, each) in enumerate(scores.items(), start=1)
        for at, score in enumerate(each)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("frame", "verdict", "bars"),
    [
        (scored(a=[0.9, 0.8, 0.9], b=[0.3, 0.2, 0.35]), "a scores higher than b, by 0.51 to 0.66", 1),
        (scored(a=[0.9, 0.8, 0.9], b=[0.3, 0.2, 0.35], c=[0.1, 0.1, 0.2]), "a scores higher than every other", 2),
        (
            scored(a=[0.9, 0.8, 0.9], b=[0.3, 0.2, 0.35], c=[0.8, 0.9, 0.85]),
            "no difference in score is visible between a and c with 3 tasks; about 30 would show 0.05",
            2,
        ),
        (scored(c=[0.1, 0.1, 0.2], b=[0.3, 0.2, 0.35], a=[0.9, 0.8, 0.9]), "a scores higher than every other", 2),
        (
            scored(a=[0.9, 0.8, 0.9], b=[0.3, 0.2, 0.35], c=[0.8, 0.9, 0.85], d=[0.9, 0.8, 0.85]),
            "no difference in score is visible between a, c and d with 3 tasks; about 30 would show 0.05 between a",
            3,
        ),
        (
            scored(a=[1, 1, 1, 1, 0], b=[0, 1, 1, 1, 0], c=[0, 0, 1, 1, 1]),
            "no difference in score is visible with 5 tasks; about 980 would show 0.05 between a and b, four times",
            2,
        ),
        (
            scored(a=[0.9, 0.7], b=[0.7, 0.85]),
            "no difference in score is visible with 2 tasks; about 200 would show 0.05",
            1,
        ),
        (scored(a=[0.9], b=[0.7]), "no interval shows which is better: one task is too few", 0),
        (scored(a=[1, 1, 1, 1], b=[0, 0, 0, 0]), "no interval shows which is better: 0/1 scores need 5 tasks", 0),
        (scored(a=[1] * 8, b=[0] * 8), "a scores higher than b, by 0.59 to 1", 1),
        (
            scored(a=[1, 0, 1, 1, 1], b=[1, 0, 0, 0, 1]),
            "no difference in score is visible with 5 tasks; about 1,200 would",
            1,
        ),
        (scored(a=[0.9, 0.8, 0.9]), "nothing to compare", 0),
        (scored(a=[0.9, None], b=[None, 0.3]), "nothing to compare", 0),
        (scored(a=[0.9, None, None], b=[0.5, 0.4, 0.45]), "nothing to compare", 0),
    ],
    ids=lambda value: "" if isinstance(value, pd.DataFrame) else None,
)
def test_when_scores_are_charted_then_the_verdict_says_no_more_than_the_intervals(
    frame: pd.DataFrame, verdict: str, bars: int
) -> None:
    figure = plot("pareto", frame)
    assert verdict.lower() in written(figure).lower()
    best = "a scores highest", " show no clear best", "Cost and quality on ", "nothing to compare"
    begins = "a scores", "no difference", "no interval", "nothing"
    for title, begin in zip(best, begins, strict=True):
        assert (title in written(figure)) == verdict.startswith(begin)
    assert len(intervals(axes(figure)[0])) == bars


def test_when_a_run_failed_then_both_charts_compare_what_all_answered_and_name_it() -> None:
    frame = scored(flaky=[None, None, 1.0, None, None], slow=[0.5, 0.6, 0.9, 0.4, 0.5], dear=[0.1, 0.2, 0.4, 0.3, 0.2])
    pareto, costs = plot("pareto", frame), plot("strategy_comparison", frame)
    for figure in (pareto, costs):
        assert "Only one task that all answered; not ranked: flaky answered 1 of 5." in written(figure)
    (ax,) = axes(pareto)
    front, hollow = ([line for line in ax.lines if line.get_label() == name] for name in ("front", "flaky"))
    assert front[0].get_ydata() == [0.9]
    assert hollow[0].get_markerfacecolor() == "none"
    assert "with failed runs" in legend(pareto)
    assert "slow cost least on one task: USD 2.0000 for each" in texts(costs)  # flaky cost less, and failed


def test_when_costs_of_one_task_are_small_then_a_chart_shows_those_of_many() -> None:
    frame = pd.DataFrame({"strategy": ["a", "b"], "task": ["t", "t"], "cost": [0.00007, 0.0004], "score": [0.5, 1.0]})
    figure = charts.pareto(frame, per=10_000)
    assert axes(figure)[0].get_xlabel() == "USD for 10,000 tasks"
    assert "a USD 0.7000, score 0.5; b USD 4.0000" in figure.alt  # type: ignore[attr-defined]


def test_when_mistakes_cost_something_then_a_chart_says_which_strategy_is_cheapest_up_to_where() -> None:
    # Of 40 tasks `cheap` solves 30, `mid` 38 and `dear` 39; `odd` costs more than `mid` and is worse.
    solved, costs = (
        {"cheap": 30, "mid": 38, "dear": 39, "odd": 35},
        {"cheap": 1e-4, "mid": 3e-4, "dear": 2e-3, "odd": 1e-3},
    )
    frame = pd.DataFrame(
        [
            {"strategy": name, "task": task, "cost": costs[name], "score": float(task < right)}
            for name, right in solved.items()
            for task in range(40)
        ]
    )
    figure = charts.break_even(frame, per=10_000)
    title = "Cheapest as measured: cheap below USD 0.0010 a mistake, mid below USD 0.0680, above that dear"
    assert title in figure.alt  # type: ignore[attr-defined]
    lines: list[Any] = [*axes(figure)[0].lines]
    limits = [tuple(line.get_xydata()[0]) for line in lines if line.get_label() == "limit"]
    assert limits == [
        pytest.approx((2e-4 / 0.2, 10_000 * (1e-4 + 0.25e-3))),
        pytest.approx((0.068, 10_000 * (3e-4 + 0.05 * 0.068))),
    ]
    spans = [line.get_xydata()[:, 0] for line in lines if line.get_label() == "interval"]
    assert spans[0][0] < 0.001 < spans[0][1] < 0.068  # paired, 8 tasks of 40: a difference is certain
    assert spans[1][1] == pytest.approx(0.68)  # one task of 40 is not, so that the bar leaves the axis
    assert "Bars: 95 % intervals of the limits, by 40 tasks." in written(figure)
    assert "They overlap" not in written(figure)  # apart, so that `mid` has a range of its own
    span = r"USD [\d.]+"
    assert re.search(rf"The intervals: cheap or mid: {span} to {span}; mid or dear: {span} to no limit\.", figure.alt)  # type: ignore[attr-defined]
    dotted = [line.get_label() for line in lines if line.get_linestyle() == ":"]
    assert dotted == ["odd"]
    assert axes(figure)[0].get_xscale() == "log"
    near = axes(charts.break_even(frame[frame.strategy != "dear"].replace({"cost": {1e-3: 4e-4}})))[0]
    assert (near.get_xscale(), near.get_yscale(), near.get_ylim()[0]) == ("linear", "linear", 0)  # a limit: 0.001
    one = plot("break_even", frame[frame.strategy == "mid"])
    assert "mid is cheapest, whatever a mistake costs" in written(one)
    frame.loc[frame.strategy == "odd", "cost"] = None
    assert "so not drawn: odd." in written(plot("break_even", frame))
    with pytest.raises(ConfigError, match="from 0 to 1"):
        plot("break_even", frame.assign(score=7))


def test_when_what_a_mistake_costs_is_known_then_the_chart_of_limits_reaches_it() -> None:
    solved, costs = {"cheap": 27, "mid": 33, "dear": 35}, {"cheap": 7e-5, "mid": 1.7e-4, "dear": 4e-4}
    frame = pd.DataFrame(
        [
            {"strategy": name, "task": task, "cost": costs[name], "score": float(task < right)}
            for name, right in solved.items()
            for task in range(36)
        ]
    )
    without, known = charts.break_even(frame, per=10_000), charts.break_even(frame, per=10_000, mistake=0.3)
    assert axes(without)[0].get_xlim()[1] < 0.3 < axes(known)[0].get_xlim()[1]
    drawn: list[Any] = [*axes(known)[0].lines]
    assert [tuple(line.get_xdata()) for line in drawn if line.get_label() == "mistake"] == [(0.3, 0.3)]
    assert "at USD 0.30 a mistake the totals are dear USD 87; mid USD 252; cheap USD 751." in written(known)
    assert "They overlap: the tasks leave open whether mid is ever the cheapest." in written(known)
    with pytest.raises(ConfigError, match="above 0"):
        plot("break_even", frame, mistake=0)


def test_when_lines_end_apart_then_each_is_named_at_its_end_and_else_in_the_legend() -> None:
    def drawn(**solved: int) -> Figure:
        frame = pd.DataFrame(
            [
                {"strategy": name, "task": task, "cost": 4e-4 - 5e-5 * place, "score": float(task < right)}
                for place, (name, right) in enumerate(solved.items())
                for task in range(36)
            ]
        )
        return charts.break_even(frame, per=10_000, mistake=0.3)

    apart = drawn(dear=35, mid=33, cheap=20)
    figure_axes = axes(apart)[0]
    ends = {line.get_label(): line.get_ydata()[-1] for line in figure_axes.lines}  # type: ignore[index]
    named = {text.get_text(): text.xy[1] for text in figure_axes.texts if isinstance(text, Annotation)}
    assert [named[name] for name in ("dear", "mid", "cheap")] == [ends[name] for name in ("dear", "mid", "cheap")]
    assert legend(apart) == []
    assert clipped(apart) == overlapping(boxes(apart)) == []
    assert figure_axes.get_xlabel() == "USD that a mistake costs (both axes are logarithmic)"
    near = drawn(dear=35, mid=33, alike=33, cheap=20)
    assert legend(near) == ["dear", "mid", "alike", "cheap"]
    assert "mid" not in [text.get_text() for text in axes(near)[0].texts]
    assert clipped(near) == []
    assert legend(drawn(dear=35, a_name_that_takes_much_room_1=20)) != []


def test_when_a_strategy_has_no_price_or_score_then_it_is_named_and_not_drawn() -> None:
    frame = comparison()
    frame.loc[frame.strategy == "Tiered", "cost"] = None
    frame.loc[frame.strategy == "Specialized", "score"] = None
    figure = plot("pareto", frame)
    drawn = {line.get_label() for line in axes(figure)[0].lines}
    assert {"Tiered", "Specialized"} & drawn == set()
    assert any(
        "Unpriced, so not drawn: Tiered. Without a score, so not drawn: Spec" in " ".join(text.split())
        for text in texts(figure)
    )


def test_when_costs_lie_far_apart_then_the_axis_is_logarithmic_and_says_so() -> None:
    frame = comparison().assign(cost=[1e-6, 1e-4, 1e-2] * 2)
    (ax,) = axes(plot("pareto", frame))
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "USD for each task (logarithmic)"
    (ax,) = axes(plot("pareto", frame.assign(cost=[0, 1e-4, 1e-2] * 2)))
    assert ax.get_xscale() == "symlog"
    assert ax.get_xlabel() == "USD for each task (logarithmic, with a 0)"
    assert list(ax.get_xticks()) == pytest.approx([0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
    assert axes(plot("pareto", frame.assign(cost=[0, 1e-3, 1e-2] * 2)))[0].get_xscale() == "linear"


@pytest.mark.parametrize("count", [1, 3, 8, 16, 25])
@pytest.mark.parametrize("seed", range(3))
def test_when_strategies_stand_close_then_each_name_is_whole_beside_its_point_and_hides_none(
    count: int, seed: int
) -> None:
    dice = random.Random(seed)
    frame = pd.DataFrame(
        [{"strategy": f"strategy {at}", "cost": dice.random() / 90, "score": dice.random()} for at in range(count)]
    ).assign(score_se=0.02)
    figure = plot("pareto", frame)
    figure.draw_without_rendering()
    (ax,) = axes(figure)
    names = [text for text in ax.texts if text.get_text().startswith("strategy ")]
    found = [(text.get_text(), Text.get_window_extent(text)) for text in names]
    spots = ax.transData.transform([line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"])  # type: ignore[index]
    assert sorted(name for name, _ in found) == sorted(frame.strategy)
    assert overlapping(found) == []
    assert [name for name, box in found if not ax.bbox.containsx(box.x0) or not ax.bbox.containsx(box.x1)] == []
    assert [name for name, box in found if not ax.bbox.containsy(box.y0) or not ax.bbox.containsy(box.y1)] == []
    assert [name for name, box in found for x, y in spots if box.contains(x, y)] == []


def plans(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """Return the table of a search: plan, state, USD of 10,000 tasks, quality."""
    frame = pd.DataFrame(rows, columns=["plan", "state", "cost", "quality"])
    return frame.assign(cost=frame.cost / 10_000, low=frame.quality - 0.05, high=frame.quality + 0.02)


def test_when_a_search_is_charted_then_every_plan_has_its_name_and_hides_none() -> None:
    frame = plans(
        ("local", "not chosen", 0.0, 0.475),
        ("local > fast", "not chosen", 1.05, 0.575),
        ("fast", "not chosen", 1.64, 0.625),
        ("local > fast > default", "not chosen", 14.57, 0.675),
        ("local > default", "not chosen", 14.61, 0.675),
        ("fast > default", "not chosen", 15.16, 0.725),
        ("default", "not chosen", 22.04, 0.75),
        ("local > fast > premium", "certified", 25.24, 0.95),
        ("fast > premium", "certified", 27.04, 0.96),
        ("local > premium", "certified", 29.85, 0.94),
        ("fast > default > premium", "futile", 35.51, 0.97),
        ("local > default > premium", "not chosen", 38.39, 0.9),
        ("premium", "reference", 43.73, 0.96),
        ("default > premium", "not chosen", 47.07, 1.0),
    )
    figure = plans_chart(frame, bar=0.864, asked="90 % of it", best="local > fast > premium", title="It keeps 90 %")
    assert {*frame.plan} <= {*texts(figure)}
    assert overlapping(boxes(figure)) == []
    assert clipped(figure) == []
    assert hidden(figure, frame) == []
    assert legend(figure) == [
        "the plan found",
        "certified, too",
        "reference",
        "tested, not certified",
        "seen in the pilot only",
    ]
    assert "Dashed: 90 % of it (0.864). Bars: 95 % intervals." in written(figure)


def test_when_a_name_stands_beside_its_point_then_no_line_leads_there_and_others_look_like_no_interval() -> None:
    near = plans(("alone", "certified", 25.0, 0.95), ("far from it", "certified", 45.0, 0.85))
    assert leads(plans_chart(near, bar=None, asked="", best="alone", title="Two plans")) == []
    costs = {"local > fast > premium": 25.24, "fast > premium": 27.04, "local > premium": 29.85, "premium": 43.73}
    crowd = plans(*[(name, "certified", cost, 0.95) for name, cost in costs.items()])
    figure = plans_chart(crowd, bar=0.864, asked="90 %", best="local > fast > premium", title="It keeps 90 %")
    (ax,) = axes(figure)
    found = leads(figure)
    bars = [line for line in ax.lines if len(line.get_xydata()) == 2 and line.get_linestyle() == "-"]  # type: ignore[arg-type]
    assert found
    assert len(bars) == len(crowd)
    assert {str(lead.get_linestyle()) for lead in found} & {"-", "solid"} == set()
    assert max(lead.get_linewidth() for lead in found) < min(line.get_linewidth() for line in bars) / 2


def leads(figure: Figure) -> list[FancyArrowPatch]:
    """Return the lines that lead from a name to its point."""
    figure.draw_without_rendering()
    found = [note.arrow_patch for ax in axes(figure) for note in ax.texts if isinstance(note, Annotation)]
    return [lead for lead in found if lead is not None]


def test_when_plans_of_the_pilot_stand_close_then_a_name_that_would_hide_something_is_left_out() -> None:
    dice = random.Random(1)
    tested = [(f"tested {at}", "futile", 20 + dice.random(), 0.5 + dice.random() / 9) for at in range(4)]
    others = [(f"pilot {at}", "not chosen", 20 + dice.random(), 0.5 + dice.random() / 9) for at in range(40)]
    frame = plans(*tested, *others, ("alone", "not chosen", 40.0, 0.2))
    figure = plans_chart(frame, bar=None, asked="", best=None, title="Nothing was found")
    named = {*texts(figure)} & {*frame.plan}
    assert {"alone", *(name for name, *_ in tested)} <= named
    assert len(named) < len(frame)
    assert [pair for pair in overlapping(boxes(figure)) if "pilot" in str(pair)] == []
    assert [name for name in hidden(figure, frame) if not name.startswith("tested")] == []
    assert legend(figure) == ["tested, not certified", "seen in the pilot only"]


def hidden(figure: Figure, frame: pd.DataFrame) -> list[str]:
    """Return the names that lie on a point."""
    (ax,) = axes(figure)
    spots = ax.transData.transform([line.get_xydata()[0] for line in ax.lines if line.get_marker() == "o"])  # type: ignore[index]
    return [name for name, box in boxes(figure) if name in {*frame.plan} for x, y in spots if box.contains(x, y)]


def test_when_plans_have_the_same_evidence_then_each_line_is_seen() -> None:
    rows = [(plan, tasks, tasks / 2, 80.0) for plan in ("a", "b", "c") for tasks in (20, 40, 60)]
    figure = race_chart(pd.DataFrame(rows, columns=["plan", "tasks", "evidence", "needed"]), title="None yet")
    widths = [line.get_linewidth() for line in axes(figure)[0].lines if len({*line.get_ydata()}) == 4]  # type: ignore[arg-type]
    assert len(widths) == 3
    assert [one - other >= 1 for one, other in pairwise(widths)] == [True] * 2  # thinner than what it lies on
    assert min(widths) >= 1


def test_when_points_coincide_then_their_names_do_not() -> None:
    figure = plot("pareto", comparison().assign(cost=0.01, score=0.5))
    assert overlapping(boxes(figure)) == []
    assert {"Funnel", "Tiered", "Specialized"} <= {*texts(figure)}


# --- time ---


def test_when_calls_run_at_once_then_the_gantt_shows_waiting_and_answering() -> None:
    figure = plot("gantt", calls())
    (ax,) = axes(figure)
    assert row_names(ax) == ["explore · fast", "explore · fast", "review · premium"]
    assert spans(ax, "fast") == [(0, 1), (0.5, 1)]
    assert spans(ax, "queue") == [(0, 0.5)]
    assert spans(ax, "premium") == [(1.5, 0.5), (2.5, 1.5)]
    assert len({bar.get_y() for bar in bars(ax, "premium")}) == 1
    assert [line.get_xdata() for line in ax.lines] == [[2.0]]
    assert ax.get_xlabel() == "seconds"
    assert legend(figure) == ["fast", "premium", "waiting for a place", "failed or stopped"]
    assert "3 calls in 4.0 s; one after the other they take 4.0 s" in texts(figure)


def test_when_the_ledger_is_charted_then_time_begins_where_the_first_was_asked_for() -> None:
    frame = pd.DataFrame(
        {
            "ts": [NOON + timedelta(seconds=2), NOON + timedelta(seconds=5)],
            "call_id": ["a", "b"],
            "profile": "fast",
            "latency": [1.0, None],
            "queue": [2.0, None],
        }
    )
    (ax,) = axes(plot("gantt", frame))
    assert spans(ax, "queue") == [(0, 2)]
    assert spans(ax, "fast") == [(2, 1)]


def test_when_there_are_several_runs_then_the_gantt_shows_the_latest() -> None:
    figure = plot("gantt", calls().assign(run_id=["one", "one", "two", "two"]))
    assert row_names(axes(figure)[0]) == ["review · premium"]
    assert "The latest of 2 runs." in texts(figure)


def test_when_there_are_a_hundred_calls_then_the_page_stays_readable() -> None:
    rows = [{"call_id": str(at), "profile": "fab"[at % 3], "start": at / 10, "latency": 1.0} for at in range(100)]
    figure = plot("gantt", pd.DataFrame(rows))
    assert figure.get_figheight() < 9
    assert overlapping(boxes(figure)) == []
    assert axes(figure)[0].get_ylabel() == "calls"


def test_when_there_are_thousands_of_calls_then_the_first_are_drawn_and_all_are_counted() -> None:
    rows = [{"call_id": str(at), "profile": "fast", "start": at / 10, "latency": 1.0} for at in range(2_000)]
    figure = plot("gantt", pd.DataFrame(rows))
    assert len(spans(axes(figure)[0], "fast")) == 300
    assert any(text.startswith("2,000 calls in 200.9 s") for text in texts(figure))
    assert "Drawn are the first 300 calls." in texts(figure)


def test_when_money_is_spent_then_the_line_climbs_and_the_unpriced_are_marked() -> None:
    figure = plot("spend_over_time", ledger().iloc[::-1])
    (ax,) = axes(figure)
    listed, billed = (next(line for line in ax.lines if line.get_label() == name) for name in ("list price", "billed"))
    assert list(listed.get_ydata()) == list(billed.get_ydata()) == [0, 0.25, 2.25, 2.5, 2.5]  # type: ignore[call-overload]
    (marks,) = [line for line in ax.lines if line.get_label() == "unpriced"]
    assert len(marks.get_xdata()) == 1  # type: ignore[arg-type]
    assert "1 unpriced" in legend(figure)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("USD", f"time, {zone(NOON)}")
    assert ">= USD 2.5000 (1 unpriced) at list prices in 4 attempts" in texts(figure)


# --- by day ---


def days(**columns: Any) -> Frame:
    """Return two attempts a day on four days, of which the third saw none, by two models."""
    rows = [
        {"ts": NOON + timedelta(days=day), "model": model, "cost": cost, "billed": cost}
        for day in (0, 1, 3)
        for model, cost in (("small", 0.25), ("large", 1.0 * day))
    ]
    return Frame(rows).assign(status="ok", attempt=1, mode="live").assign(**columns)


def stacks(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """Return for each model where its bars begin and end."""
    (ax,) = axes(figure)
    found = {str(bars.get_label()): bars for bars in ax.containers}
    return {
        name: [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars]  # type: ignore[attr-defined]
        for name, bars in found.items()
    }


def test_when_days_are_charted_then_bars_stack_by_model_with_the_line_of_the_budget() -> None:
    figure = plot("spend", days(), budget=2)
    (ax,) = axes(figure)
    assert stacks(figure) == {
        "large": [(0, 0), (0, 1), (0, 0), (0, 3)],
        "small": [(0, 0.25), (1, 1.25), (0, 0), (3, 3.25)],
    }
    assert [line.get_ydata() for line in ax.lines if line.get_label() == "budget"] == [[2.0, 2.0]]
    assert legend(figure) == ["large", "small", "a day's budget, USD 2.0000"]
    assert "USD 4.7500 in 4 days, 84 % of it for large" in texts(figure)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["Nov 22", "Nov 23", "Nov 24", "Nov 25"]
    assert ax.get_xlabel() == f"days, {zone(NOON)}"
    assert {"USD 0.2500", "USD 1.2500", "USD 3.2500"} <= {*texts(figure)}


def test_when_a_budget_is_far_above_all_bars_then_a_note_says_so_instead_of_a_line() -> None:
    figure = plot("spend", days(), budget=650)
    assert "Far below a day's budget of USD 650.00: at most 0 % of it." in texts(figure)
    assert "budget" not in {line.get_label() for line in axes(figure)[0].lines}


def test_when_some_was_simulated_then_it_stands_apart_and_days_without_a_price_are_hatched() -> None:
    figure = plot("spend", days(mode=["live", "simulate"] * 3))
    assert {*stacks(figure)} == {"small"}
    assert "Not drawn, since not paid: USD 4.0000 simulated." in written(figure)
    frame = days(cost=[0.25, None, 0.25, 1.0, 0.25, 3.0])
    figure = plot("spend", frame)
    assert stacks(figure)["unpriced"][0][0] == 0.25
    assert ">= USD 4.7500 (1 unpriced) in 4 days" in texts(figure)
    assert "simulated: list prices" in texts(plot("spend", days(mode="simulate")))


def test_when_a_day_beside_the_highest_is_unpriced_then_its_band_leaves_room_for_the_amount() -> None:
    rows = [
        {"ts": NOON + timedelta(days=day), "model": "small", "cost": 4.0 if day == 24 else 1.0} for day in range(26)
    ]
    rows += [{"ts": NOON + timedelta(days=day), "model": "small", "cost": None} for day in (5, 22, 23, 25)]
    frame = Frame(rows).assign(status="ok", attempt=1, billed=0.0)
    (ax,) = axes(plot("spend", frame))
    amount = next(text.get_window_extent() for text in ax.texts if text.get_text() == "USD 4.0000")
    bands = [band.get_window_extent() for band in bars(ax, "unpriced")]
    assert [band.height > 50 and not band.overlaps(amount) for band in bands] == [True] * 4
    tops = [band.get_y() + band.get_height() for band in bars(ax, "unpriced")]
    assert tops == pytest.approx([ax.get_ylim()[1], 4.0, 4.0, 4.0]), "elsewhere it goes on to the end of the axis"
    frame.loc[frame["cost"] == 4.0, "cost"] = None  # the highest are now those of 1
    (ax,) = axes(plot("spend", frame))
    assert "USD 4.0000" not in [text.get_text() for text in ax.texts]
    assert all(bar.get_height() > 0.04 for bar in bars(ax, "unpriced"))


def test_when_all_was_free_then_a_sentence_says_so() -> None:
    figure: Any = plot("spend", days(cost=0.0))
    assert figure.sentence == "Money by day: nothing, all 6 attempts were free"
    figure = plot("cost_by_stage", stages().drop(columns="what_if_cost").assign(cost=0.0))
    assert figure.sentence == "Cost by stage: nothing, all stages were free"


def test_when_there_are_many_days_or_models_then_there_are_weeks_and_the_rest_is_together() -> None:
    rows = [
        {"ts": NOON + timedelta(days=day), "model": f"model {day % 9}", "cost": 1.0 + day % 9, "billed": 0.0}
        for day in range(90)
    ]
    figure = plot("spend", Frame(rows).assign(status="ok", attempt=1))
    assert {len(each) for each in stacks(figure).values()} == {14}
    assert [*stacks(figure)][-1] == "4 others"
    assert "USD 450.0000 in 14 weeks, 20 % of it for model 8" in texts(figure)
    assert overlapping(boxes(figure)) == []


# --- profiles ---


def test_when_tokens_and_money_go_different_ways_then_both_are_shown() -> None:
    figure = plot("tokens_vs_cost", ledger().head(3))
    tokens, money = axes(figure)
    assert row_names(tokens) == ["premium", "fast"]
    assert spans(tokens, "input tokens") == [(0, 300), (0, 200)]
    assert spans(tokens, "output tokens") == [(300, 60), (200, 40)]
    assert spans(money) == [(0, 2), (0, 0.5)]
    assert {"360 tokens", "USD 2.0000"} <= {*texts(figure)}
    assert (tokens.get_xlabel(), money.get_xlabel()) == ("tokens", "USD")
    assert "premium took 60 % of the tokens and 80 % of the cost" in texts(figure)
    assert row_names(axes(plot("tokens_vs_cost", ledger().assign(stage=None), by="stage"))[0]) == ["(no stage)"]


def test_when_profiles_answer_then_latency_first_text_and_cost_are_shown_and_failures_are_named() -> None:
    figure = plot("replies", answers())
    time, money = axes(figure)
    assert row_names(time) == ["gateway", "fast", "google"]
    assert spans(time, "to the first text") == [(0, 0), (0, 0.5)]
    assert spans(time, "to the end") == [(0, 0.5), (0.5, 1.0)]
    assert [list(line.get_xdata()) for line in time.lines] == [[1.0, 2.0]]  # type: ignore[call-overload]
    assert spans(money, "fast") == [(0, 0.002)]
    assert {"1.5 s (1 failed)", "500 ms", "RateLimitError", "unpriced", "USD 0.0020", "–"} <= {*texts(figure)}
    assert (time.get_xlabel(), money.get_xlabel()) == ("seconds", "USD")
    assert "gateway came first, fast cost least of those with a price" in texts(figure)


@pytest.mark.parametrize(
    ("latencies", "title"),
    [
        ([0.70, 0.74, 4.5], "a and b were about equally fast, a cost least"),
        ([4.5, 0.70, 0.74], "b and c were about equally fast, a cost least"),
        ([0.70, 0.71, 0.72], "a and 2 others were about equally fast, a cost least"),
        ([0.70, 0.80, 4.5], "a came first and cost least"),
        ([0.80, 0.70, 4.5], "b came first, a cost least"),
    ],
)
def test_when_latencies_are_alike_then_no_title_rests_on_their_difference(latencies: list[float], title: str) -> None:
    frame = pd.DataFrame({"profile": ["a", "b", "c"], "status": "ok", "latency": latencies, "ttft": None})
    assert title in texts(plot("replies", frame.assign(cost=[0.001, 0.002, 0.003])))


def test_when_amounts_are_tiny_then_ticks_say_them_in_full() -> None:
    frame = pd.DataFrame({"strategy": [long(1), "b"], "cost": [3e-7, 1e-7]})
    figure = plot("strategy_comparison", frame)
    figure.draw_without_rendering()
    ticks = [text.get_text() for text in axes(figure)[0].get_xticklabels()]
    assert ticks[0] == "0"
    assert "0.0000002" in ticks
    assert all("e" not in tick for tick in ticks)
