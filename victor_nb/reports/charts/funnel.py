"""How many ideas each stage of a run took in and let through, and what it cost."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from victor_nb.reports.charts.axes import height, money_scale, name_axis, name_rows, no_scale
from victor_nb.reports.charts.canvas import finish, panels, paper
from victor_nb.reports.charts.columns import NOTHING, groups, money, need, numbers, provenance
from victor_nb.reports.charts.header import header, swatch, unpriced_swatch
from victor_nb.reports.charts.marks import BLUE, ORANGE, SKY, band, bar, figures, rule, unknown
from victor_nb.reports.charts.wording import bounded, listing, sentences, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from victor_nb.reports.charts.columns import Money


def funnel(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show the narrowing of a run: on the left the items of each stage and those that went on, on the right its USD.

    Args:
        frame: One row for each stage, in order (`stages_frame(run.stages)`): `stage`, `items` (what it came to),
            `kept_items` (what went on), `cost` (USD), and `unpriced`, `mode` where there are such.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "funnel", ("stage", "items", "kept_items", "cost"), source="a strategy run, or stages_frame(stages)")
    stages = [name for name, _ in groups(frame, "stage", missing="(no stage)")]
    parts = [rows for _, rows in groups(frame, "stage", missing="(no stage)")]
    items = [(_sum(rows, "items"), _sum(rows, "kept_items")) for rows in parts]
    costs = [money(rows) for rows in parts]
    ax = paper(ax, height=height(len(stages)))
    left, right = panels(ax, (0.0, 0.36), (0.62, 0.9))
    indent = name_rows(left, stages, most=22)
    _narrow(left, items)
    _spend(right, stages, costs)
    known, unpriced = sum(np.nan_to_num(part.known) for part in costs), sum(part.unpriced for part in costs)
    title = _title(items, total(float(known), unpriced))
    note = provenance(frame)
    legend = [swatch("items", SKY), swatch("kept", BLUE), *unpriced_swatch(shown=bool(unpriced))]
    header(ax, title, [note], legend=legend, indent=indent)
    said = (
        f"{name} {came:,.0f} to {kept:,.0f}, USD {bounded(*cost)}"
        for name, (came, kept), cost in zip(stages, items, costs, strict=True)
    )
    return finish(ax, sentences("Funnel by stage: items that came and went on, and USD", title, listing(said), note))


def _sum(rows: pd.DataFrame, name: str) -> float:
    return float(np.nansum(numbers(rows, name)))


def _narrow(ax: Axes, items: Sequence[tuple[float, float]]) -> None:
    """Draw items and what was kept of them as centred bars, joined as a funnel is."""
    for row, (came, kept) in enumerate(items):
        bar(ax, row, -came / 2, came, SKY, label="items")
        bar(ax, row, -kept / 2, kept, BLUE, label="kept", height=0.3)
    for row, ((_, kept), (came, _)) in enumerate(pairwise(items)):
        band(ax, [row + 0.31, row + 0.69], [kept / 2, min(kept, came) / 2])
    widest = max((came for came, _ in items), default=0) or 1
    ax.set_xlim(-widest / 2 * 1.05, widest / 2 * 1.05)
    no_scale(ax.xaxis)  # a centred bar has no place on one: its numbers stand beside it
    name_axis(ax.xaxis, "items → kept")
    figures(ax, [f"{came:,.0f} → {kept:,.0f}" for came, kept in items])


def _spend(ax: Axes, stages: Sequence[str], costs: Sequence[Money]) -> None:
    name_rows(ax, stages, most=0)
    money_scale(ax, [cost.known for cost in costs])
    for row, cost in enumerate(costs):
        known = float(np.nan_to_num(cost.known))
        bar(ax, row, 0, known, ORANGE, label=stages[row])
        if cost.unpriced:
            unknown(ax, row, known)
    rule(ax, 0.0)
    figures(ax, [bounded(*cost) for cost in costs])


def _title(items: Sequence[tuple[float, float]], spent: str) -> str:
    if not items:
        return f"Items and money: {NOTHING}"
    return f"From {items[0][0]:,.0f} items to {items[-1][1]:,.0f} for {spent}"
