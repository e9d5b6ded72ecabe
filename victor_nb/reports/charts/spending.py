"""Charts of the ledger: USD over time, and tokens and USD by profile."""

from __future__ import annotations

import math
from datetime import UTC
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.text import SMALL, amount, bounded, listing, percent, short, total
from victor_nb.reports.frames import NOTHING, Money, added, groups, known, money, need, numbers, provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
    prices, days = numbers(frame, "cost"), _days(frame)
    cost, billed = _so_far(prices), _so_far(numbers(frame, "billed"))
    unpriced = money(frame).unpriced
    ax = draw.paper(ax)
    draw.plain(ax, grid="y")
    _line(ax, days, cost, draw.BLUE, linewidth=3, label="list price")
    legend: list[Artist] = [draw.symbol("list price", draw.BLUE, "", linestyle="-", linewidth=3)]
    bill = ""
    if "billed" in frame.columns and days:
        _line(ax, days, billed, draw.ORANGE, linewidth=1.4, linestyle="--", label="billed")
        legend.append(draw.symbol("billed", draw.ORANGE, "", linestyle="--"))
        bill = f"Billed: USD {amount(billed[-1])}."
    marks = [day for day, price in zip(days, prices, strict=True) if math.isnan(price)]
    if marks:
        look: dict[str, Any] = {"markersize": 10, "markeredgecolor": draw.VERMILION, "label": "unpriced"}
        draw.points(ax, marks, [0.03] * len(marks), draw.VERMILION, "|", transform=ax.get_xaxis_transform(), **look)
    if unpriced:
        legend.append(draw.symbol(f"{unpriced:,} unpriced", draw.VERMILION, "|", markersize=10))
    _axes(ax, days, max(cost, default=0.0))
    spent = total(sum(known(prices)), unpriced)
    title = f"Money over time: {spent} at list prices" if days else f"Money over time: {NOTHING}"
    note = provenance(frame)
    draw.header(ax, title, [bill, note], legend=legend if days else [])
    return draw.finish(ax, title, _period(frame), bill, note)


def _days(frame: pd.DataFrame) -> list[float]:
    """Return the moments as matplotlib counts time: in days since 1970, UTC."""
    import pandas as pd

    since = pd.to_datetime(frame["ts"], utc=True) - pd.Timestamp(0, tz="UTC")
    return [float(seconds) / 86_400 for seconds in since.dt.total_seconds()]


def _so_far(amounts: Sequence[float]) -> list[float]:
    """Add up what is known, row after row."""
    return list(accumulate(0.0 if math.isnan(each) else each for each in amounts))


def _line(ax: Axes, days: Sequence[float], sums: Sequence[float], colour: str, **look: Any) -> None:
    """Draw a sum that jumps at each attempt; few attempts are dots too."""
    if not days:
        return
    if len(days) <= 20:  # noqa: PLR2004
        draw.line(ax, days, sums, colour, linestyle="none", marker="o", markersize=4)
    draw.line(ax, [days[0], *days], [0.0, *sums], colour, drawstyle="steps-post", **look)


def _axes(ax: Axes, days: Sequence[float], top: float) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    draw.money_axis(ax.yaxis)
    ax.set_ylim(0, top * 1.06 or 1.0)
    if not top:
        draw.no_scale(ax.yaxis, 0)
    draw.name_axis(ax.xaxis, "time (UTC)")
    if not days:
        draw.no_scale(ax.xaxis)
        return
    spare = (days[-1] - days[0]) * 0.03 or 1 / (24 * 60)  # a minute, where all is one moment
    ax.set_xlim(days[0] - spare, days[-1] + spare)
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=6)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    ax.xaxis.get_offset_text().set_fontsize(SMALL)


def _period(frame: pd.DataFrame) -> str:
    if not len(frame):
        return ""
    first, last = (f"{frame['ts'].iloc[at]:%Y-%m-%d %H:%M}" for at in (0, -1))
    return f"{len(frame):,} attempt{'s' if len(frame) > 1 else ''} from {first} to {last} UTC"


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
    """Show side by side the tokens and the USD that went to each profile.

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
    names = [share.name for share in shares]
    ax = draw.paper(ax, rows=len(shares))
    left, right, indent = draw.panels(ax, names, (0.0, 0.34), (0.58, 0.9))
    draw.scale(left, [share.tokens for share in shares], "tokens")
    for row, share in enumerate(shares):
        draw.bar(left, row, 0, share.tokens_in, draw.SKY, label="input tokens")
        draw.bar(left, row, share.tokens_in, share.tokens_out, draw.BLUE, label="output tokens")
    draw.row_values(left, [f"{share.tokens:,.0f}" for share in shares])
    draw.costs(right, names, [share.money for share in shares])
    legend = [
        draw.swatch("input tokens", draw.SKY),
        draw.swatch("output tokens", draw.BLUE),
        draw.swatch("USD", draw.ORANGE),
    ]
    unpriced = any(share.money.unpriced for share in shares)
    title, note = _title(shares, by), provenance(frame)
    draw.header(ax, title, [note], legend=legend, unpriced=unpriced, indent=indent)
    each = (f"{share.name} {share.tokens:,.0f} tokens, USD {bounded(*share.money)}" for share in shares)
    return draw.finish(ax, title, listing(each), note)


def _title(shares: Sequence[_Share], by: str) -> str:
    tokens = sum(share.tokens for share in shares)
    cost = sum(known(share.money.known for share in shares))
    if not tokens or not cost or any(share.money.unpriced for share in shares):
        return f"Tokens and cost by {by}" + ("" if shares else f": {NOTHING}")
    most = max(shares, key=lambda share: share.money.known)
    part, paid = percent(most.tokens / tokens), percent(most.money.known / cost)
    return f"{short(most.name)}: {part} of the tokens, {paid} of the cost"
