"""Strategies on the same tasks, side by side: what each costs, how long it takes, and how good its answers are."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, Unpack, cast, get_args
from uuid import uuid4

from victor_nb.errors import ConfigError, TapeMissError, VictorError, VictorInterrupted, VictorWarning, failed_at
from victor_nb.money import Total, exact_sum
from victor_nb.reports.charts.text import short
from victor_nb.reports.frames import records_frame
from victor_nb.reports.statistics import Judgement, Score, place_alone, scores
from victor_nb.workflows.checks import FAULTS, as_check
from victor_nb.workflows.engine import collect
from victor_nb.workflows.judge import judge
from victor_nb.workflows.orchestrator_pool import kernel_pool
from victor_nb.workflows.progress_bar import Bar, Tally
from victor_nb.workflows.runs import one_call
from victor_nb.workflows.strategies import Single, find_strategy
from victor_nb.workflows.what_if import find_tariff, reprice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from victor_nb.accounting.pricing import Tariff
    from victor_nb.calls.request import CallOptions
    from victor_nb.reports.frames import DataFrame
    from victor_nb.workflows.checks import Check
    from victor_nb.workflows.engine import Engine
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.runs import StrategyRun
    from victor_nb.workflows.strategies import Strategy


Judge: TypeAlias = "str | Check | Callable[[str, str], float | bool]"
"""Who scores answers: a profile, a rule, or a function of the task and the answer."""

Failures: TypeAlias = Literal["out", "zero"]
"""How a run without an answer counts: it leaves its task out of the comparison, or has the score 0."""

COMPARE: Final = (
    "strategy task cost billed unpriced calls tokens wall serial score score_se score_df judge judge_cost answered "
    "baseline same_calls one_call estimated complete mode run_id error"
).split()
"""One row for each strategy and task. `cost`, `billed` (USD) are NaN where a part is unknown; `unpriced` counts these.
`wall` and `serial` are seconds. `score` is from 0 to 1, `score_se` its standard error beside other answers to the task,
with `score_df` degrees of freedom (none for two answers read twice). `judge_cost` (USD) is shared by the answers that
were read. `answered` is `1 of 5` of a strategy's runs. `same_calls` and `one_call` (USD) are what the two baselines
would have cost at the profile that `baseline` names; `estimated` is True where `one_call` is a guess."""


@dataclass(slots=True)
class Entry:
    """One strategy on one task: the run, or the error in its place."""

    strategy: Strategy
    task: str
    run: StrategyRun | None = None
    error: VictorError | None = None
    score: Score = field(default_factory=Score)

    @property
    def fault(self) -> str | None:
        """Why there is no answer to judge; None where there is."""
        if self.error is not None or self.run is None:
            return str(self.error or "it has not ended")
        return self.run.stopped or (None if self.run.content.strip() else "the answer is empty")


@dataclass
class Comparison:
    """Strategies on the same tasks: what has come of it so far, which `compare` returns as a frame.

    Attributes:
        entries: One for each run that has ended, in the order in which they did; at the end, task by task.
        warnings: Which runs failed, and what became of judgements that could not be had or read.
        judging: What the judge cost, once it has ended.
    """

    strategies: list[Strategy]
    tasks: list[str]
    judge: Judge | None
    tariff: Tariff | None
    asked: OrchestratorPool | None = field(compare=False)
    samples: int | None
    at_once: int
    seed: int
    failures: Failures
    options: CallOptions
    entries: list[Entry] = field(default_factory=list[Entry])
    warnings: list[str] = field(default_factory=list[str])
    run_id: str = field(default_factory=lambda: uuid4().hex)
    judging: Total | None = None

    @property
    def pool(self) -> OrchestratorPool:
        """The pool whose profiles are asked: the one that was given, else this process's own."""
        return self.asked or kernel_pool()

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "asked": None}

    def bar(self, progress: bool | None) -> Bar:  # noqa: FBT001 - as callers give it
        """Return the bar to wait with: it counts runs, since these are what a comparison is made of."""
        calls = len(self.tasks) * sum(stage.n for each in self.strategies for stage in each.stages)
        return Bar("compare", self._tally, calls=calls, progress=progress, runtime=self.pool.runtime)

    @property
    def size(self) -> int:
        """Runs in all."""
        return len(self.tasks) * len(self.strategies)

    @property
    def cost(self) -> Decimal | None:
        """List price in USD of the runs that have ended, without the judge's; None when that of any is unknown."""
        return exact_sum([entry.run.cost for entry in self.entries if entry.run is not None])

    @property
    def stopped(self) -> str:
        """How far it was when it was stopped."""
        return f"stopped after {len(self.entries)} of {self.size} runs"

    def __str__(self) -> str:
        return f"{len(self.entries)} of {self.size} runs have ended; .to_frame() of this has them."

    def _tally(self) -> Tally:
        ended, total = list(self.entries), self.size
        return Tally(
            done=len(ended),
            total=total,
            failed=sum(entry.error is not None for entry in ended),
            spent=sum((entry.run.spent for entry in ended if entry.run is not None), Total()),
            now="judging" if len(ended) == total else "",
        )

    async def hold(self) -> None:
        """Run all strategies, task by task, and have the answers judged.

        Raises:
            VictorError: All runs failed.
        """
        self.pool.runtime.last = self
        places = asyncio.Semaphore(self.at_once)
        planned = [Entry(strategy, task) for task in self.tasks for strategy in self.strategies]
        await asyncio.gather(*(self._run(entry, places) for entry in planned))
        failed = [entry.error for entry in planned if entry.error is not None]
        if len(failed) == len(planned):
            raise failed[0]
        self.entries = planned
        self.warnings += filter(None, map(self._failed, self.strategies))
        by_task = [[entry for entry in planned if entry.task == task and not entry.fault] for task in self.tasks]
        readings = await asyncio.gather(*(self._judge(entries, places) for entries in by_task if entries))
        if place_alone(readings):
            self.warnings.append(
                f"The judge {self.judge} gave its points by the place of an answer, whatever stood there: "
                "these are no scores, and left out. Ask another model."
            )
            for entry in planned:
                entry.score = Score()
        self.judging = await asyncio.to_thread(self._judging)

    def _failed(self, strategy: Strategy) -> str:
        """Name the runs of a strategy that came to no answer, and why."""
        own = [entry for entry in self.entries if entry.strategy is strategy]
        failed = [f"{short(entry.task)!r} ({short(entry.fault, 120)})" for entry in own if entry.fault]
        counted = f"{strategy.name} answered {len(own) - len(failed)} of {len(own)} tasks. It failed on"
        return f"{counted} {', '.join(failed)}." if failed else ""

    def _judging(self) -> Total:
        return Total.of(self.pool.runtime.ledger.rows(run_id=self.run_id))

    async def _run(self, entry: Entry, places: asyncio.Semaphore) -> None:
        async with places:
            try:
                options: CallOptions = {**self.options}
                engine = await asyncio.to_thread(
                    entry.strategy.prepare, entry.task, pool=self.pool, stream=False, options=options
                )
            except VictorError as error:
                entry.error = error
            else:
                await self._finish(entry, engine)
        self.entries.append(entry)

    async def _finish(self, entry: Entry, engine: Engine) -> None:
        try:
            await engine.run()
        except TapeMissError:
            raise
        except VictorError as error:
            entry.error = error
        entry.run = await asyncio.to_thread(collect, engine)
        if entry.error is not None:
            entry.error.partial = entry.run

    async def _judge(self, entries: list[Entry], places: asyncio.Semaphore) -> list[Judgement]:
        """Score the answers to one task, and return a model's readings of them."""
        async with places:
            if isinstance(self.judge, str):
                return await self._ask_judge(self.judge, entries)
            if self.judge is not None:  # what it is may ask a model itself: not on this loop
                await asyncio.to_thread(self._check, self.judge, entries)
            return []

    def _check(self, judge: Check | Callable[[str, str], float | bool], entries: list[Entry]) -> None:
        check = as_check(judge)
        for entry in entries:
            answer = entry.run.answer if entry.run else ""
            try:
                given = check.passes(answer, task=entry.task) if check else cast("Any", judge)(entry.task, answer)
                entry.score = Score(float(given))
            except (*FAULTS, VictorError) as error:
                # The answers are paid for: one that cannot be scored is no reason to lose the others.
                fault = self.pool.runtime.redacted(failed_at(error))
                self.warnings.append(f"{entry.strategy.name}: the judge failed ({fault}).")

    async def _ask_judge(self, profile: str, entries: list[Entry]) -> list[Judgement]:
        judging = self.pool.get_orchestrator(profile)
        answers = [entry.run.content for entry in entries if entry.run]
        found, lost = await judge(
            judging, entries[0].task, answers, samples=self.samples, seed=str(self.seed), run_id=self.run_id
        )
        if lost:
            self.warnings.append(
                f"{len(lost)} of {len(found) + len(lost)} readings of the judge {profile} are lost: {lost[0]}"
            )
        for entry, score in zip(entries, scores(found, len(entries)), strict=True):
            entry.score = score
        return found

    def to_frame(self) -> DataFrame:
        """Return what has ended so far as a frame."""
        judging = self._judging() if self.judging is None else self.judging
        judged = sum(not entry.fault for entry in self.entries)
        share = None if judging.unpriced else judging.cost / max(judged, 1)
        return records_frame([self._record(entry, share) for entry in self.entries], COMPARE)

    def _record(self, entry: Entry, judge_cost: Decimal | None) -> dict[str, object]:
        run, fault, name = entry.run, entry.fault, entry.strategy.name
        own = [other.fault for other in self.entries if other.strategy.name == name]
        score = Score(0.0) if fault and self.failures == "zero" and self.judge is not None else entry.score
        judge = None if self.judge is None else getattr(self.judge, "__name__", type(self.judge).__name__)
        record: dict[str, object] = {
            "strategy": name,
            "task": entry.task,
            "score": score.value,
            "score_se": score.error,
            "score_df": score.freedom or None,
            "judge": self.judge if isinstance(self.judge, str) else judge,
            "judge_cost": 0 if fault else judge_cost,
            "answered": f"{own.count(None)} of {len(own)}",
            "error": fault,
        }
        if run is None:  # it never began
            return {**record, **dict.fromkeys(("cost", "billed", "unpriced", "calls", "tokens"), 0), "complete": False}
        return {
            **record,
            **self._baselines(entry, run),
            "cost": run.cost,
            "billed": run.billed,
            "unpriced": run.spent.unpriced,
            "calls": run.calls,
            "tokens": run.usage.total_tokens,
            "wall": run.wall,
            "serial": run.serial,
            "complete": run.complete and entry.error is None,
            "mode": " ".join(sorted({row.mode for row in run.rows})) or None,
            "run_id": run.run_id,
            "answer": run.content,
        }

    def _baselines(self, entry: Entry, run: StrategyRun) -> dict[str, object]:
        """Return what the two baselines would have cost; one call is measured where a `Single` made it."""
        tariff = self.tariff
        if tariff is None:
            return {}
        direct = (other for other in self.entries if other.task == entry.task and isinstance(other.strategy, Single))
        asked = (other for other in direct if other.strategy.stages[0].profile == tariff.name and not other.fault)
        measured = next((other.run.cost for other in asked if other.run), None)
        return {
            "baseline": tariff.name,
            "same_calls": exact_sum(reprice(row, tariff) for row in run.rows),
            "one_call": one_call(run, tariff) if measured is None else measured,
            "estimated": measured is None,
        }


_PREMIUM: Final = "premium"


async def compare(  # noqa: PLR0913 - each is a choice of its own
    strategies: Sequence[Strategy | str],
    tasks: str | Sequence[str],
    *,
    judge: Judge | None = None,
    samples: int | None = None,
    baseline: str | None = None,
    at_once: int = 1,
    seed: int = 0,
    failures: Failures = "out",
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[CallOptions],  # pyright: ignore[reportGeneralTypeIssues] - `seed` is the comparison's own
) -> DataFrame:
    """Run strategies on the same tasks.

    Args:
        strategies: What to compare, or their names; no two may go by one name.
        tasks: What to have done, one or several.
        judge: Who scores the answers. A profile: a model that sees a task's answers side by side, their names hidden,
            in pseudo-random orders in which each has every place once; its calls are in the ledger as strategy and
            stage `judge`. A function of the task and `run.answer`, or `Exact`, `Regex`, `JsonSchema`.
        samples: How many times a judging profile reads a task's answers, rounded up so that every answer stands in
            every place equally often; None: as often as there are answers.
        baseline: The profile or model for the two baselines; else that of the last `Single`, else `premium`.
        at_once: Runs, and then tasks to judge, under way at the same time; they wait for each other.
        seed: What the orders are drawn from.
        failures: How a run without an answer counts: `out` leaves its task out of standings and charts, `zero` gives
            it the score 0.
        pool: Whose profiles are asked; else the kernel's.
        progress: Whether to show a bar of the runs: None for ten calls or more that take over a second, where a user
            can watch (a notebook or a terminal, without CI=true and VICTOR_PROGRESS=off); True at once, for few too.
        **options: What every call is sent with (see `CallOptions`).

    Returns:
        One row for each strategy and task, with the columns of `COMPARE` and the `answer`. A run that failed is named
        in a warning; `victor_nb.reports.standings.standings` compares on the tasks that all strategies answered.

    Raises:
        ConfigError: Something does not fit; nothing was asked.
        VictorError: All runs failed.
    """
    how = (samples, at_once, seed, failures, options)
    comparison = await asyncio.to_thread(_prepare, strategies, tasks, judge, baseline, pool, how)
    with comparison.pool.runtime.budget.pinned():
        async with comparison.bar(progress):
            await comparison.pool.runtime.loop.call(comparison.hold)
    for text in comparison.warnings:
        warnings.warn(text, VictorWarning, stacklevel=2)
    return await asyncio.to_thread(comparison.to_frame)


def compare_sync(  # noqa: PLR0913 - each is a choice of its own
    strategies: Sequence[Strategy | str],
    tasks: str | Sequence[str],
    *,
    judge: Judge | None = None,
    samples: int | None = None,
    baseline: str | None = None,
    at_once: int = 1,
    seed: int = 0,
    failures: Failures = "out",
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[CallOptions],  # pyright: ignore[reportGeneralTypeIssues] - `seed` is the comparison's own
) -> DataFrame:
    """Run strategies on the same tasks, and block until all have ended; see `compare`.

    Returns:
        As `compare`; the runs that had ended, with a warning, where `session().cancel()` stopped it.

    Raises:
        VictorInterrupted: Stop was pressed; `partial.to_frame()` is what had come, and so is `session().last`.
    """
    comparison = _prepare(strategies, tasks, judge, baseline, pool, (samples, at_once, seed, failures, options))
    try:
        with comparison.bar(progress) as bar:
            bar.result(comparison.pool.runtime.loop.start(comparison.hold))
    except KeyboardInterrupt:
        text = f"{comparison.stopped}; session().last.to_frame() has them."
        raise VictorInterrupted(text, comparison) from None
    except asyncio.CancelledError:  # by another caller: what had come is what was asked for
        comparison.warnings.append(f"{comparison.stopped}.")
    for text in comparison.warnings:
        warnings.warn(text, VictorWarning, stacklevel=2)
    return comparison.to_frame()


def _prepare(
    strategies: Sequence[Strategy | str],
    tasks: str | Sequence[str],
    judge: Judge | None,
    baseline: str | None,
    pool: OrchestratorPool | None,
    how: tuple[int | None, int, int, Failures, CallOptions],
) -> Comparison:
    """Raise now for what would fail after money was spent.

    Raises:
        ConfigError: Something does not fit.
    """
    pool = pool or kernel_pool()
    samples, at_once, _, failures, options = how
    for name, count in (("samples", samples), ("at_once", at_once)):
        if count is not None and count < 1:
            raise ConfigError(f"{name}={count} is not a number of 1 or more.")
    if failures not in get_args(Failures):
        raise ConfigError(f"failures={failures!r} is not one of {', '.join(get_args(Failures))}.")
    options.pop("run_id", None)  # each run has an id of its own
    if isinstance(strategies, str):
        raise ConfigError(f"strategies is a list, such as [Funnel(), {strategies!r}].")
    asked = [find_strategy(each, pool.settings) if isinstance(each, str) else each for each in strategies]
    given = [tasks] if isinstance(tasks, str) else list(tasks)
    if not asked or not given:
        raise ConfigError(f"A comparison needs at least one {'task' if asked else 'strategy'}.")
    for listed, what in (([each.name for each in asked], "strategies are"), (given, "tasks are")):
        twice = next((word for place, word in enumerate(listed) if word in listed[:place]), None)
        if twice is not None:
            raise ConfigError(f"Two {what} called {twice!r}. Give one another name, as in Funnel(name='wide').")
    if isinstance(judge, str):
        pool.get_orchestrator(judge)
    elif judge is not None and as_check(judge) is None and not callable(judge):
        raise ConfigError(f"judge={judge!r} scores nothing. Give a profile, a function of task and answer, or a check.")
    return Comparison(asked, given, judge, _tariff(baseline, asked, pool), pool, *how)


def _tariff(baseline: str | None, strategies: Sequence[Strategy], pool: OrchestratorPool) -> Tariff | None:
    singles = [each.stages[0].profile for each in strategies if isinstance(each, Single)]
    name = baseline or (singles[-1] if singles else _PREMIUM)
    known = baseline is not None or pool.settings.find(name) is not None
    return find_tariff(name, pool) if known else None
