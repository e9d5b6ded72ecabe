"""Maps beyond one machine: rows go to the workers of a dask cluster in partitions, and what comes back is kept here.

The engine, the store of answers, the ledger and the budget stay in this process. A worker asks with a runtime of its
own that writes nothing (see `partitions`): its rows of the ledger come here as they begin and end, its answers when
their partition ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.accounting.budget import Hold
from victor_nb.accounting.rows import decode
from victor_nb.accounting.worst_case import worst_case
from victor_nb.errors import BudgetError, ConfigError, VictorError
from victor_nb.money import Total
from victor_nb.values import BOOKS
from victor_nb.wire.clock import CLOCK
from victor_nb.workflows.outcomes import Cell
from victor_nb.workflows.partitions import Answered, Outcome, Setup, ask_rows, distributed, forget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.accounting.cache import StoredAnswer
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import CallOptions, Request
    from victor_nb.workflows.askers import Pool, ProfileAsker, ProfileQuestion

_ROWS: Final = 100  # rows of a partition: what may be paid twice where a worker is lost
_GATHER: Final = 0.02  # seconds in which rows that are asked together come in, one after the other
_TIMES: Final = 3  # that a row is asked whose worker is lost
_GRACE: Final = 0.8  # seconds that workers have for the rows of what was stopped; a stopped job has one in all
_LOOK: Final = 0.02  # seconds after which they are looked at again
_MOST: Final = 256  # attempts at once of all workers together, where nothing limits them


@dataclass(eq=False)
class _Asked:
    """A row on its way.

    Attributes:
        rows: Its attempts so far, by call and number, as the worker tells of them.
        hold: Its worst case, set aside here.
        done: What came of it; None: its worker was lost.
        sent: Whether its partition was sent to a worker.
        lost: Whether that one ended before it did.
    """

    asker: int
    prompt: str
    sample: int
    hold: Hold | None = None
    done: asyncio.Future[Outcome | None] | None = None
    sent: bool = False
    lost: bool = False
    rows: dict[tuple[str, int], Row] = field(default_factory=dict[tuple[str, int], "Row"])

    @property
    def spent(self) -> Total:
        """What its attempts cost, as far as it is known."""
        return Total.of(self.rows.values())

    @property
    def cost(self) -> Decimal | None:
        """What counts as spent, each attempt of unknown cost at its worst; None: the worst case of the row."""
        if self.lost and not self.rows:
            return None
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
    """Rows that one worker asks."""

    name: str
    rows: Sequence[_Asked]
    future: Any = None


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

    @property
    def key(self) -> bytes | None:
        """Its place in the store of answers."""
        return self._inner.key

    async def reuse(self, stored: StoredAnswer, cell: Cell) -> bool:
        """Put a stored answer into the cell; return whether it serves."""
        return await self._inner.reuse(stored, cell)

    async def ask(self, cell: Cell) -> None:
        """Ask, again where a worker is lost, and put what comes into the cell, also when it is stopped."""
        asked, lost = self._asked, Total()
        for time in range(1, _TIMES + 1):
            asked = replace(self._asked, rows={})
            hold = await self._hold()
            try:
                outcome = await self._cluster.ask(asked, hold)
            except asyncio.CancelledError:
                cell.status = "interrupted" if asked.sent else "pending"
                cell.cost = (lost + asked.spent).exact_cost
                raise
            finally:
                self._cluster.runtime.budget.settle(hold, asked.cost)
            lost += asked.spent
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
        cell.cost = spent.exact_cost
        if (clock := CLOCK.get()) is not None:
            clock.now += cell.latency or 0.0
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
        self._client: Any = _checked(client)
        self.runtime, self._find = pool.runtime, pool.get_orchestrator
        found = len(self._client.nthreads())
        if not found:
            raise ConfigError("The cluster has no workers. Start some, or wait: client.wait_for_workers(1).")
        self._lanes = min(found, concurrency or _MOST, rpm or found)
        each = [None if limit is None else max(1, limit // self._lanes) for limit in (rpm, tpm)]
        self._limits = ((concurrency or _MOST) // self._lanes, each[0], each[1])
        self.most = 2 * self._lanes * _ROWS
        self._map = f"victor-{run_id}"
        self._askers: list[ProfileAsker] = []
        self._setup: Setup | None = None
        self._beginning = asyncio.Lock()
        self._waiting: deque[_Asked] = deque()
        self._partitions: dict[str, _Partition] = {}
        self._number = 0
        self._due = False
        self._tasks: set[asyncio.Task[None]] = set()

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
                self._setup = self._setup or await asyncio.to_thread(self._begin, asyncio.get_running_loop())
        asked.hold, asked.done = hold, asyncio.get_running_loop().create_future()
        self._waiting.append(asked)
        self._soon()
        return await asked.done

    def _begin(self, loop: asyncio.AbstractEventLoop) -> Setup:
        """Listen to the workers of this map, and return what they need."""
        mode, models = self.runtime.mode, {each.profile.model for each in self._askers}

        def hear(event: tuple[float, Any]) -> None:
            with suppress(RuntimeError):  # as in _tell
                loop.call_soon_threadsafe(self._hear, *event[1])

        self._client.subscribe_topic(self._map, hear)
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
        """Send the rows that wait to the workers that are free."""
        self._due = False
        while (free := self._lanes - len(self._partitions)) > 0:
            rows = [self._waiting.popleft() for _ in range(min(_ROWS, ceil(len(self._waiting) / free)))]
            rows = [each for each in rows if each.done is not None and not each.done.done()]  # the others were stopped
            if not rows:
                return
            self._number += 1
            part = _Partition(f"{self._map}-{self._number}", rows)
            self._partitions[part.name] = part
            limited = [each.hold.at_worst() for each in rows if each.hold is not None and each.hold.counted]
            for each in rows:
                each.sent = True
            sent = [(each.asker, each.prompt, each.sample) for each in rows]
            allowance = sum(limited, Decimal(0)) if limited else None
            part.future = self._client.submit(
                ask_rows, self._setup, part.name, sent, allowance, key=part.name, pure=False
            )
            loop = asyncio.get_running_loop()
            part.future.add_done_callback(partial(self._tell, loop, part))

    def _tell(self, loop: asyncio.AbstractEventLoop, part: _Partition, _: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits there any more
            loop.call_soon_threadsafe(self._ended, part)

    def _ended(self, part: _Partition) -> None:
        task = asyncio.get_running_loop().create_task(self._collect(part))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self, part: _Partition) -> None:
        """Hand the rows of a partition their answers, or what they have to know of its end."""
        found = await asyncio.to_thread(self._result, part)
        if self._partitions.pop(part.name, None) is None:
            return
        if isinstance(found, VictorError):
            for each in part.rows:
                each.end(found)
        elif found is None:
            self._lose(part, "the worker was lost")
        else:
            store = self.runtime.cache_for(self.runtime.mode) if found.stored else None
            if store is not None:
                for key, answer in found.stored:
                    store.put(key, answer)
                if store.path is not None:
                    await asyncio.wrap_future(store.written())
            for each, outcome in zip(part.rows, found.outcomes, strict=True):
                each.end(outcome)
        if self._waiting:
            self._soon()

    def _result(self, part: _Partition) -> Answered | VictorError | None:
        """Return what came of a partition: answers, None where its worker was lost, or why it failed. It blocks."""
        dask, future = distributed(), part.future
        error = future.exception() if future.status == "error" else None
        found = future.result() if future.status == "finished" else None
        future.release()
        dask.Event(part.name, client=self._client).clear()
        if error is None or isinstance(error, dask.KilledWorker):
            return found
        if isinstance(error, VictorError):
            return error
        text = self.runtime.redacted(f"{type(error).__name__}: {error}")
        return ConfigError(f"The workers cannot ask: {text}. Do they have the same victor_nb?")

    def _lose(self, part: _Partition, why: str) -> None:
        """End what was under way on a worker that has ended: what it cost is unknown."""
        for each in part.rows:
            each.lost = True
            for row in each.under_way:
                ended = replace(row, status="interrupted", error=why)
                each.rows[row.call_id, row.attempt] = ended
                self.runtime.ledger.finish(ended)
            each.end(None)

    def _hear(self, name: str, number: int, cells: Sequence[Any]) -> None:
        """Write what a worker says of an attempt into the ledger."""
        part = self._partitions.get(name)
        if part is None:
            return
        row = replace(decode(cells), notebook=self.runtime.settings.notebook)
        part.rows[number].rows[row.call_id, row.attempt] = row
        (self.runtime.ledger.start if row.status == "running" else self.runtime.ledger.finish)(row)

    # --- the end ---

    async def close(self) -> None:
        """End what is under way on the workers, and wait a moment for its rows."""
        if self._setup is None:
            return
        left = list(self._partitions.values())
        if left:
            await asyncio.to_thread(self._stop, left)
            rows = [each for part in left for each in part.rows]
            for _ in range(round(_GRACE / _LOOK)):
                if not any(each.under_way for each in rows):
                    break
                await asyncio.sleep(_LOOK)
        self._partitions.clear()
        for part in left:
            self._lose(part, "stopped")
        await asyncio.to_thread(self._forget, [part.name for part in left])

    def _stop(self, parts: Sequence[_Partition]) -> None:
        distributed().Event(f"{self._map}-stop", client=self._client).set()
        self._client.cancel([part.future for part in parts])

    def _forget(self, names: Sequence[str]) -> None:
        """Leave nothing of the map behind in the cluster."""
        self._client.unsubscribe_topic(self._map)
        self._client.run(forget, self._map, on_error="ignore")
        for name in names:
            distributed().Event(name, client=self._client).clear()


def _is_short(error: VictorError | None) -> bool:
    """Return whether a partition had no money left for a row, since attempts of unknown cost had used it up."""
    notes: list[str] = getattr(error, "__notes__", [])
    return isinstance(error, BudgetError) or any(note.startswith("Not asked again") for note in notes)


def _checked(client: object) -> object:
    """Return a client whose calls may be waited for.

    Raises:
        ConfigError: It is something else.
    """
    step = "Give a dask.distributed.Client: executor=Client('tcp://...')."
    try:
        kind = distributed().Client
    except ImportError:
        raise ConfigError(f"executor= needs the package distributed: pip install victor-nb[dask]. {step}") from None
    if not isinstance(client, kind):
        raise ConfigError(f"executor= is a {type(client).__name__}. {step}")
    if cast("Any", client).asynchronous:
        raise ConfigError(f"executor= is an asynchronous client, whose calls cannot be waited for. {step}")
    return client
