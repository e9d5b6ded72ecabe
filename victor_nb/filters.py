"""How a value reads in a prompt: as it is, or through a filter, `{{ frame | csv }}`."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Number
from typing import Any, Final, Protocol, TypeGuard, cast

from victor_nb.errors import PromptError, suggest
from victor_nb.media import Image, Pdf, Prompt, compose, picture
from victor_nb.tables import Table
from victor_nb.values import Quotable, Reply, plain

_ROWS: Final = 20
"""Rows of a frame that are inserted where no filter says how many."""
_FEW: Final = 5
"""What `head` and `sample` take without a number, as in pandas."""


class _Frame(Protocol):
    """What we use of a pandas DataFrame, without importing pandas."""

    shape: tuple[int, int]
    columns: Iterable[object]
    dtypes: Iterable[object]
    index: Any

    def head(self, n: int) -> _Frame: ...
    def sample(self, *, n: int, random_state: int) -> _Frame: ...
    def to_csv(self, *, index: bool, lineterminator: str) -> str: ...
    def to_json(self, *, orient: str, date_format: str, force_ascii: bool) -> str: ...
    def itertuples(self, *, index: bool, name: None) -> Iterable[tuple[object, ...]]: ...


def insert(value: object, name: str | None, number: str | None) -> str:
    """Return the text of a value through a filter and its number; what is wrong is an error that begins with a verb."""
    while isinstance(value, Quotable) and name != "repr":
        value = value.quoted() if name in {None, "truncate"} else value.records()
    if name is None:
        return _text(value)
    filter_ = FILTERS.get(name)
    if filter_ is None:
        raise PromptError(f"names an unknown filter {name!r}. {suggest(name, FILTERS)}")
    return filter_(value, _number(name, number))


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Return whether a value is a mapping, of any keys and values."""
    return isinstance(value, Mapping)


def _number(name: str, number: str | None) -> int | None:
    if name not in _NUMBERED:
        if number is not None:
            raise PromptError(f"gives a number to {name}, which takes none. Write | {name}.")
        return None
    if number and int(number):
        return int(number)
    if number is None and name != "truncate":
        return _FEW
    raise PromptError(f"needs a number of 1 or more, such as | {name}({_NUMBERED[name]}).")


# --- without a filter ---


def _text(value: object) -> str:
    """Return a value as itself: text, numbers, dates, data as JSON, tables as CSV."""
    match plain(value):
        case str(value) | Reply(content=value):
            return value
        case dt.date() | dt.time() as moment:
            return moment.isoformat()
        case bool() | None | Number() | dt.timedelta() as simple:
            return str(simple)
        case list() | tuple() | dict():
            return _json(value)
        case _ if (frame := _frame(value)) is not None:
            return _described(frame, value, frame.head(_ROWS), "the first")
        case _ if hasattr(value, "model_dump_json") and not isinstance(value, type):
            return _json(value)
        case _ if (image := picture(value)) is not None:
            return compose([image])
        case _:
            ways = "| image, | repr or | json" if type(value).__name__ == "ndarray" else "| repr, | json or | md"
            raise PromptError(f"is a {type(value).__name__}. Say how it reads: {ways}.")


# --- tables ---


def _frame(value: object) -> _Frame | None:
    """Return a DataFrame, or a Series as one; None for anything else."""
    names = {kind.__name__ for kind in type(value).__mro__ if kind.__module__.partition(".")[0] == "pandas"}
    holder = cast("Any", value)
    if "DataFrame" in names:
        return cast("_Frame", holder)
    if "Series" in names:
        return cast("_Frame", holder.to_frame(name="value" if holder.name is None else holder.name))
    return None


def _described(frame: _Frame, value: object, shown: _Frame, which: str) -> str:
    """Return a frame's schema and some of its rows, saying how many of how many."""
    rows, columns = frame.shape
    schema = ", ".join(_columns(frame))
    kind = f"{type(value).__name__} of {rows:,} rows and {columns:,} columns"
    part = f"{which} {shown.shape[0]:,} of {rows:,} rows" if shown.shape[0] < rows else f"all {rows:,} rows"
    return f"{kind} ({schema}); {part} as CSV:\n{_csv_of(shown, like=frame)}"


def _columns(frame: _Frame) -> list[str]:
    return [f"{name}: {dtype}" for name, dtype in zip(frame.columns, frame.dtypes, strict=True)]


def _csv_of(frame: _Frame, *, like: _Frame) -> str:
    """Return a frame as CSV, with its index where that says more than the position."""
    plain = type(like.index).__name__ == "RangeIndex" and like.index.name is None
    return frame.to_csv(index=not plain, lineterminator="\n").rstrip("\n")


def _table(value: object) -> Table:
    """Return a table-like value as a table."""
    frame = _frame(value)
    if frame is not None:
        return Table([str(name) for name in frame.columns], list(frame.itertuples(index=False, name=None)))
    if is_mapping(value):
        return Table(["key", "value"], list(value.items()))
    if isinstance(value, (list, tuple)):
        rows = cast("Sequence[object]", value)
        dicts = [row for row in rows if is_mapping(row)]
        if rows and len(dicts) == len(rows):
            names = list(dict.fromkeys(itertools.chain.from_iterable(dicts)))
            return Table([str(name) for name in names], [[row.get(name, "") for name in names] for row in dicts])
        return Table(["value"], [[row] for row in rows])
    raise PromptError(f"is a {type(value).__name__}, which is no table. Use | repr or | json.")


def _csv(value: object, _: int | None) -> str:
    import csv  # noqa: PLC0415 - few prompts need it
    import io  # noqa: PLC0415

    frame = _frame(value)
    if frame is not None:
        return _csv_of(frame, like=frame)
    table, text = _table(value), io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.columns, *table.rows])
    return text.getvalue().rstrip("\n")


# --- the other filters ---


def _json(value: object, _: int | None = None) -> str:
    frame = _frame(value)
    if frame is not None:
        return frame.to_json(orient="records", date_format="iso", force_ascii=False)
    try:
        return json.dumps(value, ensure_ascii=False, default=_simpler)
    except (TypeError, ValueError, RecursionError) as error:
        raise PromptError(f"has no JSON form: {error}. Use | repr.") from None


def _simpler(value: object) -> object:
    """Return what JSON knows instead of a value that it does not know."""
    for kinds, simplify in _SIMPLER:
        if isinstance(value, kinds):
            return simplify(value)
    frame = _frame(value)
    if frame is not None:
        return json.loads(_json(value))
    holder = cast("Any", value)
    if hasattr(value, "model_dump"):
        return holder.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return holder.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"it holds a {type(value).__name__}")


_SIMPLER: Final[tuple[tuple[tuple[type, ...], Callable[[Any], object]], ...]] = (
    ((Reply,), str),
    ((Quotable,), lambda result: result.records()),
    ((dt.date, dt.time), lambda moment: moment.isoformat()),
    ((Enum,), lambda member: member.value),
    ((Decimal, Fraction), float),
    ((set, frozenset), lambda items: sorted(items, key=repr)),
)


def _some(value: object, number: int | None, *, drawn: bool) -> str:
    """Return the first rows, or some by chance, the same ones every time: a changing prompt cannot be replayed."""
    number, frame = number or _FEW, _frame(value)
    if frame is not None:
        least = min(number, frame.shape[0])
        shown = frame.sample(n=least, random_state=0) if drawn else frame.head(least)
        return _described(frame, value, shown, "a sample of" if drawn else "the first")
    if isinstance(value, (list, tuple)):
        return _json(_pick(cast("Sequence[object]", value), number, drawn=drawn))
    if isinstance(value, (str, Reply)):
        return "\n".join(_pick(str(value).splitlines(), number, drawn=drawn))
    raise PromptError(f"is a {type(value).__name__}, of which there is no part. Use | json or | truncate(4000).")


def _pick(items: Sequence[Any], number: int, *, drawn: bool) -> list[Any]:
    if not drawn or number >= len(items):
        return list(items[:number])
    chosen = sorted(random.Random(0).sample(range(len(items)), number))  # noqa: S311 - chance, not secrecy
    return [items[place] for place in chosen]


def _truncate(value: object, number: int | None) -> str:
    text = _text(value)
    most = number or len(text)
    return text if len(text) <= most else f"{text[:most]}… [cut: {most:,} of {len(text):,} characters]"


def _schema(value: object, _: int | None) -> str:
    frame = _frame(value)
    if frame is not None:
        return "\n".join(_columns(frame))
    if hasattr(value, "model_json_schema") or isinstance(value, type):
        return json.dumps(_type_schema(value if isinstance(value, type) else type(value)), ensure_ascii=False)
    if is_mapping(value):
        return json.dumps({str(key): type(entry).__name__ for key, entry in value.items()}, ensure_ascii=False)
    raise PromptError(f"is a {type(value).__name__}, which has no schema. Give a table, a dict or a pydantic model.")


def _type_schema(kind: type) -> object:
    from pydantic import TypeAdapter  # noqa: PLC0415 - pydantic is slow to import
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        return TypeAdapter(kind).json_schema()
    except PydanticUserError:
        raise PromptError(f"is the class {kind.__name__}, which has no schema. Give a pydantic model.") from None


def _attach(kind: type[Image | Pdf], value: object) -> Prompt:
    """Return the stand-in of an image or a PDF, with it."""
    try:
        return compose([value if isinstance(value, kind) else kind(value)])
    except PromptError as error:
        raise PromptError(str(error).removeprefix("The image ").removeprefix("The PDF ")) from None


FILTERS: Final[Mapping[str, Callable[[object, int | None], str]]] = {
    "md": lambda value, _: str(value) if isinstance(value, (str, Reply)) else _table(value).markdown(),
    "csv": _csv,
    "json": _json,
    "repr": lambda value, _: repr(value),
    "head": lambda value, number: _some(value, number, drawn=False),
    "sample": lambda value, number: _some(value, number, drawn=True),
    "truncate": _truncate,
    "schema": _schema,
    "image": lambda value, _: _attach(Image, value),
    "pdf": lambda value, _: _attach(Pdf, value),
}
_NUMBERED: Final = {"head": _ROWS, "sample": _ROWS, "truncate": 4000}
