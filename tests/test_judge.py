"""A judge's parts: the orders in which it sees answers, its prompt, and how its scores are read."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.workflows.judge import orders, prompt_of, read_scores


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
        ("B > A > C", {}),
        ("B", {}),
        ("The best answer is C.", {}),
        ("Answer B is clearly the best.", {}),
        ("<think>A: 1</think>A: 7", {"A": 7}),
        ('{"A": -3, "B": 4}', {}),
        ("They are all good; a 7 for each?", {}),
        ("8", {}),
    ],
)
def test_when_a_judge_answers_in_any_form_then_the_scores_are_read(answer: str, wanted: dict[str, float]) -> None:
    assert read_scores(answer, "ABC") == pytest.approx(wanted)


@given(answer=st.text(max_size=200), labels=st.sampled_from(["A", "AB", "ABCDEFGH"]))
def test_when_a_judge_says_anything_then_nothing_is_raised(answer: str, labels: str) -> None:
    assert all(label in labels and 0 <= points <= 10 for label, points in read_scores(answer, labels).items())


def test_when_a_judge_is_asked_then_its_prompt_shows_no_number_to_copy() -> None:
    prompt = prompt_of("the task", ["one", "two"])

    assert '{"A": <score of A>, "B": <score of B>}' in prompt
    assert read_scores(prompt, "AB") == {}  # a model that gives the prompt back has scored nothing
    assert "random order" in prompt
