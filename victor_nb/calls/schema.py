"""The schema of an answer: what is sent of it, how an answer is read by it, and what is said of one that does not fit.

What is sent is the strictest subset of JSON Schema that every provider takes: an object at the root, every field
required and null where it may be left out, no other fields, no references, no limits of numbers or lengths; those stand
in the descriptions. What has no such form (free keys, recursion, tuples) stands in the prompt instead. An answer is
always checked by what was given.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar, cast

from victor_nb.calls.json_schema import check_references, fields_of, listed, resolved, strict, variants
from victor_nb.calls.structured import find_json, spoken
from victor_nb.config.request_options import shown
from victor_nb.errors import STOPS, ConfigError, InvalidAnswerError, VictorError, user_line
from victor_nb.values import AnswerSchema, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jsonschema.protocols import Validator
    from pydantic import TypeAdapter

    from victor_nb.config.secret import Redactor
    from victor_nb.values import ChatRequest, FinishReason, Reply, ReplyStatus, Structured

REPAIRED: Final = "the JSON was broken, and is repaired"
_KEPT: Final = 64  # schemas of types that are kept ready; a notebook uses a few
_MOST: Final = 5  # faults that a model is asked to mend at once
_FINAL: Final = ("length", "content_filter")
"""Reasons to stop after which a second answer would be no better than the first."""
_LONGEST: Final = 200  # characters of a fault
_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")
_WRAPPED: Final = {"array": "items"}
"""The key under which a value stands that is no object, by its type; else `value`."""


class Misfit(ValueError):  # noqa: N818 - it is the reason of an error of ours
    """An answer does not fit: `faults` says where, and what is wrong there; `line`, which line of the user's failed."""

    def __init__(self, faults: Sequence[str], *, line: str | None = None) -> None:
        first, more = faults[0][:_LONGEST], f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        super().__init__(f"{first}{more}")
        self.faults = tuple(faults)
        self.line = line


class Schema:
    """A type or a JSON schema that answers are to fit.

    Args:
        given: A type that pydantic knows, or a JSON schema (draft 2020-12, or its own).

    Attributes:
        name: What it is called.
        whole: Its JSON schema; what is no object stands under a key.
        strict: The same in the subset that every provider takes; None where it has no such form.

    Raises:
        ConfigError: It is neither.
    """

    def __init__(self, given: object) -> None:
        is_json = isinstance(given, Mapping)
        self._type, schema = (None, dict(cast("Mapping[str, Any]", given))) if is_json else _typed(given)
        self._schema = schema
        title = str(schema.get("title") or getattr(given, "__name__", ""))
        self.name = _NAME.sub("_", title).strip("_")[:64] or "answer"
        check_references(schema, schema)
        root = resolved(schema, schema)
        alone = root.get("type") == "object" or ("type" not in root and "properties" in root)
        self._key = None if alone else _WRAPPED.get(str(root.get("type")), "value")
        if self._key is None:
            self.whole = schema
        else:
            inner = {name: part for name, part in schema.items() if name not in {"$defs", "definitions", "$schema"}}
            self.whole = {
                "type": "object",
                "properties": {self._key: inner},
                "required": [self._key],
                "additionalProperties": False,
                **{name: schema[name] for name in ("$defs", "definitions") if name in schema},
            }
        self.strict = strict(self.whole)

    @property
    def is_wrapped(self) -> bool:
        """Whether its values are no objects, so that they stand under the only key of the object that is sent."""
        return self._key is not None

    def as_sent(self, structured: Structured) -> AnswerSchema:
        """Return what is sent to a provider that takes so much of a schema."""
        if structured == "schema" and self.strict is not None:
            return AnswerSchema(self.name, self.strict, "schema", self.read)
        return AnswerSchema(self.name, self.whole, "prompt" if structured == "prompt" else "json", self.read)

    def read(self, text: str) -> tuple[object, bool]:
        """Return the value that an answer is, and whether its JSON had to be repaired.

        It runs the validators of the user's types: not on an event loop.

        Raises:
            Misfit: It is none, or it does not fit.
        """
        failure: Misfit | None = None
        for value, repaired in candidates(spoken(text)):
            try:
                return self._value(value), repaired
            except Misfit as misfit:
                failure = failure or misfit
        raise failure or Misfit(["it is not JSON"])

    def fits(self, value: object) -> bool:
        """Return whether a value fits, nulls of fields that may be left out apart."""
        try:
            self._value(value)
        except Misfit:
            return False
        return True

    def _value(self, value: object) -> object:
        if self._key is not None and isinstance(value, dict):
            mapping = cast("dict[str, object]", value)
            value = mapping[self._key] if mapping.keys() == {self._key} else mapping
        try:
            return self._checked(value)
        except Misfit:
            pruned = self._pruned(value, self._schema)
            if pruned == value:
                raise
        return self._checked(pruned)

    def _checked(self, value: object) -> object:
        """Return the value as an instance of the type; of a JSON schema, as it is."""
        faults = self._faults(value) if self._type is None else None
        if faults:
            raise Misfit(faults)
        return value if self._type is None else _validated(self._type, value)

    def _faults(self, value: object) -> list[str]:
        try:
            errors = sorted(self._validator.iter_errors(cast("Any", value)), key=lambda error: len(error.absolute_path))
        except RecursionError:
            return ["the schema, or the answer, has no end"]
        # Not jsonschema's own message: it repeats the answer, which a ledger without texts must not hold.
        return [
            _at(error.absolute_path, f"does not satisfy {error.validator}: {json.dumps(error.validator_value)}")
            for error in errors
        ]

    @cached_property
    def _validator(self) -> Validator:
        from jsonschema import Draft202012Validator  # noqa: PLC0415 - 40 ms that few need, 1.4 s beside JupyterLab
        from jsonschema.validators import validator_for  # noqa: PLC0415 - as above

        return validator_for(self._schema, default=Draft202012Validator)(self._schema)

    def _pruned(self, value: object, schema: object) -> object:
        """Return a value without the nulls that stand for fields which may be left out."""
        parts = list(variants(resolved(schema, self._schema), self._schema))
        if isinstance(value, list):
            entry = next((part["items"] for part in parts if "items" in part), None)
            return [self._pruned(each, entry) for each in cast("list[object]", value)]
        if not isinstance(value, dict):
            return value
        mapping = cast("dict[str, object]", value)
        best = max(parts, key=lambda part: len(fields_of(part).keys() & mapping.keys()))
        fields, required = fields_of(best), cast("list[str]", best.get("required", []))
        return {
            key: self._pruned(each, fields.get(key, {}))
            for key, each in mapping.items()
            if each is not None or key in required or key not in fields or self._takes_null(fields[key])
        }

    def _takes_null(self, schema: object) -> bool:
        parts = variants(resolved(schema, self._schema), self._schema)
        return any(part.get("type") == "null" or "null" in listed(part.get("type")) for part in parts)


@lru_cache(maxsize=_KEPT)
def _of_type(given: object) -> Schema:
    return Schema(given)


@lru_cache(maxsize=_KEPT)
def _of_json(given: str) -> Schema:
    return Schema(json.loads(given))


def schema_of(given: object) -> Schema:
    """Return the schema of a type, or of a JSON schema; the same one for the same type.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(given, Mapping):
        try:
            return _of_json(json.dumps(given, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"schema= is no JSON schema: {error}. Use text, numbers, lists and mappings.") from None
    try:
        hash(given)
    except TypeError:
        return Schema(given)
    return _of_type(given)


def hinted(schema: Mapping[str, Any], structured: Structured) -> AnswerSchema | None:
    """Return what is sent of a schema for which no answer is refused; None where its prompt says it all."""
    try:
        form = strict(schema) if structured == "schema" else None
    except (TypeError, ValueError):  # of values that are no JSON
        form = None
    return None if form is None or form.get("type") != "object" else AnswerSchema("answer", form, "schema")


def asked(chat: ChatRequest) -> ChatRequest:
    """Return a request with its schema in the system prompt, unless the provider takes it as it is."""
    schema = chat.schema
    if schema is None or schema.kind == "schema":
        return chat
    words = f"Reply with JSON only, without a code fence, that fits this JSON schema:\n{json.dumps(schema.schema)}"
    return replace(chat, system=f"{chat.system}\n\n{words}" if chat.system else words)


def stepped_down(chat: ChatRequest) -> ChatRequest:
    """Return a request with its schema in a form that its host is not known to refuse.

    A schema for which no answer is refused is left out, since its prompt asks for the same.
    """
    schema, kind = chat.schema, cast("Structured | None", chat.learned.get("schema"))
    if schema is None or kind is None or schema.kind in (kind, "prompt"):
        return chat
    if schema.read is None:
        return replace(chat, schema=None)
    lower = replace(chat, schema=replace(schema, kind=kind))
    return asked(lower) if schema.kind == "schema" else lower


class Unfit(NamedTuple):
    """What is wrong with an answer, and the sentence that says so and what to do."""

    faults: tuple[str, ...]
    fact: str


class Answered(Protocol):
    """What came of one attempt."""

    pieces: list[str]
    finish_reason: FinishReason | None

    @property
    def text(self) -> str:
        """The text."""
        ...


Attempt = TypeVar("Attempt", bound=Answered)


class Reading(Generic[Attempt]):
    """The answers of one call, read by its schema, and what asks for one that does not fit again, once.

    Args:
        name: What the schema is called.
        read: See `AnswerSchema`.

    Attributes:
        data: The value of the answer that fits; None while there is none.
        unfit: The last attempt whose answer does not fit.
        misfit: The error of the first such answer, once another is asked for.
        notes: What a reader of the answer should know.
    """

    def __init__(self, name: str, read: Callable[[str], tuple[object, bool]]) -> None:
        self.data: object = None
        self.unfit: Attempt | None = None
        self.misfit: InvalidAnswerError | None = None
        self.notes: list[str] = []
        self._name = name
        self._read = read

    async def read(self, attempt: Attempt, redactor: Redactor) -> Unfit | None:
        """Keep the value that an answer is; return what is wrong with one that does not fit."""
        try:
            self.data, repaired = await asyncio.to_thread(self._read, attempt.text)
        except ValueError as misfit:
            faults: tuple[str, ...] = getattr(misfit, "faults", (str(misfit),))
            line: str | None = getattr(misfit, "line", None)
        else:
            self.notes += [REPAIRED] if repaired else []
            return None
        self.unfit = attempt
        advice = f"It failed at {redactor.clean(line)}" if line else "Simplify the schema, or ask another profile"
        if attempt.finish_reason == "length":
            faults, advice = ("it ends at max_tokens",), "Raise max_tokens"
        elif attempt.finish_reason == "content_filter":
            faults, advice = ("it was withheld",), "Rephrase the prompt"
        faults = tuple(redactor.clean(fault) for fault in faults)
        return Unfit(faults, f"the answer does not fit {self._name}: {Misfit(faults)}. {advice}.")

    @property
    def may_ask_again(self) -> bool:
        """Whether another answer may be better than the last, and none was asked for yet."""
        answer = self.unfit
        return self.misfit is None and answer is not None and bool(answer.pieces) and answer.finish_reason not in _FINAL

    def again(self, chat: ChatRequest, error: InvalidAnswerError) -> ChatRequest:
        """Return a request with two further turns: the answer that does not fit, and what is wrong with it."""
        self.notes.append(f"asked twice: the first answer did not fit ({error.faults[0]})")
        listed = "\n".join(f"- {fault[:_LONGEST]}" for fault in error.faults[:_MOST])
        words = f"This answer does not fit the JSON schema:\n{listed}\nReply with the corrected JSON only."
        answer = self.unfit.text if self.unfit else ""
        return replace(chat, messages=(*chat.messages, Message("assistant", answer), Message("user", words)))

    def failure(self, error: VictorError, reply: Callable[[ReplyStatus], Reply]) -> VictorError:
        """Return the error to raise: once an answer was asked for again, that of the first, which holds what came."""
        failure = error if isinstance(error, InvalidAnswerError) or self.misfit is None else self.misfit
        if failure is not error:
            failure.add_note(f"Asked again: {type(error).__name__}: {error}")
        if isinstance(failure, InvalidAnswerError):
            if error is self.misfit:  # no budget had room for the second asking
                self.notes.clear()
            self.notes.append(f"it does not fit {self._name}: {Misfit(failure.faults)}")
            failure.reply = failure.partial = reply("invalid")
        return failure


# --- checking ---


def _typed(given: object) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """Return a type's adapter and its JSON schema.

    Raises:
        ConfigError: Pydantic knows no such type, or it has no JSON schema.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415 - pydantic is slow to import
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(cast("Any", _MODERN(given)))
        return adapter, adapter.json_schema()
    except (PydanticUserError, NameError, TypeError, AttributeError, RecursionError) as error:
        name = given.__name__ if isinstance(given, type) else shown(given)
        why = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    raise ConfigError(
        f"schema= is no type that pydantic knows ({name}): {why}. Use a model, a dataclass or a TypedDict."
    )


def _with_typed_dicts(given: object, done: dict[object, object] | None = None) -> object:
    """Return a type with the TypedDict of typing_extensions: pydantic refuses that of Python 3.11's typing.

    Args:
        given: The type.
        done: The ones that were made on the way: a type may hold itself.
    """
    from types import GenericAlias, UnionType  # noqa: PLC0415 - for old Pythons only
    from typing import NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict  # noqa: PLC0415

    from typing_extensions import TypedDict  # noqa: PLC0415 - as above

    done = {} if done is None else done
    if is_typeddict(given):
        if given in done:
            return done[given]
        old = cast("Any", given)
        made = done[given] = cast("Any", TypedDict)(old.__name__, {})
        made.__doc__, made.__module__ = old.__doc__, old.__module__
        fields: dict[str, Any] = {}
        for name, hint in get_type_hints(old, include_extras=True).items():
            wrapper = get_origin(hint)
            bare = get_args(hint)[0] if wrapper in {Required, NotRequired} else hint
            inner = cast("Any", _with_typed_dicts(bare, done))
            must = wrapper is Required or (wrapper is not NotRequired and name in old.__required_keys__)
            fields[name] = Required[inner] if must else NotRequired[inner]
        made.__annotations__ = fields
        made.__required_keys__ = frozenset(name for name in fields if get_origin(fields[name]) is Required)
        made.__optional_keys__ = frozenset(fields) - made.__required_keys__
        return made
    parts = tuple(_with_typed_dicts(part, done) for part in get_args(given))
    if isinstance(given, GenericAlias):
        return GenericAlias(get_origin(given), parts)
    return Union[parts] if isinstance(given, UnionType) or get_origin(given) is Union else given  # noqa: UP007 - at run time


_MODERN: Final[Callable[[object], object]] = _with_typed_dicts if sys.version_info < (3, 12) else lambda given: given


def _validated(adapter: TypeAdapter[Any], value: object) -> object:
    """Return the value as an instance of the type.

    Raises:
        Misfit: It is none; a validator of the user's that fails says the same.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - it is imported by now

    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise Misfit([_at(each["loc"], each["msg"][:1].lower() + each["msg"][1:]) for each in found]) from None
    except BaseException as error:
        if isinstance(error, STOPS) or not isinstance(error, Exception):
            raise
        raise Misfit([f"a validator failed ({type(error).__name__})"], line=user_line(error)) from None


def _at(path: Iterable[object], fault: str) -> str:
    where = ".".join(map(str, path)) or "the whole"
    return " ".join(f"{where}: {fault}".split())


def candidates(text: str) -> Iterator[tuple[object, bool]]:
    """Yield the JSON values of an answer, the likeliest first, each with whether it had to be repaired."""
    try:
        yield json.loads(text), False
    except (ValueError, RecursionError):
        found, whole = find_json(text, "closed"), find_json(text, "none")
        for value in reversed(found):
            yield value, value not in whole
