"""How often a growing text is shown, and how much of it: lively for a sentence, sparing for a book."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PER_SECOND: Final = 8
"""Updates at the most. Jupyter drops messages of a server that sends more than 1,000 a second, or 1 MB a second."""

_WHOLE: Final = 400  # characters; up to here all of the text is shown while it grows
_WINDOW: Final = 240  # characters of its end that are shown from then on
_GROWTH: Final = 1.2  # how much longer a text must be to be shown whole again
_ENVELOPE: Final = 110  # bytes of a message beside the text


class Pace:
    """Decides about one text. Showing all of it again for each of 1,500 pieces would take 9 MB for 9 kB.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = -1.0
        self._size = 0
        self._spent = 0

    def window(self, size: int) -> int | None:
        """Return how many characters of the end of a text to show now, of `size` in all; None to wait."""
        now = self._clock()
        if size <= self._size or (self._size and now - self._last < 1 / PER_SECOND):
            return None
        shown = size if size <= _WHOLE else _WINDOW
        if size <= _WHOLE and size < self._size * _GROWTH:
            return None
        if self._spent + shown + _ENVELOPE > _allowance(size):
            return None
        self._last, self._size = now, size
        return shown

    def sent(self, size: int) -> None:
        """Count a frame of `size` bytes."""
        self._spent += size + _ENVELOPE


def _allowance(size: int) -> float:
    """Return the bytes that frames may take until a text has `size`: less than once more the text, if it is long.

    The frame that is saved takes two more, as Markdown and as plain text: three times the text in all.
    """
    return min(1_000 + size, 2_300 + 0.45 * size)
