"""Evidence that a mean is over a bar, valid however often one looks: betting e-processes, and what follows of them.

A gambler bets on each value before it comes. Where the true mean is not over the bar no bet can win on average, so that
the probability that the capital ever grows to 20 times its start is at most 1/20 (Ville's inequality), after any number
of looks. Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (arXiv
2010.09686), for the bets and limits; Zecchin, Park and Simeone, "Adaptive Learn-then-Test" (arXiv 2409.15844), for
testing several plans at once; Angelopoulos et al., "Prediction-powered inference" (arXiv 2301.09633), for audits.
"""

from __future__ import annotations

from math import exp, inf, log, log1p, sqrt
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST: Final = 0.75  # of the capital that one value may cost: all of it would end the game
_STEPS: Final = 32  # bars that are tried in turn for a limit, before the last step is halved
_HALVINGS: Final = 10
_RUNS: Final = 41  # simulated runs, of which the median is taken
_DRAWN: Final = 1_000  # tasks of a simulated run at the most; more would take seconds


class Bets:
    """The capital of a gambler who bets that the mean of values from 0 to 1 is over a bar.

    A bet is what grows the capital fastest by the mean and the variance of the values before it, which start as those
    of 0.5 and 0.25 (section 4 of Waudby-Smith and Ramdas).

    Attributes:
        bar: The mean that is doubted, between 0 and 1.
        count: Values so far.
        peak: Logarithm of the most that the capital, which starts as 1, has come to.
    """

    __slots__ = ("_capital", "_mean", "_squares", "_sum", "bar", "count", "peak")

    def __init__(self, bar: float) -> None:
        self.bar = bar
        self.count, self.peak = 0, 0.0
        self._capital, self._sum, self._squares, self._mean = 0.0, 0.5, 0.25, 0.5

    def add(self, value: float) -> None:
        """Bet on a value, then see it."""
        gap = self._mean - self.bar
        if gap > 0:
            stake = min(gap / (self._squares / (self.count + 1) + gap * gap), _MOST / self.bar)
            self._capital += log1p(stake * (value - self.bar))
            self.peak = max(self.peak, self._capital)
        self.count += 1
        self._sum += value
        self._mean = self._sum / (self.count + 1)
        self._squares += (value - self._mean) ** 2

    @property
    def evidence(self) -> float:
        """The e-value: the most that the capital has come to. Over 1/d, the mean is over the bar with risk d."""
        return exp(min(self.peak, 700.0))


def peak(values: Iterable[float], bar: float) -> float:
    """Return the logarithm of the e-value of values from 0 to 1 against a bar."""
    bets = Bets(bar)
    for value in values:
        bets.add(value)
    return bets.peak


def lower_limit(values: Sequence[float], risk: float) -> float:
    """Return the bar under which the mean of values from 0 to 1 is not, with such a risk that it is.

    It is the lowest bar that the bets do not refute (Waudby-Smith and Ramdas, theorem 3).
    """
    needed, low = log(1 / risk), 0.0
    for step in range(1, _STEPS):
        if peak(values, step / _STEPS) < needed:
            break
        low = step / _STEPS
    high = low + 1 / _STEPS
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if peak(values, middle) >= needed else (low, middle)
    return low


def audited(judged: float, truth: float | None, share: float) -> float:
    """Return a score whose mean is that of the truth, whatever the bias of the judge.

    Args:
        judged: The judge's score.
        truth: The true score, where the task is audited.
        share: The probability with which a task is audited.
    """
    return judged if truth is None else judged + (truth - judged) / share


def tasks_needed(truth: float, bar: float, *, risk: float = 0.05, most: int = 20_000) -> int | None:
    """Return how many tasks show that a share of right answers is over a bar; None where `most` do not.

    It is the median of a few simulated runs, the same each time.

    Args:
        truth: The true share.
        bar: The bar.
        risk: The risk of a certificate that is wrong.
        most: Tasks at the most.
    """
    needed, found = log(1 / risk), list[float]()
    for run in range(_RUNS):
        bets, draw = Bets(bar), Random(run)  # noqa: S311 - a simulation
        while bets.peak < needed and bets.count < most:
            bets.add(float(draw.random() < truth))
        found.append(bets.count if bets.peak >= needed else inf)
    middle = median(found)
    return None if middle == inf else int(middle)


def smallest_gap(count: int, bar: float, *, risk: float = 0.05) -> float | None:
    """Return by how much a share must be over a bar for so many tasks to show it; None where no share is enough.

    In half of the runs it is shown then. Of many tasks only some are simulated: the gap shrinks as their root grows.
    """
    needed, drawn = log(1 / risk), min(count, _DRAWN)
    draws = [[draw.random() for _ in range(drawn)] for draw in map(Random, range(_RUNS))]
    low, high = bar, 1.0
    for step in range(_HALVINGS):
        middle = (low + high) / 2 if step else 1.0
        shown = median(peak((float(each < middle) for each in draw), bar) for draw in draws) >= needed
        if not step and not shown:
            return None
        low, high = (low, middle) if shown else (middle, high)
    return (high - bar) * sqrt(drawn / count) if count else high - bar
