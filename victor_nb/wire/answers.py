"""Writes the text of a simulated answer: shaped by the prompt, the same each time, and no model's own.

A shape is a cue, by which a task asks for it, and a writer. The cue that stands first in the task wins; a writer
that finds nothing to work on passes. Whoever wants other answers (a planted quality, a fixed text) gives the
`Simulator` another author, which may call `write` for the rest.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from victor_nb.wire.writing.brief import NUMBER, Brief, read
from victor_nb.wire.writing.exact import write_exact
from victor_nb.wire.writing.explanations import write_explanation
from victor_nb.wire.writing.forms import (
    write_haiku,
    write_joke,
    write_letter,
    write_poem,
    write_story,
    write_table,
    write_tagline,
    write_translation,
)
from victor_nb.wire.writing.labels import write_label
from victor_nb.wire.writing.lists import THINGS, write_list, write_pros_and_cons
from victor_nb.wire.writing.programs import write_code, write_revision
from victor_nb.wire.writing.prose import write_prose
from victor_nb.wire.writing.rankings import write_ranking, write_score
from victor_nb.wire.writing.reviews import write_review
from victor_nb.wire.writing.structured import write_json, write_schema
from victor_nb.wire.writing.summaries import write_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.wire.dialects.base import Asked


class Shape(NamedTuple):
    """One shape of answer: how a task asks for it, and who writes it."""

    cue: re.Pattern[str]
    write: Callable[[Brief], str | None]


def _cue(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_MANY: Final = (
    "advantages|alternatives|approaches|benefits|examples|features|headlines|ideas|names|options|questions|reasons|risks|"
    "slogans|steps|strategies|suggestions|taglines|tips|titles|use cases|ways"
)
_LABEL: Final = Shape(
    _cue(
        r"\b(?:classify|categori[sz]e|label)\b",
        r"\b(?:the|determine|detect) sentiment\b",
        r"\b(?:answer|reply|respond)\b.{0,30}\b(?:yes or no|true or false)\b",
        r"\bis (?:this|it|the following)\b[^.\n]{0,60}\bor\b",
    ),
    write_label,
)
_RANKING: Final = Shape(
    _cue(
        r"\b(?:rank|pick|choose|select|shortlist|prioriti[sz]e)\b",
        r"\bwhich (?:one|of|idea|option|answer|is best|is better|is the best)\b",
        r"\b(?:evaluate|judge|order|sort) (?:these|the following|them|the)\b",
        r"\b(?:best|strongest) of\b",
    ),
    write_ranking,
)
_REVIEW: Final = Shape(
    _cue(
        r"(?<!write a )(?<!this )(?<!the )(?<!customer )\breview\b(?! of\b)",
        r"\b(?:critique|audit|proofread|inspect)\b",
        r"\bfind (?:the |any |all )?(?:\d+ )?(?:bugs|errors|flaws|issues|mistakes|problems|vulnerabilities)\b",
        r"\bcheck\b.{0,40}\bfor (?:bugs|errors|issues|mistakes|problems|security)\b",
        r"\b(?:feedback|what is wrong|what's wrong)\b",
    ),
    write_review,
)
_SUMMARY: Final = Shape(
    _cue(r"\bsummari[sz]e\b", r"\bsummary\b", r"\btl;?dr\b", r"\bcondense\b", r"\bkey (?:points|takeaways)\b"),
    write_summary,
)
_SHAPES: Final = (
    _LABEL,
    _RANKING,
    _SUMMARY,
    _REVIEW,
    Shape(
        _cue(
            r"\b(?:as|in|into) (?:a |an )?(?:markdown )?table\b",
            r"\b(?:make|create|draw|give|show|build|return|write)\b(?!.{0,30}\bsql\b).{0,30}\btable\b",
            r"\bas csv\b",
        ),
        write_table,
    ),
    Shape(
        _cue(
            r"^\W*(?:please\s+)?(?:implement|code)\b",
            r"\bprototype\b",
            r"^\W*(?:build|create|make|show|write)\s+(?:me\s+)?(?:an?\s+|some\s+)?(?:short\s+|simple\s+|small\s+)?"
            r"(?:bash|javascript|python|ruby|rust|typescript)\b",
            r"^\W*(?:build|create|design|make|show|sketch|solve|write)\b[^.\n]{0,80}\bin "
            r"(?:bash|c#|c\+\+|go|java|javascript|python|ruby|rust|sql|typescript)\b",
            r"\bimplement (?:this|the|a|an|it|that)\b",
            r"\b(?:build|convert|create|draft|generate|give|make|port|produce|provide|show|write)\b[^.\n]{0,60}?\b"
            r"(?:class(?:es)?|code|decorators?|dockerfile|functions?|html page|makefile|modules?|parser|program|"
            r"quer(?:y|ies)|regex|scripts?|snippets?|sql statement|tests?)\b",
            r"\b(?:unit )?tests? for\b",
        ),
        write_code,
    ),
    Shape(
        _cue(
            r"^\W*(?:please\s+)?(?:refine|polish|refactor|improve|rewrite|revise|fix)\b",
            r"\b(?:refine|polish|refactor|improve|rewrite|revise) (?:this|the|these|it|my)\b",
        ),
        write_revision,
    ),
    Shape(
        _cue(
            r"^\W*(?:please )?(?:rate|score|grade)\b", r"\bon a scale\b", r"\ba (?:rating|score) (?:from|between|of)\b"
        ),
        write_score,
    ),
    Shape(_cue(r"\btranslate\b"), write_translation),
    Shape(_cue(r"\b(?:a|another|me) joke\b"), write_joke),
    Shape(_cue(r"\bexplain\b[^.\n]{0,40}\b(?:code|function|program|query|script|snippet|this)\b"), write_explanation),
    Shape(_cue(r"\bpros and cons\b"), write_pros_and_cons),
    Shape(_cue(r"\bhaiku\b"), write_haiku),
    Shape(_cue(r"\b(?:poem|verse|limerick|sonnet|song)\b"), write_poem),
    Shape(_cue(r"\b(?:write|tell)\b[^.\n]{0,30}\b(?:story|tale|fable)\b"), write_story),
    Shape(_cue(r"\b(?:write|draft|compose)\b[^.\n]{0,40}\b(?:e-?mail|letter|message)\b"), write_letter),
    Shape(_cue(r"\ba (?:\w+ )?(?:tagline|slogan|headline|title|name|tweet)\b"), write_tagline),
    Shape(
        _cue(
            r"\bbrainstorm\b",
            rf"\b{NUMBER} (?:[\w'-]+ ){{0,4}}?(?:{THINGS})\b",
            r"^\W*(?:please )?(?:list|enumerate|outline)\b",
            r"\b(?:a|numbered|bulleted|short|the following) list of\b",
            r"\b(?:come up with|create|generate|give|name|offer|propose|share|suggest|tell|think of|what are|write)\b"
            rf"[^.\n]{{0,60}}?\b(?:{_MANY})\b",
            r"\b(?:bullet points|bullets)\b",
        ),
        write_list,
    ),
)
_JSON: Final = _cue(
    r"\b(?:as|in|return|respond|reply|answer|output|valid|only|with|give|produce|format)\W+(?:[\w-]+\W+){0,4}?json\b",
    r"\bjson\W+(?:only|object|array|list|with|format)\b",
)
_CODE_FIRST: Final = _cue(
    r"^\W*(?:please\s+)?(?:write|implement|create|build|review|fix)\b[^.\n]{0,60}\b(?:function|class|script|code|parser)\b"
)
_SHORT_PROMPT: Final = 1500  # characters: in a longer one, words behind the task are material


def write(asked: Asked) -> str:
    """Return the answer to a question: never empty."""
    brief = read(asked)
    if brief.schema is not None:
        return write_schema(brief)
    if brief.wants_json or _asks_json(brief):
        return write_json(brief)
    return write_exact(brief) or _shaped(brief) or _shaped_by_system(brief) or write_prose(brief)


def _asks_json(brief: Brief) -> bool:
    if _CODE_FIRST.search(brief.task):
        return False
    told = brief.prompt if len(brief.prompt) < _SHORT_PROMPT and not brief.code else brief.task
    return bool(_JSON.search(told) or _JSON.search(brief.system))


def _shaped(brief: Brief, shapes: tuple[Shape, ...] = _SHAPES) -> str | None:
    """Return the answer in the shape that the task names first; None where it names none."""
    found = [(cue.start(), shape.write) for shape in shapes if (cue := shape.cue.search(brief.task))]
    writers = [writer for _, writer in sorted(found, key=lambda pair: pair[0])]
    if write_ranking in writers and writers[0] not in (write_code, write_revision):
        writers.insert(0, write_ranking)  # `here are ten ideas: pick the best` asks for no list
    return next((text for writer in writers if (text := writer(brief))), None)


def _shaped_by_system(brief: Brief) -> str | None:
    """Return the answer in a shape that the system prompt names: `Classify what you are given.`."""
    if not brief.system.strip() or not brief.prompt.strip():
        return None
    return _shaped(replace(brief, prompt=f"{brief.system.strip()}\n\n{brief.prompt}"), (_LABEL, _SUMMARY, _REVIEW))
