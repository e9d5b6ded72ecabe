"""Limits in USD: the worst case of an attempt is held before it is sent, and replaced by its real cost afterwards.

A limit counts what this kernel has spent and holds, whether it has an amount or not, so that an amount may be set,
moved or lifted at any time. Limits that other processes spend under too are shared through the ledger's file: a kernel
claims a part of what is left in one transaction, hands it out from memory, and gives back what it did not need. What a
dead kernel had claimed counts as spent.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from victor_nb.errors import BudgetError
from victor_nb.money import to_usd
from victor_nb.values import BOOKS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from victor_nb.accounting.ledger import Ledger
    from victor_nb.values import Book, Mode

UNLIMITED: Final = Decimal("Infinity")
_ZERO: Final = Decimal(0)
_FRESH: Final = 2.0
"""Seconds for which a display does not read again what other kernels have claimed."""
_IDLE: Final = 1.0
"""Seconds without a call after which a kernel gives back what it has claimed and not spent."""
_LEASE: Final = 8
"""A claim takes this part of what is left beyond what is needed, so that not every call asks the file."""


# --- limits ---


@dataclass(slots=True)
class Account:
    """What is counted under one limit in one book, in USD.

    Attributes:
        spent: Settled in this kernel; answers of unknown cost count at their worst case.
        held: Under way in this kernel, at worst.
        elsewhere: Claimed by other kernels, when last looked at.
        inherited: A floor of `elsewhere`: what the parent had spent and held when this process was forked.
        claimed: What this kernel may use of a shared limit without asking the file again.
    """

    spent: Decimal = _ZERO
    held: Decimal = _ZERO
    elsewhere: Decimal = _ZERO
    inherited: Decimal = _ZERO
    claimed: Decimal = _ZERO

    @property
    def used(self) -> Decimal:
        """What this kernel has spent and holds."""
        return self.spent + self.held


@dataclass(slots=True, eq=False)
class Limit:
    """One limit. What it shows is of the book that the kernel's mode writes: simulated calls use up no live budget.

    Attributes:
        key: Its name in the ledger's file, which no other limit has.
        name: What messages call it.
        home: The kernel that it is of.
        amount: USD that may be spent; infinite where it only counts.
        since: The start of the day that it is for, else None.
        shared: Whether other processes spend under it too.
    """

    key: str
    name: str
    home: Home = field(repr=False)
    amount: Decimal = UNLIMITED
    since: datetime | None = None
    shared: bool = False
    accounts: dict[Book, Account] = field(
        default_factory=lambda: {"live": Account(), "simulated": Account()}, repr=False
    )

    @property
    def shown(self) -> Account:
        """What is counted in the book that the kernel's mode writes."""
        return self.accounts[BOOKS[self.home.mode]]

    @property
    def spent(self) -> Decimal:
        """USD that this kernel has spent; answers of unknown cost count at their worst case."""
        return self.shown.spent

    @property
    def held(self) -> Decimal:
        """USD that the calls under way in this kernel may cost."""
        return self.shown.held

    @property
    def left(self) -> Decimal:
        """USD that a further call may cost at the most; infinite where there is no amount."""
        return self.room(self.shown)

    def room(self, account: Account) -> Decimal:
        """Return what a further call in that account's book may cost at the most, in USD."""
        return self.amount - account.used - account.elsewhere

    def separate(self, home: Home) -> None:
        """Count for a forked child: what the parent has spent and holds is elsewhere now."""
        self.shared, self.home = True, home
        for book, old in self.accounts.items():
            before = old.elsewhere + old.used
            self.accounts[book] = Account(elsewhere=before, inherited=before)


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit at one moment, in USD; what other kernels have spent or set aside counts as spent."""

    name: str
    amount: Decimal
    spent: Decimal
    held: Decimal

    @property
    def left(self) -> Decimal:
        """USD that a further call may cost at the most."""
        return max(_ZERO, self.amount - self.spent - self.held)


@dataclass(slots=True, eq=False)
class Hold:
    """The worst case of one attempt, set aside in every limit that applies to it.

    Attributes:
        limits: Those that applied where the call was made.
        book: The book of the call's mode.
        worst: Computes the worst case in USD; None where it is unknown.
        amount: The worst case; None as long as no limit with an amount has asked for it.
    """

    limits: tuple[Limit, ...]
    book: Book
    worst: Callable[[], Decimal | None]
    amount: Decimal | None = None
    counted: bool = False
    open: bool = True

    @property
    def accounts(self) -> list[Account]:
        """What it is counted in."""
        return [limit.accounts[self.book] for limit in self.limits]

    def at_worst(self) -> Decimal:
        """Return the worst case; 0 where it is unknown."""
        if self.amount is None:
            self.amount = self.worst() or _ZERO
        return self.amount

    def count(self) -> None:
        """Add the worst case to what is held."""
        for account in self.accounts:
            account.held += self.at_worst()
        self.counted = True


_blocks: ContextVar[tuple[Limit, ...] | None] = ContextVar("victor_nb_limits", default=None)
"""The limits of the `with` blocks around the caller; None where none were inherited, as in a new thread."""


class Amounts(Protocol):
    """The limits of `profiles.yaml`, in USD; None where there is none."""

    @property
    def notebook(self) -> Decimal | None:
        """That of a kernel's life."""
        ...

    @property
    def day(self) -> Decimal | None:
        """That of a day of all kernels."""
        ...


class Given(Protocol):
    """What a user set in a cell: the notebook's limit in USD, or `off`, and its key; see `environment.ByHand`."""

    @property
    def budget(self) -> str | None:
        """The limit; None where it is that of profiles.yaml."""
        ...

    @property
    def notebook(self) -> str:
        """The key, "" where the limit is this kernel's own."""
        ...


class Home(Protocol):
    """The kernel whose budget it is: its runtime."""

    kernel: str

    @property
    def by_hand(self) -> Given:
        """What a user set in a cell."""
        ...

    @property
    def mode(self) -> Mode:
        """The kernel's mode."""
        ...


class Budget:
    """The limits of a kernel. An attempt must fit all that apply, or it is not sent.

    Args:
        home: The kernel.
        ledger: Gives the ledger, through whose file limits are shared.
        clock: Gives the seconds since 1970; a day ends at the midnight of this machine's zone.

    Attributes:
        amounts: The limits of `profiles.yaml`, once it has been read.
        uncounted: Attempts under way that no limit with an amount applied to; one that is set meanwhile counts them.
    """

    def __init__(self, home: Home, *, ledger: Callable[[], Ledger], clock: Callable[[], float] = time.time) -> None:
        self._home, self._ledger, self._clock = home, ledger, clock
        self._notebook = Limit(f"notebook:{home.kernel}", "this notebook", home)
        self._days: dict[date, Limit] = {}
        self._open_blocks: list[tuple[int, Limit]] = []
        self._lock = threading.Lock()
        self.amounts: Amounts | None = None
        self.uncounted: set[Hold] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._claiming = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._looked = float("-inf")

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits with an amount that apply to the caller, the widest first."""
        return tuple(limit for limit in self.applying() if limit.amount.is_finite())

    def applying(self) -> tuple[Limit, ...]:
        """Return all that counts what the caller spends: the day, the notebook, the blocks around the caller."""
        amounts, by_hand = self.amounts, self._home.by_hand
        day = date.fromtimestamp(self._clock())  # noqa: DTZ012 - the day here
        today = self._days.get(day) or self._begin(day)
        today.amount = UNLIMITED if amounts is None or amounts.day is None else amounts.day
        if by_hand.notebook:
            self._notebook.key = by_hand.notebook  # that of the kernel whose calls these are too
        notebook = None if amounts is None else amounts.notebook
        if by_hand.budget is not None:
            notebook = None if by_hand.budget == "off" else Decimal(by_hand.budget)
        self._notebook.amount = UNLIMITED if notebook is None else notebook
        self._notebook.shared = self._notebook.shared or bool(by_hand.notebook)
        around = _blocks.get()
        if around is None:
            around = self._elsewhere() if self._open_blocks else ()
        return today, self._notebook, *around

    def _begin(self, day: date) -> Limit:
        midnight = datetime(day.year, day.month, day.day).astimezone()
        return self._days.setdefault(day, Limit(f"day:{day}", "the day", self._home, since=midnight, shared=True))

    def _elsewhere(self) -> tuple[Limit, ...]:
        """Return the limits of all blocks that other threads have open: a thread that inherits none is in them."""
        here = threading.get_ident()
        return tuple(limit for thread, limit in list(self._open_blocks) if thread != here)

    @contextmanager
    def limit(self, usd: Decimal | str | float, *, name: str = "this block") -> Generator[Limit]:
        """Limit what is asked inside a `with` block; blocks may nest, and a task keeps those in which it was made.

        A thread that inherits nothing, such as one of a ThreadPoolExecutor, is held to every block that is open.

        Raises:
            ConfigError: `usd` is not an amount of money.
        """
        limit = Limit(f"block:{uuid4().hex}", name, self._home, to_usd(usd))
        opened = (threading.get_ident(), limit)
        with self.pinned(limit):
            self._open_blocks.append(opened)
            try:
                yield limit
            finally:
                self._open_blocks.remove(opened)

    @contextmanager
    def pinned(self, *more: Limit) -> Generator[None]:
        """Hold threads and tasks that copy this context to the limits of the blocks around it, and to further ones."""
        own = _blocks.get()
        token = _blocks.set((*(self._elsewhere() if own is None else own), *more))
        try:
            yield
        finally:
            _blocks.reset(token)

    def states(self) -> tuple[LimitState, ...]:
        """Return the limits that apply to the caller, as they stand. It may read the ledger: not on an event loop."""
        limits, now = self.limits, time.monotonic()
        if now - self._looked > _FRESH:
            self._looked = now
            for limit in limits:
                if limit.shared and self._ledger().path is not None:
                    _, elsewhere = self._ledger().claim(limit, BOOKS[self._home.mode], needed=None).result()
                    limit.shown.elsewhere = max(elsewhere, limit.shown.inherited)
        return tuple(
            LimitState(limit.name, limit.amount, limit.spent + limit.shown.elsewhere, limit.held) for limit in limits
        )

    # --- holds ---

    async def hold(self, hold: Hold, who: str, advice: str = "Lower max_tokens or raise the budget.") -> Hold:
        """Set the worst case of an attempt aside, waiting for calls under way if what they give back may be enough.

        On the background loop only.

        Args:
            hold: The attempt.
            who: The profile that asks, for the message.
            advice: The end of the message.

        Raises:
            BudgetError: It does not fit, or its price is unknown.
        """
        looked = False
        while True:
            with self._lock:
                tight = self._tight(hold, who)
                if tight is None and not self._unclaimed(hold):
                    hold.count()
                    self._wake()
                    return hold
                freed = self._freed(hold, tight) if tight is not None else None
            if freed is not None:
                await self._wait(freed)
            elif tight is None or (tight.shared and not looked):
                looked = tight is not None
                await self._claim(hold)
            else:
                self._wake()
                worst, left = hold.at_worst(), max(tight.room(tight.accounts[hold.book]), _ZERO)
                enough = f"{worst:.4f}" != f"{left:.4f}" and Decimal(f"{tight.amount:.4f}") == tight.amount
                places = 4 if enough else 9
                raise BudgetError(
                    f"{who}: at worst USD {worst:.{places}f}, and the budget of {tight.name} has USD {left:.{places}f} "
                    f"left of {tight.amount:.{places}f}. Nothing was sent. {advice}"
                )

    def settle(self, hold: Hold, cost: Decimal | None) -> None:
        """Replace a worst case by the real cost in USD, once; an unknown cost counts as the worst case."""
        with self._lock:
            if not hold.open:
                return
            hold.open = False
            self.uncounted.discard(hold)
            claimed = False
            for limit in hold.limits:
                account = limit.accounts[hold.book]
                account.spent += hold.at_worst() if cost is None else cost
                account.held -= hold.at_worst() if hold.counted else _ZERO
                claimed = claimed or account.claimed > account.spent + account.held
        if self._waiting:
            self._wake()
        if claimed and self._timer is None:
            with suppress(RuntimeError):  # no loop runs here
                self._timer = asyncio.get_running_loop().call_later(_IDLE, self._on_idle)

    def _tight(self, hold: Hold, who: str) -> Limit | None:
        """Return the first limit that an attempt does not fit.

        Raises:
            BudgetError: Its price is unknown.
        """
        while self.uncounted:  # sent before any limit had an amount
            self.uncounted.pop().count()
        hold.amount = hold.worst()  # anew: what is known of the model's texts may have grown
        if hold.amount is None:
            raise BudgetError(
                f"{who}: no price is known for its model or its tier, so no budget can hold it. "
                "Give the profile prices, or allow_unpriced: true."
            )
        return next((limit for limit in hold.limits if 0 < hold.amount > limit.room(limit.accounts[hold.book])), None)

    def _freed(self, hold: Hold, tight: Limit) -> asyncio.Future[None] | None:
        """Return what ends when a call under way has ended; None where not even all of them would give back enough."""
        account = tight.accounts[hold.book]
        if not account.held or hold.at_worst() > tight.room(account) + account.held:
            return None
        freed = asyncio.get_running_loop().create_future()
        self._waiting.append(freed)
        return freed

    async def _wait(self, freed: asyncio.Future[None]) -> None:
        try:
            await freed
        except asyncio.CancelledError:
            if freed in self._waiting:
                self._waiting.remove(freed)
            else:
                self._wake()  # the turn was this one's
            raise

    def _wake(self) -> None:
        """Let the attempt that has waited longest look again; it wakes the next one when it has its place."""
        with suppress(IndexError, RuntimeError):  # none waits, or its loop has ended
            freed = self._waiting.popleft()
            freed.get_loop().call_soon_threadsafe(_set, freed)

    # --- limits that other processes share ---

    def _unclaimed(self, hold: Hold) -> list[Limit]:
        """Return the shared limits of which this kernel has not claimed enough for an attempt."""
        if not hold.amount or self._ledger().path is None:
            return []
        return [
            limit
            for limit, account in zip(hold.limits, hold.accounts, strict=True)
            if limit.shared and limit.amount.is_finite() and account.used + hold.amount > account.claimed
        ]

    async def _claim(self, hold: Hold) -> None:
        """Claim enough of each shared limit for an attempt, or see what others have claimed; one attempt at a time."""
        async with self._claiming:
            for limit in self._unclaimed(hold):
                account = limit.accounts[hold.book]
                answer = self._ledger().claim(limit, hold.book, needed=account.used + hold.at_worst(), lease=_LEASE)
                granted, elsewhere = await asyncio.wrap_future(answer)
                account.claimed = max(account.claimed, granted)
                account.elsewhere = max(elsewhere, account.inherited)

    def _on_idle(self) -> None:
        """Give back what is claimed and idle; a claim under way is not, and would be undone in the file."""
        self._timer = None
        held = (account.held for limit in self._all() for account in limit.accounts.values())
        if self._claiming.locked() or any(held):
            self._timer = asyncio.get_running_loop().call_later(_IDLE, self._on_idle)
        else:
            self.give_back()

    def give_back(self) -> None:
        """Reduce what this kernel has claimed of shared limits to what it uses, without waiting for the file."""
        with self._lock:
            for limit in self._all():
                for book, account in limit.accounts.items():
                    if account.claimed > account.used:
                        account.claimed = account.used
                        self._ledger().set_claim(limit, book, account.used)

    def _all(self) -> list[Limit]:
        return [*self._days.values(), self._notebook, *(limit for _, limit in self._open_blocks)]

    def share(self) -> None:
        """Share the limits of this kernel with a process that is forked from it."""
        with self._lock:
            for limit in self._all():
                self._share(limit)

    def share_notebook(self) -> str:
        """Share the notebook's limit with processes that this one starts or sends work to; return its key."""
        with self._lock:
            self._share(self._notebook)
        return self._notebook.key

    def _share(self, limit: Limit) -> None:
        """Claim what is used of a limit: as long as it was this kernel's own, the file had nothing of it."""
        limit.shared = True
        for book, account in limit.accounts.items():
            if account.used > account.claimed and self._ledger().path is not None:
                account.claimed = account.used
                self._ledger().set_claim(limit, book, account.used, least=True)

    def inherit(self, parent: Budget) -> None:
        """Take over the limits of the parent in a forked child, which spends under them too."""
        for limit in parent._all():
            limit.separate(self._home)
        self.amounts = parent.amounts
        self._notebook, self._days, self._open_blocks = parent._notebook, parent._days, parent._open_blocks


def _set(freed: asyncio.Future[None]) -> None:
    if not freed.done():
        freed.set_result(None)
