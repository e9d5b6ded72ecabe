"""The list of prices, genai-prices: what a model's usage costs by it, exactly, and what a token costs by length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from victor_nb.providers.params import AUTO_TIER, STANDARD_TIERS
from victor_nb.values import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_prices import Usage as ListUsage
    from genai_prices.types import ModelPrice, PriceCalculation, TieredPrices

SLOT: Final = 900
"""Seconds for which prices hold: those that depend on the hour change on the half-hour, others at midnight (UTC)."""
_SLOTS_A_DAY: Final = 96
_ZERO: Final = Decimal(0)
_SAME_PRICE: Final = {"groq": frozenset({"flex"})}
"""Tiers that cost as much as the standard one by contract, by the list's id of who sells."""
_TIER_KEYS: Final = ("service_tier", "speed", "processing")
"""Under which names the list keeps tiers: OpenAI's and Google's, Anthropic's, and batches."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The provider and the models under which a price is looked up, the likeliest first."""

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
        usage = counts(Usage())
        found = self.calculate(usage)
        named = {name for variant in (found and found.model.price_variants) or () for name in variant.when.values()}
        return tuple(name for name in sorted(named - STANDARD_TIERS) if self.at_tier(usage, name) is not None)

    def cost(self, usage: Usage, tier: str | None = None, *, at: datetime | None = None) -> Decimal | None:
        """Return what a usage costs; None for an unknown model or tier, and for a part of it that has no price."""
        try:
            each = counts(usage)
            found = self.calculate(each, at=at) if is_standard(tier) else self.at_tier(each, cast("str", tier), at=at)
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


class Prices(NamedTuple):
    """What the tokens of a request with more than `low` tokens of input cost, in USD each.

    Those of a part of the input or the output are what it costs more, or (less than 0) less, than the rest of it.

    Attributes:
        fee: What the request costs beside its tokens.
    """

    low: int
    fee: Decimal
    input: Decimal
    output: Decimal
    reads: Decimal
    writes: Decimal
    hourly: Decimal
    reasoning: Decimal


@lru_cache(maxsize=1024)
def token_prices(listed: Listed, tier: str | None, slot: int) -> tuple[Prices, ...] | None:
    """Return a model's prices for a quarter of an hour (since 1970), those of the longest requests first.

    They are differences between what the list charges for usages of one token more, so that they charge what it does,
    to the last digit, at a fiftieth of its time.

    Returns:
        No prices where the list has none; None where it does not charge by tokens alone, and has to be asked.
    """
    at, nothing = datetime.fromtimestamp(slot * SLOT, UTC), counts(Usage())
    found = listed.calculate(nothing, at=at) if tier is None else listed.at_tier(nothing, tier, at=at)
    if found is None:
        return ()
    several: list[Prices] = []
    for low in reversed(_edges(found.model_price)):
        start = Usage(input_tokens=low + 2)  # of which two can be parts
        more = (
            replace(start, input_tokens=low + 3),
            replace(start, output_tokens=1),
            replace(start, cache_read_tokens=1),
            replace(start, cache_write_tokens=1),
            replace(start, cache_write_tokens=1, cache_write_1h_tokens=1),
            replace(start, output_tokens=1, reasoning_tokens=1),
        )
        base, *costs = (listed.cost(usage, tier, at=at) for usage in (start, *more))
        if base is None or None in costs:
            return None
        plain, output, reads, writes, hourly, reasoning = (cost - base for cost in costs if cost is not None)
        fee = base - plain * start.input_tokens
        several.append(Prices(low, fee, plain, output, reads, writes, hourly - writes, reasoning - output))
    return tuple(several) or None


def is_standard(tier: str | None) -> bool:
    """Return whether a tier is the one that a provider serves where none is asked for."""
    return tier is None or tier in STANDARD_TIERS


def counts(usage: Usage) -> ListUsage:
    """Put a usage in the list's terms: totals, with every part inside its total. Negative totals: ValueError."""
    from genai_prices import Usage as ListUsage  # noqa: PLC0415 - heavy

    reads, writes = cached(usage) if usage.cache_read_tokens or usage.cache_write_tokens else (0, 0)
    return ListUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=reads,
        cache_write_tokens=writes,
        cache_write_1h_tokens=max(0, min(usage.cache_write_1h_tokens, writes)),
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=max(0, min(usage.reasoning_tokens, usage.output_tokens)),
        web_searches=usage.web_searches,
    )


def cached(usage: Usage) -> tuple[int, int]:
    """Return cache reads and writes that fit into the input together."""
    reads = max(0, min(usage.cache_read_tokens, usage.input_tokens))
    return reads, max(0, min(usage.cache_write_tokens, usage.input_tokens - reads))


# --- the highest prices, by the length of a request ---


@dataclass(frozen=True, slots=True)
class Step:
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
        """Return what the most expensive request of this length costs, in millionths of USD.

        `kind` is 0 where nothing is written to a cache, 1 where something may be, 2 where it may live an hour.
        """
        tokens = usage_in if self.high is None else min(usage_in, self.high)
        return tokens * max(self.inputs[: 2 + kind]) + usage_out * self.output + self.fee


@lru_cache(maxsize=1024)
def steps(listed: Listed, tiers: tuple[str | None, ...], day: int, looks: int) -> tuple[Step, ...] | None:
    """Return the prices that may hold from `day` on (since 1970).

    Args:
        listed: The model.
        tiers: The service tiers that may serve; None is the standard one.
        day: When it is asked.
        looks: At how many half-hours to look: some models cost more at some of them.
    """
    usage, found_steps = counts(Usage()), dict[Step, None]()
    if AUTO_TIER in tiers:
        tiers = (None, *listed.tiers())
    for tier in tiers:
        for look in range(looks):
            at = datetime.fromtimestamp((day * _SLOTS_A_DAY + 2 * look) * SLOT, UTC)
            found = listed.calculate(usage, at=at) if tier is None else listed.at_tier(usage, tier, at=at)
            if found is None or not (several := _ladder(found.model_price)):
                return None
            found_steps |= dict.fromkeys(several)
            if not isinstance(found.model.prices, list):
                break
    return tuple(found_steps)


def _ladder(prices: ModelPrice) -> list[Step]:
    """Return a model's prices from the shortest requests to the longest; none where input or output has no price."""
    if not (edges := _edges(prices)):
        return []
    named = (prices.cache_read_mtok, prices.cache_write_mtok, prices.cache_write_1h_mtok)
    outputs = (prices.output_mtok, prices.output_reasoning_mtok)
    fee = (_at(prices.requests_kcount, 0) or _ZERO) * 1_000
    found: list[Step] = []
    for low, high in zip(edges, (*edges[1:], None), strict=True):
        plain = _at(prices.input_mtok, low) or _ZERO
        read, write, hourly = (_at(price, low) for price in named)
        write = plain if write is None else write
        inputs = plain, plain if read is None else read, write, write if hourly is None else hourly
        found.append(Step(low or -1, high, inputs, max(_at(price, low) or _ZERO for price in outputs), fee))
    return found


def _edges(prices: ModelPrice) -> list[int]:
    """Return the tokens of input above which another price holds, 0 first; none where input or output has no price."""
    if prices.input_mtok is None or prices.output_mtok is None:
        return []
    every = (price for price in vars(prices).values() if price is not None)
    return sorted({0, *(tier.start for price in every for tier in getattr(price, "tiers", ()))})


def _at(price: Decimal | TieredPrices | None, low: int) -> Decimal | None:
    """Return a price for requests just above `low` tokens of input."""
    if price is None or isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if low >= tier.start), price.base)
