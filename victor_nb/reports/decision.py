"""A decision: which strategy costs least with its mistakes, where what a mistake costs is known."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Integral
from statistics import StatisticsError, correlation, stdev
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from victor_nb.errors import ConfigError, suggest
from victor_nb.reports.charts.mistakes import LARGE, amount_beside, break_even, checked, limits_chart, price_of_mistake
from victor_nb.reports.charts.text import short
from victor_nb.reports.frames import FrameTable, need, numbers, provenance, records_frame, safe
from victor_nb.reports.standings import break_even_of
from victor_nb.reports.statistics import LEVEL, t_quantile, tasks_to_show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from victor_nb.reports.frames import Dtype
    from victor_nb.reports.standings import Compared, Standing
    from victor_nb.reports.statistics import Interval

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
a mistake costs (USD) where both come to the same, infinite where none does; `limit_low`, up to which price of a
mistake the cheaper calls are shown to be cheaper with their mistakes, and `limit_high`, from which on the other one is
(infinite: never); and the `verdict`: `the reference`, `cheaper`, `dearer`, `not shown`, or why nothing is compared."""

_ROUNDING: Final = 1e-9  # of what is subtracted: a difference that is less is none
_NONE: Final = "\N{EN DASH}"
_VERDICTS: Final = "cheaper", "dearer", "not shown"
_MOST: Final = 20  # rows that are shown
_NAMED: Final = 3  # others that the decision names, if it leaves them open
_MANY: Final = 10  # others: of so many alike, the chance that one is said to be cheaper is one in five
_CSS: Final = """\
.victor-decision {overflow-x: auto}
.victor-decision .victor-frame caption {caption-side: bottom; font-weight: normal}
.victor-decision .victor-frame th {white-space: normal}
.victor-decision .victor-frame tbody th, .victor-decision .victor-frame td {white-space: nowrap}
.victor-decision .victor-frame thead th {vertical-align: bottom; min-width: 4em}
.victor-decision .victor-frame th, .victor-decision .victor-frame td {padding: 0.2em 0.4em; text-align: left}
.victor-decision .victor-frame .victor-number {text-align: right}"""


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
        apart = _Apart.of(each, first)
        dearer, low, high = apart.at(self.mistake)
        limit, *_ = break_even_of(each, first)
        # A judge's error on one task says nothing of others.
        if why := "one task is too few" if self.found.tasks == 1 else each.gap.why:
            return _Row(*measured, why, dearer, limit=(limit, math.nan, math.nan))
        return _Row(*measured, apart.verdict(self.mistake), dearer, low, high, (limit, *apart.limits()))

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
        at, kept, name = f"At USD {price_of_mistake(self.mistake)} a mistake", short(first.name), short(choice.name)
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
            needed = self.tasks_to_show(best.name)
            would = f"; if it is true, about {needed:,} would" if needed and needed > self.found.tasks > 1 else ""
            return f"{at} keep {kept}: {less} for {self._tasks}, but {self.found.counted} {shows} not show it{would}"
        least = "the least as measured" if len(compared) == len(self._rows) - 1 else "the least of what is compared"
        return f"{at} keep {kept}: {costs}, {least}; {self._left_open(compared)}"

    def _left_open(self, compared: Sequence[_Row]) -> str:
        """Say of which strategies it is not shown that they cost more than the first."""
        if some := [row for row in compared if row.verdict != "dearer"]:
            leave = "leaves" if self.found.tasks == 1 else "leave"
            *most, last = (short(row.name) for row in some)
            names = " or ".join(filter(None, [", ".join(most), last]))
            which = names if len(some) <= _NAMED else f"any of {len(some)} others"
            needed = (len(some) == 1 and self.tasks_to_show(some[0].name)) or 0
            decided = f" (about {needed:,} would decide, if the rates stay)" if needed > self.found.tasks else ""
            return f"{self.found.counted} {leave} open whether {which} costs less{decided}"
        return f"{'each of the others' if len(compared) > 1 else short(compared[0].name)} is shown to cost more"

    def table(self) -> DataFrame:
        """Return the strategies with their costs, mistakes and intervals; see `TABLE`."""
        return records_frame([self._record(row) for row in self._rows], TABLE)

    to_frame = table

    def _record(self, row: _Row) -> dict[str, object]:
        spans = zip(("limit", "limit_low", "limit_high"), row.limit, strict=True)
        scaled = {name: self.per * getattr(row, name) for name in ("calls", "whole", "dearer", "low", "high")}
        known = {"strategy": row.name, "tasks": row.tasks, "score": row.score, "verdict": row.verdict}
        return {**known, "mistakes": self.per * (1 - row.score), **scaled, **dict(spans)}

    def tasks_to_show(self, strategy: str, *, more: float | None = None) -> int | None:
        """Return how many tasks show which is cheaper with its mistakes, a strategy or the first.

        They show it in four of five experiments, in round numbers; see `statistics.tasks_to_show`. None where no number
        does, as both come to the same, and where there is no interval.

        Args:
            strategy: The name of a strategy that is compared with the first.
            more: How many more mistakes than the first it makes in truth, for `per` tasks; as measured if None.

        Raises:
            ConfigError: No such strategy is compared.
        """
        first, names = self.found.reference, [row.name for row in self._rows if not math.isnan(row.dearer)]
        if strategy not in names or first is None:
            raise ConfigError(f"{strategy!r} is not compared with the first strategy. {suggest(strategy, names)}")
        each = next(each for each in self.found.others if each.name == strategy)
        apart, gap = _Apart.of(each, first), None if more is None else -more / self.per
        difference, spread = apart.apart(self.mistake, gap), apart.spread(self.mistake)
        return tasks_to_show(difference, spread) if spread > 0 and difference else None

    def plot(self, kind: Literal["break_even", "limits"] = "break_even", *, ax: Axes | None = None) -> Figure:
        """Chart what the strategies come to, by what a mistake costs.

        Args:
            kind: `break_even`: what each strategy costs with its mistakes. `limits`: for which prices of a mistake each
                is shown to be cheaper or dearer than the first strategy.
            ax: Where to draw, if not on a new figure.

        Raises:
            ConfigError: There is no such kind.
        """
        if kind == "break_even":
            return break_even(self.frame, per=self.per, mistake=self.mistake, ax=ax)
        if kind == "limits":
            how = f"Measured on {self.found.counted}; shown means with the whole 95 % interval."
            rows = (row for row in self._rows if not math.isnan(row.dearer))
            steps = {short(row.name): (row.limit[0], self._steps(row)) for row in rows}
            title, notes = self._title, [how, provenance(self.frame)]
            return limits_chart(steps, mistake=self.mistake, title=title, notes=notes, ax=ax)
        raise ConfigError(f"plot takes 'break_even' or 'limits', not {kind!r}.")

    def _steps(self, row: _Row) -> list[tuple[float, str]]:
        """Return the verdicts on a strategy, each with the price of a mistake (USD) from which on it holds."""
        first = self.found.reference
        if math.isnan(row.low) or first is None:
            return [(0.0, "not shown")]
        return _Apart.of(next(each for each in self.found.others if each.name == row.name), first).steps()

    # --- words ---

    @property
    def _title(self) -> str:
        """Say what is shown to be cheaper at the price of a mistake; if nothing is, what is so below which price."""
        first = self.found.reference
        if first is None or self._stopped:
            return self._stopped
        at, than = f"at USD {price_of_mistake(self.mistake)} a mistake", f"shown to be cheaper than {short(first.name)}"
        if shown := [short(row.name) for row in self._rows if row.verdict == "cheaper"]:
            names = " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
            return f"{names} {'is' if len(shown) == 1 else 'are'} {than} {at}"
        below = {short(row.name): row.limit[1] for row in self._rows if row.calls < first.cost and row.limit[1] > 0}
        best = max(below, key=lambda name: below[name], default="")
        only = f"; {best} is shown cheaper below USD {price_of_mistake(below[best])} only" if best else ""
        return f"Nothing is {than} {at}{only}"

    @property
    def _tasks(self) -> str:
        return f"{self.per:,} tasks" if self.per > 1 else "a task"

    def _money(self, usd: float) -> str:
        """Write USD of a task for all tasks, with as many decimals as the largest sum needs."""
        return amount_beside(self.per * usd, [self.per * row.whole for row in self._rows])

    def _span(self, row: _Row) -> str:
        """Say how far the whole is from the first strategy's: `110 less to 430 more`, `217 to 1,074 more`."""
        if math.isnan(row.low):
            return row.verdict
        ends = [(self._money(abs(end)), "less" if end < 0 else "more") for end in (row.low, row.high)]
        (low, one), (high, other) = ends if row.high > 0 else ends[::-1]
        return f"{low} to {high} {one}" if one == other else f"{low} {one} to {high} {other}"

    def _shown(self) -> FrameTable:
        first, rows = self.found.reference, self._few()
        mistakes = f"mistakes in {self.per:,}" if self.per > 1 else "mistakes"
        columns = ["strategy", "right", mistakes, "USD for calls", "USD with mistakes"]
        columns += [f"USD against {short(first.name) if first is not None else 'the first'}, 95 %"]
        columns += ["cheaper, if a mistake costs USD"]
        right = self._right()
        columns[1] = "right" if right else "score"
        cells: list[list[str]] = []
        called = [min(LARGE - 1, self.per * row.calls) for row in self._rows]
        for row in rows:
            scored = not math.isnan(row.score)
            score = right.get(row.name, f"{row.score:.3g}") if scored else ""
            mistakes = f"{self.per * (1 - row.score):,.{0 if self.per > 1 else 2}f}" if scored else ""
            calls = amount_beside(math.nan if math.isnan(row.whole) else self.per * row.calls, called) if scored else ""
            whole = self._money(row.whole) if scored else ""
            beside = [_NONE, _NONE] if row.verdict == "the reference" else [self._span(row), _below(row, first)]
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
        what = f"Mistakes and USD are for {self._tasks}; the last column is for one mistake."
        about = [what, basis, chance if others >= _MANY else "", cut]
        return [*about, provenance(self.frame)]

    def __repr__(self) -> str:
        table = self._shown()
        return f"{self.headline}.\n\n{table.plain()}\n\n{table.caption}"

    def _repr_html_(self) -> str:
        sentence = f"<p><b>{safe(self.headline)}.</b></p>"
        return f"<div class='victor-decision'>{sentence}{self._shown().as_html()}<style>{_CSS}</style></div>"


class _Apart(NamedTuple):
    """How far a strategy is from the first, for a task: in what its calls cost (USD), and in its score.

    The intervals of the calls and of the mistakes, with the correlation of the two, are put together as in Zou, "Toward
    using confidence intervals to compare correlations", 2007.

    Attributes:
        more: What its calls cost more.
        half: Half the 95 % interval of that.
        deviation: Standard deviation of that on a single task.
        gap: How much higher its score is.
        together: How costs and scores of single tasks are correlated.
    """

    more: float
    half: float
    deviation: float
    gap: Interval
    together: float

    @classmethod
    def of(cls, each: Standing, first: Standing) -> Self:
        """Measure a strategy against the first."""
        costs, scores = (
            [one - other for one, other in zip(numbers(each.rows, name), numbers(first.rows, name), strict=True)]
            for name in ("cost", "score")
        )
        deviation, half, together = 0.0, 0.0, 0.0
        if len(costs) > 1:
            deviation = stdev(costs)
            half = t_quantile(LEVEL, len(costs) - 1) * deviation / math.sqrt(len(costs))
            with suppress(StatisticsError):  # one of them is the same for each task
                together = correlation(costs, scores)
        return cls(each.cost - first.cost, half, deviation, each.gap, together)

    def at(self, mistake: float) -> tuple[float, float, float]:
        """Return how much dearer the whole is at a price of a mistake (USD), and the ends of its 95 % interval."""
        value = self.apart(mistake)
        low, high = (
            self._both(self.half, mistake * abs(end - self.gap.value)) for end in (self.gap.high, self.gap.low)
        )
        return value, value - low, value + high

    def apart(self, mistake: float, gap: float | None = None) -> float:
        """Return how much dearer the whole is (USD), by a gap in score other than measured; 0 if it is rounding."""
        mistakes = mistake * (self.gap.value if gap is None else gap)
        value = self.more - mistakes
        return 0.0 if abs(value) <= _ROUNDING * (abs(self.more) + abs(mistakes)) else value

    def spread(self, mistake: float) -> float:
        """Return the standard deviation of the whole on a single task (USD)."""
        return self._both(self.deviation, mistake * self.gap.spread)

    def _both(self, calls: float, mistakes: float) -> float:
        return math.sqrt(max(calls**2 + mistakes**2 - 2 * self.together * calls * mistakes, 0.0))

    def verdict(self, mistake: float) -> str:
        """Return what is shown at a price of a mistake (USD)."""
        _, low, high = self.at(mistake)
        return _VERDICTS[0 if high < 0 else 1 if low > 0 else 2]

    def steps(self) -> list[tuple[float, str]]:
        """Return the verdicts, each with the price of a mistake (USD) from which on it holds; the first from 0."""
        turns = sorted({0.0, *(usd for usd in self._turns() if 0 < usd < math.inf)})
        middles = [math.sqrt(one * other) if one else other / 2 for one, other in pairwise(turns)]
        found: list[tuple[float, str]] = []
        for usd, middle in zip(turns, [*middles, 2 * turns[-1] or 1.0], strict=True):
            verdict = self.verdict(middle)
            if not found or found[-1][1] != verdict:
                found.append((usd, verdict))
        return found

    def limits(self) -> tuple[float, float]:
        """Return up to which price of a mistake the cheaper calls are shown to be cheaper, from where the dearer."""
        here, there = ("cheaper", "dearer") if self.more < 0 else ("dearer", "cheaper")
        steps = self.steps()
        low = 0.0 if steps[0][1] != here else steps[1][0] if len(steps) > 1 else math.inf
        return low, steps[-1][0] if steps[-1][1] == there else math.inf

    def _turns(self) -> Iterator[float]:
        """Yield the prices at which an end of the interval is 0, and some at which neither is."""
        gap = self.gap.value
        for end in (self.gap.low, self.gap.high):
            part = abs(end - gap)
            square, linear = gap**2 - part**2, self.more * gap - self.together * self.half * part
            rest = self.more**2 - self.half**2
            root = linear**2 - square * rest
            root = 0.0 if abs(root) <= _ROUNDING * linear**2 else root
            if square and root >= 0:
                yield from ((linear + sign * math.sqrt(root)) / square for sign in (1, -1))
            elif linear and not square:
                yield rest / (2 * linear)


def _below(row: _Row, first: Standing | None) -> str:
    """Say for which prices of a mistake the whole is less than the first strategy's."""
    limit, low, high = row.limit
    if math.isnan(limit) or first is None:
        return _NONE
    cheap = row.calls < first.cost
    without = "any" if cheap else "none"
    if row.calls == first.cost:
        return "any" if row.score > first.score else without
    at = without if math.isinf(limit) else f"{'below' if cheap else 'above'} {price_of_mistake(limit)}"
    if math.isnan(low) or math.isinf(low):
        return at
    return f"{at} (95 %: {price_of_mistake(low)} to {'no limit' if math.isinf(high) else price_of_mistake(high)})"


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
