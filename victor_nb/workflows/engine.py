"""Runs the stages of a strategy on the background loop: each when what it needs has ended, independent ones at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, nullcontext, suppress
from contextvars import copy_context
from itertools import takewhile
from typing import TYPE_CHECKING, Final, cast
from uuid import uuid4

from victor_nb.calls.request import compose_prompt, refuse_sample
from victor_nb.config.strategies import needed
from victor_nb.errors import (
    BudgetError,
    ClosedError,
    ConfigError,
    PromptError,
    TapeMissError,
    VictorError,
    VictorInterrupted,
)
from victor_nb.loop import GRACE, TICK, Handle
from victor_nb.money import Total
from victor_nb.templates import places
from victor_nb.values import JOB, UNPAID, Reply
from victor_nb.wire.clock import CLOCK, simulated
from victor_nb.workflows.fan_out import ALIKE, Lane, cannot_differ, check_tape
from victor_nb.workflows.progress import Progress, StageProgress, Work
from victor_nb.workflows.progress_bar import Bar, Tally
from victor_nb.workflows.prompts import answering, form_of, options_for, prompt_for
from victor_nb.workflows.runs import StageResult, StrategyRun
from victor_nb.workflows.selection import conclude

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from victor_nb.accounting.budget import Limit
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import CallOptions
    from victor_nb.config.strategies import Stage
    from victor_nb.values import PromptLike
    from victor_nb.wire.clock import Clock
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool

_GRACE_OF_ALL: Final = 1.5  # seconds that a stopped run has: its calls, and its own end
_APPROVED: Final = "approved"


class Engine:
    """One run of a list of stages. What has come of it is readable at any time, from any thread.

    Attributes:
        works: The stages, as they go.
        stopped: Why the run holds less than was asked for; None while it does not.
        accepted: The stage whose answer ended the run early, in a cascade.
        options: What every call is sent with; a stage's own settings beat them.

    Args:
        name: The strategy's name, for the ledger.
        stages: What is to be done, checked already.
        task: What the user wants.
        pool: Who is asked. All profiles are opened here, so that a missing key shows before anything is paid for.
        stream: Whether answers are shown while they arrive.
        options: See above.

    Raises:
        PromptError: The task is empty.
        VictorError: A profile cannot be asked, or not with these options.
    """

    def __init__(
        self,
        name: str,
        stages: Sequence[Stage],
        task: PromptLike,
        *,
        pool: OrchestratorPool,
        stream: bool,
        options: CallOptions,
    ) -> None:
        refuse_sample(options)
        self.name = name
        given = task if isinstance(task, (str, Reply)) else compose_prompt(task)
        self.task = given.content if isinstance(given, Reply) else given  # a Prompt keeps its images
        if not self.task.strip():
            raise PromptError("The task is empty. Write what you want to have done.")
        self.run_id = options.get("run_id") or uuid4().hex
        self.pool = pool
        self.runtime = pool.runtime
        self.works = [Work(stage) for stage in stages]
        self.stopped: str | None = None
        self.accepted: Work | None = None
        self._simulated = self.runtime.mode in UNPAID
        self._clock: Clock | None = None
        self._start = 0.0
        self._turns = asyncio.Lock()
        self._began = time.perf_counter()
        self._seconds: float | None = None
        self._orchestrators = {stage.profile: pool.get_orchestrator(_meant(stage.profile, pool)) for stage in stages}
        self._answering = answering(stages)
        self.options = options
        for work in self.works:
            self._check(work)
        self._stream = stream
        self._refused: BudgetError | None = None
        # Budgets of a `with` block belong to the caller's context, wherever the loop runs.
        with self.runtime.budget.pinned():
            self._context = copy_context()

    def _options(self, stage: Stage, **origin: object) -> CallOptions:
        """Return the options of a stage's calls; a schema of the run is for those that may be its answer."""
        options = self.options
        if stage.name not in self._answering and "schema" in options:
            options = cast("CallOptions", {name: value for name, value in options.items() if name != "schema"})
        return options_for(stage, options, **origin)

    def _check(self, work: Work) -> None:
        """Raise if a stage cannot be sent with these options, or if its samples agree only with themselves."""
        stage = work.stage
        alike = cannot_differ(self._orchestrators[stage.profile], self._options(stage))
        if not alike or self._asked_before(work) + stage.n == 1 or "sample" in places(stage.prompt, {}):
            return
        votes = stage.select == "vote" or isinstance(stage.accept, int) or hasattr(stage.accept, "at_least")
        if votes and stage.n > 1:
            raise ConfigError(
                f"{stage.name}: {stage.n} samples of {stage.profile} at temperature 0 cannot differ, and so agree with "
                "themselves. Set a temperature, or accept what passes a check."
            )
        work.notes.append(ALIKE)

    @property
    def ended(self) -> bool:
        """Whether no further call will be made."""
        return self._seconds is not None

    @property
    def wall(self) -> float:
        """Seconds from the start to now, or to the end."""
        return time.perf_counter() - self._began if self._seconds is None else self._seconds

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return Progress(
            strategy=self.name,
            task=self.task,
            run_id=self.run_id,
            stages=tuple(StageProgress.of(work) for work in self.works),
            wall=self.wall,
            ended=self.ended,
        )

    # --- for those who wait ---

    def bar(self, progress: bool | None) -> Bar:  # noqa: FBT001 - as callers give it
        """Return the bar to wait with."""

        def look() -> Tally:
            stage, lanes = self.progress.current, [lane for work in self.works for lane in list(work.lanes)]
            return Tally.of(lanes, total=self.progress.total, now=stage.name if stage else "")

        calls = sum(work.stage.n for work in self.works)
        return Bar(self.name, look, calls=calls, progress=progress, runtime=self.runtime)

    def so_far(self) -> StrategyRun:
        """Return what has come so far. It reads the ledger: not on the background loop."""
        return collect(self)

    def kept(self) -> StrategyRun:
        """Return what has come so far, kept as `session().last`. It reads the ledger: not on the background loop."""
        self.runtime.last = run = collect(self)
        return run

    @contextmanager
    def keeping(self) -> Generator[None]:
        """Keep what had come when an error leaves the block: as `session().last`, and as the error's `partial`."""
        try:
            yield
        except VictorInterrupted:
            raise  # it is kept
        except BaseException as error:
            with suppress(ClosedError):  # the session has ended as well, and its ledger with it
                run = collect(self)
                if run.calls:  # a run that a budget refused before its first call is not the last result
                    self.runtime.last = run
                if isinstance(error, VictorError):
                    error.partial = run
            raise

    # --- on the background loop ---

    async def run(self) -> None:
        """Run all stages.

        Raises:
            VictorError: A stage failed, or a budget refused the very first call.
        """
        self._began = time.perf_counter()
        self._context.run(JOB.set, JOB.get())
        with simulated(self.runtime.timeline, alone=True) if self._simulated else nullcontext() as clock:
            if clock is not None:
                self._clock, self._start = clock, clock.now
                self._context.run(CLOCK.set, clock)
            task = asyncio.get_running_loop().create_task(self._schedule(), context=self._context)
            try:
                # `wait` does not hand a cancellation on: the stages get it once, and time to clean up after it.
                await asyncio.wait({task})
            except asyncio.CancelledError:
                self.stopped = "stopped by the user"
                task.cancel()
                await _settled(task)
                raise
            finally:
                self._close()
            await task

    async def _schedule(self) -> None:
        running: dict[asyncio.Task[None], Work] = {}
        try:
            while True:
                for work in self._ready():
                    work.state, work.began = "running", self._beginning(work)
                    running[asyncio.create_task(self._work(work))] = work
                if not running:
                    break
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                failures = [self._judge(running.pop(task), task.exception()) for task in ended]
                for failure in filter(None, failures):
                    raise failure
                if self.accepted:
                    break
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if self._refused is not None and not any(work.kept for work in self.works):
            raise self._refused

    def _ready(self) -> list[Work]:
        """Return the stages that wait for nothing any more; none once the run has its end."""
        if self._refused or self.accepted:
            return []
        for work in self.works:
            self._skip(work)
        over = {work.stage.name for work in self.works if work.state in {"done", "failed", "skipped"}}
        return [work for work in self.works if work.state == "waiting" and over.issuperset(self._needs(work))]

    def _skip(self, work: Work) -> None:
        """Leave a stage out that an approval makes needless; what was approved stands in its place."""
        looked_at = {each.stage.name: each for each in self._before(work)}
        by = looked_at.get(work.stage.unless or "")
        if work.state == "waiting" and by is not None and by.state == "done" and not _adds(by.text):
            work.state, work.kept = "skipped", looked_at[by.stage.adds_to or by.stage.name].kept
            by.notes.append(f"approved: {work.stage.name} is left out")

    def _needs(self, work: Work) -> tuple[str, ...]:
        return needed(work.stage, [each.stage.name for each in self._before(work)])

    def _before(self, work: Work) -> list[Work]:
        names = [each.stage.name for each in self.works]
        return self.works[: names.index(work.stage.name)]

    def _judge(self, work: Work, error: BaseException | None) -> BaseException | None:
        """Note how a stage has ended; return the error that ends the run, if it does."""
        if work.ended is None:
            work.ended = self.wall
        if error is None:
            work.state = "done"
            if work.accepted and any(each.state == "waiting" for each in self.works):
                self.accepted = work
            return None
        work.notes.append(str(error))
        if isinstance(error, BudgetError):
            work.state, self._refused, self.stopped = "refused", error, f"{work.stage.name}: {error}"
            return None
        work.state = "failed"
        stands_in = any(each.state == "waiting" and work.stage.name in self._needs(each) for each in self.works)
        if isinstance(error, TapeMissError):
            return error
        if isinstance(error, VictorError) and work.stage.accept is not None and stands_in:
            return None
        self.stopped = f"{work.stage.name}: {error}"
        return error

    def _beginning(self, work: Work) -> float:
        """Return when a stage begins, in seconds from the run's start: simulated, when what it needs has ended."""
        return self.wall if self._clock is None else max(map(self._over, self._needed_by(work)), default=0.0)

    def _over(self, work: Work) -> float:
        return max(map(self._over, self._needed_by(work)), default=0.0) if work.ended is None else work.ended

    def _needed_by(self, work: Work) -> list[Work]:
        names = self._needs(work)
        return [each for each in self.works if each.stage.name in names]

    async def _work(self, work: Work) -> None:
        """Ask all samples of a stage, and keep when the last answer had come and was read."""
        if self._clock is None:
            await self._ask(work)
            return
        clock = self._clock.fork(at=self._start + (work.began or 0.0))
        CLOCK.set(clock)
        try:
            await self._ask(work)
        finally:
            work.ended = clock.now - self._start
            self._clock.now = max(self._clock.now, clock.now)

    async def _ask(self, work: Work) -> None:
        """Ask all samples of a stage at once, and read their answers."""
        async with self._turns:  # stages that begin together send their calls in order
            # A limit may look into the ledger before a call can be held: not on this loop.
            work.lanes = await asyncio.to_thread(lambda: [self._lane(work, sample) for sample in range(work.stage.n)])
        await asyncio.gather(*(lane.run() for lane in work.lanes))
        check_tape(work.lanes)
        refused = [lane.outcome for lane in work.lanes if isinstance(lane.outcome, BudgetError)]
        if refused and len(refused) < len(work.lanes):
            self.stopped = f"{work.stage.name}: {refused[0]}"
        # A repair of JSON or a function of the user's may take seconds: not on this loop.
        await asyncio.to_thread(conclude, work, self._before(work), self.task)

    def _asked_before(self, work: Work) -> int:
        """Return how many samples earlier stages take of this stage's profile and prompt; its own numbers follow.

        With equal numbers, a cascade that asks one profile several times would get one stored or simulated answer.
        """
        stages = [each.stage for each in takewhile(lambda each: each is not work, self.works)]
        return sum(each.n for each in stages if (each.profile, each.prompt) == (work.stage.profile, work.stage.prompt))

    def _lane(self, work: Work, sample: int) -> Lane:
        """Return a call that is ready to go."""
        stage = work.stage
        earlier = self._before(work)
        prompt = work.prompts[sample] = prompt_for(stage, self.task, earlier, sample + 1)
        number = self._asked_before(work) + sample
        options = self._options(stage, run_id=self.run_id, strategy=self.name, sample=number)
        if (form := form_of(stage, earlier)) is not None:
            options["form"] = form
        lane = Lane(stage.profile, 0, sample)
        orchestrator = self._orchestrators[stage.profile]
        return lane.take(orchestrator.call(prompt, options, stream=self._stream))

    def _close(self) -> None:
        """Set the final status of every stage."""
        self._seconds = self.wall if self._clock is None else self._clock.now - self._start
        for work in self.works:
            if work.state == "running":
                work.state, work.ended = "stopped", self.wall
            elif work.state == "waiting":
                work.state = "skipped"


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
        stages=tuple(_stage_result(work, rows, engine.wall) for work in begun),
        path=tuple(work.stage.profile for work in begun),
        complete=engine.stopped is None and engine.ended,
        stopped=engine.stopped or (None if engine.ended else "it has not ended"),
        wall=engine.wall,
        final=base.stage.name if base else None,
        rows=rows,
        asked=engine.pool,
    )


def _base(last: Work | None, begun: Iterable[Work]) -> Work | None:
    """Return the stage that wrote the answer: the last one, or what that one is about."""
    works = {work.stage.name: work for work in begun}
    while last is not None and last.stage.adds_to is not None:
        last = works.get(last.stage.adds_to)
    return last


def _adds(text: str) -> bool:
    """Return whether a stage has something to add: `APPROVED`, in whatever markup, adds nothing."""
    words = text.strip(" \n\t*_#`>-").casefold()
    return bool(words) and not words.startswith(_APPROVED)


def _under_heading(work: Work) -> str:
    return f"## {work.stage.name.replace('_', ' ').replace('-', ' ').capitalize()}\n\n{work.text}"


def _stage_result(work: Work, rows: Iterable[Row], now: float) -> StageResult:
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
        spent=Total.of(own),
        state=work.state,
        accepted=work.accepted,
    )


async def _settled(task: asyncio.Task[None]) -> None:
    """Wait until a stopped run has closed its sockets and written its rows."""
    from anyio import CancelScope  # noqa: PLC0415 - only after a Stop

    with CancelScope(shield=True), suppress(asyncio.CancelledError):
        await asyncio.wait({task}, timeout=GRACE)


def _meant(profile: str, pool: OrchestratorPool) -> str | None:
    """Return the profile's name; `default` is the default profile, whatever that is called."""
    return None if profile == "default" and profile not in pool.settings.profiles else profile


class StrategyJob(Handle[None]):
    """A strategy that has started. Made by `Strategy.start`; `run` and `run_sync` wait for it.

    Attributes:
        limits: The budgets that hold for it, the widest first.
        options: What every call is sent with.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.limits: tuple[Limit, ...] = engine.runtime.budget.limits
        self.options: CallOptions = engine.options
        self._job = engine.runtime.loop.start(engine.run)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages, those that have not begun included."""
        return tuple(work.stage for work in self._engine.works)

    @property
    def run_id(self) -> str:
        """The `run_id` of its rows in the ledger."""
        return self._engine.run_id

    @property
    def progress(self) -> Progress:
        """How far it is: a snapshot, from any thread, as often as you like."""
        return self._engine.progress

    @property
    def run(self) -> StrategyRun:
        """What has come so far, as a run; the whole one once the job has ended."""
        return collect(self._engine)

    def stage(self, name: str) -> StageResult:
        """Wait until a stage has ended, and return what it gave; the run goes on meanwhile.

        Raises:
            ConfigError: The run has no such stage.
            VictorError: The stage failed, or the run ended before it began; `partial` is what had come, and so is
                `session().last`.
            VictorInterrupted: Stop was pressed, which stops the run; `partial` is what had come.
        """
        works = {work.stage.name: work for work in self._engine.works}
        if name not in works:
            raise ConfigError(f"{name!r} is no stage of this run. It has {', '.join(works)}.")
        try:
            while works[name].state in {"waiting", "running"} and not self.wait(TICK):
                pass
        except KeyboardInterrupt:
            raise self.interrupted() from None
        run = self.run
        found = next((stage for stage in run.stages if stage.name == name), None)
        if found is not None and found.state not in {"failed", "refused"}:
            return found
        why = found.notes[-1] if found else f"{name} was not begun: {run.stopped or 'the run needed no more'}."
        error = VictorError(why)
        error.partial = self._engine.kept()
        raise error

    def result(self, *, progress: bool | None = False) -> StrategyRun:
        """Wait for the run. Stop cancels it; of a job that was cancelled, it is what had come by then.

        Args:
            progress: Whether to show a bar meanwhile, as in `Strategy.run`.

        Raises:
            VictorError: A stage failed, or a budget refused the very first call; `partial` is what had come.
            VictorInterrupted: Stop was pressed; `partial` is what had come, and so is `session().last`.
        """
        with self._engine.keeping():
            try:
                with self._engine.bar(progress) as bar:
                    bar.result(self._job)
            except KeyboardInterrupt:
                raise self.interrupted() from None
            except asyncio.CancelledError:
                pass  # another caller's `cancel`: what had come is what was asked for
        return self._engine.kept()

    def interrupted(self) -> VictorInterrupted:
        """Stop everything, keep what had come as `session().last`, and return the error to raise."""
        self.cancel()
        self.wait(_GRACE_OF_ALL)
        run = self._engine.kept()
        text = f"stopped {run.strategy} after {run.calls} calls ({run.spent}); what had come is session().last."
        return VictorInterrupted(text, run)
