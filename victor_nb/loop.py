"""The background loop: one thread with one event loop, on which every client of a session lives.

A client that never meets a second loop cannot be bound to the wrong one; a stream goes on while other cells run; and
Stop works at once, since the main thread only waits.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from victor_nb.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from anyio.from_thread import BlockingPortal

T = TypeVar("T")

_TICK: Final = 0.1  # seconds; ipykernel hands an interrupt to an awaiting cell only when its loop wakes up
_GRACE: Final = 1.0  # seconds that a stopped job has to close its socket and write its row
_awaiting: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, int]] = WeakKeyDictionary()


class Job(Generic[T]):
    """Work under way on the background loop, seen from any thread."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._finished = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._future: Future[None] | None = None

    async def run(self) -> None:
        """Do the work, and keep what becomes of it."""
        try:
            self._value = await self._work()
        except BaseException as error:
            self._error = error
            # A cancellation belongs to the loop as well; any other error belongs to whoever asks for the result.
            if not isinstance(error, Exception):
                raise
        finally:
            self._finished.set()

    def attach(self, portal: BlockingPortal) -> None:
        """Start the work."""
        self._future = portal.start_task_soon(self.run)

    def cancel(self) -> None:
        """Ask the work to stop; it closes its sockets and writes its rows on the way out."""
        if self._future is not None:
            self._future.cancel()

    def done(self) -> bool:
        """Tell whether the work has ended, well or not."""
        return self._finished.is_set()

    @property
    def error(self) -> BaseException | None:
        """What the work raised, once it has ended."""
        return self._error

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the work, at most `timeout` seconds; tell whether it came."""
        return self._finished.wait(timeout)

    def result(self) -> T:
        """Wait for the result. An interrupt cancels the work before it goes on.

        Raises:
            BaseException: Whatever the work raised.
        """
        try:
            self._finished.wait()
        except KeyboardInterrupt:
            self.cancel()
            self._finished.wait(_GRACE)
            raise
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


class BackgroundLoop:
    """Starts its thread with the first work; ends when closed, or with the process."""

    def __init__(self, name: str = "victor_nb") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._manager: AbstractContextManager[BlockingPortal] | None = None
        self._thread: int | None = None
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the loop was closed."""
        return self._closed

    @property
    def running_here(self) -> bool:
        """Whether the caller is on this loop's own thread."""
        return self._thread == threading.get_ident()

    def start(self, work: Callable[[], Awaitable[T]]) -> Job[T]:
        """Start work from any thread, without waiting for it."""
        job = Job(work)
        if self.running_here:
            # The portal refuses its own thread; there a plain task does.
            task = asyncio.get_running_loop().create_task(job.run())
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
        else:
            job.attach(self._open())
        return job

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await work from any asyncio loop; a cancellation waits until the work has cleaned up after itself."""
        if self.running_here:
            return await work()
        portal = self._open()
        with awake(asyncio.get_running_loop()):
            return cast("T", await portal.call_async(cast("Any", work)))

    def _open(self) -> BlockingPortal:
        with self._lock:
            if self._closed:
                raise ClosedError("This session is closed. Call victor_nb.session() for a new one.")
            if self._portal is None:
                from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - 40 ms that not all need

                self._manager = start_blocking_portal(name=self._name)
                self._portal = self._manager.__enter__()
                self._thread = self._portal.call(threading.get_ident)
            return self._portal

    def close(self) -> None:
        """Cancel what is under way and end the thread. Twice is fine; from its own thread it only asks for the end."""
        with self._lock:
            self._closed = True
            manager, portal, self._manager, self._portal = self._manager, self._portal, None, None
        if portal is None or manager is None:
            return
        if self.running_here:
            task = asyncio.get_running_loop().create_task(portal.stop(cancel_remaining=True))
            _tasks.add(task)
            return
        portal.call(portal.stop, True)  # noqa: FBT003 - anyio's call takes positional arguments only
        manager.__exit__(None, None, None)


_tasks: Final[set[asyncio.Task[None]]] = set()


@contextmanager
def awake(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """Wake the loop ten times a second while one of our calls is awaited on it, so that Stop is seen."""
    before = _awaiting.get(loop, 0)
    _awaiting[loop] = before + 1
    if not before:
        _tick(loop)
    try:
        yield
    finally:
        _awaiting[loop] -= 1


def _tick(loop: asyncio.AbstractEventLoop) -> None:
    if _awaiting.get(loop) and not loop.is_closed():
        loop.call_later(_TICK, _tick, loop)
