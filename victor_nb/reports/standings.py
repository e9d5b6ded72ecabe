"""Standings: the strategies of a comparison on the tasks that all of them answered, and what that shows."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import chain
from math import hypot, inf, isnan, nan
from statistics import StatisticsError, correlation
from typing import TYPE_CHECKING, Final, NamedTuple

from victor_nb.reports.frames import groups, known, mean, money, need, numbers, records_frame, words
from victor_nb.reports.statistics import Interval, by_t, paired, tasks_to_show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

_NAMED: Final = 3  # names of strategies in a verdict, beside the best's
_ALIKE: Final = 0.03  # of the longest answer: lengths that differ by less from their mean are no reason for a score
_SHOWN: Final = 0.05  # of a score, which goes from 0 to 1: the difference that a verdict names


class Standing(NamedTuple):
    """A strategy on the tasks that are compared: mean cost (USD) and score for each, NaN where unknown.

    Attributes:
        answers: How many of its runs came to an answer, such as `1 of 5`.
        ranked: Whether none of its runs failed, and there are tasks to compare it on.
        rows: Those of these tasks.
        gap: How far its score is from the reference's.
    """

    name: str
    answers: str
    ranked: bool
    rows: DataFrame
    cost: float
    unpriced: int
    score: float
    gap: Interval = Interval(nan)


class Compared(NamedTuple):
    """The strategies of a frame. One that answered nothing has no part in what all answered.

    Attributes:
        tasks: How many tasks all answered; if none, each strategy stands with its own, and nothing is compared.
        reference: The first of those that are ranked: were it the best, chance would take part in choosing it, and
            intervals would hold the truth less often than they say.
        others: The other ones of these.
    """

    strategies: list[Standing]
    tasks: int
    reference: Standing | None
    others: list[Standing]

    @property
    def counted(self) -> str:
        """How many tasks all answered, in words."""
        return "one task" if self.tasks == 1 else f"{self.tasks or 'no'} tasks"

    @property
    def basis(self) -> str:
        """Which tasks are compared, and which strategies did not answer all."""
        failed = (each for each in self.strategies if len({*each.answers.split(" of ")}) > 1)
        if partly := ", ".join(f"{each.name} answered {each.answers}" for each in failed):
            return f"Only {self.counted} that all answered; not ranked: {partly}."
        return f"Means of {self.counted}." if self.tasks > 1 else ""

    @property
    def headline(self) -> str:
        """What a title says of the verdict, after `Cost and quality`."""
        verdict = self.verdict
        if verdict.startswith("no "):
            return f" on {self.counted}" if ": " in verdict else f": {self.counted} show no clear best"
        return f": {verdict.partition(' than ')[0].replace(' scores higher', ' scores highest')}"

    @property
    def verdict(self) -> str:
        """What the scores show: of the best, only that it is above all others, since that takes all intervals."""
        if self.reference is None or not self.others:
            return "nothing to compare"
        best, *others = sorted([self.reference, *self.others], key=lambda each: -each.score)
        gaps = {each.name: score_gap(best.rows, each.rows) for each in others}
        near = {name: gap for name, gap in gaps.items() if not gap.low > 0}
        if not near:
            ahead = f"{others[0].name}, by {gaps[others[0].name].low:.2g} to {gaps[others[0].name].high:.2g}"
            return f"{best.name} scores higher than {'every other' if others[1:] else ahead}"
        if why := next((gap.why for gap in near.values() if gap.why), ""):
            return f"no interval shows which is better: {'one task is too few' if self.tasks == 1 else why}"
        names = ", ".join([best.name, *near][:-1]) + f" and {[*near][-1]}"
        between = f" between {names if len(near) <= _NAMED else f'{best.name} and {len(near)} others'}"
        between = between if len(near) < len(others) else ""
        following, spread = next(((name, gap.spread) for name, gap in near.items() if gap.spread > 0), ("", 0.0))
        needed = tasks_to_show(_SHOWN, spread) if spread > 0 else 0
        pair = f" between {best.name} and {following}," if len(near) > 1 else ""
        more = f"; about {needed:,} would show {_SHOWN}{pair} four times in five" if needed > self.tasks > 1 else ""
        return f"no difference in score is visible{between} with {self.counted}{more}"


def compared(frame: DataFrame, *, by_score: bool = True) -> Compared:
    """Compare the strategies of a frame of `compare(...)` on the tasks of which all have an answer, or a score."""
    names, scored = words(frame, "strategy", missing="(no strategy)"), [not isnan(x) for x in numbers(frame, "score")]
    # Without a column of errors, what has no score has failed; a failure that counts as score 0 counts as its cost.
    answered = scored if any(scored) and "error" not in frame else [not text for text in words(frame, "error")]
    usable = scored if by_score else [one or other for one, other in zip(scored, answered, strict=True)]
    own, tasks = _aligned(names, words(frame, "task"), usable)
    came = Counter(name for name, answer in zip(names, answered, strict=True) if answer)
    found: list[Standing] = []
    for name, asked in Counter(names).items():
        rows = frame.iloc[own.get(name, [])]
        (cost, unpriced), whole = money(rows), came[name] == asked and tasks > 0
        measures = cost / max(len(rows), 1), unpriced, mean(numbers(rows, "score"))
        found.append(Standing(name, f"{came[name]} of {asked}", whole, rows, *measures))
    ranked = [each for each in found if each.ranked and not isnan(each.score)]
    first = ranked[0] if ranked else None
    if first is not None:
        found = [each if each is first else each._replace(gap=score_gap(each.rows, first.rows)) for each in found]
    return Compared(found, tasks, first, [each for each in found if each.ranked and not isnan(each.gap.value)])


def _aligned(names: Sequence[str], tasks: Sequence[str], usable: Sequence[bool]) -> tuple[dict[str, list[int]], int]:
    """Return for each strategy where the tasks stand that all have in common, in one order, and how many these are."""
    seen: Counter[tuple[str, str]] = Counter()
    places: dict[str, dict[tuple[str, int], int]] = {}
    for row, (name, task) in enumerate(zip(names, tasks, strict=True)):
        seen[name, task] += 1
        if usable[row]:
            places.setdefault(name, {})[task, seen[name, task]] = row
    common = [key for key in dict.fromkeys(chain(*places.values())) if all(key in own for own in places.values())]
    return {name: [own[key] for key in common or own] for name, own in places.items()}, len(common)


def score_gap(rows: DataFrame, than: DataFrame) -> Interval:
    """Return how much higher the scores of some rows are than those of others, of the same tasks."""
    ones, others = numbers(rows, "score"), numbers(than, "score")
    if len(ones) != len(others):
        return Interval(nan)
    error = hypot(*numbers(rows, "score_se"), *numbers(than, "score_se"))
    freedom = known([*numbers(rows, "score_df"), *numbers(than, "score_df")])
    if len(ones) == 1 and freedom and not isnan(error):
        return by_t(ones[0] - others[0], error, 1, int(min(freedom)))
    return paired(ones, others)


def break_even_of(one: Standing, other: Standing) -> tuple[float, float, float]:
    """Return what a mistake must cost (USD) for the dearer of two to be worth its calls, and its 95 % interval.

    It is the difference in cost over that in score: infinite where the dearer one is not better. The interval takes the
    ends of that of the scores; its upper end is NaN where these have none.
    """
    dear, cheap = (one, other) if one.cost >= other.cost else (other, one)
    gap, more = score_gap(dear.rows, cheap.rows), dear.cost - cheap.cost
    usd, low, high = (more / end if end > 0 else inf for end in (gap.value, gap.high, gap.low))
    return usd, low, nan if gap.why else high


def judging(frame: DataFrame) -> tuple[str, float, float] | None:
    """Return a judge's name, its cost for each task (USD), and how scores go with the lengths of answers.

    The latter is Pearson's correlation within tasks, NaN where there is none, or where lengths are alike. None where
    nothing judged.
    """
    name = next(filter(None, words(frame, "judge")), None)
    if name is None:
        return None
    scores: list[float] = []
    lengths: list[float] = []
    for _, rows in groups(frame, "task"):
        cells = zip(numbers(rows, "score"), map(len, words(rows, "answer")), strict=True)
        found = [(score, length) for score, length in cells if length and not isnan(score)]
        scores += [score - mean(other for other, _ in found) for score, _ in found]
        lengths += [length - mean(float(other) for _, other in found) for _, length in found]
    r, longest = nan, max(map(len, words(frame, "answer")), default=0)
    with suppress(StatisticsError):  # all of one score or length, or too few
        r = correlation(scores, lengths) if max(map(abs, lengths), default=0.0) > _ALIKE * longest else nan
    return name, sum(numbers(frame, "judge_cost")) / len({*words(frame, "task")}), r


STANDINGS: Final = "strategy answered tasks cost unpriced score difference low high df verdict length_r".split()


def standings(frame: DataFrame) -> DataFrame:
    """Sum up a frame of `compare(...)`: one row for each strategy, on the tasks that all of them answered.

    Returns:
        `answered` (such as `1 of 5`), `tasks` (how many are compared), `cost` (USD for a task; a lower bound where
        attempts are `unpriced`), `score`, its `difference` from the first of the strategies of which no run failed,
        the `low` and `high` end of that difference's 95 % interval, Student's degrees of freedom `df` (0/1 scores have
        none), and the `verdict`. The last row is the judge's: what it cost for a task, and in `length_r` how scores
        correlate with the lengths of answers.

    Raises:
        ConfigError: The frame lacks a column.
    """
    need(frame, "standings", ("strategy", "cost", "score"), source="the frame of compare(..., judge=...)")
    records: list[dict[str, object]] = []
    found = compared(frame)
    for each in found.strategies:
        gap, measures = each.gap, {name: getattr(each, name) for name in ("cost", "unpriced", "score")}
        side = "lower" if gap.high < 0 else "higher" if gap.low > 0 else gap.why or "no difference is visible"
        verdict = "no score" if isnan(each.score) else side if each.ranked else "not ranked"
        verdict = "the reference" if each is found.reference else verdict
        interval = {"difference": gap.value, "low": gap.low, "high": gap.high, "df": gap.freedom, "verdict": verdict}
        counts = {"strategy": each.name, "answered": each.answers, "tasks": len(each.rows)}
        records.append({**counts, **measures, **interval})
    if (judge := judging(frame)) is not None:
        records.append({"strategy": f"(judge: {judge[0]})", "cost": judge[1], "length_r": judge[2]})
    return records_frame(records, STANDINGS)
