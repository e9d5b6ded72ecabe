"""Rows of plain values as a frame whose columns have the same dtypes whatever the rows hold, none at all included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Kind: TypeAlias = Literal["text", "count", "money", "seconds", "number", "flag", "moment", "object"]
"""What a column holds: `text` string, `count` Int64, `money` (USD), `seconds` and `number` float64, `flag` boolean,
`moment` datetime64[us, UTC], `object` whatever it is."""

KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("ts",), "moment"),
    **dict.fromkeys(("attempt", "attempts", "prompt", "sample", "calls", "retries", "unpriced"), "count"),
    **dict.fromkeys(("items", "kept_items", "dropped_items", "tokens", "input_tokens", "output_tokens"), "count"),
    **dict.fromkeys(("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"), "count"),
    **dict.fromkeys(("cost", "billed", "same_calls", "one_call"), "money"),
    **dict.fromkeys(("what_if_cost", "saved", "cumulative_cost"), "money"),
    **dict.fromkeys(("latency", "ttft", "queue", "start", "wall", "serial", "began", "ended"), "seconds"),
    **dict.fromkeys(("latency_p50", "latency_p95", "ttft_p50", "ttft_p95"), "seconds"),
    **dict.fromkeys(("score", "score_se", "tokens_per_second", "error_rate", "cache_share", "ratio"), "number"),
    **dict.fromkeys(("kept", "complete", "estimated"), "flag"),
}
"""What columns of these names hold; any other is text."""

REPLIES: Final = (
    "profile prompt sample status served model input_tokens cache_read_tokens output_tokens reasoning_tokens cost "
    "billed latency ttft attempts mode finish_reason content error"
).split()
"""One row for each entry of a fan-out. `served` is the profile that answered, where another one stood in."""

RUN: Final = (
    "call_id strategy stage profile model sample status kept attempts mode input_tokens cache_read_tokens "
    "output_tokens reasoning_tokens cost billed latency ttft start queue error"
).split()
"""One row for each call of a strategy run. `start` is in seconds from the run's first call to this one's request; it
waited `queue` seconds before that."""

STAGES: Final = "stage profile calls items kept_items dropped_items tokens cost unpriced began ended mode".split()
"""One row for each stage of a strategy run: how many items it came to, and how many of them went on."""

COMPARE: Final = (
    "strategy task cost billed unpriced calls tokens wall serial score score_se baseline same_calls one_call estimated "
    "complete mode run_id error"
).split()
"""One row for each strategy and task. `same_calls` and `one_call` (USD) are what the two baselines would have cost at
the profile that `baseline` names; `estimated` tells whether `one_call` is a guess."""

WHAT_IF: Final = (
    "call_id run_id strategy stage profile model what_if input_tokens cache_read_tokens output_tokens cost "
    "what_if_cost saved mode"
).split()
"""One row for each attempt, priced again: `what_if` is the profile or model whose prices `what_if_cost` (USD) takes."""


def records_frame(records: Iterable[Mapping[str, object]], columns: Mapping[str, Kind] | Sequence[str]) -> pd.DataFrame:
    """Return rows of plain values as a frame.

    Args:
        records: A mapping by column for each row; what is missing or None is unknown.
        columns: The columns in order, with their kinds, or by names whose kinds `KINDS` knows (else text). A column
            that only the records name comes after these, of the dtype that pandas gives it.
    """
    rows = list(records)
    kinds = _kinds(columns)
    frame = {name: _BUILDERS[kind]([row.get(name) for row in rows]) for name, kind in kinds.items()}
    others = dict.fromkeys(name for row in rows for name in row if name not in kinds)
    return pd.DataFrame(frame | {name: [row.get(name) for row in rows] for name in others})


def _kinds(columns: Mapping[str, Kind] | Sequence[str]) -> dict[str, Kind]:
    if isinstance(columns, Mapping):
        return {**columns}
    return {name: KINDS.get(name, "text") for name in columns}


def _numbers(cells: Sequence[Any]) -> pd.Series[float]:
    known = [np.nan if cell is None or cell is pd.NA else float(cell) for cell in cells]
    return pd.Series(known, dtype="float64")


def _texts(cells: Sequence[Any]) -> pd.Series[Any]:
    return pd.Series([None if cell is None or cell is pd.NA else str(cell) for cell in cells], dtype="string")


def _moments(cells: Sequence[Any]) -> pd.Series[Any]:
    return pd.Series(pd.to_datetime(pd.Series(cells, dtype="object"), utc=True)).astype("datetime64[us, UTC]")


def _of(dtype: Any) -> Callable[[Sequence[Any]], pd.Series[Any]]:  # noqa: ANN401 - pandas has no one word for a dtype
    return lambda cells: pd.Series(cells, dtype=dtype)


_BUILDERS: Final[Mapping[Kind, Callable[[Sequence[Any]], pd.Series[Any]]]] = {
    "text": _texts,
    "count": _of("Int64"),
    "money": _numbers,
    "seconds": _numbers,
    "number": _numbers,
    "flag": _of("boolean"),
    "moment": _moments,
    "object": _of("object"),
}
