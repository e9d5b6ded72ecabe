"""Which strategies are worth their money: cost against quality."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from victor_nb.reports.charts.axes import log_money_axis, log_scale, money_axis, name_axis, no_scale, plain
from victor_nb.reports.charts.canvas import finish, paper
from victor_nb.reports.charts.columns import NOTHING, groups, mean, money, need, numbers, provenance
from victor_nb.reports.charts.header import header, symbol
from victor_nb.reports.charts.labels import Label, Segment, place
from victor_nb.reports.charts.marks import BLUE, GREY, line, points, whiskers
from victor_nb.reports.charts.wording import amount, listing, sentences, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE: Final = 50.0
"""Dearest over cheapest, from which on the axis is logarithmic."""


class _Point(NamedTuple):
    """A strategy: mean USD for each task, mean score, and the score's standard error (NaN: unknown)."""

    name: str
    cost: float
    score: float
    error: float
    front: bool = False


def pareto(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show cost against quality, with the front: the strategies than which none is both cheaper and better.

    Args:
        frame: One row for each strategy and task (`compare(..., judge=...)`): `strategy`, `cost` (USD), `score`, and
            `score_se`, `unpriced`, `mode` where there are such. Points are means over the tasks; error bars are one
            standard error, over several tasks from their spread, of a single one from `score_se`.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "pareto", ("strategy", "cost", "score"), source="the frame of compare(..., judge=...)")
    all_points = [_point(name, rows) for name, rows in groups(frame, "strategy", missing="(no strategy)")]
    known = _with_front([point for point in all_points if not math.isnan(point.cost) and not math.isnan(point.score)])
    ax = paper(ax)
    plain(ax, grid="both")
    _draw(ax, known)
    _scale(ax, known)
    front = [point for point in sorted(known, key=lambda point: (point.cost, point.score)) if point.front]
    title = _title(known, front)
    beaten = [symbol("beaten by another", GREY, "o")] if len(front) < len(known) else []
    legend = [symbol("on the front", BLUE, "o", linestyle="-"), *beaten]
    notes = [_missing(all_points), "Means over tasks; bars are one standard error." if _barred(known) else ""]
    note = provenance(frame)
    header(ax, title, [*notes, note], legend=legend if known else [])
    place(ax, [Label(point.name, point.cost, point.score) for point in known], _lines(known, front))
    said = (f"{point.name} USD {amount(point.cost)}, score {point.score:.3g}{_beaten(point)}" for point in known)
    return finish(ax, sentences("Cost in USD against score", title, listing(said), _missing(all_points), note))


def _point(name: str, rows: pd.DataFrame) -> _Point:
    known, unpriced = money(rows)
    scores = numbers(rows, "score")
    scores = scores[~np.isnan(scores)]
    spread = (
        float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else mean(numbers(rows, "score_se"))
    )
    return _Point(name, float("nan") if unpriced else known / max(len(rows), 1), mean(scores), spread)


def _with_front(points: Sequence[_Point]) -> list[_Point]:
    """Mark the points that no other one beats: at most as dear, at least as good, and better in one of the two."""
    return [point._replace(front=not any(_beats(other, point) for other in points)) for point in points]


def _beats(one: _Point, other: _Point) -> bool:
    at_least = one.cost <= other.cost and one.score >= other.score
    return at_least and (one.cost < other.cost or one.score > other.score)


def _draw(ax: Axes, known: Sequence[_Point]) -> None:
    front = sorted((point for point in known if point.front), key=lambda point: (point.cost, point.score))
    costs, scores = [point.cost for point in front], [point.score for point in front]
    line(ax, costs, scores, BLUE, linewidth=1.2, drawstyle="steps-post", label="front")
    for point in known:
        if not math.isnan(point.error):
            whiskers(ax, point.cost, point.score, point.error, point.name)
        colour = BLUE if point.front else GREY
        points(ax, [point.cost], [point.score], colour, "o", markersize=7, label=point.name, clip_on=True)


def _lines(known: Sequence[_Point], front: Sequence[_Point]) -> list[Segment]:
    """Return what is drawn beside the points: the front's steps, and the error bars."""
    steps = [
        step
        for one, other in pairwise(front)
        for step in (
            Segment(one.cost, one.score, other.cost, one.score),
            Segment(other.cost, one.score, other.cost, other.score),
        )
    ]
    bars = [
        Segment(point.cost, point.score - point.error, point.cost, point.score + point.error)
        for point in known
        if not math.isnan(point.error)
    ]
    return steps + bars


def _scale(ax: Axes, known: Sequence[_Point]) -> None:
    costs, unit = [point.cost for point in known], "USD for each task"
    name_axis(ax.yaxis, "score (higher is better)")
    ax.margins(y=0.15)
    low, high = min(costs, default=0.0), max(costs, default=0.0)
    if low > 0 and high / low >= _WIDE:
        log_scale(ax)
        log_money_axis(ax.xaxis, unit)
        ax.set_xlim(low / 2, high * 2)
        return
    spare = 0.12 * (high - low) or 0.12 * high
    begin = -0.03 * high if low < (high - low) else low - spare
    ax.set_xlim(begin if high else -0.05, high + spare or 1.0)
    money_axis(ax.xaxis, unit)
    if not high:
        no_scale(ax.xaxis, 0)


def _barred(points: Sequence[_Point]) -> bool:
    return any(not math.isnan(point.error) for point in points)


def _beaten(point: _Point) -> str:
    return "" if point.front else " (beaten by another)"


def _title(points: Sequence[_Point], front: Sequence[_Point]) -> str:
    if not points:
        return f"Cost and quality: {NOTHING}"
    if len(front) == 1:
        alone = "Cost and quality of" if len(points) == 1 else "None is better or cheaper than"
        return f"{alone} {short(front[0].name)}"
    return f"Cost and quality: {len(front)} of {len(points)} strategies are worth their money"


def _missing(points: Sequence[_Point]) -> str:
    """Name what cannot be drawn, and why: never at 0."""
    unpriced = [point.name for point in points if math.isnan(point.cost)]
    unscored = [point.name for point in points if math.isnan(point.score) and not math.isnan(point.cost)]
    parts = [
        f"{what}, so not drawn: {', '.join(names)}."
        for what, names in (("Unpriced", unpriced), ("Without a score", unscored))
        if names
    ]
    return " ".join(parts)
