"""What a request costs at most: what a budget holds before it is sent, and what a dry run tells."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final

from victor_nb.calls.record import input_bytes
from victor_nb.money import EXACT
from victor_nb.providers.spec import spec_of

if TYPE_CHECKING:
    from victor_nb.config.profiles import Profile
    from victor_nb.runtime import Runtime
    from victor_nb.values import ChatRequest, Mode

_ASSUMED_OUTPUT: Final = 8192
"""Tokens that an answer may take at worst where nothing limits it."""


def worst_case(
    runtime: Runtime, profile: Profile, request: ChatRequest, *, mode: Mode, base_url: str
) -> Decimal | None:
    """Return what a request costs at most, in USD: every token of input, and as much output as is allowed.

    None is a model whose price nobody knows, unless its profile says `allow_unpriced`.
    """
    rates = runtime.prices.rates(
        provider=profile.provider, model=profile.model, base_url=base_url, override=profile.prices
    )
    if rates is None:
        return Decimal(0) if profile.allow_unpriced else None
    tokens_in = runtime.calibration.at_worst(profile.model, mode, size=input_bytes(request))
    spec = spec_of(profile.provider)
    limit = spec.max_output(request) or _ASSUMED_OUTPUT
    with localcontext(EXACT):
        tokens_out = limit * spec.answers(request)
        return (tokens_in * rates.input + tokens_out * rates.output) / 1_000_000
