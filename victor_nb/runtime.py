"""The runtime: what all calls of a kernel share. Settings, mode, loop, wire, ledger, prices, budget, clients."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import warnings
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast
from uuid import uuid4
from weakref import WeakSet

from victor_nb.accounting.budget import Budget
from victor_nb.accounting.worst_case import Calibration
from victor_nb.config.environment import (
    ByHand,
    bequeath,
    check_mode,
    forced_mode,
    inherited,
    sim_start,
    this_process,
)
from victor_nb.config.secret import Redactor
from victor_nb.config.settings import Settings
from victor_nb.errors import ConfigError, TapeError, VictorWarning
from victor_nb.fork import Step, at_fork, in_child, keep_for_ever, left, take
from victor_nb.loop import BackgroundLoop
from victor_nb.money import to_usd
from victor_nb.providers.catalog import host_of
from victor_nb.providers.params import asked_tier
from victor_nb.values import TAPED, Usage
from victor_nb.wire.clock import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextlib import ExitStack
    from decimal import Decimal

    from victor_nb.accounting.cache import AnswerCache
    from victor_nb.accounting.ledger import Ledger
    from victor_nb.accounting.pricing import PriceBook, Tariff
    from victor_nb.accounting.rows import Row
    from victor_nb.config.answers import Answers
    from victor_nb.config.profiles import Profile
    from victor_nb.loop import Job
    from victor_nb.values import Mode
    from victor_nb.wire.recorder import Tapes
    from victor_nb.wire.transport import Wire

_ERRORS_KEPT: Final = 20
_CLOSING: Final = 2.0  # seconds that clients have to close their connections
Value = TypeVar("Value")


class Client(Protocol):
    """An open orchestrator, as the runtime counts its calls and closes it."""

    @property
    def under_way(self) -> int:
        """Calls that have begun and not ended."""
        ...

    def start_closing(self) -> Job[None] | None:
        """Take no further call and close the connections, without waiting."""
        ...

    def renew(self) -> None:
        """Begin anew in a forked child: with locks of its own, and no connection yet."""
        ...


class Pool(Protocol):
    """The kernel's pool, as the runtime empties and closes it."""

    closed: bool

    def clear_cache(self, profile: str | None = None) -> None:
        """Close the clients of one profile, or of all."""
        ...

    def shutdown(self) -> None:
        """Close the pool."""
        ...

    def renew(self) -> None:
        """Begin anew in a forked child, with a lock of its own."""
        ...


class Owner(Protocol):
    """The owner of a runtime: the kernel's session."""

    @property
    def runtime(self) -> Runtime:
        """The runtime that it holds."""
        ...


class _Once(Generic[Value]):
    """A property that is made at its first use, and once only where two threads ask for it first."""

    def __init__(self, make: Callable[[Runtime], Value]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, runtime: Runtime, owner: type | None = None) -> Value:
        with runtime.lock:
            made = runtime.__dict__
            name = self._make.__name__  # where the next reader finds it, without coming here
            if name not in made:
                made[name] = self._make(runtime)
            return made[name]


class Runtime:
    """The state that all agents, pools and workflows of a kernel share.

    Attributes:
        kernel: This kernel's id, in every row that it writes.
        last: The result of the last call, fan-out or strategy that a user made, or what had come of one that failed.
        errors: The last exceptions, newest last.
        clients: Every orchestrator that is open.
        pool: The kernel's pool, where one has been made; see `workflows.orchestrator_pool.kernel_pool`.
        owner: The session above, where there is one; see `kernel.session_of`.
        by_hand: What a user set in a cell: here, or in the process that started this one or sent it work.
        learned: What hosts have refused, by (host, model, name of the feature), and what they are sent instead of it
            from then on; None: nothing.
        quotas: When each host may be asked, by (host, digest of the key); see `calls.quota`.
        timeline: When what is simulated happens.
        budget: The limits that every call must fit.
        calibration: The estimate of a text's tokens.
        lock: Guards settings, pool, owner, and what is made at its first use.
        closed: Whether `close` was called.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.last: Any = None
        self.errors: deque[BaseException] = deque(maxlen=_ERRORS_KEPT)
        self.clients: WeakSet[Client] = WeakSet()
        self.pool: Pool | None = None
        self.owner: Owner | None = None
        self.learned: dict[tuple[str, str, str], str | None] = {}
        self.timeline = Timeline(sim_start)
        self.closed = False
        self.by_hand = self._inherited = inherited()
        self._begin()
        self._settings = settings
        self._unasked: Settings | None = None  # those that a warm-up has read, while no one else has
        self._warmer: int | None = None  # the thread that warms up
        if settings is not None:
            self.budget.amounts = settings.budget
        _runtimes.add(self)
        at_fork(Step.LIMITS, self.share)
        at_fork(Step.LOCKS, self.rest)
        in_child(self.renew)

    def _begin(self) -> None:
        """Take an id and locks of this process's own, and a loop that has not started."""
        self.kernel = uuid4().hex
        self.loop = BackgroundLoop()
        self.lock = threading.RLock()
        self.quotas: dict[tuple[str, str], object] = {}
        self.budget = Budget(self, ledger=lambda: self.ledger)
        self.calibration = Calibration(lambda: self.ledger)
        self._caches: dict[Mode, AnswerCache] = {}
        self._sources: object = None

    def renew(self) -> None:
        """Begin anew in a forked child, where threads, sockets and files are the parent's: what was set stays set."""
        if self.closed:
            self.lock = threading.RLock()
            return
        for name in ("wire", "ledger"):
            keep_for_ever(self.__dict__.pop(name, None))
        keep_for_ever(self._caches)
        budget, self._inherited = self.budget, self.by_hand
        self._begin()
        self.budget.inherit(budget)
        self.timeline = Timeline(sim_start)
        if (given := self.__dict__.get("answers")) is not None:
            cast("Answers", given).renew()
        if self.pool is not None:
            self.pool.renew()
        for client in list(self.clients):
            client.renew()

    def share(self, _held: ExitStack, deadline: float) -> None:
        """Share the limits with a child that is to be forked, and have that written; see `at_fork`."""
        if not self.closed:
            self.budget.share()
            if "ledger" in vars(self):
                self.ledger.flush(timeout=left(deadline))

    def rest(self, held: ExitStack, deadline: float) -> None:
        """Keep other threads from making what is shared, and from loading certificates; see `at_fork`."""
        if not self.closed and take(self.lock, held, deadline):
            wire = cast("Wire | None", self.__dict__.get("wire"))
            if wire is not None:
                take(wire.loading, held, deadline)

    @property
    def settings(self) -> Settings:
        """The settings of `profiles.yaml` and the environment, read at the first use.

        Raises:
            ConfigError: They cannot be used.
        """
        with self.lock:
            if self._settings is None:
                self.adopt(Settings())
            if threading.get_ident() != self._warmer:
                self._unasked = None
            return cast("Settings", self._settings)

    @_Once
    def wire(self) -> Wire:
        """What all clients share below their protocols."""
        from victor_nb.wire.transport import Wire  # noqa: PLC0415 - httpx2 is not needed to import us

        return Wire()

    @_Once
    def answers(self) -> Answers:
        """The answers of the user's own that simulate mode gives."""
        from victor_nb.config.answers import Answers  # noqa: PLC0415 - pydantic is slow to import

        return Answers()

    @_Once
    def ledger(self) -> Ledger:
        """Every attempt as a row."""
        from victor_nb.accounting.ledger import Ledger  # noqa: PLC0415 - SQLite is not needed to import us

        if (processes := sys.modules.get("multiprocessing.util")) is not None:
            # A worker process ends by `os._exit`, which leaves `atexit` out, and would lose the last rows.
            processes.Finalize(None, _at_exit, exitpriority=0)
        return Ledger(self.settings.ledger_path, kernel=self.kernel)

    def cache_for(self, mode: Mode) -> AnswerCache | None:
        """Return the store of a mode's answers, which begins empty unless it is live; None: with VICTOR_CACHE=off."""
        if not self.settings.keeps_answers:
            return None
        with self.lock:
            if mode not in self._caches:
                from victor_nb.accounting.cache import AnswerCache  # noqa: PLC0415 - most calls need none

                # What is simulated is never in a file: no other kernel could tell it from answers. What is recorded or
                # replayed depends on no file but the tape.
                self._caches[mode] = AnswerCache(self.settings.cache_path if mode == "live" else None)
            if mode == "simulate" and (sources := self.answers.sources(self.settings.answer_files)) != self._sources:
                if self._sources is not None:
                    self._caches[mode].prune()  # what others have answered is no answer of these
                self._sources = sources
            return self._caches[mode]

    @_Once
    def prices(self) -> PriceBook:
        """The list prices of models."""
        from victor_nb.accounting.pricing import PriceBook  # noqa: PLC0415 - the list is slow to import

        return PriceBook()

    def set_budget(self, usd: Decimal | str | float | None) -> None:
        """Limit what this kernel may spend in all, from its start, in USD; None lifts the limit.

        Raises:
            ConfigError: It is not an amount of money.
        """
        amount = "off" if usd is None else str(to_usd(usd))
        self._set_by_hand(replace(self.by_hand, budget=amount, notebook=self.budget.share_notebook()))
        self.budget.applying()  # the amount holds from now on, also for calls that wait

    # --- prices ---

    def tariff(self, profile: Profile, base_url: str) -> Tariff:
        """Return what a profile that is asked at an address pays for its tokens."""
        from victor_nb.accounting.pricing import Tariff  # noqa: PLC0415 - with the prices

        other = profile.priced_as
        return Tariff(
            profile.name,
            (other and other.provider) or profile.provider,
            other.model if other else profile.model,
            self.prices,
            base_url=None if other else base_url,
            asked=profile.provider if other else None,
            override=profile.prices,
            allow_unpriced=profile.allow_unpriced,
            tier=asked_tier(profile.params, profile.tier and profile.tier.partition(",")[0]),
        )

    def lowered(self, profile: Profile) -> str:
        """Return that `priced_as` lowers a price which is known, and both prices; else ""."""
        other = profile.priced_as
        if other is None or profile.prices is not None:
            return ""
        url = self.settings.base_url(profile)
        listed = profile.model_copy(update={"priced_as": None})
        own, used = self.tariff(listed, url).rates(), self.tariff(profile, url).rates()
        if own is None or used is None or (used.input >= own.input and used.output >= own.output):
            return ""
        prices = f"{used.input:f} / {used.output:f} instead of {own.input:f} / {own.output:f}"
        return f"priced_as {other.model} counts {profile.model} at less than its list price: USD {prices} per M tokens"

    def refuses(self, feature: str, profile: Profile) -> bool:
        """Return whether the host of a profile has refused a feature of its model before."""
        return bool(self.learned) and (host_of(self.settings.base_url(profile)), profile.model, feature) in self.learned

    def cache_saved(self, row: Row) -> Decimal | None:
        """Return what the provider's cache saved an attempt of the ledger, in USD (see `Tariff.cache_saved`)."""
        from victor_nb.accounting.pricing import Tariff  # noqa: PLC0415 - with the prices

        profile = self.settings.find(row.profile)
        if profile is not None and (profile.provider, profile.model) == (row.provider, row.model):
            tariff = self.tariff(profile, self.settings.base_url(profile))
        else:
            host = f"https://{row.host}" if row.host else None
            tariff = Tariff(row.profile, row.provider, row.model, self.prices, base_url=host)
        return tariff.cache_saved(row.usage, model_served=row.model_served, tier=row.service_tier)

    def find_tariff(self, name: str, settings: Settings) -> Tariff | None:
        """Return what a profile, else a model, of that name pays; None when it is neither."""
        from victor_nb.accounting.pricing import Tariff  # noqa: PLC0415 - with the prices

        if (profile := settings.find(name)) is not None:
            return self.tariff(profile, settings.base_url(profile))
        provider = self.prices.find(name)
        return None if provider is None else Tariff(name, provider, name, self.prices)

    # --- the mode ---

    @property
    def mode(self) -> Mode:
        """How the next call is answered. `VICTOR_MODE` beats everything; then comes what was set here."""
        return forced_mode() or self.by_hand.mode or "live"

    def set_mode(self, mode: str) -> None:
        """Answer in another mode from the next call on; what is under way goes on in its own.

        Raises:
            ConfigError: There is no such mode, or the environment fixes another.
        """
        wanted, forced = check_mode(mode), forced_mode()
        if (tapes := self.tapes) is not None:  # a tape that was recorded can be replayed, or replayed once more
            tapes.save()
        self.rewind()
        if forced in TAPED:
            return  # a notebook's own mode does not hold while it is recorded or replayed
        if forced is not None and forced != wanted:
            raise ConfigError(f"VICTOR_MODE={forced} in the environment beats this. Unset it first.")
        self._set_by_hand(replace(self.by_hand, mode=wanted))

    def _set_by_hand(self, given: ByHand) -> None:
        """Keep what a user set in a cell; the processes that a kernel starts from now on inherit it."""
        self.by_hand = replace(given, at=time.time(), process=this_process())
        if self in _current:
            bequeath(self.by_hand)

    @property
    def tapes(self) -> Tapes | None:
        """The tapes that are recorded or replayed here; None where none has been yet."""
        wire = cast("Wire | None", self.__dict__.get("wire"))
        return cast("Tapes | None", vars(wire).get("tapes")) if wire is not None else None

    def rewind(self) -> None:
        """Begin tapes anew: every call that is made again gets its answer again, or is recorded again."""
        if (tapes := self.tapes) is not None:
            tapes.rewind()
        for mode in TAPED:
            if (kept := self._caches.get(mode)) is not None:
                kept.prune()

    # --- life ---

    def __reduce__(self) -> tuple[object, ...]:
        """Let the kernel's runtime go to another process: there it is the kernel's, with the mode and budget of here.

        Raises:
            ConfigError: It is the runtime of a session of the user's own.
        """
        if self not in _current:
            fact = "A session of your own, and what belongs to it, cannot be sent to another process."
            raise ConfigError(f"{fact} Make it there, or send what session() returns.")
        return _arrive, (self.kernel, replace(self.by_hand, notebook=self.budget.share_notebook()))

    def adopt(self, settings: Settings) -> None:
        """Set the kernel's settings, unless it has some already that were asked for."""
        with self.lock:
            if self._settings is None or self._settings is self._unasked is not settings:
                self.use(settings)

    @contextmanager
    def warming(self) -> Generator[None]:
        """Let this thread read the usual settings without making them the kernel's: the first to be asked for are."""
        self._warmer = threading.get_ident()
        try:
            with self.lock:
                if self._settings is None:
                    self._unasked = Settings()
                    self.use(self._unasked)
            yield
        finally:
            self._warmer = None

    def use(self, settings: Settings) -> None:
        """Replace profiles and limits by those of other settings; what was spent stays spent, and calls go on."""
        with self.lock:
            self.pool, self._settings, self.budget.amounts = None, settings, settings.budget

    def redacted(self, text: str) -> str:
        """Return a text without any key, even while the settings cannot be read."""
        try:
            return self.settings.redactor().clean(text)
        except ConfigError:
            return Redactor(()).clean(text)

    def refresh(self) -> None:
        """Read `profiles.yaml` again if it has changed."""
        if self._settings is not None and self._settings.stale:
            again = self._settings.again()
            self._unasked = again if self._settings is self._unasked else None
            self.use(again)

    def cancel(self) -> int:
        """Stop all work under way, and return how many calls of it were; see `Session.cancel`."""
        calls = sum(client.under_way for client in list(self.clients))
        if not self.loop.busy:  # what was stopped before is on its way out
            return 0
        self.loop.cancel()
        return calls

    def close_clients(self, clients: Iterable[Client]) -> None:
        """Close clients, all at once: none takes a call while another one closes. It waits two seconds at the most."""
        closing = [client.start_closing() for client in clients]
        until = time.monotonic() + _CLOSING
        for job in filter(None, closing if not self.loop.running_here else ()):
            job.wait(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """End everything: clients closed, rows written, thread ended. Twice is fine."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
        if self in _current:
            bequeath(self._inherited)
        self.close_clients(list(self.clients))
        if self.pool is not None:
            self.pool.shutdown()
        self.loop.close()
        self.budget.give_back()
        ledger = cast("Ledger | None", self.__dict__.get("ledger"))
        if ledger is not None:
            ledger.close()
        for answers in self._caches.values():
            answers.close()
        try:
            if (tapes := self.tapes) is not None:
                tapes.save()
        except TapeError as error:
            warnings.warn(f"{error} What was recorded is in a journal beside it.", VictorWarning, stacklevel=2)


_runtimes: Final[WeakSet[Runtime]] = WeakSet()
_current: list[Runtime] = []
_guard = threading.Lock()


def current() -> Runtime:
    """Return this kernel's runtime; the first call makes it."""
    with _guard:
        if not _current or _current[0].closed:
            _current[:] = [Runtime()]
        return _current[0]


def opened() -> Runtime | None:
    """Return this kernel's runtime, if there is one already."""
    with _guard:
        return _current[0] if _current else None


def _arrive(kernel: str, given: ByHand) -> Runtime:
    """Return this kernel's runtime where another one's is unpickled: what was set there by hand holds, unless older."""
    runtime = current()
    if kernel != runtime.kernel and given.at >= runtime.by_hand.at:
        runtime.by_hand = given
    return runtime


def runtime_of(container: Owner | Runtime | None) -> Runtime:
    """Return the runtime that a user's `container=` means: a session's, itself, or (None) the kernel's."""
    if container is None:
        return current()
    return container if isinstance(container, Runtime) else container.runtime


def reset() -> None:
    """Close this kernel's runtime and forget it; the next `current()` is a new one."""
    for runtime in _current:
        runtime.close()


def _at_exit() -> None:
    """Close every runtime, those of a user's own sessions too: a loop that is collected later waits for its thread."""
    for runtime in list(_runtimes):
        runtime.close()


def _renew() -> None:
    """Let a forked child have locks of its own: one that was held in the parent would never be let go here."""
    global _guard  # noqa: PLW0603 - see above
    _guard = threading.Lock()
    for each in vars(Settings).values():
        if isinstance(each, cached_property):
            vars(each)["lock"] = threading.RLock()  # Python 3.11 has one there


in_child(_renew)
atexit.register(_at_exit)


def estimate_cost(profile_or_model: str, usage: Usage) -> Decimal | None:
    """Return the list price of a usage in USD.

    Args:
        profile_or_model: A profile of `profiles.yaml`, else a model of anthropic, openai or google.
        usage: The tokens of one call; a sum of several may fall into a more expensive tier than any of them did.

    Returns:
        USD, or None where it is not known: the name is neither (with a `VictorWarning`), or the model has no price.

    Raises:
        ConfigError: The name is no text, or the usage no `Usage`.
    """
    if type(profile_or_model) is not str or type(usage) is not Usage:
        raise ConfigError("estimate_cost takes the name of a profile or a model, and a Usage such as reply.usage.")
    runtime = current()
    tariff = runtime.find_tariff(profile_or_model, runtime.settings)
    if tariff is None:
        text = f"{profile_or_model!r} is neither a profile nor a model with a known price; its cost is None."
        warnings.warn(text, VictorWarning, stacklevel=2)
        return None
    return tariff.price(usage).cost
