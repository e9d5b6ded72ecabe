"""The items of a model's answer: entries of a list, code, JSON. What cannot be told apart is one item, and is noted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from victor_nb.workflows.jsons import find_json, read_json
from victor_nb.workflows.marks import fences, is_rule, marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from victor_nb.workflows.marks import Family, Mark
    from victor_nb.workflows.stages import Parse

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
    """What a text was read as; `notes` say what could not be read."""

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
    """Say a JSON value in words: of an object its title, then what else it says."""
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
    import json  # noqa: PLC0415 - answers with JSON are few

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
    """Tell whether a single mark is a list of one: nothing but an announcement stands before it."""
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
    """Cut what is said after a list: a paragraph at the margin, where no entry before had as many."""
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
