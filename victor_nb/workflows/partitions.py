"""A partition of a map, asked on a worker of a cluster, with a runtime that writes nothing there.

A worker asks the driver for leave before each request, and the driver writes the row of the request before it answers.
So the driver's ledger lacks no request, whatever ends: a worker, the scheduler, or a map that is stopped. If a worker
is lost, another one of its machine reads in its `Journal` which attempts it had sent; the others get the status
`refused` in the driver's ledger, and cost nothing. Where none can read it, all that had leave counts as sent. Such rows
have the status `interrupted` and no known cost, as those have whose answer is lost.
"""

from __future__ import annotations

import asyncio
import pkgutil
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast
from uuid import uuid4

from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.rows import encode
from victor_nb.calls.orchestrator import AgentOrchestrator
from victor_nb.calls.quota import Share
from victor_nb.config.environment import ByHand, forced_mode
from victor_nb.errors import ClosedError, ConfigError, VictorError
from victor_nb.runtime import Runtime
from victor_nb.wire.clock import CLOCK, Clock
from victor_nb.workflows.askers import ProfileAsker
from victor_nb.workflows.journal import Journal, read
from victor_nb.workflows.outcomes import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from victor_nb.accounting.cache import AnswerCache, StoredAnswer
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import CallOptions
    from victor_nb.config.settings import Settings
    from victor_nb.values import Mode

_GATHER: Final = 0.004  # seconds in which messages to the driver come together
_AGAIN: Final = 0.3  # seconds after which a partition asks again for leave to begin: the first answer may be lost
_LOOK: Final = 0.5  # seconds after which a worker looks whether its partition is still wanted
_PATIENCE: Final = 60.0  # seconds that a driver that is there is waited for
_SILENT: Final = f"The kernel that began the map has not answered for {_PATIENCE:g} s: nothing was sent."
_UNSENT: Final = "not sent: it ended before it had leave"


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
class Fault:
    """Why something cannot be pickled, or not be loaded where it arrives."""

    why: str


@dataclass(frozen=True)
class Packed:
    """A setup as bytes: pickled once for all partitions, and loaded by the workers only, which say what they lack.

    Attributes:
        map: Names the map, as in the setup.
    """

    map: str
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """What came of a row on a worker.

    Attributes:
        until: When, in seconds of a simulated map.
    """

    cell: Cell
    error: VictorError | None
    until: float = 0.0


@dataclass(frozen=True)
class Answered:
    """What comes back of a partition.

    Attributes:
        outcomes: What came of each row, pickled: a tuple of `Outcome`, empty where the map was stopped. dask waits for
            ever for a result that cannot be pickled or loaded.
        stored: The answers for the store, by the digest of what was asked.
        ended: All attempts that have ended: the number of the row, and the cells of the ledger.
    """

    outcomes: bytes | Fault
    ended: tuple[tuple[int, Sequence[Any]], ...]
    stored: tuple[tuple[bytes, StoredAnswer], ...]


@dataclass(frozen=True)
class Lost:
    """What is known of a partition with which another worker had begun, which was lost.

    Attributes:
        sent: The numbers of the attempts that it had sent; None where that is unknown.
    """

    sent: frozenset[int] | None


Terms: TypeAlias = tuple[Decimal | None, tuple[datetime, float] | None]
"""What the rows of a partition may cost together, in USD (None: nothing limits it), and when they begin, by the clock
of a simulated map: origin, and seconds since then."""
_AT: ContextVar[tuple[str, int]] = ContextVar("victor_nb_row")
"""The partition and the number of the row that a task asks."""
_NUMBER: ContextVar[int] = ContextVar("victor_nb_attempt")
"""The number of the attempt that it makes."""
_guests: Final[dict[tuple[str, str], Guest]] = {}
_lock: Final = threading.Lock()


def distributed() -> Any:  # noqa: ANN401 - a module that only the users of a cluster have
    """Return the module `distributed`.

    Raises:
        ImportError: It is not installed.
    """
    return pkgutil.resolve_name("distributed")


def ask_rows(
    setup: Packed, name: str, rows: Sequence[tuple[int, str, int]], terms: Terms
) -> Answered | Lost | Fault | None:
    """Ask rows on a worker; return what is known of them where another one had begun with them, which was lost.

    Args:
        setup: What all partitions of the map have in common.
        name: The partition.
        rows: Asker, prompt and sample of each.
        terms: What they may cost together, and when they begin.
    """
    dask = distributed()
    here, client = dask.get_worker(), dask.get_client()
    with _lock:
        place = setup.map, here.address
        if place not in _guests:
            found = loaded(setup.content)
            if isinstance(found, Fault):
                return found
            _guests[place] = Guest(found, here, client)
        guest = _guests[place]
    return guest.ask(name, rows, terms)


def dumped(value: object) -> bytes | Fault:
    """Return a value pickled as dask does it, functions and classes of a notebook by value; or why it cannot be."""
    try:
        return pkgutil.resolve_name("cloudpickle").dumps(value)  # distributed brings it
    except BaseException as error:  # noqa: BLE001 - of the value's own methods
        return Fault(f"{type(error).__name__}: {error}")


def loaded(content: bytes) -> Any:  # noqa: ANN401 - what was pickled
    """Return what was pickled on the other side of a map, or a `Fault`: why it cannot be loaded.

    It is trusted as all that comes through the cluster: dask loads each message and result of it in the same way.
    """
    try:
        return distributed().protocol.pickle.loads(content)
    except BaseException as error:  # noqa: BLE001 - of the modules that it imports
        return Fault(f"{type(error).__name__}: {error}")


def forget(name: str) -> None:
    """Close what a worker has kept of a map."""
    with _lock:
        gone = [_guests.pop(place) for place in list(_guests) if place[0] == name]
    for guest in gone:
        guest.client.unsubscribe_topic(guest.id)
        threading.Thread(target=guest.runtime.close, name="victor-close", daemon=True).start()


class Guest:
    """What asks for a map on a worker.

    Args:
        setup: What all partitions of the map have in common.
        worker: The `distributed.Worker`.
        client: That of the worker, which hears the driver's answers.

    Attributes:
        id: What the driver knows it by, and the topic of the driver's answers.
    """

    def __init__(self, setup: Setup, worker: Any, client: Any) -> None:  # noqa: ANN401 - as above
        self.setup, self.id = setup, f"{setup.map}-{uuid4().hex}"
        self._worker = worker
        self.reporter = Reporter(setup, lambda messages: worker.log_event(setup.map, [self.id, messages]))
        self.runtime = GuestRuntime(setup, self.reporter)
        self._orchestrators: dict[str, AgentOrchestrator] = {}
        self._opening = threading.Lock()
        concurrency, rpm, tpm = setup.limits
        self._share = Share(concurrency=concurrency, rpm=rpm, tpm=tpm)
        self._jobs: dict[str, Any] = {}
        self.client = client
        client.subscribe_topic(self.id, self.hear)

    def hear(self, event: tuple[float, Any]) -> None:
        """Take what the driver says: the messages that it grants, and the partitions that are to stop."""
        granted, stopped = event[1]
        self.reporter.grant(granted)
        for name in stopped:
            self._stop(name)

    def _stop(self, name: str) -> None:
        self.reporter.refuse(name)
        if (job := self._jobs.get(name)) is not None:
            job.cancel()

    def _look(self, name: str) -> None:
        """Stop a partition that the cluster no longer wants: its driver has ended, or has closed its client."""
        task = self._worker.state.tasks.get(name)
        if (task is None or task.state == "cancelled") and not self.reporter.is_refused(name):
            self._stop(name)

    def ask(self, name: str, rows: Sequence[tuple[int, str, int]], terms: Terms) -> Answered | Lost | None:
        """Ask the rows of a partition, unless another worker had begun with it; None: the driver does not want it."""
        if name in self._jobs:
            return None
        if not self.reporter.begin(name, self._look):
            return Lost(read(name))
        with self.reporter.journal(name):
            return self._ask_begun(name, rows, *terms)

    def _ask_begun(
        self,
        name: str,
        rows: Sequence[tuple[int, str, int]],
        allowance: Decimal | None,
        began: tuple[datetime, float] | None,
    ) -> Answered | None:
        budget = self.runtime.budget
        with budget.limit(allowance, name="this map") if allowance is not None else nullcontext():
            job = self._jobs[name] = self.runtime.loop.start(lambda: self._ask_all(name, rows, began))
        if self.reporter.is_refused(name):  # since it began
            job.cancel()
        while not job.wait(_LOOK):
            self._look(name)
            self.reporter.give_up()
        self._jobs[name] = None  # what comes of it is not kept
        if isinstance(job.error, asyncio.CancelledError):  # before its first step
            return None
        return job.result()

    def _find(self, profile: str) -> AgentOrchestrator:
        """Return the orchestrator of a profile; the first call makes it."""
        with self._opening:
            if profile not in self._orchestrators:
                settings, wanted = self.setup.settings, self.setup.settings.profile(profile)
                made = AgentOrchestrator(wanted, settings=settings, runtime=self.runtime, find=self._find)
                self._orchestrators[profile] = made
            return self._orchestrators[profile]

    async def _ask_all(
        self, name: str, rows: Sequence[tuple[int, str, int]], began: tuple[datetime, float] | None
    ) -> Answered:
        clock = None if began is None else Clock(*began)
        for profile, _ in self.setup.askers:
            with suppress(VictorError):  # each row says what is wrong with it
                await asyncio.to_thread(self._find, profile)  # before: so they come to its places in their order
        asking = [asyncio.create_task(self._ask(name, number, clock, *row)) for number, row in enumerate(rows)]
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*asking, return_exceptions=True)
        whole = not any(task.cancelled() for task in asking)
        outcomes = tuple(task.result() for task in asking) if whole else ()
        return Answered(dumped(outcomes), self.reporter.ended(name), self.runtime.taken(name))

    async def _ask(self, name: str, number: int, base: Clock | None, asker: int, prompt: str, sample: int) -> Outcome:
        _AT.set((name, number))
        clock = None if base is None else base.fork()
        CLOCK.set(clock)
        cell, error = Cell(), None
        profile, options = self.setup.askers[asker]
        try:
            orchestrator = self._orchestrators.get(profile) or await asyncio.to_thread(self._find, profile)
            await ProfileAsker(orchestrator, options, self._share, "").prepare(prompt, sample).ask(cell)
        except VictorError as raised:
            error = raised
            if cell.status == "pending":
                cell.fail(error)
        return Outcome(cell, error, 0.0 if clock is None else clock.now)


class GuestRuntime(Runtime):
    """A runtime that writes nothing here, and asks in the mode of the map."""

    def __init__(self, setup: Setup, reporter: Reporter) -> None:
        super().__init__(setup.settings)
        if (forced := forced_mode()) not in {None, setup.mode}:
            raise ConfigError(
                f"A worker has VICTOR_MODE={forced}, and the map is of mode {setup.mode}. Unset it there."
            )
        self.by_hand = ByHand(mode=setup.mode)
        if setup.answers is not None:
            self.answers.use(setup.answers)
        if setup.mode == "simulate":
            self.answers.sending = reporter.sending
        else:
            self.wire.sending = reporter.sending
        self.budget.amounts = None  # the driver holds what may be spent
        self.__dict__["ledger"] = reporter
        self._taken: dict[str, list[tuple[bytes, StoredAnswer]]] = {}

    def cache_for(self, mode: Mode) -> AnswerCache | None:  # noqa: ARG002 - as it is called
        """Return what takes answers for the driver's store, and has none."""
        return cast("AnswerCache", Taker(self._taken))

    def taken(self, name: str) -> tuple[tuple[bytes, StoredAnswer], ...]:
        """Return the answers of a partition for the driver's store."""
        return tuple(self._taken.pop(name, ()))


class Reporter(Ledger):
    """A ledger that sends its rows to the driver, and keeps them until their partition ends.

    Args:
        setup: What all partitions of the map have in common.
        report: Sends messages to the driver, of which it answers those with a number: (number, partition, row, cells).
    """

    asks_leave: ClassVar[bool] = True

    def __init__(self, setup: Setup, report: Callable[[Any], None]) -> None:
        super().__init__(None, kernel="")
        self._report, self._history = report, setup.history
        self._mutex = threading.Lock()
        self._unsent: list[tuple[int | None, str, int, Sequence[Any]]] = []
        self._number = 0
        self._waiting: dict[int, tuple[Future[None], float]] = {}  # and since when
        self._numbers: dict[tuple[str, int], int] = {}
        self._journals: dict[str, Journal] = {}
        self._refused: set[str] = set()
        self._ended: dict[str, list[tuple[int, Sequence[Any]]]] = {}

    # --- what the driver is asked for ---

    def begin(self, name: str, look: Callable[[str], None]) -> bool:
        """Ask for leave to begin with a partition, and return whether it is given.

        Args:
            name: The partition.
            look: Refuses it where it is no longer wanted.

        Raises:
            ClosedError: The driver does not answer.
        """
        number, leave = self._expect()
        until = time.monotonic() + _PATIENCE
        while not leave.done():
            look(name)
            if self.is_refused(name):
                return False
            if time.monotonic() > until:
                raise ClosedError(_SILENT)
            self._report([(number, name, -1, ())])
            with suppress(TimeoutError):
                leave.result(_AGAIN)
        return True

    @contextmanager
    def journal(self, name: str) -> Generator[None]:
        """Write down what is sent of a partition until the block ends."""
        self._journals[name] = journal = Journal(name)
        try:
            yield
        finally:
            del self._journals[name]
            journal.close()

    def sending(self) -> None:
        """Write down that the attempt of this context is sent now."""
        if (journal := self._journals.get(_AT.get()[0])) is not None:
            journal.add(_NUMBER.get())

    def start(self, row: Row) -> Future[None] | None:
        """Ask for leave to make an attempt; return what is done once the driver has its row."""
        number, leave = self._expect()
        self._numbers[row.call_id, row.attempt] = number
        _NUMBER.set(number)
        self._add(number, encode(row, kernel="", status="running")[1:])
        return leave

    def finish(self, row: Row) -> None:
        """Report how an attempt ended; one that had no leave was not sent, and costs nothing."""
        with self._mutex:
            waited = self._waiting.pop(self._numbers.pop((row.call_id, row.attempt)), None)
        if waited is not None and row.cost is None:
            row = replace(row, cost=Decimal(0), billed=Decimal(0), held=None, error=row.error or _UNSENT)
        cells = encode(row, kernel="", status=row.status)[1:]
        name, number = _AT.get()
        self._ended.setdefault(name, []).append((number, cells))
        self._add(None, cells)

    def ended(self, name: str) -> tuple[tuple[int, Sequence[Any]], ...]:
        """Return the attempts of a partition that have ended, once."""
        return tuple(self._ended.pop(name, ()))

    def _expect(self) -> tuple[int, Future[None]]:
        with self._mutex:
            self._number += 1
            leave: Future[None] = Future()
            self._waiting[self._number] = leave, time.monotonic()
            return self._number, leave

    def _add(self, number: int | None, cells: Sequence[Any]) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_later(_GATHER, self._send)
        self._unsent.append((number, *_AT.get(), cells))

    def _send(self) -> None:
        messages, self._unsent = self._unsent, []
        self._report(messages)

    # --- what it answers ---

    def grant(self, numbers: Sequence[int]) -> None:
        """Give leave to what waits for it."""
        with self._mutex:
            found = [self._waiting.pop(number, None) for number in numbers]
        for leave, _ in filter(None, found):
            with suppress(InvalidStateError):  # cancelled
                leave.set_result(None)

    def give_up(self) -> None:
        """End what has waited too long for leave: the driver has not answered."""
        with self._mutex:
            late = [leave for leave, since in self._waiting.values() if time.monotonic() > since + _PATIENCE]
        for leave in late:
            with suppress(InvalidStateError):  # ended before
                leave.set_exception(ClosedError(_SILENT))

    def refuse(self, name: str) -> None:
        """Give a partition no more leave."""
        self._refused.add(name)

    def is_refused(self, name: str) -> bool:
        """Return whether a partition is to stop."""
        return name in self._refused

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
