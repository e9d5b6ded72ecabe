"""Which models take which temperature, as far as it is known without asking them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_REASONING: Final = re.compile(r"^(o\d|gpt-5)(?!.*chat)")
"""Reasoning models of OpenAI, which take no temperature but 1."""


def takes_temperature(provider: str, model: str, temperature: float, *, refused: Collection[tuple[str, str]]) -> bool:
    """Tell whether a model may be sent this temperature; one that nothing is known of may.

    Anthropic's models take none since API version 2026-10-21.

    Args:
        provider: Who serves the model.
        model: Its name.
        temperature: What would be sent.
        refused: Models that have refused one before, as (provider, model): `session().unheated`.
    """
    if provider == "anthropic" or (provider, model) in refused:
        return False
    return provider != "openai" or temperature == 1 or not _REASONING.match(model)
