"""The result of a strategy: its answer, its stages, and what they cost and took."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from victor_nb.errors import ConfigError, VictorInterrupted
from victor_nb.money import Baseline, Savings, Total, exact_sum
from victor_nb.reports.charts import plot
from victor_nb.reports.frames import records_frame
from victor_nb.values import Quotable, Reply, Usage
from victor_nb.workflows.orchestrator_pool import OrchestratorPool, kernel_pool
from victor_nb.workflows.progress import StageState, in_place
from victor_nb.workflows.what_if import find_tariff, reprice, what_if

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from victor_nb.accounting.pricing import Tariff
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import CallOptions
    from victor_nb.reports.charts import Axes, Figure
    from victor_nb.reports.frames import DataFrame


@dataclass(frozen=True)
class StageResult(Quotable):
    """The result of one stage.

    Attributes:
        replies: The answers, and what had come of those that broke off or were stopped.
        items: What the answers were read as; of a stage that ranks, what it ranked.
        kept: What went on to later stages, best first.
        dropped: What did not.
        notes: What could not be read, which samples were lost, why the stage failed.
        began: Seconds from the run's start; so is `ended`.
        spent: What all its attempts cost as far as it is known, and how many are not priced.
        state: How it ended.
        accepted: The verdict of its `accept`; None where it has none.
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
    spent: Total
    state: StageState = "done"
    accepted: bool | None = None

    @property
    def cost(self) -> Decimal | None:
        """List price in USD of all its attempts; None when that of any is unknown."""
        return self.spent.exact_cost

    @property
    def content(self) -> str:
        """The output of the stage: what it kept, several items as a numbered list; else what had come."""
        return in_place(self.kept) if self.kept else "\n\n".join(reply.content for reply in self.replies)

    def __str__(self) -> str:
        return self.content


@dataclass(frozen=True, repr=False)
class StrategyRun(Quotable):
    """A strategy that has ended, well or not. `str(run)` is the final answer.

    Attributes:
        strategy: The strategy's name.
        run_id: What its rows in the ledger share.
        content: The final answer: what the last stage gave; a review or tests stand under a heading behind what they
            are about, unless a review begins with APPROVED. Of a run that was stopped, the furthest that it got.
        answer: The same without the remarks of other stages about it.
        stages: Those that began, in the order of the strategy.
        path: The profiles that were asked, in order; of a cascade, the last one is whose answer was taken.
        complete: Whether every call of every stage was made, or left out because an answer was accepted.
        stopped: Why not, where it is not complete.
        wall: Seconds from start to end.
        final: The stage that wrote the answer; None where nothing was written.
        rows: Its attempts, as the ledger has them.
        asked: The pool whose profiles were asked; None in a process that the run was sent to.
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
    asked: OrchestratorPool | None = field(default=None, compare=False)

    @property
    def data(self) -> Any:  # noqa: ANN401 - of whatever type the schema is
        """The answer as a value, where the stage that wrote it has a schema; else None."""
        replies = [reply for stage in self.stages if stage.name == self.final for reply in stage.replies]
        chosen = [reply for reply in replies if reply.content.strip() == self.answer.strip()] or replies
        return chosen[0].data if chosen else None

    @property
    def pool(self) -> OrchestratorPool:
        """The pool whose profiles baselines name: the one that was asked, else this process's own."""
        return self.asked or kernel_pool()

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "asked": None}

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
        """The amount billed, in USD; None when that is unknown for any attempt."""
        return self.spent.exact_billed

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts, as far as they are known."""
        return sum((row.usage for row in self.rows), Usage())

    @property
    def calls(self) -> int:
        """Calls that were sent, however often each was tried."""
        return len({row.call_id for row in self.rows if row.status != "refused"})

    @property
    def serial(self) -> float:
        """Seconds that the calls would have taken one after the other, waits for a place aside."""
        return sum(_waited(attempts) + (attempts[-1].latency or 0.0) for attempts in _by_call(self.rows))

    def to_frame(self) -> DataFrame:
        """Return one row for each call, failed ones too: stage, profile, tokens, cost (USD), latency, start (s), ...

        A row sums up the attempts of a call: tokens as far as they are known; cost NaN where that of any attempt is
        unknown; `latency` from the first request to the last answer, waits between them included.
        """
        places = {place["call_id"]: place for stage in self.stages for place in _places(stage)}
        records = [{**call, **places.get(call["call_id"], {})} for call in call_records(self.rows)]
        return records_frame(records, RUN)

    def stages_frame(self) -> DataFrame:
        """Return one row for each stage: profile, items, tokens, cost (USD, NaN where any is unknown), times (s)."""
        return records_frame([_stage(stage) for stage in self.stages], STAGES)

    def savings(self, baseline: str = "premium", kind: Baseline = "same_calls", *, measure: bool = False) -> Savings:
        """Compare what the run cost with a baseline: `same_calls` at another profile's prices, or `one_call` to it.

        Args:
            baseline: The profile, or a model that the price list knows.
            kind: `same_calls` prices every attempt of the run at the baseline's rates, from its own tokens. `one_call`
                prices one direct answer.
            measure: Ask for the one direct answer really, which costs what it costs and blocks. Else it is estimated
                (see `victor_nb.workflows.runs.one_call`).

        Raises:
            ConfigError: The baseline is neither a profile nor a model with a known price.
        """
        tariff = find_tariff(baseline, self.pool)
        if kind == "same_calls":
            costs = [reprice(row, tariff) for row in self.rows]
            words, cost, estimated = f"the same calls at {baseline}'s prices", exact_sum(costs), False
        elif kind == "one_call":
            costs = [Decimal(0) for _ in self.rows]
            words, estimated = f"one call to {baseline}", not measure
            cost = measured(self, baseline) if measure else one_call(self, tariff)
        else:
            raise ConfigError(f"There is no baseline {kind!r}. Use 'same_calls' or 'one_call'.")
        return Savings(
            baseline=words,
            kind=kind,
            profile=baseline,
            cost=self.cost,
            baseline_cost=cost,
            estimated=estimated,
            unpriced=sum(row.cost is None or other is None for row, other in zip(self.rows, costs, strict=True)),
            attempts=len(self.rows),
            complete=self.complete,
        )

    def plot(
        self, kind: str = "cost_by_stage", *, baseline: str | None = None, ax: Axes | None = None, **options: object
    ) -> Figure:
        """Chart the run; `victor_nb.reports.charts` lists the kinds.

        Args:
            kind: A chart of stages, calls or the ledger, such as `cost_by_stage`.
            baseline: A profile or a model; the attempts are then drawn with what they would have cost at its prices.
            ax: Where to draw, if not on a new figure.
            **options: What the chart takes beside its frame.
        """
        source = self if baseline is None else what_if(self.rows, {"*": baseline}, by=None, pool=self.pool)
        return plot(kind, source, ax=ax, **options)


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
    calls = _by_call(rows)
    asked = [attempts[0].ts - timedelta(seconds=attempts[0].queue or 0) for attempts in calls]
    return [_call(attempts, began=min(asked)) for attempts in calls]


def _by_call(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the attempts of each call, in the order in which they were sent."""
    calls: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.ts, row.attempt)):
        calls.setdefault(row.call_id, []).append(row)
    return list(calls.values())


def _waited(attempts: Sequence[Row]) -> float:
    """Return the seconds from the first request of a call to its last."""
    return (attempts[-1].ts - attempts[0].ts).total_seconds()


def _call(attempts: Sequence[Row], *, began: datetime) -> dict[str, object]:
    first, last = attempts[0], attempts[-1]
    waited, spent = _waited(attempts), Total.of(attempts)
    same = "call_id strategy stage profile model status mode error".split()
    counts = "input_tokens cache_read_tokens output_tokens reasoning_tokens".split()
    return {
        **{name: getattr(last, name) for name in same},
        **{name: _known([getattr(row, name) for row in attempts]) for name in counts},
        "attempts": len(attempts),
        "cost": spent.exact_cost,
        "billed": spent.exact_billed,
        "latency": None if last.latency is None else waited + last.latency,
        "ttft": None if last.ttft is None else waited + last.ttft,
        "start": (first.ts - began).total_seconds(),
        "queue": first.queue,
    }


def _known(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _places(stage: StageResult) -> Iterator[Mapping[str, object]]:
    """Yield the sample of each reply of a stage, and whether any of it was kept (None: its text does not show it)."""
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
        "unpriced": stage.spent.unpriced,
        "began": stage.began,
        "ended": stage.ended,
        "mode": " ".join(sorted(modes)) or None,
    }


def one_call(run: StrategyRun, tariff: Tariff) -> Decimal | None:
    """Estimate what one direct answer would have cost, in USD; None when no stage has known tokens.

    Its output is as long as the answer that the run came to (the mean of that stage's samples); its input is the
    shortest that any of the run's calls had, which is the task and an instruction. What stages pass to each other, one
    call does not have to read.
    """
    answered = [row for row in run.rows if row.status in {"ok", "partial"} and row.output_tokens is not None]
    final = [row.output_tokens or 0 for row in answered if row.stage == run.final]
    if not final:
        return None
    shortest = min(row.input_tokens or 0 for row in answered)
    return tariff.price(Usage(input_tokens=shortest, output_tokens=round(sum(final) / len(final)))).cost


def measured(run: StrategyRun, profile: str) -> Decimal | None:
    """Ask a profile the task directly, and return what that cost, in USD. Its rows are of strategy `baseline`.

    Raises:
        ConfigError: It is a model, which cannot be asked without a profile.
        VictorError: No answer came.
        VictorInterrupted: Stop was pressed, or `session().cancel()` called; `partial` is the run that was to be
            compared.
    """
    if run.pool.settings.find(profile) is None:
        raise ConfigError(f"{profile!r} is a model. To measure it, name a profile that asks it.")
    options: CallOptions = {"strategy": "baseline", "stage": "one_call"}
    direct = run.pool.get_orchestrator(profile).call(run.task, options, stream=False)
    try:
        return run.pool.runtime.loop.start(direct.run).result().cost
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise VictorInterrupted(f"stopped {profile} before it had answered.", run) from None
