"""The scores in a judge's answer: JSON, lines, a table, a ranking, or just the winner's letter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from victor_nb.workflows.items import spoken
from victor_nb.workflows.jsons import find_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HIGHEST: Final = 10.0
"""What a judge is asked to give the best answer; the worst gets 0."""
_PERCENT: Final = 100.0
# Every repetition has an end, so that no answer, however odd, takes more than a moment to read.
_LABEL: Final = r"\b(?P<label>[A-Z])\b[\s\"'*_)\]]{0,6}"
_SCORE: Final = (
    r"(?P<score>-?\d{1,4}(?:[.,]\d{1,4})?)(?:\s{0,3}(?:/|out\s+of)\s{0,3}(?P<of>\d{1,4}))?\s{0,3}(?P<percent>%)?"
)
_KEY: Final = re.compile(r"\W*(?:answer|candidate|option|response)?\W*([A-Z])\W*", re.IGNORECASE)
_LINE: Final = re.compile(
    rf"{_LABEL}(?:[:=|\u2013\u2014-]{{1,3}}|(?:gets?|scores?|deserves?|is)\b)[\s\"'*_|]{{0,6}}(?:[Ss]core\W{{1,3}})?{_SCORE}"
)
_PAIR: Final = re.compile(rf"^\W{{0,6}}(?:[Aa]nswer\W{{1,3}})?{_LABEL}\W{{0,3}}{_SCORE}", re.MULTILINE)
_ORDER: Final = re.compile(r"\b[A-Z]\b(?:\s{0,3}>\s{0,3}\b[A-Z]\b)+")
_WINNER: Final = re.compile(
    r"\A\W{0,6}(?:[Aa]nswer\s+)?([A-Z])\W{0,6}\Z|"
    r"\b(?:[Bb]est|[Ww]inner|[Pp]refer|[Cc]hoose|[Pp]ick)\b[^.\n]{0,60}?(?:\bis\b|:|\banswer\b)\W{0,6}([A-Z])\b|"
    r"\b([A-Z])\b[\"'*_]{0,3}\s+(?:is|was)\s+(?:\w+\s+){0,2}the\s+(?:best|winner)|"
    r"\b([A-Z])\b[\"'*_]{0,3}\s+wins\b"
)
_LONG_KEY: Final = 40  # characters; no label is longer
_SCORES: Final = ("score", "rating", "points", "grade", "mark", "total", "overall", "value")
_NAMES: Final = ("answer", "label", "id", "candidate", "option", "response", "name")


def read_scores(text: str, labels: Sequence[str]) -> dict[str, float]:
    """Return what a judge gave each answer, from 0 to 10; labels that it does not score are left out.

    Args:
        text: The judge's answer.
        labels: The letters that the answers went by.
    """
    said, known = spoken(text), tuple(labels)
    for way in (_of_json, _of_lines, _of_order, _of_winner):
        found = dict(way(said, known))
        if found:
            return _scaled(found)
    return {}


def _scaled(scores: Mapping[str, float]) -> dict[str, float]:
    """Bring scores to the scale of 0 to 10: those beyond it are percents."""
    scale = HIGHEST / _PERCENT if max(scores.values()) > HIGHEST else 1.0
    return {label: min(max(score * scale, 0.0), HIGHEST) for label, score in scores.items()}


def _label(word: object, labels: Sequence[str]) -> str | None:
    found = _KEY.fullmatch(str(word)[:_LONG_KEY])
    letter = found[1].upper() if found else ""
    return letter if letter in labels else None


def _of_json(text: str, labels: Sequence[str]) -> Iterator[tuple[str, float]]:
    for value in find_json(text):
        found = dict(_of_value(value, labels))
        if found:
            yield from found.items()
            return


def _of_value(value: object, labels: Sequence[str]) -> Iterator[tuple[str, float]]:
    if isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _of_entry(each, labels)
    if not isinstance(value, dict):
        return
    told = cast("dict[str, object]", value)
    for word, each in told.items():
        label, score = _label(word, labels), _number(each)
        if label is not None and score is not None:
            yield label, score
        elif label is None and isinstance(each, (dict, list)):
            yield from _of_value(cast("object", each), labels)


def _of_entry(value: object, labels: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Read `{"answer": "A", "score": 7}`, and `{"A": 7}`."""
    if not isinstance(value, dict):
        return
    told = {word.lower(): each for word, each in cast("dict[str, object]", value).items()}
    label = next((found for name in _NAMES if name in told and (found := _label(told[name], labels))), None)
    score = _number(told)
    if label is not None and score is not None:
        yield label, score
    else:
        yield from _of_value(cast("object", value), labels)


def _number(value: object) -> float | None:
    """Return a score: 7, "7/10", "85 %", {"score": 7, "why": "..."}."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value) if value == value else None  # noqa: PLR0124 - NaN is not itself
    if isinstance(value, str):
        found = re.match(_SCORE, value.strip())
        return _points(found) if found else None
    if isinstance(value, dict):
        told = {str(word).lower(): each for word, each in cast("dict[object, object]", value).items()}
        return next((score for name in _SCORES if (score := _number(told.get(name))) is not None), None)
    return None


def _points(found: re.Match[str]) -> float:
    score = float(found["score"].replace(",", "."))
    if found["percent"]:
        return score * HIGHEST / _PERCENT
    most = float(found["of"] or 0)
    return score * HIGHEST / most if most else score


def _of_lines(text: str, labels: Sequence[str]) -> Iterator[tuple[str, float]]:
    seen: dict[str, float] = {}
    for pattern in (_LINE, _PAIR):
        for found in pattern.finditer(text):
            if found["label"] in labels:
                seen.setdefault(found["label"], _points(found))
    yield from seen.items()


def _of_order(text: str, labels: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Read `B > A > C` as points in equal steps."""
    found = _ORDER.search(text)
    order = [label for label in re.findall(r"[A-Z]", found[0]) if label in labels] if found else []
    for place, label in enumerate(order):
        yield label, HIGHEST * (len(order) - 1 - place) / max(len(order) - 1, 1)


def _of_winner(text: str, labels: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Read a letter alone, or a sentence that names the best, as all points for one and none for the others."""
    found = _WINNER.search(text)
    letter = next(filter(None, found.groups())) if found else ""
    if letter in labels:
        yield from ((label, HIGHEST if label == letter else 0.0) for label in labels)
