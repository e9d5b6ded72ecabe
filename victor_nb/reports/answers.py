"""The frame of a map's answers: columns of the same dtypes whatever its rows hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from victor_nb.calls.json_schema import listed, resolved, variants

if TYPE_CHECKING:
    from pandas import DataFrame

    from victor_nb.calls.schema import Schema


class Answered(Protocol):
    """What came of one row, with an attribute for each of `_PARTS`."""

    @property
    def text(self) -> str | None:
        """The answer."""
        ...

    @property
    def data(self) -> object:
        """The answer as a value, where there is a schema."""
        ...


def answers_frame(columns: Sequence[Sequence[Answered]], names: Sequence[str], schema: Schema | None) -> DataFrame:
    """Return the columns of answers, of the same dtypes whatever the rows hold.

    Args:
        columns: What came of each row, by column.
        names: What each column is called.
        schema: What the answers fit, if anything.
    """
    import pandas as pd

    found: dict[str, Any] = {}
    for cells, name in zip(columns, names, strict=True):
        found |= _answers(cells, name, schema)
        for part, dtype in _PARTS.items():
            values = [getattr(cell, part) for cell in cells]
            if part in {"cost", "price"}:
                values = [None if value is None else float(value) for value in values]
            found[f"{name}_{part}"] = _array(values, dtype)
    return pd.DataFrame(found)


_PARTS: Final = {
    "status": "string",
    "error": "string",
    "cost": "float64",
    "price": "float64",
    "input_tokens": "Int64",
    "output_tokens": "Int64",
    "latency": "float64",
    "model": "string",
    "finish_reason": "string",
}
"""What a frame has of each row beside the answer. Costs are USD that the map spent, prices USD of the answer
also where it is reused, latencies seconds."""


def _array(values: Sequence[Any], dtype: str) -> Any:  # noqa: ANN401 - an array of pandas
    import pandas as pd

    return pd.Series(list(values), dtype=cast("Any", dtype)).array


def _answers(cells: Sequence[Answered], name: str, schema: Schema | None) -> dict[str, Any]:
    """Return the columns of the answers themselves: one of text, or one for each field of a schema."""
    if schema is None:
        return {name: _array([cell.text for cell in cells], "string")}
    parts = cast("Mapping[str, object]", schema.whole.get("properties") or {})
    alone = schema.is_wrapped
    if not parts:  # an object of any fields
        return {name: _array([cell.data for cell in cells], "object")}
    values = [cell.data if alone else _fields(cell.data) for cell in cells]
    return {
        name if alone else f"{name}.{field}": _typed(
            [value if alone else None if value is None else cast("Any", value).get(field) for value in values],
            cast("Mapping[str, Any]", resolved(part, schema.whole)),
            schema.whole,
        )
        for field, part in parts.items()
    }


def _fields(data: object) -> Mapping[str, object] | None:
    """Return an answer by the names of its fields."""
    if data is None or isinstance(data, Mapping):
        return cast("Mapping[str, object] | None", data)
    if is_dataclass(data):
        return {each.name: getattr(data, each.name) for each in fields(data)}
    return cast("Any", data).model_dump(by_alias=True)


_DTYPES: Final = {"integer": "Int64", "number": "Float64", "boolean": "boolean", "string": "string"}


def _typed(values: Sequence[object], part: Mapping[str, Any], whole: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an array
    """Return a field's values as the array that its JSON schema means; of nested ones, as objects."""
    import pandas as pd

    plain = [value.value if isinstance(value, Enum) else value for value in values]
    parts = [each for each in variants(part, whole) if {"type", "enum", "const"} & each.keys()]
    parts = [each for each in parts if each.get("type") != "null"]
    found: Mapping[str, Any] = parts[0] if len(parts) == 1 else {}
    words: list[object] = [*found.get("enum", ()), *([found["const"]] if "const" in found else [])]
    kinds = [str(kind) for kind in listed(found.get("type")) or [found.get("type")] if kind != "null"]
    if words and all(isinstance(word, str) for word in words):
        return pd.Categorical(plain, categories=words)
    try:
        if len(kinds) == 1 and kinds[0] in _DTYPES and "format" not in found:
            return _array(plain, _DTYPES[kinds[0]])
    except (TypeError, ValueError, OverflowError):  # a number beyond 64 bits, a type of the user's own
        pass
    return _array(plain, "object")
