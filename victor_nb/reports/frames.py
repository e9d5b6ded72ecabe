"""Frames: what was recorded, as pandas likes it.

Whoever reaches for a frame finds it here, by `pkgutil.resolve_name("victor_nb.reports.frames:NAME")`:

    ledger_frame(columns)            the ledger, one row per attempt
    replies_frame(entries)           a fan-out, one row per answer or error       columns: `REPLIES`
    run_frame(run)                   a strategy run, one row per call             columns: `RUN`
    stages_frame(stages)             a strategy run, one row per stage            columns: `STAGES`
    compare_frame(records)           strategies x tasks, from mappings            columns: `COMPARE`
    what_if_frame(records)           attempts priced again, from mappings         columns: `WHAT_IF`
    records_frame(records, columns)  any mappings, with stated dtypes
    summary(frame, by="profile")     a ledger frame, summed up
    spend(frame, every="day")        a ledger frame's money over time
    styled(frame, caption=None)      any of these, as a notebook shows it; the frames themselves stay plain
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd

from victor_nb.accounting.rows import COLUMNS, REPEATED, SCHEMA
from victor_nb.errors import BudgetError
from victor_nb.money import NANOS_PER_USD
from victor_nb.reports.summaries import spend, summary
from victor_nb.values import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from decimal import Decimal

    from numpy.typing import NDArray

    from victor_nb.accounting.rows import Coded, Columns, Row
    from victor_nb.errors import VictorError
    from victor_nb.reports.styles import Table
    from victor_nb.workflows.fan_out import Entry
    from victor_nb.workflows.runs import StageResult, StrategyRun


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


def replies_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row for each entry of a fan-out, errors among them, with the columns of `REPLIES`.

    Tokens and cost (USD) are those of all attempts of the call; of an error, those of what had arrived by then.
    """
    places = ((entry, {"profile": entry.profile, "prompt": entry.prompt, "sample": entry.sample}) for entry in entries)
    return records_frame([{**_outcome(entry.outcome), **place} for entry, place in places], REPLIES)


def _outcome(outcome: Reply | VictorError) -> dict[str, object]:
    if isinstance(outcome, Reply):
        return _answer(outcome)
    reply: Reply | None = getattr(outcome, "reply", None)
    status = "refused" if isinstance(outcome, BudgetError) else "partial" if reply else "error"
    known = _answer(reply) if reply else {"model": getattr(outcome, "model", None) or None}
    return {**known, "status": status, "error": f"{type(outcome).__name__}: {outcome}"}


def _answer(reply: Reply) -> dict[str, object]:
    alike = "status model cost billed latency ttft attempts mode finish_reason content".split()
    counts = "input_tokens cache_read_tokens output_tokens reasoning_tokens".split()
    own = {name: getattr(reply, name) for name in alike}
    return {**own, **{name: getattr(reply.usage, name) for name in counts}, "served": reply.profile}


def run_frame(run: StrategyRun) -> pd.DataFrame:
    """Return one row for each call of a strategy run, failed ones among them, with the columns of `RUN`.

    A call's row sums up its attempts: tokens as far as they are known; cost (USD) NaN where that of any attempt is
    unknown; `latency` from the first request to the last answer, waits between them included.
    """
    places = {place["call_id"]: place for stage in run.stages for place in _places(stage)}
    return records_frame([{**call, **places.get(call["call_id"], {})} for call in call_records(run.rows)], RUN)


def call_records(rows: Iterable[Row]) -> list[dict[str, object]]:
    """Return a mapping for each call, of the rows of its attempts, by the time at which they were first sent."""
    calls: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.ts, row.attempt)):
        calls.setdefault(row.call_id, []).append(row)
    asked = [attempts[0].ts - timedelta(seconds=attempts[0].queue or 0) for attempts in calls.values()]
    return [_call(attempts, began=min(asked)) for attempts in calls.values()]


def _call(attempts: Sequence[Row], *, began: datetime) -> dict[str, object]:
    first, last = attempts[0], attempts[-1]
    waited = (last.ts - first.ts).total_seconds()
    same = "call_id strategy stage profile model status mode error".split()
    counts = "input_tokens cache_read_tokens output_tokens reasoning_tokens".split()
    return {
        **{name: getattr(last, name) for name in same},
        **{name: _known([getattr(row, name) for row in attempts]) for name in counts},
        "attempts": len(attempts),
        "cost": _total([row.cost for row in attempts]),
        "billed": _total([row.billed for row in attempts]),
        "latency": None if last.latency is None else waited + last.latency,
        "ttft": None if last.ttft is None else waited + last.ttft,
        "start": (first.ts - began).total_seconds(),
        "queue": first.queue,
    }


def _known(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _total(amounts: Sequence[Decimal | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return float(sum(known)) if len(known) == len(amounts) else None


def _places(stage: StageResult) -> Iterator[Mapping[str, object]]:
    """Tell of each reply of a stage which sample it is, and whether anything of it went on (None: nobody can tell)."""
    kept = [_words(item) for item in stage.kept]
    within = [any(item in _words(reply.content) for item in kept) for reply in stage.replies]
    whole = not stage.dropped
    for sample, (reply, found) in enumerate(zip(stage.replies, within, strict=True)):
        yield {"call_id": reply.call_id, "sample": sample, "kept": whole or (found if any(within) else None)}


def _words(text: str) -> str:
    return " ".join(text.split())


def stages_frame(stages: Iterable[StageResult]) -> pd.DataFrame:
    """Return one row for each stage of a strategy run, with the columns of `STAGES`.

    `cost` (USD) is NaN where that of any call is unknown, and `unpriced` counts these calls.
    """
    return records_frame([_stage(stage) for stage in stages], STAGES)


def _stage(stage: StageResult) -> dict[str, object]:
    modes = {reply.mode for reply in stage.replies}
    return {
        "stage": stage.name,
        "profile": stage.profile,
        "calls": len(stage.replies),
        "items": len(stage.items),
        "kept_items": len(stage.kept),
        "dropped_items": len(stage.dropped),
        "tokens": sum(reply.usage.total_tokens for reply in stage.replies),
        "cost": stage.cost,
        "unpriced": sum(reply.cost is None for reply in stage.replies),
        "began": stage.began,
        "ended": stage.ended,
        "mode": " ".join(sorted(modes)) or None,
    }


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
    series = {name: _BUILDERS_frames[SCHEMA[name].name](cells) for name, cells in columns.plain.items()}
    series |= dict(_categories(columns.repeated))
    series["tags"] = _tags(columns.tags)
    return pd.DataFrame({name: series[name] for name in COLUMNS}, copy=False)


def compare_frame(records: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return one row for each strategy and task, of mappings with the columns of `COMPARE`."""
    return records_frame(records, COMPARE)


def what_if_frame(records: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Return one row for each attempt that was priced again, of mappings with the columns of `WHAT_IF`."""
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


_BUILDERS_frames: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    "moment": _times,
    "count": _counts,
    "seconds": _floats,
    "money": _dollars,
    "text": _text,
}
