"""How long an answer may become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.values import ChatRequest

_DEMANDED: Final[Mapping[str, int]] = {"anthropic": 8192}
"""Sent where a profile sets no `max_tokens`, since the API demands one."""


def longest_output(provider: str, request: ChatRequest) -> int | None:
    """Return the tokens that an answer may have; None where nothing but the model limits it."""
    return request.max_tokens or _DEMANDED.get(provider)
