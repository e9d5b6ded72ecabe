"""A strategy under way, as a handle for any thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from victor_nb.errors import ClosedError, VictorInterrupted
from victor_nb.workflows.progress_bar import Bar, Tally
from victor_nb.workflows.runs import collect

if TYPE_CHECKING:
    from types import TracebackType

    from victor_nb.accounting.budget import Limit
    from victor_nb.calls.request import CallOptions
    from victor_nb.config.strategies import Stage
    from victor_nb.loop import Job
    from victor_nb.workflows.engine import Engine
    from victor_nb.workflows.progress import Progress
    from victor_nb.workflows.runs import StrategyRun

_GRACE: Final = 1.5  # seconds that a stopped run has to close its sockets and write its rows


class StrategyJob:
    """A strategy that has started. Made by `Strategy.start`; `run` and `run_sync` wait for it.

    Attributes:
        limits: The budgets that hold for it, the widest first.
        options: What every call is sent with.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.limits: tuple[Limit, ...] = engine.runtime.budget.limits
        self.options: CallOptions = engine.options
        self._job: Job[None] = engine.runtime.loop.start(engine.run)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is to be done, also what has not begun."""
        return tuple(work.stage for work in self._engine.works)

    @property
    def run_id(self) -> str:
        """What its rows in the ledger share."""
        return self._engine.run_id

    @property
    def progress(self) -> Progress:
        """How far it is: a snapshot, from any thread, as often as you like."""
        return self._engine.progress

    @property
    def run(self) -> StrategyRun:
        """What has come so far, as a run; the whole one once the job has ended."""
        return collect(self._engine)

    def done(self) -> bool:
        """Tell whether it has ended, well or not."""
        return self._job.done()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for the end; tell whether it came."""
        return self._job.wait(timeout)

    def cancel(self) -> None:
        """Stop every call that is under way, and make no further one."""
        self._job.cancel()

    def result(self, *, progress: bool | None = False) -> StrategyRun:
        """Wait for the run. Stop cancels it; of a job that was cancelled, it is what had come by then.

        Args:
            progress: Whether to show a bar meanwhile, as in `Strategy.run`.

        Raises:
            VictorError: A stage failed, or a budget refused the very first call; `error.run` is what had come.
            VictorInterrupted: Stop was pressed; its `run` is what had come.
        """
        with Keeping(self._engine):
            try:
                with bar(self._engine, progress) as shown:
                    shown.result(self._job)
            except KeyboardInterrupt:
                raise self.interrupted() from None
            except asyncio.CancelledError:
                pass  # somebody else's `cancel`: what had come is what was asked for
        self._engine.runtime.last = run = self.run
        return run

    def interrupted(self) -> VictorInterrupted:
        """Stop everything, and return the error to raise; its `run` is what had come."""
        self.cancel()
        self.wait(_GRACE)
        run = self.run
        error = VictorInterrupted(
            f"stopped {run.strategy} after {run.calls} calls ({run.spent}); what had come is in .run of this error."
        )
        error.__dict__["run"] = run
        return error


def bar(engine: Engine, progress: bool | None) -> Bar:  # noqa: FBT001 - as callers give it
    """Return the bar to wait for a run with."""

    def look() -> Tally:
        stage, lanes = engine.progress.current, [lane for work in engine.works for lane in list(work.lanes)]
        return Tally.of(lanes, total=engine.progress.total, now=stage.name if stage else "")

    calls = sum(work.stage.n for work in engine.works)
    return Bar(engine.name, look, calls=calls, progress=progress, runtime=engine.runtime)


class Keeping:
    """Puts what had come of a run on whatever error leaves its block, as `error.run`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None and "run" not in error.__dict__:
            with suppress(ClosedError):  # the session has ended as well, and its ledger with it
                error.__dict__["run"] = collect(self._engine)
