"""Charts of a search: its plans by cost and quality, and the evidence for each as tasks came."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.text import GREY, in_usd, listing, place, short
from victor_nb.reports.frames import groups, numbers, words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from victor_nb.reports.charts.text import Segment

_WIDE: Final = 20.0  # highest cost over lowest, from which on the axis is logarithmic
_TASKS: Final = 10_000
_LARGE: Final = 9  # points of the plan that was found
_LINES: Final = 4.6  # width of the first line of a race, in points
_INTERVAL: Final = 2.0  # points: no interval is taken for a line of the grid, or one that leads to a name
_GREEN: Final = "#2a7f62"


def plans_chart(
    frame: pd.DataFrame, *, bar: float | None, asked: str, best: str | None, title: str, ax: Axes | None = None
) -> Figure:
    """Show each plan by the cost of 10,000 tasks and its quality, with the bar that was set.

    Tested plans have their names. Those of the pilot have theirs where they hide nothing.

    Args:
        frame: `Found.table()`.
        bar: The quality that was asked for.
        asked: What that is, in words.
        best: The plan that was found.
        title: What the search came to.
        ax: Where to draw, if not on a new figure.
    """
    names, states = words(frame, "plan"), words(frame, "state")
    costs = [each * _TASKS for each in numbers(frame, "cost")]
    quality = numbers(frame, "quality")
    low, high = numbers(frame, "low"), numbers(frame, "high")
    tested = [number for number, state in enumerate(states) if state not in {"not chosen", "failed"}]
    if not names:
        return draw.nothing(ax, f"{title}: no plan was tested.")
    ax = draw.paper(ax, body=3.4)
    draw.plain(ax, grid="both")
    bars: list[Segment] = []
    for number in range(len(names)):
        chosen, raced = names[number] == best, number in tested
        colour = {"certified": _GREEN, "reference": draw.BLUE}.get(states[number], GREY)
        if raced and not math.isnan(low[number]):
            draw.line(ax, [costs[number]] * 2, [low[number], high[number]], colour, linewidth=_INTERVAL)
            bars.append(((costs[number], low[number]), (costs[number], high[number])))
        look: dict[str, Any] = {} if raced else {"markerfacecolor": "none"}
        draw.points(ax, [costs[number]], [quality[number]], colour, "o", markersize=_LARGE if chosen else 6, **look)
    draw.name_axis(ax.yaxis, "quality (higher is better)")
    ax.margins(x=0.18, y=0.15)  # names stand within the axes
    _cost_axis(ax, costs, [costs[number] for number in tested])
    if bar is not None:
        ax.axhline(bar, color=draw.EDGE, linewidth=0.9, linestyle="--")
        bars.append(((min(costs), bar), (max(costs), bar)))
    dashed = f"Dashed: {asked} ({bar:.3g}). " if bar is not None else ""
    note = f"{dashed}Bars: 95 % intervals."
    draw.header(ax, title, [note], legend=_legend(states, best))
    named = [*tested, *sorted({*range(len(names))} - {*tested}, key=lambda n: (" " in names[n], -quality[n]))]
    spots = [(costs[n], quality[n]) for n in named]
    place(ax, [names[n] for n in named], spots, bars, needed=len(tested))
    rows = listing(f"{names[n]} {in_usd(costs[n])}, quality {quality[n]:.3g}, {states[n]}" for n in tested)
    return draw.finish(ax, f"Cost of {_TASKS:,} tasks against quality", title, rows, note)


def _cost_axis(ax: Axes, costs: list[float], tested: list[float]) -> None:
    """Set the axis of costs: logarithmic where those of tested plans are far apart."""
    known, name = [cost for cost in tested if cost > 0], f"USD for {_TASKS:,} tasks"
    if known and max(costs) / min(known) >= _WIDE:
        draw.wide_axis(ax, min(cost for cost in costs if cost > 0), max(costs), name, zero=min(costs) <= 0)
    else:
        draw.money_axis(ax.xaxis, name)


def _legend(states: list[str], best: str | None) -> list[Line2D]:
    """Return what the points are."""
    found = [draw.symbol("the plan found", _GREEN, "o", markersize=_LARGE)] if best is not None else []
    found += [draw.symbol("certified, too", _GREEN, "o")] if states.count("certified") > 1 else []
    found += [draw.symbol("reference", draw.BLUE, "o")] if "reference" in states else []
    if not {"certified", "reference", "not chosen", "failed"}.issuperset(states):
        found += [draw.symbol("tested, not certified", GREY, "o")]
    if not {"not chosen", "failed"}.isdisjoint(states):
        found += [draw.symbol("seen in the pilot only", GREY, "o", markerfacecolor="none")]
    return found


def race_chart(frame: pd.DataFrame, *, title: str, ax: Axes | None = None) -> Figure:
    """Show the evidence for each plan as tasks came, and how much certifies one.

    Args:
        frame: `Found.trace()`.
        title: What the search came to.
        ax: Where to draw, if not on a new figure.
    """
    if not len(frame):
        return draw.nothing(ax, f"{title}: no plan was tested.")
    ax = draw.paper(ax, body=2.6)
    draw.plain(ax, grid="both")
    needed = numbers(frame, "needed")[0]
    parts = list(groups(frame, "plan"))
    shades = draw.colours([name for name, _ in parts])
    ends: list[str] = []
    for lying_on, (name, part) in enumerate(parts):  # thinner than the one below: of equal lines each is seen
        tasks, evidence = [0.0, *numbers(part, "tasks")], [1.0, *numbers(part, "evidence")]
        draw.line(ax, tasks, evidence, shades[name], linewidth=_LINES - lying_on, marker="o", markersize=3)
        ends.append(f"{name} {evidence[-1]:,.3g} after {tasks[-1]:,.0f} tasks")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:,g}")
    ax.set_ylim(bottom=0.8)
    ax.axhline(needed, color=draw.EDGE, linewidth=0.9, linestyle="--")
    draw.name_axis(ax.xaxis, "tasks")
    draw.name_axis(ax.yaxis, "evidence that it holds")
    notes = [f"Dashed: what certifies a plan, {needed:,.0f} to 1. A line ends where its plan is decided."]
    draw.header(
        ax, title, notes, legend=[draw.symbol(short(name), shades[name], "o", linestyle="-") for name, _ in parts]
    )
    return draw.finish(ax, "Evidence against tasks, one line for each plan", title, listing(ends), *notes)
