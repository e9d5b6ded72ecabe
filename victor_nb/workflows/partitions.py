"""A partition of a map, asked on a worker of a cluster, with a runtime that writes nothing there."""

from __future__ import annotations

import asyncio
import pkgutil
import threading
from concurrent.futures import Future
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.rows import encode
from victor_nb.calls.orchestrator import AgentOrchestrator
from victor_nb.calls.quota import Share
from victor_nb.config.settings import ByHand, forced_mode
from victor_nb.errors import ConfigError, VictorError
from victor_nb.runtime import Runtime
from victor_nb.wire.clock import simulated
from victor_nb.workflows.askers import ProfileAsker
from victor_nb.workflows.outcomes import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from victor_nb.accounting.cache import AnswerCache, StoredAnswer
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import CallOptions
    from victor_nb.config.settings import Settings
    from victor_nb.values import Mode

_POLL: Final = 0.3  # seconds after which a worker sees that the map was stopped


@dataclass(frozen=True)
class Setup:
    """What the partitions of a map have in common. It holds no key: a worker takes those of its environment.

    Attributes:
        map: Names the map, its topic of events, and the runtime that asks for it on a worker.
        askers: A profile's name and the options of its calls, for each that is asked.
        limits: Of one partition: attempts at once, requests and tokens per minute.
        history: By model, what the ledger knows of the sizes of its inputs.
        answers: The source of simulated answers that was given by hand.
    """

    map: str
    settings: Settings
    mode: Mode
    askers: tuple[tuple[str, CallOptions], ...]
    limits: tuple[int, int | None, int | None]
    history: dict[str, tuple[int, int, int, float]]
    answers: Any = None


@dataclass(frozen=True)
class Outcome:
    """What came of a row on a worker."""

    cell: Cell
    error: VictorError | None


@dataclass(frozen=True)
class Answered:
    """What comes back of a partition.

    Attributes:
        stored: The answers for the store, by the digest of what was asked.
    """

    outcomes: tuple[Outcome, ...]
    stored: tuple[tuple[bytes, StoredAnswer], ...]


_AT: ContextVar[tuple[str, int]] = ContextVar("victor_nb_row")
"""The partition and the number of the row that a task asks."""
_guests: Final[dict[tuple[str, str], Guest]] = {}
_lock: Final = threading.Lock()


def distributed() -> Any:  # noqa: ANN401 - a module that only the users of a cluster have
    """Return the module `distributed`.

    Raises:
        ImportError: It is not installed.
    """
    return pkgutil.resolve_name("distributed")


def ask_rows(
    setup: Setup, name: str, rows: Sequence[tuple[int, str, int]], allowance: Decimal | None
) -> Answered | None:
    """Ask rows on a worker; return None where another one had begun with them, which was lost.

    Args:
        setup: What all partitions of the map have in common.
        name: The partition.
        rows: Asker, prompt and sample of each.
        allowance: What they may cost together, in USD; None: nothing limits it.
    """
    dask = distributed()
    here, client = dask.get_worker(), dask.get_client()
    begun, stop = dask.Event(name, client=client), dask.Event(f"{setup.map}-stop", client=client)
    if begun.is_set() or stop.is_set():
        return None
    begun.set()
    with _lock:
        place = setup.map, here.address
        guest = _guests.get(place) or _guests.setdefault(place, Guest(setup, here.log_event))
    job = guest.start(name, rows, allowance)
    while not job.wait(_POLL):
        if stop.is_set():
            job.cancel()
    return job.result()


def forget(name: str) -> None:
    """Close what a worker has kept of a map."""
    with _lock:
        gone = [_guests.pop(place) for place in list(_guests) if place[0] == name]
    for guest in gone:
        threading.Thread(target=guest.runtime.close, name="victor-close", daemon=True).start()


class Guest:
    """What asks for a map on a worker."""

    def __init__(self, setup: Setup, log_event: Callable[[str, Any], None]) -> None:
        self.setup = setup
        self.runtime = GuestRuntime(setup, partial(log_event, setup.map))
        self._orchestrators: dict[str, AgentOrchestrator] = {}
        self._opening = threading.Lock()
        concurrency, rpm, tpm = setup.limits
        self._share = Share(concurrency=concurrency, rpm=rpm, tpm=tpm)

    def _find(self, profile: str) -> AgentOrchestrator:
        """Return the orchestrator of a profile; the first call makes it."""
        with self._opening:
            if profile not in self._orchestrators:
                settings, wanted = self.setup.settings, self.setup.settings.profile(profile)
                made = AgentOrchestrator(wanted, settings=settings, runtime=self.runtime, find=self._find)
                self._orchestrators[profile] = made
            return self._orchestrators[profile]

    def start(self, name: str, rows: Sequence[tuple[int, str, int]], allowance: Decimal | None) -> Any:  # noqa: ANN401 - a Job
        """Start asking."""
        budget = self.runtime.budget
        with budget.limit(allowance, name="this map") if allowance is not None else nullcontext():
            return self.runtime.loop.start(lambda: self._ask_all(name, rows))

    async def _ask_all(self, name: str, rows: Sequence[tuple[int, str, int]]) -> Answered:
        with simulated(self.runtime.timeline, alone=True) if self.setup.mode == "simulate" else nullcontext():
            asking = [self._ask(name, number, *row) for number, row in enumerate(rows)]
            outcomes = await asyncio.gather(*asking)
        return Answered(tuple(outcomes), self.runtime.taken(name))

    async def _ask(self, name: str, number: int, asker: int, prompt: str, sample: int) -> Outcome:
        _AT.set((name, number))
        cell = Cell()
        profile, options = self.setup.askers[asker]
        try:
            orchestrator = await asyncio.to_thread(self._find, profile)
            await ProfileAsker(orchestrator, options, self._share, "").prepare(prompt, sample).ask(cell)
        except VictorError as error:
            if cell.status == "pending":
                cell.fail(error)
            return Outcome(cell, error)
        return Outcome(cell, None)


class GuestRuntime(Runtime):
    """A runtime that writes nothing here, and asks in the mode of the map."""

    def __init__(self, setup: Setup, report: Callable[[Any], None]) -> None:
        super().__init__(setup.settings)
        if (forced := forced_mode()) not in {None, setup.mode}:
            raise ConfigError(
                f"A worker has VICTOR_MODE={forced}, and the map is of mode {setup.mode}. Unset it there."
            )
        self.by_hand = ByHand(mode=setup.mode)
        if setup.answers is not None:
            self.answers.use(setup.answers)
        self.budget.amounts = None  # the driver holds what may be spent
        self.__dict__["ledger"] = Reporter(self.kernel, setup, report)
        self._taken: dict[str, list[tuple[bytes, StoredAnswer]]] = {}

    def cache_for(self, mode: Mode) -> AnswerCache | None:  # noqa: ARG002 - as it is called
        """Return what takes answers for the driver's store, and has none."""
        return cast("AnswerCache", Taker(self._taken))

    def taken(self, name: str) -> tuple[tuple[bytes, StoredAnswer], ...]:
        """Return the answers of a partition for the driver's store."""
        return tuple(self._taken.pop(name, ()))


class Reporter(Ledger):
    """A ledger that sends its rows to the driver, and keeps none."""

    def __init__(self, kernel: str, setup: Setup, report: Callable[[Any], None]) -> None:
        super().__init__(None, kernel=kernel)
        self._report, self._history = report, setup.history

    def start(self, row: Row) -> None:
        """Report an attempt that begins."""
        self._report([*_AT.get(), encode(row, kernel="", status="running")[1:]])

    def finish(self, row: Row) -> None:
        """Report how an attempt ended."""
        self._report([*_AT.get(), encode(row, kernel="", status=row.status)[1:]])

    def input_history(self, model: str, mode: Mode) -> tuple[int, int, int, float]:  # noqa: ARG002 - as it is called
        """Return what the driver's ledger knows of a model: a worst case is there what it is here."""
        return self._history.get(model, (0, 0, 0, 0.0))


class Taker:
    """A store of answers on a worker: it finds none, and keeps those of each partition for the driver."""

    path: Final = None

    def __init__(self, taken: dict[str, list[tuple[bytes, StoredAnswer]]]) -> None:
        self._taken = taken

    def find(self, keys: Sequence[bytes]) -> Future[dict[bytes, StoredAnswer]]:  # noqa: ARG002 - as it is called
        """Return a future of no answer."""
        found: Future[dict[bytes, StoredAnswer]] = Future()
        found.set_result({})
        return found

    def put(self, key: bytes, answer: StoredAnswer) -> None:
        """Keep an answer."""
        self._taken.setdefault(_AT.get()[0], []).append((key, answer))

    def written(self) -> Future[None]:
        """Return a future that is done."""
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def news(self) -> tuple[str, ...]:
        """Return nothing to say."""
        return ()
