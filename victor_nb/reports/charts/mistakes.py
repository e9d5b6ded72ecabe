"""A chart of what mistakes cost: which strategy is cheapest with those that it makes."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from victor_nb.errors import ConfigError
from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.text import SMALL, in_usd, listing, short
from victor_nb.reports.frames import NOTHING, known, need, numbers, provenance
from victor_nb.reports.standings import Compared, Standing, break_even_of, compared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE: Final = 20.0
"""Last limit over the first, from which on the axes are logarithmic: on others, the first ones hide each other."""
_AROUND, _BEYOND = 10.0, 2.0
"""How many times the last limit the axis ends at; a logarithmic one begins as far below the first."""
_INWARDS: Final = 1.06, 1.015  # by which an arrow stands off the end of the axis, which would cut it
_TO_THE_CENT: Final = 0.1  # USD
LARGE: Final = 100.0  # USD from which on cents are no help
_CENTS: Final = 1.0  # USD from which on they are enough
_SHOWN: Final = {"cheaper": draw.BLUE, "not shown": "#DDDDDD", "dearer": draw.ORANGE}
_BESIDE: Final = 3.0  # times the outermost mark, at which the axis of `limits_chart` ends
_STEPS: Final = 60  # of a line, which is curved on logarithmic axes


class _Limit(NamedTuple):
    """What a mistake must cost (USD) to make a better strategy worth its price.

    Attributes:
        before: The strategy that is cheapest below; `after` is so from there on.
        low: The least that the limit may be, by the 95 % interval of their difference in score.
        high: The most: infinite where that interval holds 0.
    """

    before: Standing
    after: Standing
    usd: float
    low: float
    high: float


@draw.chart("comparison")
def break_even(frame: pd.DataFrame, *, per: int = 1, mistake: float | None = None, ax: Axes | None = None) -> Figure:
    """Show what each strategy costs with its mistakes, by what a mistake costs: which is cheapest, and up to where.

    Args:
        frame: One row for each strategy and task, as for `pareto`, with scores from 0 to 1: what is missing to 1 is a
            mistake, or a part of one. Strategies with failed runs, or without a price, are left out.
        per: For how many tasks the costs are shown.
        mistake: What a mistake costs you (USD), if you know it: the axis reaches it, and a dashed line marks it.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns, a score is not from 0 to 1, or `mistake` is not above 0.
    """
    found = checked(frame, "break_even", mistake)
    drawn = [each for each in found.strategies if each.ranked and not each.unpriced and not math.isnan(each.score)]
    others = [short(each.name) for each in found.strategies if each not in drawn]
    if not drawn:
        why = "No strategy has a price and a score for each task" if others else NOTHING
        return draw.nothing(ax, f"Cost with mistakes: {why}")
    left_out = f"Without a price or a score for each task, so not drawn: {listing(others)}." if others else ""
    limits = _limits(drawn)
    ax, shades = draw.paper(ax, body=2.6), draw.colours(each.name for each in drawn)
    draw.plain(ax, grid="both")
    _draw_lines(ax, drawn, limits, shades, per, mistake)
    draw.name_axis(ax.yaxis, f"USD for {f'{per:,} tasks' if per > 1 else 'each task'}, with mistakes")
    marked = "" if mistake is None else _marked(drawn, mistake, per)
    title, notes = _worth(drawn, limits), [marked, _known_as(limits, found), left_out, provenance(frame)]
    end = ax.get_xlim()[1]
    named = draw.name_ends(ax, [(short(each.name), per * _with_mistakes(each, end)) for each in drawn])
    legend = [draw.symbol(short(each.name), shades[each.name], "", linestyle="-", linewidth=1.8) for each in drawn]
    draw.header(ax, title, notes, legend=[] if named else legend)
    rows = listing(f"{each.name} {in_usd(each.cost * per)}, score {each.score:.3g}" for each in drawn)
    return draw.finish(ax, "Cost with mistakes, by what a mistake costs", title, rows, *notes, _spans(limits))


def limits_chart(
    steps: Mapping[str, tuple[float, Sequence[tuple[float, str]]]],
    *,
    mistake: float,
    title: str,
    notes: Sequence[str],
    ax: Axes | None = None,
) -> Figure:
    """Show for which prices of a mistake each strategy is shown to be cheaper than the first one, or dearer.

    Args:
        steps: For each strategy, what a mistake costs (USD) where both come to the same, infinite where none does; and
            the verdicts (`cheaper`, `dearer`, `not shown`), each with the price from which on it holds, the first 0.
        mistake: What a mistake costs (USD), a dashed line.
        title: What is decided.
        notes: What that rests on.
        ax: Where to draw, if not on a new figure.
    """
    if not steps:
        return draw.nothing(ax, title)
    found = [usd for limit, own in steps.values() for usd in (limit, *(start for start, _ in own))]
    marks = [mistake, *(usd for usd in found if 0 < usd < math.inf)]
    low, high = min(marks) / _BESIDE, max(marks) * _BESIDE
    ax = draw.paper(ax, rows=len(steps))
    indent = draw.name_rows(ax, [*steps])
    said: list[str] = []
    for row, (name, (limit, own)) in enumerate(steps.items()):
        ends = [*(max(start, low) for start, _ in own), high]
        for (_, verdict), left, right in zip(own, ends, ends[1:], strict=False):
            draw.bar(ax, row, left, right - left, _SHOWN[verdict], label=verdict)
        _write_ends(ax, row, own)
        if 0 < limit < math.inf:
            draw.points(ax, [limit], [row], "white", "o", label="limit")
        later = [f"from {_usd(usd)} on {verdict}" for usd, verdict in own[1:]]
        said.append(f"{name}: {', '.join([own[0][1], *later])}")
    ax.axvline(mistake, color=draw.EDGE, linewidth=1.4, linestyle="--", label="mistake")
    draw.wide_axis(ax, low * 2, high / 2, "USD that a mistake costs", zero=False)
    legend: list[Artist] = [
        draw.swatch(f"shown {name}".replace("shown not ", "not "), colour) for name, colour in _SHOWN.items()
    ]
    legend.append(draw.symbol("limit as measured", "white", "o", markeredgecolor=draw.EDGE))
    bare = "No dot: as measured, no price of a mistake changes which is cheaper." if math.inf in found else ""
    notes = [f"Dashed: {_usd(mistake)} a mistake.", bare, *notes]
    draw.header(ax, title, [" ".join(filter(None, notes))], legend=legend, indent=indent)
    return draw.finish(ax, "Who is cheaper, by what a mistake costs", title, listing(said), *notes)


def price_of_mistake(usd: float) -> str:
    """Write what a mistake costs (USD, without the unit): in cents, or with two digits where it is less."""
    if usd <= 0:
        return "0"
    cents, _, parts = f"{usd:,.{max(2, 1 - math.floor(math.log10(usd)))}f}".partition(".")
    return f"{cents}.{parts[:2]}{parts[2:].rstrip('0')}"


def amount_beside(usd: float, beside: Iterable[float]) -> str:
    """Write USD, without the unit, with as many decimals as the largest of the amounts beside it needs."""
    if math.isnan(usd):
        return "unpriced"
    largest = max((each for each in beside if each > 0), default=_CENTS)
    digits = 0 if largest >= LARGE else 2 if largest >= _CENTS else 2 - math.floor(math.log10(largest))
    return f"{usd:,.{digits}f}"


def _write_ends(ax: Axes, row: int, steps: Sequence[tuple[float, str]]) -> None:
    """Write the prices at which the verdict on a row changes, each within what is shown."""
    place: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": SMALL}
    for (_, before), (usd, after) in pairwise(steps):
        side, verdict, off = ("right", before, -3) if before != "not shown" else ("left", after, 3)
        colour = "white" if _SHOWN[verdict] == draw.BLUE else "black"
        ax.annotate(price_of_mistake(usd), (usd, row), (off, 0), ha=side, color=colour, **place)


def _usd(usd: float) -> str:
    return f"USD {price_of_mistake(usd)}"


def checked(frame: pd.DataFrame, what: str, mistake: float | None) -> Compared:
    """Compare the strategies of a frame whose mistakes can be counted.

    Raises:
        ConfigError: The frame lacks a column, a score is not from 0 to 1, or `mistake` is not above 0.
    """
    if mistake is not None and (isinstance(mistake, (bool, str)) or not 0 < mistake < math.inf):
        raise ConfigError(f"mistake={mistake!r}: what a mistake costs is a number of USD above 0.")
    need(frame, what, ("strategy", "cost", "score"), source="the frame of compare(..., judge=...)")
    try:
        scores = known(numbers(frame, "score"))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{what} counts mistakes: a score must be a number from 0 to 1, or missing ({error})."
        ) from error
    if any(not 0 <= score <= 1 for score in scores):
        raise ConfigError(f"{what} counts mistakes: scores must be from 0 to 1. Divide yours by the highest.")
    return compared(frame)


def _with_mistakes(each: Standing, usd: float) -> float:
    """Return what a task costs, where a mistake costs so many USD."""
    return each.cost + (1 - each.score) * usd


def _cheapest(strategies: Iterable[Standing]) -> Standing:
    return min(strategies, key=lambda each: (each.cost, -each.score))


def _limits(strategies: Sequence[Standing]) -> list[_Limit]:
    """Return where the cheapest strategy changes, from mistakes that cost nothing upwards."""
    at, found = _cheapest(strategies), list[_Limit]()
    while better := [each for each in strategies if each.score > at.score]:
        worth = [((each.cost - at.cost) / (each.score - at.score), each) for each in better]
        usd, after = min(worth, key=lambda each: (each[0], -each[1].score))
        _, low, high = break_even_of(after, at)
        found.append(_Limit(at, after, usd, low, high))
        at = after
    return found


def _draw_lines(
    ax: Axes,
    drawn: Sequence[Standing],
    limits: Sequence[_Limit],
    shades: dict[str, str],
    per: int,
    mistake: float | None,
) -> None:
    """Draw what each strategy costs, dotted where it is never the cheapest, and the limits of those that are."""
    from matplotlib.ticker import NullLocator

    from victor_nb.reports.charts.figure import Dollars

    low, high = _ends(limits, mistake)
    wide = low > 0
    best = {each.name for limit in limits for each in (limit.before, limit.after)} or {_cheapest(drawn).name}
    parts = [step / _STEPS for step in range(_STEPS + 1)]
    costs = [low * (high / low) ** part if wide else high * part for part in parts]
    for each in drawn:
        look: dict[str, Any] = {"linewidth": 1.8} if each.name in best else {"linestyle": ":"}
        totals = [per * _with_mistakes(each, usd) for usd in costs]
        draw.line(ax, costs, totals, shades[each.name], label=each.name, **look)
    if mistake is not None:
        ax.axvline(mistake, color=draw.EDGE, linewidth=0.9, linestyle="--", label="mistake")
    for limit in limits:
        level = per * _with_mistakes(limit.before, limit.usd)
        if not math.isnan(limit.high):
            ends = [max(limit.low, low), min(limit.high, high)]
            draw.line(ax, ends, [level] * 2, draw.EDGE, linewidth=0.9, label="interval")
            outside = limit.low < low, limit.high > high
            off = _INWARDS[not wide]
            for end, out, arrow, inwards in zip(ends, outside, "<>", (off, 1 / off), strict=True):
                at, marker = (end * inwards, arrow) if out else (end, "|")
                draw.line(ax, [at], [level], draw.EDGE, marker=marker, linestyle="none", label="end")
        draw.points(ax, [limit.usd], [level], draw.EDGE, "o", markersize=7, label="limit")
    if wide:
        draw.wide_axis(ax, 2 * low, high / 2, "", zero=False)
        draw.name_axis(ax.xaxis, "USD that a mistake costs (both axes are logarithmic)")
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(Dollars(each=True))
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        draw.money_axis(ax.xaxis, "USD that a mistake costs")
        draw.money_axis(ax.yaxis)
        ax.set_xlim(0, high)
        ax.set_ylim(0)


def _ends(limits: Sequence[_Limit], mistake: float | None) -> tuple[float, float]:
    """Return where the axis of what a mistake costs begins and ends (USD); one that begins above 0 is logarithmic."""
    shown = [usd for usd in (*(limit.usd for limit in limits), mistake) if usd] or [1.0]
    first, last = min(shown), max(shown)
    return (first / _AROUND, last * _AROUND) if last / first > _WIDE else (0.0, last * _BEYOND)


def _price(usd: float) -> str:
    """Write what a mistake costs: to the cent from ten cents on, as an estimate is no more exact than that."""
    return in_usd(usd) if usd < _TO_THE_CENT else f"USD {usd:,.2f}"


def _marked(strategies: Sequence[Standing], mistake: float, per: int) -> str:
    """Say what each strategy costs where a mistake costs so much."""
    totals = sorted((per * _with_mistakes(each, mistake), short(each.name)) for each in strategies)
    amounts = [usd for usd, _ in totals]
    costs = listing(f"{name} USD {amount_beside(usd, amounts)}" for usd, name in totals)
    return f"Dashed: at {_price(mistake)} a mistake the totals are {costs}."


def _worth(strategies: Sequence[Standing], limits: Sequence[_Limit]) -> str:
    """Say which strategy is cheapest for which mistakes."""
    if not limits:
        return f"As measured {short(_cheapest(strategies).name)} is cheapest, whatever a mistake costs"
    below = [f"{short(limit.before.name)} below {_price(limit.usd)}" for limit in limits]
    below[0] += " a mistake"
    return f"Cheapest as measured: {', '.join(below)}, above that {short(limits[-1].after.name)}"


def _known_as(limits: Sequence[_Limit], found: Compared) -> str:
    """Say what the bars are, and which strategy they leave without a range of its own."""
    if all(math.isnan(limit.high) for limit in limits):
        return found.basis
    never = [short(one.after.name) for one, other in pairwise(limits) if one.high > other.low]
    verb = "is" if len(never) == 1 else "are"
    open_still = f" They overlap: the tasks leave open whether {listing(never)} {verb} ever the cheapest."
    return f"Bars: 95 % intervals of the limits, by {found.counted}.{open_still if never else ''}"


def _spans(limits: Sequence[_Limit]) -> str:
    """Say in words where each bar begins and ends."""
    spans = (
        f"{short(limit.before.name)} or {short(limit.after.name)}: {_price(limit.low)} to "
        f"{'no limit' if math.isinf(limit.high) else _price(limit.high)}"
        for limit in limits
        if not math.isnan(limit.high)
    )
    text = listing(spans)
    return f"The intervals: {text}" if text else ""
