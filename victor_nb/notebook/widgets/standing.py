"""How a strategy stands at one moment: of one under way, and of a run that has ended, in the same words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from decimal import Decimal

    from victor_nb.workflows.job import StrategyJob
    from victor_nb.workflows.progress import Progress, StageProgress, StageState
    from victor_nb.workflows.runs import StageResult, StrategyRun

RunState: TypeAlias = Literal["running", "done", "failed", "refused", "stopped"]

_NEVER_BEGUN: Final = "stopped before anything was sent"


@dataclass(frozen=True, slots=True)
class StageStanding:
    """One stage.

    Attributes:
        done: Calls that have ended, of `total`.
        seconds: How long it has taken so far; None while it waits.
        cost: List price in USD of the calls that have ended; None when that of any is unknown.
        result: What it came to; None before it has begun.
    """

    name: str
    profile: str
    state: StageState
    done: int
    total: int
    seconds: float | None
    cost: Decimal | None
    result: StageResult | None

    @property
    def items(self) -> int:
        """How many items came."""
        return len(self.result.items) if self.result else 0

    @property
    def kept(self) -> int:
        """How many of them went on."""
        return len(self.result.kept) if self.result else 0

    @property
    def over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state not in {"waiting", "running"}


@dataclass(frozen=True, slots=True)
class Standing:
    """A strategy at one moment.

    Attributes:
        run: What has come; its rows are those of the attempts that have ended.
        text: The end of what the running stage has said.
        speaker: Which stage that is.
        ended: Whether no further call will be made.
    """

    run: StrategyRun
    stages: tuple[StageStanding, ...]
    text: str
    speaker: str
    ended: bool

    @property
    def state(self) -> RunState:
        """How the whole of it stands."""
        if not self.ended:
            return "running"
        if self.run.complete:
            return "done"
        states = {stage.state for stage in self.stages}
        return "failed" if "failed" in states else "refused" if "refused" in states else "stopped"

    @property
    def why(self) -> str:
        """Why it holds less than was asked for."""
        if not self.ended or self.run.complete:
            return ""
        return self.run.stopped or "" if self.run.stages else _NEVER_BEGUN

    @property
    def done(self) -> int:
        """Calls that have ended."""
        return sum(stage.done for stage in self.stages)

    @property
    def total(self) -> int:
        """Calls that it takes."""
        return sum(stage.total for stage in self.stages if stage.state != "skipped")


def of_job(job: StrategyJob) -> Standing:
    """Return how a strategy under way stands. It reads the ledger: not on the background loop."""
    ended = job.done()  # first: what is read afterwards is then the end
    progress, run = job.progress, job.run
    results = {result.name: result for result in run.stages}
    current = progress.current
    return Standing(
        run=_settled(run),
        stages=tuple(_of_progress(stage, results.get(stage.name), ended=ended) for stage in progress.stages),
        text=progress.text,
        speaker=f"{current.name} · {current.profile}" if current else "",
        ended=ended,
    )


def of_run(run: StrategyRun) -> Standing:
    """Return how a run that has ended stands."""
    return Standing(_settled(run), tuple(_of_result(result) for result in run.stages), "", "", ended=True)


def pulse_of(progress: Progress, *, ended: bool) -> object:
    """Return what is different whenever there is anything new to be seen, time apart from whole seconds."""
    stages = tuple((stage.state, stage.done, stage.kept) for stage in progress.stages)
    return ended, stages, len(progress.text), int(progress.wall)


def _settled(run: StrategyRun) -> StrategyRun:
    """Leave out what is under way: nobody knows yet what it costs, here or anywhere."""
    return replace(run, rows=tuple(row for row in run.rows if row.status != "running"))


def _of_progress(stage: StageProgress, result: StageResult | None, *, ended: bool) -> StageStanding:
    state = "skipped" if ended and stage.state == "waiting" else stage.state
    seconds = None if result is None else result.ended - result.began
    # What failed has been paid for as well, and only the ledger knows how much.
    cost = stage.cost if result is None or state == "running" else result.cost
    return StageStanding(stage.name, stage.profile, state, stage.done, stage.total, seconds, cost, result)


def _of_result(result: StageResult) -> StageStanding:
    calls, seconds = len(result.replies), result.ended - result.began
    return StageStanding(result.name, result.profile, result.state, calls, calls, seconds, result.cost, result)
