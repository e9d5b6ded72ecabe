"""A judge's parts: the orders in which it sees answers, what its points are worth, and how they are read."""

from __future__ import annotations

from collections import Counter
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.workflows.judge import Judgement, orders, read_scores, scores


@given(count=st.integers(1, 8), samples=st.none() | st.integers(1, 20), seed=st.text(max_size=5))
def test_when_orders_are_drawn_then_every_answer_stands_in_every_place_equally_often(
    count: int, samples: int | None, seed: str
) -> None:
    drawn = orders(count, samples, seed)

    places = Counter((place, answer) for order in drawn for place, answer in enumerate(order))
    assert len(drawn) == -(-(samples or count) // count) * count
    assert len(places) == count * count
    assert len(set(places.values())) == 1
    assert drawn == orders(count, samples, seed)


@given(
    quality=st.lists(st.integers(0, 100), min_size=2, max_size=6),
    liking=st.lists(st.integers(0, 30), min_size=6, max_size=6),
    lost=st.integers(0, 2),
)
def test_when_points_are_quality_and_place_then_the_quality_is_found(
    quality: list[int], liking: list[int], lost: int
) -> None:
    count = len(quality)
    kept = orders(count, 2 * count, "x")[lost if count > 3 else 0 :]
    judged = [
        Judgement(order, {answer: quality[answer] + liking[place] for place, answer in enumerate(order)})
        for order in kept
    ]

    found = scores(judged, count)

    for one, other in zip(range(count), range(1, count), strict=False):
        gap = (found[one].value - found[other].value) * 10
        assert gap == pytest.approx(quality[one] - quality[other], abs=0.01)
    assert all(score.error < 0.001 for score in found)


def test_when_an_answer_is_never_scored_then_it_has_no_score() -> None:
    found = scores([Judgement((0, 1), {0: 5.0}), Judgement((1, 0), {0: 7.0})], 2)

    assert found[0].value == pytest.approx(0.6)
    assert isnan(found[1].value)
    assert all(isnan(score.value) for score in scores([], 2))


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('{"A": 7, "B": 4, "C": 0}', {"A": 7, "B": 4, "C": 0}),
        ('Sure:\n```json\n{"A": "7/10", "B": {"score": 4, "why": "B > A"}, "c": 0}\n```', {"A": 7, "B": 4, "C": 0}),
        ('{"scores": [{"answer": "Answer A", "score": 7}, {"answer": "B", "score": 4}]}', {"A": 7, "B": 4}),
        ('[{"A": 7}, {"B": 4}]', {"A": 7, "B": 4}),
        ("A: 7\nB: 4/10\n**C**: 0", {"A": 7, "B": 4, "C": 0}),
        ("**Answer A** - 7\n**Answer B** - 40 %", {"A": 7, "B": 4}),
        ("| Answer | Score |\n|---|---|\n| A | 7 |\n| B | 4 |", {"A": 7, "B": 4}),
        ("A gets 7, B gets 4, and C deserves 0.", {"A": 7, "B": 4, "C": 0}),
        ("A 7\nB 4", {"A": 7, "B": 4}),
        ("A: 70\nB: 40\nC: 100", {"A": 7, "B": 4, "C": 10}),
        ("A: 14/20, B: 8/20", {"A": 7, "B": 4}),
        ("B > A > C", {"B": 10, "A": 5, "C": 0}),
        ("B", {"A": 0, "B": 10, "C": 0}),
        ("The best answer is C.", {"A": 0, "B": 0, "C": 10}),
        ("Answer B is clearly the best.", {"A": 0, "B": 10, "C": 0}),
        ("<think>A: 1</think>A: 7", {"A": 7}),
        ('{"A": -3, "B": 4}', {"A": 0, "B": 4}),
        ("They are all good; a 7 for each?", {}),
        ("8", {}),
    ],
)
def test_when_a_judge_answers_in_any_form_then_the_scores_are_read(answer: str, wanted: dict[str, float]) -> None:
    assert read_scores(answer, "ABC") == pytest.approx(wanted)


@given(answer=st.text(max_size=200), labels=st.sampled_from(["A", "AB", "ABCDEFGH"]))
def test_when_a_judge_says_anything_then_nothing_is_raised(answer: str, labels: str) -> None:
    assert all(label in labels and 0 <= points <= 10 for label, points in read_scores(answer, labels).items())
