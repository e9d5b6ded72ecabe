"""All strategies on all tasks: run, judged, and written down."""

from __future__ import annotations

import asyncio
import pkgutil
from dataclasses import dataclass, field
from decimal import Decimal
from math import nan
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from uuid import uuid4

from victor_nb.errors import ConfigError, VictorError
from victor_nb.workflows.bars import Bar, Tally
from victor_nb.workflows.baselines import one_call, same_calls
from victor_nb.workflows.checks import FAULTS, as_check
from victor_nb.workflows.judge import Score, judge, scores
from victor_nb.workflows.progress import total
from victor_nb.workflows.strategies import Single

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from victor_nb.plan import CallOptions
    from victor_nb.workflows.checks import Check
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.runs import StrategyRun
    from victor_nb.workflows.strategies import Strategy
    from victor_nb.workflows.tariff import Tariff

Judge: TypeAlias = "str | Check | Callable[[str, str], float | bool]"
"""Who scores answers: a profile, a rule, or a function of the task and the answer."""


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


@dataclass(slots=True)
class Contest:
    """All strategies on all tasks, as they go."""

    strategies: list[Strategy]
    tasks: list[str]
    judge: Judge | None
    tariff: Tariff | None
    pool: OrchestratorPool
    samples: int | None = None
    at_once: int = 1
    seed: int = 0
    options: CallOptions = field(default_factory=lambda: cast("CallOptions", {}))
    entries: list[Entry] = field(default_factory=list[Entry])
    warnings: list[str] = field(default_factory=list[str])
    run_id: str = field(default_factory=lambda: uuid4().hex)

    def settle(self, samples: int | None, at_once: int, seed: int, options: CallOptions) -> None:
        """Say how it is held. Each run has an id of its own, whatever the options say.

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
        return Bar("compare", self._tally, calls=calls, progress=progress, home=self.pool.container)

    def _tally(self) -> Tally:
        ended, total = list(self.entries), len(self.tasks) * len(self.strategies)
        spent = [entry.run.spent for entry in ended if entry.run is not None]
        return Tally(
            done=len(ended),
            total=total,
            failed=sum(entry.error is not None for entry in ended),
            cost=sum((each.cost for each in spent), Decimal(0)),
            unpriced=sum(each.unpriced for each in spent),
            now="judging" if len(ended) == total else "",
        )

    async def hold(self) -> None:
        """Run everything, task by task, and have it judged.

        Raises:
            VictorError: All runs failed.
        """
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
                entry.run = await entry.strategy.run(entry.task, pool=self.pool, progress=False, **self.options)
            except VictorError as error:
                entry.error, entry.run = error, error.__dict__.get("run")
        self.entries.append(entry)

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

    def frame(self) -> pd.DataFrame:
        """Return what has come so far."""
        records = [self._record(entry) for entry in self.entries]
        frame: pd.DataFrame = pkgutil.resolve_name("victor_nb.reports.frames:compare_frame")(records)
        return frame

    def _record(self, entry: Entry) -> dict[str, object]:
        run, score = entry.run, entry.score
        record: dict[str, object] = {"strategy": entry.strategy.name, "task": entry.task}
        record |= {
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
            "same_calls": total(same_calls(run.rows, tariff)),
            "one_call": one_call(run, tariff) if measured is None else measured,
            "estimated": measured is None,
        }

    def _is_direct(self, entry: Entry) -> bool:
        stages = entry.strategy.stages
        direct = (
            isinstance(entry.strategy, Single) and self.tariff is not None and stages[0].profile == self.tariff.name
        )
        return direct and entry.answered
