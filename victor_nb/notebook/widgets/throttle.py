"""The pulse of all widgets: what goes to the front end, in turn, and never more than so many messages a second."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from victor_nb.notebook.widgets.base import Widget


PER_SECOND: Final = 12
"""Messages for all widgets of a kernel together, where they go on without a pause."""

BURST: Final = 4
"""Messages that go out at once after a pause, so that a click is answered without a wait."""


@dataclass(slots=True, eq=False)
class _Look:
    every: float
    due: float
    work: Callable[[], object]
    ended: bool = False


class Pulse:
    """One thread that sends what has changed, the newest of it only.

    It starts with the first thing to do, and ends when nothing is left to do. Work that fails is reported as the
    failure of any thread is, and is not done again; all other work goes on.

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
        self._looks: list[_Look] = []
        self._thread: threading.Thread | None = None
        self._busy = False

    def send(self, widget: Widget, **traits: object) -> None:
        """Set traits of a widget, soon and in one message; what was to be set and was not sent yet is replaced."""
        with self._changed:
            self._traits.setdefault(id(widget), {}).update(traits)
            self.put(id(widget), lambda: self._set(widget))

    def put(self, key: Hashable, work: Callable[[], object]) -> None:
        """Do what sends one message, soon, in place of what waits under the same key."""
        with self._changed:
            self._pending[key] = work
            self._wake()

    def look(self, work: Callable[[], object], *, every: float) -> Callable[[], None]:
        """Do something on the pulse's thread every so many seconds; return what ends that."""
        look = _Look(every, time.monotonic(), work)
        with self._changed:
            self._looks.append(look)
            self._wake()

        def end() -> None:
            with self._changed:
                look.ended = True
                self._looks = [each for each in self._looks if each is not look]
                self._changed.notify_all()

        return end

    def idle(self, timeout: float = 10.0) -> bool:
        """Wait until all that was put here is sent; tell whether that came within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._busy, timeout)

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="victor-widgets", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _set(self, widget: Widget) -> None:
        with self._changed:
            traits = self._traits.pop(id(widget), {})
        changed = {name: value for name, value in traits.items() if getattr(widget, name) != value}
        if changed:
            with cast("Any", widget).hold_sync():
                for name, value in changed.items():
                    setattr(widget, name, value)

    def _run(self) -> None:
        try:
            while self._beat():
                pass
        finally:
            with self._changed:
                self._thread, self._busy = None, False
                self._changed.notify_all()
                if self._pending or self._looks:
                    self._wake()

    def _beat(self) -> bool:
        """Look around as often as is due, then send the next thing in its turn; tell whether to go on."""
        for _ in range(len(self._looks)):
            look = self._next_due()
            if look is None:
                break
            look.work()
            self._look_again(look)
        self._wait_for_turn()
        work = self._next()
        if work is not None:
            work()
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        with self._changed:
            return bool(self._pending or self._looks)

    def _wait_for_turn(self) -> None:
        """Wait until one more message may go out, if any waits: a bucket of tokens that fills at the rate."""
        if not self._pending:
            return
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._rate)
        self._counted = now
        if self._tokens < 1:
            time.sleep((1 - self._tokens) / self._rate)

    def _next(self) -> Callable[[], object] | None:
        """Return what is to be sent next, once there is something; None when it is time to look around, or to end."""
        with self._changed:
            if not self._pending and self._looks:
                self._changed.wait(max(0.0, min(look.due for look in self._looks) - time.monotonic()))
            if not self._pending:
                return None
            self._busy = True
            self._tokens -= 1
            return self._pending.pop(next(iter(self._pending)))

    def _next_due(self) -> _Look | None:
        """Take out a look that is due, if any is: one that fails does not come back."""
        now = time.monotonic()
        with self._changed:
            for place, look in enumerate(self._looks):
                if look.due <= now:
                    return self._looks.pop(place)
            return None

    def _look_again(self, look: _Look) -> None:
        with self._changed:
            look.due = time.monotonic() + look.every
            if not look.ended:
                self._looks.append(look)


_pulse: Final = Pulse()


def pulse() -> Pulse:
    """Return the pulse of this kernel."""
    return _pulse
