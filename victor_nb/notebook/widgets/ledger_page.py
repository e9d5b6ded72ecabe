"""What a `LedgerView` shows: attempts as lines, as a table and in full, and what was spent, as HTML and plain text."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from victor_nb.accounting.ledger import LedgerTotal
from victor_nb.accounting.rows import SCHEMA, Row
from victor_nb.errors import ConfigError, suggest
from victor_nb.money import Total, usd
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.html import Content, block, cut, details, region, table, words
from victor_nb.tables import Table, aligned, width
from victor_nb.values import PAID, UNPAID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from victor_nb.accounting.budget import LimitState
    from victor_nb.kernel import Session

Key: TypeAlias = "tuple[str, int]"
"""What identifies an attempt: its call, and which attempt of it."""

_FAILED: Final = ("error", "refused", "invalid", "partial", "interrupted")

ORDERS: Final[Mapping[str, tuple[str, Callable[[Row, datetime], float]]]] = {
    "newest": ("newest first", lambda _, __: 0.0),  # as they come
    "cost": ("most expensive first", lambda row, _: 1.0 if row.cost is None else -float(row.cost)),
    "slowest": ("slowest first", lambda row, now: 1.0 if (taken := _seconds(row, now)) is None else -taken),
    "tokens": ("most tokens first", lambda row, _: -((row.input_tokens or 0) + (row.output_tokens or 0))),
    "failed": ("failed first", lambda row, _: (*_FAILED, row.status).index(row.status)),
}
"""What rows may be sorted by: the words for it, and what the first row has least of."""

_SEARCHED: Final = "profile provider model model_served mode status strategy stage error_type".split()

SIGNS: Final[Mapping[str, str]] = {
    "ok": "●",
    "running": "○",
    "error": "×",
    "refused": "!",
    "interrupted": "■",
    "partial": "◐",
    "invalid": "◇",
}
"""The sign beside the word of each status; `theme.css` colours a line by the sign that it begins with."""

_COLUMNS: Final = ("  status", "time", "profile", "list USD", "took", "in", "out", "model", "note", "stage")
"""The most important columns first: a narrow page shows no more of a line."""

_NOTE: Final = _COLUMNS.index("note")
_NUMBERS: Final = ("list USD", "took", "in", "out")
_OPTIONAL: Final = ("stage", "note")
_WIDEST: Final[Mapping[str, int]] = {"profile": 16, "model": 24, "stage": 18, "note": 48}
_WIDEST_TITLE: Final = 60
_ERROR_SHOWN: Final = 200  # characters of an error in plain text
_MINUTE: Final = 60
_EXACT: Final = 10  # seconds below which tenths are shown
_COARSE: Final = 10 * _MINUTE  # seconds from which only minutes are shown


# --- which rows ---


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Which rows of the ledger are shown, and in what order.

    Attributes:
        n: How many of the last attempts are looked at.
        sort: One of `ORDERS`.
        filter: Words that must all be found in a row.

    Raises:
        ConfigError: One of these cannot be used.
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
            hint = suggest(self.sort, ORDERS, shape="sort={!r}")
            raise ConfigError(f"Rows cannot be sorted by {str(self.sort)[:40]!r}. {hint}")
        if not isinstance(self.filter, str):  # pyright: ignore[reportUnnecessaryIsInstance] - notebooks have no types
            raise ConfigError(f"filter is words to look for, such as filter='error fast', not {self.filter!r:.40}.")

    def select(self, rows: Sequence[Row], now: datetime) -> list[Row]:
        """Return the matching ones of rows that come oldest first; among equals the newest is first."""
        wanted = self.filter.casefold().split()
        texts = (" ".join(getattr(row, name) or "" for name in _SEARCHED).casefold() for row in reversed(rows))
        found = [row for row, text in zip(reversed(rows), texts, strict=True) if all(word in text for word in wanted)]
        return sorted(found, key=lambda row: ORDERS[self.sort][1](row, now))


def key(row: Row) -> Key:
    """Return what identifies an attempt."""
    return row.call_id, row.attempt


# --- rows as text ---


def _texts(row: Row, now: datetime) -> tuple[str, ...]:
    """Return status, time of day, list price in USD, duration, and tokens in and out."""
    # A call that runs has no price yet, and one that was turned away none to show.
    silent = row.status == "running" or (row.cost == 0 and row.input_tokens is None)
    cost = "" if silent else str(Total.of([row])).removeprefix("USD ")
    counts = ("" if count is None else f"{count:,}" for count in (row.input_tokens, row.output_tokens))
    status = f"{SIGNS.get(row.status, '?')} {row.status}"
    return (status, f"{row.ts.astimezone():%H:%M:%S}", cost, _duration(_seconds(row, now)), *counts)


def _seconds(row: Row, now: datetime) -> float | None:
    """Return how many seconds an attempt took, or takes so far; None where that is unknown."""
    return max(0.0, (now - row.ts).total_seconds()) if row.status == "running" else row.latency


def _duration(taken: float | None) -> str:
    if taken is None:
        return ""
    if taken < _MINUTE:
        return f"{taken:.1f} s" if taken < _EXACT else f"{taken:.0f} s"
    minutes, rest = divmod(round(taken), _MINUTE)
    return f"{minutes} min" if taken >= _COARSE else f"{minutes} min {rest:02} s"


@lru_cache(maxsize=4_096)
def _flat(text: str) -> str:
    """Return a text on one line, without combining and control characters: each character has its own place."""
    if text.isascii() and text.isprintable():
        return text
    flat = unicodedata.normalize("NFC", " ".join(clean(text).split()))
    return flat if flat.isascii() else "".join(letter for letter in flat if unicodedata.category(letter)[0] not in "CM")


def _short(text: str, widest: int | None) -> str:
    """Return a text on one line, cut to a number of columns."""
    text = _flat(text)
    if widest is None or width(text) <= widest:
        return text
    text = text[: widest - 1]
    while width(text) >= widest:
        text = text[:-1]
    return f"{text}…"


# --- rows on the page ---


@dataclass(frozen=True, slots=True)
class Attempts:
    """Rows of the ledger as they are shown.

    Attributes:
        known: All rows at hand, from which it is known how often a call was tried.
        now: The time that calls under way are measured by.
        redact: Takes keys out of a text.
    """

    known: Sequence[Row]
    now: datetime
    redact: Callable[[str], str]

    def lines(self, rows: Sequence[Row]) -> tuple[str, tuple[str, ...]]:
        """Return a heading and a line of text for each row, all in columns."""
        cells = self._cells(rows)
        kept = [
            place for place, name in enumerate(_COLUMNS) if name not in _OPTIONAL or any(row[place] for row in cells)
        ]
        lines = [[row[place] for place in kept] for row in (_COLUMNS, *cells)]
        head, *body = aligned(lines, [_COLUMNS[place] in _NUMBERS for place in kept])
        return head, tuple(body)

    def table(self, rows: Sequence[Row]) -> Content:
        """Return rows as a table, with each error folded into its row."""
        cells, errors = self._cells(rows), [self._error(row) for row in rows]
        html = [_folded(line, error) for line, error in zip(cells, errors, strict=True)]
        names = tuple(name.strip() for name in _COLUMNS)
        found = region(table(Table(names, html, _NUMBERS), "Attempts"), "Attempts", "victor-wider")
        # Errors come last in plain text, where they widen no other column.
        plain = [(*line, cut(error, _ERROR_SHOWN)) for line, error in zip(cells, errors, strict=True)]
        return Content(found, clean(Table((*names, "error"), plain, _NUMBERS).plain()))

    def details(self, row: Row) -> str:
        """Return all that is known of an attempt, and the other attempts of its call, in HTML."""
        names = " · ".join(_short(name, _WIDEST_TITLE) for name in (row.profile, row.model))
        parts = [f'<div class="victor-title">{words(self.redact(f"{_texts(row, self.now)[0]} · {names}"))}</div>']
        if error := self._error(row):
            parts.append(block(error, "victor-bad", "victor-error"))
        facts = "".join(f"<div>{words(name)}{words(self.redact(value))}</div>" for name, value in _facts(row))
        parts.append(f'<div class="victor-facts">{facts}</div>')
        same = sorted((each for each in self.known if each.call_id == row.call_id), key=lambda each: each.attempt)
        parts += [self._attempts(same)] if len(same) > 1 else []
        texts = (("prompt", row.prompt), ("answer", row.answer))
        parts += [details(words(name), block(self.redact(text))) for name, text in texts if text]
        return f'<div class="victor-detail" role="region" aria-label="The chosen call">{"".join(parts)}</div>'

    def _cells(self, rows: Sequence[Row]) -> list[tuple[str, ...]]:
        """Return the text of each of `_COLUMNS`, for each row."""
        tried = Counter(row.call_id for row in self.known)
        found: list[tuple[str, ...]] = []
        for row in rows:
            attempts = max(tried[row.call_id], row.attempt)
            notes = (row.error_type, f"attempt {row.attempt}/{attempts}" if attempts > 1 else "", UNPAID.get(row.mode))
            status, at, *numbers = _texts(row, self.now)
            more = (row.model, " · ".join(filter(None, notes)), row.stage or row.strategy or "")
            texts = (status, at, row.profile, *numbers, *more)
            found.append(tuple(_short(text, _WIDEST.get(name)) for name, text in zip(_COLUMNS, texts, strict=True)))
        return found

    def _attempts(self, rows: Sequence[Row]) -> str:
        """Return all attempts of one call as a table."""
        columns = ("attempt", "status", "time", "list USD", "took", "in", "out", "error")
        failures = [" ".join(str(part) for part in (row.error_type, row.http_status) if part) for row in rows]
        cells = [(row.attempt, *_texts(row, self.now), failure) for row, failure in zip(rows, failures, strict=True)]
        caption = "All attempts of this call"
        return region(table(Table(columns, cells, _NUMBERS), caption), caption, "victor-wider")

    def _error(self, row: Row) -> str:
        return self.redact(": ".join(filter(None, (row.error_type, row.error))))


def _folded(cells: tuple[str, ...], error: str) -> tuple[object, ...]:
    if not error:
        return cells
    note = details(words(cells[_NOTE]), block(error, "victor-bad", "victor-error"))
    return (*cells[:_NOTE], note, *cells[_NOTE + 1 :])


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    """Yield each column that has a value, by its name in the frame, but for what is shown elsewhere."""
    yield "ts", f"{row.ts.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    elsewhere = {"ts", "error", "error_type", "prompt", "answer", "status", "input_bytes"}
    for name in SCHEMA:
        value = getattr(row, name)
        if name not in elsewhere and value is not None and value != {}:
            yield name, _fact(name, value)


def _fact(name: str, value: Any) -> str:  # noqa: ANN401 - what a column holds
    match SCHEMA[name].name:
        case "money":
            return usd(value)
        case "seconds":
            return f"{value:.3f} s"
        case "tags":
            return ", ".join(f"{key}={word}" for key, word in value.items())
        case _:
            return f"{value:,}" if isinstance(value, int) else str(value)


# --- what was spent ---

_HIGH: Final = 80  # per cent of a budget from which it is marked
_REST: Final = 20
"""The sums are read at most once in so many times as it takes to read them: at 100,000 rows that is a tenth second."""


_BOOKS: Final = {PAID: PAID} | {book: f"{book} at list prices" for book in UNPAID.values()}
_BUDGET: Final = ("budget of", "limit", "spent", "held", "left", "used")


def _share(limit: LimitState, part: Decimal) -> int:
    """Return how many per cent of a budget a part is: at most 100, and 1 where it is anything at all."""
    if limit.amount <= 0 or part <= 0:
        return 100 if part > 0 else 0
    return min(100, max(1, int(100 * part / limit.amount)))


def _budget_html(limit: LimitState) -> str:
    """Return a sentence and a bar."""
    used = _share(limit, limit.spent)
    waiting = min(100 - used, _share(limit, limit.held))
    under_way = f", {usd(limit.held)} held for calls under way" if limit.held else ""
    text = f"Budget of {limit.name}: {usd(limit.spent)} spent{under_way}, {usd(limit.left)} left of {usd(limit.amount)}"
    high = " victor-bar-high" if used + waiting >= _HIGH else ""
    inner = f'<span style="width:{used}%"></span><span class="victor-bar-held" style="width:{waiting}%"></span>'
    bar = f'<div class="victor-bar{high}" aria-hidden="true">{inner}</div>'
    return f'<div class="victor-budget">{words(text)}{bar}</div>'


@dataclass(frozen=True, slots=True)
class Spending:
    """What a kernel has spent at one moment, and its budgets."""

    books: Mapping[str, LedgerTotal]
    budgets: tuple[LimitState, ...]

    @property
    def figures(self) -> list[tuple[str, str]]:
        """Names and values: what was paid, what was simulated at list prices, calls, and counts that are not zero."""
        total = sum(self.books.values(), LedgerTotal())
        tried = f" in {total.attempts:,} attempts" if total.calls != total.attempts else ""
        counts = {"under way": total.running, "failed": total.failed, "refused": total.refused}
        return [
            # What runs has no price yet; that is no lack.
            *((_BOOKS[book], str(each.ended)) for book, each in self.books.items()),
            ("calls", f"{total.calls:,}{tried}"),
            *((name, f"{number:,}") for name, number in counts.items() if number),
        ]

    @property
    def html(self) -> str:
        """The figures, and a bar for each budget."""
        figures = "".join(
            f'<div class="victor-figure{" victor-bad" if name == "failed" else ""}">'
            f"{words(value, 'victor-figure-value')}{words(name)}</div>"
            for name, value in self.figures
        )
        return f'<div class="victor-figures">{figures}</div>{"".join(map(_budget_html, self.budgets))}'

    @property
    def content(self) -> Content:
        """The figures on one line, and a table of the budgets."""
        line = Content.line(" · ".join(f"{name}: {value}" for name, value in self.figures))
        if not self.budgets:
            return line
        cells = [
            (each.name, *map(usd, amounts), f"{_share(each, each.spent + each.held)} %")
            for each in self.budgets
            for amounts in [(each.amount, each.spent, each.held, each.left)]
        ]
        return line + Content.table(Table(_BUDGET, cells, _BUDGET[1:]), "Budgets")


class SpendingReader:
    """Reads what a kernel has spent, less often the longer it takes: the sums are over all rows.

    Args:
        session: The session.
        clock: Seconds since any fixed time.
    """

    def __init__(self, session: Session, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._due = float("-inf")
        self._version = -1
        self._books: dict[str, LedgerTotal] = {}

    def read(self) -> Spending:
        """Return what was spent; the sums may be those of a moment ago."""
        ledger, budgets = self._session.ledger, self._session.budget.states()
        began = self._clock()
        if not self._books or (ledger.version != self._version and began >= self._due):
            self._version, self._books = ledger.version, ledger.books()
            ended = self._clock()
            self._due = ended + _REST * (ended - began)
        return Spending(self._books, budgets)
