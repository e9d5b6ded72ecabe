"""Small forms: a haiku, a poem, a story, a letter, a tagline, a table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.writing.brief import inline
from victor_nb.wire.writing.lists import THINGS, list_lines
from victor_nb.wire.writing.structured import named_keys, value_for
from victor_nb.wire.writing.subjects import capitalised

if TYPE_CHECKING:
    from victor_nb.wire.dialects.base import Json
    from victor_nb.wire.writing.brief import Brief

_HAIKU: Final = (
    ("{S} at first light,", "a small change nobody sees,", "then the whole day turns."),
    ("Late light on the desk,", "{s} in a margin note,", "rain begins again."),
    ("{S}, and silence,", "one leaf lets go of the branch,", "the pond keeps the sound."),
)
_POEM: Final = (
    "We came to {s} with a map and a plan,",
    "and the map was the first thing to go;",
    "the rest was a matter of start where you can",
    "and remember the things that you know.",
    "",
    "The evening was patient, the questions were small,",
    "and the answers arrived one by one;",
    "there is nothing in {s} to frighten at all",
    "when the first of the steps has been done.",
)
_STORY: Final = (
    (
        "Nobody in the village had expected {s}, least of all Mara, who kept the records. "
        "She wrote it down as she wrote everything: the date, the weather, and what had changed."
    ),
    (
        "On the third day she saw what was missing. Every line in her book said what had happened, and none said why. "
        "So she went from door to door and asked, and each neighbor knew a different half of it."
    ),
    (
        "By winter the book was full, and {s} had become the kind of story that people correct each other about. "
        "Mara closed the cover, sharpened her pencil, and began a second volume with a single word: because."
    ),
)
_LETTER: Final = (
    "Subject: {S}",
    "Hello,",
    "I am writing about {s}: the first part is done, one question is open, and I need a decision by Friday.",
    (
        "What is settled is in the notes. What is open is who takes the next step, and whether we wait for the "
        "numbers or go ahead without them. I suggest that we go ahead with a small version and look again in a week."
    ),
    "If that does not suit you, tell me what would have to change, and I will come back with another proposal.",
    "Best regards",
)
_TAGLINES: Final = (
    "{S}, without the detours.",
    "{S}. Start small, see more.",
    "Less guessing, more {s}.",
    "{S}: made for the second try.",
)
_JOKES: Final = (
    "Why did the notebook cross the road? To run the cells on the other side.",
    "A query walks into a bar, sees two tables and asks: may I join you?",
    "I told the scheduler a joke about time zones. It will laugh eight hours ago.",
)
_VALUES: Final = ("low", "medium", "high")


def write_haiku(brief: Brief) -> str:
    """Return three lines."""
    return _filled("\n".join(brief.chance.pick(_HAIKU, "haiku")), brief)


def write_poem(brief: Brief) -> str:
    """Return two verses."""
    return _filled("\n".join(_POEM), brief)


def write_story(brief: Brief) -> str:
    """Return a story of three paragraphs."""
    return _filled("\n\n".join(_STORY), brief)


def write_letter(brief: Brief) -> str:
    """Return an e-mail with its subject line."""
    return _filled("\n\n".join(_LETTER), brief)


def write_tagline(brief: Brief) -> str:
    """Return one line that sells the subject."""
    return _filled(brief.chance.pick(_TAGLINES, "tagline"), brief)


def write_joke(brief: Brief) -> str:
    """Return a joke."""
    return brief.chance.pick(_JOKES, "joke")


def write_translation(brief: Brief) -> str | None:
    """Return the text under the language's name: a simulator knows no languages, but each text gets its own answer."""
    language = re.search(r"\b(?:in)?to\s+([A-Z]\w+)", brief.task)
    text = brief.material.strip()
    return f"[{language[1] if language else 'translated'}] {text}" if text else None


def write_table(brief: Brief) -> str:
    """Return a Markdown table with a row for each thing that the prompt lists, or for each that it asks for."""
    compared = re.search(r"\bcompar\w+\s+(.+)", brief.task)
    listed = [item.text for item in brief.items] if brief.material else inline(compared[1]) if compared else []
    wanted = min(brief.count(f"{THINGS}|rows|entries|items") or 4, 30)
    keys = named_keys(brief.prompt)
    names = listed or [line.partition(":")[0] for line in list_lines(brief, wanted)]
    if keys:
        rows = [[_cell(value_for(key, brief, place)) for key in keys] for place in range(wanted)]
    else:
        rows = [_row(name, brief) for name in names]
    if re.search(r"\bcsv\b", brief.task, re.IGNORECASE):
        return "\n".join(",".join(row) for row in (keys or ("name", "effort", "effect"), *rows))
    head = [capitalised(key) for key in keys or ("name" if compared else brief.subject, "Effort", "Effect")]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _row(name: str, brief: Brief) -> list[str]:
    values = (brief.chance.pick(_VALUES, column, name) for column in ("effort", "effect"))
    return [_cell(name), *values]


def _cell(value: Json) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"\s*[|,]\s*", " ", text)


def _filled(text: str, brief: Brief) -> str:
    return text.format(s=brief.subject, S=capitalised(brief.subject))
