"""What several answers have in common: the one that most gave, the order that most agree with."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from victor_nb.workflows.jsons import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKUP: Final = re.compile(r"[*_`~#>\"'\u2018\u2019\u201c\u201d]+")
"""Marks that change how a text looks and not what it says."""
_NUMBER: Final = re.compile(r"[$\u20ac\u00a3]?\s*(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d{1,30}(?:\.\d{1,30})?)")


def agree(rankings: Sequence[Sequence[int]], count: int) -> tuple[int, ...]:
    """Return the order that several rankings have in common, by Borda count: an item gets a point for each it beats.

    Args:
        rankings: Positions of items, best first; what a ranking leaves out shares the points that are left.
        count: How many items there are.
    """
    points: Counter[int] = Counter()
    for ranking in rankings:
        for place, item in enumerate(ranking):
            points[item] += 2 * (count - 1 - place)
        rest = [item for item in range(count) if item not in ranking]
        for item in rest:
            points[item] += len(rest) - 1
    met = list(dict.fromkeys(item for ranking in rankings for item in ranking))
    return tuple(sorted(met, key=lambda item: -points[item]))


def vote(answers: Sequence[str]) -> list[tuple[str, int]]:
    """Return the different answers with how often each was given, most common first, the earlier first among equals.

    Answers are the same that differ in case, spaces, markup, a full stop, or the way a number is written.
    """
    counts = Counter(key(answer) for answer in answers)
    first: dict[str, str] = {}
    for answer in answers:
        first.setdefault(key(answer), answer)
    return [(first[word], count) for word, count in counts.most_common()]


def key(text: str) -> str:
    """Return what an answer says, without how it is written."""
    value = read_json(text)
    if isinstance(value, (list, dict)):
        return json.dumps(value, sort_keys=True)
    flat = " ".join(MARKUP.sub("", text).casefold().split()).strip(" .!")
    number = _NUMBER.fullmatch(flat)
    return f"{float(number[1].replace(',', '')):.12g}" if number else flat
