"""The JSON in a model's answer: alone, in a fence, or in the middle of prose; with the slips that models make."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from victor_nb.config.strategies import Parse


_FENCED: Final = re.compile(r"```[ \t]*(?:json[c5]?|python)?[ \t]*\n(?P<inside>.*?)```", re.DOTALL | re.IGNORECASE)
_OPENS: Final = re.compile(r"[\[{]")
_TRAILING: Final = re.compile(r",(\s*[\]}])")
_REPAIRABLE: Final = re.compile(r"[\[{]\s*(?:[\"\[{/]|'.*[\]}]$)", re.DOTALL)
"""How broken JSON begins. A bracket before a bare word, as in `[see below]`, is prose, not a list to repair."""
_PAIRS: Final = {"[": "]", "{": "}"}
_TRIES: Final = 20
_LONG: Final = 50_000  # characters from one bracket to the other
_DEEP: Final = 50  # brackets in brackets; a repair takes quadratic time in their depth

_MISSING: Final = object()
Repair = Literal["any", "closed", "none"]


def find_json(text: str, repair: Repair = "any") -> list[object]:
    """Return the JSON arrays and objects of an answer, in order; none inside another. It never raises.

    Slips that models make are repaired by json-repair: quotes, commas and brackets that are wrong or missing. It may
    take a second for an answer of 50,000 characters.

    Args:
        text: The answer.
        repair: What is repaired: `any` broken JSON, also what breaks off; only what is `closed` at its end; or `none`.
    """
    whole = _strict(text)
    if isinstance(whole, (list, dict)):
        return [whole]
    fenced = [read_json(found["inside"], repair) for found in _FENCED.finditer(text)]
    found: list[object] = [value for value in fenced if isinstance(value, (list, dict))]
    found = found or list(_embedded(text, repair))
    broken = read_json(text, repair) if not found else _MISSING
    return [broken] if isinstance(broken, (list, dict)) else found


def read_json(text: str, repair: Repair = "any") -> object:
    """Return the value that a text is, after a repair where it is needed; a sentinel if the text is no JSON."""
    text = text.strip()
    value = _strict(text)
    if value is not _MISSING or repair == "none" or (repair == "closed" and not _closed(text)):
        return value
    if not _REPAIRABLE.match(text) or len(text) > _LONG or _depth(text) > _DEEP:
        return value
    import json_repair  # noqa: PLC0415 - answers with broken JSON are few

    try:
        repaired: object = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return _MISSING
    return repaired if repaired and isinstance(repaired, list if text[0] == "[" else dict) else _MISSING


def _closed(text: str) -> bool:
    """Return whether no bracket and no quote is open at the end; a bracket left out inside others does not count."""
    stack: list[str] = []
    for sign in text:
        if sign in _PAIRS:
            stack.append(_PAIRS[sign])
        elif sign in stack:
            while stack.pop() != sign:
                pass
    return not stack and text.replace('\\"', "").count('"') % 2 == 0


def _depth(text: str) -> int:
    """Return the depth of nested brackets, those in quotes included."""
    return max(accumulate((sign in "[{") - (sign in "]}") for sign in text), default=0)


def _strict(text: str) -> object:
    """Return the value of JSON as it is written, except that trailing commas are ignored; else the sentinel."""
    for attempt in (text, _TRAILING.sub(r"\1", text)):
        try:
            return json.loads(attempt)
        except (ValueError, RecursionError):
            continue
    return _MISSING


def _embedded(text: str, repair: Repair) -> Iterator[object]:
    """Find arrays and objects between words."""
    place = 0
    for _ in range(_TRIES):
        opening = _OPENS.search(text, place)
        if opening is None:
            return
        end = _closing(text, opening.start())
        if not end and repair != "any" and _REPAIRABLE.match(text, opening.start()):
            return  # what follows is a part of a value that breaks off
        value = read_json(text[opening.start() : end], repair) if end else _MISSING
        if end and isinstance(value, (list, dict)):
            yield value
        place = end if end and value is not _MISSING else opening.end()


def _closing(text: str, start: int) -> int:
    """Return where the bracket at `start` is closed, the closing one included; 0 where it is not."""
    stack: list[str] = []
    quoted = escaped = False
    for place in range(start, min(len(text), start + _LONG)):
        sign = text[place]
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = sign == "\\", sign != '"'
        elif sign == '"':
            quoted = True
        elif sign in _PAIRS:
            stack.append(_PAIRS[sign])
        elif stack and sign == stack[-1]:
            stack.pop()
            if not stack:
                return place + 1
    return 0


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
        number: The number in the mark: 3 of `3.` and of `c)`; 0 where it has none.
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


def is_rule(line: str) -> bool:
    """Return whether a line is a horizontal rule."""
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
    """Return the text after a mark: `**1. Title** text` keeps the emphasis of its title, `**1.** text` has none."""
    rest, bold = found["rest"].strip(), found["bold"]
    if bold and rest.startswith(bold):
        return rest[len(bold) :].lstrip(" :–—")
    return f"{bold}{rest}" if bold and bold in rest else rest


def _in_alphabet(found: list[Mark]) -> list[Mark]:
    """Return the marks without letters that do not count: `A. Turing` begins no list, and nor does `I. am`."""
    letters = [mark.number for mark in found if mark.family == "letter"]
    counts = len(letters) > 1 and letters == list(range(1, len(letters) + 1))
    return [mark for mark in found if mark.family != "letter" or counts]


_THOUGHT: Final = re.compile(r"\s*<(?P<tag>think|thinking|thought|reasoning)>", re.IGNORECASE)
_WHOLE_FENCE: Final = re.compile(r"\s*(`{3,})[^\n`]*\n(?P<inside>.*?)\n\s*\1\s*", re.DOTALL)
_CODE: Final = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_BY_RANK: Final[tuple[Family, ...]] = ("number", "word", "letter", "bullet", "heading", "bold")
_ALONE: Final[frozenset[Family]] = frozenset(("number", "word", "bullet"))
_SHORT_LINE: Final = 80  # characters; lines of prose are longer, or end in a full stop
_HEADS: Final = ("title", "name", "idea", "heading", "item", "option", "proposal", "question", "answer", "text")
_COUNTERS: Final = frozenset(("id", "index", "no", "nr", "number", "position", "rank"))

NO_LIST: Final = "the answer is no list: it is kept whole, as one item"


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
        found = find_json(said)
        return _some([_dump(found[0])] if found else [], said, "the answer holds no JSON: it is kept whole")
    return Parsed((said,))


def spoken(text: str) -> str:
    """Return an answer without the thoughts that some models write in front of it, unless it is nothing else."""
    opening = _THOUGHT.match(text)
    if opening is None:
        return text
    _, closing, rest = text.partition(f"</{opening['tag']}>")
    return rest.lstrip() if closing and rest.strip() else text


def numbered(items: Sequence[str]) -> str:
    """Return items as a numbered list that a model reads and refers to: long ones under headings."""
    if any("\n" in item for item in items):
        return "\n\n".join(f"### Item {place}\n\n{item}" for place, item in enumerate(items, start=1))
    return "\n".join(f"{place}. {item}" for place, item in enumerate(items, start=1))


def list_items(text: str, *, hint: int | None = None) -> Parsed:
    """Return the entries of the list that a text is or holds.

    It may be numbered in any style, bulleted, under headings or in bold; JSON; a code block of these; or short lines.
    Nested lists stay inside their entry; a preface and a closing word are left out.
    """
    whole = _WHOLE_FENCE.fullmatch(text)
    text = whole["inside"].strip() if whole else text
    lines = text.splitlines()
    found = marks(lines)
    before = "\n".join(lines[: found[0].line]) if found else text
    # JSON that stands before any marked line is the answer; behind one, it is part of an entry or a remark.
    items = _of_json(before) or _of_marks(lines, found, hint) or _of_json(text) or _of_lines(lines)
    return _some(items, text, NO_LIST)


def _without_mark(text: str) -> str:
    """Return a single item without the mark of a list of one."""
    found = marks(text.splitlines())
    alone = found and found[0].line == 0 and found[0].family in _ALONE and not found[0].heading
    if not alone or any(mark.family == found[0].family for mark in found[1:]):
        return text
    return "\n".join([found[0].text, *text.splitlines()[1:]]).strip() or text


def _some(items: Sequence[str], text: str, note: str) -> Parsed:
    return Parsed(tuple(items)) if items else Parsed((text.strip(),) if text.strip() else (), (note,))


def _code(text: str) -> list[str]:
    blocks = [found["code"].rstrip() for found in _CODE.finditer(text)]
    return ["\n\n".join(blocks)] if any(block.strip() for block in blocks) else []


# --- JSON ---


def _of_json(text: str) -> list[str]:
    """Return the entries of the first list in JSON; `[1]` between words is a footnote, no list."""
    whole = isinstance(read_json(text), (list, dict))
    for value in find_json(text):
        if isinstance(value, list):
            listed = cast("list[object]", value)
            if whole or any(isinstance(each, (str, dict)) for each in listed):
                return _said_each(listed)
        elif found := _of_object(cast("dict[str, object]", value)):
            return found
    return []


def _of_object(value: dict[str, object]) -> list[str]:
    """Return the longest list in an object, or, where it has none, its entries: `{"1": "...", "2": "..."}`."""
    lists = [cast("list[object]", each) for each in value.values() if isinstance(each, list)]
    if lists:
        return _said_each(max(lists, key=len))
    if len(value) > 1 and all(key.strip().isdecimal() for key in value):
        return _said_each(value.values())
    return []


def _said_each(values: Iterable[object]) -> list[str]:
    return [said for value in values if (said := _said(value).strip())]


def _said(value: object) -> str:
    """Return a JSON value as text: of an object its title, then its other texts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return _dump(value)
    told = cast("dict[str, object]", value)
    parts = {key: each for key, each in told.items() if key.lower() not in _COUNTERS and isinstance(each, str)}
    if len(parts) < len([key for key in told if key.lower() not in _COUNTERS]) or not parts:
        return _dump(told)
    head = next((key for name in _HEADS for key in parts if key.lower() == name), next(iter(parts)))
    return ": ".join([parts[head], *(each for key, each in parts.items() if key != head)])


def _dump(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- marked lines ---


def _of_marks(lines: Sequence[str], found: Sequence[Mark], hint: int | None) -> list[str]:
    candidates = [chosen for family in _BY_RANK if (chosen := _outermost(found, family))]
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
        most = max(map(_paragraphs, before), default=1)
        rest = _without_closing(rest, most=most if mark.text else most + 1)
    code = fences(rest)
    kept = [line.rstrip() for number, line in enumerate(rest) if number in code or not is_rule(line)]
    return "\n".join([mark.text, *_dedented(kept)]).strip()


def _paragraphs(block: str) -> int:
    return len(re.split(r"\n[ \t]*\n", block))


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


def agree(rankings: Sequence[Sequence[int]], count: int) -> tuple[int, ...]:
    """Return the order that several rankings have in common, by Borda count: an item gets a point for each it beats.

    Args:
        rankings: Positions of items, best first; what a ranking leaves out shares the points that are left.
        count: How many items there are.
    """
    points: Counter[int] = Counter()
    for ranking in rankings:
        for place, item in enumerate(ranking):
            points[item] += 2 * (count - 1 - place)
        rest = [item for item in range(count) if item not in ranking]
        for item in rest:
            points[item] += len(rest) - 1
    met = list(dict.fromkeys(item for ranking in rankings for item in ranking))
    return tuple(sorted(met, key=lambda item: -points[item]))


def vote(answers: Sequence[str]) -> list[tuple[str, int]]:
    """Return the different answers with how often each was given, most common first, the earlier first among equals.

    Answers are the same that differ in case, spaces, markup, a full stop, or the way a number is written.
    """
    counts = Counter(key(answer) for answer in answers)
    first: dict[str, str] = {}
    for answer in answers:
        first.setdefault(key(answer), answer)
    return [(first[word], count) for word, count in counts.most_common()]


def key(text: str) -> str:
    """Return an answer normalised for comparison: case, markup, spacing and number formats are ignored."""
    value = read_json(text, "closed")
    if isinstance(value, (list, dict)):
        return json.dumps(value, sort_keys=True)
    flat = " ".join(MARKUP.sub("", text).casefold().split()).strip(" .!")
    number = _NUMBER.fullmatch(flat)
    return f"{float(number[1].replace(',', '')):.12g}" if number else flat
