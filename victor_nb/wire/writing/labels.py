"""Labels: one of the offered words, or a sentiment where none are offered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.writing.subjects import words_of

if TYPE_CHECKING:
    from victor_nb.wire.writing.brief import Brief

_GOOD: Final = frozenset(
    """
    amazing awesome beautiful best brilliant comfortable delicious delighted easy excellent excited fantastic fast
    flawless friendly good great happy helpful impressed love loved lovely nice outstanding perfect pleasant pleased
    quick recommend reliable satisfied smooth solid superb thanks wonderful works worth
    """.split()
)
_BAD: Final = frozenset(
    """
    angry annoying awful bad bland boring broke broken bug cheap complaint confusing crash crashed crashes damaged
    dirty disappointed disappointing error expensive fail failed fails faulty frustrating hate hated horrible late
    lost mediocre never noisy overpriced poor refund rude sad slow stopped terrible ugly unhappy unusable useless
    waste worse worst wrong
    """.split()
)
_NOT: Final = frozenset(("not", "no", "never", "hardly", "isn't", "wasn't", "don't", "didn't", "doesn't", "won't"))
# Where options are named. Each group is a list in prose: `a, b or c`.
_OFFERS: Final = (
    r"\bone of(?: these| the following)?(?: \w+)?\s*:?\s*[\[({]?(?P<options>[^\])}\n.]+)",
    (
        r"\b(?:labels?|categories|classes|options|sentiments|tags|choices)\b(?: \w+){0,3}?\s*(?::|=|are)\s*[\[({]?"
        r"(?P<options>[^\])}\n.]+)"
    ),
    r"\(\s*(?P<options>[^()\n]*(?:,|/|\||\bor\b)[^()\n]*)\)",
    r"\[\s*(?P<options>[^\[\]\n]*(?:,|/|\|)[^\[\]\n]*)\]",
    (
        r"\b(?:as|into|either|with|say|is it|is this|answer|respond|reply)\s*:?\s+(?:either\s+|only\s+|just\s+)*"
        r"(?P<options>[^\n.:?]*?(?:,|/|\||\bor\b)[^\n.:?]*)"
    ),
    r"(?P<options>[\w-]+(?:/[\w-]+)+)",
)
_SPLIT: Final = re.compile(r"\s*(?:,\s*(?:and|or)\b|,|/|\||;|\bor\b|\band\b)\s*", re.IGNORECASE)
_LONGEST: Final = 40  # characters of a label
_LIKE: Final = {
    "good": ("positive", "pos", "good", "happy", "praise", "yes", "true", "satisfied"),
    "bad": ("negative", "neg", "bad", "unhappy", "complaint", "no", "false", "unsatisfied"),
    "mixed": ("neutral", "mixed", "other", "unclear", "none"),
}


# What a message holds that is filed under a common label.
_HINTS: Final = {
    r"bug|defect|technical": r"\b(?:bug|broken|crash\w*|error|exception|fail\w*|freez\w+|not work\w*)\b",
    r"feature|request|enhancement": r"\b(?:add|could you support|feature|it would be nice|please support|wish)\b",
    r"billing|payment|invoice": r"\b(?:bill\w*|card|charge\w*|invoice|paid|payment|price|refund|subscription)\b",
    r"shipping|delivery|logistics": r"\b(?:arriv\w+|courier|deliver\w*|package|parcel|ship\w*|tracking)\b",
    r"account|access|login": r"\b(?:account|log ?in|log ?on|password|sign ?in|two-factor|username)\b",
    r"spam|junk": r"\b(?:click here|congratulations|free money|limited offer|prize|winner|won)\b",
    r"urgent|high": r"\b(?:asap|down|emergency|immediately|now|outage|urgent\w*)\b",
    r"question|inquiry|how-to": r"\?\s*$|^\W*(?:can|do|does|how|is|what|when|where|which|who|why)\b",
}


def write_label(brief: Brief) -> str:
    """Return a label; a numbered list of labels where the material is a numbered list."""
    offered = options(f"{brief.task}\n{brief.system}")
    capital = not offered and bool(re.search(r"\b(?:Positive|Negative)\b", brief.prompt))
    if len(brief.items) > 1 and re.match(r"\s*[-*(\d]", brief.material):
        return "\n".join(f"{place}. {label(brief, item.text, offered)}" for place, item in enumerate(brief.items, 1))
    found = label(brief, brief.material or brief.task, offered)
    return found.capitalize() if capital else found


def label(brief: Brief, text: str, offered: tuple[str, ...]) -> str:
    """Return the option that fits a text, else one that chance picks; a sentiment where none are offered."""
    felt = feeling(text)
    if not offered:
        return {"good": "positive", "bad": "negative", "mixed": "neutral"}[felt]
    meant = next((option for option in offered if option.lower() in _LIKE[felt]), None)
    if meant:
        return meant
    hinted = next(
        (option for option in offered if any(re.search(h, text, re.IGNORECASE) for h in _hints(option))), None
    )
    if hinted:
        return hinted
    said = {word.lower() for word in words_of(text)}
    overlap = {option: sum(_related(word, said) for word in words_of(option.lower())) for option in offered}
    best = max(offered, key=lambda option: overlap[option])
    return best if overlap[best] else brief.chance.pick(offered, "label", text)


def options(text: str) -> tuple[str, ...]:
    """Return the labels that a text offers, in its order; empty where it offers none."""
    for offer in _OFFERS:
        for found in re.finditer(offer, text, re.IGNORECASE):
            split: list[str] = _SPLIT.split(found["options"])
            parts = tuple(dict.fromkeys(bare for part in split if (bare := _stripped(part))))
            if len(parts) > 1 and all(len(part) <= _LONGEST for part in parts):
                return parts
    return ()


def _hints(option: str) -> list[str]:
    return [hint for name, hint in _HINTS.items() if re.match(name, option, re.IGNORECASE)]


def _stripped(part: str) -> str:
    bare = re.sub(r"^(?:as|either|one of|the)\s+", "", part.strip(), flags=re.IGNORECASE)
    return bare.strip(" \t'\"`“”*.?!<>")


def _related(word: str, said: set[str]) -> bool:
    stem = word[: max(4, len(word) - 3)]
    return any(other.startswith(stem) for other in said)


def feeling(text: str) -> str:
    """Return whether a text sounds good, bad or mixed, by its words; a negation turns the next three over."""
    words = [word.lower() for word in words_of(text)]
    score = 0
    for place, word in enumerate(words):
        value = (word in _GOOD) - (word in _BAD)
        score += -value if _NOT & set(words[max(0, place - 3) : place]) else value
    return "good" if score > 0 else "bad" if score < 0 else "mixed"
