"""A decision: which strategy costs least with its mistakes, where what a mistake costs is known."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from statistics import StatisticsError, correlation, stdev
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from victor_nb.errors import ConfigError
from victor_nb.reports.charts.mistakes import break_even, checked
from victor_nb.reports.charts.text import short
from victor_nb.reports.frames import FrameTable, need, numbers, provenance, records_frame, safe
from victor_nb.reports.standings import break_even_of
from victor_nb.reports.statistics import LEVEL, t_quantile

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
a mistake costs (USD) where both come to the same, infinite where none does, with the 95 % interval that the mistakes
leave it; and the `verdict`: `the reference`, `cheaper`, `dearer`, `not shown`, or why nothing is compared."""

_LARGE, _CENTS = 100.0, 1.0  # USD from which on cents are no help, and from which on they are enough
_VERDICTS: Final = "cheaper", "dearer", "not shown"
_MOST: Final = 20  # rows that are shown
_MANY: Final = 10  # others: of so many alike, the chance that one is said to be cheaper is one in five
_CSS: Final = """\
.victor-decision {overflow-x: auto}
.victor-decision .victor-frame caption {caption-side: bottom; font-weight: normal}
.victor-decision .victor-frame th {white-space: normal}
.victor-decision .victor-frame thead th {vertical-align: bottom}
.victor-decision .victor-frame th, .victor-decision .victor-frame td {padding: 0.2em 0.4em}"""


class _Row(NamedTuple):
    """A strategy with its mistakes, all for one task, in USD; NaN where unknown."""

    name: str
    tasks: int
    score: float
    calls: float
    whole: float
    verdict: str
    dearer: float = math.nan
    low: float = math.nan
    high: float = math.nan
    limit: tuple[float, float, float] = (math.nan, math.nan, math.nan)


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
        whole = math.nan if each.unpriced else each.cost + self.mistake * (1 - each.score)
        measured = each.name, len(each.rows), each.score, each.cost, whole
        first = self.found.reference
        if each is first:
            return _Row(*measured, "the reference")
        if math.isnan(each.score) or first is None or not each.ranked:
            why = "no score" if math.isnan(each.score) else "no task that all answered" if first is None else ""
            return _Row(*measured, f"not compared: {why or f'answered {each.answers}'}")
        if each.unpriced or first.unpriced:
            return _Row(*measured, f"not compared: {'' if each.unpriced else f'{first.name} has '}no price")
        dearer, low, high = _apart(each, first, self.mistake)
        limit, *ends = break_even_of(each, first)
        if self.found.tasks == 1:  # a judge's error on one task says nothing of others
            ends, why = [math.nan, math.nan], "one task is too few"
        else:
            why = each.gap.why
        if why:
            return _Row(*measured, why, dearer, limit=(limit, ends[0], ends[1]))
        verdict = _VERDICTS[0 if high < 0 else 1 if low > 0 else 2]
        return _Row(*measured, verdict, dearer, low, high, (limit, ends[0], ends[1]))

    @property
    def choice(self) -> str:
        """The strategy to take: the cheapest of those that are shown to be cheaper than the first; else the first.

        It is empty where the first cannot be compared.
        """
        shown = [row for row in self._rows if row.verdict == "cheaper"]
        first = self.found.reference
        if first is None or self._stopped:
            return ""
        return min(shown, key=lambda row: row.whole).name if shown else first.name

    @property
    def _stopped(self) -> str:
        """Why there is no decision: what the others are compared with is not the first, or has no price."""
        strategies, first = self.found.strategies, self.found.reference
        if first is None or not self.found.others:
            return "Nothing to compare: it takes two strategies with a score for each task"
        if strategies[0] is not first:
            lacking = f"No decision: {short(strategies[0].name)}, the first, answered {strategies[0].answers} tasks"
            return f"{lacking}. Ask it again, or leave out the tasks that it failed"
        return f"No decision: {short(first.name)}, the first, has no price for each task" if first.unpriced else ""

    @property
    def headline(self) -> str:
        """The decision in one sentence."""
        first = self.found.reference
        if first is None or self._stopped:
            return self._stopped
        choice = next(row for row in self._rows if row.name == self.choice)
        at, kept, name = f"At USD {_price(self.mistake)} a mistake", short(first.name), short(choice.name)
        costs = f"USD {self._money(choice.whole)} for {self._tasks}"
        if choice.name != first.name:
            return f"{at} take {name}: {costs}, {self._span(choice)} than {kept}"
        compared = [row for row in self._rows if not math.isnan(row.dearer)]
        if not compared:
            return f"{at} keep {kept}: no other has a price"
        best = min(compared, key=lambda row: row.dearer)
        if best.dearer < 0:
            less = f"{short(best.name)} is cheaper as measured, by USD {self._money(-best.dearer)}"
            shows = "does" if self.found.tasks == 1 else "do"
            return f"{at} keep {kept}: {less} for {self._tasks}, but {self.found.counted} {shows} not show it"
        others = "nothing else" if len(compared) == len(self._rows) - 1 else "nothing that is compared"
        return f"{at} keep {kept}: {costs}, and {others} is cheaper"

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
        first, rows = self.found.reference, self._few()
        columns = ["strategy", "right", "mistakes", "USD for calls", "USD with mistakes"]
        columns += [f"USD against {short(first.name) if first is not None else 'the first'}, 95 %"]
        columns += ["cheaper, if a mistake costs USD (95 %)"]
        right = self._right()
        columns[1] = "right" if right else "score"
        cells: list[list[str]] = []
        called = [min(_LARGE - 1, self.per * row.calls) for row in self._rows]
        for row in rows:
            scored = not math.isnan(row.score)
            score = right.get(row.name, f"{row.score:.3g}") if scored else ""
            mistakes = f"{self.per * (1 - row.score):,.{0 if self.per > 1 else 2}f}" if scored else ""
            calls = _usd(math.nan if math.isnan(row.whole) else self.per * row.calls, called) if scored else ""
            whole = self._money(row.whole) if scored else ""
            beside = ["", ""] if row.verdict == "the reference" else [self._span(row), _below(row, first)]
            cells.append([short(row.name), score, mistakes, calls, whole, *beside])
        return FrameTable(columns, cells, columns[1:5], 1, caption=" ".join(filter(None, self._notes(len(rows)))))

    def _few(self) -> list[_Row]:
        """Return the rows that are shown: where they are too many, the first and the cheapest."""
        order = sorted(self._rows, key=lambda row: (row.verdict != "the reference", math.isnan(row.whole), row.whole))
        few = {row.name for row in order[:_MOST]}
        return [row for row in self._rows if row.name in few]

    def _right(self) -> dict[str, str]:
        """Say how many tasks each strategy has right, if scores are 0 and 1."""
        scores = {each.name: numbers(each.rows, "score") for each in self.found.strategies}
        if not all(own and {*own} <= {0.0, 1.0} for own in scores.values()):
            return {}
        return {name: f"{sum(own):.0f} of {len(own)}" for name, own in scores.items()}

    def _notes(self, shown: int) -> list[str]:
        count, others = len(self._rows), len(self.found.others)
        cut = f"Shown: {shown} of {count:,} strategies, the cheapest; table() has all." if shown < count else ""
        chance = "Each interval is for one strategy: of 40 that cost as much as the first, one looks cheaper by chance."
        basis = self.found.basis if self.found.basis.startswith("Only") else f"Measured on {self.found.counted}."
        about = [f"Mistakes and USD are for {self._tasks}.", basis, chance if others >= _MANY else "", cut]
        return [*about, provenance(self.frame)]

    def __repr__(self) -> str:
        table = self._shown()
        return f"{self.headline}.\n\n{table.plain()}\n\n{table.caption}"

    def _repr_html_(self) -> str:
        sentence = f"<p><b>{safe(self.headline)}.</b></p>"
        return f"<div class='victor-decision'>{sentence}{self._shown().as_html()}<style>{_CSS}</style></div>"


def _apart(each: Standing, first: Standing, mistake: float) -> tuple[float, float, float]:
    """Return how much dearer the whole is for a task (USD), and the ends of its 95 % interval.

    The intervals of the mistakes and of the calls, with the correlation of the two, are put together as in Zou,
    "Toward using confidence intervals to compare correlations", 2007.
    """
    more, better = (
        [one - other for one, other in zip(numbers(each.rows, name), numbers(first.rows, name), strict=True)]
        for name in ("cost", "score")
    )
    gap, count, half, together = each.gap, len(more), 0.0, 0.0
    if count > 1:
        half = t_quantile(LEVEL, count - 1) * stdev(more) / math.sqrt(count)
        with suppress(StatisticsError):  # one of them is the same for each task
            together = correlation(more, better)
    value = each.cost - first.cost - mistake * gap.value

    def off(end: float) -> float:
        part = mistake * abs(end - gap.value)
        return math.sqrt(max(half**2 + part**2 - 2 * together * half * part, 0.0))

    return value, value - off(gap.high), value + off(gap.low)


def _below(row: _Row, first: Standing | None) -> str:
    """Say for which prices of a mistake the whole is less than the first strategy's."""
    limit, low, high = row.limit
    if math.isnan(limit) or first is None:
        return ""
    cheap = row.calls < first.cost
    without = "any" if cheap else "none"
    if row.calls == first.cost:
        return "any" if row.score > first.score else without
    at = without if math.isinf(limit) else f"{'below' if cheap else 'above'} {_price(limit)}"
    if math.isnan(low) or math.isinf(low):
        return at
    return f"{at} ({_price(low)} {'or more' if math.isinf(high) else f'to {_price(high)}'})"


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
    calls. Each interval is for one strategy, so of many that cost the same some look cheaper by chance; it takes the
    tasks for a random draw of yours. Strategies are compared on the tasks of which all have a score; one without a
    score for each of its tasks, or with an unknown cost, is not chosen.

    Args:
        frame: One row for each strategy and task, with columns `strategy`, `task`, `cost` (USD, of one task) and
            `score` from 0 to 1: what is missing to 1 is a mistake, or a part of one. It is what
            `compare(..., judge=...)` returns, or made from the frame of a map.
        mistake: What a mistake costs you, in USD.
        per: For how many tasks money and mistakes are said.

    Returns:
        What a notebook shows as a sentence and a table. `choice` is the name of the strategy, `table()` returns the
        numbers as a frame, `plot()` a chart of which strategy is cheapest by what a mistake costs.

    Raises:
        ConfigError: The frame lacks a column, a score is not from 0 to 1, or a number is not above 0.
    """
    if isinstance(per, bool) or not isinstance(per, Integral) or per < 1:
        raise ConfigError(f"per={per!r}: for how many tasks costs are said is a whole number above 0.")
    need(frame, "decide", ("strategy", "task", "cost", "score"), source="the frame of compare(..., judge=...)")
    found = checked(frame, "decide", math.nan if cast("float | None", mistake) is None else mistake)
    return Decision(frame, found, float(mistake), int(per))
