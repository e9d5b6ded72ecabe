"""Simulated time: the seconds that calls take by the pace of their models, however long they are really waited for.

A call, a fan-out and a run of a strategy each have a `Clock`, in the context of their task. What they start forks it,
and moves it on when it ends: so seconds depend on what was asked, and not on the machine or on `VICTOR_SIM_SPEED`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

_AT_ONCE: Final = 1.0  # real seconds within which calls of a user's own count as started together
_FOR_EVER: Final = 3600.0


def _nothing() -> None:
    """Do nothing."""


class Clock:
    """The simulated time of one call or run.

    Attributes:
        origin: The moment from which it counts.
        now: Seconds since then.
        deadline: When the time of the call is over; None: never.
        expire: Ends the call, at its deadline.
        ends_after: The earliest moment at which the call can end, as far as is known.
    """

    def __init__(self, origin: datetime, now: float = 0.0, queues: dict[object, Queue] | None = None) -> None:
        self.origin, self.now, self.ends_after = origin, now, now
        self.deadline: float | None = None
        self.expire: Callable[[], object] = _nothing
        self._queues: dict[object, Queue] = {} if queues is None else queues
        self._queue: Queue | None = None

    def __call__(self) -> float:
        """Return the seconds, as `time.perf_counter` does."""
        return self.now

    @property
    def moment(self) -> datetime:
        """The date and time that it shows."""
        return self.origin + timedelta(seconds=self.now)

    def fork(self, *, at: float | None = None, alone: bool = False) -> Clock:
        """Return a clock for a part of the work.

        Args:
            at: When the part begins; None: now.
            alone: Whether it waits for no places that other work takes.
        """
        return Clock(self.origin, self.now if at is None else at, {} if alone else self._queues)

    def promise(self, at: float) -> None:
        """Keep that the call does not end before: then it is known who gets the next free place."""
        self.ends_after = at if self.deadline is None else min(at, self.deadline)
        if self._queue is not None:
            self._queue.settle()

    async def until(
        self, due: float, delay: Callable[[float], float], speed: float, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        """Wait until a moment, or until the call's time is over, which ends it.

        Args:
            due: The moment.
            delay: Returns the real seconds to a moment.
            speed: Real seconds for each simulated one.
            sleep: Waits for real seconds.
        """
        late = self.deadline is not None and due > self.deadline
        if late and self.deadline is not None:
            due = self.deadline
        try:
            await sleep(max(0.0, delay(due)))
        except asyncio.CancelledError:
            if speed:
                self.now = max(self.now, min(due, due - delay(due) / speed))
            raise
        self.now = max(self.now, due)
        if late:
            self.expire()
            await asyncio.sleep(_FOR_EVER)

    async def enter(self, owner: object, places: int) -> None:
        """Wait for a place among the calls of a profile."""
        self._queue = self._queues.setdefault(owner, Queue(places))
        await self._queue.enter(self)

    def leave(self) -> None:
        """Give the place to the next call."""
        if self._queue is not None:
            self._queue.leave(self)
            self._queue = None


CLOCK: Final[ContextVar[Clock | None]] = ContextVar("victor_nb_clock", default=None)


class Queue:
    """The places of a profile in one run: calls get them in the order of their coming, each the one that is free first.

    A place is given away when it is certain that no other one is free earlier: so the machine has no say in it.
    """

    def __init__(self, places: int) -> None:
        self._free = [0.0] * places  # since when
        self._held: list[Clock] = []
        self._waiting: deque[tuple[Clock, asyncio.Future[None]]] = deque()

    async def enter(self, clock: Clock) -> None:
        """Wait for a place, and move the clock on to when it is free."""
        turn = clock, asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.settle()
        try:
            await turn[1]
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self.settle()
            else:
                self.leave(clock)
            raise

    def leave(self, clock: Clock) -> None:
        """Free the place of a call that has ended."""
        self._held.remove(clock)
        self._free.append(clock.now)
        self.settle()

    def settle(self) -> None:
        """Give away the places of which it is known that they are the next."""
        while self._waiting and self._free:
            clock, turn = self._waiting[0]
            free = min(self._free)
            if free > clock.now and any(held.ends_after < free for held in self._held):
                return
            self._free.remove(free)
            self._waiting.popleft()
            clock.now = clock.ends_after = max(clock.now, free)
            self._held.append(clock)
            turn.set_result(None)


class Place:
    """A place among the simulated calls of a profile, for `async with`.

    Args:
        owner: Whose calls share the places.
        places: How many there are.
    """

    def __init__(self, owner: object, places: int) -> None:
        self._owner, self._places = owner, places

    async def __aenter__(self) -> None:
        if (clock := CLOCK.get()) is not None:
            await clock.enter(self._owner, self._places)

    async def __aexit__(self, *_: object) -> None:
        if (clock := CLOCK.get()) is not None:
            clock.leave()


class Timeline:
    """When the simulated work of a session happens: no piece begins before the last has ended, or before its time.

    Args:
        start: Returns a moment that stands for the present, so that dates are the same each time; None: the present.
    """

    def __init__(self, start: Callable[[], datetime | None] = _nothing) -> None:
        self._start = start
        self._flow: Clock | None = None
        self._began = self._end = 0.0
        self._running = 0

    def begin(self) -> Clock:
        """Return the clock of a piece of work; one that is started with others begins with them."""
        if self._flow is None or not self._running:
            now = self._start() or datetime.now(UTC)
            last = now if self._flow is None else self._flow.origin + timedelta(seconds=self._end)
            self._flow, self._began, self._end = Clock(max(now, last)), time.monotonic(), 0.0
        self._running += 1
        passed = time.monotonic() - self._began
        return self._flow.fork(at=passed if passed > _AT_ONCE else 0.0)

    def end(self, clock: Clock) -> None:
        """Keep when a piece of work has ended."""
        self._end = max(self._end, clock.now)
        self._running -= 1


@contextmanager
def simulated(timeline: Timeline, *, alone: bool = False) -> Generator[Clock]:
    """Run the block by a clock of its own: a fork of its caller's, which it moves on at its end.

    Args:
        timeline: Where it belongs if its caller has none.
        alone: Whether it waits for no places that other work takes.
    """
    outer = CLOCK.get()
    root = timeline.begin() if outer is None else outer
    clock = root.fork(alone=alone)
    token = CLOCK.set(clock)
    try:
        yield clock
    finally:
        CLOCK.reset(token)
        root.now = max(root.now, clock.now)
        if outer is None:
            timeline.end(root)
