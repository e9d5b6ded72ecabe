"""Lists: ideas, steps, reasons, risks, questions, names, as many as were asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.writing import phrases
from victor_nb.wire.writing.subjects import capitalised

if TYPE_CHECKING:
    from victor_nb.wire.pace import Size
    from victor_nb.wire.writing.brief import Brief

# What can be counted in a list, by the bank that it is made from.
_BANKS: Final = {
    r"steps?|stages?|phases?": phrases.STEPS,
    r"(?:[\w-]+ )?questions?": phrases.QUESTIONS,
    r"risks?|problems?|pitfalls?|mistakes?|cons|disadvantages|challenges?|drawbacks?|threats?": phrases.RISKS,
    r"reasons?|benefits?|advantages?|pros|principles?|tips|lessons?|best practices|practices|points|facts?|arguments?|"
    r"things|takeaways?|insights?|bullets|bullet points|factors?|trends?": phrases.POINTS,
    r"ideas?|features?|ways?|approach(?:es)?|options?|strateg(?:y|ies)|suggestions?|variations?|alternatives?|"
    r"improvements?|experiments?|activities|topics?|exercises?|projects?|use cases|examples?|concepts?|solutions?|"
    r"applications|techniques?|goals?|metrics|items": (),
}
_NAMES: Final = r"names?|titles?|slogans?|taglines?|headlines?"
THINGS: Final = "|".join((*_BANKS, _NAMES, *phrases.THINGS))
_PRODUCT: Final = re.compile(
    r"\b(?:apps?|bots?|cli|dashboards?|features?|notebooks?|platform|plugins?|products?|saas|services?|software|startup|"
    r"tools?|trackers?|websites?)\b",
    re.IGNORECASE,
)
_VAGUE: Final = frozenset(("feature", "features", "product", "project", "something", "the question"))
_DEFAULT: Final[dict[Size, int]] = {"small": 5, "medium": 5, "large": 6}
_MOST: Final = 100


def write_list(brief: Brief) -> str:
    """Return a list of the asked length in the asked marks."""
    wanted = min(brief.count(THINGS) or _DEFAULT[brief.size], _MOST)
    lines = list_lines(brief, wanted)
    if re.search(r"comma[- ]separated", brief.task, re.IGNORECASE):
        return ", ".join(line.partition(":")[0] for line in lines)
    return "\n".join(_marked(place, line, brief) for place, line in enumerate(lines, start=1))


def write_pros_and_cons(brief: Brief) -> str:
    """Return what speaks for the subject, and what against it."""
    sides = {"Pros": phrases.POINTS, "Cons": phrases.RISKS}
    count = {"small": 2, "medium": 3, "large": 4}[brief.size]
    texts: list[str] = []
    for side, bank in sides.items():
        lines = [_line(brief, line, 0).partition(":") for line in brief.chance.shuffled(bank, side)[:count]]
        texts.append("\n".join([f"**{side}**", "", *(f"- {heading}:{rest}." for heading, _, rest in lines)]))
    return "\n\n".join(texts)


def list_lines(brief: Brief, wanted: int) -> list[str]:
    """Return so many lines, each a heading or a heading, a colon and a sentence."""
    for kind, things in phrases.THINGS.items():
        if re.search(rf"\b(?:{kind})\b", brief.task, re.IGNORECASE) and wanted <= len(things):
            return [capitalised(thing) for thing in brief.chance.shuffled(things, "things")[:wanted]]
    if re.search(rf"\b(?:{_NAMES})\b", brief.task, re.IGNORECASE):
        return _names(brief, wanted)
    bank = _bank(brief)
    ordered = list(bank[:wanted]) if bank is phrases.STEPS else brief.chance.shuffled(bank, "list")
    rounds = -(-wanted // len(ordered))
    lines = [_line(brief, line, round_) for round_ in range(rounds) for line in ordered]
    return lines[:wanted]


def _bank(brief: Brief) -> tuple[str, ...]:
    for kind, bank in _BANKS.items():
        if bank and re.search(rf"\b(?:{kind})\b", brief.task, re.IGNORECASE):
            return bank
    if brief.subject.partition(" ")[0].endswith("ing"):
        return phrases.EFFORTS
    return phrases.PRODUCT if _PRODUCT.search(f"{brief.task} {brief.subject}") else phrases.GENERAL


def _line(brief: Brief, line: str, round_: int) -> str:
    """Return one line about the subject; later rounds over a bank are for somebody else."""
    subject = "the product" if brief.subject.lower() in _VAGUE else brief.subject
    heading, _, rest = line.format(s=subject).partition(":")
    if round_:
        extra = phrases.ROUNDS[1:][(round_ - 1) % (len(phrases.ROUNDS) - 1)]
        again = f" ({round_ // len(phrases.ROUNDS) + 1})" if round_ >= len(phrases.ROUNDS) else ""
        heading = f"{heading} {extra}{again}"
    if brief.size == "large" and line[-1] != "?":
        rest = f"{rest}. {brief.chance.pick(phrases.WHY, heading).rstrip('.')}"
    return f"{heading}:{rest}" if rest else heading


def _names(brief: Brief, wanted: int) -> list[str]:
    words = [word for word in brief.keywords if word.isascii() and word.isalpha()] or ["Compass"]
    made = [pattern.format(W=capitalised(word)) for word in words[:5] for pattern in phrases.NAME_PARTS]
    mixed = brief.chance.shuffled(dict.fromkeys(made), "names")
    return [
        name if place < len(mixed) else f"{name} {place // len(mixed) + 1}" for place, name in _cycle(mixed, wanted)
    ]


def _cycle(names: list[str], wanted: int) -> list[tuple[int, str]]:
    return [(place, names[place % len(names)]) for place in range(wanted)]


def _marked(place: int, line: str, brief: Brief) -> str:
    heading, _, rest = line.partition(":")
    shown = f"**{heading}**:{rest}" if rest and brief.size != "small" else line
    shown = shown if shown[-1] in "?." or not rest else f"{shown}."
    if re.search(r"\bbullet", brief.task, re.IGNORECASE):
        return f"- {shown}"
    if re.search(r"\b(?:no|without|un)[- ]?number", brief.task, re.IGNORECASE):
        return shown
    return f"{place}. {shown}"
