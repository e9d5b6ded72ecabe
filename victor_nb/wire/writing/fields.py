"""What stands in a field, by the field's name: a title in `title`, a probability in `confidence`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.pace import HEX
from victor_nb.wire.writing.labels import feeling, label, options
from victor_nb.wire.writing.lists import list_lines
from victor_nb.wire.writing.prose import first_sentence
from victor_nb.wire.writing.subjects import capitalised, keywords

if TYPE_CHECKING:
    from victor_nb.wire.writing.brief import Brief

_SHARE: Final = re.compile(r"confidence|probability|likelihood|certainty|share|ratio|weight|relevance", re.IGNORECASE)
_COUNT: Final = re.compile(
    r"(?:^|_)(?:age|amount|count|effort|hours|days|minutes|id|impact|index|number|num|priority|quantity|rank|rating|score|"
    r"stars|total|votes|year|price|cost)$",
    re.IGNORECASE,
)
_SPANS: Final = {"year": (2015, 2026), "age": (21, 68), "price": (5, 90), "cost": (5, 90), "total": (10, 400)}
_TOPIC: Final = re.compile(r"product|topic|subject|entity|keyword|theme|object|brand|company|skill", re.IGNORECASE)
_PERSON: Final = re.compile(
    r"\b(?:authors?|characters?|customers?|employees?|person|people|persons|users?)\b", re.IGNORECASE
)
_LABEL: Final = re.compile(r"label|category|class|sentiment|kind|type|tag|verdict|mood", re.IGNORECASE)
_SENTENCE: Final = re.compile(
    r"summary|description|reason|why|explanation|rationale|text|answer|content|body|comment|note|detail|analysis|fix",
    re.IGNORECASE,
)
_PEOPLE: Final = ("Ada Marlow", "Ben Okafor", "Clara Lind", "Dmitri Sol", "Elif Aydin", "Femi Cole", "Greta Haas")
_PLACES: Final = ("Lisbon", "Vienna", "Kyoto", "Oslo", "Montreal", "Bologna", "Seville")
_COUNTRIES: Final = ("Portugal", "Austria", "Japan", "Norway", "Canada", "Italy", "Spain")
_LEVELS: Final = ("low", "medium", "high")


def number_for(key: str, brief: Brief, place: int) -> int | float | None:
    """Return a number where a field of this name holds one, else None."""
    if _SHARE.search(key):
        return round(brief.chance.between(0.6, 0.98, key, place), 2)
    if not _COUNT.search(key):
        return None
    if re.search(r"(?:^|_)(?:id|index|rank|number|num|priority)$", key, re.IGNORECASE):
        return place + 1
    if re.search(r"(?:stars|rating)$", key, re.IGNORECASE):
        return {"good": 5, "mixed": 3, "bad": 1}[feeling(brief.material or brief.prompt)]
    low, high = next((span for name, span in _SPANS.items() if key.lower().endswith(name)), (5, 9))
    return int(brief.chance.between(low, high + 0.99, key, place))


def text_for(key: str, brief: Brief, place: int, offset: int = 0) -> str:
    """Return a text that may stand in a field of this name."""
    fixed = _fixed(key, brief, place + offset)
    if fixed is not None:
        return fixed
    if _LABEL.search(key):
        return label(brief, brief.material or brief.prompt, options(f"{brief.task}\n{brief.system}"))
    words = keywords(brief.material) or brief.keywords
    if _TOPIC.search(key) and words:
        return words[(place + offset) % len(words)]
    line = list_lines(brief, place + offset + 1)[-1]
    heading, _, rest = line.partition(":")
    if _SENTENCE.search(key):
        return capitalised(f"{rest.strip().rstrip('.')}.") if rest and place + offset else first_sentence(brief)
    return heading


def _fixed(key: str, brief: Brief, place: int) -> str | None:
    """Return what does not depend on the subject: people, places, dates, addresses."""
    named = key.lower()
    person = brief.chance.shuffled(_PEOPLE, "people")[place % len(_PEOPLE)]
    if named == "name" and _PERSON.search(brief.prompt):
        return person
    said = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)?", brief.material)
    if said and re.search(r"city|town|location|country|company|brand|person|author", named):
        return said[place % len(said)]
    values = {
        r"e-?mail": f"{person.split()[0].lower()}@example.com",
        r"(?:^|_)(?:author|person|owner|customer|user|assignee)(?:_?name)?$|(?:first|last|full)_?name": person,
        r"city|town|location|place": brief.chance.shuffled(_PLACES, "places")[place % len(_PLACES)],
        r"country": brief.chance.shuffled(_COUNTRIES, "countries")[place % len(_COUNTRIES)],
        r"url|link|website": f"https://example.com/{place + 1}",
        r"(?:^|_)date$|(?:^|_)day$|deadline": f"2026-11-{place % 28 + 1:02}",
        r"language|lang$": "English",
        r"severity|priority|effort|impact|level|risk$": brief.chance.pick(_LEVELS, key, place),
        r"phone": f"+1 555 01{place % 100:02}",
        r"currency": "USD",
        r"(?:^|_)uuid|(?:^|_)id$": brief.chance.letters(8, key, place, alphabet=HEX),
    }
    return next((value for pattern, value in values.items() if re.search(pattern, named)), None)
