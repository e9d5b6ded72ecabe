"""Placeholders in the shape that a prompt asks for: plain about being simulated, the same for the same seed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from victor_nb.wire.pace import Chance, Size, size_of
from victor_nb.wire.schemas import fulfil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.wire.dialects.base import Asked, JsonObject

_FIGURES: Final[Sequence[str]] = "zero one two three four five six seven eight nine ten eleven twelve".split()
_NUMBER: Final = rf"\b(\d{{1,3}}|{'|'.join(_FIGURES[1:])})"
# Sentences of an answer to an open question: about 100, 150 and 220 tokens.
_PARAGRAPHS: Final[dict[Size, tuple[int, ...]]] = {"small": (5, 4), "medium": (5, 5, 3), "large": (7, 6, 6)}
_PARTS: Final[dict[Size, int]] = {"small": 2, "medium": 3, "large": 4}  # findings of a review, functions of a program
_MOST: Final = 100  # items of a list, whatever is asked for
_MARK: Final = r"\n[ \t]*(?:[-*•]|\(?\d{1,3}[.):])\s"
_LISTED: Final = (
    r"^[#* \t]*(?:answer|candidate|draft|idea|item|option|response)[ \t]+#?(\d{1,3}|[A-Z])\b[* \t:.)-]*(.*)$",
    r"^[ \t]*[*#]*\(?(\d{1,3})[.):\]][ \t]+(\S.*)$",
    r"^[ \t]*[-*•]()[ \t]+(\S.*)$",
)
_SPLIT: Final = re.compile(r"\s*(?:,\s*(?:and|or)\b|[,/|;]|\bor\b|\band\b)\s*", re.IGNORECASE)
_OFFERS: Final = (
    r"\b(?:one of|labels?|categories|classes|options)(?: \w+){0,3}?\s*(?::|=|are:?)\s*[\[({]?([^\])}\n.]+)",
    r"[(\[]([^()\[\]\n]*(?:[,/|]|\bor\b)[^()\[\]\n]*)[)\]]",
    r"\b(?:as|into|either|with|say|is it|is this|answer|reply)\s*:?\s+([^\n.:?]*?(?:[,/|]|\bor\b)[^\n.:?]*)",
)
_SCALE: Final = r"\b(?:from|between)\s+(\d{1,3})\s+(?:to|and)\s+(\d{1,3})\b|\b(?:out of|/)\s*(\d{1,3})\b"
_TOP: Final = rf"\b(?:best|choose|keep|pick|select|top)\b(?:\W+(?:the|your|top|best)\b)*\W+{_NUMBER}\b"
_NUMBERS_ONLY: Final = r"\b(?:numbers?|letters?|ids?) (?:only|alone)\b|\bonly\b.{0,30}\b(?:numbers?|letters?|ids?)\b"
_ANSWERS: Final = re.compile(r'<answer id="([A-Z])">\n(.*?)\n</answer>', re.DOTALL)
_LANGUAGE: Final = r"\b(python|typescript|javascript|java|rust|go(?:lang)?|sql|bash|ruby|html|yaml)\b"
_COMMENTS: Final = {"python": "#", "bash": "#", "ruby": "#", "yaml": "#", "sql": "--"}
_JSON: Final = (
    r"\b(?:as|in|return|answer|output|valid|only|with|give)\W+(?:[\w-]+\W+){0,4}?json\b|\bjson\W+(?:only|with)\b"
)
_KEYS: Final = (
    r"\b(?:keys?|fields?|properties|attributes|columns)\b\s*(?::|=|are|named|called|of)?\s*((?:[^.\n]|\.\w)+)"
)
_TYPES: Final[dict[str, JsonObject]] = {  # by the description of a key, in brackets or an example, or by its name
    r"^(?:num|float|\d+\.\d)|confidence|probability|likelihood|share|ratio|weight|relevance": {"type": "number"},
    r"^(?:int|\d)|(?:^|[_ ])(?:age|count|id|index|rank|rating|score|total|year|price|cost)$": {"type": "integer"},
    r"^(?:bool|true|false)": {"type": "boolean"},
    r"^(?:list|array|\[)|[^su]s$": {"type": "array", "items": {"type": "string"}},
}
_THINGS: Final = r"\w+s|idea|item|name"
_LABELLING: Final = r"\b(?:classify|categori[sz]e|label|sentiment|yes or no|true or false)\b"
_NAMED: Final = rf"{_NUMBER}\s+(?:[\w'-]+ ){{0,4}}?(?!sentences|words|paragraphs|lines)(?:{_THINGS})\b"
_ASKS: Final = r"\b(?:create|generate|give|list|name|offer|propose|suggest|tell|think of|write)\b[^.\n]{0,40}?"
_PROGRAM: Final = r"(?:class|code|function|script|program|query|regex|parser|tests?)\b"


def write(asked: Asked) -> str:
    """Return the placeholder that answers a question: never empty."""
    brief = _Brief(asked.messages[-1].content, asked.system, size_of(asked.model), Chance(asked.seed))
    schema = asked.schema
    if schema is None and (asked.wants_json or _find(_JSON, f"{brief.task}\n{brief.system}")):
        schema = _wanted(brief, is_object=asked.wants_json)
    if schema is not None:
        return json.dumps(fulfil(schema, chance=brief.chance, count=brief.count(r"\w+s")), ensure_ascii=False, indent=2)
    for text in (brief.task, brief.system if _find(_LABELLING, brief.system) else ""):
        for _, cue in sorted((found.start(), cue) for cue in _SHAPES if (found := _find(cue, text))):
            if (answer := _SHAPES[cue](brief)) is not None:
                return answer
    return _prose(brief)


def _find(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(pattern, text, re.IGNORECASE)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else [*_FIGURES].index(text.lower())


def _line(text: str) -> str:
    return " ".join(re.sub(r"[*_`]{2,}", "", text).split()).strip(" .?!")[:160]


@dataclass(frozen=True)
class _Brief:
    """A question, parsed: its task, and the items it is about."""

    prompt: str
    system: str
    size: Size
    chance: Chance

    @cached_property
    def task(self) -> str:
        """What stands before the first list or code."""
        return (re.split(rf"```|{_MARK}", self.prompt.strip())[0].strip() or self.prompt)[:600]

    @cached_property
    def items(self) -> list[tuple[str, str]]:
        """The things that the prompt lists, each with its mark."""
        for pattern in _LISTED:
            found = list(re.finditer(pattern, self.prompt, re.MULTILINE | re.IGNORECASE))
            texts = [match[2] or self.prompt[match.end() :].strip().partition("\n")[0] for match in found]
            if len(found) > 1:
                marks = [match[1] or str(place) for place, match in enumerate(found, 1)]
                return list(zip(marks, map(_line, texts), strict=True))
        parts: list[str] = _SPLIT.split(self.prompt.partition(":")[2].strip().partition("\n")[0])
        texts = [text for part in parts if (text := _line(part))]
        return [(str(place), text) for place, text in enumerate(texts, 1)]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels that are offered; sentiments where none are."""
        for text in (self.task.partition("\n\n")[0], self.system):
            for found in (match for offer in _OFFERS for match in re.finditer(offer, text, re.IGNORECASE)):
                parts = [part.strip(" \t'\"`*.?!<>") for part in _SPLIT.split(found[1])]
                if len(parts) > 1 and all(0 < len(part) <= 40 for part in parts):  # noqa: PLR2004 - longer is a clause
                    return tuple(parts)
        return ("positive", "negative", "neutral")

    def count(self, things: str) -> int | None:
        """Return how many of `things` (a regular expression) the task asks for."""
        found = _find(rf"{_NUMBER}[\s-]+(?:(?!in\b)[\w'-]+\s+){{0,4}}?(?:{things})\b", self.task)
        return min(_number(found[1]), _MOST) if found else None

    def sentence(self, *name: object, least: int = 6) -> str:
        """Return a filler sentence of `least` to twice as many words."""
        return f"{self.chance.words(*name, least=least).capitalize()}."

    def choose(self, options: tuple[str, ...], text: str) -> str:
        """Return an option: to three of four models and samples the same, so that votes can agree."""
        return (Chance("choice") if self.chance.number("own", text) % 4 else self.chance).pick(options, text)


def _prose(brief: _Brief) -> str:
    wanted, about = brief.count("sentences?"), _line(re.split(r"[.!?](?:\s|$)|\n", brief.task.strip())[0])[:80]
    sizes = (wanted,) if wanted else _PARAGRAPHS[brief.size]
    texts = [[brief.sentence(part, place) for place in range(size)] for part, size in enumerate(sizes)]
    texts[0][0] = f"Simulated placeholder for “{about}”." if about else "Simulated placeholder."
    return "\n\n".join(map(" ".join, texts))


def _list(brief: _Brief) -> str:
    wanted = brief.count(_THINGS) or 2 * _PARTS[brief.size] - 1
    titles = [f"Placeholder {n} {brief.chance.words('title', n, least=3)}" for n in range(1, wanted + 1)]
    texts = [title if brief.size == "small" else f"{title}: {brief.sentence(title, least=4)}" for title in titles]
    return "\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1))


def _ranking(brief: _Brief) -> str | None:
    if len(brief.items) < 2:  # noqa: PLR2004 - one thing is no choice
        return None
    top = _find(_TOP, brief.task)
    wanted = _number(top[1]) if top else 1 if _find(r"\b(?:best|better|one|winner)\b", brief.task) else _MOST

    def worth(item: tuple[str, str]) -> float:  # mostly the same to every model and sample, so that they can agree
        return Chance("worth").between(0, 1, item[1]) + brief.chance.between(0, 0.3, "worth", item[1])

    chosen = sorted(brief.items, key=worth, reverse=True)[: max(1, wanted)]
    if _find(_NUMBERS_ONLY, brief.prompt):
        reasons = [f"\n{mark}: {brief.sentence(text)}" for mark, text in chosen if _find(r"\breasons?\b", brief.prompt)]
        return ", ".join(mark for mark, _ in chosen) + "".join(reasons)
    return "\n".join(f"{place}. ({mark}) {text}" for place, (mark, text) in enumerate(chosen, 1))


def _score(brief: _Brief) -> str:
    found = _find(_SCALE, brief.prompt)
    low, high = sorted((int(found[1] or 0), int(found[2] or found[3]))) if found else (1, 10)
    if answers := _ANSWERS.findall(brief.prompt):
        return json.dumps({label: round(Chance("worth").between(low, high, text), 1) for label, text in answers})
    return str(brief.chance.pick(range(low, high + 1), "score"))


def _label(brief: _Brief) -> str:
    if len(brief.items) > 1 and re.search(_MARK, brief.prompt):
        return "\n".join(f"{mark}. {brief.choose(brief.labels, text)}" for mark, text in brief.items)
    return brief.choose(brief.labels, brief.prompt)


def _code(brief: _Brief) -> str | None:
    found = _find(_LANGUAGE, brief.task) or re.search(r"```([\w+#]+)", brief.prompt)
    if found is None and re.match(r"\W*(?:improve|refine|polish|revise|rewrite)\b", brief.task, re.IGNORECASE):
        return None
    language, kind = found[1].lower() if found else "python", "test_" if _find("tests?", brief.task) else ""
    sign = _COMMENTS.get(language, "//")
    lines = [f"```{language}", f"{sign} Simulated placeholder: no model wrote this code."]
    for part in range(_PARTS[brief.size]):
        body = [f"def {kind}placeholder_{part}(value=None):", "    return value"] if language == "python" else []
        lines += ["", f"{sign} {brief.sentence('code', part)}", *body]
    block = "\n".join([*lines, "```"])
    alone = _find(r"\bonly\b.{0,30}\bcode\b|\bcode only\b", f"{brief.prompt}\n{brief.system}")
    return block if alone else f"{block}\n\n{' '.join(brief.sentence('after', n) for n in range(_PARTS[brief.size]))}"


def _review(brief: _Brief) -> str:
    if "APPROVED" in brief.prompt and brief.chance.number("approved") % 3 == 0:
        return "APPROVED"
    wanted = brief.count("findings|issues|problems|bugs") or _PARTS[brief.size]
    grades = ["High", "Medium", "Medium", *["Low"] * _MOST][:wanted]
    lines = [
        f"{n}. **[{grade}] Placeholder**: {brief.sentence('review', n, least=9)}" for n, grade in enumerate(grades, 1)
    ]
    return "\n".join([*lines, "", "Verdict: a simulated placeholder; no model has read it."])


_SHAPES: Final[dict[str, Callable[[_Brief], str | None]]] = {  # by the cue that stands first in the task
    _LABELLING: _label,
    r"\b(?:rank|pick|choose|select|shortlist|prioriti[sz]e|which (?:one|of|is|idea|answer)|best of)\b": _ranking,
    r"(?<!write a )\breview\b(?! of)|\b(?:critique|audit|proofread|find (?:\w+ )?(?:bugs|errors|issues))\b": _review,
    r"^\W*(?:please )?(?:rate|score|grade)\b|\bon a scale\b|\bnumber (?:only|alone)\b|<answer id=": _score,
    r"\b(?:implement|prototype|refactor)\b|^\W*(?:improve|fix|refine|polish|revise)\b": _code,
    rf"{_LANGUAGE} (?:[\w'-]+ ){{0,4}}?{_PROGRAM}": _code,
    rf"\b(?:write|build|create|generate|make|port)\b[^.\n]{{0,60}}\b{_PROGRAM}": _code,
    rf"\b(?:brainstorm|enumerate|outline)\b|^\W*list\b|{_ASKS}{_NAMED}": _list,
    r"\b(?:explain|describe|summari[sz]e|translate|compare)\b": _prose,
}


def _wanted(brief: _Brief, *, is_object: bool) -> JsonObject:
    """Return the schema of the JSON that a prompt asks for in words, by an example or by the keys that it names."""
    told, count = f"{brief.prompt}\n{brief.system}", brief.count(r"\w+s")
    shown: list[tuple[str, str]] = re.findall(r"[\"']([^\"'\n]+)[\"']\s*:\s*(\S*)", told)
    for part in re.split(
        r"[,;](?![^(]*\))\s*(?:and\b|or\b)?|\band\b", found[1] if (found := _find(_KEYS, told)) else ""
    ):
        quoted = re.search(r"[\"'`]([^\"'`]+)[\"'`]", part)
        key = quoted[1] if quoted else re.split(r"\(|\s(?:for|about|each|per)\b", part)[0].strip()
        hint = re.search(r"\((?:an? )?(\w+)", part)
        shown += [(key, hint[1] if hint else key)] if key and "{" not in part else []
    fields = {
        key: next((kind for cue, kind in _TYPES.items() if _find(cue, hint)), {"type": "string"}) for key, hint in shown
    }
    schema: JsonObject = {"type": "object", "properties": fields or {"title": {}, "score": {"type": "integer"}}}
    if is_object or not (count or _find(r"\b(?:array|list) of\b|\bjson (?:array|list)\b", brief.task)):
        return schema
    return {"type": "array", "items": schema, "minItems": count or 3, "maxItems": count or 3}
