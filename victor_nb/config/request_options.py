"""The table of request options: what a profile, a stage, a call and a cell may send beside the prompt.

An option is one field of `RequestOptions`, and the annotation of the field is its row: which values it takes, what it
is for, and an example. Profiles and stages inherit the fields; calls, the magic's grammar, help, completion, the panel
and the JSON schema read the rows. To add an option that is sent: its field, the same field in `values.ChatRequest`, for
type checkers its key in `RequestKeywords`, and a line in each provider that sends it; the others have it under
`refuses` in their Specs. One that is not sent is a field of `CallSettings` and a key of `calls.request.CallOptions`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict, cast, get_args, get_type_hints

from victor_nb.values import plain

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_LARGEST: Final = 1 << 53  # the last whole number that every JSON reader keeps exact
_WHOLE: Final = re.compile(r"-?\d{1,20}")
SO_LARGE: Final = "so large a number"
_LONGEST: Final = 40  # characters of a value that fit into a line beside what is wrong with it


@dataclass(frozen=True, eq=False)
class Kind:
    """The values that an option takes: one check in one wording, for YAML, Python and a magic line.

    Attributes:
        words: What it takes, such as "a number from 0 to 2".
        fits: Returns whether a value is one.
        schema: The same as a JSON schema.
        read: Turns what a magic line gives into a value, where that may be another; what cannot be one stays as it is.
        convert: Turns a fitting value into what is kept, where that may be another.
        choices: The words that it takes, where these are few.
    """

    words: str
    fits: Callable[[object], bool]
    schema: Mapping[str, object] = field(default_factory=dict[str, object])
    read: Callable[[object], object] | None = None
    convert: Callable[[Any], object] | None = None
    choices: tuple[str, ...] = ()

    def fault(self, value: object) -> str | None:
        """Return what is wrong with a value, as the end of a sentence that begins with the option; None if it fits."""
        return None if self.fits(value) else f"takes {self.words}, not {shown(value)}"

    def __get_pydantic_core_schema__(self, source: object, _: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema  # noqa: PLC0415 - calls need no pydantic

        def check(value: object) -> object:
            fault = self.fault(value)
            if fault is not None:
                raise PydanticCustomError("option", "{fault}", {"fault": fault})
            return value if self.convert is None else self.convert(value)

        schema = core_schema.no_info_plain_validator_function(check)
        return core_schema.nullable_schema(schema) if type(None) in get_args(source) else schema

    def __get_pydantic_json_schema__(self, core: CoreSchema, _: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [dict(self.schema), {"type": "null"}]} if core["type"] == "nullable" else dict(self.schema)


@dataclass(frozen=True, eq=False)
class Option:
    """One row of a table of options.

    Attributes:
        kind: The values that it takes.
        help: What it is for, briefly.
        example: A value, as it is written in a magic line.
        settable: Whether `%victor set` takes it as a default.
        label: What the panel's field for it is called; empty where the panel has none.
    """

    kind: Kind
    help: str
    example: str = ""
    settable: bool = False
    label: str = ""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return self.kind.__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"description": self.help, **self.kind.__get_pydantic_json_schema__(core, handler)}


def rows(table: type) -> dict[str, Option]:
    """Return the options that a class declares by its annotations, its own before those that it inherits."""
    hints = get_type_hints(table, include_extras=True)
    names = dict.fromkeys(name for each in table.__mro__ for name in inspect.get_annotations(each))
    found = ((name, getattr(hints[name], "__metadata__", (None,))[0]) for name in names)
    return {name: row for name, row in found if isinstance(row, Option)}


def shown(value: object) -> str:
    """Return a value in a few words; of an object only its type, since it may hold anything."""
    match value:
        case None:
            return "nothing"
        case int() | float() if _LARGEST < abs(value) < inf:
            return SO_LARGE  # beyond 4,300 digits it even has no repr()
        case _ if type(value).__name__ in {"NAType", "NaTType"}:
            return f"a missing value ({value})"
        case str() | int() | float() | Decimal():
            text = str(value) if isinstance(value, Decimal) else repr(value)
            return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        case list():
            return "a list"
        case Mapping():
            return "a mapping" if _is_mapping(cast("object", value)) else "a mapping with other keys"
        case _:
            return f"a value of type {type(value).__name__}"


def sentence(text: str) -> str:
    """Return a text with the full stop that it may lack."""
    return text if text.endswith((".", "?")) else f"{text}."


# --- kinds of values ---


def whole(least: int, most: int = _LARGEST) -> Kind:
    """Return the kind of whole numbers in a range."""

    def fits(value: object) -> bool:
        given = plain(value)
        return isinstance(given, int) and not isinstance(given, bool) and least <= given <= most

    if most == _LARGEST:
        return Kind(f"a whole number of {least} or more", fits, {"type": "integer", "minimum": least}, _read_number)
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Kind(f"a whole number from {least} to {most}", fits, schema, _read_number)


def _is_number(value: object, least: float, most: float = _LARGEST) -> bool:
    """Return whether a value is a number in a range; NaN is in none."""
    given = plain(value)
    return isinstance(given, (int, float)) and not isinstance(given, bool) and least <= given <= most


def _read_number(value: object) -> object:
    """Read a number as Python does, but for underscores; `nan` and `inf` are read, and then do not fit."""
    if isinstance(value, (float, Decimal)):  # whole numbers of a column are floats where one of them is missing
        return int(value) if isfinite(value) and value == int(value) else float(value)
    if not isinstance(value, str) or not value.isascii() or "_" in value:
        return value
    try:
        return int(value) if _WHOLE.fullmatch(value) else float(value)
    except ValueError:
        return value


def number(least: float, most: float) -> Kind:
    """Return the kind of numbers in a range."""
    return Kind(
        f"a number from {least:g} to {most:g}",
        lambda value: _is_number(value, least, most),
        {"type": "number", "minimum": least, "maximum": most},
        _read_number,
        float,
    )


def word(*choices: str) -> Kind:
    """Return the kind of a few words."""
    listed = ", ".join(choices[:-1])
    return Kind(
        f"{listed} or {choices[-1]}",
        lambda value: isinstance(value, str) and value in choices,
        {"enum": list(choices), "type": "string"},
        choices=choices,
    )


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in cast("Mapping[object, object]", value))


def _read_tags(value: object) -> object:
    """Read `name:value` pairs that commas separate; those of a dict become text."""
    if isinstance(value, Mapping):
        return {str(name): str(each) for name, each in cast("Mapping[object, object]", value).items()}
    parts = [part.partition(":") for part in value.split(",")] if isinstance(value, str) else []
    right = all(name.strip() and colon and each.strip() for name, colon, each in parts)
    return {name.strip(): each.strip() for name, _, each in parts} if parts and right else value


_TIERS: Final = ("standard", "flex", "priority", "fast")


def _is_tier(value: object) -> bool:
    """Return whether a value is a tier, or several without blanks between them, none twice."""
    tiers = value.split(",") if isinstance(value, str) else ()
    return bool(tiers) and len(set(tiers)) == len(tiers) and set(tiers) <= set(_TIERS)


def _is_cache(value: object) -> bool:
    """Return whether a value is a word for a cache; a bare `off` is False to YAML."""
    return value is False or (isinstance(value, str) and value in _CACHES)


def _is_reuse(value: object) -> bool:
    """Return whether a value is a word for the store of answers; bare `on` and `off` are truths to YAML."""
    return isinstance(value, bool) or (isinstance(value, str) and value in _REUSES)


_CACHES: Final = ("auto", "5m", "1h", "off")
_REUSES: Final = ("on", "refresh", "off")
REUSE: Final = replace(
    word(*_REUSES),
    fits=_is_reuse,
    schema={"anyOf": [{"enum": list(_REUSES), "type": "string"}, {"type": "boolean"}]},
    convert=lambda given: {True: "on", False: "off"}.get(given, given),  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType, reportUnknownArgumentType]
)
"""Whether an answer may come out of the store of answers."""
EFFORT: Final = word("none", "minimal", "low", "medium", "high", "xhigh", "max")
TIER: Final = Kind(
    f"{', '.join(_TIERS)}, or several in turn, such as flex,standard",
    _is_tier,
    {"type": "string", "pattern": f"^({'|'.join(_TIERS)})(,({'|'.join(_TIERS)}))*$"},
    choices=_TIERS,
)
CACHE: Final = replace(
    word(*_CACHES),
    fits=_is_cache,
    schema={"anyOf": [{"enum": list(_CACHES), "type": "string"}, {"const": False}]},
    convert=lambda given: given or "off",  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]
)


class _Schema(Kind):
    """A type, or a mapping that is a JSON schema; whether pydantic knows the type is seen when it is asked with."""

    def fault(self, value: object) -> str | None:
        return super().fault(value) or schema_fault(value)


def schema_fault(value: object) -> str | None:
    """Return what is wrong with a mapping that is to be a JSON schema; None if it is one, or no mapping."""
    if not isinstance(value, Mapping):
        return None
    # The package first, here and in calls.schema: two threads that import its parts in turn would wait for each other.
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - 40 ms that few need, 1.4 s beside JupyterLab
    from jsonschema.validators import validator_for  # noqa: PLC0415 - as above

    schema = dict(cast("Mapping[str, Any]", value))
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except (SchemaError, AttributeError, TypeError) as error:  # of a $schema that is no text, the latter
        why = error.message if isinstance(error, SchemaError) else error
        return f"takes a JSON schema, which this mapping is not: {why}"
    return None


TEXT: Final = Kind("text", lambda value: isinstance(value, str), {"type": "string"})
NAME: Final = Kind(
    "a name", lambda value: isinstance(value, str) and bool(value.strip()), {"type": "string"}, convert=str.strip
)
SECONDS: Final = Kind(
    "seconds above 0",
    lambda value: _is_number(value, 1e-9),
    {"type": "number", "exclusiveMinimum": 0},
    _read_number,
    float,
)
MAPPING: Final = Kind("a mapping with text as keys", _is_mapping, {"type": "object", "additionalProperties": True})
PARAMS: Final = Kind(
    MAPPING.words,
    lambda value: value is None or _is_mapping(value),
    {"type": ["object", "null"], "additionalProperties": True},
    convert=lambda value: {} if value is None else value,
)
SCHEMA: Final = _Schema(
    "a pydantic model, a type or a JSON schema",
    # A function is none: pydantic would call it, with what a model answers.
    lambda value: (
        not isinstance(value, (str, bytes, int, float, Decimal, list, tuple, set, partial))
        and not inspect.isroutine(value)
    ),
    MAPPING.schema,
)
TAGS: Final = Kind("a mapping, such as name:value", _is_mapping, {"type": "object"}, _read_tags)
RETRIES: Final = whole(0, 10)
SAMPLES: Final = whole(1, 1000)


# --- the table ---


Params = Annotated[Mapping[str, object], Option(PARAMS, "anything else that the provider takes", "$settings")]


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """What a profile, a stage, a call and a cell may send beside the prompt; nothing is sent that is None."""

    system: Annotated[
        str | None, Option(TEXT, "the system prompt", "$instructions", settable=True, label="System prompt")
    ] = None
    max_tokens: Annotated[
        int | None, Option(whole(1), "the longest answer, in tokens", "500", settable=True, label="Max tokens")
    ] = None
    temperature: Annotated[
        float | None,
        Option(
            number(0, 2),
            "a request: it is left out where a model takes none",
            "0.2",
            settable=True,
            label="Temperature",
        ),
    ] = None
    seed: Annotated[int | None, Option(whole(0), "asks for the same answer each time", "7", settable=True)] = None
    effort: Annotated[
        str | None, Option(EFFORT, "how much it thinks, as far as the model can", "low", settable=True)
    ] = None
    tier: Annotated[
        str | None,
        Option(TIER, "sooner for more, or later for less; flex,standard tries both", "flex", settable=True),
    ] = None
    prompt_cache: Annotated[
        str | None, Option(CACHE, "how long the provider keeps the prompt for the next call", "1h", settable=True)
    ] = None
    schema: Annotated[object | None, Option(SCHEMA, "the type that the answer must fit, as JSON", "$Model")] = None
    params: Params = field(default_factory=dict[str, object])


class RequestKeywords(TypedDict, total=False):
    """The fields of `RequestOptions`, as keywords of a call; None overrides the profile's value."""

    system: str | None
    max_tokens: int | None
    temperature: float | None
    seed: int | None
    effort: str | None
    tier: str | None
    prompt_cache: str | None
    schema: object | None
    params: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class CallSettings(RequestOptions):
    """The further options of a call and a cell, which are not sent."""

    timeout: Annotated[
        float | None, Option(SECONDS, "seconds for the whole call, retries included", "60", settable=True)
    ] = None
    retries: Annotated[int | None, Option(RETRIES, "further attempts after a failure that may pass", "2")] = None
    tags: Annotated[Mapping[str, str], Option(TAGS, "words of your own for the ledger", "team:search")] = field(
        default_factory=dict[str, str]
    )
    cache: Annotated[
        str | None,
        Option(REUSE, "an answer out of the store, if it has one; refresh asks anew", "on", settable=True),
    ] = None
