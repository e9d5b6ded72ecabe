"""A list of lines to choose from that goes on changing under the user's hand."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.notebook.widgets.kit import Select

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

_REACTION: Final = 0.3
"""Seconds in which nobody has seen new lines yet: a click that comes sooner was aimed at those before."""


class Listbox(Select):
    """Lines with a key each. What is chosen stays chosen wherever its line goes.

    A page says only the place of a click. Which line that means is found in the lines that the user saw.

    Args:
        description: Its accessible label.
        clock: Seconds, of any beginning.
    """

    def __init__(self, description: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._still = threading.RLock()  # a click and new lines come on two threads
        self._clock = clock
        self._keys: Sequence[Hashable] = ()
        self._keys_before: Sequence[Hashable] = ()
        self._changed_at = float("-inf")
        self._listeners: list[Callable[[], object]] = []
        self.chosen: Hashable | None = None
        cast("Any", super()).__init__(description=description, options=(), rows=2)

    def on_choose(self, do: Callable[[], object]) -> None:
        """Do something whenever the user has chosen a line, or none."""
        self._listeners.append(do)

    def show(self, lines: Sequence[str], keys: Sequence[Hashable], *, most: int, asked: bool) -> None:
        """Replace the lines, in one message; nothing is sent where all is as it was.

        Args:
            lines: What is read.
            keys: What each line stands for; no two are the same.
            most: Lines that are seen at once, at the most.
            asked: Whether the user has asked for these lines, and so waits for them before the next click.
        """
        with self._still, cast("Any", self).hold_sync():
            if tuple(keys) != tuple(self._keys):
                self._keys_before, self._keys = self._keys, tuple(keys)
                self._changed_at = float("-inf") if asked else self._clock()
            if tuple(lines) != self.lines:
                self.index = None  # else the first line is chosen, for a moment
                self.options = tuple(zip(lines, keys, strict=True))
            self.index = self._place()
            self.rows = max(2, min(len(lines), most))

    @property
    def lines(self) -> tuple[str, ...]:
        """What is read."""
        return cast("Any", self)._options_labels  # noqa: SLF001 - its own

    def _place(self) -> int | None:
        return self._keys.index(self.chosen) if self.chosen in self._keys else None

    def _meant(self, place: int) -> Hashable | None:
        """Return what was clicked; a place that there was not before can only be a new line."""
        fresh = self._clock() - self._changed_at < _REACTION
        seen = self._keys_before if fresh and place < len(self._keys_before) else self._keys
        return seen[place] if place < len(seen) else None

    def step(self, by: int) -> None:
        """Choose the line so many below the chosen one, or the first: JupyterLab keeps the arrow keys to itself."""
        with self._still:
            if self._keys:
                place = self._place()
                place = 0 if place is None else max(0, min(place + by, len(self._keys) - 1))
                self.chosen = self._keys[place]
                self.index = place
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Take what the page says."""
        if "index" not in sync_data:
            cast("Any", super()).set_state(sync_data)
            return
        with self._still:
            place = sync_data["index"]
            self.chosen = self._meant(place) if isinstance(place, int) and place >= 0 else None
            meant = self._place()
            cast("Any", super()).set_state({**sync_data, "index": meant})
            if meant != place:
                cast("Any", self).send_state("index")
        self._tell()
