"""Frames: made of plain records with stated dtypes, and read for a chart, whichever dtypes they come in.

pandas is imported when a frame is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from victor_nb.errors import ConfigError
from victor_nb.reports.summaries import DTYPES, Dtype, spend, styled, summary
from victor_nb.values import UNPAID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd
    from pandas import DataFrame

__all__ = [
    "DTYPES",
    "NOTHING",
    "Dtype",
    "Money",
    "added",
    "groups",
    "known",
    "mean",
    "money",
    "need",
    "numbers",
    "provenance",
    "records_frame",
    "spend",
    "styled",
    "summary",
    "words",
]
"""`spend`, `styled` and `summary` are made in `summaries`; notebooks import them from here."""

NOTHING: Final = "nothing to show yet"


# --- made ---


def records_frame(records: Iterable[Mapping[str, object]], columns: Mapping[str, Dtype] | Sequence[str]) -> DataFrame:
    """Return rows of plain values as a frame, with the same dtypes whatever the rows hold, also where there are none.

    Args:
        records: A mapping by column for each row; what is missing or None is unknown.
        columns: The columns in order, with their kinds, or by names whose kinds `DTYPES` knows (else text). A column
            that only the records name comes after these, of the dtype that pandas gives it.
    """
    import pandas as pd

    rows = list(records)
    kinds: Mapping[str, Dtype] = (
        columns if isinstance(columns, Mapping) else {name: DTYPES.get(name, "text") for name in columns}
    )
    frame = {name: _column(kind, [row.get(name) for row in rows]) for name, kind in kinds.items()}
    others = dict.fromkeys(name for row in rows for name in row if name not in kinds)
    return pd.DataFrame(frame | {name: [row.get(name) for row in rows] for name in others})


def _column(kind: Dtype, cells: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    if kind == "text":
        return pd.Series([None if cell is None or cell is pd.NA else str(cell) for cell in cells], dtype="string")
    if kind == "moment":
        moments = pd.to_datetime(pd.Series(cells, dtype="object"), utc=True)
        return pd.Series(moments).astype("datetime64[us, UTC]")
    if kind in {"count", "flag"}:
        return pd.Series(cells, dtype="Int64" if kind == "count" else "boolean")
    return pd.Series([math.nan if cell is None or cell is pd.NA else float(cell) for cell in cells], dtype="float64")


# --- read ---


def need(frame: DataFrame, chart: str, columns: Sequence[str], *, source: str) -> None:
    """Raise ConfigError if a frame lacks columns of a chart; `source` is where a frame that has them comes from."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"The chart {chart!r} needs the columns {', '.join(missing)}. Give it {source}.")


def _cells(frame: DataFrame, name: str) -> list[Any]:
    """Return the cells of a column, None where they are empty or where there is no such column."""
    import pandas as pd

    return [None if pd.isna(cell) else cell for cell in frame[name]] if name in frame else [None] * len(frame)


def numbers(frame: DataFrame, name: str) -> list[float]:
    """Return a column as floats, NaN where it is unknown."""
    return [math.nan if cell is None else float(cell) for cell in _cells(frame, name)]


def words(frame: DataFrame, name: str, *, missing: str = "") -> list[str]:
    """Return a column as texts, `missing` where it is empty."""
    return [missing if cell is None else str(cell) for cell in _cells(frame, name)]


def added(frame: DataFrame, name: str) -> float:
    """Return the sum of what is known of a column."""
    return sum(known(numbers(frame, name)))


def known(values: Iterable[float]) -> list[float]:
    """Return the values that are not NaN."""
    return [value for value in values if not math.isnan(value)]


def mean(values: Iterable[float]) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    found = known(values)
    return fmean(found) if found else math.nan


class Money(NamedTuple):
    """A sum of what is known in USD (NaN where there is nothing), and how many of its parts are not."""

    known: float
    unpriced: int


def money(frame: DataFrame, name: str = "cost") -> Money:
    """Return the sum of a column of costs. A row that counts its own `unpriced` parts adds that many."""
    costs = numbers(frame, name)
    counts = numbers(frame, "unpriced") if name == "cost" else [math.nan] * len(frame)
    unpriced = [
        max(0 if math.isnan(count) else int(count), 1 if math.isnan(cost) else 0)
        for cost, count in zip(costs, counts, strict=True)
    ]
    found = known(costs)
    return Money(sum(found) if found else math.nan, sum(unpriced))


def groups(frame: DataFrame, name: str, *, missing: str) -> Iterator[tuple[str, DataFrame]]:
    """Split a frame by the texts of a column, in order of first occurrence."""
    keys = words(frame, name, missing=missing)
    for key in dict.fromkeys(keys):
        yield key, frame[[each == key for each in keys]]


def provenance(frame: DataFrame, what: str = "list prices") -> str:
    """Describe figures that are not what a provider charged or took, such as `simulated: list prices`; else nothing."""
    modes = {mode for text in words(frame, "mode", missing="live") for mode in text.split()}
    found = [word for mode, word in UNPAID.items() if mode in modes]
    if not found:
        return ""
    partly = "partly " if modes - UNPAID.keys() else ""
    return f"{partly}{' and '.join(found)}: {what}"
