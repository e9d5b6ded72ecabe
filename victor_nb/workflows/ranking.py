"""Rankings out of a model's answer: which of the numbered items it chose, in what order.

A ranking is asked for as JSON, of the numbers that the items carry. Free text is read where it names its order: a row
of numbers, a list or a table of items, scores, a verdict. What only talks about the items is no ranking.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from victor_nb.calls.structured import breaks_off, find_json, find_rows, spoken, thinks, under_key, without_tags
from victor_nb.workflows.lists import FREE, MARKUP, WORDS, marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

RANKING: Final = "ranking"
"""The key under which a ranking is asked for."""
UNREAD: Final = "the ranking could not be read: the first {} of the items are kept"

_CUE: Final = re.compile(
    r"\b(?:answer|best|chosen?|choices?|final|ideas?|items?|keep|numbers?|order|picks?|priority|rank(?:ed|ing)?|results?|"
    r"selected|selection|top|winners?)\b(?!.*\b(?:points?|rating|scored?|scores)\b)|排名",
    re.IGNORECASE,
)
_BETWEEN: Final = re.compile(r"[\s,;>/|&→()\[\].#]+|\band\b|\bthen\b|(?<!\d)\d{1,3}(?!\d|\.\d)")
_REFERENCE: Final = re.compile(
    rf"(?:\b{WORDS}s?\s*\#?\s*|\#|[(\[](?=\d{{1,3}}[)\]]))"
    r"(\d{1,3}(?:(?:\s*(?:,|and|&|>|then|or)+\s*\#?)+\d{1,3})*)(?![\d%]|\.\d)(?:\s*(?:of|/)\s*\d{1,3}\b)?",
    re.IGNORECASE,
)
_SCORED: Final = re.compile(
    r"\#(\d+)\b[^#\n]*?(?:(?:points|rated|rating|score)\W{1,3}(?P<after>\d+(?:\.\d+)?)|"
    r"(?P<before>\d+(?:\.\d+)?)\s*(?:/|out\s+of|points)\s*\d*)",
    re.IGNORECASE,
)
_LEADING: Final = re.compile(r"^\W*(\d{1,3})(?=\s*[-–—:.)])")
# What follows works on text without quotes, where names of items and words such as `idea 4` are `#4`.
_SOME: Final = r"#?\d{1,3}\b(?:(?:\s*,|\s+and|\s+n?or)?\s+#?\d{1,3}\b)*"
_REJECTED: Final = re.compile(
    r"\b(not|cant|dont|wont|never|neither|none\s+of|nor|avoid|drop|exclude|except|instead\s+of|over|rather\s+than|reject(?:ed)?|"
    rf"skip|than|unlike|without)\s+(?:[a-z]+\s+){{0,2}}?{_SOME}|{_SOME}\s+(?:is|are|was)(?:nt|\s+not)\b[^.;,\n]*|{_SOME}\s*\?",
    re.IGNORECASE,
)
_PREFERS: Final = re.compile(
    r"\b(?:best|better\s+than|choice|choos\w+|chose\w*|favou?rite|final\w*|first|followed|go(?:ing)?\s+with|keep|next|"
    r"pick(?:s|ed)?|prefer\w*|rank\w*|recommend\w*|second|select\w*|strongest|then|third|top|vote|winner|wins|"
    r"(?:would|id|ill)\s+take)\b",
    re.IGNORECASE,
)
_VERDICT: Final = re.compile(
    r"#?\d{1,3}\s+(?:is|was|seems|looks|would\s+be)\s+(?:[a-z]+\s+){0,3}?(?:best|favou?rite|strongest|winner)\b|#?\d{1,3}\s+wins\b|"
    r"\b(?:best|choice|favou?rite|winner)\s+(?:[a-z]+\s+){0,3}?(?:is|would\s+be)\s",
    re.IGNORECASE,
)
_LESS: Final = re.compile(r"\b(?:worse|weaker|poorer|inferior|los(?:es|t)|behind)\b", re.IGNORECASE)
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+|\n+|,?\s+(?:but|while|whereas|although|though)\s+", re.IGNORECASE)
_BARE: Final = re.compile(
    r"(?<![\w.#$€£])(\d{1,3})(?=\s*(?:[,;:)>!?]|\.(?!\d)|$)|"
    r"\s+(?:and|as|because|first|is|last|or|second|since|then|third|wins)\b)"
)
_AT_START: Final = re.compile(
    r"\W*(?:(?:but|just|only)\s+)?(?<!\w)(\d{1,3})(?:\W*$|\s*(?:[-–—:,.]\s|\()|\s+(?:as|because|instead|not|over|rather|since)\b)"
)
_QUOTES: Final = re.compile(r"[*_`~\"'\u2018\u2019\u201c\u201d]+")
_SIGNS: Final = str.maketrans({"\uff1a": ":", "\uff0c": ",", "\u3001": ",", "号": " "})
_NAME: Final = range(3, 80)  # characters: a shorter name may be any word, and no answer repeats a longer one
_PLACES: Final = ("rank", "place", "position", "order", "priority")
_POINTS: Final = ("score", "points", "rating", "total", "votes")
_RATED: Final = re.compile(r"(?!.*(?:best|order|rank|top)).*(?:points|rating|scor|votes)", re.IGNORECASE)
_KEYS: Final = ("id", "index", "number", "no", "item", "idea", "option", "choice", "candidate", "name", "title", "text")


class Ranking(NamedTuple):
    """Positions of the chosen items from 0, best first; `notes` name what could not be read."""

    order: tuple[int, ...]
    notes: tuple[str, ...] = ()


def shown_order(items: Sequence[str], sample: int) -> tuple[int, ...]:
    """Return the order in which a sample (from 0) sees items: the same for the same items, turned by one a sample."""
    order = random.Random(f"victor_nb {items}").sample(range(len(items)), len(items))  # noqa: S311 - no secret
    turn = sample % max(len(items), 1)
    return (*order[turn:], *order[:turn])


def rank(text: str, items: Sequence[str], numbers: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the positions (from 0) of the items that an answer names, best first; none where it names none.

    Args:
        text: The answer. It refers to items by their numbers, or by their names.
        items: What it was shown, in that order.
        numbers: The numbers that they carry; else from 1.
    """
    return _read(text, items, numbers)[0]


def _read(text: str, items: Sequence[str], numbers: Sequence[int]) -> tuple[tuple[int, ...], bool]:
    """Return the order that an answer names, and whether it is free text."""
    said = without_tags(spoken(text))
    shown = _Shown(items, numbers or range(1, len(items) + 1))
    asked = under_key(said, RANKING)
    values = [asked] if asked else find_json(said, "closed")
    if values and (len(values) == 1 or not _is_single(values[-1])):  # `[4] cheap`, `[1] useful` is another kind of list
        found = next(filter(None, (_of_value(value, shown) for value in reversed(values))), ())
        if found or any(isinstance(value, dict) for value in values):
            return found, False
    if thinks(said) or breaks_off(said):
        return (), True
    if rows := find_rows(said):
        return _of_value(rows, shown), True
    read = (_known(way(said, shown)) for way in (_by_scores, _by_row, _by_entries, _by_verdict))
    return next(filter(None, read), ()), True


def _known(places: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(place for place in places if place is not None))


def choose(texts: Mapping[int, str], items: Sequence[str], keep: int, numbers: Sequence[int] = ()) -> Ranking:
    """Return the items that ranking answers choose, at most `keep` of them; the first ones if none can be read.

    Args:
        texts: The answers by sample; each saw the items in its `shown_order`.
        items: The items in their own order.
        keep: How many go on.
        numbers: The numbers that they carry; else from 1.
    """
    read: list[tuple[int, ...]] = []
    free = 0
    for sample, text in texts.items():
        order = shown_order(items, sample)
        carried = [(numbers or range(1, len(items) + 1))[place] for place in order]
        found, is_free = _read(text, [items[place] for place in order], carried)
        if found:
            read.append(tuple(order[place] for place in found))
            free += is_free
    if not read:
        kept = min(keep, len(items))
        return Ranking(tuple(range(kept)), (UNREAD.format(kept),))
    notes = [FREE if free == len(texts) else f"{free} of {len(texts)} {FREE}"] if free else []
    if len(read) < len(texts):
        notes.append(f"{len(texts) - len(read)} of {len(texts)} rankings could not be read")
    order = read[0] if len(read) == 1 else agree(read, len(items))
    if len(order) < min(keep, len(items)):
        notes.append(f"{len(order)} named where {keep} were asked for")
    return Ranking(order[:keep], tuple(notes))


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


class _Shown:
    """The items, with the numbers and the names by which an answer may call them."""

    def __init__(self, items: Sequence[str], numbers: Sequence[int]) -> None:
        self.places = {number: place for place, number in enumerate(numbers)}
        said = [(name, number) for item, number in zip(items, numbers, strict=True) for name in _names(item)]
        times = Counter(name for name, _ in said)  # a name that two items share names neither
        self._names = {name: number for name, number in said if times[name] == 1}
        words = "|".join(name.replace(" ", r"\W+") for name in sorted(self._names, key=len, reverse=True))
        self.named = re.compile(rf"(?<!\w)(?:{words or '(?!)'})(?!\w)", re.IGNORECASE)

    def at(self, number: str | int) -> int | None:
        """Return the position of the item that carries a number."""
        return self.places.get(int(number))

    def are_scores(self, numbers: Sequence[int]) -> bool:
        """Return whether numbers score the items in turn: as many as there are, and not all carried by one."""
        counted = [number + 1 for number in numbers] if 0 in numbers else numbers
        return len(numbers) == len(self.places) and not self.places.keys() >= {*counted}

    def refer(self, text: str) -> str:
        """Return a text without quotes, in which names of items and words such as `idea 4` are `#4`."""
        text = self.named.sub(self._number, _QUOTES.sub("", text.translate(_SIGNS)))
        return _REFERENCE.sub(lambda found: " ".join(f"#{number}" for number in re.findall(r"\d+", found[1])), text)

    def _number(self, found: re.Match[str]) -> str:
        return f"#{self._names[_flat(found[0])]}"

    def about(self, text: str, *, at_start: bool = False) -> int | None:
        """Return the item that an entry of a list is about: its number if it begins with one, else the first named."""
        entry = _REJECTED.sub(r"\1 ", self.refer(text))
        found = _AT_START.match(entry) or (re.match if at_start else re.search)(r"\W*#(\d+)", entry)
        return self.at(found[1]) if found else None


def _names(item: str) -> set[str]:
    """Return the names of an item: all of it, its first line, and what stands before a colon or a dash in that."""
    first = next((line for line in item.splitlines() if line.strip(" #*_-")), "")
    head = re.split(r":|\s[-–—]\s|\.\s", first.strip("#*_ "), maxsplit=1)[0]
    names = {_flat(text) for text in (item, first, head)}
    return {name for name in names if len(name) in _NAME and not name.isdecimal()}


def _flat(text: str) -> str:
    return " ".join(re.findall(r"\w+", re.sub(r"^\W*(?:the|an?)\s+", "", _QUOTES.sub("", text).casefold())))


# --- ways of saying a ranking, the surest first ---


def _is_single(value: object) -> bool:
    return isinstance(value, list) and len(cast("list[object]", value)) == 1


def _of_value(value: object, shown: _Shown) -> tuple[int, ...]:
    listed = _listed(value, shown)
    numbers = [each for each in listed if type(each) is int]
    if len(set(numbers)) < len(numbers) or shown.are_scores(numbers):
        return ()  # scores, in the order in which the items were shown
    return _known(_of_entry(each + 1 if 0 in numbers and type(each) is int else each, shown) for each in listed)


def _listed(value: object, shown: _Shown) -> list[object]:
    """Return the entries of a JSON value in their order: of objects that hold a rank or a score, by that.

    Of an object, the part with entries, or what it holds; none where it maps items to numbers, or nothing is clear.
    """
    if isinstance(value, dict):
        mapping = cast("dict[str, object]", value)
        inner = [name for name, each in mapping.items() if isinstance(each, (list, dict))]
        if len(inner) == 1 and _RATED.match(inner[0]) and _are_numbers(mapping[inner[0]]):
            return []  # `{"scores": [3, 9, 5]}`, in the order in which the items were shown
        chosen = [name for name in inner if len(inner) == 1 or _CUE.search(name.replace("_", " "))]
        if inner:
            return _listed(mapping[chosen[0]], shown) if len(chosen) == 1 else []
        if any(isinstance(each, (int, float)) and shown.about(name) is not None for name, each in mapping.items()):
            return []
        return [part for each in mapping.values() for part in (_row(each) if isinstance(each, str) else ()) or (each,)]
    listed = cast("list[object]", value) if isinstance(value, list) else []
    for names, sign in ((_PLACES, 1), (_POINTS, -1)):
        said = [_number_of(each, names) for each in listed]
        if None not in said:
            order = sorted(range(len(listed)), key=lambda place: sign * cast("float", said[place]))
            return [listed[place] for place in order]
    rated = any(_number_of(each, set(_by_name(each)) - {*_KEYS}) is not None for each in listed)
    return [] if rated else listed


def _are_numbers(value: object) -> bool:
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return bool(listed) and all(isinstance(each, (int, float)) for each in listed)


def _row(text: str) -> list[str]:
    """Return the numbers of a text that holds nothing else, such as `4, 1, 7`."""
    return [] if _BETWEEN.sub("", text) else re.findall(r"\d+", text)


def _by_name(value: object) -> dict[str, object]:
    mapping = cast("dict[object, object]", value) if isinstance(value, dict) else {}
    return {str(name).lower(): each for name, each in mapping.items()}


def _number_of(value: object, names: Iterable[str]) -> float | None:
    mapping = _by_name(value)
    found = next((str(mapping[name]) for name in names if name in mapping), "")
    number = re.match(r"\W*(-?\d{1,9}(?:\.\d{1,9})?)(?!\w)", found)
    return float(number[1]) if number else None


def _of_entry(value: object, shown: _Shown) -> int | None:
    if isinstance(value, str):
        return shown.about(value)
    if isinstance(value, (int, float)):
        return shown.at(int(value)) if value == value // 1 and not isinstance(value, bool) else None
    mapping = _by_name(value)
    texts = [each for each in mapping.values() if isinstance(each, str)]
    found = (_of_entry(each, shown) for each in (*(mapping[name] for name in _KEYS if name in mapping), *texts))
    return next((place for place in found if place is not None), None)


def _by_scores(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read items with scores, such as `Idea 4: 9/10` or `4: 9/10`, in whatever order they stand."""
    lines = [shown.refer(line) for line in text.splitlines()]
    numbered = "\n".join(line if "#" in line else _LEADING.sub(r"#\1", line) for line in lines)
    scores = {found[1]: float(found["after"] or found["before"]) for found in _SCORED.finditer(numbered)}
    yield from map(shown.at, sorted(scores, key=lambda number: -scores[number]))


def _by_row(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read lines of numbers or names alone, such as `4, 1, 7` or `Best three: 4 > 1 > 7`; the last such ranking."""
    rows: list[list[str]] = []
    ended = False
    for line in text.splitlines():
        numbered = shown.refer(line)
        cue, colon, row = MARKUP.sub("", numbered).rpartition(":")
        numbers = _row(row)
        heading = len(re.findall(r"#\d", numbered)) == len(shown.named.findall(line)) == 1
        if not numbers or heading or (colon and not _CUE.search(cue)):
            ended = bool(rows)
        elif colon or not ended:
            rows, ended = [*([] if colon and len(numbers) > 1 else rows), numbers], False
    if all(len(row) > 1 and row[0] == str(place) for place, row in enumerate(rows, 1)) and len(rows) > 1:
        rows = [row[1:] for row in rows]  # `1. 4`, `2. 1`, `3. 7`
    listed = [number for row in rows for number in row]
    if len(set(listed)) == len(listed) and not shown.are_scores([int(number) for number in listed]):
        turned = re.search(r"worst\W+(?:to|first)\b", text, re.IGNORECASE)
        yield from map(shown.at, reversed(listed) if turned else listed)


def _by_entries(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read a list whose entries name the items, whatever their own numbers are; else these, unless they only count."""
    found = marks(text.splitlines())
    outer = min((mark.indent for mark in found), default=0)
    entries = [mark for mark in found if mark.indent <= outer + 1]
    entries = [mark for mark in entries if mark.family in {"number", "word"}] or entries
    about = [shown.about(mark.text, at_start=mark.family == "word") for mark in entries]
    own = [shown.at(mark.number) for mark in entries]
    counts = sorted(mark.number for mark in entries) == list(range(1, len(entries) + 1))
    if all(place is None for place in about):
        yield from () if counts else own
        return
    named = [
        number if mark.family == "word" and place is None else place
        for mark, number, place in zip(entries, own, about, strict=True)
    ]
    if counts and named != own:  # `3. Idea 2`, `2. Idea 1`, `1. Idea 4`
        named = [place for _, place in sorted(zip(entries, named, strict=True), key=lambda each: each[0].number)]
    looked_at = named[2:] and named == list(range(len(shown.places)))  # each as it was shown: that is no order
    yield from () if looked_at and not counts else named


def _by_verdict(text: str, shown: _Shown) -> Iterator[int | None]:
    """Read the sentences that prefer an item, or the one number that is all of the answer."""
    if re.search(r"\b(?:second|third)\b.*\bfirst\b", text, re.IGNORECASE | re.DOTALL):
        return
    pieces = _SENTENCE.split(_REJECTED.sub(r"\1 ", shown.refer(text)))
    sentences = [each for each in pieces if _PREFERS.search(each) and not _LESS.search(each)]
    for sentence in sentences:
        verdict = _VERDICT.search(sentence)
        said = sentence[verdict.start() :] if verdict else sentence
        yield from map(shown.at, re.findall(r"#(\d+)", said) or _BARE.findall(said))
    alone = {found[1] for each in pieces if (found := _AT_START.match(each))}
    if not sentences and len(alone) == 1:
        yield shown.at(alone.pop())
