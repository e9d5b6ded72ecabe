"""A decision: which strategy costs least with its mistakes, where what a mistake costs is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from victor_nb.errors import ConfigError
from victor_nb.reports.charts.mistakes import break_even, checked
from victor_nb.reports.frames import FrameTable, numbers, provenance, records_frame
from victor_nb.reports.standings import break_even_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from victor_nb.reports.frames import Dtype
    from victor_nb.reports.standings import Compared, Standing

TABLE: Final[Mapping[str, Dtype]] = {
    "strategy": "text",
    "tasks": "count",
    "score": "number",
    "mistakes": "number",
    "calls": "number",
    "whole": "number",
    "dearer": "number",
    "low": "number",
    "high": "number",
    "limit": "number",
    "limit_low": "number",
    "limit_high": "number",
    "verdict": "text",
}
"""One row for each strategy: the `tasks` that are compared and its mean `score` on them; for as many tasks as were
asked for, its `mistakes`, what its `calls` cost, and the `whole`, which is both (USD); how much `dearer` the whole is
than the first strategy's (USD; below 0: cheaper), with the `low` and `high` end of the 95 % interval; the `limit`, what
a mistake costs (USD) where both come to the same, infinite where none does, with its 95 % interval; and the
`verdict`: `the reference`, `cheaper`, `dearer`, `not shown`, or why nothing is compared."""

_LARGE, _CENTS = 100.0, 1.0  # USD from which on cents are no help, and from which on they are enough
_VERDICTS: Final = "cheaper", "dearer", "not shown"


class _Row(NamedTuple):
    """A strategy with its mistakes, all for one task, in USD; NaN where unknown."""

    name: str
    tasks: int
    score: float
    calls: float
    whole: float
    dearer: float
    low: float
    high: float
    limit: tuple[float, float, float]
    verdict: str
    right: str


@dataclass(frozen=True, repr=False)
class Decision:
    """What `decide` found. In a notebook it shows one sentence and a table.

    Attributes:
        frame: What it was computed from.
        found: The strategies as they are compared.
        mistake: What a mistake costs, in USD.
        per: For how many tasks money and mistakes are said.
    """

    frame: DataFrame
    found: Compared
    mistake: float
    per: int

    @cached_property
    def _rows(self) -> list[_Row]:
        return [self._row(each) for each in self.found.strategies]

    def _row(self, each: Standing) -> _Row:
        first, nan = self.found.reference, math.nan
        scores = numbers(each.rows, "score")
        binary = set(scores) <= {0.0, 1.0} and bool(scores)
        right = f"{sum(scores):.0f} of {len(scores)}" if binary else f"{each.score:.3g}"
        whole = each.cost + self.mistake * (1 - each.score)
        low = high = dearer = nan
        limit = (nan, nan, nan)
        if each is first:
            verdict = "the reference"
        elif first is None or not each.ranked or math.isnan(each.score):
            verdict = f"not compared: answered {each.answers}"
        elif each.unpriced or first.unpriced:
            verdict = "not compared: no price"
        else:
            more, gap = each.cost - first.cost, each.gap
            dearer = more - self.mistake * gap.value
            low, high = (more - self.mistake * end for end in (gap.high, gap.low))
            limit = break_even_of(each, first)
            verdict = gap.why or _VERDICTS[0 if high < 0 else 1 if low > 0 else 2]
        whole = nan if each.unpriced else whole
        return _Row(each.name, len(each.rows), each.score, each.cost, whole, dearer, low, high, limit, verdict, right)

    @property
    def choice(self) -> str:
        """The strategy to take: the cheapest of those that are shown to be cheaper than the first; else the first."""
        shown = [row for row in self._rows if row.verdict == "cheaper"]
        first = self.found.reference
        return min(shown, key=lambda row: row.whole).name if shown else first.name if first is not None else ""

    @property
    def headline(self) -> str:
        """The decision in one sentence."""
        rows, first = {row.name: row for row in self._rows}, self.found.reference
        if first is None or not self.found.others:
            return "Nothing to compare: it takes two strategies with a score for each task"
        at, choice = f"At USD {_price(self.mistake)} a mistake", rows[self.choice]
        costs, others = f"USD {self._money(choice.whole)} for {self._tasks}", f"than {first.name}"
        if choice.name != first.name:
            return f"{at} take {choice.name}: {costs}, {self._span(choice)} {others}"
        compared = [row for row in rows.values() if not math.isnan(row.dearer)]
        if not compared:
            return f"{at} keep {first.name}: no other has a price"
        best = min(compared, key=lambda row: row.dearer)
        if best.dearer < 0:
            less = f"{best.name} is cheaper as measured, by USD {self._money(-best.dearer)}"
            return f"{at} keep {first.name}: {less} for {self._tasks}, but {self.found.counted} do not show it"
        return f"{at} keep {first.name}: {costs}, and nothing else is cheaper"

    def table(self) -> DataFrame:
        """Return the strategies with their costs, mistakes and intervals; see `TABLE`."""
        return records_frame([self._record(row) for row in self._rows], TABLE)

    to_frame = table

    def _record(self, row: _Row) -> dict[str, object]:
        spans = zip(("limit", "limit_low", "limit_high"), row.limit, strict=True)
        scaled = {name: self.per * getattr(row, name) for name in ("calls", "whole", "dearer", "low", "high")}
        known = {"strategy": row.name, "tasks": row.tasks, "score": row.score, "verdict": row.verdict}
        return {**known, "mistakes": self.per * (1 - row.score), **scaled, **dict(spans)}

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Chart what each strategy costs with its mistakes, by what a mistake costs."""
        return break_even(self.frame, per=self.per, mistake=self.mistake, ax=ax)

    # --- words ---

    @property
    def _tasks(self) -> str:
        return f"{self.per:,} tasks" if self.per > 1 else "a task"

    def _money(self, usd: float) -> str:
        """Write USD of a task for all tasks, with as many decimals as the largest sum needs."""
        return _usd(self.per * usd, [self.per * row.whole for row in self._rows])

    def _span(self, row: _Row) -> str:
        """Say how far the whole is from the first strategy's: `110 less to 430 more`, `217 to 1,074 more`."""
        if math.isnan(row.low):
            return row.verdict
        ends = [(self._money(abs(end)), "less" if end < 0 else "more") for end in (row.low, row.high)]
        (low, one), (high, other) = ends if row.high > 0 else ends[::-1]
        return f"{low} to {high} {one}" if one == other else f"{low} {one} to {high} {other}"

    def _shown(self) -> FrameTable:
        first = self.found.reference
        name = first.name if first is not None else "the first"
        columns = ["strategy", "right", "mistakes", "USD for calls", "USD with mistakes"]
        columns += [f"USD against {name}, 95 %", "cheaper, if a mistake costs USD"]
        rows: list[list[str]] = []
        called = [min(_LARGE - 1, self.per * row.calls) for row in self._rows]
        for row in self._rows:
            mistakes = "" if math.isnan(row.score) else f"{self.per * (1 - row.score):,.{0 if self.per > 1 else 2}f}"
            calls = _usd(math.nan if math.isnan(row.whole) else self.per * row.calls, called)
            beside = ["", ""] if row.name == name else [self._span(row), _below(row, first)]
            rows.append([row.name, row.right, mistakes, calls, self._money(row.whole), *beside])
        scored = all(" of " in row.right for row in self._rows)
        columns[1] = "right" if scored else "score"
        basis = self.found.basis if self.found.basis.startswith("Only") else f"Measured on {self.found.counted}."
        notes = [f"Mistakes and USD are for {self._tasks}.", basis, provenance(self.frame)]
        return FrameTable(columns, rows, columns[1:5], 1, caption=" ".join(filter(None, notes)))

    def __repr__(self) -> str:
        table = self._shown()
        return f"{self.headline}.\n\n{table.plain()}\n\n{table.caption}"

    def _repr_html_(self) -> str:
        return f"<div class='victor-decision'><p><b>{escape(self.headline)}.</b></p>{self._shown().as_html()}</div>"


def _below(row: _Row, first: Standing | None) -> str:
    """Say for which prices of a mistake the whole is less than the first strategy's."""
    limit, *ends = row.limit
    if math.isnan(limit) or first is None:
        return ""
    cheap = row.calls < first.cost
    without = "any" if cheap else "none"
    if math.isinf(limit) and all(map(math.isinf, ends)):
        return without
    at = without if math.isinf(limit) else f"{'below' if cheap else 'above'} {_price(limit)}"
    if any(map(math.isnan, ends)):
        return at
    span = " to ".join(without if math.isinf(end) else _price(end) for end in ends)
    return f"{at} ({span})"


def _usd(usd: float, beside: Iterable[float]) -> str:
    """Write an amount with as many decimals as the largest of those beside it needs."""
    if math.isnan(usd):
        return "unpriced"
    largest = max((each for each in beside if each > 0), default=_CENTS)
    digits = 0 if largest >= _LARGE else 2 if largest >= _CENTS else 2 - math.floor(math.log10(largest))
    return f"{usd:,.{digits}f}"


def _price(usd: float) -> str:
    """Write what a mistake costs: in cents, or with two digits where it is less."""
    if usd <= 0:
        return "0"
    cents, _, parts = f"{usd:,.{max(2, 1 - math.floor(math.log10(usd)))}f}".partition(".")
    return f"{cents}.{parts[:2]}{parts[2:].rstrip('0')}"


def decide(frame: DataFrame, *, mistake: float, per: int = 10_000) -> Decision:
    """Say which strategy costs least with its mistakes, and how sure that is.

    The first strategy is what you have, and stays unless another is shown to be cheaper: where the whole 95 % interval
    of the difference is below 0. The difference is that of the mistakes, task by task, at their price, and that of the
    calls; intervals are those of the mistakes, with the calls as they were measured.

    Args:
        frame: One row for each strategy and task, with columns `strategy`, `task`, `cost` (USD) and `score` from 0 to
            1: what is missing to 1 is a mistake, or a part of one. It is what `compare(..., judge=...)` returns, or
            made from the frame of a map.
        mistake: What a mistake costs you, in USD.
        per: For how many tasks money and mistakes are said.

    Raises:
        ConfigError: The frame lacks a column, a score is not from 0 to 1, or a number is not above 0.
    """
    if isinstance(per, bool) or not isinstance(cast("object", per), int) or per < 1:
        raise ConfigError(f"per={per!r}: for how many tasks costs are said is a whole number above 0.")
    return Decision(frame, checked(frame, "decide", mistake), mistake, per)
