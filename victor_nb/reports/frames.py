"""Frames: what was recorded, as pandas likes it.

Whoever reaches for a frame finds it here, by `pkgutil.resolve_name("victor_nb.reports.frames:NAME")`:

    ledger_frame(columns)            the ledger, one row per attempt
    replies_frame(entries)           a fan-out, one row per answer or error       columns: `records.REPLIES`
    run_frame(run)                   a strategy run, one row per call             columns: `records.RUN`
    stages_frame(stages)             a strategy run, one row per stage            columns: `records.STAGES`
    compare_frame(records)           strategies x tasks, from mappings            columns: `records.COMPARE`
    what_if_frame(records)           attempts priced again, from mappings         columns: `records.WHAT_IF`
    records_frame(records, columns)  any mappings, with stated dtypes
    summary(frame, by="profile")     a ledger frame, summed up
    spend(frame, every="day")        a ledger frame's money over time
    styled(frame, caption=None)      any of these, as a notebook shows it; the frames themselves stay plain
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pandas as pd

from victor_nb.accounting.columns import REPEATED
from victor_nb.accounting.money import NANOS_PER_USD
from victor_nb.accounting.rows import COLUMNS, SCHEMA
from victor_nb.reports.calls import replies_frame, run_frame, stages_frame
from victor_nb.reports.records import COMPARE, WHAT_IF, records_frame
from victor_nb.reports.summaries import spend, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from victor_nb.accounting.columns import Coded, Columns
    from victor_nb.reports.styles import Table

__all__ = [
    "compare_frame",
    "ledger_frame",
    "records_frame",
    "replies_frame",
    "run_frame",
    "spend",
    "stages_frame",
    "styled",
    "summary",
    "what_if_frame",
]

Floats: TypeAlias = "NDArray[np.float64]"


def ledger_frame(columns: Columns) -> pd.DataFrame:
    """Return the ledger as a frame, one row per attempt, from its columns as they are on disk.

    Returns:
        `ts` datetime64[us, UTC]; counts Int64; `cost` and `billed` (USD) and seconds float64, NaN where unknown;
        repeated strings category; other text string; `tags` dicts. The same dtypes where there are no rows.
    """
    series = {name: _BUILDERS[SCHEMA[name].name](cells) for name, cells in columns.plain.items()}
    series |= dict(_categories(columns.repeated))
    series["tags"] = _tags(columns.tags)
    return pd.DataFrame({name: series[name] for name in COLUMNS}, copy=False)


def compare_frame(records: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return one row for each strategy and task, of mappings with the columns of `records.COMPARE`."""
    return records_frame(records, COMPARE)


def what_if_frame(records: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return one row for each attempt that was priced again, of mappings with the columns of `records.WHAT_IF`."""
    return records_frame(records, WHAT_IF)


def styled(frame: pd.DataFrame, caption: str | None = None, *, rows: int = 100) -> Table:
    """Return a frame as a notebook shows it: a pandas Styler; `victor_nb.reports.styles.styled` says the rest."""
    from victor_nb.reports import styles  # noqa: PLC0415 - pandas' Styler imports jinja2, which no other frame needs

    return styles.styled(frame, caption, rows=rows)


def _floats(cells: Sequence[float | None]) -> Floats:
    """Return the cells as numbers, NaN for None."""
    return np.array(cells, dtype=np.float64)


def _dollars(cells: Sequence[int | None]) -> Floats:
    return _floats(cells) / NANOS_PER_USD


def _counts(cells: Sequence[int | None]) -> pd.api.extensions.ExtensionArray:
    numbers = _floats(cells)
    unknown = np.isnan(numbers)
    return pd.arrays.IntegerArray(np.where(unknown, 0, numbers).astype(np.int64), unknown)


def _times(cells: Sequence[int]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.array(cells, dtype=np.int64).view("datetime64[us]")).tz_localize("UTC")


def _text(cells: Sequence[str | None]) -> pd.api.extensions.ExtensionArray:
    return pd.array(np.array(cells, dtype=object), dtype="string")


def _categories(repeated: Coded) -> Iterator[tuple[str, pd.Categorical[str]]]:
    """Give each of the columns that were read as one, its words in alphabetical order."""
    codes = np.array(repeated.codes, dtype=np.int64)
    rows: list[list[str | None]] = [json.loads(text) for text in repeated.texts]
    for position, name in enumerate(REPEATED):
        column = [row[position] for row in rows]
        words = sorted({word for word in column if word is not None})
        number = {word: place for place, word in enumerate(words)}
        numbers = np.array([-1 if word is None else number[word] for word in column], dtype=np.int64)
        categories: pd.Index[str] = pd.Index(words, dtype="str")
        yield name, pd.Categorical.from_codes(numbers[codes], categories=categories)


def _tags(tags: Coded) -> NDArray[np.object_]:
    """Return a dict for each row, no two of them the same object."""
    known: list[dict[str, str]] = [json.loads(text) for text in tags.texts]
    cells = np.empty(len(tags.codes), dtype=object)
    cells[:] = [known[code].copy() for code in tags.codes]
    return cells


_BUILDERS: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    "moment": _times,
    "count": _counts,
    "seconds": _floats,
    "money": _dollars,
    "text": _text,
}
