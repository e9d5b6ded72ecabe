"""Charts that compare: strategies by cost and by quality, and the profiles of a fan-out by time and cost."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.text import GREY, MINUS, in_usd, listing, percent, place, seconds, short
from victor_nb.reports.frames import NOTHING, groups, known, mean, money, need, numbers, provenance, words
from victor_nb.reports.standings import Compared, Standing, compared, judging

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from victor_nb.reports.charts.text import Segment


_WIDE: Final = 20.0
"""Highest cost over lowest above 0, from which on the axis is logarithmic: on another, the low ones hide each other."""
_SEEN: Final = 0.1
"""The least correlation that a chart names: what is less is nothing to look after."""
_BEYOND: Final = 0.5
"""How far beyond scores the axis may go for a bar; a longer one leaves the frame."""
_ALIKE: Final = 0.1
"""The part by which the second latency is higher than the first, from which on a title says which that was."""


@draw.chart("comparison")
def pareto(frame: pd.DataFrame, *, per: int = 1, ax: Axes | None = None) -> Figure:
    """Show cost against quality, with the front: the strategies than which none is both cheaper and better on average.

    Args:
        frame: One row for each strategy and task (`compare(..., judge=...)`): `strategy`, `cost` (USD), `score`, and
            `task`, `score_se`, `score_df`, `unpriced`, `error`, `answer`, `judge`, `judge_cost`, `mode` where there are
            such. Points are means over the tasks that all strategies answered. Bars are 95 % intervals of the
            difference from the first one's score, paired by task: one that reaches the dotted line shows no
            difference. Where all scores are from 0 to 1, a longer bar ends there in an arrow. A strategy with a failed
            run is hollow, and on no front.
        per: For how many tasks the costs are shown, such as 10,000 where those of one are too small to read.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "pareto", ("strategy", "cost", "score"), source="the frame of compare(..., judge=...)")
    found = compared(frame.assign(cost=[cost * per for cost in numbers(frame, "cost")]))
    drawn = [each for each in found.strategies if not each.unpriced and not math.isnan(each.cost + each.score)]
    ranked = [each for each in drawn if each.ranked]
    front = sorted((each for each in ranked if not any(_beats(other, each) for other in ranked)), key=_spot)
    if not drawn:
        return draw.nothing(ax, " ".join(filter(None, [f"Cost and quality: {NOTHING}.", _missing(found)])))
    ax = draw.paper(ax, body=max(2.8, 0.16 * len(drawn)))
    draw.plain(ax, grid="both")
    steps: dict[str, str] = {"drawstyle": "steps-post", "label": "front"}
    draw.line(ax, [each.cost for each in front], [each.score for each in front], draw.BLUE, linewidth=1.2, **steps)
    bars = _draw_bars(ax, drawn)
    level = found.reference.score if found.reference is not None and bars else math.nan
    ax.axhline(level, color=draw.EDGE, linewidth=0.8, linestyle=":", label="reference")
    fronted = {each.name for each in front}
    for each in drawn:
        look: dict[str, str] = {} if each.ranked else {"markerfacecolor": "none"}
        colour = draw.BLUE if each.name in fronted else GREY
        draw.points(ax, [each.cost], [each.score], colour, "o", markersize=7, label=each.name, clip_on=True, **look)
    unit = f"USD for {per:,} tasks" if per > 1 else "USD for each task"
    _scale(ax, [each.cost for each in drawn], [each.score for each in drawn], unit)
    title, notes = f"Cost and quality{found.headline}", [_sentences(found, frame), provenance(frame)]
    draw.header(ax, title, notes, legend=_pareto_legend(len(front), len(ranked), len(drawn)))
    corners = [[_spot(one), (other.cost, one.score), _spot(other)] for one, other in pairwise(front)]
    lines = [segment for corner in corners for segment in pairwise(corner)]
    left, right = ax.get_xlim()
    lines += [*bars, *[((left, level), (right, level))] * bool(bars)]
    place(ax, [each.name for each in drawn], [_spot(each) for each in drawn], lines)
    rows = listing(f"{each.name} {in_usd(each.cost)}, score {each.score:.3g}" for each in drawn)
    measured = f"Cost in {unit if per > 1 else 'USD'} against score"
    return draw.finish(ax, measured, title, rows, *notes)


def _pareto_legend(front: int, ranked: int, drawn: int) -> list[Artist]:
    """Return the entries for so many points on the front, ranked, and drawn."""
    legend: list[Artist] = (
        [draw.symbol("no cheaper one scored as high", draw.BLUE, "o", linestyle="-")] if front else []
    )
    legend += [draw.symbol("a cheaper one scored as high", GREY, "o")] if front < ranked else []
    return legend + [draw.symbol("with failed runs", GREY, "o", markerfacecolor="none")] * (ranked < drawn)


def _spot(each: Standing) -> tuple[float, float]:
    return each.cost, each.score


def _draw_bars(ax: Axes, drawn: Sequence[Standing]) -> list[Segment]:
    """Draw the interval of each strategy that has one; return where the bars are."""
    low, high = (0.0, 1.0) if all(0 <= each.score <= 1 for each in drawn) else (-math.inf, math.inf)
    bars: list[Segment] = []
    for each in drawn:
        if math.isnan(each.gap.low):
            continue
        first = each.score - each.gap.value
        bottom, top = first + each.gap.low, first + each.gap.high
        ends = [max(bottom, low), min(top, high)]
        draw.line(ax, [each.cost] * 2, ends, draw.EDGE, linewidth=0.8, label="interval")
        for end, marker in zip(ends, ("v" if bottom < low else "_", "^" if top > high else "_"), strict=True):
            draw.line(ax, [each.cost], [end], draw.EDGE, marker=marker, linestyle="none", label="end")
        bars.append(((each.cost, ends[0]), (each.cost, ends[1])))
    return bars


def _sentences(found: Compared, frame: pd.DataFrame) -> str:
    """Say what the scores show, of which tasks, and what the bars are."""
    verdict = f"{found.verdict[0].upper()}{found.verdict[1:]}." if found.others else ""
    basis = "" if found.counted in verdict and found.basis.startswith("Means") else found.basis
    return " ".join(filter(None, [verdict, basis, _missing(found), _bars(found), _judged(frame)]))


def _bars(found: Compared) -> str:
    """Say what the bars are, and which strategies have none; where none has, the verdict says why."""
    gaps = {each.name: each.gap for each in found.others}
    if found.reference is None or all(gap.why for gap in gaps.values()):
        return ""
    bare = ", ".join(f"{name} has none ({gap.why})" for name, gap in gaps.items() if gap.why)
    text = f"Bars: 95 % intervals of the difference from {short(found.reference.name)}, the dotted line."
    return f"{text} {bare}{'.' * bool(bare)}".strip()


def _judged(frame: pd.DataFrame) -> str:
    """Say what the judge cost, and whether it may have liked length."""
    if (judge := judging(frame)) is None:
        return ""
    name, cost, r = judge
    paid = ", unpriced" if math.isnan(cost) else f", for {in_usd(cost)} more for each task" if cost else ""
    said = f"Judged by {name}{paid}." if paid else ""
    if math.isnan(r) or abs(r) < _SEEN:
        return said
    return f"{said} {'Longer' if r > 0 else 'Shorter'} answers scored higher (correlation {r:.2f}).".strip()


def _beats(one: Standing, other: Standing) -> bool:
    """Return whether one is at most as expensive, at least as good, and better in one of the two."""
    at_least = one.cost <= other.cost and one.score >= other.score
    return at_least and (one.cost < other.cost or one.score > other.score)


def _scale(ax: Axes, costs: Sequence[float], scores: Sequence[float], unit: str) -> None:
    draw.name_axis(ax.yaxis, "score (higher is better)")
    ax.margins(y=0.15)
    bottom, top = ax.get_ylim()  # of few tasks a bar may reach so far that points could not be distinguished
    ax.set_ylim(max(bottom, min(0.0, *scores) - _BEYOND), min(top, max(1.0, *scores) + _BEYOND))
    low, high = min(costs, default=0.0), max(costs, default=0.0)
    least = min((cost for cost in costs if cost > 0), default=0.0)
    if least > 0 and high / least >= _WIDE:
        draw.wide_axis(ax, least, high, unit, zero=low <= 0)
        return
    spare = 0.12 * (high - low) or 0.12 * high
    begin = -0.03 * high if low < (high - low) else low - spare
    ax.set_xlim(begin if high else -0.05, high + spare or 1.0)
    draw.money_axis(ax.xaxis, unit)
    if not high:
        draw.no_scale(ax.xaxis, 0)


def _missing(found: Compared) -> str:
    """Name what cannot be drawn, and why: never at 0."""
    unpriced = [each.name for each in found.strategies if each.unpriced]
    unscored = [each.name for each in found.strategies if math.isnan(each.score) and not each.unpriced]
    reasons = ("Unpriced", unpriced), ("Without a score", unscored)
    return " ".join(f"{reason}, so not drawn: {', '.join(names)}." for reason, names in reasons if names)


# --- strategies beside their baselines ---


_BASELINES: Final = ("same_calls", "one_call")


@draw.chart("comparison")
def strategy_comparison(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show what each strategy costs for a task, with both baselines: the same calls, and one call, to one profile.

    Args:
        frame: One row for each strategy and task (`compare(...)`): `strategy`, `cost` (USD), and where there are such:
            `same_calls` and `one_call` (USD, what the baselines would have cost), `baseline` (their profile),
            `estimated` (whether `one_call` is a guess), `task`, `unpriced`, `error`, `judge`, `judge_cost`, `mode`.
            Bars are means over the tasks that all strategies answered, the cheapest on top.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame has no `strategy` or no `cost`.
    """
    need(frame, "strategy_comparison", ("strategy", "cost"), source="the frame of compare(...)")
    found = compared(frame, by_score=False)
    if not found.strategies:
        return draw.nothing(ax, f"Cost of strategies: {NOTHING}")
    order = sorted(found.strategies, key=_dear)
    ax = draw.paper(ax, rows=len(order))
    baselines = [[mean(numbers(each.rows, kind)) for kind in _BASELINES] for each in order]
    strategies = list(zip(order, baselines, strict=True))
    indent = draw.name_rows(ax, [each.name for each in order], [_differences(*each) for each in strategies])
    draw.scale(ax, [end for each, others in strategies for end in (each.cost, *others)], "USD for each task")
    for row, (each, others) in enumerate(strategies):
        _draw_strategy(ax, row, each, *others)
    profiles = " and ".join(sorted({name for name in words(frame, "baseline") if name})) or "the baseline"
    guessed = any(cell in {"True", "1", "1.0"} for cell in words(frame, "estimated"))
    kinds = f"same calls at {profiles}'s prices", f"one call to {profiles}{' (estimated)' if guessed else ''}"
    both = {*_BASELINES} <= {*frame.columns}
    right = "On the right: cost (its difference from the same calls / from one call)." if both else ""
    title, notes = _strategies_title(found), [found.basis, right, _judged(frame), provenance(frame)]
    unpriced, legend = any(each.unpriced for each in found.strategies), _strategies_legend(baselines, *kinds)
    draw.header(ax, title, notes, legend=legend, unpriced=unpriced, indent=indent)
    rows = listing(_describe(each, zip(kinds, others, strict=True)) for each, others in strategies)
    return draw.finish(ax, f"{title}, in USD for each task", rows, *notes)


def _dear(each: Standing) -> tuple[bool, bool, float]:
    """Return what strategies are sorted by: the cheapest first, then those that are not ranked or not priced."""
    return not each.ranked, bool(each.unpriced) or math.isnan(each.cost), 0.0 if math.isnan(each.cost) else each.cost


def _draw_strategy(ax: Axes, row: int, each: Standing, same_calls: float, one_call: float) -> None:
    length = 0.0 if math.isnan(each.cost) else each.cost
    if not math.isnan(same_calls):
        draw.bar(ax, row, 0, same_calls, "none", height=0.78, linestyle="--", linewidth=1, label="same calls")
    draw.bar(ax, row, 0, length, draw.BLUE, height=0.5, label=each.name)
    if each.unpriced:
        draw.unknown(ax, row, length)
    if not math.isnan(one_call):
        draw.points(ax, [one_call], [row], draw.VERMILION, "D", label="one call")


def _differences(each: Standing, others: Iterable[float]) -> str:
    """Write the cost and, where it is fully known, its difference from the same calls and from one call."""
    text = "no answer" if each.rows.empty else in_usd(each.cost, each.unpriced)
    changes = [_change(each.cost, other) for other in known(others) if other > 0]
    return text if each.unpriced or not changes else f"{text} ({' / '.join(changes)})"


def _change(cost: float, other: float) -> str:
    share = percent(cost / other - 1)
    return "as much" if share == "0 %" else f"{MINUS if cost < other else '+'}{share}"


def _strategies_title(found: Compared) -> str:
    """Name the one that cost least: of what was paid on these tasks, no more is claimed."""
    priced = sorted((each.cost, each.name) for each in found.strategies if each.ranked and not each.unpriced)
    if len(priced) > 1 and priced[0][0] < priced[1][0]:
        return f"{short(priced[0][1])} cost least on {found.counted}: {in_usd(priced[0][0])} for each"
    return "Cost of strategies"


def _strategies_legend(baselines: Iterable[Sequence[float]], same: str, one: str) -> list[Artist]:
    entries: list[Artist] = [draw.swatch("actual cost", draw.BLUE)]
    same_calls, one_call = zip(*baselines, strict=True)
    if known(same_calls):
        entries.append(draw.swatch(same, "none", linestyle="--", linewidth=1))
    if known(one_call):
        entries.append(draw.symbol(one, draw.VERMILION, "D", markeredgecolor=draw.EDGE))
    return entries


def _describe(each: Standing, others: Iterable[tuple[str, float]]) -> str:
    baselines = [f"{name} {in_usd(cost)}" for name, cost in others if not math.isnan(cost)]
    return ", ".join([f"{each.name} {in_usd(each.cost, each.unpriced)}", *baselines])


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
            are means, and dots show each. The fastest is on top.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "replies", ("profile", "status", "latency", "ttft", "cost"), source="replies.to_frame()")
    profiles = [_profile(name, rows) for name, rows in groups(frame, "profile")]
    profiles.sort(key=lambda each: math.inf if math.isnan(each.latency) else each.latency)
    if not any(each.answers for each in profiles):
        return draw.nothing(ax, f"Latency and cost of the answers: {_failures(profiles) or NOTHING}")
    names, colours = [each.name for each in profiles], draw.colours(each.name for each in profiles)
    answered, amounts = _costs(profiles)
    ax = draw.paper(ax, rows=len(names))
    took = [each.took for each in profiles]
    left, right, indent = draw.panels(ax, names, took, draw.amounts_of(answered, amounts))
    _time(left, profiles, colours)
    draw.costs(right, answered, amounts, colours)
    several = any(each.asked > 1 for each in profiles)
    title, note = _replies_title(profiles), provenance(frame)
    notes = ["Means of the answers of each profile; dots are single answers." if several else "", note]
    unpriced, legend = any(each.unpriced for each in profiles), _replies_legend(profiles, several=several)
    draw.header(ax, title, notes, legend=legend, unpriced=unpriced, indent=indent)
    rows = (
        f"{each.name} {each.took}, {in_usd(each.cost, each.unpriced)}"
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


def _costs(profiles: Sequence[_Profile]) -> tuple[list[str], list[tuple[float, int]]]:
    """Return the names of those that answered, empty for others, and what an answer cost."""
    return [each.name if each.answers else "" for each in profiles], [(each.cost, each.unpriced) for each in profiles]


def _failures(profiles: Sequence[_Profile]) -> str:
    """Say why there is no answer; nothing where none was asked for."""
    return "none came: " + listing(f"{each.name} {each.took}" for each in profiles) if profiles else ""


def _time(ax: Axes, profiles: Sequence[_Profile], colours: Mapping[str, str]) -> None:
    draw.scale(ax, [latency for each in profiles for latency in each.latencies], "seconds")
    for row, each in enumerate(profiles):
        if math.isnan(each.latency):
            continue
        first = 0.0 if math.isnan(each.ttft) else each.ttft
        draw.bar(ax, row, 0, first, draw.pale(colours[each.name]), label="to the first text")
        draw.bar(ax, row, first, each.latency - first, colours[each.name], label="to the end")
        if len(each.latencies) > 1:
            draw.points(ax, each.latencies, [row] * len(each.latencies), draw.EDGE, "o", **_DOT)


def _replies_title(profiles: Sequence[_Profile]) -> str:
    """Say which of these answers came first and cost least, of no others."""
    answered = [each for each in profiles if each.answers and not math.isnan(each.latency)]
    if not answered:
        return "Latency and cost of the answers"
    fastest, *rest = sorted(answered, key=lambda each: each.latency)
    priced = [each for each in answered if not each.unpriced]
    if len(answered) == 1:
        return f"{short(fastest.name)} answered in {seconds(fastest.latency)}"
    near = [each.name for each in rest if each.latency < (1 + _ALIKE) * fastest.latency]
    came = f"{short(fastest.name)} came first"
    if near:
        others = short(near[0]) if len(near) == 1 else f"{len(near)} others"
        came = f"{short(fastest.name)} and {others} were about equally fast"
    alone = came if near else f"{came}, in {seconds(fastest.latency)}"
    if not priced:
        return alone
    cheapest = min(priced, key=lambda each: each.cost)
    least = "cost least" if len(priced) == len(answered) else "cost least of those with a price"
    if sum(each.cost == cheapest.cost for each in priced) > 1:
        return alone
    same = cheapest.name == fastest.name and not near
    return f"{came} and {least}" if same else f"{came}, {short(cheapest.name)} {least}"


def _replies_legend(profiles: Sequence[_Profile], *, several: bool) -> list[Artist]:
    streamed = bool(known(each.ttft for each in profiles))
    entries: list[Artist] = [draw.swatch("to the first text", draw.pale(GREY))] if streamed else []
    entries += [draw.swatch("to the end" if streamed else "answering", GREY)]
    entries += [draw.symbol("an answer", draw.EDGE, "o", markersize=4)] if several else []
    return entries
