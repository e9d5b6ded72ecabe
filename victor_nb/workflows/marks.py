"""Where the entries of a list begin in a text, in all the ways in which models mark them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Family = Literal["number", "word", "letter", "bullet", "heading", "bold"]

WORDS: Final = (
    r"(?:alternative|answer|approach|candidate|concept|design|draft|example|feature|idea|item|name|no\.?|nr\.?|number|"
    r"option|pick|point|proposal|question|solution|step|suggestion|title|variant|version)"
)
_NUMBERED: Final = re.compile(
    r"""(?:\#{1,6}[ \t]+)?(?P<bold>\*\*|__)?
        (?:(?P<open>[(\[\#])?(?P<number>\d{1,3})
           (?:\.\)|[.)\]](?!\d)|:(?=\s|\*|_|$)|[ \t]+[-–—](?=\s)|(?=\*\*|__)|(?=[ \t]\S)(?P<loose>))
        )(?P<rest>.*)""",
    re.VERBOSE,
)
_WORD: Final = re.compile(
    rf"""(?:\#{{1,6}}[ \t]+)?(?P<bold>\*\*|__)?
        {WORDS}[ \t]*\#?[ \t]*(?P<number>\d{{1,3}})
        (?:[.:)](?!\d)|[ \t]*[-–—](?=\s)|(?=\*\*|__)|[ \t]*$)(?P<rest>.*)""",
    re.VERBOSE | re.IGNORECASE,
)
_LETTER: Final = re.compile(r"(?P<bold>\*\*|__)?\(?(?P<letter>[A-Za-z])[.)](?P<rest>[ \t*_].*)")
_BULLET: Final = re.compile(r"(?:[-*+•‣◦▪●·–—→][ \t]+)(?:\[[ xX]\][ \t]+)?(?P<rest>.*)")
_HEADING: Final = re.compile(r"\#{1,6}[ \t]+(?P<rest>.*?)[ \t]*\#*")
_BOLD: Final = re.compile(r"(?P<rest>(?:\*\*|__)[^*_\n].*)")
_FENCE: Final = re.compile(r"[ \t]*(`{3,}|~{3,})")
_RULE: Final = re.compile(r"[ \t]*([-*_])[ \t]*(?:\1[ \t]*){2,}")


class Mark(NamedTuple):
    """A line on which an entry may begin.

    Attributes:
        line: Its number, from 0.
        indent: Columns before it.
        number: What the mark says: 3 of `3.` and of `c)`; 0 where it says none.
        text: What stands behind the mark.
        heading: Whether the line is a Markdown heading.
    """

    line: int
    indent: int
    family: Family
    number: int
    text: str
    heading: bool


def marks(lines: Sequence[str]) -> list[Mark]:
    """Return the lines of a text on which an entry of a list may begin; code in fences has none."""
    fenced = fences(lines)
    found = (_mark(number, line) for number, line in enumerate(lines) if number not in fenced)
    return _in_alphabet([mark for mark in found if mark is not None])


def fences(lines: Sequence[str]) -> set[int]:
    """Return the numbers of the lines that are code in fences, the fences included."""
    return set(_fenced(lines))


def _fenced(lines: Sequence[str]) -> Iterator[int]:
    fence = ""
    for number, line in enumerate(lines):
        found = _FENCE.match(line)
        if fence:
            yield number
            closes = found is not None and found[1].startswith(fence) and not line[found.end() :].strip()
            fence = "" if closes else fence
        elif found:
            yield number
            fence = found[1]


def is_rule(line: str) -> bool:
    """Tell whether a line is a horizontal rule."""
    return _RULE.fullmatch(line) is not None


def _mark(number: int, line: str) -> Mark | None:
    text = line.strip()
    indent = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
    heading = text.startswith("#") and _HEADING.fullmatch(text) is not None
    if is_rule(line):
        return None
    if found := _WORD.fullmatch(text):
        return Mark(number, indent, "word", int(found["number"]), _rest(found), heading)
    if (found := _NUMBERED.fullmatch(text)) and (found["loose"] is None or heading or found["open"] == "#"):
        return Mark(number, indent, "number", int(found["number"]), _rest(found), heading)
    if found := _LETTER.fullmatch(text):
        return Mark(number, indent, "letter", ord(found["letter"].lower()) - ord("a") + 1, _rest(found), heading)
    for family, pattern in _PLAIN:
        if found := pattern.fullmatch(text):
            return Mark(number, indent, family, 0, found["rest"].strip(), heading)
    return None


_PLAIN: Final[tuple[tuple[Family, re.Pattern[str]], ...]] = (
    ("bullet", _BULLET),
    ("heading", _HEADING),
    ("bold", _BOLD),
)


def _rest(found: re.Match[str]) -> str:
    """Return what stands behind a mark: `**1. Title** text` keeps the emphasis of its title, `**1.** text` has none."""
    rest, bold = found["rest"].strip(), found["bold"]
    if bold and rest.startswith(bold):
        return rest[len(bold) :].lstrip(" :–—")
    return f"{bold}{rest}" if bold and bold in rest else rest


def _in_alphabet(found: list[Mark]) -> list[Mark]:
    """Leave letters out that do not count: `A. Turing` begins no list, and nor does `I. am`."""
    letters = [mark.number for mark in found if mark.family == "letter"]
    counts = len(letters) > 1 and letters == list(range(1, len(letters) + 1))
    return [mark for mark in found if mark.family != "letter" or counts]
