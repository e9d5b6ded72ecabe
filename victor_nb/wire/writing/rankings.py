"""Rankings: the best of what the prompt lists, best first."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.pace import Chance
from victor_nb.wire.writing.brief import NUMBER, number
from victor_nb.wire.writing.labels import feeling

if TYPE_CHECKING:
    from victor_nb.wire.writing.brief import Brief, Item

_NUMBERS_ONLY: Final = re.compile(
    r"\b(?:only|just)\b[^.\n]{0,30}\b(?:numbers?|ind(?:ex|ices|exes)|letters?|ids?)\b|"
    r"\b(?:numbers?|ind(?:ex|ices|exes)|letters?|ids?)\s+(?:only|alone)\b|"
    r"\b(?:answer|reply|respond)\s+with\s+(?:only\s+)?(?:[A-Z]|\d)\s+or\s+(?:[A-Z]|\d)\b",
    re.IGNORECASE,
)
_TOP: Final = re.compile(
    rf"\b(?:best|choose|keep|pick|select|shortlist|strongest|top)\b(?:\W+(?:me|only|the|your|top|best|out)\b)*\W+({NUMBER})\b|"
    rf"\b({NUMBER})\s+(?:best|strongest|top|most)\b",
    re.IGNORECASE,
)
_ONE: Final = re.compile(
    r"\b(?:pick|choose|select|which|name)\b.{0,40}\b(?:best|better|strongest|winner|one)\b|\bthe (?:single )?best\b",
    re.IGNORECASE | re.DOTALL,
)
_SCALE: Final = re.compile(
    r"\b(?:from|between)\s+(\d{1,3})\s+(?:to|and)\s+(\d{1,3})\b|\b(?:out of|/)\s*(\d{1,3})\b", re.IGNORECASE
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
_ALONE: Final = "The others are sound too; this one leaves the fewest questions open."
_ANSWERS: Final = re.compile(r'<answer id="([A-Z])">\n(.*?)\n</answer>', re.DOTALL)
_LONG: Final = 1_500  # characters of an answer that leaves nothing out
_MOST: Final = 100
_OWN_TASTE: Final = 0.35  # how much of a model's judgement is its own; the rest they share


def write_score(brief: Brief) -> str:
    """Return a mark on the asked scale, with a reason where there is room for it; of several answers, one for each."""
    found = _SCALE.search(brief.task)
    low, high = (int(found[1] or 0), int(found[2] or found[3])) if found else (1, 10)
    low, high = min(low, high), max(low, high)
    answers = _ANSWERS.findall(brief.prompt)
    if len(answers) > 1:
        return json.dumps({label: round(low + (high - low) * _worth(answer), 1) for label, answer in answers})
    share = {"good": 0.9, "mixed": 0.7, "bad": 0.3}[feeling(brief.material)] + brief.chance.between(-0.1, 0.1, "score")
    mark = max(low, min(high, round(low + share * (high - low))))
    if brief.size == "small" or re.search(r"\b(?:only|just)\b", brief.task, re.IGNORECASE):
        return str(mark)
    return f"{mark}/{high}: {_why(brief, 1)}"


def _worth(answer: str) -> float:
    """Return what an answer is worth to a judge, from 0 to 1: more work shows, and the same text is worth the same."""
    length = min(1.0, len(answer) / _LONG)
    return 0.45 + 0.35 * length**0.5 + Chance("worth").between(-0.08, 0.12, answer.strip())


def write_ranking(brief: Brief) -> str | None:
    """Return the chosen items, best first; None where the prompt lists nothing to choose from."""
    items = brief.items
    if len(items) < 2:  # noqa: PLR2004 - one thing is no choice
        return None
    chosen = sorted(items, key=lambda item: _merit(brief, item), reverse=True)[
        : _how_many(brief, min(len(items), _MOST))
    ]
    if _NUMBERS_ONLY.search(brief.task):
        return ", ".join(item.mark for item in chosen)
    explained = brief.size != "small" or bool(
        re.search(r"\b(?:because|explain|reasons?|why)\b", brief.task, re.IGNORECASE)
    )
    reasons = [f": {_why(brief, place)}" if explained else "" for place in range(1, len(chosen) + 1)]
    lines = [f"{n}. {_shown(item)}{why}" for n, (item, why) in enumerate(zip(chosen, reasons, strict=True), start=1)]
    if brief.size == "small":
        return "\n".join(lines)
    closing = brief.chance.pick(_CLOSINGS, "closing") if len(chosen) > 1 else _ALONE
    return "\n".join([*lines, "", closing])


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


def _why(brief: Brief, place: int) -> str:
    reasons = brief.chance.shuffled(_WHY, "why")
    return reasons[(place - 1) % len(reasons)]
