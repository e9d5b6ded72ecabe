"""What charts read from a frame, whichever dtype it comes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd

from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

NOTHING: Final = "nothing to show yet"
_UNBILLED: Final = {"simulate": "simulated", "replay": "replayed"}


def need(frame: pd.DataFrame, chart: str, columns: Sequence[str], *, source: str) -> pd.DataFrame:
    """Return the frame, if it has these columns.

    Args:
        frame: What was given.
        chart: The chart's name.
        columns: What it cannot do without.
        source: Where a frame that has them comes from.

    Raises:
        ConfigError: It has not.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"The chart {chart!r} needs the columns {', '.join(missing)}. Give it {source}.")
    return frame


def numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as floats, NaN where it is unknown or where there is no such column."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return np.array([np.nan if pd.isna(cell) else float(cell) for cell in frame[name]], dtype=np.float64)


def words(frame: pd.DataFrame, name: str, *, missing: str = "") -> list[str]:
    """Return a column as texts, `missing` where it says nothing or where there is no such column."""
    if name not in frame.columns:
        return [missing] * len(frame)
    return [missing if pd.isna(cell) else str(cell) for cell in frame[name]]


class Money(NamedTuple):
    """A sum of what is known in USD (NaN where there is nothing), and how many of its parts are not."""

    known: float
    unpriced: int


def money(frame: pd.DataFrame, name: str = "cost") -> Money:
    """Add up a column of costs. A row that says itself how much of it is `unpriced` is taken at its word."""
    costs = numbers(frame, name)
    lacking = np.isnan(costs)
    said = np.nan_to_num(numbers(frame, "unpriced")) if name == "cost" else np.zeros(len(frame))
    unpriced = np.where(lacking, np.maximum(said, 1), said)
    known = float(np.nansum(costs)) if not lacking.all() else float("nan")
    return Money(known, int(unpriced.sum()))


def groups(frame: pd.DataFrame, name: str, *, missing: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Part a frame by the texts of a column, in the order in which they come."""
    keys = pd.Series(words(frame, name, missing=missing), index=frame.index, dtype="object")
    for key in dict.fromkeys(keys):
        yield key, frame[keys == key]


def provenance(frame: pd.DataFrame, what: str = "list prices") -> str:
    """Say whether figures of the frame are not what a provider charged or took: `simulated: list prices`."""
    modes = {mode for text in words(frame, "mode", missing="live") for mode in text.split()}
    said = [word for mode, word in _UNBILLED.items() if mode in modes]
    if not said:
        return ""
    partly = "partly " if modes - _UNBILLED.keys() else ""
    return f"{partly}{' and '.join(said)}: {what}"


def mean(values: Any) -> float:  # noqa: ANN401 - whatever numpy takes
    """Return the mean of what is known; NaN where nothing is."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")
