"""The background loop: one thread with one event loop, on which every client of a session lives.

A client that never meets a second loop cannot be bound to the wrong one; a stream goes on while other cells run; and
Stop works at once, since the main thread only waits.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from weakref import WeakKeyDictionary, ref

from victor_nb.errors import ClosedError
from victor_nb.fork import Step, at_fork, in_child, keep_for_ever, left
from victor_nb.values import JOB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from contextlib import ExitStack

    from anyio.from_thread import BlockingPortal

T = TypeVar("T")

TICK: Final = 0.1  # seconds; ipykernel hands an interrupt to an awaiting cell only when its loop wakes up
GRACE: Final = 1.0  # seconds that a stopped job has to close its socket and write its row
_SELDOM: Final = 10
"""How many times as many objects are made before the garbage collector looks, while many calls are under way."""
_LOST: Final = "This was under way in the process that was forked, and goes on there. Ask again."
_CLOSED: Final = "This session is closed. Call victor_nb.session() for a new one."


class Scope:
    """What all that runs within a job knows of it: how it was stopped, and the jobs that were started there.

    It is kept longer than the job: by timers and idle connections, and by a thread that goes on after its end.

    Attributes:
        stopped: How it was stopped: `interrupted` with its cell, or `cancelled`; empty: it was not.
        parts: The jobs under way that were started within it.
    """

    __slots__ = ("__weakref__", "_job", "parts", "stopped")

    def __init__(self, job: Job[Any]) -> None:
        self._job = ref(job)
        self.stopped = ""
        self.parts: set[Job[Any]] = set()

    def cancel(self) -> None:
        """Ask the job to stop, if it is under way."""
        if (job := self._job()) is not None:
            job.cancel()


def check_stopped() -> None:
    """Raise if the job that the running task belongs to was stopped, also where its task has yet to notice.

    Raises:
        CancelledError: It was.
    """
    if (scope := JOB.get()) is not None and scope.stopped:
        raise asyncio.CancelledError


class Job(Generic[T]):
    """Work under way on the background loop, seen from any thread.

    One that is started within another one is a part of it: it stops with it, and does not begin after that was stopped.

    Args:
        work: What is done.
        loop: Where.
        upkeep: Whether it is none of the user's work, such as closing a connection.

    Attributes:
        task: The task that does it, from its beginning to its end.
        ends: What is called on the background loop when it has ended; to be added to before it begins.
        upkeep: As it was given.
    """

    def __init__(
        self, work: Callable[[], Awaitable[T]], loop: asyncio.AbstractEventLoop, *, upkeep: bool = False
    ) -> None:
        self._work = work
        self._loop = loop
        self._finished = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        self.task: asyncio.Task[None] | None = None
        self.ends: list[Callable[[], object]] = []
        self.upkeep = upkeep
        self._scope = Scope(self)
        outer = None if upkeep else cast("Scope | None", JOB.get())
        if outer is not None:
            outer.parts.add(self)
            self.ends.append(partial(outer.parts.discard, self))
            self._scope.stopped = outer.stopped  # looked at last: else what stops that one finds this among its parts

    @property
    def stopped(self) -> str:
        """How it was stopped: `interrupted` with its cell, or `cancelled`; empty: it was not."""
        return self._scope.stopped

    def spawn(self) -> None:
        """Start the task. Call on the background loop only."""
        self.task = task = self._loop.create_task(self._run())
        task.add_done_callback(self._settle)
        if self.stopped:
            task.cancel()

    async def _run(self) -> None:
        JOB.set(self._scope)  # not the job: what keeps the context would keep it, and all that it did
        try:
            self._value = await self._work()
        except BaseException as error:  # noqa: BLE001 - `result` raises it
            # Kept for the caller of `result`, a cancellation and `sys.exit()` too, which would end the loop.
            self._error = error

    def _settle(self, task: asyncio.Task[None]) -> None:
        """Mark the work as ended; a task that is cancelled before its first step never ran."""
        if task.cancelled():
            self._error = asyncio.CancelledError()
        self.task = None
        del self._work  # it refers to what holds this job, which would wait for the garbage collector
        self._finished.set()
        for end in self.ends:
            end()
        self.ends.clear()

    def lose(self) -> None:
        """End the work without its loop, which does not exist after fork(). A lock of the parent's may be held."""
        self._error, self._finished = ClosedError(_LOST), threading.Event()
        self._finished.set()

    def cancel(self) -> None:
        """Ask the work to stop, and its parts; it closes its sockets and writes its rows on the way out.

        It waits for nothing. No attempt of a call that belongs to it begins after this has returned.
        """
        how = "interrupted" if isinstance(sys.exception(), KeyboardInterrupt) else "cancelled"
        self._scope.stopped = self._scope.stopped or how
        for part in list(self._scope.parts):
            part.cancel()
        with suppress(RuntimeError):  # the loop is gone, and all of its work with it
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    @property
    def error(self) -> BaseException | None:
        """What the work raised, once it has ended."""
        return self._error

    def done(self) -> bool:
        """Return whether the work has ended, well or not."""
        return self._finished.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the work, at most `timeout` seconds; return whether it came."""
        if timeout is not None:
            return self._finished.wait(timeout)
        # In short waits: an interrupt that comes just before a lock is waited for is seen only when the wait ends.
        while not self._finished.wait(TICK):
            pass
        return True

    def result(self) -> T:
        """Wait for the result. An interrupt cancels the work before it goes on.

        Raises:
            BaseException: Whatever the work raised.
        """
        try:
            self.wait()
        except KeyboardInterrupt:
            self.cancel()
            self._finished.wait(GRACE)
            raise
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


class Handle(Generic[T]):
    """Work that its caller may look at, wait for and stop, from any thread."""

    _job: Job[T]

    def done(self) -> bool:
        """Return whether it has ended, well or not."""
        return self._job.done()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for the end; return whether it came."""
        return self._job.wait(timeout)

    def cancel(self) -> None:
        """Stop every call that is under way, and make no further one; what has come is kept."""
        self._job.cancel()


class BackgroundLoop:
    """Starts its thread with the first work; ends when closed, or with the process."""

    def __init__(self, name: str = "victor_nb") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._manager: AbstractContextManager[BlockingPortal] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._jobs: set[Job[Any]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._closed = False
        at_fork(Step.LOOPS, self.rest)
        in_child(self.renew)

    @property
    def ended(self) -> bool:
        """Whether the loop was closed."""
        return self._closed

    @property
    def running_here(self) -> bool:
        """Whether the caller is on this loop's own thread."""
        return self._thread == threading.get_ident()

    def start(
        self,
        work: Callable[[], Awaitable[T]],
        *,
        upkeep: bool = False,
        ended: Callable[[], object] | None = None,
    ) -> Job[T]:
        """Start work from any thread, without waiting for it.

        Args:
            work: What is done.
            upkeep: Whether it is none of the user's work, such as closing a connection: `cancel` lets it go on.
            ended: Called on the background loop when it has ended, also if it was stopped before it began.
        """
        job = Job(work, self._open(), upkeep=upkeep)
        job.ends += [ended] if ended else []
        self._spawn(job)
        return job

    def start_if_open(self, work: Callable[[], Awaitable[object]]) -> None:
        """Start work where there is a loop to do it. For finalizers, which may run at any point: it takes no lock."""
        if self._loop is not None and not self._closed:
            with suppress(ClosedError):
                self._spawn(Job(work, self._loop, upkeep=True))

    @property
    def busy(self) -> bool:
        """Whether work of the user's is under way that was not stopped."""
        return bool(self._working())

    def cancel(self) -> None:
        """Stop all work of the user's that is under way. What is stopped already is left to its end."""
        for job in self._working():
            job.cancel()

    def _working(self) -> list[Job[Any]]:
        return [job for job in list(self._jobs) if not (job.upkeep or job.stopped)]

    def _spawn(self, job: Job[T]) -> None:
        self._jobs.add(job)
        job.ends.append(partial(self._jobs.discard, job))
        try:
            cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(job.spawn)
        except RuntimeError:
            self._jobs.discard(job)
            raise ClosedError(_CLOSED) from None

    async def call(self, work: Callable[[], Awaitable[T]], *, upkeep: bool = False) -> T:
        """Await work from any asyncio loop; a cancellation waits until the work has cleaned up after itself.

        Args:
            work: What is done.
            upkeep: See `start`.

        Raises:
            CancelledError: The caller was cancelled; or the work was, by `cancel`.
            BaseException: Whatever the work raised.
        """
        if self.running_here:
            return await work()
        here, ended = asyncio.get_running_loop(), asyncio.Event()
        job = Job(work, self._open(), upkeep=upkeep)
        job.ends.append(lambda: _tell(here, ended))
        self._spawn(job)
        with awake(here):
            try:
                await ended.wait()
            except asyncio.CancelledError:
                job.cancel()
                with suppress(TimeoutError):
                    async with asyncio.timeout(GRACE):
                        await ended.wait()
                raise
        return job.result()

    def _open(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None and not self._closed:
            return self._loop
        from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - 40 ms that not all need

        with self._lock:
            if self._closed:
                raise ClosedError(_CLOSED)
            if self._loop is None:
                self._manager = start_blocking_portal(name=self._name)
                self._portal = self._manager.__enter__()
                self._thread = self._portal.call(threading.get_ident)
                self._loop = self._portal.call(asyncio.get_running_loop)
            return self._loop

    def rest(self, held: ExitStack, deadline: float) -> None:
        """Keep the thread between two steps, so that it holds no lock while this process is forked; see `at_fork`."""
        if self._loop is None or self._closed or self.running_here:
            return
        going, still = threading.Event(), threading.Event()
        held.callback(going.set)
        with suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(lambda: (still.set(), going.wait()))
            still.wait(left(deadline))

    def renew(self) -> None:
        """Mark the loop closed without contacting its thread, which does not exist after fork()."""
        self._closed = True
        keep_for_ever((self._manager, self._loop))
        for job in list(self._jobs):
            job.lose()

    def close(self) -> None:
        """Cancel what is under way and end the thread. Twice is fine; from its own thread it only asks for the end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            manager, portal, self._manager, self._portal = self._manager, self._portal, None, None
        if portal is None or manager is None:
            return
        if self.running_here:
            self._ending = asyncio.get_running_loop().create_task(portal.stop(cancel_remaining=True))
            return
        portal.call(self._end_all)
        portal.call(portal.stop, True)  # noqa: FBT003 - anyio's call takes positional arguments only
        manager.__exit__(None, None, None)

    async def _end_all(self) -> None:
        tasks = [job.task for job in list(self._jobs) if job.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the caller's loop is closed: nothing waits there any more
        loop.call_soon_threadsafe(event.set)


_busy = threading.Lock()
_thresholds: Final[list[tuple[int, int, int]]] = []
"""Of the garbage collector: those before the first of many calls under way, then those of each meanwhile."""


@contextmanager
def collecting_seldom() -> Generator[None]:
    """Let the garbage collector look ten times as seldom while many calls are under way.

    Each is some hundred objects that end by themselves: by its usual measure it looks at all of them again and again,
    for a tenth of a map's time. A measure that the user sets meanwhile stays.
    """
    with _busy:
        before = gc.get_threshold()
        if not _thresholds:
            _thresholds.append(before)
            gc.set_threshold(before[0] * _SELDOM, *before[1:])
        _thresholds.append(gc.get_threshold())
    try:
        yield
    finally:
        with _busy:
            ours = _thresholds.pop()
            if len(_thresholds) == 1:
                before = _thresholds.pop()
                if gc.get_threshold() == ours:
                    gc.set_threshold(*before)


class _Ticker:
    """Wakes one event loop while a call of ours is awaited on it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.next: asyncio.TimerHandle | None = None


_tickers: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Ticker]] = WeakKeyDictionary()


@contextmanager
def awake(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """Wake the loop ten times a second while one of our calls is awaited on it, so that Stop is seen."""
    ticker = _tickers.setdefault(loop, _Ticker())
    ticker.waiting += 1
    if ticker.next is None:
        _tick(loop, ticker)
    try:
        yield
    finally:
        ticker.waiting -= 1
        if not ticker.waiting and ticker.next is not None:
            ticker.next.cancel()
            ticker.next = None


def _tick(loop: asyncio.AbstractEventLoop, ticker: _Ticker) -> None:
    ticker.next = loop.call_later(TICK, _tick, loop, ticker)
