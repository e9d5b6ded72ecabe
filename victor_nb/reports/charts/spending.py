"""How the money went, as time passed."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from victor_nb.reports.charts.drawing import (
    BLUE,
    NOTHING,
    ORANGE,
    SKY,
    SMALL,
    VERMILION,
    Money,
    amount,
    bar,
    bounded,
    count_scale,
    figures,
    finish,
    groups,
    header,
    height,
    line,
    listing,
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
    plain,
    points,
    provenance,
    sentences,
    short,
    swatch,
    symbol,
    total,
    unknown,
    unpriced_swatch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


_FEW: Final = 20
_MINUTE: Final = 1 / (24 * 60)


def spend_over_time(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show the money spent so far, at list prices and as billed, as time passed.

    Args:
        frame: One row for each attempt (`session().ledger.to_frame("all")`): `ts`, `cost` (USD), and `billed` (USD),
            `mode` where there are such. Attempts of unknown cost add nothing to the lines: they are marks on the axis.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame has no `ts` or no `cost`.
    """
    need(frame, "spend_over_time", ("ts", "cost"), source="the ledger's frame")
    frame = frame.sort_values("ts", kind="stable")
    known, unpriced = money(frame)
    cost, billed = (np.nancumsum(numbers(frame, name)) for name in ("cost", "billed"))
    has_billed = "billed" in frame.columns
    ax = paper(ax)
    plain(ax, grid="y")
    moments = _days(frame)
    _line(ax, moments, cost, BLUE, linewidth=3, label="list price")
    if has_billed:
        _line(ax, moments, billed, ORANGE, linewidth=1.4, linestyle="--", label="billed")
    _marks(ax, moments[np.isnan(numbers(frame, "cost"))])
    _axes(ax, moments, cost)
    spent = total(float(np.nan_to_num(known)), unpriced)
    note = provenance(frame)
    title = f"Money over time: {spent} at list prices" if len(frame) else f"Money over time: {NOTHING}"
    bill = f"Billed: USD {amount(float(billed[-1]))}." if has_billed and len(frame) else ""
    header(ax, title, [bill, note], legend=_legend(has_billed=has_billed, unpriced=unpriced) if len(frame) else [])
    return finish(ax, sentences(title, _when(frame), bill, note))


def _days(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the moments as matplotlib counts time: in days since 1970, UTC."""
    since = pd.to_datetime(frame["ts"], utc=True) - pd.Timestamp(0, tz="UTC")
    return np.array(since.dt.total_seconds(), dtype=np.float64) / 86_400


def _line(ax: Axes, moments: Any, sums: Any, colour: str, **look: Any) -> None:  # noqa: ANN401 - arrays, and what Axes.step takes
    """Draw a sum that jumps at each attempt."""
    if len(moments):
        if len(moments) <= _FEW:
            line(ax, moments, sums, colour, linestyle="none", marker="o", markersize=4)
        line(ax, np.r_[moments[0], moments], np.r_[0.0, sums], colour, drawstyle="steps-post", **look)


def _marks(ax: Axes, moments: Any) -> None:  # noqa: ANN401
    if len(moments):
        look: dict[str, Any] = {"markersize": 10, "markeredgecolor": VERMILION, "label": "unpriced"}
        points(ax, moments, [0.03] * len(moments), VERMILION, "|", transform=ax.get_xaxis_transform(), **look)


def _axes(ax: Axes, moments: Any, cost: Any) -> None:  # noqa: ANN401
    money_axis(ax.yaxis)
    top = float(cost.max()) if len(cost) else 0.0
    ax.set_ylim(0, top * 1.06 or 1.0)
    if not top:
        no_scale(ax.yaxis, 0)
    name_axis(ax.xaxis, "time (UTC)")
    if not len(moments):
        no_scale(ax.xaxis)
        return
    first, last = float(moments[0]), float(moments[-1])
    spare = max((last - first) * 0.03, _MINUTE if last == first else 0.0)
    ax.set_xlim(first - spare, last + spare)
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=6)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    ax.xaxis.get_offset_text().set_fontsize(SMALL)


def _legend(*, has_billed: bool, unpriced: int) -> list[Artist]:
    handles: list[Artist] = [symbol("list price", BLUE, "", linestyle="-", linewidth=3)]
    if has_billed:
        handles.append(symbol("billed", ORANGE, "", linestyle="--"))
    if unpriced:
        handles.append(symbol(f"{unpriced:,} unpriced", VERMILION, "|", markersize=10))
    return handles


def _when(frame: pd.DataFrame) -> str:
    if not len(frame):
        return ""
    first, last = (f"{frame['ts'].iloc[at]:%Y-%m-%d %H:%M}" for at in (0, -1))
    return f"{len(frame):,} attempt{'s' if len(frame) > 1 else ''} from {first} to {last} UTC."


class _Share(NamedTuple):
    """What a profile took."""

    name: str
    tokens_in: float
    tokens_out: float
    money: Money

    @property
    def tokens(self) -> float:
        return self.tokens_in + self.tokens_out


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
    shares = [_share(name, rows) for name, rows in groups(frame, by, missing=f"(no {by})")]
    names = [share.name for share in shares]
    ax = paper(ax, height=height(len(shares)))
    left, right = panels(ax, (0.0, 0.34), (0.58, 0.9))
    indent = name_rows(left, names, most=22)
    name_rows(right, names, most=0)
    _tokens(left, shares)
    _spend(right, shares)
    unpriced = any(share.money.unpriced for share in shares)
    legend = [swatch("input tokens", SKY), swatch("output tokens", BLUE), swatch("USD", ORANGE)]
    title, note = _title(shares, by), provenance(frame)
    header(ax, title, [note], legend=[*legend, *unpriced_swatch(shown=unpriced)], indent=indent)
    told = listing(f"{share.name} {share.tokens:,.0f} tokens, USD {bounded(*share.money)}" for share in shares)
    return finish(ax, sentences(title, told, note))


def _share(name: str, rows: pd.DataFrame) -> _Share:
    tokens_in, tokens_out = (float(np.nansum(numbers(rows, f"{way}_tokens"))) for way in ("input", "output"))
    return _Share(name, tokens_in, tokens_out, money(rows))


def _tokens(ax: Axes, shares: Sequence[_Share]) -> None:
    count_scale(ax, [share.tokens for share in shares], "tokens")
    for row, share in enumerate(shares):
        bar(ax, row, 0, share.tokens_in, SKY, label="input tokens")
        bar(ax, row, share.tokens_in, share.tokens_out, BLUE, label="output tokens")
    figures(ax, [f"{share.tokens:,.0f}" for share in shares])


def _spend(ax: Axes, shares: Sequence[_Share]) -> None:
    money_scale(ax, [share.money.known for share in shares])
    for row, share in enumerate(shares):
        known = float(np.nan_to_num(share.money.known))
        bar(ax, row, 0, known, ORANGE, label=share.name)
        if share.money.unpriced:
            unknown(ax, row, known)
    figures(ax, [bounded(*share.money) for share in shares])


def _title(shares: Sequence[_Share], by: str) -> str:
    tokens = sum(share.tokens for share in shares)
    cost = sum(float(np.nan_to_num(share.money.known)) for share in shares)
    if not tokens or not cost or any(share.money.unpriced for share in shares):
        return f"Tokens and cost by {by}" + ("" if shares else f": {NOTHING}")
    most = max(shares, key=lambda share: share.money.known)
    part, paid = most.tokens / tokens, most.money.known / cost
    return f"{short(most.name)}: {part:.0%} of the tokens, {paid:.0%} of the cost".replace("%", " %")
