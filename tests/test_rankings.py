"""Which items a model chose, in whatever form it says so; and what several answers have in common."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.workflows.lists import FREE, key, vote
from victor_nb.workflows.ranking import UNREAD, agree, choose, rank

ITEMS = (
    "Photo sorter: sorts by date",
    "Cache: what was asked before",
    "CLI wizard",
    "**Backup tool** - copies first\nand asks before it deletes",
    "Undo",
)


@pytest.mark.parametrize(
    "answer",
    [
        "4, 1, 2",
        "4 1 2",
        "Ranking: 4 > 1 > 2",
        "Top 3: 4, 1, 2",
        "**4**, **1**, **2**",
        "4\n1\n2",
        "4, 1, 2\n\n4 is safe. 1 saves 3 hours. 2 is quick, 5 is not needed.",
        "1. (4) Backup tool: because it takes 2 days\n2. (1) Photo sorter\n3. (2) Cache",
        "1. Idea 4: safe\n2. Idea 1: useful\n3. Idea 2: quick",
        "1. Backup tool, since it is safe\n2. The photo sorter\n3. Cache",
        "1) **Backup tool** — safe\n2) **Photo sorter** — useful\n3) **Cache** — quick",
        "4. Backup tool\n1. Photo sorter\n2. Cache",
        "4) safe\n1) useful\n2) quick",
        "### 1. Backup tool\nIt is safe.\n- 3 days\n\n### 2. Photo sorter\nUseful.\n\n### 3. Cache\nQuick.",
        "- Idea #4\n- Idea #1\n- Idea #2",
        "[4, 1, 2]",
        "['4', '1', '2']",
        "[3, 0, 1]",
        '{"ranking": [4, 1, 2], "reason": "safety first"}',
        '["Backup tool", "Photo sorter", "Cache"]',
        '```json\n[{"rank": 2, "id": 1}, {"rank": 1, "id": 4}, {"rank": 3, "id": 2}]\n```',
        '[{"idea": "Cache", "score": 5}, {"idea": "Backup tool", "score": 9}, {"idea": "Photo sorter", "score": 7}]',
        '{"first": "Idea 4", "second": "Idea 1", "third": "Idea 2"}',
        "[4] safe\n[1] useful\n[2] quick",
        "I would take idea 4 first, followed by #1 and number 2, which takes 3 days.",
        "Ideas 4, 1 and 2 are the best: 5 needs too much.",
        "The Backup tool is the best, then the photo sorter, then the cache.",
        "I'd go with 4, then 1, then 2.",
        "<think>Maybe 5, 3, 2?</think>4, 1, 2",
    ],
)
def test_when_a_ranking_is_said_in_any_form_then_its_order_is_read(answer: str) -> None:
    assert [place + 1 for place in rank(answer, ITEMS)] == [4, 1, 2]


@pytest.mark.parametrize(
    ("answer", "best"),
    [("4", 4), ("Best: 4", 4), ("Idea 3", 3), ("Winner: CLI wizard", 3), ('{"best": 2}', 2), ("**Undo**", 5)],
)
def test_when_one_is_chosen_then_it_is_read(answer: str, best: int) -> None:
    assert rank(answer, ITEMS) == (best - 1,)


@pytest.mark.parametrize(
    "answer",
    [
        "7, 9, 3, 5, 8",
        "[7, 9, 3, 5, 8]",
        '{"scores": [3, 9, 5, 1, 2]}',
        "I choose none of ideas 1, 2, or 3.",
        "Idea 1 is worse than idea 2, which is the best.",
    ],
)
def test_when_items_are_scored_in_turn_or_turned_down_then_that_is_no_ranking(answer: str) -> None:
    assert rank(answer, ITEMS) == ()


@given(order=st.permutations(range(5)), style=st.sampled_from(["row", "json", "names", "ideas", "words"]))
def test_when_any_order_is_said_then_it_comes_back(order: list[int], style: str) -> None:
    names = ["Photo sorter", "Cache", "CLI wizard", "Backup tool", "Undo"]
    said = {
        "row": ", ".join(str(place + 1) for place in order),
        "json": json.dumps({"ranking": [place + 1 for place in order]}),
        "names": "\n".join(f"{number}. {names[place]}: good" for number, place in enumerate(order, start=1)),
        "ideas": "\n".join(f"- Idea {place + 1} is fine" for place in order),
        "words": " > ".join(f"#{place + 1}" for place in order),
    }[style]

    looked_at = style == "ideas" and order == sorted(order)  # one sentence on each, in the order that was shown
    assert rank(said, ITEMS) == (() if looked_at else tuple(order))


@given(answer=st.text(max_size=300), items=st.lists(st.text(max_size=30), max_size=6), keep=st.integers(1, 4))
def test_when_the_answer_is_anything_then_nothing_is_raised_and_as_many_as_can_be_are_kept(
    answer: str, items: list[str], keep: int
) -> None:
    chosen = choose({0: answer}, items, keep)

    assert all(0 <= place < len(items) for place in chosen.order)
    assert len(set(chosen.order)) == len(chosen.order) <= keep
    assert bool(chosen.order) == bool(items)


def test_when_nothing_is_chosen_then_the_first_are_kept_and_it_is_noted() -> None:
    assert choose({0: "They are all lovely."}, ITEMS, 2) == ((0, 1), (UNREAD.format(2),))


def test_when_fewer_are_named_than_asked_for_then_it_is_noted() -> None:
    assert choose({0: "4"}, ITEMS, 3) == ((3,), (FREE, "1 named where 3 were asked for"))


def test_when_more_are_named_than_asked_for_then_the_best_are_kept() -> None:
    assert choose({0: "4, 1, 2, 3, 5"}, ITEMS, 2) == ((3, 0), (FREE,))
    assert choose({0: '{"ranking": [4, 1, 2, 3, 5]}'}, ITEMS, 2) == ((3, 0), ())


def test_when_numbers_are_out_of_range_then_they_name_nothing() -> None:
    assert rank("9, 4, 12, 1", ITEMS) == (3, 0)


def test_when_two_items_have_one_name_then_it_names_neither() -> None:
    assert rank("Cache", ["Cache: small", "Cache: large", "Undo"]) == ()


def test_when_several_rank_then_points_decide() -> None:
    assert agree([[0, 1, 2], [1, 0, 2], [1, 2, 0]], 3) == (1, 0, 2)
    assert choose({0: "1, 2, 3", 1: "[2, 1, 3]", 2: "nonsense", 3: "2, 3, 1"}, ITEMS[:3], 1) == (
        (1,),
        (f"2 of 4 {FREE}", "1 of 4 rankings could not be read"),
    )


def test_when_answers_differ_in_dress_only_then_they_are_one_vote() -> None:
    answers = ["42", "42.0", "**42**", "forty-two", "Forty-two.", "1,000", "1000", '{"a": 1, "b": 2}', '{"b":2,"a":1}']

    assert vote(answers) == [("42", 3), ("forty-two", 2), ("1,000", 2), ('{"a": 1, "b": 2}', 2)]


@given(text=st.text() | st.from_regex(r"-?[0-9,]{1,400}(\.[0-9]+)?"))
def test_when_anything_is_said_then_bold_type_makes_it_no_other_vote(text: str) -> None:
    assert key(f"**{text}**") == key(text)
