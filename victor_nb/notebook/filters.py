"""How a value becomes part of a prompt: by itself, or through one of eight filters."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Number
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeGuard, cast

from victor_nb.errors import PromptError, did_you_mean
from victor_nb.notebook.markdown import markdown_table
from victor_nb.values import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_ROWS: Final = 20
"""Rows of a frame that are inserted where no filter says how many."""
_FEW: Final = 5
"""What `head` and `sample` take without a number, as in pandas."""


class Frame(Protocol):
    """What we use of a pandas DataFrame, without importing pandas."""

    shape: tuple[int, int]
    columns: Iterable[object]
    dtypes: Iterable[object]
    index: Any

    def head(self, n: int) -> Frame: ...  # noqa: D102 - as in pandas
    def sample(self, *, n: int, random_state: int) -> Frame: ...  # noqa: D102 - as in pandas
    def to_csv(self, *, index: bool, lineterminator: str) -> str: ...  # noqa: D102 - as in pandas
    def to_json(self, *, orient: str, date_format: str, force_ascii: bool) -> str: ...  # noqa: D102 - as in pandas
    def itertuples(self, *, index: bool, name: None) -> Iterable[tuple[object, ...]]: ...  # noqa: D102 - as in pandas


def insert(value: object, name: str | None, number: str | None) -> str:
    """Return the text that stands for a value.

    Args:
        value: Any object of the notebook.
        name: The filter, if there is one.
        number: What the filter was given in brackets; None where there were none.

    Raises:
        PromptError: The value has no text of its own, or the filter does not fit; the message starts with a verb.
    """
    if name is None:
        return _text(value)
    filter_ = FILTERS.get(name)
    if filter_ is None:
        close = did_you_mean(name, FILTERS)
        hint = f"Did you mean {close!r}?" if close else f"Known: {' '.join(FILTERS)}."
        raise PromptError(f"names an unknown filter {name!r}. {hint}")
    return filter_(value, _number(name, number))


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Tell whether a value is a dict or like one."""
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
    match _scalar(value):
        case str(value) | Reply(content=value):
            return value
        case dt.date() | dt.time() as moment:
            return moment.isoformat()
        case bool() | None | Number() | dt.timedelta() as plain:
            return str(plain)
        case other:
            return _other(other)


def _other(value: object) -> str:
    if (frame := _frame(value)) is not None:
        return _described(frame, value, frame.head(_ROWS), "the first")
    if isinstance(value, (list, tuple, dict)) or (hasattr(value, "model_dump_json") and not isinstance(value, type)):
        return _json(cast("object", value))
    raise PromptError(f"is a {type(value).__name__}. Say how it reads: | repr, | json or | md.")


def _scalar(value: object) -> object:
    """Unpack a numpy scalar."""
    numpy = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return cast("Any", value).item() if numpy else value


# --- tables ---


def _frame(value: object) -> Frame | None:
    """Return a DataFrame, or a Series as one; None for anything else."""
    names = {kind.__name__ for kind in type(value).__mro__ if kind.__module__.partition(".")[0] == "pandas"}
    holder = cast("Any", value)
    if "DataFrame" in names:
        return cast("Frame", holder)
    if "Series" in names:
        return cast("Frame", holder.to_frame(name="value" if holder.name is None else holder.name))
    return None


def _described(frame: Frame, value: object, shown: Frame, which: str) -> str:
    """Return a frame's schema and some of its rows, saying how many of how many."""
    rows, columns = frame.shape
    schema = ", ".join(_columns(frame))
    kind = f"{type(value).__name__} of {rows:,} rows and {columns:,} columns"
    part = f"{which} {shown.shape[0]:,} of {rows:,} rows" if shown.shape[0] < rows else f"all {rows:,} rows"
    return f"{kind} ({schema}); {part} as CSV:\n{_csv_of(shown, like=frame)}"


def _columns(frame: Frame) -> list[str]:
    return [f"{name}: {dtype}" for name, dtype in zip(frame.columns, frame.dtypes, strict=True)]


def _csv_of(frame: Frame, *, like: Frame) -> str:
    """Return a frame as CSV, with its index where that says more than the position."""
    plain = type(like.index).__name__ == "RangeIndex" and like.index.name is None
    return frame.to_csv(index=not plain, lineterminator="\n").rstrip("\n")


def _records(value: object) -> tuple[list[str], list[list[object]]]:
    """Return the columns and rows of a table-like value."""
    frame = _frame(value)
    if frame is not None:
        return [str(name) for name in frame.columns], [list(row) for row in frame.itertuples(index=False, name=None)]
    if is_mapping(value):
        return ["key", "value"], [[key, entry] for key, entry in value.items()]
    if isinstance(value, (list, tuple)):
        rows = cast("Sequence[object]", value)
        dicts = [row for row in rows if is_mapping(row)]
        if rows and len(dicts) == len(rows):
            names = list(dict.fromkeys(itertools.chain.from_iterable(dicts)))
            return [str(name) for name in names], [[row.get(name, "") for name in names] for row in dicts]
        return ["value"], [[row] for row in rows]
    raise PromptError(f"is a {type(value).__name__}, which is no table. Use | repr or | json.")


def _md(value: object, _: int | None) -> str:
    return markdown_table(*_records(value))


def _csv(value: object, _: int | None) -> str:
    import csv  # noqa: PLC0415 - few prompts need it
    import io  # noqa: PLC0415

    frame = _frame(value)
    if frame is not None:
        return _csv_of(frame, like=frame)
    columns, rows = _records(value)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
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
        return json.loads(frame.to_json(orient="records", date_format="iso", force_ascii=False))
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
    ((dt.date, dt.time), lambda moment: moment.isoformat()),
    ((Enum,), lambda member: member.value),
    ((Decimal, Fraction), float),
    ((set, frozenset), lambda items: sorted(items, key=repr)),
)


def _repr(value: object, _: int | None) -> str:
    return repr(value)


def _head(value: object, number: int | None) -> str:
    return _some(value, number or _FEW, "the first")


def _sample(value: object, number: int | None) -> str:
    """Return some rows by chance, the same ones every time: a prompt that changes by itself cannot be replayed."""
    return _some(value, number or _FEW, "a sample of")


def _some(value: object, number: int, which: str) -> str:
    drawn = which != "the first"
    frame = _frame(value)
    if frame is not None:
        least = min(number, frame.shape[0])
        shown = frame.sample(n=least, random_state=0) if drawn else frame.head(least)
        return _described(frame, value, shown, which)
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


FILTERS: Final[Mapping[str, Callable[[object, int | None], str]]] = {
    "md": _md,
    "csv": _csv,
    "json": _json,
    "repr": _repr,
    "head": _head,
    "sample": _sample,
    "truncate": _truncate,
    "schema": _schema,
}
_NUMBERED: Final = {"head": _ROWS, "sample": _ROWS, "truncate": 4000}
