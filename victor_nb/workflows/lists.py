"""The entries of the list that a model's answer is, in whatever form it is written; votes on answers."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from victor_nb.calls.structured import (
    Repair,
    breaks_off,
    find_json,
    find_rows,
    read_json,
    spoken,
    thinks,
    under_key,
    without_tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from victor_nb.config.strategies import Parse

Family = Literal["number", "word", "letter", "bullet", "heading", "bold"]

WORDS: Final = (
    r"(?:alternative|answer|approach|candidate|concept|design|draft|example|feature|idea|item|name|no\.?|nr\.?|number|"
    r"option|pick|point|proposal|question|solution|step|suggestion|title|variant|version)"
)
_MARKS: Final[dict[Family, re.Pattern[str]]] = {
    "number": re.compile(
        r"""(?:(?=(?P<hash>\#)))?(?:\#{1,6}[ \t]+)?(?P<bold>\*\*|__)?[(\[\#]?(?P<number>\d{1,3})
        (?:\.\)|[.)\]](?!\d)|:(?=\s|\*|_|$)|[ \t]+[-–—](?=\s)|(?=\*\*|__)|(?(hash)(?=[ \t]\S)|(?!)))(?P<rest>.*)""",
        re.VERBOSE,
    ),
    "word": re.compile(
        rf"""(?:\#{{1,6}}[ \t]+)?(?P<bold>\*\*|__)?
        {WORDS}[ \t]*\#?[ \t]*(?P<number>\d{{1,3}})(?:[ \t]*(?:of|/)[ \t]*\d{{1,3}})?
        (?:[.:)](?!\d)|[ \t]*[-–—](?=\s)|(?=\*\*|__)|[ \t]*$)(?P<rest>.*)""",
        re.VERBOSE | re.IGNORECASE,
    ),
    "letter": re.compile(r"(?P<bold>\*\*|__)?\(?(?P<number>[A-Za-z])[.)](?P<rest>[ \t*_].*)"),
    "bullet": re.compile(r"(?P<bold>(?!))?[-*+•‣◦▪●·–—→][ \t]+(?:\[[ xX]\][ \t]+)?(?P<rest>.*)"),
    "heading": re.compile(r"(?P<bold>(?!))?\#{1,6}[ \t]+(?P<rest>.*?)[ \t]*\#*"),
    "bold": re.compile(r"(?P<bold>(?!))?(?P<rest>(?:\*\*|__)[^*_\n].*)"),
}
# A number as Chinese and Japanese write it, with their comma, full stop, colon and brackets.
_CJK: Final = re.compile(
    r"(?P<before>[#* ]*)[\uff08(]?第?(?P<number>[一二三四五六七八九十]{1,3}|[①-⑳]|\d+(?=[\u3001\uff0e\uff1a\uff09]))"
    r"(?:[ \t]*[\u3001\uff0e\uff1a\uff09.:)]|(?<=[①-⑳]))[ \t]*"
)
_LABEL: Final = re.compile(r"(?:\*\*|__)[^*_]+|[^*_]+")
_FENCE: Final = re.compile(r"[ \t]*(`{3,}|~{3,})")
_RULE: Final = re.compile(r"[ \t]*([-*_])[ \t]*(?:\1[ \t]*){2,}")


class Mark(NamedTuple):
    """A line on which an entry may begin.

    Attributes:
        line: Its number, from 0.
        indent: Columns before it.
        number: The number in the mark: 3 of `3.`; 0 where it has none.
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
    """Return the lines of a text on which an entry of a list may begin; code in fences has none.

    Headings and bold heads that come again are none: `**Why:** cheap` is a part of each entry. Nor are letters that do
    not count, as in `A. Turing`.
    """
    fenced = fences(lines)
    found = [mark for number, line in enumerate(lines) if number not in fenced and (mark := _mark(number, line))]
    letters = [mark.number for mark in found if mark.family == "letter"]
    if letters[1:] == [] or letters != list(range(1, len(letters) + 1)):
        found = [mark for mark in found if mark.family != "letter"]
    heads = {mark: _LABEL.match(mark.text) for mark in found if mark.family in {"heading", "bold"}}
    times = Counter(head[0].casefold() for head in heads.values() if head)
    return [mark for mark in found if not (head := heads.get(mark)) or times[head[0].casefold()] == 1]


def fences(lines: Sequence[str]) -> set[int]:
    """Return the numbers of the lines that are code in fences, the fences included."""
    found: set[int] = set()
    fence = ""
    for number, line in enumerate(lines):
        mark = _FENCE.match(line)
        if fence or mark:
            found.add(number)
        if fence:
            closes = mark is not None and mark[1].startswith(fence) and not line[mark.end() :].strip()
            fence = "" if closes else fence
        elif mark:
            fence = mark[1]
    return found


def _mark(number: int, line: str) -> Mark | None:
    text = _CJK.sub(_western, line.strip(), count=1) if _CJK.match(line.strip()) else line.strip()
    indent = len(line.expandtabs(4)) - len(line.expandtabs(4).lstrip())
    heading = re.match(r"#{1,6}[ \t]", text) is not None
    for family, pattern in _MARKS.items():
        if (found := pattern.fullmatch(text)) and not _RULE.fullmatch(line):
            label = found["number"] if family in {"word", "number", "letter"} else "0"
            own = int(label) if label.isdecimal() else ord(label.lower()) - ord("a") + 1
            return Mark(number, indent, family, own, _rest(found), heading)
    return None


def _western(found: re.Match[str]) -> str:
    """Return a number such as `一、` or `①` as `1.`."""
    word = found["number"]
    number = int(word) if word.isdecimal() else sum(int(unicodedata.numeric(sign)) for sign in word)  # up to 19
    return f"{found['before']}{number}. "


def _rest(found: re.Match[str]) -> str:
    """Return the text after a mark: `**1. Title** text` keeps the emphasis of its title, `**1.** text` has none."""
    rest, bold = found["rest"].strip(), found["bold"]
    if bold and rest.startswith(bold):
        return rest[len(bold) :].lstrip(" :–—")
    return f"{bold}{rest}" if bold and bold in rest else rest


_REFUSAL: Final = re.compile(
    r"""\W*(?:(?:i['’]?m\s|i\sam\s)?(?:very\s|so\s)?sorry\b[^.]{0,20}\bi\b|as\san\sai\b[^.]{0,40}\bi\b|
        (?:unfortunately,?\s)?i\s?(?:can(?:no|['’])?t|won['’]?t|will\snot|(?:am|['’]m)\s(?:not\sable|unable)(?:\sto)?)\s+
        (?:answer|assist|comply|complete|continue|create|do|fulfil|generate|help|offer|provide|suggest)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_WHOLE_FENCE: Final = re.compile(r"\s*(`{3,})[^\n`]*\n(?P<inside>.*?)\n\s*\1\s*", re.DOTALL)
_CODE: Final = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_ALONE: Final[frozenset[Family]] = frozenset(("number", "word", "bullet"))
_WORD_ALONE: Final = re.compile(WORDS, re.IGNORECASE)
_SHORT_LINE: Final = 80  # characters; lines of prose are longer, or end in a full stop
_HEADS: Final = ("title", "name", "idea", "heading", "item", "option", "proposal", "question", "answer", "text")
_COUNTERS: Final = frozenset(("#", "id", "index", "no", "nr", "number", "position", "rank"))

NO_LIST: Final = "the answer is no list: it is kept whole, as one item"
ITEMS: Final = "items"
"""The key under which a list is asked for."""
FREE: Final = "read as free text"
_BROKEN: Final = "the JSON breaks off: its last entry is left out"


class Parsed(NamedTuple):
    """The items of a text; `notes` name what could not be read."""

    items: tuple[str, ...]
    notes: tuple[str, ...] = ()


def parse(text: str, how: Parse, *, hint: int | None = None) -> Parsed:
    """Return the items of an answer: none of a blank one, at least one of any other.

    Args:
        text: The answer.
        how: See `Stage.parse`.
        hint: How many items were asked for; it settles which of two lists in a text is meant.
    """
    said = spoken(text)
    if not said.strip():
        return Parsed(())
    if callable(how):
        found = how(said)
        items = [found] if isinstance(found, str) else [str(item) for item in found]
        return _some([item for item in items if item.strip()], said, "parse found nothing: the answer is kept whole")
    if how == "item":
        return Parsed((_without_mark(said.strip()),))
    if how == "list":
        return list_items(said, hint=hint)
    if how == "code":
        return _some(_code(said), said, "the answer has no code fence: it is kept whole")
    if how == "json":
        found = find_json(said, "closed")
        return _some([_dump(found[-1])] if found else [], said, "the answer holds no JSON: it is kept whole")
    return Parsed((said,))


def refuses(text: str) -> bool:
    """Return whether an answer declines to answer, in the words that models use."""
    return _REFUSAL.match(spoken(text)) is not None


def numbered(items: Sequence[str], numbers: Sequence[int] = ()) -> str:
    """Return items as a list that a model reads and refers to by `numbers`, else from 1: long ones under headings."""
    listed = list(zip(numbers or range(1, len(items) + 1), items, strict=True))
    if any("\n" in item for item in items):
        return "\n\n".join(f"### Item {number}\n\n{item}" for number, item in listed)
    return "\n".join(f"{number}. {item}" for number, item in listed)


def list_items(text: str, *, hint: int | None = None) -> Parsed:
    """Return the entries of the list that a text is or holds: of the JSON that is asked for, else of free text.

    That may be numbered in any style, bulleted, under headings or in bold; a table, HTML or XML; a code block of these;
    or short lines. Nested lists stay inside their entry; a preface and a closing word are left out.
    """
    if thinks(text):
        return _some([], text, NO_LIST)
    if asked := _said_each(under_key(text, ITEMS) or ()):
        return Parsed(tuple(asked))
    whole = _WHOLE_FENCE.fullmatch(text)
    text = without_tags(whole["inside"].strip() if whole else text)
    lines = text.splitlines()
    found = marks(lines)
    before = "\n".join(lines[: found[0].line]) if found else text
    # JSON or a table that stands before any marked line is the answer; behind one, it is part of an entry or a remark.
    if items := _of_json(before):
        return Parsed(tuple(items))
    if breaks_off(before) and (items := _of_json(before, "any")[:-1]):
        return Parsed(tuple(items), (_BROKEN,))
    items = _said_each(find_rows(before)) or _of_marks(lines, found, hint)
    items = items or _said_each(find_rows(text)) or _of_json(text) or _of_lines(lines)
    return Parsed(tuple(items), (FREE,)) if items else _some([], text, NO_LIST)


def _without_mark(text: str) -> str:
    """Return a single item without the mark or the heading that it begins with."""
    lines = text.splitlines()
    found = marks(lines)
    first = found[0] if found and found[0].line == 0 and (found[0].family in _ALONE or found[0].heading) else None
    if first is None or (first.family, first.heading) in {(mark.family, mark.heading) for mark in found[1:]}:
        return text
    title = "" if _WORD_ALONE.fullmatch(first.text) else first.text
    return "\n".join([title, *lines[1:]]).strip() or text


def _some(items: Sequence[str], text: str, note: str) -> Parsed:
    return Parsed(tuple(items)) if items else Parsed((text.strip(),) if text.strip() else (), (note,))


def _code(text: str) -> list[str]:
    blocks = [found["code"].rstrip() for found in _CODE.finditer(text)]
    return ["\n\n".join(blocks)] if any(block.strip() for block in blocks) else []


# --- JSON ---


def _of_json(text: str, repair: Repair = "closed") -> list[str]:
    """Return the entries of the last list of texts or objects in JSON, or of `{"1": "...", "2": "..."}`."""
    values = find_json(text, repair)
    for value in reversed(values):
        mapping = cast("dict[str, object]", value) if isinstance(value, dict) else {"": value}
        lists = [cast("list[object]", each) for each in mapping.values() if isinstance(each, list)]
        lists += [[*mapping.values()]] if all(name.strip().isdecimal() for name in mapping) else []
        found = max(lists, key=len, default=list[object]())
        if any(isinstance(each, (str, dict)) for each in found):  # `[1]` between words is a footnote
            return _said_each(found)
    return _said_each(values) if len(values) > 1 and all(isinstance(value, dict) for value in values) else []


def _said_each(values: Iterable[object]) -> list[str]:
    return [said for value in values if (said := _said(value).strip())]


def _said(value: object) -> str:
    """Return a JSON value as text: of an object its title, then its other texts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return _dump(value)
    mapping = cast("dict[str, object]", value)
    parts = {key: each for key, each in mapping.items() if key.lower() not in _COUNTERS and isinstance(each, str)}
    if len(parts) < len([key for key in mapping if key.lower() not in _COUNTERS]) or not parts:
        return _dump(mapping)
    head = next((key for name in _HEADS for key in parts if key.lower() == name), next(iter(parts)))
    return ": ".join([parts[head], *(each for key, each in parts.items() if key != head)])


def _dump(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- marked lines ---


def _of_marks(lines: Sequence[str], found: Sequence[Mark], hint: int | None) -> list[str]:
    candidates = [chosen for family in _MARKS if (chosen := _outermost(found, family))]
    several = [chosen for chosen in candidates if len(chosen) > 1]
    if several:
        asked = [chosen for chosen in several if len(chosen) == hint]
        outer = min(chosen[0].indent for chosen in several)
        best = (asked or [chosen for chosen in several if chosen[0].indent <= outer + 1])[0]
        return _blocks(lines, best, found)
    alone = next((chosen for chosen in candidates if _stands_alone(lines, chosen[0])), None)
    return _blocks(lines, alone, found) if alone else []


def _outermost(found: Sequence[Mark], family: Family) -> list[Mark]:
    """Return the marks of a family that are not nested in others of it."""
    own = [mark for mark in found if mark.family == family]
    outer = min((mark.indent for mark in own), default=0)
    return [mark for mark in own if mark.indent <= outer + 1]


def _stands_alone(lines: Sequence[str], mark: Mark) -> bool:
    """Return whether a single mark is a list of one: nothing but an announcement is before it."""
    before = " ".join(lines[: mark.line]).strip()
    return mark.family in _ALONE and (not before or before.endswith(":"))


def _blocks(lines: Sequence[str], chosen: Sequence[Mark], found: Sequence[Mark]) -> list[str]:
    """Return the text of each entry: from its mark to the next one, or to a heading above the list."""
    ends = [mark.line for mark in chosen[1:]] + [len(lines)]
    stops = [] if any(mark.heading for mark in chosen) else [mark.line for mark in found if mark.heading]
    blocks: list[str] = []
    for mark, end in zip(chosen, ends, strict=True):
        stop = min([end, *(line for line in stops if line > mark.line)])
        blocks.append(_block(mark, lines[mark.line + 1 : stop], closing=end == len(lines), before=blocks))
    return [block for block in blocks if block]


def _block(mark: Mark, rest: Sequence[str], *, closing: bool, before: Sequence[str]) -> str:
    if closing:
        most = max((len(re.split(r"\n[ \t]*\n", block)) for block in before), default=1)
        rest = _without_closing(rest, most=most if mark.text else most + 1)
    code = fences(rest)
    kept = [line.rstrip() for number, line in enumerate(rest) if number in code or not _RULE.fullmatch(line)]
    return "\n".join([mark.text, *_dedented(kept)]).strip()


def _without_closing(rest: Sequence[str], most: int) -> Sequence[str]:
    """Remove the text after a list: a paragraph at the margin, where no entry before had as many."""
    code, paragraphs = fences(rest), 1
    for number, line in enumerate(rest):
        if number and not rest[number - 1].strip() and line.strip() and number not in code:
            paragraphs += 1
            if paragraphs > most and not line[0].isspace() and not marks([line]):
                return rest[:number]
    return rest


def _dedented(lines: Sequence[str]) -> list[str]:
    least = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[least:] for line in lines]


# --- plain lines ---


def _of_lines(text: Sequence[str]) -> list[str]:
    """Return short lines that no mark begins, as small models write lists."""
    lines = [line.strip() for line in text if line.strip()]
    lines = lines[1:] if lines and lines[0].endswith(":") else lines
    short = all(len(line) <= _SHORT_LINE and line[-1] not in ".:;,!?{}" for line in lines)
    return lines if len(lines) > 1 and short and not fences(text) else []


MARKUP: Final = re.compile(r"[*_`~#>\"'\u2018\u2019\u201c\u201d]+")
"""Marks that change how a text looks and not its meaning."""
_NUMBER: Final = re.compile(r"[$\u20ac\u00a3]?\s*(-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d{1,30}(?:\.\d{1,30})?)")


def vote(answers: Sequence[str]) -> list[tuple[str, int]]:
    """Return the different answers with how often each was given, most common first, the earlier first among equals.

    Answers are the same that differ in case, spaces, markup, a full stop, or the way a number is written.
    """
    first = {key(answer): answer for answer in reversed(answers)}
    return [(first[word], count) for word, count in Counter(map(key, answers)).most_common()]


def key(text: str) -> str:
    """Return an answer normalised for comparison: case, markup, spacing and number formats are ignored."""
    value = read_json(text, "closed")
    if isinstance(value, (list, dict)):
        return json.dumps(value, sort_keys=True)
    flat = " ".join(MARKUP.sub("", text).casefold().split()).strip(" .!")
    number = _NUMBER.fullmatch(flat)
    return f"{float(number[1].replace(',', '')):.12g}" if number else flat
