"""Attempts as lines of text in columns: what a list box shows of each, and what stands over it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from victor_nb.notebook.bill import MODES, price
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.calls import seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from victor_nb.accounting.rows import Row

SIGNS: Final[Mapping[str, str]] = {
    "ok": "●",
    "running": "○",
    "error": "×",
    "refused": "!",
    "interrupted": "■",
    "partial": "◐",
}
"""What a status is marked with beside its word; the theme gives a line that begins with one its colour."""

COLUMNS: Final = ("  status", "time", "profile", "list USD", "took", "in", "out", "model", "note", "stage")
"""What matters most stands first: a narrow page shows no more of a line."""

NUMBERS: Final = frozenset({"list USD", "took", "in", "out"})
_OPTIONAL: Final = frozenset({"stage", "note"})
_WIDEST: Final[Mapping[str, int]] = {"profile": 16, "model": 24, "stage": 18, "note": 48}
_GAP: Final = "  "
_MINUTE: Final = 60
_EXACT: Final = 10  # seconds below which tenths are told
_COARSE: Final = 10 * _MINUTE  # seconds from which only minutes are told


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that stand under each other.

    Attributes:
        head: The names of the columns.
        body: One line for each row.
    """

    head: str
    body: tuple[str, ...]


def lines(rows: Sequence[Row], every: Iterable[Row], now: datetime) -> Lines:
    """Return a line for each of some rows.

    Args:
        rows: The rows that are shown.
        every: All rows that are at hand; of what was tried twice, a line says so.
        now: The time that calls under way are measured by.
    """
    attempts = Counter(row.call_id for row in every)
    table = [cells(row, attempts, now) for row in rows]
    kept = [place for place, name in enumerate(COLUMNS) if name not in _OPTIONAL or any(row[place] for row in table)]
    names = [COLUMNS[place] for place in kept]
    places = [[row[place] for place in kept] for row in (COLUMNS, *table)]
    widths = [max(map(_width, column)) for column in zip(*places, strict=True)]
    head, *body = [_line(row, names, widths) for row in places]
    return Lines(head, tuple(body))


def cells(row: Row, attempts: Mapping[str, int], now: datetime) -> tuple[str, ...]:
    """Return what is said of an attempt in each of `COLUMNS`, cut to what a column may take.

    Args:
        row: The attempt.
        attempts: How often each call was tried.
        now: The time that calls under way are measured by.
    """
    said = (
        f"{SIGNS.get(row.status, '?')} {row.status}",
        f"{row.ts.astimezone():%H:%M:%S}",
        row.profile,
        cost(row),
        duration(seconds(row, now)),
        count(row.input_tokens),
        count(row.output_tokens),
        row.model,
        " · ".join(_notes(row, attempts.get(row.call_id, 1))),
        row.stage or row.strategy or "",
    )
    return tuple(short(cell, _WIDEST.get(name)) for name, cell in zip(COLUMNS, said, strict=True))


def _notes(row: Row, attempts: int) -> Collection[str]:
    notes = [row.error_type] if row.error_type else []
    if attempts > 1 or row.attempt > 1:
        notes.append(f"attempt {row.attempt}/{max(attempts, row.attempt)}")
    if row.mode in MODES:
        notes.append(MODES[row.mode])
    return notes


def cost(row: Row) -> str:
    """Say what an attempt costs in USD: `unpriced` if unknown, and nothing while it runs or if it was not answered."""
    unanswered = row.status == "running" or (row.status in {"error", "refused"} and row.input_tokens is None)
    return "" if unanswered and not row.cost else price(row.cost).removeprefix("USD ")


def count(number: int | None) -> str:
    """Say a number of tokens; nothing for an unknown one."""
    return "" if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """Say a time in as many digits as one can use."""
    if seconds is None:
        return ""
    if seconds < _EXACT:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes} min" if seconds >= _COARSE else f"{minutes} min {rest:02} s"


# --- columns ---


@lru_cache(maxsize=4_096)
def _flat(text: str) -> str:
    """Return a text without what has no width, or takes that of others: in a line everything has its place."""
    if text.isascii() and text.isprintable():
        return text
    flat = unicodedata.normalize("NFC", " ".join(clean(text).split()))
    return flat if flat.isascii() else "".join(letter for letter in flat if unicodedata.category(letter)[0] not in "CM")


def _width(text: str) -> int:
    """Return how many places a text takes: characters of East Asia take two."""
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def short(text: str, widest: int | None) -> str:
    """Return a text on one line, of so many places at the most."""
    text = _flat(text)
    if widest is None or _width(text) <= widest:
        return text
    text = text[: widest - 1]
    while _width(text) >= widest:
        text = text[:-1]
    return f"{text}…"


def _line(row: Sequence[str], names: Sequence[str], widths: Sequence[int]) -> str:
    parts: list[str] = []
    for cell, name, width in zip(row, names, widths, strict=True):
        room = " " * (width - _width(cell))
        parts.append(room + cell if name in NUMBERS else cell + room)
    return _GAP.join(parts).rstrip()
