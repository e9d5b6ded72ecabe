"""Makes values that satisfy a JSON schema, in the dialects that the providers take."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.dialects.base import strings, whole
from victor_nb.wire.pace import HEX
from victor_nb.wire.writing.fields import number_for, text_for
from victor_nb.wire.writing.labels import label
from victor_nb.wire.writing.lists import THINGS

if TYPE_CHECKING:
    from victor_nb.wire.dialects.base import Json, JsonObject
    from victor_nb.wire.writing.brief import Brief

Path = tuple[str | int, ...]

_DEEP: Final = 6  # levels from which only what is required is made
_TOO_DEEP: Final = 40  # levels at which a schema that requires itself is given up
_MOST_ITEMS: Final = 100
_DEFAULT_ITEMS: Final = 3
# Texts that may fit a `pattern`.
_FITTING: Final = (
    "A1", "a", "A", "1", "12", "123", "1234", "12345", "AB", "ABC", "abc", "abc-123", "ABC-123", "AB-12", "AB12", "A-1",
    "2026-11-22", "12:30", "12:30:00", "2026-11-22T12:30:00Z", "#1a2b3c", "1.0", "1.0.0", "v1.0.0", "12.50", "en", "EN",
    "en-US", "+15550100", "555-0100", "(555) 555-0100", "ada@example.com", "https://example.com", "example.com",
    "ada_marlow", "AdaMarlow", "ada marlow", "Ada Marlow", "USD", "USD 12.50", "yes", "true", "+", "0x1a2b", "1a2b3c4d",
)  # fmt: skip
_PLAIN: Final = ("string", "integer", "number", "boolean", "null")
# What a schema without a type is about, by its keys.
_SIGNS: Final = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}
_FORMATS: Final = {
    "date": "2026-11-22",
    "date-time": "2026-11-22T12:30:00Z",
    "time": "12:30:00Z",
    "duration": "PT90M",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/1",
    "uri-reference": "/1",
    "json-pointer": "/a",
    "regex": "^a+$",
}


class Schemas:
    """Fulfils a schema with values that fit the brief.

    Args:
        root: The whole schema, in which references are looked up.
        brief: The question, which gives the words.
    """

    def __init__(self, root: JsonObject, brief: Brief) -> None:
        self._root = root
        self._brief = brief

    def fulfil(self, schema: Json, path: Path) -> Json:
        """Return a value for a schema. `path` is where it stands: the names and numbers that lead to it."""
        if not isinstance(schema, dict):
            return self._text({}, path)
        schema = self._resolved(schema, deep=len(path) > _DEEP)
        kind = _kind(schema, deep=len(path) > _DEEP)
        if "const" in schema:
            return schema["const"]
        if choices := _list(schema, "enum"):
            return None if kind == "null" and None in choices else self._chosen(choices, path)
        if kind in _PLAIN or len(path) > _TOO_DEEP:
            return self._plain(schema, kind, path)
        return self._object(schema, path) if kind == "object" else self._array(schema, path)

    def _plain(self, schema: JsonObject, kind: str, path: Path) -> Json:
        if kind in ("integer", "number"):
            return self._number(schema, path, is_whole=kind == "integer")
        if kind == "boolean":
            return self._brief.chance.pick((True, False), *path)
        return self._text(schema, path) if kind == "string" else None

    def _resolved(self, schema: JsonObject, *, deep: bool) -> JsonObject:
        """Return a schema without references, `allOf` and alternatives: the first alternative that is not null."""
        for _ in range(_TOO_DEEP):
            reference, parts = schema.get("$ref"), _list(schema, "allOf")
            either = _objects(_list(schema, "anyOf") or _list(schema, "oneOf"))
            if isinstance(reference, str):
                schema = self._find(reference) | _without(schema, "$ref")
            elif parts:
                schema = _merged([_without(schema, "allOf"), *(self._resolved(p, deep=deep) for p in _objects(parts))])
            elif either:
                schema = _without(schema, "anyOf", "oneOf") | _alternative(either, deep=deep)
            else:
                break
        return schema

    def _find(self, reference: str) -> JsonObject:
        """Return what a reference such as `#/$defs/Step` points to."""
        found: Json = self._root
        for key in filter(None, reference.removeprefix("#").split("/")):
            found = found.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _chosen(self, choices: list[Json], path: Path) -> Json:
        words = tuple(choice for choice in choices if isinstance(choice, str) and choice)
        if len(words) < len(choices):
            return self._brief.chance.pick([choice for choice in choices if choice is not None] or choices, *path)
        return label(self._brief, self._brief.material or self._brief.prompt, words)

    def _object(self, schema: JsonObject, path: Path) -> JsonObject:
        fields, extra = _object(schema.get("properties")), schema.get("additionalProperties")
        required = [key for key in _list(schema, "required") if isinstance(key, str)]
        kept = [key for key in fields if len(path) <= _DEEP or key in required]
        missing = [key for key in required if key not in fields]
        if not fields and not required and extra is not False:
            missing = list(self._brief.keywords[:2]) if isinstance(extra, dict) else ["title", "summary"]
        return {key: self.fulfil(fields.get(key, extra), (*path, key)) for key in (*kept, *missing)}

    def _array(self, schema: JsonObject, path: Path) -> list[Json]:
        low, high = whole(schema.get("minItems")) or 0, whole(schema.get("maxItems"))
        first, items = _list(schema, "prefixItems"), schema.get("items", {})
        wanted = low if len(path) > _DEEP else (self._brief.count(THINGS) if not path[1:] else None) or _DEFAULT_ITEMS
        wanted = max(low, len(first), min(wanted, _MOST_ITEMS if high is None else high))
        if items is False:
            wanted = len(first)
        resolved = self._resolved(items, deep=len(path) > _DEEP) if isinstance(items, dict) else {}
        choices = _list(resolved, "enum") or ([True, False] if _kind(resolved, deep=False) == "boolean" else [])
        if choices and not first and (len(choices) >= wanted or schema.get("uniqueItems") is True):
            return self._brief.chance.shuffled(choices, *path)[:wanted]
        return [self.fulfil(first[place] if place < len(first) else items, (*path, place)) for place in range(wanted)]

    def _number(self, schema: JsonObject, path: Path, *, is_whole: bool) -> int | float:
        low, high = _bounds(schema, is_whole=is_whole)
        natural = number_for(_name(path), self._brief, _place(path))
        natural = _place(path) + 1 if natural is None else natural
        natural = round(natural) if is_whole else float(natural)
        value = natural if low <= natural <= high else _nearest(natural, low, high, is_whole=is_whole)
        step = schema.get("multipleOf")
        return _stepped(value, step, low, high) if isinstance(step, int | float) and step > 0 else value

    def _text(self, schema: JsonObject, path: Path) -> str:
        form, pattern = schema.get("format"), schema.get("pattern")
        low, high = whole(schema.get("minLength")) or 0, whole(schema.get("maxLength"))
        if form == "uuid":
            digits = self._brief.chance.letters(30, *path, alphabet=HEX)
            return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-{digits[18:]}"
        if isinstance(form, str) and form in _FORMATS:
            return _FORMATS[form]
        text = text_for(_name(path), self._brief, _place(path))
        if isinstance(pattern, str):
            text = next((fit for fit in (text, *_FITTING) if _fits(fit, pattern, low, high)), text)
        text = f"{text}{' and more' * (low // 4 + 1)}"[:low] if len(text) < low else text
        return text if high is None else text[: max(low, high)]


def _alternative(either: list[JsonObject], *, deep: bool) -> JsonObject:
    """Return the alternative to follow: deep down, null, so that a schema which holds itself comes to an end."""
    nulls = [part for part in either if part.get("type") == "null"]
    if nulls and deep:
        return nulls[0]
    return next((part for part in either if part not in nulls), either[0])


def _kind(schema: JsonObject, *, deep: bool) -> str:
    """Return the type of the values of a schema. Google writes them in capitals, and null as `nullable`."""
    kinds = [kind.lower() for kind in strings(schema.get("type"))]
    if "null" in kinds and (deep or len(kinds) == 1):
        return "null"
    if deep and schema.get("nullable") is True:
        return "null"
    named = next((kind for kind in kinds if kind != "null"), None)
    return named or next((kind for kind, keys in _SIGNS.items() if keys & schema.keys()), "string")


def _bounds(schema: JsonObject, *, is_whole: bool) -> tuple[float, float]:
    """Return the lowest and the highest value, those that are excluded moved inwards."""
    low, high = _figure(schema, "minimum", -math.inf), _figure(schema, "maximum", math.inf)
    above, below = _figure(schema, "exclusiveMinimum", -math.inf), _figure(schema, "exclusiveMaximum", math.inf)
    if is_whole:
        low, high = (math.ceil(low) if low > -math.inf else low), (math.floor(high) if high < math.inf else high)
        above, below = (
            (math.floor(above) if above > -math.inf else above),
            (math.ceil(below) if below < math.inf else below),
        )
        return max(low, above + 1), min(high, below - 1)
    room = min(high, below) - max(low, above)
    nudge = room / 1000 if math.isfinite(room) else 0.001
    return max(low, above + nudge), min(high, below - nudge)


def _nearest(natural: float, low: float, high: float, *, is_whole: bool) -> int | float:
    value = low if natural < low else high
    return round(value) if is_whole else float(value)


def _stepped(value: float, step: float, low: float, high: float) -> int | float:
    """Return a multiple of the step near a value: one that is exact in binary, as checkers divide."""
    first = math.ceil(low / step) if math.isfinite(low) else math.ceil(value / step)
    start = max(first, math.floor(value / step))
    for place in (*range(start, start + 100), *range(start, start - 100, -1)):
        found = place * step
        if low <= found <= high and (found / step).is_integer():
            return found
    return value


def _fits(text: str, pattern: str, low: int, high: int | None) -> bool:
    try:
        return bool(re.search(pattern, text)) and low <= len(text) <= (len(text) if high is None else high)
    except (re.error, RecursionError):
        return False


def _merged(parts: list[JsonObject]) -> JsonObject:
    """Return one schema for all: fields and requirements are put together, of the rest the last counts."""
    merged: JsonObject = {}
    for part in parts:
        fields = _object(merged.get("properties")) | _object(part.get("properties"))
        required = list(dict.fromkeys([*strings(merged.get("required", [])), *strings(part.get("required", []))]))
        merged = (
            merged | part | ({"properties": fields} if fields else {}) | ({"required": [*required]} if required else {})
        )
    return merged


def _name(path: Path) -> str:
    """Return the name of the field that a value stands in: `title` for the third of the titles, too."""
    return next((key for key in reversed(path) if isinstance(key, str)), "item")


def _place(path: Path) -> int:
    """Return the place in the list that a value stands in."""
    return next((key for key in reversed(path) if isinstance(key, int)), 0)


def _without(schema: JsonObject, *keys: str) -> JsonObject:
    return {key: value for key, value in schema.items() if key not in keys}


def _figure(schema: JsonObject, key: str, default: float) -> float:
    value = schema.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def _list(schema: JsonObject, key: str) -> list[Json]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _objects(values: list[Json]) -> list[JsonObject]:
    return [value for value in values if isinstance(value, dict)]
