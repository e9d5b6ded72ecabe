"""Charts of the ledger: USD by day and over time, and tokens and USD by profile."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from datetime import UTC
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.text import GREY, SMALL, in_usd, listing, percent, short, total
from victor_nb.reports.frames import (
    NOTHING,
    Every,
    Money,
    added,
    groups,
    known,
    local_times,
    money,
    need,
    numbers,
    provenance,
    words,
    zone_name,
)
from victor_nb.reports.frames import (
    spend as spend_frame,
)
from victor_nb.values import UNPAID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_BARS: Final = 31
"""Days that stand side by side; of more, weeks do, and then months."""
_MOST_NAMES: Final = 6
_FEW_BARS: Final = 5  # that have room for an amount over each
_SHORTEST_BAND: Final = 0.05  # of the axis
_HALF_AMOUNT: Final = 0.08  # of the axis, which an amount over a bar takes on each side of it
_FAR: Final = 4.0  # times as high as the highest bar: a budget's line further up would leave no bars to see
_FORMATS: Final[Mapping[Every, str]] = {
    "minute": "%H:%M",
    "hour": "%H:%M",
    "day": "%b %d",
    "week": "%b %d",
    "month": "%b %Y",
}


# --- by day ---


@draw.chart("ledger")
def spend(
    frame: pd.DataFrame,
    *,
    by: str = "model",
    every: Every | None = None,
    budget: Decimal | float | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Show the USD of each day, stacked by model, with the line of a day's budget. What was not paid stands apart.

    Args:
        frame: One row for each attempt (`session().ledger.to_frame("all")`): `ts`, `cost` (USD), `status`, `attempt`,
            `billed`, the column `by`, and `mode` where there is one. Where anything was paid, only that is drawn, and
            a note says what was simulated or replayed.
        by: What to stack: `model`, `profile`, `strategy`, `notebook`, ...
        every: `hour`, `day`, `week` or `month`, in this machine's zone; None takes days, of many weeks or months.
        budget: USD for a day; a line marks it, unless it is far above all bars, where a note says so.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "spend", ("ts", "cost", "billed", "status", "attempt", by), source="the ledger's frame")
    frame, aside = _book(frame)
    if frame.empty:
        return draw.nothing(ax, f"Money by day: {NOTHING}")
    every = every or _period_of(frame)
    if not added(frame, "cost") and not money(frame).unpriced:
        return draw.nothing(ax, f"Money by {every}: nothing, all {len(frame):,} attempts were free")
    parts, rest = _parts(frame, by)
    sums = spend_frame(frame, every)
    heights = {name: numbers(spend_frame(rows, every).reindex(sums.index), "cost") for name, rows in parts.items()}
    unpriced = [int(count) for count in numbers(sums, "unpriced")]
    line = float(budget) if budget is not None and every == "day" else math.nan
    ax = draw.paper(ax)
    legend, far = _draw_days(ax, heights, unpriced, rest, line)
    _name_periods(ax, [f"{period:{_FORMATS[every]}}" for period in sums.index], f"{every}s, {zone_name(frame)}")
    title = _spend_title(frame, parts, rest, f"{len(sums):,} {every}{'s'[: len(sums) != 1]}")
    notes = [far, aside, provenance(frame)]
    draw.header(ax, title, notes, legend=legend, unpriced=any(unpriced))
    each = zip(sums.index, numbers(sums, "cost"), unpriced, strict=True)
    rows = listing(f"{period:%Y-%m-%d} {in_usd(cost, missing)}" for period, cost, missing in each if cost or missing)
    return draw.finish(ax, title, rows, *notes)


def _draw_days(
    ax: Axes, heights: Mapping[str, Sequence[float]], unpriced: Sequence[int], rest: str, line: float
) -> tuple[list[Artist], str]:
    """Draw the bars and a budget's line; return their legend, and what to say of a line that is too far above them."""
    colours = {**draw.colours(name for name in heights if name != rest), rest: GREY}
    draw.plain(ax, grid="y")
    tops = _stack(ax, heights, colours)
    highest = max(tops)
    drawn = line <= highest * _FAR
    ax.set_ylim(0, 1.16 * max(highest, line if drawn else 0.0) or 1.0)
    _hatch(ax, tops, unpriced)
    _name_tops(ax, tops, unpriced)
    legend: list[Artist] = [draw.swatch(name, colours[name]) for name in heights]
    if drawn:
        ax.axhline(line, color=draw.EDGE, linewidth=1.2, linestyle="--", label="budget")
        legend.append(draw.symbol(f"a day's budget, {in_usd(line)}", draw.EDGE, "", linestyle="--"))
    if drawn or math.isnan(line):
        return legend, ""
    return legend, f"Far below a day's budget of {in_usd(line)}: at most {percent(highest / line)} of it."


def _book(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return what was paid, and what else there is in words; where nothing was paid, all."""
    frame = frame[[status not in {"refused", "running"} for status in words(frame, "status")]]
    unpaid = [mode in UNPAID for mode in words(frame, "mode", missing="live")]
    if all(unpaid) or not any(unpaid):
        return frame, ""
    others = frame[unpaid]
    books = " and ".join(sorted({UNPAID[mode] for mode in words(others, "mode") if mode in UNPAID}))  # type: ignore[index]
    cost, missing = money(others)
    aside = f"Not drawn, since not paid: {total(0.0 if math.isnan(cost) else cost, missing)} {books}."
    return frame[[not each for each in unpaid]], aside


def _period_of(frame: pd.DataFrame) -> Every:
    """Return the shortest period that gives no more bars than fit."""
    days = local_times(frame)
    span = (days.max().normalize() - days.min().normalize()).days + 1
    return "day" if span <= _MOST_BARS else "week" if span <= _MOST_BARS * 7 else "month"


def _parts(frame: pd.DataFrame, by: str) -> tuple[dict[str, pd.DataFrame], str]:
    """Return the rows of each part of a bar, the one that cost most first; of many, the rest under one name."""
    found = dict(sorted(groups(frame, by), key=lambda item: -added(item[1], "cost")))
    if len(found) <= _MOST_NAMES:
        return found, ""
    names = list(found)[: _MOST_NAMES - 1]
    rest = f"{len(found) - len(names):,} others"
    others = frame[[name not in names for name in words(frame, by, missing=f"(no {by})")]]
    return {**{name: found[name] for name in names}, rest: others}, rest


def _stack(ax: Axes, heights: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> list[float]:
    """Draw the bars, and return how high each is."""
    tops = [0.0] * max(map(len, heights.values()))
    for name, parts in heights.items():
        known_parts = [0.0 if math.isnan(part) else part for part in parts]
        look: dict[str, Any] = {"width": 0.72, "edgecolor": draw.EDGE, "linewidth": 0.6, "label": name}
        ax.bar(range(len(parts)), known_parts, bottom=tops, color=colours[name], **look)
        tops = [top + part for top, part in zip(tops, known_parts, strict=True)]
    return tops


def _hatch(ax: Axes, tops: Sequence[float], unpriced: Sequence[int]) -> None:
    """Mark the days of which a part is unknown: a hatched band to the end of the axis, or to an amount beside it."""
    most, highest = ax.get_ylim()[1], max(tops)
    named = [at for at, top in enumerate(tops) if top == highest and _is_named(top, tops, unpriced)]
    for at, (top, missing) in enumerate(zip(tops, unpriced, strict=True)):
        if missing:
            beside = any(abs(at - other) <= _HALF_AMOUNT * len(tops) + 1 for other in named)
            end = max(highest, top + _SHORTEST_BAND * most) if beside else most
            ax.bar(at, end - top, bottom=top, width=0.72, color="none", label="unpriced", **draw.UNKNOWN)


def _name_periods(ax: Axes, names: Sequence[str], what: str) -> None:
    """Name the bars; of many, as many as have room."""
    step = math.ceil(len(names) / 7)
    shown = range((len(names) - 1) % step, len(names), step)  # the last one is named
    spare = max(0.0, (4 - len(names)) / 2)
    ax.set_xlim(-0.6 - spare, len(names) - 0.4 + spare)
    ax.set_xticks(list(shown), [names[at] for at in shown], fontsize=SMALL, color=draw.EDGE)
    draw.name_axis(ax.xaxis, what)


def _name_tops(ax: Axes, tops: Sequence[float], unpriced: Sequence[int]) -> None:
    """Write the amounts over few bars, of many over the highest; not where more is unknown."""
    draw.money_axis(ax.yaxis)
    if not any(tops):
        draw.no_scale(ax.yaxis, 0)
    look: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": SMALL, "color": draw.EDGE}
    for at, (top, missing) in enumerate(zip(tops, unpriced, strict=True)):
        if top and not missing and (len(tops) <= _FEW_BARS or _is_named(top, tops, unpriced)):
            ax.annotate(in_usd(top), (at, top), (0, 2), textcoords="offset points", **look)


def _is_named(top: float, tops: Sequence[float], unpriced: Sequence[int]) -> bool:
    """Return whether a bar of this height is the highest, and its amount is known."""
    return top == max(tops) and not unpriced[tops.index(top)]


def _spend_title(frame: pd.DataFrame, parts: Mapping[str, pd.DataFrame], rest: str, periods: str) -> str:
    """Say what was spent, and which part took most of it, where that is known."""
    cost, unpriced = money(frame)
    spent = f"{total(0.0 if math.isnan(cost) else cost, unpriced)} in {periods}"
    name, rows = next(iter(parts.items()))
    if unpriced or len(parts) == 1 or name == rest:
        return spent
    return f"{spent}, {percent(money(rows).known / cost)} of it for {short(name)}"


# --- over time ---


@draw.chart("ledger")
def spend_over_time(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show the USD spent so far, at list prices and as billed, as time passed.

    Args:
        frame: One row for each attempt (`session().ledger.to_frame("all")`): `ts`, `cost` (USD), and `billed` (USD),
            `mode` where there are such. Attempts of unknown cost add nothing to the lines: they are marks on the axis.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame has no `ts` or no `cost`.
    """
    need(frame, "spend_over_time", ("ts", "cost"), source="the ledger's frame")
    frame = frame.sort_values("ts", kind="stable")
    if frame.empty:
        return draw.nothing(ax, f"Money over time: {NOTHING}")
    prices, days = numbers(frame, "cost"), _days(frame)
    cost, billed = _so_far(prices), _so_far(numbers(frame, "billed"))
    unpriced = money(frame).unpriced
    ax = draw.paper(ax)
    draw.plain(ax, grid="y")
    _line(ax, days, cost, draw.BLUE, linewidth=3, label="list price")
    legend: list[Artist] = [draw.symbol("list price", draw.BLUE, "", linestyle="-", linewidth=3)]
    bill = ""
    if "billed" in frame.columns:
        _line(ax, days, billed, draw.ORANGE, linewidth=1.4, linestyle="--", label="billed")
        legend.append(draw.symbol("billed", draw.ORANGE, "", linestyle="--"))
        bill = f"Billed: {in_usd(billed[-1])}."
    marks = [day for day, price in zip(days, prices, strict=True) if math.isnan(price)]
    if marks:
        look: dict[str, Any] = {"markersize": 10, "markeredgecolor": draw.VERMILION, "label": "unpriced"}
        draw.points(ax, marks, [0.03] * len(marks), draw.VERMILION, "|", transform=ax.get_xaxis_transform(), **look)
    if unpriced:
        legend.append(draw.symbol(f"{unpriced:,} unpriced", draw.VERMILION, "|", markersize=10))
    _axes(ax, days, cost[-1], zone_name(frame))
    title = f"{total(sum(known(prices)), unpriced)} at list prices in {len(frame):,} attempt{'s'[: len(frame) > 1]}"
    note = provenance(frame)
    draw.header(ax, title, [bill, note], legend=legend)
    return draw.finish(ax, title, _period(frame), bill, note)


def _days(frame: pd.DataFrame) -> list[float]:
    """Return the moments as matplotlib counts time: in days since 1970, by this machine's clock."""
    import pandas as pd

    since = local_times(frame) - pd.Timestamp(0)
    return [float(seconds) / 86_400 for seconds in since.dt.total_seconds()]


def _so_far(amounts: Sequence[float]) -> list[float]:
    """Add up what is known, row after row."""
    return list(accumulate(0.0 if math.isnan(each) else each for each in amounts))


def _line(ax: Axes, days: Sequence[float], sums: Sequence[float], colour: str, **look: Any) -> None:
    """Draw a sum that jumps at each attempt; few attempts are dots too."""
    if len(days) <= 20:  # noqa: PLR2004
        draw.line(ax, days, sums, colour, linestyle="none", marker="o", markersize=4)
    draw.line(ax, [days[0], *days], [0.0, *sums], colour, drawstyle="steps-post", **look)


def _axes(ax: Axes, days: Sequence[float], top: float, where: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    draw.money_axis(ax.yaxis)
    ax.set_ylim(0, top * 1.06 or 1.0)
    if not top:
        draw.no_scale(ax.yaxis, 0)
    draw.name_axis(ax.xaxis, f"time, {where}")
    spare = (days[-1] - days[0]) * 0.03 or 1 / (24 * 60)  # a minute, where all is one moment
    ax.set_xlim(days[0] - spare, days[-1] + spare)
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=6)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))


def _period(frame: pd.DataFrame) -> str:
    times = local_times(frame)
    first, last = (f"{times.iloc[at]:%Y-%m-%d %H:%M}" for at in (0, -1))
    return f"From {first} to {last} {zone_name(frame)}"


# --- tokens beside money ---


class _Share(NamedTuple):
    """The tokens and the USD of one profile."""

    name: str
    tokens_in: float
    tokens_out: float
    money: Money

    @property
    def tokens(self) -> float:
        return self.tokens_in + self.tokens_out


@draw.chart("ledger")
def tokens_vs_cost(frame: pd.DataFrame, *, by: str = "profile", ax: Axes | None = None) -> Figure:
    """Show side by side the tokens and the USD that went to each profile, the most expensive on top.

    Args:
        frame: One row for each attempt or call (`session().ledger.to_frame()`, `run.to_frame()`): `input_tokens`,
            `output_tokens`, `cost` (USD), the column `by`, and `mode` where there is one.
        by: What to go by instead of the profile: `model`, `provider`, `stage`, ...
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "tokens_vs_cost", (by, "input_tokens", "output_tokens", "cost"), source="the ledger's frame")
    shares = [
        _Share(name, added(rows, "input_tokens"), added(rows, "output_tokens"), money(rows))
        for name, rows in groups(frame, by)
    ]
    if not shares:
        return draw.nothing(ax, f"Tokens and cost by {by}: {NOTHING}")
    shares.sort(key=lambda share: (-1.0 if math.isnan(share.money.known) else share.money.known, share.tokens))
    shares.reverse()
    names, amounts = [share.name for share in shares], [share.money for share in shares]
    colours = draw.colours(names) if by in {"profile", "model"} else dict.fromkeys(names, draw.BLUE)
    ax = draw.paper(ax, rows=len(shares))
    counts = [f"{share.tokens:,.0f} tokens" for share in shares]
    left, right, indent = draw.panels(ax, names, counts, draw.amounts_of(names, amounts))
    draw.scale(left, [share.tokens for share in shares], "tokens")
    for row, share in enumerate(shares):
        draw.bar(left, row, 0, share.tokens_in, draw.pale(colours[share.name]), label="input tokens")
        draw.bar(left, row, share.tokens_in, share.tokens_out, colours[share.name], label="output tokens")
    draw.costs(right, names, amounts, colours)
    legend = [draw.swatch("input tokens", draw.pale(GREY)), draw.swatch("output tokens", GREY)]
    unpriced = any(share.money.unpriced for share in shares)
    title, note = _title(shares, by), provenance(frame)
    draw.header(ax, title, [note], legend=legend, unpriced=unpriced, indent=indent)
    each = (f"{share.name} {share.tokens:,.0f} tokens, {in_usd(*share.money)}" for share in shares)
    return draw.finish(ax, title, listing(each), note)


def _title(shares: Sequence[_Share], by: str) -> str:
    tokens = sum(share.tokens for share in shares)
    cost = sum(known(share.money.known for share in shares))
    if not tokens or not cost or any(share.money.unpriced for share in shares):
        return f"Tokens and cost by {by}"
    most = max(shares, key=lambda share: share.money.known)
    part, paid = percent(most.tokens / tokens), percent(most.money.known / cost)
    return f"{short(most.name)} took {part} of the tokens and {paid} of the cost"
