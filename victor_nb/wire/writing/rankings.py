"""Rankings: the best of what the prompt lists, best first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.chance import Chance
from victor_nb.wire.writing.brief import NUMBER, number

if TYPE_CHECKING:
    from victor_nb.wire.writing.brief import Brief, Item

_NUMBERS_ONLY: Final = re.compile(
    r"\b(?:only|just)\b[^.\n]{0,30}\b(?:numbers?|ind(?:ex|ices|exes)|letters?|ids?)\b|"
    r"\b(?:numbers?|ind(?:ex|ices|exes)|letters?|ids?)\s+(?:only|alone)\b",
    re.IGNORECASE,
)
_TOP: Final = re.compile(
    rf"\b(?:best|choose|keep|pick|select|shortlist|strongest|top)\b(?:\W+(?:me|only|the|your|top|best|out)\b)*\W+({NUMBER})\b|"
    rf"\b({NUMBER})\s+(?:best|strongest|top|most)\b",
    re.IGNORECASE,
)
_ONE: Final = re.compile(
    r"\b(?:pick|choose|select|which|name)\b.{0,40}\b(?:best|strongest|winner|one)\b|\bthe (?:single )?best\b",
    re.IGNORECASE | re.DOTALL,
)
_WHY: Final = (
    "it can be tried within a week and shows its effect at once.",
    "it helps the most people for the least work.",
    "it stands on its own and makes the others easier.",
    "the risk is small, and going back is simple.",
    "it answers the need most directly.",
    "its result can be measured, so the next decision is easier.",
    "it is the clearest to explain and the hardest to get wrong.",
)
_CLOSINGS: Final = (
    "The order would change if time mattered more than effort.",
    "The first is ahead by a clear margin; those behind it are close to each other.",
    "If only one can be done, take the first and keep the rest on a list.",
)
_OWN_TASTE: Final = 0.35  # how much of a model's judgement is its own; the rest they share


def write_ranking(brief: Brief) -> str | None:
    """Return the chosen items, best first; None where the prompt lists nothing to choose from."""
    items = brief.items
    if len(items) < 2:  # noqa: PLR2004 - one thing is no choice
        return None
    chosen = sorted(items, key=lambda item: _merit(brief, item), reverse=True)[: _how_many(brief, len(items))]
    if _NUMBERS_ONLY.search(brief.task):
        return ", ".join(item.mark for item in chosen)
    lines = [f"{place}. {_shown(item)}{_reason(brief, place)}" for place, item in enumerate(chosen, start=1)]
    if brief.size == "small":
        return "\n".join(lines)
    return "\n".join([*lines, "", brief.chance.pick(_CLOSINGS, "closing")])


def _how_many(brief: Brief, most: int) -> int:
    found = _TOP.search(brief.task)
    if found:
        return max(1, min(most, number(found[1] or found[2])))
    ranked = re.search(r"\b(?:rank|order|sort|prioriti[sz]e)\b", brief.task, re.IGNORECASE)
    return 1 if _ONE.search(brief.task) and not ranked else most


def _merit(brief: Brief, item: Item) -> float:
    """Return how good an item seems: mostly the same to every model, a little different to each."""
    return Chance("merit").between(0, 1, item.text) + brief.chance.between(0, _OWN_TASTE, "merit", item.text)


def _shown(item: Item) -> str:
    return f"({item.mark}) {item.text.rstrip('.')}"


def _reason(brief: Brief, place: int) -> str:
    return "" if brief.size == "small" else f": {_why(brief, place)}"


def _why(brief: Brief, place: int) -> str:
    reasons = brief.chance.shuffled(_WHY, "why")
    return reasons[(place - 1) % len(reasons)]
