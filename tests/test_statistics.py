"""Intervals hold the truth as often as they say, and a judge's points lose their bias for places, and their mood."""

from __future__ import annotations

import random
from math import hypot, isnan, sqrt
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.reports.standings import standings
from victor_nb.reports.statistics import Judgement, paired, place_alone, scores, t_quantile, tasks_to_show
from victor_nb.workflows.judge import orders

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.reports.statistics import Interval


# --- Student's t ---

TABLE = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    9: 2.262,
    10: 2.228,
    29: 2.045,
    30: 2.042,
    120: 1.980,
}
"""The two-sided 95 % points of Student's t, as any textbook prints them."""


@pytest.mark.parametrize("freedom", TABLE)
def test_when_degrees_of_freedom_are_known_then_t_is_the_textbook_s(freedom: int) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(TABLE[freedom], abs=5e-4)


def test_when_another_level_is_asked_then_t_is_the_textbook_s() -> None:
    assert t_quantile(0.99, 3) == pytest.approx(5.841, abs=5e-4)
    assert t_quantile(0.90, 8) == pytest.approx(1.860, abs=5e-4)
    assert t_quantile(0.95, 3000) == pytest.approx(1.9607, abs=5e-4)


# --- paired differences ---


def test_when_half_the_difference_is_to_be_shown_then_it_takes_four_times_the_tasks() -> None:
    assert [tasks_to_show(difference, spread=0.5) for difference in (0.2, 0.1, 0.05)] == [50, 200, 800]


def test_when_tasks_differ_more_than_strategies_then_the_pairs_show_the_difference() -> None:
    easy_and_hard = [0.9, 0.1, 0.5, 0.7, 0.3, 0.6]
    better = [score + 0.05 + 0.001 * at for at, score in enumerate(easy_and_hard)]

    found = paired(better, easy_and_hard)

    assert found.value == pytest.approx(0.0525)
    assert found.freedom == 5
    half = 2.571 * 0.001 * sqrt(3.5) / sqrt(6)  # of 0, 1, ... 5 thousandths
    assert (found.low, found.high) == pytest.approx((0.0525 - half, 0.0525 + half), abs=1e-6)


@pytest.mark.parametrize(
    ("ones", "others", "why"),
    [
        ([0.4], [0.3], "one task is too few"),
        ([1.0] * 4, [0.0] * 4, "0/1 scores need 5 tasks"),
        ([1, 0, 1, 1], [0, 0, 1, 0], "0/1 scores need 5 tasks"),
        ([0.5, 0.6], [0.4, 0.5], "so few equal differences show no spread"),
        ([0.5] * 5, [0.5] * 5, "so few equal differences show no spread"),
    ],
)
def test_when_scores_show_no_spread_to_judge_by_then_there_is_no_interval_and_a_reason(
    ones: list[float], others: list[float], why: str
) -> None:
    found = paired(ones, others)

    assert found.why == why
    assert isnan(found.low)
    assert isnan(found.high)
    assert found.value == pytest.approx(fmean(ones) - fmean(others))


def test_when_six_tasks_differ_alike_then_they_differ() -> None:
    assert paired([0.5] * 6, [0.4] * 6).low == pytest.approx(0.1)


def test_when_0_1_scores_are_all_equal_then_the_interval_is_not_a_point() -> None:
    found = paired([1.0] * 5, [1.0] * 5)

    assert found.value == 0
    assert found.low < -0.3
    assert found.high > 0.3
    assert found.freedom is None


# --- coverage: how many of 1,000 intervals hold the truth ---


def coverage(trial: Callable[[random.Random], tuple[Interval, float]], seed: int) -> float:
    """Return the share of 1,000 simulated comparisons whose interval holds the true difference."""
    dice = random.Random(seed)
    found = [trial(dice) for _ in range(1000)]
    assert not any(isnan(interval.low) for interval, _ in found)
    return fmean(interval.low <= truth <= interval.high for interval, truth in found)


def continuous(dice: random.Random, tasks: int) -> tuple[Interval, float]:
    """Score two strategies on tasks of which some are harder; each score varies by itself."""
    gap, spread = dice.gauss(0, 0.2), dice.uniform(0.02, 0.2)
    hardness = [dice.uniform(0.2, 0.8) for _ in range(tasks)]
    return paired(
        [x + gap + dice.gauss(0, spread) for x in hardness], [x + dice.gauss(0, spread) for x in hardness]
    ), gap


def skewed(dice: random.Random, tasks: int) -> tuple[Interval, float]:
    """Score two strategies whose scores are beta-distributed, as a judge's are that likes to give much."""
    (a, b), (c, d) = [(dice.uniform(2, 8), dice.uniform(1.5, 4)) for _ in range(2)]
    ones, others = ([dice.betavariate(*shape) for _ in range(tasks)] for shape in ((a, b), (c, d)))
    return paired(ones, others), a / (a + b) - c / (c + d)


def right_or_wrong(dice: random.Random, tasks: int) -> tuple[Interval, float]:
    """Score two strategies 0 or 1; they share luck on some of the tasks."""
    p, q, shared = dice.random(), dice.random(), dice.uniform(0, 0.8)
    ones, others = [], []
    for _ in range(tasks):
        luck = dice.random()
        ones.append(float((luck if dice.random() < shared else dice.random()) < p))
        others.append(float((luck if dice.random() < shared else dice.random()) < q))
    return paired(ones, others), p - q


@pytest.mark.parametrize("tasks", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("kind", [continuous, skewed])
def test_when_scores_are_continuous_then_19_of_20_intervals_hold_the_truth(
    kind: Callable[[random.Random, int], tuple[Interval, float]], tasks: int
) -> None:
    assert 0.92 <= coverage(lambda dice: kind(dice, tasks), seed=tasks) <= 0.98


@pytest.mark.parametrize("tasks", [5, 6, 8, 10, 20, 50])
def test_when_scores_are_0_or_1_then_19_of_20_intervals_hold_the_truth(tasks: int) -> None:
    assert 0.92 <= coverage(lambda dice: right_or_wrong(dice, tasks), seed=tasks) <= 0.98


@pytest.mark.parametrize(("answers", "samples"), [(2, 4), (2, 6), (3, 3), (4, 4), (5, 5), (6, 6), (8, 8)])
def test_when_a_judge_reads_then_19_of_20_intervals_hold_the_truth(answers: int, samples: int) -> None:
    dice, held = random.Random(answers * samples), 0
    for trial in range(1000):
        quality = [dice.uniform(2, 8) for _ in range(answers)]
        found = scores(read(quality, samples, dice, place=1.0, mood=1.5, noise=0.7, seed=str(trial)), answers)
        half = t_quantile(0.95, found[0].freedom) * hypot(found[0].error, found[1].error)
        held += abs(found[0].value - found[1].value - (quality[0] - quality[1]) / 10) <= half
    assert 0.92 <= held / 1000 <= 0.98


def test_when_strategies_are_equally_good_then_the_intervals_of_the_table_hold_that() -> None:
    # Of differences from the best of eight they would not: chance takes part in choosing it.
    dice = random.Random(8)
    held: list[bool] = []
    for _ in range(150):
        tasks = range(dice.randint(2, 20))
        cells = [(f"strategy {at}", f"task {task}", dice.gauss(0.5, 0.1)) for task in tasks for at in range(8)]
        table = standings(pd.DataFrame(cells, columns=["strategy", "task", "score"]).assign(cost=1.0))
        assert table["df"].tolist()[1:] == [len(tasks) - 1] * 7
        held.extend((table["low"] <= 0)[1:] & (table["high"] >= 0)[1:])
    assert len(held) == 150 * 7
    assert 0.92 <= fmean(held) <= 0.98


# --- a judge's readings ---


def read(
    quality: list[float],
    samples: int,
    dice: random.Random,
    *,
    place: float = 0.0,
    mood: float = 0.0,
    noise: float = 0.0,
    seed: str = "x",
) -> list[Judgement]:
    """Play a judge whose points are quality, a liking for places, the mood of a reading, and chance."""
    likings = [dice.gauss(0, place) for _ in quality]
    found: list[Judgement] = []
    for order in orders(len(quality), samples, seed):
        shift = dice.gauss(0, mood)
        points = {
            answer: quality[answer] + likings[at] + shift + dice.gauss(0, noise) for at, answer in enumerate(order)
        }
        found.append(Judgement(order, points))
    return found


@given(
    quality=st.lists(st.integers(0, 100), min_size=2, max_size=6),
    liking=st.lists(st.integers(0, 30), min_size=6, max_size=6),
    lost=st.integers(0, 2),
    moods=st.lists(st.integers(-20, 20), min_size=12, max_size=12),
)
def test_when_points_are_quality_place_and_mood_then_the_quality_is_found(
    quality: list[int], liking: list[int], lost: int, moods: list[int]
) -> None:
    count = len(quality)
    kept = orders(count, 2 * count, "x")[lost if count > 3 else 0 :]
    judged = [
        Judgement(order, {answer: quality[answer] + liking[place] + mood for place, answer in enumerate(order)})
        for order, mood in zip(kept, moods, strict=False)
    ]

    found = scores(judged, count)

    for one, other in zip(range(count), range(1, count), strict=False):
        gap = (found[one].value - found[other].value) * 10
        assert gap == pytest.approx(quality[one] - quality[other], abs=0.01)
    assert all(score.error < 0.001 for score in found)


def test_when_a_judge_is_mild_in_one_reading_and_strict_in_another_then_that_is_no_uncertainty() -> None:
    judged = read([6.0, 4.0, 5.0], 6, random.Random(1), mood=3.0, noise=0.1)

    found = scores(judged, 3)

    assert all(score.error < 0.01 for score in found)  # 0.1 / sqrt(6) / 10 = 0.004; with the mood, 0.12
    assert found[0].value - found[1].value == pytest.approx(0.2, abs=0.03)


def test_when_an_answer_is_never_scored_then_it_has_no_score() -> None:
    found = scores([Judgement((0, 1), {0: 5.0}), Judgement((1, 0), {0: 7.0})], 2)

    assert found[0].value == pytest.approx(0.6)
    assert isnan(found[1].value)
    assert all(isnan(score.value) for score in scores([], 2))


def test_when_readings_are_of_one_order_then_place_and_answer_are_not_told_apart() -> None:
    assert all(isnan(score.value) for score in scores([Judgement((0, 1), {0: 9.0, 1: 4.0})] * 3, 2))


def test_when_one_answer_is_read_alone_then_its_readings_have_a_spread() -> None:
    (found,) = scores([Judgement((0,), {0: points}) for points in (5.0, 7.0, 9.0)], 1)

    assert found == pytest.approx((0.7, 0.2 / sqrt(3), 2))


@pytest.mark.parametrize("answers", [2, 3, 4, 8])
def test_when_points_follow_places_then_that_is_noticed_and_a_fair_judge_is_not_accused(answers: int) -> None:
    dice = random.Random(answers)
    quality = [2 + 6 * at / (answers - 1) for at in range(answers)]
    blind = [read([5.0] * answers, answers, dice, place=3.0, noise=0.3, seed=str(task)) for task in range(4)]
    fair = [read(quality, answers, dice, place=0.5, noise=0.5, seed=str(task)) for task in range(4)]
    deaf = [read([5.0] * answers, answers, dice, seed=str(task)) for task in range(4)]

    assert place_alone(blind)
    assert not place_alone(fair)
    assert not place_alone(deaf)  # a tie is a tie
    assert not place_alone([readings[:1] for readings in blind])  # one order does not tell place from answer
    assert not place_alone([])
