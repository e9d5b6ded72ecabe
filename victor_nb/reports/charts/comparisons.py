"""Which strategies are worth their money: cost against quality."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from victor_nb.reports.charts.drawing import (
    BLUE,
    EDGE,
    GREY,
    NOTHING,
    ORANGE,
    SKY,
    VERMILION,
    Label,
    Segment,
    amount,
    bar,
    bounded,
    change,
    figures,
    finish,
    groups,
    header,
    height,
    line,
    listing,
    log_money_axis,
    log_scale,
    mean,
    money,
    money_axis,
    money_scale,
    name_axis,
    name_rows,
    need,
    no_scale,
    numbers,
    panels,
    paper,
    place,
    plain,
    points,
    provenance,
    seconds,
    seconds_scale,
    sentences,
    short,
    swatch,
    symbol,
    unknown,
    unpriced_swatch,
    whiskers,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


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


class _Bar(NamedTuple):
    """A strategy: USD for each task, and what the baselines would have cost; NaN where nobody knows."""

    name: str
    cost: float
    unpriced: int
    same_calls: float
    one_call: float


def strategy_comparison(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show what each strategy costs for a task, with both baselines: the same calls, and one call, to one profile.

    Args:
        frame: One row for each strategy and task (`compare(...)`): `strategy`, `cost` (USD), and where there are such:
            `same_calls` and `one_call` (USD, what the baselines would have cost), `baseline` (their profile),
            `estimated` (whether `one_call` is a guess), `task`, `unpriced`, `mode`.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame has no `strategy` or no `cost`.
    """
    need(frame, "strategy_comparison", ("strategy", "cost"), source="the frame of compare(...)")
    bars = [_bar(name, rows) for name, rows in groups(frame, "strategy", missing="(no strategy)")]
    ax = paper(ax, height=height(len(bars)))
    indent = name_rows(ax, [each.name for each in bars])
    money_scale(
        ax, [amount for each in bars for amount in (each.cost, each.same_calls, each.one_call)], "USD for each task"
    )
    for row, each in enumerate(bars):
        _draw_strategy_comparison(ax, row, each)
    figures(ax, [_figures(each) for each in bars])
    title, note = _title_strategy_comparison(bars), provenance(frame)
    same, one = _names(frame)
    header(ax, title, [_tasks(frame), note], legend=_legend(bars, same, one), indent=indent)
    told = listing(_told(each, same, one) for each in bars)
    return finish(ax, sentences(f"{title}, in USD for each task", told, note))


def _bar(name: str, rows: pd.DataFrame) -> _Bar:
    tasks = max(len(rows), 1)
    known, unpriced = money(rows)
    return _Bar(name, known / tasks, unpriced, mean(numbers(rows, "same_calls")), mean(numbers(rows, "one_call")))


def _draw_strategy_comparison(ax: Axes, row: int, each: _Bar) -> None:
    known = 0.0 if math.isnan(each.cost) else each.cost
    if not math.isnan(each.same_calls):
        bar(ax, row, 0, each.same_calls, "none", height=0.78, linestyle="--", linewidth=1, label="same calls")
    bar(ax, row, 0, known, BLUE, height=0.5, label=each.name)
    if each.unpriced:
        unknown(ax, row, known)
    if not math.isnan(each.one_call):
        points(ax, [each.one_call], [row], VERMILION, "D", label="one call")


def _figures(each: _Bar) -> str:
    """Say the cost and, of what is known for certain, how it compares with the same calls and with one call."""
    said = bounded(each.cost, each.unpriced)
    compared = [change(each.cost, other) for other in (each.same_calls, each.one_call) if not math.isnan(other)]
    return said if each.unpriced or not compared else f"{said} ({' / '.join(filter(None, compared))})"


def _names(frame: pd.DataFrame) -> tuple[str, str]:
    """Return the baselines in words."""
    profiles = " and ".join(sorted({name for name in words(frame, "baseline") if name})) or "the baseline"
    guessed = any(cell in {"True", "1", "1.0"} for cell in words(frame, "estimated"))
    return f"same calls at {profiles}'s prices", f"one call to {profiles}{' (estimated)' if guessed else ''}"


def _tasks(frame: pd.DataFrame) -> str:
    tasks = len(set(words(frame, "task"))) if "task" in frame.columns else 1
    per = f"Mean of {tasks:,} tasks. " if tasks > 1 else ""
    both = {"same_calls", "one_call"} <= {*frame.columns}
    return f"{per}On the right: cost (its difference from the same calls / from one call)." if both else per


def _title_strategy_comparison(bars: Sequence[_Bar]) -> str:
    priced = [each for each in bars if not each.unpriced and not math.isnan(each.cost)]
    if len(priced) < 2:  # noqa: PLR2004 - one is no comparison
        return "Cost of strategies" if bars else f"Cost of strategies: {NOTHING}"
    cheapest = min(priced, key=lambda each: each.cost)
    return f"Cost of strategies: {short(cheapest.name)} is the cheapest"


def _legend(bars: Sequence[_Bar], same: str, one: str) -> list[Artist]:
    handles: list[Artist] = [swatch("actual cost", BLUE)]
    if any(not math.isnan(each.same_calls) for each in bars):
        handles.append(swatch(same, "none", linestyle="--", linewidth=1))
    if any(not math.isnan(each.one_call) for each in bars):
        handles.append(symbol(one, VERMILION, "D", markeredgecolor=EDGE))
    return [*handles, *unpriced_swatch(shown=any(each.unpriced for each in bars))]


def _told(each: _Bar, same: str, one: str) -> str:
    others = [(same, each.same_calls), (one, each.one_call)]
    known = [f"{name} {bounded(amount, 0)}" for name, amount in others if not math.isnan(amount)]
    return ", ".join([f"{each.name} {bounded(each.cost, each.unpriced)}", *known])


_ANSWERED: Final = frozenset({"ok", "partial", "interrupted"})


class _Profile(NamedTuple):
    """The answers of one profile: latencies and mean TTFT in seconds, mean USD of an answer."""

    name: str
    answers: int
    asked: int
    latencies: NDArray[np.float64]
    ttft: float
    cost: float
    unpriced: int
    error: str

    @property
    def latency(self) -> float:
        return mean(self.latencies)


def replies(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show how long each profile of a fan-out took, to its first text and to the end, and what an answer cost.

    Args:
        frame: One row for each answer or error (`replies.to_frame()`): `profile`, `status`, `latency` and `ttft`
            (seconds), `cost` (USD), and `error`, `mode` where there are such. Of several samples or prompts the bars
            are means, and dots show each.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "replies", ("profile", "status", "latency", "ttft", "cost"), source="replies.to_frame()")
    profiles = [_profile(name, rows) for name, rows in groups(frame, "profile", missing="(no profile)")]
    names = [profile.name for profile in profiles]
    ax = paper(ax, height=height(len(names)))
    left, right = panels(ax, (0.0, 0.34), (0.62, 0.9))
    indent = name_rows(left, names, most=22)
    name_rows(right, names, most=0)
    _time(left, profiles)
    _cost(right, profiles)
    title, note = _title_replies(profiles), provenance(frame)
    several = max((profile.asked for profile in profiles), default=0) > 1
    notes = ["Means of the answers of each profile; dots are single answers." if several else "", note]
    header(ax, title, notes, legend=_legend_replies(profiles, several=several), indent=indent)
    return finish(ax, sentences(title, listing(map(_told_replies, profiles)), note))


def _profile(name: str, rows: pd.DataFrame) -> _Profile:
    answered = np.array([status in _ANSWERED for status in words(rows, "status")], dtype=bool)
    good, bad = rows[answered], rows[~answered]
    known, unpriced = money(good) if len(good) else (float("nan"), 0)
    error = next((text.split(":")[0] for text in words(bad, "error", missing="failed")), "")
    latencies = numbers(good, "latency")
    return _Profile(
        name, len(good), len(rows), latencies, mean(numbers(good, "ttft")), known / max(len(good), 1), unpriced, error
    )


def _time(ax: Axes, profiles: Sequence[_Profile]) -> None:
    seconds_scale(ax, [float(value) for profile in profiles for value in profile.latencies])
    for row, profile in enumerate(profiles):
        if math.isnan(profile.latency):
            continue
        first = 0.0 if math.isnan(profile.ttft) else profile.ttft
        bar(ax, row, 0, first, SKY, label="to the first text")
        bar(ax, row, first, profile.latency - first, BLUE, label="to the end")
        if len(profile.latencies) > 1:
            points(ax, profile.latencies, [row] * len(profile.latencies), EDGE, "o", **_DOT)
    figures(ax, [_took(profile) for profile in profiles])


_DOT: Final = {"markersize": 3.5, "markeredgecolor": "white", "markeredgewidth": 0.6, "label": "an answer"}


def _took(profile: _Profile) -> str:
    if not profile.answers:
        return profile.error or "failed"
    failed = profile.asked - profile.answers
    return f"{seconds(profile.latency)}{f' ({failed} failed)' if failed else ''}"


def _cost(ax: Axes, profiles: Sequence[_Profile]) -> None:
    money_scale(ax, [profile.cost for profile in profiles])
    for row, profile in enumerate(profiles):
        known = float(np.nan_to_num(profile.cost))
        if profile.answers:
            bar(ax, row, 0, known, ORANGE, label=profile.name)
        if profile.unpriced:
            unknown(ax, row, known)
    figures(ax, [bounded(profile.cost, profile.unpriced) if profile.answers else "–" for profile in profiles])


def _title_replies(profiles: Sequence[_Profile]) -> str:
    answered = [profile for profile in profiles if profile.answers and not math.isnan(profile.latency)]
    if not answered:
        return f"Latency and cost of the answers: {'none came' if profiles else NOTHING}"
    fastest = min(answered, key=lambda profile: profile.latency)
    priced = [profile for profile in answered if not profile.unpriced]
    if len(answered) == 1 or not priced:
        return f"{short(fastest.name)} answered in {seconds(fastest.latency)}"
    cheapest = min(priced, key=lambda profile: profile.cost)
    if cheapest.name == fastest.name:
        return f"{short(fastest.name)} is the fastest and the cheapest"
    return f"{short(fastest.name)} is the fastest, {short(cheapest.name)} the cheapest"


def _legend_replies(profiles: Sequence[_Profile], *, several: bool) -> list[Artist]:
    streamed = any(not math.isnan(profile.ttft) for profile in profiles)
    handles: list[Artist] = [swatch("to the first text", SKY)] if streamed else []
    handles += [swatch("to the end", BLUE), swatch("USD for an answer", ORANGE)]
    handles += [symbol("an answer", EDGE, "o", markersize=4)] if several else []
    return [*handles, *unpriced_swatch(shown=any(profile.unpriced for profile in profiles))]


def _told_replies(profile: _Profile) -> str:
    if not profile.answers:
        return f"{profile.name} failed ({profile.error})"
    return f"{profile.name} {_took(profile)}, USD {bounded(profile.cost, profile.unpriced)}"
