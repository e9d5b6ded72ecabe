"""Summaries: the sentences of the material that hold most of its words."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from victor_nb.wire.writing.brief import NUMBER, number
from victor_nb.wire.writing.subjects import is_content, words_of

if TYPE_CHECKING:
    from victor_nb.wire.pace import Size
    from victor_nb.wire.writing.brief import Brief

_SENTENCE: Final = re.compile(r"[^.!?\n]+(?:[.!?](?!\s|$)[^.!?\n]*)*[.!?]?")
_KEPT: Final[dict[Size, int]] = {"small": 2, "medium": 3, "large": 4}
_LONGEST: Final = 320


def write_summary(brief: Brief) -> str | None:
    """Return the weightiest sentences of the material in their order; None where there is nothing to summarise."""
    plain = re.sub(r"[*_`]{2,}|^\s*\d{1,2}\.\s", "", brief.material, flags=re.MULTILINE)
    sentences = [text for text in (found[0].strip(" \t-*#>") for found in _SENTENCE.finditer(plain)) if text]
    if not sentences:
        return None
    wanted = brief.count("sentences?|bullets?|bullet points|points|lines|takeaways") or _KEPT[brief.size]
    kept = [_closed(sentences[place]) for place in sorted(_weightiest(sentences)[:wanted])]
    most = re.search(rf"\b({NUMBER})[- ]words?\b", brief.task, re.IGNORECASE)
    if re.search(r"\bbullet|\bpoints\b|\btakeaways\b", brief.task, re.IGNORECASE):
        return "\n".join(f"- {sentence}" for sentence in kept)
    text = " ".join(kept)
    return _cut(text, number(most[1])) if most else text


def _weightiest(sentences: list[str]) -> list[int]:
    """Return the places of the sentences, those that hold the text's frequent words first."""
    contents = [[word.lower() for word in words_of(sentence) if is_content(word)] for sentence in sentences]
    often = Counter(word for words in contents for word in words)

    def weight(place: int) -> float:
        words = set(contents[place])
        lead = 1.5 if place == 0 else 1.0  # a text tells early what it is about
        return lead * sum(often[word] for word in words) / (len(words) + 3)

    return sorted(range(len(sentences)), key=weight, reverse=True)


def _closed(sentence: str) -> str:
    short = sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 3].rstrip() + "..."
    return short if short[-1] in ".!?…" else f"{short}."


def _cut(text: str, words: int) -> str:
    parts = text.split()
    return text if len(parts) <= words else " ".join(parts[: max(1, words)]).rstrip(",;:.") + "."
