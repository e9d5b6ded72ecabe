"""Values that satisfy a JSON schema, in the dialects that the providers take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from victor_nb.wire.dialects.base import inside, strings, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from victor_nb.wire.dialects.base import Json, JsonObject
    from victor_nb.wire.pace import Chance

_DEEP: Final = 6  # levels from which only what is required is made, and null where it may be
_TOO_DEEP: Final = 12  # levels at which a schema that requires itself is given up
_MOST: Final = 100  # items
_EDGES: Final = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_FORMATS: Final = {
    "date": "2026-11-22", "date-time": "2026-11-22T12:30:00Z", "time": "12:30:00Z", "duration": "PT90M",
    "email": "ada@example.com", "hostname": "example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
    "uri": "https://example.com/1", "uuid": "6f1d2c3b-0000-4000-8000-000000000001",
}  # fmt: skip
_FITTING: Final = (  # texts that may fit a `pattern`
    "A1 a A 1 12 123 1234 12345 AB ABC abc abc-123 ABC-123 AB-12 A-1 12:30 #1a2b3c 1.0 1.0.0 v1.0.0 en en-US "
    "+15550100 ada_marlow AdaMarlow USD yes true 0x1a2b 1a2b3c4d"
).split()


def fulfil(schema: JsonObject, *, chance: Chance, count: int | None = None) -> Json:
    """Return a value that satisfies a schema.

    Args:
        schema: The schema, to which its references refer.
        chance: Where choices and texts come from.
        count: How many items a list holds that may hold any number; None for three.
    """
    return _Schema(schema, chance, 3 if count is None else count).value(schema)


@dataclass(frozen=True)
class _Schema:
    root: JsonObject
    chance: Chance
    count: int

    def value(self, schema: Json, *path: str | int) -> Json:
        """Return a value for a part of the schema; `path` is the names and numbers that lead to it."""
        given = self._resolved(schema if isinstance(schema, dict) else {}, deep=len(path) > _DEEP)
        kinds = [kind.lower() for kind in strings(given.get("type"))]  # Google writes them in capitals
        if len(path) > (_DEEP if "null" in kinds or given.get("nullable") is True else _TOO_DEEP):
            return None
        if "object" in kinds or (not kinds and given.keys() & {"properties", "required", "additionalProperties"}):
            return self._object(given, path)
        if "array" in kinds or (not kinds and given.keys() & {"items", "prefixItems", "minItems"}):
            return self._array(given, path)
        return next(filter(_check(given | ({"type": kinds} if kinds else {})), self._leaves(given, path)), None)

    def _resolved(self, schema: JsonObject, *, deep: bool, left: int = 9) -> JsonObject:
        """Return a schema without references, `allOf` and alternatives: the first that is not null, null deep down."""
        whole_of = {key: value for key, value in schema.items() if key not in {"$ref", "allOf", "anyOf", "oneOf"}}
        either = sorted(_objects(schema.get("anyOf") or schema.get("oneOf")), key=lambda part: _is_null(part) != deep)
        keys = [key.replace("~1", "/").replace("~0", "~") for key in str(schema.get("$ref", "")).split("/")[1:]]
        found = [inside(self.root, *keys)] if "$ref" in schema else []
        for part in [*_objects(found), *_objects(schema.get("allOf")), *either[:1]] if left else []:
            plain = self._resolved(part, deep=deep, left=left - 1)
            required = [*strings(whole_of.get("required")), *strings(plain.get("required"))]
            both = {"properties": _fields(whole_of) | _fields(plain), "required": required}
            whole_of = whole_of | plain | {key: value for key, value in both.items() if value}
        return whole_of

    def _object(self, schema: JsonObject, path: tuple[str | int, ...]) -> JsonObject:
        fields, extra, required = _fields(schema), schema.get("additionalProperties"), strings(schema.get("required"))
        kept = [key for key in fields if len(path) <= _DEEP or key in required]
        free = [] if fields or required or extra is False else ["title", "summary"]
        return {key: self.value(fields.get(key, extra), *path, key) for key in dict.fromkeys((*kept, *required, *free))}

    def _array(self, schema: JsonObject, path: tuple[str | int, ...]) -> list[Json]:
        low, high = whole(schema.get("minItems")) or 0, whole(schema.get("maxItems"))
        items, rest, options = (
            _objects(schema.get("prefixItems")),
            schema.get("items", {}),
            inside(schema, "items", "enum"),
        )
        wanted = max(low, len(items), 0 if len(path) > _DEEP else min(self.count, _MOST if high is None else high))
        if isinstance(options, list) and schema.get("uniqueItems") is True:
            return self.chance.shuffled(options, *path)[:wanted]
        wanted = len(items) if rest is False else wanted
        return [self.value(items[place] if place < len(items) else rest, *path, place) for place in range(wanted)]

    def _leaves(self, schema: JsonObject, path: tuple[str | int, ...]) -> Iterator[Json]:
        """Yield values that a schema without parts may be satisfied by, likely ones first."""
        place = next((key for key in reversed(path) if isinstance(key, int)), 0) + 1
        options, form = schema.get("enum"), str(schema.get("format"))
        yield from self.chance.shuffled(options if isinstance(options, list) else [], *path)
        yield from [schema["const"]] if "const" in schema else []
        yield from [_FORMATS[form]] if form in _FORMATS else []
        text, longest = f"Placeholder {place} {self.chance.words(*path, least=2)}", whole(schema.get("maxLength"))
        yield from (text.ljust(whole(schema.get("minLength")) or 0, ".")[:longest], *_FITTING)
        yield from self.chance.shuffled([True, False], *path)
        yield from (place / (place + 1), place)  # a share, and a count
        edges = [edge for key in _EDGES if isinstance(edge := schema.get(key), int | float)]
        for edge in edges:
            yield from (edge, ceil(edge), floor(edge) + 1, ceil(edge) - 1)
        yield from (edge + sign * 0.01 for edge in edges for sign in (1, -1))
        step = schema.get("multipleOf")
        if isinstance(step, int | float) and step > 0:
            yield from (((edges or [0])[0] // step + place) * step for place in range(-_MOST, _MOST))


def _check(schema: JsonObject) -> Callable[[Json], bool]:
    """Return a check of values against a schema; a schema that cannot be read accepts every value."""
    from jsonschema import Draft202012Validator, exceptions  # noqa: PLC0415 - slow to import

    validator = Draft202012Validator(schema)

    def check(value: Json) -> bool:
        try:
            return validator.is_valid(value)  # pyright: ignore[reportUnknownMemberType]
        except (re.error, TypeError, exceptions.UnknownType):
            return True

    return check


def _fields(schema: JsonObject) -> JsonObject:
    fields = schema.get("properties")
    return fields if isinstance(fields, dict) else {}


def _objects(values: Json) -> list[JsonObject]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _is_null(schema: JsonObject) -> bool:
    return schema.get("type") == "null"
