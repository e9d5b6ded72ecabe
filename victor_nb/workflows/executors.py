"""Maps beyond one machine: rows go to the workers of a dask cluster in partitions, and what comes back is kept here.

The engine, the store of answers, the ledger and the budget stay in this process. A worker asks with a runtime of its
own that writes nothing (see `partitions`): it asks here for leave before each request, whose row is then in the ledger,
and its answers come when their partition ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import partial
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.accounting.budget import Hold
from victor_nb.accounting.rows import decode
from victor_nb.accounting.worst_case import worst_case
from victor_nb.errors import BudgetError, ClosedError, ConfigError, VictorError
from victor_nb.money import Total
from victor_nb.values import BOOKS, UNPAID
from victor_nb.wire.clock import CLOCK
from victor_nb.workflows.link import CLOSED, Grants, Link, pack
from victor_nb.workflows.outcomes import Cell
from victor_nb.workflows.partitions import Answered, Fault, Lost, Outcome, Packed, Setup, loaded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from victor_nb.accounting.cache import StoredAnswer
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import CallOptions, Request
    from victor_nb.wire.clock import Clock
    from victor_nb.workflows.askers import Pool, ProfileAsker, ProfileQuestion

_ROWS: Final = 100  # rows of a partition: what may be paid twice where a worker is lost
_GATHER: Final = 0.02  # seconds in which rows that are asked together come in, one after the other
_TIMES: Final = 3  # that a row is asked whose worker is lost
_GRACE: Final = 5.0  # seconds that workers have to end what was stopped
_LOOK: Final = 0.5  # seconds after which the cluster is looked at again
_ALONE: Final = 60.0  # seconds without a worker, after which none is waited for
_LOST: Final = "the worker was lost"
_AGAIN: Final = "Run it again: stored answers are reused."
_MOST: Final = 256  # attempts at once of all workers together, where nothing limits them


@dataclass(eq=False)
class _Asked:
    """A row on its way.

    Attributes:
        rows: Its attempts so far, by call and number: those that a worker has leave to make, or has made.
        hold: Its worst case, set aside here.
        clock: That of the map, where it is simulated.
        done: What came of it; None: its worker was lost.
    """

    asker: int
    prompt: str
    sample: int
    hold: Hold | None = None
    clock: Clock | None = None
    done: asyncio.Future[Outcome | None] | None = None
    rows: dict[tuple[str, int], Row] = field(default_factory=dict[tuple[str, int], "Row"])

    @property
    def spent(self) -> Total:
        """What its attempts cost, as far as it is known."""
        return Total.of(self.rows.values())

    @property
    def cost(self) -> Decimal:
        """What counts as spent, each attempt of unknown cost at its worst."""
        worst = self.hold.at_worst() if self.hold is not None else Decimal(0)
        costs = [
            (worst if row.held is None else row.held) if row.cost is None else row.cost for row in self.rows.values()
        ]
        return sum(costs, Decimal(0))

    @property
    def under_way(self) -> list[Row]:
        """Its attempts that have not ended."""
        return [row for row in self.rows.values() if row.status == "running"]

    def end(self, outcome: Outcome | VictorError | None) -> None:
        """Let the engine have what came of it, unless it was stopped."""
        if self.done is None or self.done.done():
            return
        if isinstance(outcome, VictorError):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


@dataclass(eq=False)
class _Partition:
    """Rows that one worker asks.

    Attributes:
        began: When its worker begins with it, by the clock of a simulated map: origin, and seconds since then.
        guest: Who has leave to begin with them.
        numbers: What that one calls the attempts that it has leave to make.
        ended: Set once all that will be known of them is.
    """

    name: str
    rows: Sequence[_Asked]
    began: tuple[datetime, float] | None = None
    future: Any = None
    guest: str | None = None
    numbers: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ClusterAsker:
    """Asks a profile about rows, on the workers of a cluster."""

    def __init__(self, cluster: Cluster, number: int, inner: ProfileAsker) -> None:
        self.name, self.warms = inner.name, inner.warms
        self._cluster, self._number, self._inner = cluster, number, inner

    def prepare(self, prompt: str, sample: int) -> ClusterQuestion:
        """Return a row that is ready to be asked."""
        asked = _Asked(self._number, prompt, sample)
        return ClusterQuestion(self._cluster, self._inner.prepare(prompt, sample), asked)


class ClusterQuestion:
    """One row at one profile, asked on a worker; what is in the store is taken from it here."""

    def __init__(self, cluster: Cluster, inner: ProfileQuestion, asked: _Asked) -> None:
        self._cluster, self._inner, self._asked = cluster, inner, asked
        self._task: asyncio.Task[object] | None = None
        self._closed = False

    def close(self) -> None:
        """End the row because the pool of its map goes. On the background loop only."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    @property
    def key(self) -> bytes | None:
        """Its place in the store of answers."""
        return self._inner.key

    async def reuse(self, stored: StoredAnswer, cell: Cell) -> bool:
        """Put a stored answer into the cell; return whether it serves."""
        return await self._inner.reuse(stored, cell)

    async def ask(self, cell: Cell) -> None:
        """Ask, again where a worker is lost, and put what comes into the cell, also when it is stopped."""
        self._task, request = asyncio.current_task(), self._inner.call.request
        request.running.add(self)
        try:
            await self._ask(cell)
        except asyncio.CancelledError:
            if not self._closed:
                raise
            raise ClosedError(f"{request.profile.name}: closed while the row was under way.") from None
        finally:
            request.running.discard(self)
            self._task = None

    async def _ask(self, cell: Cell) -> None:
        asked, lost = self._asked, Total()
        for time in range(1, _TIMES + 1):
            asked = replace(self._asked, rows={})
            hold = await self._hold()
            try:
                outcome = await self._cluster.ask(asked, hold)
            except asyncio.CancelledError:
                await self._cluster.stop()
                cell.status = "interrupted" if asked.rows or time > 1 else "pending"
                cell.cost = (lost + asked.spent).exact_cost
                raise
            except VictorError as error:
                if asked.rows or time > 1:  # else it was never sent
                    cell.fail(error)
                    cell.cost = (lost + asked.spent).exact_cost
                raise
            finally:
                self._cluster.runtime.budget.settle(hold, asked.cost)
            lost += asked.spent
            self._cluster.again += outcome is None and any(row.status != "refused" for row in asked.rows.values())
            if outcome is not None and not (time < _TIMES and _is_short(outcome.error)):
                return self._take(cell, outcome, lost)
        error = VictorError(f"{self._inner.call.request.profile.name}: {_TIMES} workers were lost that asked this row.")
        cell.fail(error)
        cell.cost = lost.exact_cost
        raise error

    def _take(self, cell: Cell, outcome: Outcome, spent: Total) -> None:
        """Put what came of a row into its cell; its cost is that of all attempts, those of lost workers too."""
        for each in fields(Cell):
            setattr(cell, each.name, getattr(outcome.cell, each.name))
        cell.cost, cell.last_cost = spent.exact_cost, outcome.cell.cost
        if (clock := CLOCK.get()) is not None:
            clock.now = max(clock.now, outcome.until)
        if outcome.error is not None:
            raise outcome.error

    async def _hold(self) -> Hold:
        """Set the worst case of a row aside: that of the dearest profile that may answer.

        Raises:
            BudgetError: It does not fit.
        """
        request = self._inner.call.request
        requests, budget = [request], request.runtime.budget
        limited = any(limit.amount.is_finite() for limit in request.limits)
        if limited and request.profile.fallback:
            requests += await asyncio.to_thread(self._fallbacks, request)

        def worst() -> Decimal | None:
            calibration = request.runtime.calibration
            costs = [worst_case(each.chat, each.tariff, mode=each.mode, calibration=calibration) for each in requests]
            return max((cost for cost in costs if cost is not None), default=None) if None not in costs else None

        hold = Hold(request.limits, BOOKS[request.mode], worst)
        if limited:
            return await budget.hold(hold, request.profile.name)
        budget.uncounted.add(hold)
        return hold

    def _fallbacks(self, request: Request) -> list[Request]:
        """Return what the fallbacks of a profile would be asked. It may open clients."""
        return [self._cluster.request(name, self._asked) for name in request.profile.fallback]


class Cluster:
    """The workers of a `dask.distributed.Client`, each of which asks one partition of rows at a time.

    The limits of the map are divided by the number of its partitions: together they never exceed them.

    Args:
        client: A `dask.distributed.Client`.
        pool: Whose profiles are asked.
        run_id: That of the map.
        concurrency: Attempts at once, of all workers together.
        rpm: Requests a minute, of all together.
        tpm: Tokens a minute, of all together.

    Attributes:
        most: How many rows are to be under way at once: so many that the next partitions are full.
        again: How many rows were asked again that a lost worker had sent.

    Raises:
        ConfigError: It is no client, or has no workers.
    """

    def __init__(
        self,
        client: object,
        pool: Pool,
        run_id: str,
        *,
        concurrency: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
    ) -> None:
        self._map = f"victor-{run_id}"
        self._link = Link(client, self._map)
        self._grants = Grants(self._link)
        self.runtime, self._find = pool.runtime, pool.get_orchestrator
        if not (found := self._link.count()):
            raise ConfigError("The cluster has no workers. Start some, or wait: client.wait_for_workers(1).")
        self._lanes = min(found, concurrency or _MOST, rpm or found)
        each = [None if limit is None else max(1, limit // self._lanes) for limit in (rpm, tpm)]
        self._limits = ((concurrency or _MOST) // self._lanes, each[0], each[1])
        self.most = 2 * self._lanes * _ROWS
        self._askers: list[ProfileAsker] = []
        self._setup: Packed | None = None
        self._beginning = asyncio.Lock()
        self._waiting: deque[_Asked] = deque()
        self._partitions: dict[str, _Partition] = {}
        self._number = self._came = self.again = 0
        self._free = [0.0] * self._lanes  # since when each worker is, in simulated seconds
        self._due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._broken: ClosedError | None = None

    def asker(self, inner: ProfileAsker) -> ClusterAsker:
        """Return what asks a profile there."""
        self._askers.append(inner)
        return ClusterAsker(self, len(self._askers) - 1, inner)

    def request(self, name: str, asked: _Asked) -> Request:
        """Return what another profile would be asked instead."""
        options: CallOptions = {**self._askers[asked.asker].options, "sample": asked.sample}
        return self._find(name).call(asked.prompt, options, stream=False).request

    async def ask(self, asked: _Asked, hold: Hold) -> Outcome | None:
        """Ask a row with others; return None where its worker was lost."""
        if self._setup is None:
            async with self._beginning:
                if self._setup is None and self._broken is None:
                    await self._begin()
        if self._broken is not None:
            raise self._broken
        asked.hold, asked.done, asked.clock = hold, asyncio.get_running_loop().create_future(), CLOCK.get()
        self._waiting.append(asked)
        self._soon()
        return await asked.done

    async def _begin(self) -> None:
        """Make what the workers of this map need, and listen to them."""
        try:
            packed = await asyncio.to_thread(lambda: pack(self._made(), self.runtime.redacted))
        except ConfigError as error:
            self._broken = ClosedError(str(error))
            return
        await asyncio.to_thread(self._link.listen, self._hear, asyncio.get_running_loop())
        self._setup, self._watching = packed, asyncio.create_task(self._watch())

    def _made(self) -> Setup:
        """Return what the workers need."""
        mode, models = self.runtime.mode, {each.profile.model for each in self._askers}
        return Setup(
            map=self._map,
            settings=self.runtime.settings,
            mode=mode,
            askers=tuple((each.profile.name, each.options) for each in self._askers),
            limits=self._limits,
            answers=self.runtime.answers.given if mode == "simulate" else None,
            history={model: self.runtime.ledger.input_history(model, mode) for model in models},
        )

    # --- partitions ---

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_GATHER, self._send)

    def _send(self) -> None:
        """Send the rows that wait to the workers that are free, once no more come in or their partitions are full."""
        self._due = False
        came, self._came = self._came, len(self._waiting)
        if came < self._came < len(self._free) * _ROWS:
            self._soon()
            return
        self._came = 0
        while self._is_open and (free := len(self._free)) > 0:
            rows = [self._waiting.popleft() for _ in range(min(_ROWS, ceil(len(self._waiting) / free)))]
            rows = [each for each in rows if each.done is not None and not each.done.done()]  # the others were stopped
            if not rows:
                return
            self._number += 1
            part = _Partition(f"{self._map}-{self._number}", rows)
            self._partitions[part.name] = part
            limited = [each.hold.at_worst() for each in rows if each.hold is not None and each.hold.counted]
            sent = [(each.asker, each.prompt, each.sample) for each in rows]
            allowance = sum(limited, Decimal(0)) if limited else None
            ended, setup, free_since = partial(self._ended, part), cast("Packed", self._setup), heappop(self._free)
            clocks = [each.clock for each in rows if each.clock is not None]
            if clocks:
                part.began = clocks[0].origin, max(free_since, *(clock.now for clock in clocks))
            try:
                part.future = self._link.submit(setup, part.name, sent, (allowance, part.began), ended)
            except ClosedError as error:
                self._break(str(error))
                return

    def _ended(self, part: _Partition) -> None:
        task = asyncio.get_running_loop().create_task(self._collect(part))
        self._tasks.add(task)
        task.add_done_callback(partial(self._collected, part))

    def _collected(self, part: _Partition, task: asyncio.Task[None]) -> None:
        """End the map where what came of a partition cannot be taken: its rows would wait for ever."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(f"answers cannot be taken ({type(error).__name__}: {error})", _AGAIN, part)

    async def _collect(self, part: _Partition) -> None:
        """Hand the rows of a partition their answers, or what they have to know of its end."""
        found = await asyncio.to_thread(self._link.result, part.future, self.runtime.redacted)
        if found is None and not self._link.is_open:
            self._break(CLOSED)
        if part.ended.is_set() or self._partitions.get(part.name) is not part:
            return
        if isinstance(found, Fault):
            step = f"Give the workers the same modules as this kernel. {_AGAIN}"
            self._break(f"a worker cannot load what the map sends ({found.why})", step, part)
            return
        outcome = found if isinstance(found, VictorError) else None
        outcomes = await self._taken(part, found) if isinstance(found, Answered) else ()
        if isinstance(outcomes, Fault):
            step = "Run it again without executor=: stored answers are reused."
            self._break(f"answers cannot come back from a worker ({outcomes.why})", step, part)
            return
        sent = found.sent if isinstance(found, Lost) else None
        self._end(part, _LOST, outcomes or [outcome] * len(part.rows), sent)
        if self._waiting:
            self._soon()

    async def _taken(self, part: _Partition, found: Answered) -> Sequence[Outcome] | Fault:
        """Keep what a partition has asked; return what came of its rows, or why that cannot be read."""
        for number, cells in found.ended:
            self._finish(part, number, cells)
        store = self.runtime.cache_for(self.runtime.mode) if found.stored else None
        if store is not None:
            for key, answer in found.stored:
                store.put(key, answer)
            if store.path is not None:
                await asyncio.shield(asyncio.wrap_future(store.written()))
        return found.outcomes if isinstance(found.outcomes, Fault) else await asyncio.to_thread(loaded, found.outcomes)

    def _end(
        self,
        part: _Partition,
        why: str,
        outcomes: Sequence[Outcome | VictorError | None],
        sent: frozenset[int] | None = None,
    ) -> None:
        """End a partition. What its worker had leave for and has not ended may have been sent: its cost is unknown.

        Args:
            part: It.
            why: What ended it.
            outcomes: What came of each of its rows.
            sent: The numbers of the attempts that were; None where that is unknown.
        """
        if self._partitions.pop(part.name, None) is not None:
            ends = [each.until for each in outcomes if isinstance(each, Outcome)]
            heappush(self._free, max([0.0 if part.began is None else part.began[1], *ends]))
        for each, outcome in zip(part.rows, outcomes, strict=True):
            for row in each.under_way:
                key = row.call_id, row.attempt
                if sent is None or part.numbers[key] in sent:
                    worst = row.held if row.held is not None or each.hold is None else each.hold.at_worst()
                    billed = Decimal(0) if row.mode in UNPAID else None
                    ended = replace(row, status="interrupted", error=why, held=worst, billed=billed)
                else:
                    zero, error = Decimal(0), f"not sent: {why}"
                    ended = replace(row, status="refused", error=error, cost=zero, billed=zero, held=None)
                each.rows[key] = ended
                self.runtime.ledger.finish(ended)
            each.end(outcome)
        part.ended.set()

    # --- what workers ask for ---

    @property
    def _is_open(self) -> bool:
        """Whether more is to be sent."""
        return self._stopping is None and self._broken is None

    def _hear(self, guest: str, messages: Sequence[tuple[int | None, str, int, Sequence[Any]]]) -> None:
        """Write what a worker is to send, or has ended, into the ledger; grant the former where it is wanted."""
        go, stop = self._grants.of(guest)
        for number, name, place, cells in messages:
            part = self._partitions.get(name)
            if part is None or part.guest not in {None, guest} or not self._is_open:
                if number is not None and name not in stop:
                    stop.append(name)
            elif place < 0:
                part.guest = guest
                go.append(number or 0)
            elif number is None:
                self._finish(part, place, cells)
            elif (asked := part.rows[place]).done is not None and not asked.done.done():
                row = self._row(cells)
                asked.rows[row.call_id, row.attempt] = row
                part.numbers[row.call_id, row.attempt] = number
                self.runtime.ledger.start(row)
                go.append(number)
        self._grants.send()

    def _finish(self, part: _Partition, place: int, cells: Sequence[Any]) -> None:
        """Write how an attempt has ended, once, if it had leave."""
        row, rows = self._row(cells), part.rows[place].rows
        begun = rows.get((row.call_id, row.attempt))
        if begun is not None and begun.status == "running":
            rows[row.call_id, row.attempt] = row
            self.runtime.ledger.finish(row)

    def _row(self, cells: Sequence[Any]) -> Row:
        return replace(decode(cells), notebook=self.runtime.settings.notebook)

    # --- a cluster that ends ---

    async def _watch(self) -> None:
        """End what is under way once the client is closed, the scheduler has ended, or no worker is left."""
        alone = looked = 0.0
        while self._broken is None:
            await asyncio.sleep(_LOOK)
            if not self._link.is_open:
                self._break(CLOSED)
                return
            looked += _LOOK
            if looked >= 10 * _LOOK and self._partitions:
                looked, workers = 0.0, await asyncio.to_thread(self._count)
                alone = 0.0 if workers else alone + 10 * _LOOK
                if alone >= _ALONE:
                    self._break(f"the cluster has had no worker for {_ALONE:g} s")

    def _count(self) -> int:
        """Return the number of workers; 0 where the scheduler does not answer. It blocks."""
        try:
            return self._link.count()
        except ConfigError:
            return 0

    def _break(
        self,
        fact: str,
        step: str = "Run it again with another client: what came is kept.",
        only: _Partition | None = None,
    ) -> None:
        """End the rows of the map with what has happened, and send no others.

        Args:
            fact: What has happened.
            step: What to do.
            only: The partition that it has happened to; the engine stops the others, so that their answers come. None:
                nothing can come of any.
        """
        fact = self.runtime.redacted(fact)
        self._broken = self._broken or ClosedError(f"The map has ended: {fact}. {step}")
        for part in list(self._partitions.values()) if only is None else [only]:
            self._end(part, fact, [self._broken] * len(part.rows))
        while self._waiting:
            self._waiting.popleft().end(self._broken)

    # --- the end ---

    async def stop(self) -> None:
        """End what is under way on the workers, and wait a moment until it is known."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        left = list(self._partitions.values())
        begun = [part for part in left if part.guest is not None]
        for part in left:
            if part.guest is None:
                self._end(part, "stopped", [None] * len(part.rows))  # it is given no leave any more
            else:
                self._grants.of(part.guest)[1].append(part.name)
        self._grants.send()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                for part in begun:
                    await part.ended.wait()
        for part in begun:
            if not part.ended.is_set():
                self._end(part, "stopped", [None] * len(part.rows))

    async def close(self) -> None:
        """End what is under way on the workers, and leave nothing of the map behind in the cluster."""
        if self._setup is None:
            return
        if self._partitions or self._stopping is not None:
            await self.stop()
        if self._watching is not None:
            self._watching.cancel()
        self._broken = self._broken or ClosedError("The map has ended.")
        if not self._link.is_open:  # nothing can be reached
            return
        leaving = threading.Thread(target=self._link.leave, name="victor-forget", daemon=True)
        leaving.start()
        await asyncio.to_thread(leaving.join, _GRACE)


def _is_short(error: VictorError | None) -> bool:
    """Return whether a partition had no money left for a row, since attempts of unknown cost had used it up."""
    notes: list[str] = getattr(error, "__notes__", [])
    return isinstance(error, BudgetError) or any(note.startswith("Not asked again") for note in notes)
