"""Standings: the strategies of a comparison on the tasks that all of them answered, and what that shows."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from math import hypot, isnan, nan
from statistics import StatisticsError, correlation
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from victor_nb.reports.frames import groups, known, mean, money, need, numbers, records_frame, words
from victor_nb.reports.statistics import Interval, by_t, paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

_SHOWN: Final = 0.05  # of a score, which goes from 0 to 1: the difference that a verdict names


def length_correlation(frame: DataFrame) -> float:
    """Return how far scores go with the length of answers to the same task: Pearson's r, NaN where there is none."""
    pairs: list[tuple[float, float]] = []
    for _, rows in groups(frame, "task"):
        cells = zip(numbers(rows, "score"), (float(len(text)) for text in words(rows, "answer")), strict=True)
        found = [(score, length) for score, length in cells if length and not isnan(score)]
        middle = [mean(side) for side in zip(*found, strict=True)]
        pairs += [(score - middle[0], length - middle[1]) for score, length in found]
    with suppress(StatisticsError, TypeError):  # all of one score or length, or none
        return correlation(*zip(*pairs, strict=True))
    return nan


class Standing(NamedTuple):
    """A strategy in a comparison.

    Attributes:
        answered: How many of its `asked` runs came to an answer.
        rows: Those of the tasks that are compared.
        value: Its mean score, or cost (USD), on these.
        gap: The difference from the reference's.
    """

    name: str
    answered: int
    asked: int
    rows: DataFrame
    value: float
    gap: Interval = Interval(nan)

    @property
    def whole(self) -> bool:
        """Whether no run failed: else it is never called better or cheaper than another."""
        return self.answered == self.asked


class Compared(NamedTuple):
    """Strategies on the tasks that all of them answered; one that answered none is named, and has no part in that.

    Attributes:
        tasks: How many tasks these are; if none, each strategy stands with its own, and nothing is compared.
        reference: The best, or the cheapest, of those of which no run failed.
    """

    strategies: list[Standing]
    tasks: int
    reference: Standing | None

    @property
    def others(self) -> list[Standing]:
        """Those that are ranked beside the reference."""
        ranked = (each for each in self.strategies if each.whole and not isnan(each.value))
        return [each for each in ranked if self.reference and each is not self.reference]

    @property
    def basis(self) -> str:
        """Which tasks are compared and which strategies did not answer all; nothing where all did."""
        partly = [f"{each.name} answered {each.answered} of {each.asked}" for each in self.strategies if not each.whole]
        return f"Compared on {_tasks(self.tasks)} that all answered. {', '.join(partly)}: not ranked." if partly else ""

    @property
    def verdict(self) -> str:
        """What the intervals show of the scores."""
        best, others = self.reference, self.others
        near = [each for each in others if not each.gap.high < 0]
        if best is None or not others:
            return "nothing to compare"
        if not near:
            gap, single = others[0].gap, len(others) == 1
            margin = f"{others[0].name}, by {-gap.high:.2g} to {-gap.low:.2g}" if single else "every other"
            return f"{best.name} scores higher than {margin}"
        if why := next((each.gap.why for each in near if each.gap.why), ""):
            return f"which scores higher is not known ({why})"
        others_near = near[0].name if len(near) == 1 else f"{len(near)} others"
        all_near = "no difference is visible" if len(near) == len(others) else f"{best.name} is as good as {others_near}"
        # Lehr's rule for pairs: 8 times the squared ratio of spread and difference finds it four times in five.
        needed = 8 * (mean(each.gap.spread for each in near) / _SHOWN) ** 2
        step = 10 ** max(len(str(int(needed))) - 2, 1)
        more = f"; about {max(round(needed / step), 1) * step:,} would show {_SHOWN}" if needed > self.tasks else ""
        return f"{all_near} with {_tasks(self.tasks)}{more}"


def _tasks(count: int) -> str:
    return "one task" if count == 1 else f"{count or 'no'} tasks"


def compared(frame: DataFrame, by: Literal["score", "cost"] = "score") -> Compared:
    """Compare the strategies of a frame of `compare(...)` by their scores or their costs."""
    names, scored = words(frame, "strategy", missing="(no strategy)"), [not isnan(x) for x in numbers(frame, "score")]
    # Without a column of errors, what has no score has failed.
    answered = scored if any(scored) and "error" not in frame else [not text for text in words(frame, "error")]
    # A failure that counts as score 0 counts as what it cost, too.
    usable = scored if by == "score" else [one or other for one, other in zip(scored, answered, strict=True)]
    own, tasks = _aligned(names, words(frame, "task"), usable)
    came = Counter(name for name, answer in zip(names, answered, strict=True) if answer)
    found: list[Standing] = []
    for name, asked in Counter(names).items():
        rows = frame.iloc[own.get(name, [])]
        found.append(Standing(name, came[name], asked, rows, mean(numbers(rows, by))))
    ranked = [each for each in found if each.whole and not isnan(each.value) and tasks]
    best = max(ranked, key=lambda each: each.value if by == "score" else -each.value, default=None)
    if best is not None:
        found = [each if each is best else each._replace(gap=_gap(each.rows, best.rows, by)) for each in found]
    return Compared(found, tasks, best)


def _aligned(names: Sequence[str], tasks: Sequence[str], usable: Sequence[bool]) -> tuple[dict[str, list[int]], int]:
    """Return for each strategy where the tasks stand that all have in common, in one order, and how many these are."""
    seen: Counter[tuple[str, str]] = Counter()
    places: dict[str, dict[tuple[str, int], int]] = {}
    for row, (name, task) in enumerate(zip(names, tasks, strict=True)):
        seen[name, task] += 1
        if usable[row]:
            places.setdefault(name, {})[task, seen[name, task]] = row
    common = [key for key in next(iter(places.values()), {}) if all(key in own for own in places.values())]
    return {name: [own[key] for key in common or own] for name, own in places.items()}, len(common)


def _gap(rows: DataFrame, best: DataFrame, by: str) -> Interval:
    ones, others = numbers(rows, by), numbers(best, by)
    if not ones or len(known([*ones, *others])) < 2 * len(ones):
        return Interval(nan, why=f"a {by} is unknown")
    error = hypot(*numbers(rows, "score_se"), *numbers(best, "score_se"))
    freedom = known([*numbers(rows, "score_df"), *numbers(best, "score_df")])
    if len(ones) == 1 and by == "score" and not isnan(error) and min(freedom, default=0) > 0:
        return by_t(ones[0] - others[0], error, 1, int(min(freedom)))
    return paired(ones, others)


STANDINGS: Final = (
    "strategy answered tasks cost unpriced score difference low high df verdict length_correlation".split()
)


def standings(frame: DataFrame) -> DataFrame:
    """Sum up a frame of `compare(...)`: one row for each strategy, on the tasks that all of them answered.

    Returns:
        `answered` (such as `1 of 5`), `tasks` (how many are compared), `cost` (USD for a task; a lower bound where
        attempts are `unpriced`), `score`, its `difference` from the best of the strategies of which no run failed, the
        `low` and `high` end of that difference's 95 % interval with Student's degrees of freedom `df` (0/1 scores have
        none), and the `verdict`. The last row is the judge's: what it cost for a task, and how scores correlate with
        the lengths of answers.

    Raises:
        ConfigError: The frame lacks a column.
    """
    need(frame, "standings", ("strategy", "cost", "score"), source="the frame of compare(..., judge=...)")
    found = compared(frame)
    records: list[dict[str, object]] = []
    for each in found.strategies:
        spent, gap = money(each.rows), each.gap
        unranked = "not ranked" if not each.whole else gap.why or "the reference"
        side = "lower" if gap.high < 0 else "higher" if gap.low > 0 else "no difference is visible"
        measures = {"score": each.value, "difference": gap.value, "low": gap.low, "high": gap.high, "df": gap.freedom}
        words_of = {"answered": f"{each.answered} of {each.asked}", "verdict": unranked if isnan(gap.low) else side}
        cost = {"cost": spent.known / max(len(each.rows), 1), "unpriced": spent.unpriced, "tasks": len(each.rows)}
        records.append({"strategy": each.name, **words_of, **cost, **measures})
    if judge := next(filter(None, words(frame, "judge")), ""):
        cost = {"cost": sum(numbers(frame, "judge_cost")) / len({*words(frame, "task")})}
        records.append({"strategy": f"(judge: {judge})", **cost, "length_correlation": length_correlation(frame)})
    return records_frame(records, STANDINGS)
