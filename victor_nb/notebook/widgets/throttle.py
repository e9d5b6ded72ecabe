"""Messages of all widgets to the front end: the newest of each, in turn, at a limited rate."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from traitlets import HasTraits

PER_SECOND: Final = 12
"""Messages of all widgets of a kernel together, while they go on without a pause: a page draws 20 with ease."""

BURST: Final = 4
"""Messages that go out at once after a pause, so that a click is answered without a wait."""


@dataclass(slots=True, eq=False)
class _Poll:
    every: float
    work: Callable[[], object]
    due: float  # infinite while it runs


class Throttle:
    """A thread that sends the newest value of each changed trait.

    The thread starts with the first thing to do, and ends when nothing is left. Work that raises is reported by
    `threading.excepthook` and is not done again; all other work goes on.

    Args:
        per_second: Messages that go out in a second without a pause.
        burst: Messages that go out at once after one; in no second are there more than both together.
    """

    def __init__(self, per_second: float = PER_SECOND, *, burst: int = BURST) -> None:
        self._rate = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._counted = time.monotonic()
        self._changed = threading.Condition(threading.RLock())
        self._pending: dict[Hashable, Callable[[], object]] = {}
        self._traits: dict[int, dict[str, object]] = {}
        self._polls: list[_Poll] = []
        self._thread: threading.Thread | None = None
        self._busy = False

    def send(self, widget: HasTraits, **traits: object) -> None:
        """Set traits of a widget soon, in one message, if that changes anything; it replaces values not sent yet."""
        with self._changed:
            waiting = self._traits.setdefault(id(widget), {})
            waiting.update(traits)
            if self._busy or any(getattr(widget, name) != value for name, value in waiting.items()):
                self.put(id(widget), lambda: self._set(widget))
            else:
                del self._traits[id(widget)]
                self._pending.pop(id(widget), None)
                self._changed.notify_all()

    def put(self, key: Hashable, work: Callable[[], object]) -> None:
        """Call a function that sends one message, soon, in place of what waits under the same key."""
        with self._changed:
            self._pending[key] = work
            self._wake()

    def poll(self, work: Callable[[], object], *, every: float) -> Callable[[], None]:
        """Call a function every so many seconds; return what stops that."""
        poll = _Poll(every, work, due=time.monotonic())
        with self._changed:
            self._polls.append(poll)
            self._wake()

        def stop() -> None:
            with self._changed, suppress(ValueError):
                self._polls.remove(poll)
                self._changed.notify_all()

        return stop

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Wait at most `timeout` seconds until everything is sent; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._busy, timeout)

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="victor-widgets", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _set(self, widget: HasTraits) -> None:
        with self._changed:
            traits = self._traits.pop(id(widget), {})
        changed = {name: value for name, value in traits.items() if getattr(widget, name) != value}
        if changed:
            with cast("Any", widget).hold_sync():
                for name, value in changed.items():
                    setattr(widget, name, value)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        finally:
            with self._changed:
                self._thread, self._busy = None, False
                self._polls = [poll for poll in self._polls if poll.due < inf]  # without one that has raised
                self._changed.notify_all()
                if self._pending or self._polls:
                    self._wake()

    def _step(self) -> bool:
        """Do all polls that are due, then send the next message; return whether anything is left."""
        for _ in range(len(self._polls)):
            poll = self._take_due()
            if poll is None:
                break
            poll.work()
            poll.due = time.monotonic() + poll.every
        self._wait_for_token()
        work = self._take_message()
        if work is not None:
            work()
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        with self._changed:
            return bool(self._pending or self._polls)

    def _take_due(self) -> _Poll | None:
        now = time.monotonic()
        with self._changed:
            poll = next((poll for poll in self._polls if poll.due <= now), None)
            if poll is not None:
                poll.due = inf
            return poll

    def _wait_for_token(self) -> None:
        """Wait until one more message may go out, if any waits: a bucket of tokens that fills at the rate."""
        if not self._pending:
            return
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._rate)
        self._counted = now
        if self._tokens < 1:
            time.sleep((1 - self._tokens) / self._rate)

    def _take_message(self) -> Callable[[], object] | None:
        """Return the next message, waiting for one; None when a poll is due, or nothing is left to do."""
        with self._changed:
            if not self._pending and self._polls:
                self._changed.wait(max(0.0, min(poll.due for poll in self._polls) - time.monotonic()))
            if not self._pending:
                return None
            self._busy = True
            self._tokens -= 1
            return self._pending.pop(next(iter(self._pending)))


_throttle: Final = Throttle()


def throttle() -> Throttle:
    """Return the throttle of this kernel's widgets."""
    return _throttle
