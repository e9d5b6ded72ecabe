"""What a usage costs by the list: genai-prices offline, behind rules that never guess and never raise."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Protocol, cast

from victor_nb.money import EXACT, quantise
from victor_nb.providers.params import AUTO_TIER, STANDARD_TIERS
from victor_nb.providers.spec import SPECS, find_spec
from victor_nb.values import Price, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_prices import Usage as ListUsage
    from genai_prices.types import ModelPrice, PriceCalculation, TieredPrices

    from victor_nb.values import CostSource

_MILLION: Final = 1_000_000
_DAY: Final = 86_400  # seconds
_LOOKS: Final = 96
"""Times at which the prices of the coming day are looked up: the list's hours of day begin on the half-hour."""
_SAME_PRICE: Final = {"groq": frozenset({"flex"})}
"""Tiers that cost as much as the standard one by contract, by the list's id of who sells."""
_ZERO: Final = Decimal(0)
_TIER_KEYS: Final = ("service_tier", "speed", "processing")
"""Under which names the list keeps tiers: OpenAI's and Google's, Anthropic's, and batches."""


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

        Reads are cheaper than plain input, writes may be dearer: it is negative where little of them was read.
        """
        reads, writes = _cached(usage)
        if not reads and not writes:
            return _ZERO
        tier = tier or self.tier
        models = _names(None if self.asked else model_served, self.model)
        steps = _by_length(self.provider, models, self.base_url, self.override, (None if _is_standard(tier) else tier,))
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
            hourly_writes: Whether what it writes there may live an hour, which is dearer.
        """
        tiers = (None,) if tier != AUTO_TIER and _is_standard(tier) else (None, tier)
        steps = _by_length(self.provider, _names(self.model), self.base_url, self.override, tiers, looks=_LOOKS)
        if steps is None:
            return None
        kind = 2 if hourly_writes else int(cache_writes or not _asks_to_cache(self.asked or self.provider))
        with localcontext(EXACT):
            costs = (step.cost(usage_in, usage_out, kind) for step in steps if step.low < usage_in)
            return quantise(max(costs) / _MILLION)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The providers and models under which a price is looked up, the likeliest first."""

    price_id: str | None
    models: tuple[str, ...]
    base_url: str | None = None

    def calculate(
        self, usage: ListUsage, *, tier: str | None = None, at: datetime | None = None
    ) -> PriceCalculation | None:
        """Return the first price that the list knows; ValueError when `usage` contradicts itself."""
        from genai_prices import calc_price  # noqa: PLC0415 - heavy

        calculate = cast("Callable[..., PriceCalculation]", calc_price)
        given = {
            "genai_request_timestamp": at,
            "price_context": None if tier is None else dict.fromkeys(_TIER_KEYS, tier),
        }
        address = self.base_url and str(self.base_url)  # plain: what is not found is looked at by repr
        for url, seller in ((address, None), (None, self.price_id)):
            for model in self.models if url or seller else ():
                try:
                    return calculate(usage, model, provider_id=seller, provider_api_url=url, **given)
                except LookupError:
                    continue
        return None

    def at_tier(self, usage: ListUsage, tier: str, *, at: datetime | None = None) -> PriceCalculation | None:
        """Return the price at another service tier than the standard one; None where the list does not know it.

        The list ignores a context that it does not know, and gives the standard price: then the tier is unknown.
        """
        found, other = self.calculate(usage, at=at), self.calculate(usage, tier=tier, at=at)
        if found is None or other is None or tier in _SAME_PRICE.get(found.provider.id, ()):
            return found
        return None if other.model_price == found.model_price else other

    def tiers(self) -> tuple[str, ...]:
        """Return the service tiers at which the list has a price of its own."""
        usage = _counts(Usage())
        found = self.calculate(usage)
        named = {name for variant in (found and found.model.price_variants) or () for name in variant.when.values()}
        return tuple(name for name in sorted(named - STANDARD_TIERS) if self.at_tier(usage, name) is not None)


@dataclass(frozen=True, slots=True)
class _Step:
    """Prices of requests with more than `low` and at most `high` tokens of input, in USD per million.

    Attributes:
        inputs: Of input that is plain, read from a cache, written to one, and written to live an hour.
        output: Of output, reasoning included.
        fee: What a million requests cost beside their tokens.
    """

    low: int
    high: int | None
    inputs: tuple[Decimal, Decimal, Decimal, Decimal]
    output: Decimal
    fee: Decimal = _ZERO

    def cost(self, usage_in: int, usage_out: int, kind: int) -> Decimal:
        """Return what the dearest request of this length costs, in millionths of USD.

        `kind` is 0 where nothing is written to a cache, 1 where something may be, 2 where it may live an hour.
        """
        tokens = usage_in if self.high is None else min(usage_in, self.high)
        return tokens * max(self.inputs[: 2 + kind]) + usage_out * self.output + self.fee


class PriceBook:
    """List prices of models, offline. One instance serves a kernel, from any thread.

    Source: genai-prices, whose list is part of its wheel. A price takes about 0.1 ms, the first one 0.2 s more for
    the import.
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
            asked = _Asked(price_id, _names(model_served, model), base_url)
            if override is not None:
                return _priced(_by_override(usage, override, asked), "override", "profiles.yaml")
            if (stated := _amount(reported)) is not None:
                return Price(stated, "reported", "provider")
            if free:
                return Price(_ZERO, "local", "local")
            return _priced(_by_list(usage, asked, tier), "computed", _version())

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
        found = _Asked(_seller(provider)[0], _names(model), base_url).calculate(_counts(Usage()))
        return found is not None and bool(found.model.deprecated)

    def find(self, model: str) -> str | None:
        """Return the first provider that sells a model of this name, the built-in ones first; None if none does.

        Those that resell models of others are left out: each has a price of its own for one name.
        """
        none, specs = _counts(Usage()), list(SPECS.values())
        sellers = [(spec.name, spec.price_id) for spec in specs if spec.price_id is not None and not spec.resells]
        found = (name for name, price_id in sellers if _Asked(price_id, _names(model)).calculate(none) is not None)
        return next(found, None)


def _seller(provider: str) -> tuple[str | None, bool]:
    """Return a provider's id in the list (None: it is not there), and whether it costs nothing."""
    spec = SPECS.get(provider) or find_spec(provider)
    return (provider, False) if spec is None else (spec.price_id, spec.free)


def _is_standard(tier: str | None) -> bool:
    return tier is None or tier in STANDARD_TIERS


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


def _by_list(usage: Usage, asked: _Asked, tier: str | None = None) -> Decimal | None:
    """Return the list price; None for an unknown model or tier, and where it has no price for a part of the usage."""
    try:
        counts = _counts(usage)
        found = asked.calculate(counts) if tier is None or tier in STANDARD_TIERS else asked.at_tier(counts, tier)
    except ValueError:  # less than no tokens
        return None
    if found is None:
        return None
    prices = found.model_price  # a missing one is not 0
    unsold = (
        (usage.input_tokens and prices.input_mtok is None)
        or (usage.output_tokens and prices.output_mtok is None)
        # Providers that charge per request charge for searches in the same way.
        or (usage.web_searches and prices.web_searches_kcount is None and prices.requests_kcount is None)
    )
    return None if unsold else found.total_price


def _counts(usage: Usage) -> ListUsage:
    """Put a usage in the list's terms: totals, with every part inside its total. Negative totals: ValueError."""
    from genai_prices import Usage as ListUsage  # noqa: PLC0415 - heavy

    reads, writes = _cached(usage) if usage.cache_read_tokens or usage.cache_write_tokens else (0, 0)
    return ListUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=reads,
        cache_write_tokens=writes,
        cache_write_1h_tokens=max(0, min(usage.cache_write_1h_tokens, writes)),
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=max(0, min(usage.reasoning_tokens, usage.output_tokens)),
        web_searches=usage.web_searches,
    )


def _cached(usage: Usage) -> tuple[int, int]:
    """Return cache reads and writes that fit into the input together."""
    reads = max(0, min(usage.cache_read_tokens, usage.input_tokens))
    return reads, max(0, min(usage.cache_write_tokens, usage.input_tokens - reads))


def _by_override(usage: Usage, prices: Prices, asked: _Asked) -> Decimal | None:
    """Return the cost at a profile's own prices; what is charged beside tokens costs what the list says."""
    if usage.input_tokens < 0 or usage.output_tokens < 0:
        return None
    fee = _by_list(Usage(web_searches=usage.web_searches), asked) if usage.web_searches else _ZERO
    if fee is None:
        return None
    reads, writes = _cached(usage)
    plain = usage.input_tokens - reads - writes
    total = (
        plain * prices.input
        + reads * _else(prices.cache_read, prices.input)
        + writes * _else(prices.cache_write, prices.input)
        + usage.output_tokens * prices.output
    )
    return total / _MILLION + fee


# --- prices by the length of a request ---


def _by_length(
    provider: str,
    models: tuple[str, ...],
    base_url: str | None,
    override: Prices | None,
    tiers: tuple[str | None, ...],
    *,
    looks: int = 1,
) -> tuple[_Step, ...] | None:
    """Return the prices of today, of the shortest requests first; None where they are unknown."""
    if override is not None:
        plain = override.input
        write = _else(override.cache_write, plain)
        return (_Step(-1, None, (plain, _else(override.cache_read, plain), write, write), override.output),)
    price_id, free = _seller(provider)
    if free:
        return (_Step(-1, None, (_ZERO, _ZERO, _ZERO, _ZERO), _ZERO),)
    return _steps(_Asked(price_id, models, base_url), tiers, int(time.time()) // _DAY, looks)


@lru_cache(maxsize=1024)
def _steps(asked: _Asked, tiers: tuple[str | None, ...], day: int, looks: int) -> tuple[_Step, ...] | None:
    """Return the prices that may hold from `day` on (since 1970).

    Args:
        asked: The model.
        tiers: The service tiers that may serve; None is the standard one.
        day: When it is asked.
        looks: At how many half-hours to look: some models cost more at some of them.
    """
    usage, steps = _counts(Usage()), dict[_Step, None]()
    if AUTO_TIER in tiers:
        tiers = (None, *asked.tiers())
    for tier in tiers:
        for look in range(looks):
            at = datetime.fromtimestamp(day * _DAY + look * _DAY // 48, UTC)
            found = asked.calculate(usage, at=at) if tier is None else asked.at_tier(usage, tier, at=at)
            if found is None or not (several := _ladder(found.model_price)):
                return None
            steps |= dict.fromkeys(several)
            if not isinstance(found.model.prices, list):
                break
    return tuple(steps)


def _ladder(prices: ModelPrice) -> list[_Step]:
    """Return a model's prices from the shortest requests to the longest; none where input or output has no price."""
    if prices.input_mtok is None or prices.output_mtok is None:
        return []
    named = (prices.cache_read_mtok, prices.cache_write_mtok, prices.cache_write_1h_mtok)
    outputs = (prices.output_mtok, prices.output_reasoning_mtok)
    every = (prices.input_mtok, *named, *outputs)
    edges = sorted({0, *(tier.start for price in every for tier in getattr(price, "tiers", ()))})
    fee = (_at(prices.requests_kcount, 0) or _ZERO) * 1_000
    steps: list[_Step] = []
    for low, high in zip(edges, (*edges[1:], None), strict=True):
        plain = _at(prices.input_mtok, low) or _ZERO
        read, write, hourly = (_at(price, low) for price in named)
        write = _else(write, plain)
        inputs = plain, _else(read, plain), write, _else(hourly, write)
        steps.append(_Step(low or -1, high, inputs, max(_at(price, low) or _ZERO for price in outputs), fee))
    return steps


def _at(price: Decimal | TieredPrices | None, low: int) -> Decimal | None:
    """Return a price for requests just above `low` tokens of input."""
    if price is None or isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if low >= tier.start), price.base)
