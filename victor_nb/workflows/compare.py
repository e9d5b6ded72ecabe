"""Strategies on the same tasks, side by side: what each costs, how long it takes, and how good its answers are."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Unpack, cast
from uuid import uuid4

from victor_nb.errors import ConfigError, VictorError, VictorInterrupted, VictorWarning
from victor_nb.money import Total, exact_sum
from victor_nb.reports.frames import records_frame
from victor_nb.workflows.checks import FAULTS, as_check
from victor_nb.workflows.engine import collect
from victor_nb.workflows.judge import Score, judge, scores
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

COMPARE: Final = (
    "strategy task cost billed unpriced calls tokens wall serial score score_se baseline same_calls one_call estimated "
    "complete mode run_id error"
).split()
"""One row for each strategy and task. `same_calls` and `one_call` (USD) are what the two baselines would have cost at
the profile that `baseline` names; `estimated` is True where `one_call` is a guess."""


@dataclass(slots=True)
class Entry:
    """One strategy on one task: the run, or the error in its place."""

    strategy: Strategy
    task: str
    run: StrategyRun | None = None
    error: VictorError | None = None
    score: Score = field(default_factory=lambda: Score(nan, nan))

    @property
    def answered(self) -> bool:
        """Whether there is an answer to judge."""
        return self.error is None and self.run is not None and bool(self.run.content.strip())


@dataclass
class Comparison:
    """Strategies on the same tasks: what has come of it so far, which `compare` returns as a frame.

    Attributes:
        entries: One for each run that has ended, in the order in which they did; at the end, task by task.
        warnings: What became of judgements that could not be had or read.
    """

    strategies: list[Strategy]
    tasks: list[str]
    judge: Judge | None
    tariff: Tariff | None
    asked: OrchestratorPool | None = field(compare=False)
    samples: int | None = None
    at_once: int = 1
    seed: int = 0
    options: CallOptions = field(default_factory=lambda: cast("CallOptions", {}))
    entries: list[Entry] = field(default_factory=list[Entry])
    warnings: list[str] = field(default_factory=list[str])
    run_id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def pool(self) -> OrchestratorPool:
        """The pool whose profiles are asked: the one that was given, else this process's own."""
        return self.asked or kernel_pool()

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "asked": None}

    def settle(self, samples: int | None, at_once: int, seed: int, options: CallOptions) -> None:
        """Set how the comparison is run. Each run has an id of its own, whatever the options hold.

        Raises:
            ConfigError: A count is not one.
        """
        for name, count in (("samples", samples), ("at_once", at_once)):
            if count is not None and count < 1:
                raise ConfigError(f"{name}={count} is not a number of 1 or more.")
        own = {name: value for name, value in options.items() if name != "run_id"}
        self.samples, self.at_once, self.seed, self.options = samples, at_once, seed, cast("CallOptions", own)

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
        for task in self.tasks:
            await self._judge([entry for entry in planned if entry.task == task and entry.answered])

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
            await self.pool.runtime.loop.call(engine.run)
        except VictorError as error:
            entry.error = error
        entry.run = await asyncio.to_thread(collect, engine)
        if entry.error is not None:
            entry.error.partial = entry.run

    async def _judge(self, entries: list[Entry]) -> None:
        if self.judge is None or not entries:
            return
        if isinstance(self.judge, str):
            await self._ask_judge(self.judge, entries)
            return
        check = as_check(self.judge)
        for entry in entries:
            answer = entry.run.answer if entry.run else ""
            try:
                given = check.passes(answer, task=entry.task) if check else cast("Any", self.judge)(entry.task, answer)
                entry.score = Score(float(given), nan)
            except (*FAULTS, VictorError) as error:
                # The answers are paid for: one that cannot be scored is no reason to lose the others.
                self.warnings.append(f"{entry.strategy.name}: the judge failed ({type(error).__name__}: {error}).")

    async def _ask_judge(self, profile: str, entries: list[Entry]) -> None:
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

    def to_frame(self) -> DataFrame:
        """Return what has ended so far as a frame."""
        return records_frame([self._record(entry) for entry in self.entries], COMPARE)

    def _record(self, entry: Entry) -> dict[str, object]:
        run, score = entry.run, entry.score
        record: dict[str, object] = {
            "strategy": entry.strategy.name,
            "task": entry.task,
            "score": score.value,
            "score_se": score.error,
            "error": None if entry.error is None else str(entry.error),
        }
        if run is None:
            return {**record, "complete": False}
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
            "error": record["error"] or run.stopped,
            "answer": run.content,
        }

    def _baselines(self, entry: Entry, run: StrategyRun) -> dict[str, object]:
        """Return what the two baselines would have cost; one call is measured where a `Single` made it."""
        tariff = self.tariff
        if tariff is None:
            return {}
        direct = next((other for other in self.entries if other.task == entry.task and self._is_direct(other)), None)
        measured: Decimal | None = direct.run.cost if direct is not None and direct.run is not None else None
        return {
            "baseline": tariff.name,
            "same_calls": exact_sum(reprice(row, tariff) for row in run.rows),
            "one_call": one_call(run, tariff) if measured is None else measured,
            "estimated": measured is None,
        }

    def _is_direct(self, entry: Entry) -> bool:
        strategy, tariff = entry.strategy, self.tariff
        direct = isinstance(strategy, Single) and tariff is not None and strategy.stages[0].profile == tariff.name
        return direct and entry.answered


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
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[CallOptions],  # pyright: ignore[reportGeneralTypeIssues] - `seed` is the comparison's own
) -> DataFrame:
    """Run strategies on the same tasks.

    Args:
        strategies: What to compare, or their names; no two may go by one name.
        tasks: What to have done, one or several.
        judge: Who scores the answers. A profile: a model that sees a task's answers side by side, their names hidden,
            in pseudo-random orders in which every answer has every place once; its calls are in the ledger as
            strategy and stage `judge`. A function of the task and an answer, or `Exact`, `Regex`, `JsonSchema`: these
            look at `run.answer`, the judge at `run.content`.
        samples: How many times a judging profile reads a task's answers, rounded up so that every answer stands in
            every place equally often; None: as often as there are answers.
        baseline: The profile or model for the two baselines; else that of the last `Single`, else `premium`.
        at_once: Runs under way at the same time. More than one is sooner done, but the runs wait for each other.
        seed: What the orders are drawn from.
        pool: Whose profiles are asked; else the kernel's.
        progress: Whether to show a bar of the runs: None for ten calls or more that take over a second, where a user
            can watch (a notebook or a terminal, without CI=true and VICTOR_PROGRESS=off); True at once, for few too.
        **options: What every call is sent with (see `CallOptions`).

    Returns:
        One row for each strategy and task: `strategy`, `task`, `cost` and `billed` (USD, NaN where a part of it is
        unknown; `unpriced` counts the attempts), `calls`, `tokens`, `wall` and `serial` (seconds), `score` (0 to 1) and
        `score_se` (its standard error, NaN below two judgements), `same_calls` and `one_call` (USD at `baseline`'s
        prices; `estimated` is True where the latter is a guess), `complete`, `mode`, `run_id`, `error`, `answer`.
        A strategy that failed has no score.

    Raises:
        ConfigError: Something does not fit; nothing was asked.
        VictorError: All runs failed.
    """
    comparison = await asyncio.to_thread(_prepare, strategies, tasks, judge, baseline, pool)
    comparison.settle(samples, at_once, seed, options)
    with comparison.pool.runtime.budget.pinned():
        async with comparison.bar(progress):
            await comparison.hold()
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
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[CallOptions],  # pyright: ignore[reportGeneralTypeIssues] - `seed` is the comparison's own
) -> DataFrame:
    """Run strategies on the same tasks, and block until all have ended; see `compare`.

    Raises:
        VictorInterrupted: Stop was pressed; `partial.to_frame()` is what had come, and so is `session().last`.
    """
    comparison = _prepare(strategies, tasks, judge, baseline, pool)
    comparison.settle(samples, at_once, seed, options)
    try:
        with comparison.bar(progress) as bar:
            bar.result(comparison.pool.runtime.loop.start(comparison.hold))
    except KeyboardInterrupt:
        text = f"stopped after {len(comparison.entries)} of {comparison.size} runs; session().last.to_frame() has them."
        raise VictorInterrupted(text, comparison) from None
    for text in comparison.warnings:
        warnings.warn(text, VictorWarning, stacklevel=2)
    return comparison.to_frame()


def _prepare(
    strategies: Sequence[Strategy | str],
    tasks: str | Sequence[str],
    judge: Judge | None,
    baseline: str | None,
    pool: OrchestratorPool | None,
) -> Comparison:
    """Raise now for what would fail after money was spent.

    Raises:
        ConfigError: Something does not fit.
    """
    pool = pool or kernel_pool()
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
    return Comparison(asked, given, judge, _tariff(baseline, asked, pool), pool)


def _tariff(baseline: str | None, strategies: Sequence[Strategy], pool: OrchestratorPool) -> Tariff | None:
    singles = [each.stages[0].profile for each in strategies if isinstance(each, Single)]
    name = baseline or (singles[-1] if singles else _PREMIUM)
    known = baseline is not None or name in pool.settings.profiles
    return find_tariff(name, pool) if known else None
