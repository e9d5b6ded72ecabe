"""The frames of a fan-out and of a strategy run, one row for each call or stage."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from victor_nb.errors import BudgetError
from victor_nb.reports.records import REPLIES, RUN, STAGES, records_frame
from victor_nb.values import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import pandas as pd

    from victor_nb.accounting.rows import Row
    from victor_nb.errors import VictorError
    from victor_nb.workflows.replies import Entry
    from victor_nb.workflows.runs import StageResult, StrategyRun


def replies_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row for each entry of a fan-out, errors among them, with the columns of `records.REPLIES`.

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
    """Return one row for each call of a strategy run, failed ones among them, with the columns of `records.RUN`.

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
    """Return one row for each stage of a strategy run, with the columns of `records.STAGES`.

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
