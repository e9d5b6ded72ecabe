"""The price of a map before it is paid: from its first rows, with an interval that most often holds what it will cost.

What a row costs is a line in the length of its prompt, which is known of all rows, plus what its answer adds by chance.
The interval is that of the prediction of a sum by a regression on one variable, by Student's t; its upper end is moved
out as far as the skewness of the first rows tells (Johnson, "Modified t tests and confidence intervals for asymmetrical
populations", 1978): a few long answers cost most. `tests/benchmarks/forecast.py` measures how often it holds the cost.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from victor_nb.money import usd
from victor_nb.reports.statistics import t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.workflows.intake import Plan

_LEVEL: Final = 0.97
"""Of Student's t: with the few rows that are asked first, intervals hold somewhat less often than they say."""
_FEWEST: Final = 4  # rows from which on a spread is known well enough to be shown


class Asked(NamedTuple):
    """One of the rows that are asked first: its column, characters of its prompt, USD (None: unknown), seconds."""

    lane: int
    size: int
    cost: Decimal | None
    latency: float


class Forecast(NamedTuple):
    """A sum in USD, and the ends of its interval."""

    value: float
    low: float
    high: float

    def plus(self, other: Forecast) -> Forecast:
        """Return the sum of two that do not depend on each other."""
        value = self.value + other.value
        below = sqrt((self.value - self.low) ** 2 + (other.value - other.low) ** 2)
        above = sqrt((self.high - self.value) ** 2 + (other.high - other.value) ** 2)
        return Forecast(value, value - below, value + above)


def forecast(asked: Sequence[tuple[int, float]], rest: float, size: float | None = None) -> Forecast:
    """Return what further rows will cost.

    Args:
        asked: Characters and USD of each row that was asked; drawn by chance, or the first.
        rest: How many further rows will be asked.
        size: Characters of these on average; None: as those that were asked.
    """
    count = len(asked)
    if not count or rest <= 0:
        return Forecast(0.0, 0.0, 0.0)
    middle = sum(cost for _, cost in asked) / count
    length = sum(each for each, _ in asked) / count
    squares = sum((each - length) ** 2 for each, _ in asked)
    regressed = size is not None and squares > 0 and count > _FEWEST
    slope = sum((each - length) * (cost - middle) for each, cost in asked) / squares if regressed else 0.0
    away = size - length if regressed and size is not None else 0.0
    value = max(0.0, rest * (middle + slope * away))
    freedom = count - (2 if regressed else 1)
    if freedom < 1:
        return Forecast(value, 0.0, 2 * value)
    off = [cost - middle - slope * (each - length) for each, cost in asked]
    variance = sum(each**2 for each in off) / freedom
    quantile = t_quantile(_LEVEL, freedom)
    half = quantile * sqrt(variance * (rest + rest**2 * (1 / count + (away**2 / squares if regressed else 0.0))))
    shift = 0.0
    if variance > 0 and count >= _FEWEST:
        third = sum(each**3 for each in off) * count / ((count - 1) * (count - 2))
        shift = max(0.0, rest * third / variance * (1 + 2 * quantile**2) / (6 * count))
    return Forecast(value, max(0.0, value - half), value + half + shift)


@dataclass(frozen=True, slots=True)
class Priced:
    """What is known of a map once its first rows have been asked.

    Attributes:
        rows: All rows; None where that is not known.
        different: Those whose prompts differ.
        done: Rows that were asked.
        cost: What the whole will cost, in USD; of 1,000 rows where there is no whole. None: no price is known.
        seconds: How long the rest will take.
        budget: What the map may spend, in USD.
    """

    rows: int | None
    different: int
    done: int
    cost: Forecast | None
    seconds: float
    budget: Decimal | None = None

    def __str__(self) -> str:
        """Return it as text: `2,000 rows: USD 0.41 (0.36 to 0.47), 3 min; 20 done. budget=2.00 holds.`."""
        rows = "1,000 rows" if self.rows is None else f"{self.rows:,} rows"
        if self.rows is not None and self.different < self.rows:
            rows += f" ({self.different:,} different)"
        time = "" if self.rows is None else f", {spoken(self.seconds)}"
        return f"{rows}: {self.price}{time}; {self.done:,} done.{self._holds()}"

    @property
    def price(self) -> str:
        """The price as text: `USD 0.41 (0.36 to 0.47)`."""
        if self.cost is None:
            return "no price is known"
        if not self.cost.high:
            return "free"
        value, low, high = (_money(each, self.cost.high) for each in self.cost)
        return f"USD {value} ({low} to {high})"

    def _holds(self) -> str:
        if self.budget is None or self.cost is None or self.rows is None:
            return ""
        name, limit = f"budget={self.budget}", float(self.budget)
        if self.cost.high <= limit:
            return f" {name} holds."
        if self.cost.low <= limit:
            return f" {name} may end it before its last rows."
        return f" {name} ends it after some {int(self.rows * limit / self.cost.value):,} rows."


class Drawn(NamedTuple):
    """The rows that were drawn for the price.

    Attributes:
        all: Prompts that were looked up, by chance.
        asking: Those of them that the store does not have.
        seen: Different rows of the map that have been looked up, those that were not drawn by chance too.
        waiting: Characters of those that are not asked yet.
    """

    all: int
    asking: int
    seen: int
    waiting: Sequence[int]


def price(pilot: Sequence[Asked], plan: Plan | None, drawn: Drawn, *, lanes: int, workers: int) -> Priced:
    """Return the price of a map, of what its first rows cost.

    Args:
        pilot: The rows that were asked.
        plan: What the map would ask in all; None where that is not known.
        drawn: Where they come from.
        lanes: How many columns each row is asked for.
        workers: How many are asked at once.
    """
    firsts = [each.size for each in pilot if not each.lane]
    rest, size, spread = 1000.0, None, 0.0
    if plan is not None:
        unseen, share = max(0, plan.different - drawn.seen), drawn.asking / max(1, drawn.all)
        rest = unseen * share + len(drawn.waiting) / lanes
        spread = unseen * _share_error(share, drawn.all / lanes, plan.different)
        known = len(firsts) + len(drawn.waiting) / lanes
        if plan.characters and plan.different > known and drawn.asking == drawn.all:
            size = (plan.characters - sum(firsts) - sum(drawn.waiting) / lanes) / (plan.different - known)
    paid = [(each, float(each.cost)) for each in pilot if each.cost is not None]
    sent, known = Counter(each.lane for each in pilot), Counter(each.lane for each, _ in paid)
    # What a few that were hung up have cost is not known, and says nothing of the others.
    unpriced = any(2 * known[lane] <= count for lane, count in sent.items())
    spent = 0.0 if plan is None else sum(cost for _, cost in paid)
    total = Forecast(spent, spent, spent)
    for lane in range(lanes):
        asked = [(each.size, cost) for each, cost in paid if each.lane == lane]
        total = total.plus(forecast(asked, rest, size))
    half = 2 * spread * sum(cost for _, cost in paid) / max(1, len(firsts))
    total = total.plus(Forecast(0.0, -half, half))
    at_once = min(workers, max(1.0, rest * lanes))
    seconds = rest * lanes * sum(each.latency for each in pilot) / len(pilot) / at_once
    return Priced(
        rows=None if plan is None else plan.rows,
        different=0 if plan is None else plan.different + plan.skipped,
        done=len(pilot),
        cost=None if unpriced else total._replace(low=max(spent, total.low)),
        seconds=seconds,
    )


def _share_error(share: float, drawn: float, rows: int) -> float:
    """Return the standard error of a share of rows, of so many that were drawn without replacement."""
    if not drawn or share in {0.0, 1.0}:
        return 0.0
    return sqrt(share * (1 - share) / drawn * max(0.0, 1 - drawn / max(1, rows)))


def _money(amount: float, largest: float) -> str:
    """Write an amount with two digits of the largest beside it, at least in cents."""
    text = usd(Decimal(repr(largest)), places=None).removeprefix("USD ")
    places = 2 if largest >= 0.1 else max(2, len(text.partition(".")[2]))  # noqa: PLR2004 - ten cents
    return f"{amount:.{places}f}"


def spoken(seconds: float) -> str:
    """Write a time: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:  # noqa: PLR2004 - a minute and a half
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - as above
