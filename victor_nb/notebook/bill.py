"""The line under an answer: who answered, with how many tokens, for how much, in what time, and what else to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from victor_nb.accounting.money import usd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from victor_nb.values import Reply

MODES: Final = {"simulate": "simulated", "replay": "replayed"}
_REASONS: Final = {"length": "cut at max_tokens", "content_filter": "cut by the provider's filter"}


def bill(reply: Reply) -> str:
    """Return the line: `fast · gpt-6-luna · 212 -> 340 tok · USD 0.0002 · 2.1 s`, then what is out of the ordinary.

    The cost is the list price; it was not paid where the line says `simulated` or `replayed`.
    """
    return " · ".join(_parts(reply))


def price(cost: Decimal | None) -> str:
    """Say a cost in USD; an unknown one is not 0."""
    return "unpriced" if cost is None else usd(cost)


def _parts(reply: Reply) -> Iterator[str]:
    yield reply.profile
    if reply.model != reply.profile:
        yield reply.model
    yield f"{reply.usage.input_tokens:,} -> {reply.usage.output_tokens:,} tok"
    yield price(reply.cost)
    yield f"{reply.latency:.1f} s"
    if reply.mode in MODES:
        yield MODES[reply.mode]
    if reply.attempts > 1:
        yield f"{reply.attempts} attempts"
    if reply.status != "ok":
        yield reply.status
    elif reply.finish_reason in _REASONS:
        yield _REASONS[reply.finish_reason]
    yield from reply.notes
