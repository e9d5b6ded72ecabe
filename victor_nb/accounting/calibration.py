"""How many tokens a text will be, learnt for each model from what the ledger has seen."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from victor_nb.accounting.ledger import Ledger
    from victor_nb.values import Mode

DEFAULT_BYTES: Final = 2.0
"""Bytes per token where a model has no history. English prose has about four; code and Chinese come near two."""
_MARGIN: Final = 1.25
"""How far a single text may lie above its model's mean."""
_OVERHEAD: Final = 16
"""Tokens that a request takes beside its texts: roles, separators."""


class Calibration:
    """Bytes per token, by model and mode: the ledger's history, then what this kernel adds to it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Mode], tuple[int, int]] = {}

    def load(self, model: str, mode: Mode) -> None:
        """Read a model's history, once. It waits for the ledger: not on an event loop."""
        with self._lock:
            if (model, mode) not in self._seen:
                self._seen[model, mode] = self._ledger.input_history(model, mode)

    def learn(self, model: str, mode: Mode, *, size: int, tokens: int) -> None:
        """Take a reported input in: `size` bytes were `tokens` tokens."""
        with self._lock:
            if (known := self._seen.get((model, mode))) is not None and size and tokens:
                self._seen[model, mode] = known[0] + size, known[1] + tokens

    def bytes_per_token(self, model: str, mode: Mode) -> float | None:
        """Return the model's mean; None where it has no history."""
        size, tokens = self._seen.get((model, mode), (0, 0))
        return size / tokens if tokens and size else None

    def expected(self, model: str, mode: Mode, *, size: int) -> int:
        """Return how many tokens a text of so many bytes will probably be."""
        return round(size / (self.bytes_per_token(model, mode) or 2 * DEFAULT_BYTES))

    def at_worst(self, model: str, mode: Mode, *, size: int) -> int:
        """Return how many tokens a request with so many bytes of text may be: what a budget has to hold."""
        known = self.bytes_per_token(model, mode)
        return _OVERHEAD + round(size * _MARGIN / known if known else size / DEFAULT_BYTES)
