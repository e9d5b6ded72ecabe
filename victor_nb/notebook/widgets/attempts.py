"""Attempts as lines of text in columns: what a list box shows of each, and what stands over it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from victor_nb.accounting.rows import SCHEMA
from victor_nb.errors import ConfigError, did_you_mean
from victor_nb.money import usd
from victor_nb.notebook.display import MODES, price
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.html import Still, block, still_table, table, words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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


_ELSEWHERE: Final = frozenset({"error", "error_type", "prompt", "answer", "status", "input_bytes"})
"""What stands above the facts or below them, or says nothing to a reader."""
_WIDEST_call_detail: Final = 60
_COLUMNS: Final = ("attempt", "time", "status", "took", "in", "out", "list USD", "error")
_NUMBERS: Final = ("took", "in", "out", "list USD")


def detail(row: Row, every: Sequence[Row], now: datetime, clean: Callable[[str], str]) -> str:
    """Return what is known of an attempt, in HTML.

    Args:
        row: The attempt.
        every: All rows at hand; those of the same call are told beside it.
        now: The time that calls under way are measured by.
        clean: Takes keys out of a text.
    """
    who = " · ".join(short(name, _WIDEST_call_detail) for name in (row.profile, row.model))
    head = f"{SIGNS.get(row.status, '?')} {row.status} · {who}"
    parts = [f'<div class="victor-title">{words(clean(head))}</div>']
    if error := error_text(row, clean):
        parts.append(block(error, "victor-bad", "victor-error"))
    parts.append(_facts(row, clean))
    parts += [_attempts(same, now)] if len(same := [each for each in every if each.call_id == row.call_id]) > 1 else []
    parts += [_fold(name, clean(text)) for name, text in (("prompt", row.prompt), ("answer", row.answer)) if text]
    return f'<div class="victor-detail" role="region" aria-label="The chosen call">{"".join(parts)}</div>'


def error_text(row: Row, clean: Callable[[str], str]) -> str:
    """Return the error of an attempt, without keys; nothing if there is none."""
    return clean(": ".join(filter(None, (row.error_type, row.error))))


def _facts(row: Row, clean: Callable[[str], str]) -> str:
    facts = "".join(f"<div>{words(name)}{words(clean(said))}</div>" for name, said in _set(row))
    return f'<div class="victor-facts">{facts}</div>'


def _set(row: Row) -> Iterator[tuple[str, str]]:
    """Yield each column that has a value, by its name in the frame."""
    yield "ts", f"{row.ts.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    for name in SCHEMA:
        value = getattr(row, name)
        if name == "ts" or name in _ELSEWHERE or value is None or value == {}:
            continue
        yield name, _said(name, value)


def _said(name: str, value: Any) -> str:  # noqa: ANN401 - what a column holds
    match SCHEMA[name].name:
        case "money":
            return usd(value) if value else "USD 0"
        case "seconds":
            return f"{value:.3f} s"
        case "tags":
            return ", ".join(f"{key}={word}" for key, word in value.items())
        case _:
            return f"{value:,}" if isinstance(value, int) else str(value)


def _attempts(rows: Sequence[Row], now: datetime) -> str:
    cells = [
        (
            row.attempt,
            f"{row.ts.astimezone():%H:%M:%S}",
            f"{SIGNS.get(row.status, '?')} {row.status}",
            duration(seconds(row, now)),
            count(row.input_tokens),
            count(row.output_tokens),
            cost(row),
            " ".join(str(part) for part in (row.error_type, row.http_status) if part),
        )
        for row in sorted(rows, key=lambda row: row.attempt)
    ]
    return table(_COLUMNS, cells, caption="All attempts of this call", numbers=_NUMBERS)


def _fold(name: str, text: str) -> str:
    return f"<details><summary>{words(name)}</summary>{block(text)}</details>"


_NOTE: Final = COLUMNS.index("note")
_ERROR_SHOWN: Final = 200  # characters of an error in plain text


def call_table(rows: Sequence[Row], every: Sequence[Row], now: datetime, clean: Callable[[str], str]) -> Still:
    """Return a table of attempts.

    Args:
        rows: The attempts, in order.
        every: All rows at hand, from which it is known how often a call was tried.
        now: The time that calls under way are measured by.
        clean: Takes keys out of a text.
    """
    attempts = Counter(row.call_id for row in every)
    said = [cells(row, attempts, now) for row in rows]
    errors = [error_text(row, clean) for row in rows]
    names = tuple(name.strip() for name in COLUMNS)
    plain = [_with_error(line, error) for line, error in zip(said, errors, strict=True)]
    head = "".join(f'<th scope="col"{_side(name)}>{words(name)}</th>' for name in names)
    body = "".join(_row(line, error) for line, error in zip(said, errors, strict=True))
    html = f'<table class="victor-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return Still(html, still_table((*names, "error"), plain, caption="").plain)


def _row(line: Sequence[str], error: str) -> str:
    cells = [words(cell) for cell in line]
    if error:
        cells[_NOTE] = (
            f"<details><summary>{cells[_NOTE]}</summary>{block(error, 'victor-bad', 'victor-error')}</details>"
        )
    parts = (f"<td{_side(name)}>{cell}</td>" for name, cell in zip(COLUMNS, cells, strict=True))
    return f"<tr>{''.join(parts)}</tr>"


def _side(name: str) -> str:
    return ' class="victor-number"' if name in NUMBERS else ""


def _with_error(line: Sequence[str], error: str) -> Sequence[str]:
    """Say an error behind all columns, where it widens none."""
    return (*line, error if len(error) <= _ERROR_SHOWN else f"{error[:_ERROR_SHOWN]}…")
