"""Rankings out of a model's answer: which of the numbered items it chose, in what order.

A ranking is read in the forms that models give it: JSON, a list of names or numbers, a bare row of numbers, prose.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from victor_nb.workflows.lists import MARKUP, WORDS, agree, marks, spoken
from victor_nb.workflows.structured import find_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_NOT_WORD: Final = re.compile(r"[^\w%+#.-]+")
_PLURAL: Final = rf"{WORDS}s?"
_CUE: Final = re.compile(
    r"\b(?:answer|best|chosen?|choices?|final|ideas?|items?|keep|numbers?|order|picks?|priority|rank(?:ed|ing)?|results?|"
    r"selected|selection|top|winners?)\b(?!.*\b(?:points?|rating|scored?|scores)\b)",
    re.IGNORECASE,
)
_BETWEEN: Final = re.compile(r"[\s,;>/|&→()\[\].#]+|\band\b|\bthen\b|(?<!\d)\d{1,3}(?!\d|\.\d)")
_REFERENCE: Final = re.compile(
    rf"(?:\b{_PLURAL}\s*\#?\s*|\#)(\d{{1,3}}(?:(?:\s*(?:,|and|&|>|then|or)+\s*\#?)+\d{{1,3}})*)(?![\d%]|\.\d)",
    re.IGNORECASE,
)
_AT_START: Final = re.compile(
    rf"\W*(?:(?:{_PLURAL})\s*\#?\s*(?P<named>\d{{1,3}})\b|[(\[]\s*\#?(?P<framed>\d{{1,3}})\s*[)\]]|\#(?P<hashed>\d{{1,3}})\b"
    r"|(?P<bare>\d{1,3})(?:\W*$|\s*[-–—:,(]\s|\s+because\b))",
    re.IGNORECASE,
)
_NUMBER_ALONE: Final = re.compile(rf"\W*(?:{_PLURAL})?\W*(\d{{1,3}})\W*", re.IGNORECASE)
_SHORT: Final = 300  # characters; in a longer text, a bare number may be any number
_SHORTEST_NAME: Final = 3
_PLACES: Final = ("rank", "place", "position", "order", "priority")
_POINTS: Final = ("score", "points", "rating", "total", "votes")
_KEYS: Final = ("id", "index", "number", "no", "item", "idea", "option", "choice", "candidate", "name", "title", "text")

UNREAD: Final = "the ranking could not be read: the first {} of the items are kept"


class Ranking(NamedTuple):
    """Positions of the chosen items from 0, best first; `notes` name what could not be read."""

    order: tuple[int, ...]
    notes: tuple[str, ...] = ()


def rank(text: str, items: Sequence[str]) -> tuple[int, ...]:
    """Return the positions (from 0) of the items that an answer names, best first; none where it names none.

    Args:
        text: The answer. It refers to items by their numbers from 1, or by their names.
        items: What it was shown, in that order.
    """
    said = spoken(text)
    shown = _Shown(items)
    for way in (_by_json, _by_row, _by_lines, _by_reference, _by_name, _by_marks, _by_number):
        found = tuple(dict.fromkeys(place for place in way(said, shown) if place is not None))
        if found:
            return found
    return ()


def choose(texts: Sequence[str], items: Sequence[str], keep: int) -> Ranking:
    """Return the items that ranking answers choose, at most `keep` of them; the first ones if none can be read."""
    read = [found for text in texts if (found := rank(text, items))]
    notes: list[str] = []
    if len(read) < len(texts) and read:
        notes.append(f"{len(texts) - len(read)} of {len(texts)} rankings could not be read")
    if not read:
        kept = min(keep, len(items))
        return Ranking(tuple(range(kept)), (UNREAD.format(kept),))
    order = read[0] if len(read) == 1 else agree(read, len(items))
    if len(order) < min(keep, len(items)):
        notes.append(f"{len(order)} named where {keep} were asked for")
    return Ranking(order[:keep], tuple(notes))


# --- what was shown ---


class _Shown:
    """The items, with the names by which an answer may call them."""

    def __init__(self, items: Sequence[str]) -> None:
        self.count = len(items)
        self.names: dict[str, int] = {}
        for place, item in enumerate(items):
            for name in _names(item):
                # A name that two items share names neither.
                self.names[name] = -1 if self.names.get(name, place) != place else place

    def at(self, number: int) -> int | None:
        """Return the position that a number from 1 stands for."""
        return number - 1 if 1 <= number <= self.count else None

    def named(self, text: str, *, within: int | None = None) -> int | None:
        """Return the item that is named first in a text, not behind character `within`; None where there is none."""
        found = [(where, -len(name), place) for name, place, where in self.mentions(text)]
        first = min(found, default=None)
        return first[2] if first and (within is None or first[0] <= within) else None

    def mentions(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Yield the names in a text: the name, whose it is, and where it stands."""
        flat = f" {_flat(text)} "
        for name, place in self.names.items():
            where = flat.find(f" {name} ")
            if place >= 0 and where >= 0:
                yield name, place, where


def _names(item: str) -> Iterator[str]:
    """Yield the names of an item: all of it, its first line, and what stands before a colon or a dash in that."""
    first = next((line for line in item.splitlines() if line.strip(" #*_-")), "")
    head = re.split(r":|\s[-–—]\s|\.\s", first.strip("#*_ "), maxsplit=1)[0]
    for name in dict.fromkeys((_flat(item), _flat(first), _flat(head))):
        if len(name) >= _SHORTEST_NAME and not name.isdecimal():
            yield name


def _flat(text: str) -> str:
    words = _NOT_WORD.sub(" ", MARKUP.sub("", text).casefold()).split()
    return " ".join(stripped for word in words if (stripped := word.strip(".-")))


# --- ways of saying a ranking, the surest first ---


def _by_json(text: str, shown: _Shown) -> Iterator[int | None]:
    values = find_json(text)
    for value in values if all(map(_is_row, values)) else values[:1]:  # `[4] cheap, [1] useful` are several
        yield from _of_value(value, shown)


def _is_row(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, int) for each in cast("list[object]", value))


def _of_value(value: object, shown: _Shown) -> Iterator[int | None]:
    if isinstance(value, dict):
        yield from _of_object(cast("dict[str, object]", value), shown)
    elif isinstance(value, list):
        listed = cast("list[object]", value)
        from_zero = 0 in listed and shown.count not in listed
        for each in _in_order(listed):
            yield _of_entry(each + 1 if from_zero and type(each) is int else each, shown)


def _of_object(value: Mapping[str, object], shown: _Shown) -> Iterator[int | None]:
    lists = [cast("list[object]", each) for each in value.values() if isinstance(each, list)]
    if lists:
        yield from _of_value(lists[0], shown)
    elif value and all(isinstance(each, (int, float)) for each in value.values()) and len(value) > 1:
        scores = cast("Mapping[str, float]", value)
        for name in sorted(scores, key=lambda each: -scores[each]):
            yield _of_entry(name, shown)
    else:
        for each in value.values():
            yield _of_entry(each, shown)


def _in_order(listed: list[object]) -> list[object]:
    """Sort objects by the rank or the score that they hold; anything else is in order already."""
    for names, sign in ((_PLACES, 1), (_POINTS, -1)):
        said = [_number_of(each, names) for each in listed]
        if said and None not in said:
            order = sorted(range(len(listed)), key=lambda place: sign * cast("float", said[place]))
            return [listed[place] for place in order]
    return listed


def _number_of(value: object, names: Iterable[str]) -> float | None:
    if not isinstance(value, dict):
        return None
    told = {str(name).lower(): each for name, each in cast("dict[object, object]", value).items()}
    found = [told[name] for name in names if name in told]
    return float(found[0]) if found and isinstance(found[0], (int, float)) and found[0] == found[0] else None


def _of_entry(value: object, shown: _Shown) -> int | None:
    match value:
        case bool() | None:
            return None
        case int():
            return shown.at(value)
        case float():
            return shown.at(int(value)) if value.is_integer() else None
        case str():
            said = _NUMBER_ALONE.fullmatch(value)
            return shown.at(int(said[1])) if said else _at_start(value, shown, bare=False)
        case dict():
            told = {str(name).lower(): each for name, each in cast("dict[object, object]", value).items()}
            named = (_of_entry(told[name], shown) for name in _KEYS if name in told)
            found = next((place for place in named if place is not None), None)
            rest = (_of_entry(each, shown) for each in told.values() if isinstance(each, str))
            return found if found is not None else next((place for place in rest if place is not None), None)
        case _:
            return None


def _at_start(text: str, shown: _Shown, *, bare: bool) -> int | None:
    """Return the item that a line is about: its number if the line begins with one, else its name."""
    found = _AT_START.match(text)
    if found and (bare or not found["bare"]):
        place = shown.at(int(next(each for each in found.groups() if each)))
        if place is not None:
            return place
    return shown.named(text)


def _by_row(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read lines that hold nothing but numbers, such as `4, 1, 7` or `Best three: 4 > 1 > 7`."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        cue, colon, row = MARKUP.sub("", line).rpartition(":")
        numbers = re.findall(r"\d+", row)
        if numbers and not _BETWEEN.sub("", row) and (not colon or _CUE.search(cue)):
            rows.append(numbers)
        elif rows:
            break
    yield from (shown.at(int(number)) for row in rows for number in row)


def _by_lines(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read a list whose entries name the items, whatever their own numbers are."""
    found = marks(text.splitlines())
    outer = min((mark.indent for mark in found), default=0)
    for mark in found:
        if mark.indent <= outer + 1:
            if mark.family == "word":  # `Idea 4: cheap` has the item's number in its own, unless a name follows at once
                named = shown.named(mark.text, within=0)
                yield shown.at(mark.number) if named is None else named
            else:
                yield _at_start(mark.text, shown, bare=True)


def _by_reference(text: str, shown: _Shown) -> Iterator[int | None]:
    for found in _REFERENCE.finditer(text):
        yield from (shown.at(int(number)) for number in re.findall(r"\d+", found[1]))


def _by_name(text: str, shown: _Shown) -> Iterator[int | None]:
    mentions = sorted(shown.mentions(text), key=lambda each: (each[2], -len(each[0])))
    yield from (place for _, place, _ in mentions)


def _by_marks(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read the numbers of a list as those of the items, where they are not 1, 2, 3: `4. cheap`, then `1. useful`."""
    numbers = [mark.number for mark in marks(text.splitlines()) if mark.family == "number"]
    if any(after != before + 1 for before, after in pairwise(numbers)) or numbers[:1] not in ([1], []):
        yield from map(shown.at, numbers)


def _by_number(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read whatever numbers a short text has."""
    if len(text) <= _SHORT:
        yield from (shown.at(int(number)) for number in re.findall(r"(?<![\w.])\d{1,3}(?![\w%]|\.\d)", text))
