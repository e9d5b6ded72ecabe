"""What tokens cost, asked by the name of a profile or of a model."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from victor_nb.errors import ConfigError, VictorWarning
from victor_nb.session import session
from victor_nb.values import Usage

if TYPE_CHECKING:
    from decimal import Decimal


def estimate_cost(profile_or_model: str, usage: Usage) -> Decimal | None:
    """Return the list price of a usage in USD.

    Args:
        profile_or_model: A profile of `profiles.yaml`, else a model of anthropic, openai or google.
        usage: The tokens of one call; a sum of several may fall into a dearer tier than any of them did.

    Returns:
        USD, or None when nobody knows: the name is neither (said in a `VictorWarning`), or the model has no price.
    """
    if type(profile_or_model) is not str or type(usage) is not Usage:
        raise ConfigError("estimate_cost takes the name of a profile or a model, and a Usage such as reply.usage.")
    home = session()
    profile = home.settings.profiles.get(profile_or_model)
    if profile is not None:
        base_url = home.settings.base_url(profile)
        return home.prices.price(
            usage, provider=profile.provider, model=profile.model, base_url=base_url, override=profile.prices
        ).cost
    provider = home.prices.find(profile_or_model)
    if provider is None:
        text = f"{profile_or_model!r} is neither a profile nor a model with a known price; its cost is None."
        warnings.warn(text, VictorWarning, stacklevel=2)
        return None
    return home.prices.price(usage, provider=provider, model=profile_or_model).cost
