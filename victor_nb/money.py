"""USD as exact decimals in the program and as integer nano-dollars on disk."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

NANOS_PER_USD: Final = 1_000_000_000
"""The smallest amount that is kept: a thousandth of what one token of the cheapest hosted model costs."""

EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Our own arithmetic: a notebook that lowers the precision of its own decimals must not round its bill."""

_NANO: Final = Decimal("1e-9")
_LARGEST: Final = Decimal((1 << 63) - 1).scaleb(-9)


def quantise(amount: Decimal) -> Decimal | None:
    """Round to nano-dollars, half to even; None for what is no amount of money or more than the ledger can hold."""
    if not amount.is_finite() or amount.copy_abs() > _LARGEST:
        return None
    return _plain(amount.quantize(_NANO, context=EXACT))


def to_nanos(amount: Decimal | None) -> int | None:
    """Return the integer nano-dollars that stand for `amount` on disk; None stays None."""
    exact = None if amount is None else quantise(amount)
    return None if exact is None else int(exact.scaleb(9, context=EXACT))


def from_nanos(nanos: int) -> Decimal:
    """Return the USD that `nanos` stand for; the inverse of `to_nanos`."""
    return _plain(Decimal(nanos).scaleb(-9, context=EXACT))


def usd(amount: Decimal) -> str:
    """Say an amount of money: `USD 0.0041`, and two digits of what is smaller. Never a bare dollar sign: it is math."""
    if amount == 0 or abs(amount) >= Decimal("0.0001"):
        return f"USD {amount:.4f}"
    return f"USD {amount.quantize(Decimal(1).scaleb(amount.adjusted() - 1), context=EXACT):f}"


def _plain(amount: Decimal) -> Decimal:
    """Drop trailing zeros, so that no one reads `0E-9` or `0.000750000`."""
    short = EXACT.plus(amount).normalize(EXACT)  # plus: there is no debt of -0
    return short if short.as_tuple().exponent in range(-9, 1) else short.quantize(Decimal(1), context=EXACT)
