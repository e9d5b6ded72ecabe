"""What a usage costs by the list: genai-prices offline, behind rules that never guess and never raise."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Protocol

from victor_nb.accounting.price_list import SLOT, Listed, Step, cached, counts, is_standard, steps, token_prices
from victor_nb.money import EXACT, quantise
from victor_nb.providers.params import AUTO_TIER, STANDARD_TIERS
from victor_nb.providers.spec import SPECS, find_spec
from victor_nb.values import Price, Usage

if TYPE_CHECKING:
    from victor_nb.values import CostSource

_MILLION: Final = 1_000_000
_DAY: Final = 86_400  # seconds
_LOOKS: Final = 96
"""Times at which the prices of the coming day are looked up: the list's hours of day begin on the half-hour."""
_ZERO: Final = Decimal(0)


class Prices(Protocol):
    """Prices that a profile sets itself, in USD per million tokens. What is None costs as much as plain input."""

    @property
    def input(self) -> Decimal:
        """Of input that is neither read from a cache nor written to one."""
        ...

    @property
    def output(self) -> Decimal:
        """Of output, reasoning included."""
        ...

    @property
    def cache_read(self) -> Decimal | None:
        """Of input that a cache had."""
        ...

    @property
    def cache_write(self) -> Decimal | None:
        """Of input that a cache shall keep."""
        ...


@dataclass(frozen=True, slots=True)
class Rates:
    """List prices of a model in USD per million tokens, for a short request."""

    input: Decimal
    output: Decimal
    cache_read: Decimal


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a profile, or a model by itself, pays for its tokens.

    Attributes:
        name: The profile, or the model.
        override: The profile's own prices.
        allow_unpriced: Whether a budget counts an unknown price as 0.
        tier: The service tier that the profile asks for; None is the standard one.
        asked: The provider that is asked, where the profile pays for another model's tokens (`priced_as`): which model
            served says nothing then. Else None, and it is `provider`.
    """

    name: str
    provider: str
    model: str
    book: PriceBook
    base_url: str | None = None
    override: Prices | None = None
    allow_unpriced: bool = False
    tier: str | None = None
    asked: str | None = None

    def price(
        self,
        usage: Usage,
        *,
        model_served: str | None = None,
        reported: Decimal | None = None,
        tier: str | None = None,
    ) -> Price:
        """Return what the usage of one attempt costs; `PriceBook.price` has the rules.

        `tier` is the service tier that served; None stands for the one that the profile asks for.
        """
        return self.book.price(
            usage,
            provider=self.provider,
            model=self.model,
            model_served=None if self.asked else model_served,
            base_url=self.base_url,
            override=self.override,
            reported=reported,
            tier=tier or self.tier,
        )

    def cache_saved(self, usage: Usage, *, model_served: str | None = None, tier: str | None = None) -> Decimal | None:
        """Return what the provider's cache saved an attempt, in USD; None when the price is unknown.

        Reads are cheaper than plain input, writes may be more expensive: it is negative where little of them was read.
        """
        reads, writes = cached(usage)
        if not reads and not writes:
            return _ZERO
        tier = tier or self.tier
        models = _names(None if self.asked else model_served, self.model)
        steps = _by_length(self.provider, models, self.base_url, self.override, (None if is_standard(tier) else tier,))
        if steps is None:
            return None
        plain, read, write, hourly = next(each for each in reversed(steps) if each.low < usage.input_tokens).inputs
        kept = max(0, min(usage.cache_write_1h_tokens, writes))
        with localcontext(EXACT):
            saved = reads * (plain - read) + (writes - kept) * (plain - write) + kept * (plain - hourly)
            return quantise(saved / _MILLION)

    def rates(self) -> Rates | None:
        """Return what a million tokens of a short request cost; None when the model's price is unknown."""
        return self.book.rates(provider=self.provider, model=self.model, base_url=self.base_url, override=self.override)

    def worst(
        self, usage_in: int, usage_out: int, *, tier: str | None, cache_writes: bool, hourly_writes: bool
    ) -> Decimal | None:
        """Return the most that a request may cost, in USD, up to a day from now; None when its price is unknown.

        Args:
            usage_in: Tokens of input at most.
            usage_out: Tokens of output at most.
            tier: The service tier that is asked for; another than the standard one may be served as the standard one,
                and `auto` as any that the list knows.
            cache_writes: Whether the request may write to a cache. Where that needs no asking, it may in any case.
            hourly_writes: Whether what it writes there may live an hour, which costs more.
        """
        tiers = (None,) if tier != AUTO_TIER and is_standard(tier) else (None, tier)
        steps = _by_length(self.provider, _names(self.model), self.base_url, self.override, tiers, looks=_LOOKS)
        if steps is None:
            return None
        kind = 2 if hourly_writes else int(cache_writes or not _asks_to_cache(self.asked or self.provider))
        with localcontext(EXACT):
            costs = (step.cost(usage_in, usage_out, kind) for step in steps if step.low < usage_in)
            return quantise(max(costs) / _MILLION)


class PriceBook:
    """List prices of models, offline. One instance serves a kernel, from any thread.

    Source: genai-prices, whose list is part of its wheel. A price takes about 5 us, the first one of a model
    1 ms, and the very first 0.2 s more for the import.
    """

    def price(
        self,
        usage: Usage,
        *,
        provider: str,
        model: str,
        model_served: str | None = None,
        base_url: str | None = None,
        override: Prices | None = None,
        reported: Decimal | None = None,
        tier: str | None = None,
    ) -> Price:
        """Return what the usage of one attempt costs, in USD rounded to nano-dollars, and how that is known.

        Price each attempt, never a sum of several: a tier reprices the whole request. Never raises: what cannot be
        priced has a cost of None.

        Args:
            usage: Tokens of one attempt. Parts that exceed their total are cut to it.
            provider: The provider's name in a profile; one that runs locally costs nothing.
            model: The model that was asked for.
            model_served: The model that answered, which is what is paid for.
            base_url: Where it was asked; a provider known by its URL is looked up first.
            override: The profile's own prices, which beat everything.
            reported: The cost that the provider stated, which beats the list.
            tier: The service tier that served; None is the standard one. One that the list does not know is unpriced.
        """
        with localcontext(EXACT):
            price_id, free = _seller(provider)
            listed = Listed(price_id, _names(model_served, model), base_url)
            if override is not None:
                return _priced(_by_override(usage, override, listed), "override", "profiles.yaml")
            if (stated := _amount(reported)) is not None:
                return Price(stated, "reported", "provider")
            if free:
                return Price(_ZERO, "local", "local")
            return _priced(_by_list(usage, listed, tier), "computed", _version())

    def rates(
        self, *, provider: str, model: str, base_url: str | None = None, override: Prices | None = None
    ) -> Rates | None:
        """Return what a million tokens of a short request cost; None when the model's price is unknown."""
        steps = _by_length(provider, _names(model), base_url, override, (None,))
        if steps is None:
            return None
        plain, read, *_ = steps[0].inputs
        return Rates(plain, steps[0].output, read)

    def deprecated(self, provider: str, model: str, *, base_url: str | None = None) -> bool:
        """Return whether the list calls the model deprecated; False for a model that it does not know."""
        found = Listed(_seller(provider)[0], _names(model), base_url).calculate(counts(Usage()))
        return found is not None and bool(found.model.deprecated)

    def find(self, model: str) -> str | None:
        """Return the first provider that sells a model of this name, the built-in ones first; None if none does.

        Those that resell models of others are left out: each has a price of its own for one name.
        """
        none, specs = counts(Usage()), list(SPECS.values())
        sellers = [(spec.name, spec.price_id) for spec in specs if spec.price_id is not None and not spec.resells]
        found = (name for name, price_id in sellers if Listed(price_id, _names(model)).calculate(none) is not None)
        return next(found, None)


def _seller(provider: str) -> tuple[str | None, bool]:
    """Return a provider's id in the list (None: it is not there), and whether it costs nothing."""
    spec = SPECS.get(provider) or find_spec(provider)
    return (provider, False) if spec is None else (spec.price_id, spec.free)


def _asks_to_cache(provider: str) -> bool:
    """Return whether a cache is written to only where the request asks for it; False where nothing is known of it."""
    spec = SPECS.get(provider)
    return spec is not None and spec.caches_on_request


@lru_cache(maxsize=1)
def _version() -> str:
    return f"genai-prices {version('genai-prices')}"


def _names(*models: str | None) -> tuple[str, ...]:
    """Return the names to look up, first to last, without Google's `models/` in front."""
    names: dict[str, None] = {}
    for model in models:
        if model is not None:
            names[model.removeprefix("models/")] = None
    return tuple(names)


def _priced(cost: Decimal | None, source: CostSource, book: str) -> Price:
    amount = _amount(cost)
    return Price(amount, "unknown" if amount is None else source, book)


def _amount(cost: Decimal | None) -> Decimal | None:
    """Return the cost in USD rounded to nano-dollars; None for a negative amount, NaN or billions."""
    return None if cost is None or cost.is_nan() or cost < 0 else quantise(cost)


def _else(rate: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if rate is None else rate


def _by_override(usage: Usage, prices: Prices, listed: Listed) -> Decimal | None:
    """Return the cost at a profile's own prices; what is charged beside tokens costs what the list says."""
    if usage.input_tokens < 0 or usage.output_tokens < 0:
        return None
    fee = listed.cost(Usage(web_searches=usage.web_searches)) if usage.web_searches else _ZERO
    if fee is None:
        return None
    reads, writes = cached(usage)
    plain = usage.input_tokens - reads - writes
    total = (
        plain * prices.input
        + reads * _else(prices.cache_read, prices.input)
        + writes * _else(prices.cache_write, prices.input)
        + usage.output_tokens * prices.output
    )
    return total / _MILLION + fee


def _by_list(usage: Usage, listed: Listed, tier: str | None) -> Decimal | None:
    """Return the list price; None for an unknown model or tier, and where it has no price for a part of the usage."""
    tokens_in, tokens_out = usage.input_tokens, usage.output_tokens
    if tokens_in > 0 <= tokens_out and not usage.web_searches:
        tier = None if tier in STANDARD_TIERS else tier
        several = token_prices(listed, tier, int(time.time()) // SLOT)
        if several is not None:
            for each in several:
                if tokens_in > each.low:
                    total = each.fee + tokens_in * each.input + tokens_out * each.output
                    if usage.cache_read_tokens or usage.cache_write_tokens:
                        reads, writes = cached(usage)
                        hourly = max(0, min(usage.cache_write_1h_tokens, writes))
                        total += reads * each.reads + writes * each.writes + hourly * each.hourly
                    return total + max(0, min(usage.reasoning_tokens, tokens_out)) * each.reasoning
            return None
    return listed.cost(usage, tier)


# --- prices by the length of a request ---


def _by_length(
    provider: str,
    models: tuple[str, ...],
    base_url: str | None,
    override: Prices | None,
    tiers: tuple[str | None, ...],
    *,
    looks: int = 1,
) -> tuple[Step, ...] | None:
    """Return the prices of today, of the shortest requests first; None where they are unknown."""
    if override is not None:
        plain = override.input
        write = _else(override.cache_write, plain)
        return (Step(-1, None, (plain, _else(override.cache_read, plain), write, write), override.output),)
    price_id, free = _seller(provider)
    if free:
        return (Step(-1, None, (_ZERO, _ZERO, _ZERO, _ZERO), _ZERO),)
    return steps(Listed(price_id, models, base_url), tiers, int(time.time()) // _DAY, looks)
