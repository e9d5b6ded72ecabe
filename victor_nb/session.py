"""The session: the one object that a kernel has one of. Settings, pool, ledger, budget, prices, mode, loop."""

from __future__ import annotations

import atexit
import os
import pkgutil
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, cast
from uuid import uuid4
from weakref import WeakSet

from victor_nb.accounting.budget import Budget, Limit, to_usd
from victor_nb.config.settings import Settings, check_mode
from victor_nb.errors import ClosedError, ConfigError
from victor_nb.loop import BackgroundLoop
from victor_nb.providers.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from victor_nb.accounting.budget import Calibration
    from victor_nb.accounting.ledger import Ledger
    from victor_nb.accounting.pricing import PriceBook
    from victor_nb.calls.agent import Chat
    from victor_nb.values import Mode, Reply
    from victor_nb.wire.transport import Wire
    from victor_nb.workflows.fan_out import Replies
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.runs import StrategyRun

_POOL: Final = "victor_nb.workflows.orchestrator_pool:OrchestratorPool"
_NOTEBOOK: Final = "this notebook"
_ERRORS_KEPT: Final = 20


class Client(Protocol):
    """What a session stops and closes."""

    def cancel(self) -> int:
        """Stop every call under way, and return how many there were."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class Background(Protocol):
    """What goes on while other cells run."""

    def done(self) -> bool:
        """Tell whether it has ended."""
        ...

    def cancel(self) -> None:
        """Stop it."""
        ...


class Session:
    """What all agents and pools of a kernel share.

    Attributes:
        kernel: This kernel's id, in every row that it writes.
        last: The last reply, fan-out or strategy run, or what had come of one that was stopped.
        jobs: What `bg=true` has started, oldest first.
        errors: The last exceptions, newest last.
        clients: Every orchestrator that is open.
        chats: The named memories of `%%victor chat=name`.
        unheated: Models that refused a temperature, as (provider, model); they are not sent one again.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.kernel = uuid4().hex
        self.last: Reply | Replies | StrategyRun | None = None
        self.errors: deque[BaseException] = deque(maxlen=_ERRORS_KEPT)
        self.jobs: list[Background] = []
        self.chats: dict[str, Chat] = {}
        self.unheated: set[tuple[str, str]] = set()
        self.clients: WeakSet[Client] = WeakSet()
        self.loop = BackgroundLoop()
        self._lock = threading.RLock()
        self._settings = settings
        self._pool: OrchestratorPool | None = None
        self._mode: Mode | None = None
        self.closed = False

    @property
    def settings(self) -> Settings:
        """What `profiles.yaml` and the environment say; read at the first use.

        Raises:
            ConfigError: They cannot be used.
        """
        with self._lock:
            if self._settings is None:
                self._settings = Settings()
            return self._settings

    @property
    def pool(self) -> OrchestratorPool:
        """The orchestrators of this kernel."""
        with self._lock:
            if self.closed:
                raise ClosedError("This session is closed. Call victor_nb.session() for a new one.")
            if self._pool is None or self._pool.closed:
                self._pool = cast("type[OrchestratorPool]", pkgutil.resolve_name(_POOL))(self.settings, self)
            return self._pool

    @cached_property
    def wire(self) -> Wire:
        """What all clients share below their protocols."""
        from victor_nb.wire.transport import Wire  # noqa: PLC0415 - httpx2 is not needed to import us

        return Wire()

    @cached_property
    def ledger(self) -> Ledger:
        """Every attempt as a row."""
        from victor_nb.accounting.ledger import Ledger  # noqa: PLC0415 - SQLite is not needed to import us

        return Ledger(self.settings.ledger_path, kernel=self.kernel)

    @cached_property
    def prices(self) -> PriceBook:
        """What models cost."""
        from victor_nb.accounting.pricing import PriceBook  # noqa: PLC0415 - the list is slow to import

        return PriceBook()

    @cached_property
    def calibration(self) -> Calibration:
        """How many tokens a text will be."""
        from victor_nb.accounting.budget import Calibration  # noqa: PLC0415 - with the ledger

        return Calibration(self.ledger)

    @cached_property
    def budget(self) -> Budget:
        """The limits that every call of this kernel must fit."""
        limits = self.settings.budget
        found: list[Limit] = []
        if limits.day is not None:
            found.append(Limit("the day", limits.day, look_elsewhere=self._spent_today_elsewhere))
        if limits.notebook is not None:
            found.append(Limit(_NOTEBOOK, limits.notebook))
        return Budget(tuple(found))

    def set_budget(self, usd: Decimal | str | float | None) -> None:
        """Limit what this kernel may spend in all, from its start, in USD; None lifts the limit.

        Raises:
            ConfigError: It is not an amount of money.
        """
        rest = tuple(limit for limit in self.budget.limits if limit.name != _NOTEBOOK)
        if usd is None:
            self.budget.set(rest)
            return
        spent = self.ledger.total(scope="kernel").cost
        self.budget.set((*rest, Limit(_NOTEBOOK, to_usd(usd), spent=spent)))

    def _spent_today_elsewhere(self) -> Decimal:
        """Return what other kernels were billed since midnight UTC, in USD."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        everywhere, here = (self.ledger.total(scope=scope, since=midnight).billed for scope in ("all", "kernel"))
        return everywhere - here

    # --- the mode ---

    @property
    def mode(self) -> Mode:
        """How calls are answered. `VICTOR_MODE` beats everything; then comes what was set here."""
        if self._mode is None or self.settings.mode_forced:
            return self.settings.mode
        return self._mode

    def set_mode(self, mode: str) -> None:
        """Answer in another mode from now on.

        Raises:
            ConfigError: There is no such mode, or the environment fixes another.
        """
        wanted = check_mode(mode)
        if self.settings.mode_forced and self.settings.mode != wanted:
            raise ConfigError(
                f"VICTOR_MODE={self.settings.mode} in the environment beats this. Unset it, then restart."
            )
        if wanted != self.mode:
            self._mode = wanted
            # Clients are made for a mode: the next call makes new ones.
            self.pool.clear_cache()

    # --- life ---

    def adopt(self, settings: Settings) -> None:
        """Take these settings as the kernel's, unless it has some already."""
        with self._lock:
            if self._settings is None:
                self._settings = settings

    def use(self, settings: Settings) -> None:
        """Go on with other settings: profiles and limits are those, the ledger and the kernel's rows stay."""
        with self._lock:
            old, self._settings = self._pool, settings
            self._pool = None
            self.__dict__.pop("budget", None)
        if old is not None:
            old.shutdown()

    def refresh(self) -> None:
        """Read `profiles.yaml` again if it has changed."""
        if self._settings is not None and self._settings.stale:
            self.use(self._settings.again())

    def warm_up(self, profiles: Iterable[str] | None = None) -> None:
        """Import what the configured profiles need, so that the first call does not pay for it. It blocks."""
        settings = self.settings
        names = settings.profiles if profiles is None else profiles
        for provider in sorted({settings.profile(name).provider for name in names}):
            spec_of(provider).load_client()
        for module in ("tenacity", _POOL):
            pkgutil.resolve_name(module)
        self.prices.find("")
        if self.mode == "live":
            self.wire.warm_up()

    def cancel(self) -> int:
        """Stop every call of every pool and agent here, and return how many there were; what had come is kept."""
        # Counted first: what a job stops has ended by the time that one looks.
        stopped = sum(client.cancel() for client in list(self.clients))
        for job in self.jobs:
            job.cancel()
        return stopped

    def close(self) -> None:
        """End everything: clients closed, rows written, thread ended. Twice is fine."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        if self._pool is not None:
            self._pool.shutdown()
        for client in list(self.clients):
            client.close()
        self.loop.close()
        ledger = cast("Ledger | None", self.__dict__.get("ledger"))
        if ledger is not None:
            ledger.close()

    def __repr__(self) -> str:
        return f"Session(mode={self.mode!r}, settings={self.settings!r})"


_current: list[Session] = []
_guard = threading.Lock()


def session() -> Session:
    """Return this kernel's session; the first call makes it."""
    with _guard:
        if not _current or _current[0].closed:
            _current[:] = [Session()]
        return _current[0]


def reset() -> None:
    """Close this kernel's session and forget it; the next `session()` is a new one."""
    with _guard:
        old = _current.pop() if _current else None
    if old is not None:
        old.close()


class _Door(ModuleType):
    """This module, callable: `victor_nb.session` names both the module and the function, whichever came first."""

    def __call__(self) -> Session:
        return session()


def _after_fork() -> None:
    """Start anew in a forked child: the threads of the parent's session are not in it, and its lock may be held."""
    global _guard  # noqa: PLW0603 - a lock that was held in the parent would never be let go here
    _guard = threading.Lock()
    for old in _current:
        old.closed = True
        old.loop.forget()
    _current.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
sys.modules[__name__].__class__ = _Door
atexit.register(reset)
