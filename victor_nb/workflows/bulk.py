"""The engine of a map: rows go in as they are needed, a fixed number of workers asks, and what came is kept by row."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter, deque
from contextlib import nullcontext
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, Protocol

from victor_nb.errors import (
    STOPS,
    AuthenticationError,
    BudgetError,
    ClosedError,
    MapError,
    PromptError,
    ProviderError,
    QuotaError,
    SecretError,
    TapeMissError,
    VictorError,
)
from victor_nb.loop import collecting_seldom
from victor_nb.money import EXACT, Total
from victor_nb.values import UNPAID
from victor_nb.wire.clock import CLOCK, simulated
from victor_nb.workflows.forecast import Asked, Drawn, Priced, price
from victor_nb.workflows.intake import digest
from victor_nb.workflows.outcomes import ANSWERED, Cell, Counts, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

    from victor_nb.accounting.cache import AnswerCache, StoredAnswer
    from victor_nb.runtime import Runtime
    from victor_nb.wire.clock import Clock
    from victor_nb.workflows.intake import Plan, Prompts

PILOT: Final = 20
"""Rows that are asked before the price of the others is known."""
_WINDOW: Final = 64  # rows that are rendered, and looked up in the store, at once
_ALIKE: Final = 10
"""Rows that fail alike, with none that does not, after which no further one is asked."""
_FOR_ALL: Final = (AuthenticationError, QuotaError, SecretError)
"""Failures that say nothing of the row: after some in a row, the others would fail too."""


class Question(Protocol):
    """One row at one profile, ready to be asked."""

    @property
    def key(self) -> bytes | None:
        """Its place in the store of answers; None where it has none."""
        ...

    async def reuse(self, stored: StoredAnswer, cell: Cell) -> bool:
        """Put a stored answer into the cell; return whether it serves."""
        ...

    async def ask(self, cell: Cell) -> None:
        """Ask, and put what comes into the cell, also when it is stopped.

        Raises:
            VictorError: What went wrong, once the cell has it.
        """
        ...


class Asker(Protocol):
    """Answers the rows of a column: a profile, or a strategy.

    Attributes:
        name: What the column is called after, where there are several.
        warms: Whether one row alone goes first, so that the others find the start of their prompts in a cache.
    """

    name: str
    warms: bool

    def prepare(self, prompt: str, sample: int) -> Question:
        """Return a row that is ready to be asked.

        Raises:
            VictorError: It cannot be sent.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How rows are asked.

    Attributes:
        n: Samples of each.
        workers: How many are asked at once.
        reuse: Whether stored answers are taken.
        budget: What all of them may cost, in USD.
    """

    n: int = 1
    workers: int = 256
    reuse: bool = True
    budget: Decimal | None = None


@dataclass(slots=True)
class _Item:
    lane: int
    key: bytes
    size: int
    cell: Cell
    question: Question


class Bulk:
    """Asks all rows. What has come is readable at any time, from any thread.

    Args:
        runtime: What calls share.
        askers: Who answers, one for each column.
        prompts: What is asked about each row.
        terms: How.

    Attributes:
        columns: By asker and sample, what came of each row.
        rest: What came of the rows that no column has yet.
        priced: The price of the whole, once it is known.
        spent: What it has cost.
        news: What the store of answers says, once.
    """

    def __init__(self, runtime: Runtime, askers: Sequence[Asker], prompts: Prompts, terms: Terms) -> None:
        self.runtime, self.rows, self.terms, self._prompts = runtime, prompts.rows, terms, prompts
        self.lanes = [(asker, sample) for asker in askers for sample in range(terms.n)]
        self.columns: list[list[Cell]] = [[] for _ in self.lanes]
        self.rest = Cell()
        self.priced: Priced | None = None
        self.spent = Total()
        self.news: list[str] = []
        self._simulated = runtime.mode in UNPAID
        self._first: dict[tuple[int, bytes], Cell] = {}
        self._followers: dict[tuple[int, bytes], list[Cell]] = {}
        self._ready: deque[_Item] = deque()
        self._pulling, self._open = asyncio.Lock(), asyncio.Event()
        self._asked = self._pulled = 0
        self._end = False
        self._by: Counter[str] = Counter()
        self._began = self._since = self._ended = 0.0
        self._done_before = 0
        self._clocks: list[Clock] = []
        self._free: list[tuple[float, int]] = []
        self._gates: list[int] = []
        self._pilot: list[Asked] = []
        self._drawn = self._asking = 0  # rows that were drawn by chance, and those of them that are not stored
        self._redraw = False
        self._plan: Plan | None = None
        self._reasons: Counter[tuple[str, int | None]] = Counter()
        self._in_a_row = 0
        self._last: VictorError | None = None
        self._failure: VictorError | None = None
        self._refusal: VictorError | None = None
        self._broken: BaseException | None = None  # what the user's iterator has raised

    # --- how far it is ---

    @property
    def count(self) -> int:
        """Rows that are known by now."""
        return self._pulled if self.rows.size is None else self.rows.size

    @property
    def counts(self) -> Counts:
        """How far it is."""
        by, size = dict(self._by), self.rows.size
        done, total = sum(by.values()), None if size is None else size * len(self.lanes)
        made, passed = done - self._done_before, time.perf_counter() - self._since
        eta = None if total is None or self._ended or made <= 0 else (total - done) * passed / made
        return Counts(done, total, by, self.spent, eta)

    @property
    def wall(self) -> float:
        """Seconds since it began, or that it took: simulated ones in simulate mode."""
        if self._simulated:
            return max((clock.now for clock in list(self._clocks)), default=self._began) - self._began
        return (self._ended or time.perf_counter()) - self._began if self._began else 0.0

    def cells(self, lane: int) -> list[Cell]:
        """Return what came of each row at an asker and sample so far."""
        column, count = list(self.columns[lane]), self.count
        return [*column[:count], *itertools.repeat(self.rest, count - len(column))]

    # --- on the background loop ---

    async def run(self) -> None:
        """Ask all rows.

        Raises:
            MapError: All that were asked failed alike, or none of the others can be asked.
            VictorError: A row lacks a value, where that is an error.
            Exception: What the user's iterator raises, once the rows before it have been asked.
        """
        clocked = simulated(self.runtime.timeline, alone=True) if self._simulated else nullcontext()
        with collecting_seldom(), clocked as clock:
            self._began = clock.now if clock is not None else time.perf_counter()
            self._since = time.perf_counter()
            size, warm = self.rows.size, any(asker.warms for asker, _ in self.lanes)
            self._gates = [len(self.lanes)] if warm else []
            if size is None or size > 2 * PILOT:
                self._gates.append(PILOT * len(self.lanes))
                self._plan = await asyncio.to_thread(self._prompts.plan) if self.rows.random and size else None
            self._order = self._numbers()
            self._open.set()
            most = self.terms.workers if size is None else min(self.terms.workers, size * len(self.lanes))
            self._clocks = [clock.fork() for _ in range(most)] if clock is not None else []
            self._free = [(each.now, place) for place, each in enumerate(self._clocks)]
            workers = [asyncio.create_task(self._work()) for _ in range(max(1, most))]
            try:
                ended, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                for task in ended:
                    task.result()
                if self._refusal is not None and self._failure is None and self.terms.reuse and self.rows.random:
                    await self._take_stored()
            finally:
                for task in workers:
                    task.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                self._close()
                if clock is not None:
                    clock.now = max(clock.now, *(each.now for each in self._clocks), self._began)
        if self._broken is not None:
            raise self._broken
        self._judge()

    async def _work(self) -> None:
        while (item := await self._next()) is not None:
            if not self._clocks:
                await self._ask(item)
                continue
            # Of the simulated workers, the one that is free first: which task is waked first says nothing.
            _, place = heappop(self._free)
            CLOCK.set(self._clocks[place])
            try:
                await self._ask(item)
            finally:
                heappush(self._free, (self._clocks[place].now, place))

    async def _next(self) -> _Item | None:
        """Return the next row that has to be asked; None when there is none."""
        while True:
            await self._open.wait()
            if self._failure is not None or self._refusal is not None:
                return None
            if self._gates and self._asked >= self._gates[0]:
                self._open.clear()
                self._pass()
            elif self._ready:
                self._asked += 1
                return self._ready.popleft()
            elif self._end:
                return None
            else:
                await self._fill()

    async def _ask(self, item: _Item) -> None:
        began = time.perf_counter()
        try:
            await item.question.ask(item.cell)
            self._in_a_row = 0
        except VictorError as error:
            self._note(error)
        finally:
            if item.cell.status != "pending":
                self._finish(item)
        if self._gates:
            latency = item.cell.latency
            passed = time.perf_counter() - began if latency is None else latency
            self._pilot.append(Asked(item.lane, item.size, item.cell.cost, passed))
            self._pass()

    def _finish(self, item: _Item) -> None:
        cell, place = item.cell, (item.lane, item.key)
        if cell.error is not None:
            cell.error = self.runtime.redacted(cell.error)
        self._by[cell.status] += 1
        if cell.cost is None:
            self.spent = replace(self.spent, unpriced=self.spent.unpriced + 1)
        elif cell.cost:
            self.spent = replace(self.spent, cost=EXACT.add(self.spent.cost, cell.cost))
        for other in self._followers.pop(place, ()):
            other.repeat(cell)
            self._by[other.status] += 1

    def _pass(self) -> None:
        """Let the others begin once the rows before a gate have ended; say the price at the last one."""
        if self._open.is_set() or len(self._pilot) < self._asked:
            return
        self._gates.pop(0)
        if not self._gates:
            seen = sum(not lane for lane, _ in self._first)
            drawn = Drawn(self._drawn, self._asking, seen, [item.size for item in self._ready])
            priced = price(self._pilot, self._plan, drawn, lanes=len(self.lanes), workers=self.terms.workers)
            self.priced = replace(priced, budget=self.terms.budget)
            self._since, self._done_before = time.perf_counter(), sum(self._by.values())
        latest = max((clock.now for clock in self._clocks), default=0.0)
        for clock in self._clocks:
            clock.now = latest
        self._free = [(latest, place) for _, place in self._free]
        self._open.set()

    # --- rows ---

    def _numbers(self) -> Iterator[int]:
        """Yield the numbers of all rows: at first by chance, as a price is taken from these, then in order."""
        size = self.rows.size or 0
        drawn: set[int] = set()
        left, rounds = list(self._plan.numbers) if self._plan is not None else [], 0
        # What the last map of these rows has asked first is in the store: then others are drawn.
        while self._gates and (rounds == 0 or 2 * len(drawn) < len(left)):
            few = len(left) if rounds == 0 else min(len(left), 2 * PILOT)  # not all anew for each few that are stored
            for number in random.Random(rounds).sample(left, few):  # noqa: S311 - chance, not secrecy
                if not self._gates or self._redraw:
                    break
                if number not in drawn:
                    drawn.add(number)
                    yield number
            self._redraw = False
            rounds += 1
        yield from (number for number in range(size) if number not in drawn)

    async def _fill(self) -> None:
        """Render some more rows, and put those among the ready that have to be asked."""
        async with self._pulling:
            if self._ready or self._end:
                return
            if self.rows.random:
                numbers = itertools.islice(self._order, PILOT if self._gates else _WINDOW)
                window = [(number, self.rows.names(number)) for number in numbers]
            else:
                try:
                    window = list(enumerate(await self.rows.pull(), self._pulled))
                except BaseException as error:  # of the user's iterator; what is under way goes on
                    if isinstance(error, (*STOPS, asyncio.CancelledError)):
                        raise
                    self._broken, window = error, []
                self._pulled += len(window)
            self._end = not window
            opened = [item for number, names in window for item in self._opened(number, names)]
            asked = await self._not_stored(opened)
            self._ready.extend(asked)
            if self._gates:
                self._redraw = bool(opened) and not asked
                self._drawn += 0 if self._redraw else len(opened)
                self._asking += len(asked)

    def _opened(self, number: int, names: Mapping[str, object]) -> Iterator[_Item]:
        """Yield what has to be asked of a row: of equal prompts the first."""
        cells = [Cell() for _ in self.lanes]
        for column, cell in zip(self.columns, cells, strict=True):
            column.extend(Cell() for _ in range(number + 1 - len(column)))
            column[number] = cell
        try:
            prompt = self._prompts.of(names)
        except VictorError as error:
            self._settle(cells, error)
            return
        if prompt is None:
            for cell in cells:
                cell.status = "skipped"
                self._by["skipped"] += 1
            if self._prompts.empty == "error":
                fault = (
                    f"Row {number:,} lacks a value of the template, and empty='error'. Fill it, or leave empty= out."
                )
                self._fail(PromptError(fault))
            return
        key = digest(prompt)
        for lane, ((asker, sample), cell) in enumerate(zip(self.lanes, cells, strict=True)):
            first = self._first.setdefault((lane, key), cell)
            if first is not cell:
                self._follow((lane, key), first, cell)
                continue
            try:
                yield _Item(lane, key, len(prompt), cell, asker.prepare(prompt, sample))
            except VictorError as error:
                self._settle([cell], error)

    def _settle(self, cells: Sequence[Cell], error: VictorError) -> None:
        """Keep why a row cannot be sent."""
        for cell in cells:
            cell.fail(error)
            cell.error = self.runtime.redacted(cell.error or "")
            self._by[cell.status] += 1
        self._note(error)

    def _follow(self, place: tuple[int, bytes], first: Cell, cell: Cell) -> None:
        """Give a row what came of an equal one, now or when it has come."""
        if first.status == "pending":
            self._followers.setdefault(place, []).append(cell)
        else:
            cell.repeat(first)
            self._by[cell.status] += 1

    async def _not_stored(self, items: list[_Item]) -> list[_Item]:
        """Return the rows whose answers the store does not have; the others are given them."""
        cache: AnswerCache | None = self.runtime.cache_for(self.runtime.mode) if self.terms.reuse else None
        keys = [item.question.key for item in items]
        wanted = [key for key in keys if key is not None]
        if cache is None or not wanted:
            return items
        search = cache.find(wanted)
        found = search.result() if self._simulated else await asyncio.wrap_future(search)
        self.news += cache.news()
        left: list[_Item] = []
        for item, key in zip(items, keys, strict=True):
            stored = None if key is None else found.get(key)
            if stored is None or not await item.question.reuse(stored, item.cell):
                left.append(item)
            else:
                self._finish(item)
        return left

    async def _take_stored(self) -> None:
        """Give the rows that a budget has left the answers that the store has: these cost nothing."""
        self._gates.clear()
        while not self._end:
            self._ready.clear()
            await self._fill()
        self._ready.clear()

    # --- failures ---

    def _fail(self, error: VictorError) -> None:
        self._failure = self._failure or error
        self._open.set()

    def _note(self, error: VictorError) -> None:
        """Keep why a row failed; end the map where all fail alike, or a budget is used up."""
        if isinstance(error, BudgetError):
            self._refusal = self._refusal or error
            self._open.set()
            return
        if isinstance(error, TapeMissError):
            raise error
        reason = type(error).__name__, error.http_status if isinstance(error, ProviderError) else None
        self._reasons[reason] += 1
        self._last = error
        if isinstance(error, ClosedError):  # what asks is gone
            self._fail(error)
        self._in_a_row = self._in_a_row + 1 if isinstance(error, _FOR_ALL) else 0
        if (self._alike and sum(self._reasons.values()) >= _ALIKE) or self._in_a_row >= _ALIKE:
            self._fail(error)

    @property
    def _alike(self) -> bool:
        """Whether all that were asked have failed for one reason."""
        return len(self._reasons) == 1 and not any(self._by[status] for status in ANSWERED)

    def _judge(self) -> None:
        """Raise if what was asked failed alike.

        Raises:
            MapError: It did.
        """
        error = self._failure or (self._last if self._alike else None)
        if error is None and not any(self._by[status] for status in ANSWERED):
            error = self._refusal
        if error is None:
            return
        if isinstance(error, PromptError) and self._prompts.empty == "error":
            raise error
        if isinstance(error, ClosedError):
            raise MapError(str(error)) from error
        failed = self._by["refused"] if isinstance(error, BudgetError) else self.counts.failed
        rest = self.count * len(self.lanes) - sum(self._by.values())
        more = f", and {rest:,} more were not asked" if rest else ""
        alike = "row failed" if failed == 1 else "rows failed alike"
        raise MapError(f"{failed:,} {alike}{more}. {error}") from error

    def _close(self) -> None:
        """Set the final status of what was not asked: refused, where a budget has ended the map."""
        self._ended = time.perf_counter()
        if self._refusal is None:
            return
        self.rest = Cell("refused", error=shortened(f"not asked, as the budget is used up. {self._refusal}"))
        for column in self.columns:
            pending = [cell for cell in column if cell.status == "pending"]
            for cell in pending:
                cell.status, cell.error = self.rest.status, self.rest.error
            self._by["refused"] += len(pending) + self.count - len(column)
