"""Statistics of comparisons, with 95 % intervals: paired differences, shares, agreement; a judge's points without bias.

Scores that vary continuously get the intervals of Student's t, scores of 0 and 1 those of Bonett and Price;
`tests/test_statistics.py` measures how often they hold the truth.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from math import cos, nan, pi, sin, sqrt, tan
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

LEVEL: Final = 0.95
"""The share of intervals that hold the truth."""
FEWEST: Final = 5  # tasks with 0/1 scores, from which on an interval can leave out 0 and covers as often as it says
_ALIKE: Final = 6  # equal differences that a sign test calls no chance (2 * 0.5^6 = 0.03), though they show no spread
_TENTHS: Final = 10.0  # points of a judge that are a score of 1
_FEW: Final = 20  # rows, below which an interval for large samples covers less than it says


# --- intervals ---


class Interval(NamedTuple):
    """A mean difference and its 95 % interval; NaN where there is none, and then `why` says why.

    Attributes:
        freedom: Degrees of freedom of Student's t; None where the interval is not of it.
        spread: Standard deviation of the difference on a single task.
    """

    value: float
    low: float = nan
    high: float = nan
    freedom: int | None = None
    spread: float = nan
    why: str = ""


@lru_cache(maxsize=256)
def t_quantile(level: float, freedom: int) -> float:
    """Return the limit within which Student's t stays, on both sides of 0, with the probability `level`.

    The distribution is the finite sum of Abramowitz and Stegun (1964), 26.7.3 and 26.7.4, of the angle atan(t/sqrt(f)).
    """
    odd, low, high = freedom % 2, 0.0, pi / 2
    while low < (angle := (low + high) / 2) < high:
        term = total = cos(angle) if odd else 1.0
        for step in range(2 + odd, freedom - 1, 2):
            term *= cos(angle) ** 2 * (step - 1) / step
            total += term
        within = sin(angle) * total if freedom > 1 else 0.0
        low, high = (angle, high) if (2 / pi * (angle + within) if odd else within) < level else (low, angle)
    return sqrt(freedom) * tan(low)


def paired(ones: Sequence[float], others: Sequence[float]) -> Interval:
    """Return the mean difference of two strategies' scores, or costs, on the same tasks.

    The difference of scores of 0 and 1 is discrete, and t covers it badly: they get half a win and half a loss more
    (Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
    data", 2012, where it is one of each, which is wider than it need be for few tasks).
    """
    gaps = [one - other for one, other in zip(ones, others, strict=True)]
    value = fmean(gaps)
    if {*ones, *others} <= {0.0, 1.0}:
        if len(gaps) < FEWEST:
            return Interval(value, why=f"0/1 scores need {FEWEST} tasks")
        wins, losses, count = gaps.count(1.0) + 0.5, gaps.count(-1.0) + 0.5, len(gaps) + 1
        middle = (wins - losses) / count
        spread = sqrt((wins + losses) / count - middle**2)
        half = NormalDist().inv_cdf((1 + LEVEL) / 2) * spread / sqrt(count)
        return Interval(value, max(middle - half, -1.0), min(middle + half, 1.0), None, spread)
    if len(gaps) < 2:  # noqa: PLR2004
        return Interval(value, why="one task is too few")
    return by_t(value, stdev(gaps), len(gaps), len(gaps) - 1)


def by_t(value: float, spread: float, count: int, freedom: int) -> Interval:
    """Return Student's interval of a mean of `count` values with a standard deviation."""
    if spread < 1e-12 and freedom < _ALIKE - 1:  # noqa: PLR2004 - as good as 0
        return Interval(value, why="so few equal differences show no spread")
    half = t_quantile(LEVEL, freedom) * spread / sqrt(count)
    return Interval(value, value - half, value + half, freedom, spread)


def tasks_to_show(difference: float, spread: float) -> int:
    """Return how many tasks show a true difference in four of five experiments, in round numbers.

    It is Lehr's rule for pairs: 8 times the squared ratio of spread and difference.

    Args:
        difference: The true mean difference of two strategies' scores.
        spread: Standard deviation of the difference on a single task, as `Interval.spread`.
    """
    needed = 8 * (spread / difference) ** 2
    step = 10 ** max(len(str(int(needed))) - 2, 1)
    return max(round(needed / step), 1) * step


# --- shares and agreement ---


def proportion(hits: int, count: int) -> Interval:
    """Return a share and its interval, that of Wilson (1927), which holds near 0 and 1 too."""
    if not count:
        return Interval(nan, why="no rows")
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, whole = hits / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / whole
    half = z * sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / whole
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))


def kappa(rows: Sequence[Sequence[Hashable]]) -> Interval:
    """Return how far raters agree beyond chance: Cohen's kappa of two, Fleiss' of more.

    The interval is that of large samples by the delta method, which for two raters is that of Fleiss, Cohen and Everitt
    (1969). There is none where raters never differ, or with fewer than 20 rows, and no kappa where all give one answer.

    Args:
        rows: The answer of each rater, row by row.
    """
    if not rows:
        return Interval(nan, why="no rows")
    raters, count = len(rows[0]), len(rows)
    if len({answer for row in rows for answer in row}) == 1:
        return Interval(nan, why="all answers are one and the same")
    if raters == 2:  # noqa: PLR2004
        ones, others = (Counter(row[rater] for row in rows) for rater in (0, 1))
        alike = [float(row[0] == row[1]) for row in rows]
        by_chance = [(others[row[0]] + ones[row[1]]) / count for row in rows]
    else:
        every = Counter(answer for row in rows for answer in row)
        pairs = raters * (raters - 1)
        alike = [sum(n * (n - 1) for n in Counter(row).values()) / pairs for row in rows]
        by_chance = [2 * sum(every[answer] for answer in row) / (count * raters**2) for row in rows]
    seen, chance = fmean(alike), fmean(by_chance) / 2
    value = (seen - chance) / (1 - chance)
    if seen == 1 or count < _FEW:
        return Interval(value, why="they never differ" if seen == 1 else f"it needs {_FEW} rows")
    pulls = [(a - (1 - seen) / (1 - chance) * e) / (1 - chance) for a, e in zip(alike, by_chance, strict=True)]
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * stdev(pulls) / sqrt(count)
    return Interval(value, max(value - half, -1.0), min(value + half, 1.0))


# --- a judge's points ---


class Score(NamedTuple):
    """The quality of an answer, from 0 to 1, its standard error beside the other answers, and its degrees of freedom.

    NaN where it is unknown.
    """

    value: float = nan
    error: float = nan
    freedom: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of one reading of a judge: points (0 to 10) by the number of the answer, for each that it scored.

    Attributes:
        order: The numbers of the answers, as they were shown.
    """

    order: tuple[int, ...]
    points: Mapping[int, float]


def scores(judgements: Sequence[Judgement], count: int) -> list[Score]:
    """Return the score of each of `count` answers to one task.

    Points are answer + place + reading + chance, fitted by least squares: neither a liking for a place nor a mild or
    strict reading counts for an answer, nor as uncertainty. With whole Latin squares a score is the mean of the
    answer's points, and the error of the difference of two is sqrt(2) times theirs. What the readings do not tell
    apart from places is unknown.
    """
    import numpy as np

    cells = [
        (answer, count + judged.order.index(answer), 2 * count + reading, points / _TENTHS)
        for reading, judged in enumerate(judgements)
        for answer, points in judged.points.items()
    ]
    scored = sorted({answer for answer, *_ in cells})
    if not scored:
        return [Score()] * count
    design = np.zeros((len(cells), 2 * count + len(judgements)))
    for row, (*effects, _) in enumerate(cells):
        design[row, effects if len(scored) > 1 else effects[:1]] = 1.0  # of a single answer, readings differ by chance
    points, squares = np.array([score for *_, score in cells]), design.T @ design
    inverse = np.linalg.pinv(squares)
    fitted = inverse @ design.T @ points
    freedom = len(cells) - int(np.linalg.matrix_rank(design))
    noise = ((points - design @ fitted) ** 2).sum() / freedom if freedom else nan
    # A score is the answer's effect at the mean place and reading; its error is that of the effect beside the others.
    levels = np.tile(design.any(axis=0).astype(float), (count, 1))
    for effect in (slice(count, 2 * count), slice(2 * count, None)):
        levels[:, effect] /= max(levels[0, effect].sum(), 1.0)
    levels[:, :count] = np.eye(count)
    beside = levels - levels[scored].mean(axis=0) if len(scored) > 1 else levels
    shares = ((beside @ inverse) * beside).sum(axis=1) * len(scored) / max(len(scored) - 1, 1)
    unknown = np.abs(levels @ inverse @ squares - levels).max(axis=1) > 1e-6  # noqa: PLR2004 - what rounding leaves
    values, errors = (levels @ fitted).tolist(), np.sqrt(np.maximum(noise * shares, 0.0)).tolist()
    return [Score() if unknown[at] else Score(values[at], errors[at], freedom) for at in range(count)]


def place_alone(tasks: Iterable[Sequence[Judgement]]) -> bool:
    """Return whether a judge's points follow the places in which answers were shown, and not the answers.

    That is so if, within readings, places explain three quarters of the points' variation, and answers a twentieth.
    """
    parts: defaultdict[str, float] = defaultdict(float)
    for judgements in tasks:
        by: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        for judged in judgements:
            middle = fmean(judged.points.values())
            for answer, points in judged.points.items():
                parts["all"] += (points - middle) ** 2
                by["answer", answer].append(points - middle)
                by["place", judged.order.index(answer)].append(points - middle)
        for (kind, _), found in by.items():
            parts[kind] += len(found) * fmean(found) ** 2
    return parts["all"] > 0 and parts["place"] >= 0.75 * parts["all"] and parts["answer"] <= 0.05 * parts["all"]
