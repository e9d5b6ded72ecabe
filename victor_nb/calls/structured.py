"""Structured values in a model's answer: JSON with the slips that models make, Markdown tables, XML; and how to ask."""

from __future__ import annotations

import json
import re
from collections import Counter
from html import unescape
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, Final, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OPENS: Final = re.compile(r"[\[{]")
_REPAIRABLE: Final = re.compile(r"[\[{]\s*(?:[\"\[{/]|'.*[\]}]$)", re.DOTALL)
"""How broken JSON begins. A bracket before a bare word, as in `[see below]`, is prose, not a list to repair."""
_THINKS: Final = re.compile(r"<(?P<ends>/)?(?:think|thinking|thought|reasoning)>(?!`)", re.IGNORECASE)
_PAIRS: Final = {"[": "]", "{": "}"}
_TRIES: Final = 20
_LONG: Final = 50_000  # characters from one bracket to the other
_DEEP: Final = 50  # brackets in brackets; a repair takes quadratic time in their depth

_MISSING: Final = object()
_CUT: Final = object()
Repair = Literal["any", "closed", "none"]


def list_schema(key: str, entry: Mapping[str, object], description: str) -> dict[str, Any]:
    """Return the JSON schema of an object that holds a list of entries under a key, with a description of the list."""
    listed = {"type": "array", "items": {**entry}, "description": description}
    return {"type": "object", "properties": {key: listed}, "required": [key], "additionalProperties": False}


def in_words(schema: Mapping[str, Any]) -> str:
    """Return the sentence that asks for JSON of a schema: an object, each of its keys described."""
    keys = (f'"{name}" ({part["description"]})' for name, part in schema["properties"].items())
    return f"Reply with JSON only, an object with the key {' and '.join(keys)}."


def spoken(text: str) -> str:
    """Return an answer without the thoughts that some models write in front of it, unless it is nothing else.

    The tag that opens them may be missing, where it stands in the template of the prompt.
    """
    tags = list(_THINKS.finditer(text))
    closing = next((tag for tag in tags if tag["ends"]), None)
    if closing is None or (tags[0] is not closing and text[: tags[0].start()].strip()):
        return text
    return text[closing.end() :].lstrip() or text


def thinks(text: str) -> bool:
    """Return whether an answer breaks off in its thoughts."""
    tag = _THINKS.match(text.lstrip())
    return tag is not None and not tag["ends"]


def find_json(text: str, repair: Repair = "any") -> list[object]:
    """Return the JSON arrays and objects of an answer, in order; none inside another. It never raises.

    Slips that models make are repaired by json-repair: quotes, commas and brackets that are wrong or missing. It may
    take a second for an answer of 50,000 characters.

    Args:
        text: The answer.
        repair: What is repaired: `any` broken JSON, also what breaks off; only what is `closed` at its end; or `none`.
    """
    whole = _strict(text)
    return (
        [whole] if isinstance(whole, (list, dict)) else [each for each in _embedded(text, repair) if each is not _CUT]
    )


def under_key(text: str, key: str) -> list[object] | None:
    """Return the list that the last JSON object of an answer holds under a key; None where none has one."""
    objects = (cast("dict[str, object]", value) for value in find_json(text, "closed") if isinstance(value, dict))
    lists = [value[key] for value in objects if isinstance(value.get(key), list)]
    return cast("list[object]", lists[-1]) if lists else None


def breaks_off(text: str) -> bool:
    """Return whether an answer is JSON that ends before its last bracket."""
    return not find_json(text, "closed") and _CUT in _embedded(text, "closed")


def read_json(text: str, repair: Repair = "any") -> object:
    """Return the value that a text is, after a repair where it is needed; a sentinel if the text is no JSON."""
    text = text.strip()
    value = _strict(text)
    if value is not _MISSING or repair == "none" or (repair == "closed" and _closing(text, 0) != len(text)):
        return value
    if not _REPAIRABLE.match(text) or len(text) > _LONG or _depth(text) > _DEEP:
        return value
    import json_repair  # noqa: PLC0415 - answers with broken JSON are few

    try:
        repaired: object = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return _MISSING
    return repaired if repaired and isinstance(repaired, list if text[0] == "[" else dict) else _MISSING


def _depth(text: str) -> int:
    """Return the depth of nested brackets, those in quotes included."""
    return max(accumulate((sign in "[{") - (sign in "]}") for sign in text), default=0)


def _strict(text: str) -> object:
    """Return the value of JSON as it is written; else the sentinel."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _MISSING


def _embedded(text: str, repair: Repair) -> Iterator[object]:
    """Find arrays and objects between words; what breaks off ends with its fence or the text, or is the end of all."""
    place = 0
    for _ in range(_TRIES):
        opening = _OPENS.search(text, place)
        if opening is None:
            return
        end = _closing(text, opening.start())
        if not end and _REPAIRABLE.match(text, opening.start()):
            if repair != "any":
                yield _CUT
                return
            fence = text.find("```", opening.start())
            end = fence if fence > 0 else len(text)
        value = read_json(text[opening.start() : end], repair) if end else _MISSING
        if isinstance(value, (list, dict)):
            yield value
        place = end if value is not _MISSING else opening.end()


def _closing(text: str, start: int) -> int:
    """Return where the bracket at `start` is closed, the closing one included; 0 where it is not.

    A bracket that is left out inside others does not count.
    """
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
        elif sign in stack:
            while stack.pop() != sign:
                pass
            if not stack:
                return place + 1
    return 0


# --- tables and tags ---

_DIVIDER: Final = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_ANSWER: Final = re.compile(r"<(answer|final\w*|items|output|ranking|result)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_TAG: Final = re.compile(r"<(?P<ends>/?)(?P<name>[a-z][\w-]*)(?P<attributes>[^<>]*)>(?P<space>\s*)", re.IGNORECASE)
_INLINE: Final = frozenset(("a", "b", "code", "em", "i", "span", "strong", "u"))


def find_table(text: str) -> tuple[list[str], list[list[str]]] | None:
    """Return the columns and the rows of the first Markdown table of an answer; None where it has none."""
    lines = text.split("\n")
    for place in range(1, len(lines)):
        if "|" in lines[place - 1] and _DIVIDER.match(lines[place]):
            columns = _cells(lines[place - 1])
            rows = map(_cells, takewhile(lambda line: "|" in line, lines[place + 1 :]))
            return columns, [[*row, *[""] * len(columns)][: len(columns)] for row in rows]
    return None


def find_rows(text: str) -> list[object]:
    """Return the rows of the first Markdown table of an answer, each an object by column."""
    columns, rows = find_table(text) or ([], [])
    names = [name.strip("*_ ").lower() for name in columns]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _cells(line: str) -> list[str]:
    inner = re.sub(r"^[ \t]*\||(?<!\\)\|[ \t]*$", "", line)
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def without_tags(text: str) -> str:
    """Return an answer whose HTML or XML is a Markdown list: its entries are the outermost tags that come again.

    Of a tag such as `<answer>`, the last one, only the inside is returned.
    """
    wrapped = _ANSWER.findall(text)
    text = wrapped[-1][1].strip() if wrapped else text
    begun = Counter(tag["name"].lower() for tag in _TAG.finditer(text) if not tag["ends"])
    entry = "li" if "li" in begun else next((name for name in begun if begun[name] > 1 and name not in _INLINE), None)
    if entry is None or not text.lstrip().startswith("<"):
        return text
    depth, closes = 0, f"</{entry}" in text.lower()

    def mark(tag: re.Match[str]) -> str:
        nonlocal depth
        name, number = tag["name"].lower(), re.search(r"\d+", tag["attributes"])
        if name != entry or tag["ends"]:
            depth -= name == entry
            return "\n" if tag["ends"] and name not in _INLINE else tag["space"]
        depth += closes
        return f"\n{'    ' * (depth - 1)}{number[0] + '.' if number else '-'} "

    return re.sub(r"[ \t]*\n\s*\n", "\n", unescape(_TAG.sub(mark, text))).strip("\n")
