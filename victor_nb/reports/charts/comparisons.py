"""Charts that compare: strategies by cost and by quality, and the profiles of a fan-out by time and cost."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from itertools import pairwise
from statistics import stdev
from typing import TYPE_CHECKING, Final, NamedTuple

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.text import GREY, MINUS, Segment, amount, bounded, listing, percent, place, seconds, short
from victor_nb.reports.frames import NOTHING, groups, known, mean, money, need, numbers, provenance, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE: Final = 50.0
"""Highest cost over lowest, from which on the axis is logarithmic."""


class _Point(NamedTuple):
    """A strategy: mean USD for each task, mean score, and the score's standard error (NaN: unknown)."""

    name: str
    cost: float
    score: float
    error: float
    front: bool = False


@draw.chart("comparison")
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
    every = [_point(name, rows) for name, rows in groups(frame, "strategy")]
    drawn = [each for each in every if not math.isnan(each.cost) and not math.isnan(each.score)]
    drawn = [each._replace(front=not any(_beats(other, each) for other in drawn)) for each in drawn]
    front = sorted((each for each in drawn if each.front), key=lambda each: (each.cost, each.score))
    barred = [each for each in drawn if not math.isnan(each.error)]
    ax = draw.paper(ax)
    draw.plain(ax, grid="both")
    steps: dict[str, str] = {"drawstyle": "steps-post", "label": "front"}
    draw.line(ax, [each.cost for each in front], [each.score for each in front], draw.BLUE, linewidth=1.2, **steps)
    for each in barred:
        ax.errorbar(each.cost, each.score, each.error, color=draw.EDGE, elinewidth=0.8, capsize=2, label=each.name)
    for each in drawn:
        colour = draw.BLUE if each.front else GREY
        draw.points(ax, [each.cost], [each.score], colour, "o", markersize=7, label=each.name, clip_on=True)
    _scale(ax, [each.cost for each in drawn])
    title, missing, note = _pareto_title(drawn, front), _missing(every), provenance(frame)
    legend = [draw.symbol("on the front", draw.BLUE, "o", linestyle="-")]
    legend += [draw.symbol("beaten by another", GREY, "o")] if len(front) < len(drawn) else []
    notes = [missing, "Means over tasks; bars are one standard error." if barred else "", note]
    draw.header(ax, title, notes, legend=legend if drawn else [])
    spots = [(each.cost, each.score) for each in drawn]
    place(ax, [each.name for each in drawn], spots, _lines(front, barred))
    beaten = {True: "", False: " (beaten by another)"}
    rows = listing(f"{each.name} USD {amount(each.cost)}, score {each.score:.3g}{beaten[each.front]}" for each in drawn)
    return draw.finish(ax, "Cost in USD against score", title, rows, missing, note)


def _point(name: str, rows: pd.DataFrame) -> _Point:
    cost, unpriced = money(rows)
    scores = known(numbers(rows, "score"))
    error = stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else mean(numbers(rows, "score_se"))
    return _Point(name, math.nan if unpriced else cost / max(len(rows), 1), mean(scores), error)


def _beats(one: _Point, other: _Point) -> bool:
    """Return whether one is at most as expensive, at least as good, and better in one of the two."""
    at_least = one.cost <= other.cost and one.score >= other.score
    return at_least and (one.cost < other.cost or one.score > other.score)


def _lines(front: Sequence[_Point], barred: Sequence[_Point]) -> list[Segment]:
    """Return what is drawn beside the points: the front's steps, and the error bars."""
    lines: list[Segment] = []
    for one, other in pairwise(front):
        corner = (other.cost, one.score)
        lines += [((one.cost, one.score), corner), (corner, (other.cost, other.score))]
    bars = [((each.cost, each.score - each.error), (each.cost, each.score + each.error)) for each in barred]
    return lines + bars


def _scale(ax: Axes, costs: Sequence[float]) -> None:
    draw.name_axis(ax.yaxis, "score (higher is better)")
    ax.margins(y=0.15)
    low, high = min(costs, default=0.0), max(costs, default=0.0)
    logarithmic = low > 0 and high / low >= _WIDE
    if logarithmic:
        ax.set_xscale("log")
        ax.set_xlim(low / 2, high * 2)
    else:
        spare = 0.12 * (high - low) or 0.12 * high
        begin = -0.03 * high if low < (high - low) else low - spare
        ax.set_xlim(begin if high else -0.05, high + spare or 1.0)
    draw.money_axis(ax.xaxis, "USD for each task", logarithmic=logarithmic)
    if not high:
        draw.no_scale(ax.xaxis, 0)


def _pareto_title(points: Sequence[_Point], front: Sequence[_Point]) -> str:
    if not points:
        return f"Cost and quality: {NOTHING}"
    if len(front) == 1:
        alone = "Cost and quality of" if len(points) == 1 else "None is better or cheaper than"
        return f"{alone} {short(front[0].name)}"
    return f"Cost and quality: {len(front)} of {len(points)} strategies are worth their money"


def _missing(points: Sequence[_Point]) -> str:
    """Name what cannot be drawn, and why: never at 0."""
    unpriced = [each.name for each in points if math.isnan(each.cost)]
    unscored = [each.name for each in points if math.isnan(each.score) and not math.isnan(each.cost)]
    reasons = ("Unpriced", unpriced), ("Without a score", unscored)
    return " ".join(f"{reason}, so not drawn: {', '.join(names)}." for reason, names in reasons if names)


# --- strategies beside their baselines ---


class _Strategy(NamedTuple):
    """A strategy: USD for each task, and what the baselines would have cost; NaN where that is unknown."""

    name: str
    cost: float
    unpriced: int
    same_calls: float
    one_call: float


@draw.chart("comparison")
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
    strategies = [_strategy(name, rows) for name, rows in groups(frame, "strategy")]
    ax = draw.paper(ax, rows=len(strategies))
    indent = draw.name_rows(ax, [each.name for each in strategies])
    ends = (end for each in strategies for end in (each.cost, each.same_calls, each.one_call))
    draw.scale(ax, ends, "USD for each task")
    for row, each in enumerate(strategies):
        _draw_strategy(ax, row, each)
    draw.row_values(ax, [_differences(each) for each in strategies])
    profiles = " and ".join(sorted({name for name in words(frame, "baseline") if name})) or "the baseline"
    guessed = any(cell in {"True", "1", "1.0"} for cell in words(frame, "estimated"))
    same = f"same calls at {profiles}'s prices"
    one = f"one call to {profiles}{' (estimated)' if guessed else ''}"
    title, note = _strategies_title(strategies), provenance(frame)
    unpriced, legend = any(each.unpriced for each in strategies), _strategies_legend(strategies, same, one)
    draw.header(ax, title, [_tasks(frame), note], legend=legend, unpriced=unpriced, indent=indent)
    return draw.finish(
        ax, f"{title}, in USD for each task", listing(_describe(each, same, one) for each in strategies), note
    )


def _strategy(name: str, rows: pd.DataFrame) -> _Strategy:
    cost, unpriced = money(rows)
    baselines = (mean(numbers(rows, kind)) for kind in ("same_calls", "one_call"))
    return _Strategy(name, cost / max(len(rows), 1), unpriced, *baselines)


def _draw_strategy(ax: Axes, row: int, each: _Strategy) -> None:
    length = 0.0 if math.isnan(each.cost) else each.cost
    if not math.isnan(each.same_calls):
        draw.bar(ax, row, 0, each.same_calls, "none", height=0.78, linestyle="--", linewidth=1, label="same calls")
    draw.bar(ax, row, 0, length, draw.BLUE, height=0.5, label=each.name)
    if each.unpriced:
        draw.unknown(ax, row, length)
    if not math.isnan(each.one_call):
        draw.points(ax, [each.one_call], [row], draw.VERMILION, "D", label="one call")


def _differences(each: _Strategy) -> str:
    """Write the cost and, where it is fully known, its difference from the same calls and from one call."""
    text = bounded(each.cost, each.unpriced)
    changes = [_change(each.cost, other) for other in known([each.same_calls, each.one_call]) if other > 0]
    return text if each.unpriced or not changes else f"{text} ({' / '.join(changes)})"


def _change(cost: float, other: float) -> str:
    share = percent(cost / other - 1)
    return "as much" if share == "0 %" else f"{MINUS if cost < other else '+'}{share}"


def _tasks(frame: pd.DataFrame) -> str:
    tasks = len(set(words(frame, "task"))) if "task" in frame.columns else 1
    per = f"Mean of {tasks:,} tasks. " if tasks > 1 else ""
    both = {"same_calls", "one_call"} <= {*frame.columns}
    return f"{per}On the right: cost (its difference from the same calls / from one call)." if both else per


def _strategies_title(strategies: Sequence[_Strategy]) -> str:
    priced = [each for each in strategies if not each.unpriced and not math.isnan(each.cost)]
    if len(priced) > 1:
        return f"Cost of strategies: {short(min(priced, key=lambda each: each.cost).name)} is the cheapest"
    return "Cost of strategies" if strategies else f"Cost of strategies: {NOTHING}"


def _strategies_legend(strategies: Sequence[_Strategy], same: str, one: str) -> list[Artist]:
    entries: list[Artist] = [draw.swatch("actual cost", draw.BLUE)]
    if known(each.same_calls for each in strategies):
        entries.append(draw.swatch(same, "none", linestyle="--", linewidth=1))
    if known(each.one_call for each in strategies):
        entries.append(draw.symbol(one, draw.VERMILION, "D", markeredgecolor=draw.EDGE))
    return entries


def _describe(each: _Strategy, same: str, one: str) -> str:
    others = [(same, each.same_calls), (one, each.one_call)]
    baselines = [f"{name} {bounded(cost, 0)}" for name, cost in others if not math.isnan(cost)]
    return ", ".join([f"{each.name} {bounded(each.cost, each.unpriced)}", *baselines])


# --- the profiles of a fan-out ---

_ANSWERED: Final = frozenset({"ok", "partial", "interrupted"})
_DOT: Final = {"markersize": 3.5, "markeredgecolor": "white", "markeredgewidth": 0.6, "label": "an answer"}


class _Profile(NamedTuple):
    """The answers of one profile: latencies and mean TTFT in seconds, mean USD of an answer."""

    name: str
    answers: int
    asked: int
    latencies: list[float]
    ttft: float
    cost: float
    unpriced: int
    error: str

    @property
    def latency(self) -> float:
        return mean(self.latencies)

    @property
    def took(self) -> str:
        if not self.answers:
            return self.error or "failed"
        failed = self.asked - self.answers
        return f"{seconds(self.latency)}{f' ({failed} failed)' if failed else ''}"


@draw.chart("replies")
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
    profiles = [_profile(name, rows) for name, rows in groups(frame, "profile")]
    names = [each.name for each in profiles]
    ax = draw.paper(ax, rows=len(names))
    left, right, indent = draw.panels(ax, names, (0.0, 0.34), (0.62, 0.9))
    _time(left, profiles)
    draw.costs(
        right,
        [each.name if each.answers else "" for each in profiles],
        [(each.cost, each.unpriced) for each in profiles],
    )
    several = any(each.asked > 1 for each in profiles)
    title, note = _replies_title(profiles), provenance(frame)
    notes = ["Means of the answers of each profile; dots are single answers." if several else "", note]
    unpriced, legend = any(each.unpriced for each in profiles), _replies_legend(profiles, several=several)
    draw.header(ax, title, notes, legend=legend, unpriced=unpriced, indent=indent)
    rows = (
        f"{each.name} {each.took}, USD {bounded(each.cost, each.unpriced)}"
        if each.answers
        else f"{each.name} failed ({each.error})"
        for each in profiles
    )
    return draw.finish(ax, title, listing(rows), note)


def _profile(name: str, rows: pd.DataFrame) -> _Profile:
    answered = [status in _ANSWERED for status in words(rows, "status")]
    good, bad = rows[answered], rows[[not each for each in answered]]
    cost, unpriced = money(good)
    error = next((text.split(":")[0] for text in words(bad, "error", missing="failed")), "")
    latencies, ttft = numbers(good, "latency"), mean(numbers(good, "ttft"))
    return _Profile(name, len(good), len(rows), latencies, ttft, cost / max(len(good), 1), unpriced, error)


def _time(ax: Axes, profiles: Sequence[_Profile]) -> None:
    draw.scale(ax, [latency for each in profiles for latency in each.latencies], "seconds")
    for row, each in enumerate(profiles):
        if math.isnan(each.latency):
            continue
        first = 0.0 if math.isnan(each.ttft) else each.ttft
        draw.bar(ax, row, 0, first, draw.SKY, label="to the first text")
        draw.bar(ax, row, first, each.latency - first, draw.BLUE, label="to the end")
        if len(each.latencies) > 1:
            draw.points(ax, each.latencies, [row] * len(each.latencies), draw.EDGE, "o", **_DOT)
    draw.row_values(ax, [each.took for each in profiles])


def _replies_title(profiles: Sequence[_Profile]) -> str:
    answered = [each for each in profiles if each.answers and not math.isnan(each.latency)]
    if not answered:
        return f"Latency and cost of the answers: {'none came' if profiles else NOTHING}"
    fastest = min(answered, key=lambda each: each.latency)
    priced = [each for each in answered if not each.unpriced]
    if len(answered) == 1 or not priced:
        return f"{short(fastest.name)} answered in {seconds(fastest.latency)}"
    cheapest = min(priced, key=lambda each: each.cost)
    if cheapest.name == fastest.name:
        return f"{short(fastest.name)} is the fastest and the cheapest"
    return f"{short(fastest.name)} is the fastest, {short(cheapest.name)} the cheapest"


def _replies_legend(profiles: Sequence[_Profile], *, several: bool) -> list[Artist]:
    streamed = bool(known(each.ttft for each in profiles))
    entries: list[Artist] = [draw.swatch("to the first text", draw.SKY)] if streamed else []
    entries += [draw.swatch("to the end", draw.BLUE), draw.swatch("USD for an answer", draw.ORANGE)]
    entries += [draw.symbol("an answer", draw.EDGE, "o", markersize=4)] if several else []
    return entries
