"""The JSON in a model's answer: alone, in a fence, or in the middle of prose; with the slips that models make."""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FENCED: Final = re.compile(r"```[ \t]*(?:json[c5]?|python)?[ \t]*\n(?P<inside>.*?)```", re.DOTALL | re.IGNORECASE)
_OPENS: Final = re.compile(r"[\[{]")
_TRAILING: Final = re.compile(r",(\s*[\]}])")
_PAIRS: Final = {"[": "]", "{": "}"}
_TRIES: Final = 20
_LONG: Final = 50_000  # characters from one bracket to the other
_NO_PYTHON: Final = re.compile(r"\\|\d[^\W\d]")
"""What Python's parser would warn of, and what no list of texts needs."""

_MISSING: Final = object()


def find_json(text: str) -> list[object]:
    """Return the JSON arrays and objects of an answer, in order; none inside another. It never raises."""
    whole = read_json(text)
    if whole is not _MISSING and isinstance(whole, (list, dict)):
        return [whole]
    fenced = [read_json(found["inside"]) for found in _FENCED.finditer(text)]
    return [value for value in fenced if isinstance(value, (list, dict))] or list(_embedded(text))


def read_json(text: str) -> object:
    """Return the value that a text is, trailing commas and Python's quotes forgiven; a sentinel where it is none."""
    text = text.strip()
    for attempt in (text, _TRAILING.sub(r"\1", text)):
        try:
            return json.loads(attempt)
        except (ValueError, RecursionError):
            continue
    if text[:1] not in _PAIRS or len(text) > _LONG or _NO_PYTHON.search(text):
        return _MISSING
    try:
        value: object = ast.literal_eval(text)
        return json.loads(json.dumps(value))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return _MISSING


def _embedded(text: str) -> Iterator[object]:
    """Find arrays and objects between words."""
    place = 0
    for _ in range(_TRIES):
        opening = _OPENS.search(text, place)
        if opening is None:
            return
        end = _closing(text, opening.start())
        value = read_json(text[opening.start() : end]) if end else _MISSING
        if end and isinstance(value, (list, dict)):
            yield value
        place = end if end and value is not _MISSING else opening.end()


def _closing(text: str, start: int) -> int:
    """Return where the bracket at `start` is closed, the closing one included; 0 where it is not."""
    stack: list[str] = []
    quoted = escaped = False
    for place in range(start, min(len(text), start + _LONG)):
        sign = text[place]
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = sign == "\\", sign != '"'
        elif sign == '"':
            quoted = True
        elif sign in _PAIRS:
            stack.append(_PAIRS[sign])
        elif stack and sign == stack[-1]:
            stack.pop()
            if not stack:
                return place + 1
    return 0
