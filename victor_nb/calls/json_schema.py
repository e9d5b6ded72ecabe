"""JSON schemas: what they refer to, and their form in the strictest subset that every provider takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from victor_nb.config.request_options import shown
from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def resolved(given: object, root: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with what it refers to; its own keywords win."""
    schema: dict[str, Any] = dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else {}
    seen: set[str] = set()
    while (reference := schema.pop("$ref", None)) is not None and reference not in seen:
        seen.add(reference)
        target = _target(reference, root)
        schema = {**(cast("Mapping[str, Any]", target) if isinstance(target, Mapping) else {}), **schema}
    return schema


def _target(reference: str, root: Mapping[str, Any]) -> object:
    """Return the part of a schema that a reference such as `#/$defs/Item` means; None where there is none."""
    if reference[:2] not in {"#", "#/"}:
        return _anchored(reference[1:], root)
    found: object = root
    for part in reference.removeprefix("#").split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            found = dict(enumerate(cast("list[object]", found))).get(int(key) if key.isdecimal() else -1)
        else:
            found = cast("Mapping[str, object]", found).get(key) if isinstance(found, Mapping) else None
    return found


def _anchored(name: str, part: object) -> object:
    """Return the part of a schema that has a name as its anchor; None where none has it."""
    if isinstance(part, Mapping):
        mapping = cast("Mapping[str, object]", part)
        if name in (mapping.get("$anchor"), mapping.get("$dynamicAnchor")):
            return mapping
        part = list(mapping.values())
    parts = cast("list[object]", part) if isinstance(part, list) else []
    return next((found for each in parts if (found := _anchored(name, each)) is not None), None)


def check_references(part: object, root: Mapping[str, Any]) -> None:
    """Raise if a schema refers to what it does not hold: nothing is fetched for it."""
    if isinstance(part, Mapping):
        mapping = cast("Mapping[str, object]", part)
        for reference in (mapping.get("$ref"), mapping.get("$dynamicRef")):
            if isinstance(reference, str) and (not reference.startswith("#") or _target(reference, root) is None):
                raise ConfigError(f"schema= refers to {shown(reference)}, which is not in it. Put it under $defs.")
        part = list(mapping.values())
    for each in cast("list[object]", part) if isinstance(part, list) else []:
        check_references(each, root)


def variants(
    schema: Mapping[str, Any], root: Mapping[str, Any], above: tuple[Mapping[str, Any], ...] = ()
) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and the alternatives that it is made of; `above` are the schemas that it is one of."""
    yield schema
    either = [*listed(schema.get("anyOf")), *listed(schema.get("oneOf")), *listed(schema.get("allOf"))]
    for part in either:
        inner = resolved(part, root)
        if inner != schema and inner not in above:
            yield from variants(inner, root, (*above, schema))


def listed(value: object) -> list[Any]:
    """Return a value that is a list; else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def fields_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of an object, each with its schema."""
    return cast("Mapping[str, Any]", schema.get("properties") or {})


_FORMATS: Final = ("date-time", "date", "time")
"""The formats of text that every provider takes."""
_UNSAID: Final = {"$schema", "$id", "$defs", "definitions", "title", "discriminator", "examples", "deprecated"}
"""What tells a model nothing that its answer needs."""
_STRUCTURE: Final = {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "description"}
_SCALARS: Final = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class _Inexpressible(Exception):  # noqa: N818 - no error of the user's
    """A schema has no form in the subset."""


def strict(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a schema in the strictest subset of what providers take; None where it has no such form."""
    try:
        return _Strict(schema).part(schema, ())
    except _Inexpressible:
        return None


class _Strict:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def part(self, given: object, above: tuple[str, ...]) -> dict[str, Any]:
        """Return the form of a part; `above` are the references that led to it."""
        if not isinstance(given, Mapping):
            self._refuse()
        schema = dict(cast("Mapping[str, Any]", given))
        while isinstance(reference := schema.pop("$ref", None), str):
            if reference in above:
                self._refuse()
            above = (*above, reference)
            schema = {**cast("Mapping[str, Any]", _target(reference, self._root) or {}), **schema}
        for merged in listed(schema.pop("allOf", None)):
            schema = self._merged(schema, resolved(merged, self._root))
        kinds = listed(schema.get("type"))
        either = listed(schema.get("anyOf")) or listed(schema.get("oneOf"))
        if kinds:
            either = [{**schema, "type": kind} for kind in kinds]
        if either and (kinds or not ({"type", "properties"} & schema.keys())):
            forms = [self.part(_without(each, "description"), above) for each in either]
            flat = [each for part in forms for each in part.get("anyOf", [part])]
            distinct = [each for place, each in enumerate(flat) if each not in flat[:place]]
            form = distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
            return self._described(form, _without(schema, "anyOf", "oneOf", *(schema if kinds else ())), schema)
        return self._described(self._plain(schema, above), _without(schema, *_STRUCTURE), schema)

    def _plain(self, schema: dict[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
        if "const" in schema or "enum" in schema:
            return self._enum([schema["const"]] if "const" in schema else schema["enum"])
        match schema.get("type", "object" if "properties" in schema else None):
            case "object":
                free = isinstance(schema.get("additionalProperties"), Mapping) or "patternProperties" in schema
                if free or not isinstance(schema.get("properties"), Mapping):
                    self._refuse()
                required = listed(schema.get("required"))
                fields = {
                    name: self.part(each, above) if name in required else _nullable(self.part(each, above))
                    for name, each in fields_of(schema).items()
                }
                return {
                    "type": "object",
                    "properties": fields,
                    "required": [*fields],
                    "additionalProperties": False,
                }
            case "array" if "items" in schema and "prefixItems" not in schema:
                return {"type": "array", "items": self.part(schema["items"], above)}
            case "string" | "integer" | "number" | "boolean" | "null" as kind:
                return {"type": kind}
            case _:
                return self._refuse()

    def _enum(self, values: object) -> dict[str, Any]:
        kinds: dict[str, list[object]] = {}
        for value in listed(values):
            if type(value) not in _SCALARS:
                self._refuse()
            kinds.setdefault(_SCALARS[type(value)], []).append(value)
        forms = [
            {"type": kind} if kind in {"null", "boolean"} else {"type": kind, "enum": each}
            for kind, each in kinds.items()
        ]
        return forms[0] if len(forms) == 1 else {"anyOf": forms} if forms else self._refuse()

    @staticmethod
    def _merged(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        fields, required = (
            {**fields_of(other), **fields_of(one)},
            [*listed(other.get("required")), *listed(one.get("required"))],
        )
        both = {"properties": fields} if fields else {}
        return {**other, **one, **both, **({"required": required} if required else {})}

    @staticmethod
    def _described(form: dict[str, Any], beside: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return a form with a description, in which also stands what the subset has no place for."""
        if form.get("type") == "string" and schema.get("format") in _FORMATS:
            form = {**form, "format": schema["format"]}
        left = {name: value for name, value in beside.items() if name not in _UNSAID | _STRUCTURE and name not in form}
        left = {name: value for name, value in left.items() if (name, value) != ("default", None)}
        if schema.get("const") in (True, False):
            left["const"] = schema["const"]
        words = " ".join(filter(None, [schema.get("description"), json.dumps(left) if left else ""]))
        return {**form, "description": words} if words else form

    @staticmethod
    def _refuse() -> NoReturn:
        raise _Inexpressible


def _nullable(part: dict[str, Any]) -> dict[str, Any]:
    either = cast("list[dict[str, Any]]", part.get("anyOf", [part]))
    if any(each.get("type") == "null" for each in either):
        return part
    if "anyOf" in part:
        return {**part, "anyOf": [*either, {"type": "null"}]}
    return {"anyOf": [part, {"type": "null"}]}


def _without(schema: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in names}
