"""Limits in USD: the worst case of a call is held before it is sent, and replaced by its real cost afterwards."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Final

from victor_nb.errors import BudgetError, ConfigError
from victor_nb.money import EXACT
from victor_nb.providers.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from victor_nb.accounting.ledger import Ledger
    from victor_nb.accounting.pricing import Tariff
    from victor_nb.values import ChatRequest, Mode


_ZERO: Final = Decimal(0)
_FRESH: Final = 2.0
"""Seconds for which what other kernels have spent is not read again."""
_ASSUMED_OUTPUT: Final = 8192
"""Tokens that an answer may take at worst where nothing limits it."""
DEFAULT_BYTES: Final = 2.0
"""Bytes per token where a model has no history. English prose has about four; code and Chinese come near two."""
_MARGIN: Final = 1.25
"""How far a single text may lie above its model's mean."""
_OVERHEAD: Final = 16
"""Tokens that a request takes beside its texts: roles, separators."""


@dataclass(slots=True)
class Limit:
    """One limit, with what it has seen, in USD: `spent` is settled, `held` under way, `elsewhere` other kernels'."""

    name: str
    amount: Decimal
    spent: Decimal = _ZERO
    held: Decimal = _ZERO
    elsewhere: Decimal = _ZERO
    look_elsewhere: Callable[[], Decimal] | None = field(default=None, repr=False)
    _looked: float = field(default=float("-inf"), repr=False)

    @property
    def left(self) -> Decimal:
        """USD that a further call may cost at the most."""
        return self.amount - self.spent - self.held - self.elsewhere

    def refresh(self) -> None:
        """Read what other kernels have spent, in USD, at most every two seconds. It blocks: not on an event loop."""
        now = time.monotonic()
        if self.look_elsewhere is not None and now - self._looked > _FRESH:
            self._looked = now
            self.elsewhere = self.look_elsewhere()


@dataclass(slots=True)
class Hold:
    """The worst case of one call, set aside in every limit that applies to it."""

    limits: tuple[Limit, ...]
    amount: Decimal
    lock: threading.Lock
    open: bool = True

    def settle(self, cost: Decimal | None) -> None:
        """Replace the worst case by the real cost in USD, once; an unknown cost counts as the worst case."""
        with self.lock:
            if not self.open:
                return
            self.open = False
            for limit in self.limits:
                limit.held -= self.amount
                limit.spent += self.amount if cost is None else cost


_nested: ContextVar[tuple[Limit, ...]] = ContextVar("victor_nb_limits", default=())


class Budget:
    """The limits of a kernel. A call must fit all that apply, or it is not sent."""

    def __init__(self, limits: tuple[Limit, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._limits = limits

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that apply here, the widest first."""
        return (*self._limits, *_nested.get())

    def set(self, limits: tuple[Limit, ...]) -> None:
        """Replace the kernel's own limits."""
        with self._lock:
            self._limits = limits

    @contextmanager
    def limit(self, usd: Decimal | str | float, *, name: str = "this block") -> Generator[Limit]:
        """Limit what is asked inside a `with` block; blocks may nest.

        Raises:
            ConfigError: `usd` is not an amount of money.
        """
        limit = Limit(name, to_usd(usd))
        token = _nested.set((*_nested.get(), limit))
        try:
            yield limit
        finally:
            _nested.reset(token)

    def hold(self, worst: Decimal | None, *, limits: tuple[Limit, ...], who: str) -> Hold:
        """Set the worst case of a call aside.

        Args:
            worst: USD; None when the model has no known price.
            limits: The limits that applied where the call was made.
            who: The profile that asks, for the message.

        Raises:
            BudgetError: It does not fit, or its price is unknown.
        """
        if worst is None and limits:
            raise BudgetError(
                f"{who}: no price is known for its model, so no budget can hold it. "
                "Give the profile prices, or allow_unpriced: true."
            )
        amount = worst or _ZERO
        with self._lock:
            for limit in limits if amount else ():
                if amount > limit.left:
                    left = f"USD {max(limit.left, _ZERO):.4f} left of {limit.amount:.4f}"
                    raise BudgetError(
                        f"{who}: at worst USD {amount:.4f}, and the budget of {limit.name} has {left}. "
                        "Nothing was sent. Lower max_tokens or raise the budget."
                    )
            for limit in limits:
                limit.held += amount
        return Hold(limits, amount, self._lock)


def to_usd(amount: Decimal | str | float) -> Decimal:
    """Return an amount of money as it was written.

    Raises:
        ConfigError: It is not a number of 0 or more.
    """
    try:
        usd = Decimal(str(amount).strip().removeprefix("USD").strip())
    except InvalidOperation:
        usd = Decimal(-1)
    if not usd.is_finite() or usd < 0:
        raise ConfigError(f"A budget is an amount in USD such as 0.50, not {amount!r}.")
    return usd


def input_bytes(request: ChatRequest) -> int:
    """Return the UTF-8 bytes of a request's texts, which its input tokens are estimated from."""
    size = len((request.system or "").encode())
    for turn in request.messages:
        size += len(turn.content.encode())
    return size


def worst_case(request: ChatRequest, tariff: Tariff, *, mode: Mode, calibration: Calibration) -> Decimal | None:
    """Return what a request costs at most, in USD: every token of input, and as much output as is allowed.

    None is a model whose price is unknown, unless its profile has `allow_unpriced`.
    """
    rates = tariff.rates()
    if rates is None:
        return _ZERO if tariff.allow_unpriced else None
    spec = spec_of(tariff.provider)
    tokens_in = calibration.at_worst(tariff.model, mode, size=input_bytes(request))
    tokens_out = (spec.max_output(request) or _ASSUMED_OUTPUT) * spec.answers(request)
    with localcontext(EXACT):
        return (tokens_in * rates.input + tokens_out * rates.output) / 1_000_000


class Calibration:
    """Bytes per token, by model and mode: the ledger's history, then what this kernel adds to it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, Mode], tuple[int, int]] = {}

    def load(self, model: str, mode: Mode) -> None:
        """Read a model's history from the ledger, once. It blocks: not on an event loop."""
        with self._lock:
            if (model, mode) not in self._seen:
                self._seen[model, mode] = self._ledger.input_history(model, mode)

    def learn(self, model: str, mode: Mode, *, size: int, tokens: int) -> None:
        """Add a reported input to the history: `size` bytes were `tokens` tokens."""
        with self._lock:
            if (known := self._seen.get((model, mode))) is not None and size and tokens:
                self._seen[model, mode] = known[0] + size, known[1] + tokens

    def bytes_per_token(self, model: str, mode: Mode) -> float | None:
        """Return the model's mean; None where it has no history."""
        size, tokens = self._seen.get((model, mode), (0, 0))
        return size / tokens if tokens and size else None

    def expected(self, model: str, mode: Mode, *, size: int) -> int:
        """Return how many tokens a text of so many bytes will probably be."""
        return round(size / (self.bytes_per_token(model, mode) or 2 * DEFAULT_BYTES))

    def at_worst(self, model: str, mode: Mode, *, size: int) -> int:
        """Return how many tokens a request with so many bytes of text may be: what a budget has to hold."""
        known = self.bytes_per_token(model, mode)
        return _OVERHEAD + round(size * _MARGIN / known if known else size / DEFAULT_BYTES)
