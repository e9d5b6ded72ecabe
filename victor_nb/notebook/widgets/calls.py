"""Which of the last attempts a widget shows, and in what order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from victor_nb.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from victor_nb.accounting.rows import Row

Key: TypeAlias = "tuple[str, int]"
"""What an attempt is known by: its call, and which attempt of it."""

ORDERS: Final[Mapping[str, str]] = {
    "newest": "newest first",
    "dearest": "dearest first",
    "slowest": "slowest first",
    "tokens": "most tokens first",
    "failed": "failed first",
}
"""What rows may be sorted by, and how that is said."""

_FAILED: Final = {"error": 0, "refused": 1, "partial": 2, "interrupted": 3}
_MATCHED: Final = (
    *("profile", "provider", "model", "model_served", "mode", "status", "strategy", "stage", "error_type"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the ledger is wanted.

    Attributes:
        n: Of the last so many attempts,
        filter: those in which each of these words is found,
        sort: in this order.

    Raises:
        ConfigError: It cannot be used as written.
    """

    n: int = 200
    sort: str = "newest"
    filter: str = ""

    MOST = 2_000
    """Rows that a page takes without becoming slow."""

    def __post_init__(self) -> None:
        if type(self.n) is not int or not 1 <= self.n <= self.MOST:
            raise ConfigError(f"n is a number of rows from 1 to {self.MOST:,}, not {self.n!r}.")
        if type(self.sort) is not str or self.sort not in ORDERS:
            close = did_you_mean(str(self.sort), ORDERS)
            hint = f"Did you mean sort={close!r}?" if close else f"Known: {', '.join(ORDERS)}."
            raise ConfigError(f"Rows cannot be sorted by {str(self.sort)[:40]!r}. {hint}")
        if not isinstance(self.filter, str):  # pyright: ignore[reportUnnecessaryIsInstance] - notebooks have no types
            raise ConfigError(f"filter is words to look for, such as filter='error fast', not {self.filter!r:.40}.")

    def of(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Return the rows that are wanted, of rows that come oldest first; among equals the newest is first."""
        words = self.filter.casefold().split()
        found = [row for row in reversed(rows) if all(word in _text(row) for word in words)]
        return found if self.sort == "newest" else sorted(found, key=lambda row: _RANKS[self.sort](row, now))


def key(row: Row) -> Key:
    """Return what an attempt is known by."""
    return row.call_id, row.attempt


def seconds(row: Row, now: datetime) -> float | None:
    """Return how long an attempt took, or takes so far; None where nobody knows."""
    if row.status == "running":
        return max(0.0, (now - row.ts).total_seconds())
    return row.latency


def _text(row: Row) -> str:
    return " ".join(getattr(row, name) or "" for name in _MATCHED).casefold()


def _dearest(row: Row, _now: datetime) -> float:
    return 1.0 if row.cost is None else -float(row.cost)


def _slowest(row: Row, now: datetime) -> float:
    taken = seconds(row, now)
    return 1.0 if taken is None else -taken


def _most_tokens(row: Row, _now: datetime) -> float:
    return -((row.input_tokens or 0) + (row.output_tokens or 0))


def _failed(row: Row, _now: datetime) -> float:
    return _FAILED.get(row.status, len(_FAILED))


_RANKS: Final[Mapping[str, Callable[[Row, datetime], float]]] = {
    "dearest": _dearest,
    "slowest": _slowest,
    "tokens": _most_tokens,
    "failed": _failed,
}
