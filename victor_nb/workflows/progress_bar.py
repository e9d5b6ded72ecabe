"""Progress bars for long work, with failures and spend; they leave nothing behind."""

from __future__ import annotations

import asyncio
import pkgutil
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import victor_nb
from victor_nb.errors import VictorError, VictorInterrupted
from victor_nb.loop import GRACE, Handle, Job
from victor_nb.money import Total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from victor_nb.runtime import Runtime

T = TypeVar("T")

LONG: Final = 10
"""Calls from which on work may get a bar."""

_LATE: Final = 1.0  # seconds that work goes on before it gets one
_EVERY: Final = 0.5  # seconds between two looks at it; each is three messages to a notebook
_WAIT: Final = 0.1  # seconds; a blocking wait is short, so that Stop is seen
_FAULTS: Final = (OSError, ValueError, LookupError)  # what a place to show things on gives when it is gone


class Part(Protocol):
    """One call of some work."""

    @property
    def outcome(self) -> object:
        """The reply or the error; None before it has ended."""
        ...

    @property
    def spent(self) -> Total:
        """What those of its attempts cost that have ended."""
        ...


@dataclass(frozen=True, slots=True)
class Tally:
    """The progress of some work.

    Attributes:
        done: Parts that have ended, well or not.
        failed: Those of them that failed.
        spent: What has ended cost, as far as it is known.
        now: The current step, where there is one to name.
    """

    done: int
    total: int
    failed: int = 0
    spent: Total = field(default_factory=Total)
    now: str = ""

    @classmethod
    def of(cls, lanes: Iterable[Part], *, total: int, now: str = "") -> Tally:
        """Return the tally of some calls."""
        ended = [lane for lane in lanes if lane.outcome is not None]
        failed = sum(isinstance(lane.outcome, VictorError) for lane in ended)
        return cls(len(ended), total, failed, sum((lane.spent for lane in ended), Total()), now)

    def __str__(self) -> str:
        """Return it as text: `120/200 · 2 failed · USD 0.0123`."""
        failed = f"{self.failed} failed" if self.failed else ""
        return " · ".join(filter(None, (f"{self.done}/{self.total}", self.now, failed, str(self.spent))))


class Meter:
    """A bar of tqdm's: a line at the end of a terminal.

    Args:
        began: When the work began, by `time.perf_counter`.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._bar: Any = None

    def show(self, text: str, tally: Tally) -> None:
        """Show a text and the tally."""
        if self._bar is None:
            self._bar = self._made(tally)
            self._bar.start_t += self._began - time.perf_counter()
        self._bar.total, self._bar.n = tally.total, tally.done
        self._bar.set_description_str(text)

    def _made(self, tally: Tally) -> Any:  # noqa: ANN401 - tqdm has no types
        # Not `tqdm.auto`: that takes any process with ipykernel in it for a notebook. With a delay, the first line is
        # not written before there is anything to say.
        return tqdm_bar("tqdm.std:tqdm", tally, file=sys.stderr, dynamic_ncols=True, delay=1e-9)

    def close(self) -> None:
        """Remove it."""
        if self._bar is not None:
            self._bar.close()


def tqdm_bar(kind: str, tally: Tally, **options: object) -> Any:  # noqa: ANN401 - tqdm has no types
    """Return a bar of tqdm's that runs no thread of its own, and leaves nothing."""
    bar = type("Bar", (pkgutil.resolve_name(kind),), {"monitor_interval": 0})
    return bar(total=tally.total, leave=False, bar_format="{desc} |{bar}| {elapsed}<{remaining}", **options)


class Bar:
    """One bar, updated by the caller that waits for the work: `with` and `result` block, `async with` does not.

    It comes when the work has gone on for a second, and goes with its block. A place that cannot show it takes nothing
    from the work.

    Args:
        name: What the work is called.
        look: Returns the state of the work, from any thread.
        calls: Calls that it may take.
        progress: True shows the bar from the start and for a single call; None only for ten calls or more, and where
            a user can watch (not with CI=true or VICTOR_PROGRESS=off); False never. A bar takes a notebook, or a
            terminal on stderr.
        runtime: Whose work it is.
    """

    def __init__(
        self, name: str, look: Callable[[], Tally], *, calls: int, progress: bool | None, runtime: Runtime
    ) -> None:
        self._name = name
        self._look = look
        self._wanted = _is_wanted(progress, calls, runtime)
        self._began = time.perf_counter()
        self._next = self._began + (0.0 if progress else _LATE)
        self._meter: Meter | None = None
        self._task: asyncio.Task[None] | None = None

    def result(self, job: Job[T]) -> T:
        """Wait for a job, and return its result. An interrupt cancels the job before it goes on.

        Raises:
            BaseException: Whatever the job raised.
        """
        try:
            while self._wanted and not job.wait(_WAIT):
                self.tick()
        except KeyboardInterrupt:
            job.cancel()
            job.wait(GRACE)
            raise
        return job.result()

    def tick(self) -> None:
        """Show how far the work is, if it is time to."""
        now = time.perf_counter()
        if not self._wanted or now < self._next:
            return
        self._next = now + _EVERY
        tally = self._look()
        try:
            self._meter = self._meter or _open(self._began)
            if self._meter is None:
                self._wanted = False
            else:
                self._meter.show(f"{self._name}: {tally}", tally)
        except _FAULTS:
            self._wanted = False

    async def _tick_on(self) -> None:
        while self._wanted:
            self.tick()
            await asyncio.sleep(_EVERY)

    def _close(self) -> None:
        self._wanted, meter = False, self._meter
        self._meter = None
        try:
            if meter is not None:
                meter.close()
        except _FAULTS:
            pass  # nothing is left to take it away from

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    async def __aenter__(self) -> Self:
        if self._wanted:
            # A task of the caller's: what it shows belongs to the caller's cell.
            self._task = asyncio.create_task(self._tick_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
        self._close()


def _is_wanted(progress: bool | None, calls: int, runtime: Runtime) -> bool:  # noqa: FBT001 - as callers give it
    if progress is False or runtime.loop.running_here:
        return False
    if progress is None and (calls < LONG or not runtime.settings.watched):
        return False
    return _in_a_kernel() or _on_a_terminal()


def _in_a_kernel() -> bool:
    # What another thread shows goes to whichever cell is the newest.
    return "ipykernel" in sys.modules and threading.current_thread() is threading.main_thread()


def _on_a_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _open(began: float) -> Meter | None:
    """Return a bar in the place where one can be, if there is one."""
    found = victor_nb.cell_meter(began) if _in_a_kernel() else None
    return found or (Meter(began) if _on_a_terminal() else None)


class Watched(Handle[T]):
    """Work that is waited for with a bar, and whose Stop keeps what has come."""

    def bar(self, progress: bool | None) -> Bar:  # noqa: FBT001 - as callers give it
        """Return the bar to wait with."""
        raise NotImplementedError

    def interrupted(self) -> VictorInterrupted:
        """Stop everything, keep what has come as `session().last`, and return the error to raise."""
        raise NotImplementedError

    def _kept(self) -> T:
        """Keep what has come as `session().last`, and return it."""
        raise NotImplementedError

    def result(self, *, progress: bool | None = False) -> T:
        """Wait for the result, with a bar as `progress` has it (see `Bar`). Stop ends it.

        Raises:
            VictorError: The work failed; `partial` is what had come.
            VictorInterrupted: Stop was pressed; `partial` is what had come, and so is `session().last`.
        """
        try:
            with self.bar(progress) as bar:
                return bar.result(self._job)
        except KeyboardInterrupt:
            raise self.interrupted() from None
        except asyncio.CancelledError:
            return self._kept()
