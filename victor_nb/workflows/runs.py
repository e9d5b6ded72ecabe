"""What a strategy came to: the answer, every stage on the way to it, and what all of it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from victor_nb.money import Total, exact_sum
from victor_nb.reports.charts import plot
from victor_nb.reports.frames import records_frame
from victor_nb.values import Usage
from victor_nb.workflows.what_if import usage_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from victor_nb.accounting.rows import Row
    from victor_nb.values import Reply
    from victor_nb.workflows.baselines import Savings
    from victor_nb.workflows.engine import Engine
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.progress import StageState, Work

Baseline = Literal["same_calls", "one_call"]
_APPROVED: Final = "approved"


@dataclass(frozen=True)
class StageResult:
    """What one stage came to.

    Attributes:
        replies: The answers, and what had come of those that broke off or were stopped.
        items: What the answers were read as; of a stage that ranks, what it ranked.
        kept: What went on to later stages, best first.
        dropped: What did not.
        notes: What could not be read, which samples were lost, why the stage failed.
        began: Seconds from the run's start; so is `ended`.
        cost: List price in USD of all its attempts; None when that of any is unknown.
        state: How it ended.
        accepted: What its `accept` said; None where it has none.
    """

    name: str
    profile: str
    replies: tuple[Reply, ...]
    items: tuple[str, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]
    began: float
    ended: float
    cost: Decimal | None
    state: StageState = "done"
    accepted: bool | None = None

    @property
    def content(self) -> str:
        """What it has to give: what it kept, several items as a numbered list; else what had come."""
        from victor_nb.workflows.progress import in_place  # noqa: PLC0415 - shared with the live run

        return in_place(self.kept) if self.kept else "\n\n".join(reply.content for reply in self.replies)

    def __str__(self) -> str:
        return self.content


@dataclass(frozen=True, repr=False)
class StrategyRun:
    """A strategy that has ended, well or not. `str(run)` is the final answer.

    Attributes:
        strategy: The strategy's name.
        run_id: What its rows in the ledger share.
        content: The final answer: what the last stage gave; a review or tests stand under a heading behind what they
            are about, unless a review begins with APPROVED. Of a run that was stopped, the furthest that it got.
        answer: The same without what other stages say about it.
        stages: Those that began, in the order of the strategy.
        path: The profiles that were asked, in order; of a cascade, the last one is whose answer was taken.
        complete: Whether every call of every stage was made, or left out because an answer was accepted.
        stopped: Why not, where it is not complete.
        wall: Seconds from start to end.
        final: The stage that wrote the answer; None where nothing was written.
        rows: Its attempts, as the ledger has them.
        pool: Whose profiles were asked.
    """

    strategy: str
    task: str
    run_id: str
    content: str
    answer: str
    stages: tuple[StageResult, ...]
    path: tuple[str, ...]
    complete: bool
    stopped: str | None
    wall: float
    final: str | None
    rows: tuple[Row, ...]
    pool: OrchestratorPool = field(compare=False)

    def __getitem__(self, stage: str) -> StageResult:
        for found in self.stages:
            if found.name == stage:
                return found
        raise KeyError(f"{stage!r} is no stage of this run. It has {', '.join(each.name for each in self.stages)}.")

    __iter__ = None
    """A run is looked into by the names of its stages, not looped over."""

    def __str__(self) -> str:
        return self.content

    def __format__(self, spec: str) -> str:
        return format(self.content, spec)

    def __repr__(self) -> str:
        stages = ", ".join(f"{stage.name}: {len(stage.kept)} of {len(stage.items)}" for stage in self.stages)
        state = "complete" if self.complete else f"stopped: {self.stopped}"
        return f"StrategyRun({self.strategy!r}, {state}, {self.spent}, {self.calls} calls, {stages})"

    @property
    def spent(self) -> Total:
        """What its attempts cost as far as it is known, and how many are not priced."""
        return Total.of(self.rows)

    @property
    def cost(self) -> Decimal | None:
        """List price in USD of all attempts, failed ones too; None when that of any is unknown."""
        return self.spent.exact_cost

    @property
    def billed(self) -> Decimal | None:
        """What was really paid, in USD; None when that is unknown for any attempt."""
        return self.spent.exact_billed

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts, as far as they are known."""
        return sum(map(usage_of, self.rows), Usage())

    @property
    def calls(self) -> int:
        """Calls that were sent, however often each was tried."""
        return len({row.call_id for row in self.rows if row.status != "refused"})

    @property
    def serial(self) -> float:
        """Seconds that the calls would have taken one after the other, waits for a place aside."""
        return sum(_latencies(self.rows))

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each call, failed ones too: stage, profile, tokens, cost (USD), latency, start (s), ...

        A row sums up the attempts of a call: tokens as far as they are known; cost NaN where that of any attempt is
        unknown; `latency` from the first request to the last answer, waits between them included.
        """
        places = {place["call_id"]: place for stage in self.stages for place in _places(stage)}
        records = [{**call, **places.get(call["call_id"], {})} for call in call_records(self.rows)]
        return records_frame(records, RUN)

    def stages_frame(self) -> pd.DataFrame:
        """Return one row for each stage: profile, items, tokens, cost (USD, NaN where any is unknown), times (s)."""
        return records_frame([_stage(stage) for stage in self.stages], STAGES)

    def savings(self, baseline: str = "premium", kind: Baseline = "same_calls", *, measure: bool = False) -> Savings:
        """Compare what the run cost with a baseline: `same_calls` at another profile's prices, or `one_call` to it.

        Args:
            baseline: The profile, or a model that the price list knows.
            kind: `same_calls` prices every attempt of the run at the baseline's rates, from its own tokens. `one_call`
                prices one direct answer.
            measure: Ask for the one direct answer really, which costs what it costs and blocks. Else it is estimated
                (see `victor_nb.workflows.baselines.one_call`).

        Raises:
            ConfigError: The baseline is neither a profile nor a model with a known price.
        """
        from victor_nb.workflows.baselines import savings  # noqa: PLC0415 - it compares runs

        return savings(self, baseline, kind, measure=measure)

    def plot(
        self, kind: str = "cost_by_stage", *, baseline: str | None = None, ax: Axes | None = None, **options: object
    ) -> Figure:
        """Chart the run; `victor_nb.reports.charts` lists the kinds.

        Args:
            kind: `cost_by_stage`, `funnel`, `gantt`, `tokens_vs_cost`.
            baseline: A profile or a model; the attempts are then drawn with what they would have cost at its prices.
            ax: Where to draw, if not on a new figure.
            **options: What the chart takes beside its frame.
        """
        from victor_nb.workflows.what_if import what_if  # noqa: PLC0415 - it compares runs

        source = self if baseline is None else what_if(self.rows, {"*": baseline}, by=None, pool=self.pool)
        return plot(kind, source, ax=ax, **options)


def collect(engine: Engine) -> StrategyRun:
    """Return what a run has come to so far. It reads the ledger: not on the background loop."""
    rows = tuple(engine.runtime.ledger.rows(run_id=engine.run_id))
    begun = [work for work in engine.works if work.began is not None]
    last = engine.accepted or next((work for work in reversed(begun) if work.text.strip()), None)
    base = _base(last, begun)
    answer = base.text if base else ""
    added = [work for work in begun if base is not None and work.stage.adds_to == base.stage.name]
    parts = [answer, *(_under_heading(work) for work in added if _adds(work.text))]
    return StrategyRun(
        strategy=engine.name,
        task=engine.task,
        run_id=engine.run_id,
        content="\n\n".join(parts),
        answer=answer,
        stages=tuple(_result(work, rows, engine.clock.now) for work in begun),
        path=tuple(work.stage.profile for work in begun),
        complete=engine.stopped is None and engine.clock.stopped,
        stopped=engine.stopped or (None if engine.clock.stopped else "it has not ended"),
        wall=engine.clock.now,
        final=base.stage.name if base else None,
        rows=rows,
        pool=engine.pool,
    )


def _base(last: Work | None, begun: Iterable[Work]) -> Work | None:
    """Return the stage that wrote the answer: the last one, or what that one is about."""
    works = {work.stage.name: work for work in begun}
    while last is not None and last.stage.adds_to is not None:
        last = works.get(last.stage.adds_to)
    return last


def _adds(text: str) -> bool:
    """Tell whether a stage has something to add: `APPROVED`, in whatever markup, adds nothing."""
    words = text.strip(" \n\t*_#`>-").casefold()
    return bool(words) and not words.startswith(_APPROVED)


def _under_heading(work: Work) -> str:
    return f"## {work.stage.name.replace('_', ' ').replace('-', ' ').capitalize()}\n\n{work.text}"


def _result(work: Work, rows: Iterable[Row], now: float) -> StageResult:
    own = [row for row in rows if row.stage == work.stage.name]
    return StageResult(
        name=work.stage.name,
        profile=work.stage.profile,
        replies=work.replies,
        items=work.items,
        kept=work.kept,
        dropped=work.dropped,
        notes=tuple(work.notes),
        began=work.began or 0.0,
        ended=now if work.ended is None else work.ended,
        cost=exact_sum(row.cost for row in own),
        state=work.state,
        accepted=work.accepted,
    )


def _latencies(rows: Iterable[Row]) -> list[float]:
    """Return the seconds of each call: from its first request to the end of its last, waits between them included."""
    calls: dict[str, list[Row]] = {}
    for row in rows:
        calls.setdefault(row.call_id, []).append(row)
    spans: list[float] = []
    for attempts in calls.values():
        first, last = min(attempts, key=lambda row: row.attempt), max(attempts, key=lambda row: row.attempt)
        spans.append((last.ts - first.ts).total_seconds() + (last.latency or 0.0))
    return spans


# --- a run as frames ---

RUN: Final = (
    "call_id strategy stage profile model sample status kept attempts mode input_tokens cache_read_tokens "
    "output_tokens reasoning_tokens cost billed latency ttft start queue error"
).split()
"""One row for each call of a strategy run. `start` is in seconds from the run's first call to this one's request; it
waited `queue` seconds before that."""

STAGES: Final = "stage profile calls items kept_items dropped_items tokens cost unpriced began ended mode".split()
"""One row for each stage of a strategy run: how many items it came to, and how many of them went on."""


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
        "cost": exact_sum(row.cost for row in attempts),
        "billed": exact_sum(row.billed for row in attempts),
        "latency": None if last.latency is None else waited + last.latency,
        "ttft": None if last.ttft is None else waited + last.ttft,
        "start": (first.ts - began).total_seconds(),
        "queue": first.queue,
    }


def _known(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _places(stage: StageResult) -> Iterator[Mapping[str, object]]:
    """Give each reply of a stage its sample, and whether anything of it went on (None: its text does not show it)."""
    kept = [_words(item) for item in stage.kept]
    within = [any(item in _words(reply.content) for item in kept) for reply in stage.replies]
    whole = not stage.dropped
    for sample, (reply, found) in enumerate(zip(stage.replies, within, strict=True)):
        yield {"call_id": reply.call_id, "sample": sample, "kept": whole or (found if any(within) else None)}


def _words(text: str) -> str:
    return " ".join(text.split())


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
