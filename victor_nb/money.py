"""USD: exact decimals in the program, integer nano-dollars on disk, sums that admit what is unknown, and their text."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self

from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NANOS_PER_USD: Final = 1_000_000_000
"""The smallest amount that is kept: a thousandth of what one token of the cheapest hosted model costs."""

EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Our own arithmetic: a notebook that lowers the precision of its own decimals must not round its bill."""

_PLACES: Final = 4
"""Decimals of an amount: a hundredth of a cent."""
_SMALL: Final = Decimal("0.0001")
"""Below it, four decimals would show less than one digit."""
_ZERO: Final = Decimal(0)
_NANO: Final = Decimal("1e-9")
_NANOS: Final = Decimal(NANOS_PER_USD)
_NANO_PLACES: Final = 9
"""Decimals with which every sum is exact."""
_LARGEST: Final = Decimal((1 << 63) - 1).scaleb(-9)


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


def quantise(amount: Decimal) -> Decimal | None:
    """Round to nano-dollars, half to even; None for what is no amount of money or more than the ledger can hold."""
    if not amount.is_finite() or amount.copy_abs() > _LARGEST:
        return None
    return _plain(amount.quantize(_NANO, context=EXACT))


def to_nanos(amount: Decimal | None) -> int | None:
    """Return the integer nano-dollars that stand for `amount` on disk; None stays None."""
    if amount is None or not amount.is_finite() or amount.copy_abs() > _LARGEST:
        return None
    return int(EXACT.to_integral_value(EXACT.multiply(amount, _NANOS)))


def from_nanos(nanos: int) -> Decimal:
    """Return the USD that `nanos` stand for; the inverse of `to_nanos`."""
    return _plain(Decimal(nanos).scaleb(-9, context=EXACT))


def usd(amount: Decimal | None, *, places: int | None = None) -> str:
    """Write an amount: `USD 0.0041`, two digits of what is smaller, `unpriced` for None; no dollar sign: it is math."""
    if amount is None:
        return "unpriced"
    if places is None:
        places = _PLACES if amount == 0 or abs(amount) >= _SMALL else 1 - amount.adjusted()
    return f"USD {amount.quantize(Decimal(1).scaleb(-places), context=EXACT):f}"


def _places(amount: Decimal) -> int:
    return _PLACES if amount == 0 or abs(amount) >= _SMALL else 1 - amount.adjusted()


def at_least(known: Decimal, unknown: int, *, places: int | None = None) -> str:
    """Write a sum of which parts may be unknown: `USD 0.0123`, `>= USD 0.0123 (2 unpriced)`, `2 unpriced`."""
    if not unknown:
        return usd(known, places=places)
    count = "unpriced" if unknown == 1 and not known else f"{unknown:,} unpriced"
    return f">= {usd(known, places=places)} ({count})" if known else count


def column(totals: Sequence[Total], *, adds_up: bool = True) -> list[str]:
    """Write totals below each other with the same number of decimals: the most that any of them takes by itself.

    Args:
        totals: What to write.
        adds_up: Whether the last is the sum of the others, and has to be that as they are written, too.
    """
    amounts = [total.cost for total in totals]
    places = max(map(_places, amounts), default=_PLACES)
    while adds_up and places < _NANO_PLACES and not _adds_up(amounts, Decimal(1).scaleb(-places)):
        places += 1
    return [total.text(places=places) for total in totals]


def _adds_up(amounts: Sequence[Decimal], unit: Decimal) -> bool:
    *parts, whole = (amount.quantize(unit, context=EXACT) for amount in amounts)
    return reduce(EXACT.add, parts, _ZERO) == whole


class Paid(Protocol):
    """Anything with a list price and a bill: a row of the ledger, or a reply."""

    @property
    def cost(self) -> Decimal | None:
        """List price in USD; None when unknown."""
        ...

    @property
    def billed(self) -> Decimal | None:
        """The amount billed, in USD; None when unknown."""
        ...

    @property
    def free(self) -> bool:
        """Whether it was answered, at a price of 0."""
        ...


@dataclass(frozen=True, slots=True)
class Total:
    """List price and bill of several attempts or replies, in USD: the sums of what is known, and how many are not.

    Attributes:
        cost: List price of all whose price is known; a lower bound where `unpriced` is not 0.
        billed: What was really paid, as far as it is known.
        unpriced: How many have no known list price; attempts under way are among them.
        unbilled: For how many it is not known what was paid.
        free: How many were answered at a price of 0, as by a model on one's own machine.
    """

    cost: Decimal = _ZERO
    billed: Decimal = _ZERO
    unpriced: int = 0
    unbilled: int = 0
    free: int = 0

    @classmethod
    def of(cls, parts: Iterable[Paid]) -> Total:
        """Add rows or replies up."""
        cost = billed = _ZERO
        unpriced = unbilled = free = 0
        for part in parts:
            if part.cost is None:
                unpriced += 1
            elif part.cost:
                cost = EXACT.add(cost, part.cost)
            else:
                free += part.free
            if part.billed is None:
                unbilled += 1
            else:
                billed = EXACT.add(billed, part.billed)
        return Total(cost, billed, unpriced, unbilled, free)

    @property
    def exact_cost(self) -> Decimal | None:
        """The list price; None when that of any part is unknown."""
        return None if self.unpriced else self.cost

    @property
    def exact_billed(self) -> Decimal | None:
        """The amount billed; None when that is unknown for any part."""
        return None if self.unbilled else self.billed

    def __add__(self, other: Self) -> Self:
        """Add the same kind of total."""
        pairs = [(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)]
        sums: list[Any] = [EXACT.add(*pair) if isinstance(pair[0], Decimal) else sum(pair) for pair in pairs]
        return type(self)(*sums)

    def __radd__(self, other: int) -> Total:
        """Let `sum(totals)` start at its 0."""
        return self if other == 0 else NotImplemented

    def text(self, *, places: int | None = None) -> str:
        """Write the list price, with so many decimals: `free` where all that was answered is."""
        if self.free and not self.cost and not self.unpriced:
            return "free"
        return at_least(self.cost, self.unpriced, places=places)

    def __str__(self) -> str:
        """Write the list price."""
        return self.text()


def add(amounts: Iterable[Decimal | None]) -> tuple[Decimal, int]:
    """Return the sum of the known amounts, and how many are unknown."""
    seen = list(amounts)
    known = [amount for amount in seen if amount is not None]
    return reduce(EXACT.add, known, _ZERO), len(seen) - len(known)


def exact_sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum of the amounts; None when any is unknown."""
    known, unknown = add(amounts)
    return None if unknown else known


# --- beside a baseline ---

Baseline = Literal["same_calls", "one_call"]


@dataclass(frozen=True, slots=True)
class Savings:
    """A run's cost beside a baseline's, by list prices in USD; None where a part of either is unknown.

    Attributes:
        baseline: What is compared with, in words.
        profile: The profile, or the model, that the baseline asks.
        saved: `baseline_cost - cost`; negative where the run was more expensive.
        ratio: `1 - cost / baseline_cost`: 0.74 is 74 % cheaper, -0.35 is 35 % more expensive.
        estimated: Whether the baseline's tokens are a guess.
        unpriced: Attempts whose cost, here or there, is not known.
        attempts: Attempts of the run.
        complete: Whether the run came to its end.
    """

    baseline: str
    kind: Baseline
    profile: str
    cost: Decimal | None
    baseline_cost: Decimal | None
    estimated: bool
    unpriced: int
    attempts: int
    complete: bool

    @property
    def saved(self) -> Decimal | None:
        """USD that the run was cheaper by."""
        if self.cost is None or self.baseline_cost is None:
            return None
        return self.baseline_cost - self.cost

    @property
    def ratio(self) -> float | None:
        """The share of the baseline's cost that the run saved."""
        if self.saved is None or not self.baseline_cost:
            return None
        return float(self.saved / self.baseline_cost)

    @property
    def change(self) -> str:
        """The cost relative to the baseline's, in words: `74 % cheaper`, `35 % more expensive`, or `equal in cost`."""
        if self.ratio is None:
            return "the baseline is free"
        if round(self.ratio, 2) == 0:
            return "equal in cost"
        return f"{abs(self.ratio):.0%} {'cheaper' if self.ratio > 0 else 'more expensive'}".replace("%", " %")

    @property
    def places(self) -> int | None:
        """The decimals that both amounts need as they are written, so that a reader's division gives `change`."""
        if self.cost is None or not self.baseline_cost:
            return None
        least = max(_places(self.cost), _places(self.baseline_cost))
        for places in range(least, _NANO_PLACES):
            unit = Decimal(1).scaleb(-places)
            mine, theirs = (each.quantize(unit, context=EXACT) for each in (self.cost, self.baseline_cost))
            if replace(self, cost=mine, baseline_cost=theirs).change == self.change:
                return places
        return max(least, _NANO_PLACES)

    def __str__(self) -> str:
        """Return the comparison in one sentence."""
        if self.cost is None or self.baseline_cost is None:
            unknown = f"{self.unpriced} of {self.attempts} attempts have no known price"
            why = unknown if self.unpriced else "the baseline's cost is not known"
            return f"How the run compares with {self.baseline} is unknown: {why}."
        how = "estimated from this run's tokens" if self.estimated else "measured"
        how = "with this run's own tokens" if self.kind == "same_calls" else how
        stopped = "" if self.complete else "; the run was stopped before its end"
        mine, theirs = (usd(amount, places=self.places) for amount in (self.cost, self.baseline_cost))
        compared = f"{mine}, against {theirs} for {self.baseline} ({how})"
        return f"{compared}: {self.change}{stopped}."


def _plain(amount: Decimal) -> Decimal:
    """Drop trailing zeros, so that no one reads `0E-9` or `0.000750000`."""
    short = EXACT.plus(amount).normalize(EXACT)  # plus: there is no debt of -0
    few = short.adjusted() < 1 or short.as_tuple().exponent in range(-9, 1)  # below 10 it cannot be a `1E+1`
    return short if few else short.quantize(Decimal(1), context=EXACT)
