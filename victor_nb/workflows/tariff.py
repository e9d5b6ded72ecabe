"""The prices of a profile or a model, for tokens that somebody else has used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from victor_nb.errors import ConfigError, did_you_mean
from victor_nb.values import Usage

if TYPE_CHECKING:
    from decimal import Decimal

    from victor_nb.accounting.pricing import PriceBook, Prices
    from victor_nb.accounting.rows import Row
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a profile, or a model by itself, takes for its tokens."""

    name: str
    provider: str
    model: str
    base_url: str | None
    override: Prices | None
    book: PriceBook

    def price(self, usage: Usage) -> Decimal | None:
        """Return the list price in USD of the tokens of one attempt; None when it is unknown."""
        return self.book.price(
            usage, provider=self.provider, model=self.model, base_url=self.base_url, override=self.override
        ).cost


def find_tariff(name: str, pool: OrchestratorPool) -> Tariff:
    """Return the prices that go by a name: a profile's, else a model's.

    Raises:
        ConfigError: The name is neither a profile nor a model with a known price.
    """
    settings, book = pool.settings, pool.container.prices
    profile = settings.profiles.get(name)
    if profile is not None:
        base_url = settings.base_url(profile)
        return Tariff(name, profile.provider, profile.model, base_url, profile.prices, book)
    provider = book.find(name)
    if provider is None:
        close = did_you_mean(name, settings.profiles)
        hint = f"Did you mean {close!r}?" if close else f"Profiles: {', '.join(settings.profiles)}."
        raise ConfigError(f"{name!r} is neither a profile nor a model with a known price. {hint}")
    return Tariff(name, provider, name, None, None, book)


def usage_of(row: Row) -> Usage:
    """Return the tokens of an attempt, those that are not known as 0.

    The ledger does not say which cache writes were to live an hour, which are dearer: they count as ordinary ones.
    """
    return Usage(
        input_tokens=row.input_tokens or 0,
        output_tokens=row.output_tokens or 0,
        cache_read_tokens=row.cache_read_tokens or 0,
        cache_write_tokens=row.cache_write_tokens or 0,
        reasoning_tokens=row.reasoning_tokens or 0,
    )


def reprice(row: Row, tariff: Tariff) -> Decimal | None:
    """Return what an attempt would have cost, in USD; None when nobody knows its tokens, or the tariff's price."""
    if row.input_tokens is None and row.output_tokens is None:
        # Nothing was answered: it cost nothing anywhere; unless it was under way, when nobody knows.
        return row.cost if row.cost == 0 else None
    return tariff.price(usage_of(row))
