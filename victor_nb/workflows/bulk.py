"""The engine of a map: rows go in as they are needed, a fixed number of workers asks, and what came is kept by row."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, Protocol

from victor_nb.errors import (
    AuthenticationError,
    BudgetError,
    InvalidAnswerError,
    MapError,
    PartialAnswerError,
    PromptError,
    ProviderError,
    QuotaError,
    SecretError,
    VictorError,
)
from victor_nb.media import media_of
from victor_nb.money import Total
from victor_nb.values import Reply
from victor_nb.wire.clock import CLOCK, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from victor_nb.runtime import Runtime
    from victor_nb.templates import Template

Status = Literal["ok", "reused", "skipped", "invalid", "failed", "refused", "partial", "interrupted", "pending"]
Empty = Literal["skip", "send", "error"]
PILOT: Final = 20
"""Rows that are asked before the price of the others is known."""
_ALIKE: Final = 10
"""Rows that fail alike, with none that does not, after which no further one is asked."""
_FOR_ALL: Final = (AuthenticationError, QuotaError, SecretError)
"""Failures that say nothing of the row: after some in a row, the others would fail too."""
_LONGEST: Final = 300  # characters of an error in a frame
_GOOD: Final = ("ok", "reused", "skipped")


@dataclass(slots=True)
class Cell:
    """What came of one row at one profile.

    Attributes:
        data: The answer as a value, where there is a schema.
        error: Why there is no answer, or not a whole one, on one line.
        cost: List price in USD of what this map asked for it; 0 where nothing was sent, None where it is unknown.
        latency: Seconds.
        model: The model that served.
    """

    status: Status = "pending"
    text: str | None = None
    data: object = None
    error: str | None = None
    cost: Decimal | None = Decimal(0)
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency: float | None = None
    model: str | None = None
    finish_reason: str | None = None

    def take(self, reply: Reply) -> None:
        """Take the content of a reply, whole or not."""
        self.text, self.data, self.finish_reason = reply.content, reply.data, reply.finish_reason
        self.model, self.latency = reply.model_served or reply.model, reply.latency
        if reply.usage.total_tokens:
            self.input_tokens, self.output_tokens = reply.usage.input_tokens, reply.usage.output_tokens

    def fail(self, error: VictorError) -> None:
        """Take an error, and what had come by then."""
        reply = error.partial if isinstance(error.partial, Reply) else getattr(error, "reply", None)
        if isinstance(reply, Reply):
            self.take(reply)
        found: list[Status] = [status for kind, status in _STATUS if isinstance(error, kind)]
        self.status = found[0] if found else "failed"
        self.error = shortened(f"{type(error).__name__}: {error}")

    def repeat(self, first: Cell) -> None:
        """Take what came of an equal row, which this one costs nothing beside."""
        self.text, self.data, self.error, self.finish_reason = first.text, first.data, first.error, first.finish_reason
        self.input_tokens, self.output_tokens = first.input_tokens, first.output_tokens
        self.latency, self.model = first.latency, first.model
        self.status = "reused" if first.status == "ok" else first.status


_STATUS: Final[tuple[tuple[type[VictorError], Status], ...]] = (
    (BudgetError, "refused"),
    (InvalidAnswerError, "invalid"),
    (PartialAnswerError, "partial"),
)


def shortened(text: str) -> str:
    """Return a text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


class Asker(Protocol):
    """Answers the rows of a column: a profile, or a strategy.

    Attributes:
        name: What the column is called after, where there are several.
    """

    name: str

    async def ask(self, prompt: str, cell: Cell, sample: int) -> None:
        """Ask, and put what comes into the cell, also when it is stopped.

        Raises:
            VictorError: What went wrong, once the cell has it.
        """
        ...


class Rows(Protocol):
    """The rows of a map.

    Attributes:
        random: Whether any row can be had at any time.
    """

    random: bool

    @property
    def size(self) -> int | None:
        """How many there are; None while that is not known."""
        ...

    def names(self, number: int) -> Mapping[str, object]:
        """Return what a row offers to the template."""
        ...

    async def pull(self) -> Sequence[Mapping[str, object]]:
        """Return the next rows; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a map is: rows by what came of them, one for each profile and sample.

    Attributes:
        total: All of them; None while that is not known.
        spent: What the map has spent.
        eta: Seconds to the end, as far as can be seen.
    """

    done: int = 0
    total: int | None = None
    by: Mapping[str, int] = field(default_factory=dict[str, int])
    spent: Total = field(default_factory=Total)
    eta: float | None = None

    @property
    def failed(self) -> int:
        """How many have no whole answer."""
        return sum(count for status, count in self.by.items() if status not in _GOOD)

    @property
    def reused(self) -> int:
        """How many took an answer that there was."""
        return self.by.get("reused", 0)

    @property
    def now(self) -> str:
        """What bars show beside the numbers."""
        return f"{self.reused:,} reused" if self.reused else ""

    def __str__(self) -> str:
        """Return it as text: `1,200/2,000 · 300 reused · 2 failed · USD 0.0123 · 40 s left`."""
        total = "" if self.total is None else f"/{self.total:,}"
        failed = f"{self.failed:,} failed" if self.failed else ""
        left = f"{spoken(self.eta)} left" if self.eta else ""
        return " · ".join(filter(None, (f"{self.done:,}{total}", self.now, failed, str(self.spent), left)))


def spoken(seconds: float) -> str:
    """Write a time: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:  # noqa: PLR2004 - a minute and a half
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - as above


class Bulk:
    """Asks all rows. What has come is readable at any time, from any thread.

    Args:
        runtime: What calls share.
        askers: Who answers, one for each column.
        rows: What is asked about.
        template: What is asked.
        others: What the template may hold beside the row: names and their values.
        n: Samples of each row.
        workers: How many rows are asked at once.
        empty: What becomes of a row that lacks a value of the template.

    Attributes:
        columns: By asker and sample, what came of each row.
        price: The line about the price of the whole, once it is known.
        pilot: For each row that was asked first: characters of its prompt, cost (USD), seconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        askers: Sequence[Asker],
        rows: Rows,
        template: Template,
        *,
        others: Mapping[str, object],
        n: int,
        workers: int,
        empty: Empty,
    ) -> None:
        self.runtime, self.rows, self.workers = runtime, rows, workers
        self.lanes = [(asker, sample) for asker in askers for sample in range(n)]
        self.columns: list[list[Cell]] = [[] for _ in self.lanes]
        self.price: str | None = None
        self.pilot: list[tuple[int, Decimal | None, float]] = []
        self.ended: float | None = None
        self.wall = 0.0
        self.spent = Total()
        self._template, self._others, self._empty = template, others, empty
        self._leaks = runtime.settings.leaks
        self._simulated = runtime.mode == "simulate"
        self._first: dict[tuple[int, bytes], Cell] = {}
        self._followers: dict[tuple[int, bytes], list[Cell]] = {}
        self._ready: deque[tuple[int, str, Cell]] = deque()
        self._running: set[int] = set()
        self._order = self._in_order()
        self._pulling = asyncio.Lock()
        self._open = asyncio.Event()
        self._asked = self._row = 0
        self._end = False
        self._by: Counter[str] = Counter()
        self._reasons: Counter[tuple[str, int | None]] = Counter()
        self._in_a_row = 0
        self._refusal: VictorError | None = None
        self._failure: VictorError | None = None
        self._last: VictorError | None = None
        self.rest = Cell()
        self._began = self._since = time.perf_counter()
        self._done_before = 0
        self._now = 0.0

    # --- how far it is ---

    @property
    def count(self) -> int:
        """Rows that are known by now."""
        return self.rows.size if self.rows.size is not None else self._row

    @property
    def counts(self) -> Counts:
        """How far it is."""
        by = dict(self._by)
        done, size = sum(by.values()), self.rows.size
        total = None if size is None else size * len(self.lanes)
        made, passed = done - self._done_before, time.perf_counter() - self._since
        eta = None if total is None or not made or total == done else (total - done) * passed / made
        return Counts(done, total, by, self.spent, eta)

    # --- on the background loop ---

    async def run(self) -> None:
        """Ask all rows.

        Raises:
            MapError: All that were asked failed alike, or none of the others can be asked.
            VictorError: The template does not fit the rows.
        """
        self._began = self._since = time.perf_counter()
        with simulated(self.runtime.timeline, alone=True) if self._simulated else nullcontext() as clock:
            now = clock or time.perf_counter
            began = now()
            size = self.rows.size
            self._gated = size is None or size > 2 * PILOT
            self._open.set()
            count = self.workers if size is None else min(self.workers, size * len(self.lanes))
            workers = [asyncio.create_task(self._work()) for _ in range(max(1, count))]
            try:
                ended, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                for task in ended:
                    task.result()
            finally:
                for task in workers:
                    task.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                self.wall = now() - began
                self._close()
        self._judge()

    async def _work(self) -> None:
        if self._simulated and (clock := CLOCK.get()) is not None:
            root, own = clock, clock.fork()
            CLOCK.set(own)
        else:
            root = own = None
        try:
            while (job := await self._next()) is not None:
                if own is not None:
                    own.now = max(own.now, self._now)
                await self._do(*job)
        finally:
            if root is not None and own is not None:
                root.now = max(root.now, own.now)

    async def _next(self) -> tuple[int, str, Cell] | None:
        """Return the next row that has to be asked: its column, prompt and cell; None when there is none."""
        while True:
            await self._open.wait()
            if self._failure is not None or self._refusal is not None:
                return None
            if not self._ready:
                if self._end:
                    return None
                await self._fill()
                continue
            if self._gated and self._asked >= PILOT * len(self.lanes):
                self._open.clear()
                self._look()
                continue
            lane, prompt, cell = self._ready.popleft()
            key = lane, digest(prompt)
            first = self._first.setdefault(key, cell)
            if first is cell:
                self._asked += 1
                return lane, prompt, cell
            self._repeat(key, first, cell)

    def _repeat(self, key: tuple[int, bytes], first: Cell, cell: Cell) -> None:
        """Give a row what came of an equal one, now or when it has come."""
        if first.status == "pending":
            self._followers.setdefault(key, []).append(cell)
        else:
            cell.repeat(first)
            self._by[cell.status] += 1

    async def _fill(self) -> None:
        """Render some more rows."""
        if self.rows.random:
            number = next(self._order, None)
            if number is None:
                self._end = True
            else:
                self._render(number, self.rows.names(number))
            return
        async with self._pulling:
            if self._ready or self._end:
                return
            pulled = await self.rows.pull()
            for names in pulled:
                self._row += 1
                self._render(self._row - 1, names)
            self._end = not pulled

    def _in_order(self) -> Iterator[int]:
        yield from range(self.rows.size or 0)

    def _render(self, number: int, names: Mapping[str, object]) -> None:
        """Put a row's prompts among those to ask, one for each column."""
        cells = [Cell() for _ in self.lanes]
        for column, cell in zip(self.columns, cells, strict=True):
            if number >= len(column):
                column.extend(Cell() for _ in range(number + 1 - len(column)))
            column[number] = cell
        known = {**self._others, **names}
        try:
            if self._empty != "send" and any(is_missing(value) for value in self._template.values(known)):
                self._skip(number, cells)
                return
            if self._empty == "send":
                known = {name: "" if is_missing(value) else value for name, value in known.items()}
            prompt = self._template.render(known, leaks=self._leaks).text
        except VictorError as error:
            self._settle(cells, "failed", f"{type(error).__name__}: {error}")
            return
        self._ready.extend((lane, prompt, cell) for lane, cell in enumerate(cells))

    def _skip(self, number: int, cells: Sequence[Cell]) -> None:
        """Leave a row out that lacks a value, or end the map for it."""
        self._settle(cells, "skipped", "the row lacks a value of the template")
        if self._empty == "error":
            fault = f"Row {number:,} lacks a value of the template, and empty='error'. Fill it, or leave empty= out."
            self._failure = PromptError(fault)

    def _settle(self, cells: Sequence[Cell], status: Status, error: str) -> None:
        for cell in cells:
            cell.status, cell.error = status, shortened(error)
            self._by[status] += 1

    async def _do(self, lane: int, prompt: str, cell: Cell) -> None:
        """Ask one row."""
        asker, sample = self.lanes[lane]
        began = time.perf_counter()
        try:
            await asker.ask(prompt, cell, sample)
        except VictorError as error:
            self._note(error)
        else:
            self._in_a_row = 0
        finally:
            if cell.status != "pending":
                self._finish(lane, prompt, cell)
        if self._gated:
            self.pilot.append((len(prompt), cell.cost, cell.latency or time.perf_counter() - began))
            self._look()

    def _finish(self, lane: int, prompt: str, cell: Cell) -> None:
        self._by[cell.status] += 1
        self.spent += Total(cell.cost or Decimal(0), unpriced=int(cell.cost is None))
        for other in self._followers.pop((lane, digest(prompt)), ()):
            other.repeat(cell)
            self._by[other.status] += 1

    def _look(self) -> None:
        """Say the price once the first rows have ended, and let the others begin."""
        if self._gated and len(self.pilot) >= self._asked and not self._open.is_set():
            self._gated = False
            if (clock := CLOCK.get()) is not None:
                self._now = max(self._now, clock.now)
            self._since, self._done_before = time.perf_counter(), sum(self._by.values())
            self._open.set()

    # --- failures ---

    def _note(self, error: VictorError) -> None:
        """Keep why a row failed; end the map where all fail alike, or a budget is used up."""
        if isinstance(error, BudgetError):
            self._refusal = self._refusal or error
            self._open.set()
            return
        reason = type(error).__name__, error.http_status if isinstance(error, ProviderError) else None
        self._reasons[reason] += 1
        self._last = error
        self._in_a_row = self._in_a_row + 1 if isinstance(error, _FOR_ALL) else 0
        if (self._alike and sum(self._reasons.values()) >= _ALIKE) or self._in_a_row >= _ALIKE:
            self._failure = self._failure or error
            self._open.set()

    @property
    def _alike(self) -> bool:
        """Whether all that were asked have failed for one reason."""
        return len(self._reasons) == 1 and not any(self._by[status] for status in ("ok", "reused", "partial"))

    def _judge(self) -> None:
        """Raise if what was asked failed alike.

        Raises:
            MapError: It did.
        """
        error = self._failure or (self._last if self._alike else None)
        if error is None and self._refusal is not None and not any(self._by[status] for status in ("ok", "reused")):
            error = self._refusal
        if error is None:
            return
        if isinstance(error, PromptError):
            raise error
        failed = self._by["refused"] if isinstance(error, BudgetError) else sum(self._reasons.values())
        rest = self.count * len(self.lanes) - sum(self._by.values())
        more = f", and {rest:,} more were not asked" if rest else ""
        raise MapError(f"{failed:,} {'row' if failed == 1 else 'rows'} failed alike{more}. {error}") from error

    def _close(self) -> None:
        """Set the final status of what was not asked: refused, where a budget has ended the map."""
        self.ended = time.perf_counter()
        if self._refusal is None:
            return
        self.rest = Cell("refused", error=shortened(f"not asked, as the budget is used up. {self._refusal}"))
        for column in self.columns:
            pending = [cell for cell in column if cell.status == "pending"]
            for cell in pending:
                cell.status, cell.error = self.rest.status, self.rest.error
            self._by["refused"] += len(pending) + self.count - len(column)

    def cells(self, lane: int) -> list[Cell]:
        """Return what came of each row at an asker and sample so far."""
        column = list(self.columns[lane])
        return [*column, *(self.rest for _ in range(self.count - len(column)))]


def digest(prompt: str) -> bytes:
    """Return what two equal prompts have in common, and no two others."""
    hashed = blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=16)
    for each in media_of(prompt):
        hashed.update(each.data)
    return hashed.digest()


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: None, NaN, NA, NaT, or nothing but blanks."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip() and not media_of(value)
    return type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and value != value)  # noqa: PLR0124 - NaN
