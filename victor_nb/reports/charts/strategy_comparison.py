"""What each strategy costs, beside what two baselines would have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from victor_nb.reports.charts.axes import height, money_scale, name_rows
from victor_nb.reports.charts.canvas import finish, paper
from victor_nb.reports.charts.columns import NOTHING, groups, mean, money, need, numbers, provenance, words
from victor_nb.reports.charts.header import header, swatch, symbol, unpriced_swatch
from victor_nb.reports.charts.marks import BLUE, EDGE, VERMILION, bar, figures, points, unknown
from victor_nb.reports.charts.wording import bounded, change, listing, sentences, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        _draw(ax, row, each)
    figures(ax, [_figures(each) for each in bars])
    title, note = _title(bars), provenance(frame)
    same, one = _names(frame)
    header(ax, title, [_tasks(frame), note], legend=_legend(bars, same, one), indent=indent)
    told = listing(_told(each, same, one) for each in bars)
    return finish(ax, sentences(f"{title}, in USD for each task", told, note))


def _bar(name: str, rows: pd.DataFrame) -> _Bar:
    tasks = max(len(rows), 1)
    known, unpriced = money(rows)
    return _Bar(name, known / tasks, unpriced, mean(numbers(rows, "same_calls")), mean(numbers(rows, "one_call")))


def _draw(ax: Axes, row: int, each: _Bar) -> None:
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


def _title(bars: Sequence[_Bar]) -> str:
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
