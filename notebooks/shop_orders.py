"""Shops whose orders are drawn at random, and a test of functions that look for days with wrong data: for 04."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from answer_code import CodeError, code_in, run

from victor_nb.reports.charts import drawing as draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from victor_nb.workflows.runs import StageResult

DAYS: Final = pd.date_range("2026-06-01", periods=42)  # six weeks from a Monday on
WEEK: Final = (1, 1, 0.95, 1.1, 1.3, 0.7, 0.4)  # orders by weekday, of a shop without standing orders
STANDING: Final = (1, 1, 1, 1.1, 1.3, 1.4, 0.6)  # the same of a bakery
CHANGES: Final = 0.25  # the share of days on which a bakery's customers change their standing orders
BUSY: Final = 0.1  # by how much the mean of a day varies, as a share of it, where there are no standing orders
HAPPENED: Final = (
    "no orders arrive",
    "half of the orders arrive",
    "each order arrives twice",
    "the day has no row",
    "the day comes in two rows (no fault)",
    "nothing happens",
)
NOT_WRONG: Final = HAPPENED[-2:]
BATCH: Final = 40  # shops that a process looks at, in the seconds that it has
REPORTED: Final = """
def reported(orders):
    try:
        return [str(day) for day in odd_days(orders).index]
    except Exception as error:
        return [type(error).__name__]

value = [reported(orders) for orders in shops]
"""


@dataclass(frozen=True, eq=False)
class Shop:
    """Orders of six weeks.

    Attributes:
        orders: Orders by date.
        happened: What happened on one day.
        wrong: The day on which data are wrong, if any.
        standing: Whether customers have standing orders, so that most weeks are alike.
    """

    orders: pd.Series
    happened: str
    wrong: frozenset[str]
    standing: bool


def draw_shops(each: int, *, seed: int) -> list[Shop]:
    """Draw shops at random: so many for each thing that may happen, every second one with standing orders."""
    rng = np.random.default_rng(seed)
    return [_shop(happened, standing=n % 2 == 0, rng=rng) for happened in HAPPENED for n in range(each)]


def _shop(happened: str, *, standing: bool, rng: np.random.Generator) -> Shop:
    size = rng.integers(40, 161)  # orders of a usual Monday
    if standing:
        usual = np.tile(np.round(size * np.array(STANDING)), 6)
        counts = usual + np.where(rng.random(42) < CHANGES, rng.integers(-5, 6, 42), 0)
    else:
        mean = size * np.tile(WEEK, 6)
        counts = rng.poisson(mean * rng.gamma(BUSY**-2, BUSY**2, 42))
    orders = pd.Series(counts.astype(int), DAYS)
    day = pd.Timestamp(rng.choice(DAYS[1:-1][counts[1:-1] > 0]))
    wrong = frozenset() if happened in NOT_WRONG else frozenset({str(day)})
    return Shop(_after(orders, day, happened), happened, wrong, standing)


def _after(orders: pd.Series, day: pd.Timestamp, happened: str) -> pd.Series:
    """Return the orders as they are in the data, after something happened on a day."""
    count = int(orders[day])
    match HAPPENED.index(happened):
        case 0 | 1 | 2 as times:
            return orders.mask(orders.index == day, (0, count // 2, 2 * count)[times])
        case 3:
            return orders.drop(day)
        case 4:
            parts = pd.Series([count - count // 3, count // 3], [day, day])
            return pd.concat([orders.drop(day), parts]).sort_index()
        case _:
            return orders


def reports(answer: object, shops: Sequence[Shop]) -> list[frozenset[str]]:
    """Return the days that the function of an answer reports for each shop; the name of the error where it fails."""
    found: list[frozenset[str]] = []
    for start in range(0, len(shops), BATCH):
        batch = [shop.orders for shop in shops[start : start + BATCH]]
        try:
            found += map(frozenset, run(f"{code_in(answer)}\n{REPORTED}", shops=batch))
        except CodeError as error:
            found += [frozenset({str(error)})] * len(batch)
    return found


def right(answer: object, shops: Sequence[Shop]) -> pd.Series:
    """Return for how many shops the function of an answer reports exactly the days that are wrong, by what happened.

    Args:
        answer: A text with the code of `odd_days(orders)`.
        shops: What it is tested on.
    """
    found = [days == shop.wrong for days, shop in zip(reports(answer, shops), shops, strict=True)]
    return pd.Series(found, [shop.happened for shop in shops]).groupby(level=0, sort=False).sum()


def scores(stage: StageResult, shops: Sequence[Shop]) -> pd.DataFrame:
    """Return for how many shops the function of each answer of a stage is right, and which answer it kept.

    Args:
        stage: What several answers came of.
        shops: What they are tested on.
    """
    kept = [" (kept)" * (code_in(reply) == code_in(stage)) for reply in stage.replies]
    names = [f"answer {number}{mark}" for number, mark in enumerate(kept, 1)]
    found = [right(reply, shops).sum() for reply in stage.replies]
    return pd.DataFrame([found], [f"right, of {len(shops)} new shops"], names)


def draw_outage(shops: Sequence[Shop], before: object, after: object) -> Figure:
    """Draw the first bakery without orders on a day that only the second of two functions reports.

    Args:
        shops: Among which it is looked for.
        before: The answer whose function does not report the day.
        after: The answer whose function reports it, and no other day.
    """
    bakeries = [shop for shop in shops if shop.standing and shop.happened == HAPPENED[0]]
    found = zip(bakeries, reports(before, bakeries), reports(after, bakeries), strict=True)
    shop = next(shop for shop, old, new in found if not old and new == shop.wrong)
    day = pd.Timestamp(min(shop.wrong))
    ax = draw.paper(None, body=1.5)
    draw.plain(ax, grid="y")
    draw.line(ax, shop.orders.index, shop.orders, draw.BLUE, linewidth=1.4)
    draw.points(ax, shop.orders.index, shop.orders, draw.BLUE, "o", markersize=3.5)
    draw.points(ax, [day], [0], RED, "o", markersize=12, markerfacecolor="none", markeredgecolor=RED, markeredgewidth=2)
    text = f"{day:%d %B}: no orders"
    left = day > DAYS[21]
    ax.annotate(
        text, (day, 0), (-12 if left else 12, -4), textcoords="offset points", color=RED, ha="right" if left else "left"
    )
    ax.set_ylim(-0.12 * shop.orders.max(), 1.05 * shop.orders.max())
    ax.set_xticks(DAYS[::7], [f"{each:%d %b}" for each in DAYS[::7]])
    draw.name_axis(ax.yaxis, "orders a day")
    title = "A bakery with standing orders: only the reviewed function reports the outage"
    note = "Before the review, the function reports no day of these six weeks; after it, the one in the circle."
    draw.header(ax, title, [note])
    return draw.finish(ax, title, text, note)


RED: Final = "#d55e00"
