"""How long an answer may become, as the request that goes out says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.values import ChatRequest

_DEMANDED: Final[Mapping[str, int]] = {"anthropic": 8192}
"""Sent where a profile sets no `max_tokens`, since the API demands one."""

_LIMITS: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("max_tokens",),
    "google": ("maxOutputTokens",),
    "ollama": ("num_predict",),
    "openai": ("max_completion_tokens", "max_tokens"),
}
"""Names of the limit in each protocol; OpenAI's older one goes beside the new one."""

_CHOICES: Final[Mapping[str, str]] = {"google": "candidateCount", "openai": "n"}
"""How many answers one request may ask for, each charged for."""

_INSIDE: Final = ("generationConfig", "options")
"""Params that hold others: of google, and of ollama."""


def max_output(provider: str, request: ChatRequest) -> int | None:
    """Return the tokens that one answer may have; None where nothing but the model limits it.

    What stands in `params` goes out as it is, and so beats `max_tokens`, except with ollama.
    """
    ours = request.max_tokens or _DEMANDED.get(provider)
    if provider == "ollama" and ours is not None:
        return ours
    given = _flat(request.params)
    limits = [given[name] for name in _LIMITS.get(provider, ()) if _counts(given.get(name))]
    beside = provider == "openai" and "max_completion_tokens" not in given  # ours goes out as well
    if ours is not None and (beside or not limits):
        limits.append(ours)
    return max(cast("list[int]", limits), default=None)


def answers(provider: str, request: ChatRequest) -> int:
    """Return how many answers the request asks for at once."""
    wanted = _flat(request.params).get(_CHOICES.get(provider, ""))
    return cast("int", wanted) if _counts(wanted) else 1


def _flat(params: Mapping[str, object]) -> dict[str, object]:
    """Return params and what stands inside some of them."""
    inside = [cast("Mapping[str, object]", params[name]) for name in _INSIDE if isinstance(params.get(name), dict)]
    return {name: value for each in (*inside, params) for name, value in each.items()}


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
