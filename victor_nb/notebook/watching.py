"""Waits on the main thread for work that goes on in the background, where Stop arrives at once."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from victor_nb.notebook.pace import PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from victor_nb.errors import VictorInterrupted


class Handle(Protocol):
    """Work under way: a stream, a fan-out, a strategy."""

    def done(self) -> bool:
        """Tell whether it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most so many seconds for the end; tell whether it came."""
        ...

    def cancel(self) -> None:
        """Stop it."""
        ...

    def interrupted(self) -> VictorInterrupted:
        """Stop it, keep what came, and return the error to raise."""
        ...


Work = TypeVar("Work", bound=Handle)


def watch(begin: Callable[[], Work], look: Callable[[Work], object]) -> Work:
    """Begin the work, look at it eight times a second until it has ended, and return it.

    Raises:
        VictorInterrupted: Stop was pressed; the work was stopped.
    """
    with _stop_later() as stopped:
        work = begin()
    try:
        while not stopped and not work.wait(1 / PER_SECOND):
            look(work)
    except KeyboardInterrupt:
        raise work.interrupted() from None
    if stopped:
        raise work.interrupted()
    return work


@contextmanager
def _stop_later() -> Generator[list[int]]:
    """Note an interrupt instead of raising it: between a call's start and our wait for it, it would lose the call."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
