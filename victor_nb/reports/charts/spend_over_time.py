"""How the money went, as time passed."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from victor_nb.reports.charts.axes import money_axis, name_axis, no_scale, plain
from victor_nb.reports.charts.canvas import finish, paper
from victor_nb.reports.charts.columns import NOTHING, money, need, numbers, provenance
from victor_nb.reports.charts.header import header, symbol
from victor_nb.reports.charts.marks import BLUE, ORANGE, VERMILION, line, points
from victor_nb.reports.charts.wording import SMALL, amount, sentences, total

if TYPE_CHECKING:
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
