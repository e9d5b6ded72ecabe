"""Waits on the main thread for work that goes on in the background, where Stop arrives at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from victor_nb.notebook.pace import PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

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


def watch(work: Work, look: Callable[[Work], None]) -> None:
    """Look at the work eight times a second until it has ended.

    Raises:
        VictorInterrupted: Stop was pressed; the work was stopped.
    """
    try:
        while not work.wait(1 / PER_SECOND):
            look(work)
    except KeyboardInterrupt:
        raise work.interrupted() from None
