"""Placeholders in the shape that a prompt asks for: plain about being simulated, the same for the same seed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from victor_nb.wire.pace import Chance, Size, size_of
from victor_nb.wire.reading import Json, JsonObject, inside, resolved, schema_in, strings, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.wire.dialects.base import Asked

# Sentences of each paragraph of an answer to an open question: about 100, 150 and 220 tokens.
_PARAGRAPHS: Final[dict[Size, tuple[int, ...]]] = {"small": (5, 4), "medium": (5, 5, 3), "large": (7, 6, 6)}
_PARTS: Final[dict[Size, int]] = {"small": 2, "medium": 3, "large": 4}  # findings of a review, functions of a program
_MOST: Final = 100  # items of a list, whatever is asked for
_DEEP: Final = 6  # levels of JSON below which only what is required is made; below twice as many, null
_FIGURES: Final[Sequence[str]] = "zero one two three four five six seven eight nine ten eleven twelve".split()
_NUMBER: Final = rf"\b(\d{{1,3}}|{'|'.join(_FIGURES[1:])})"
_COUNTED: Final = rf"{_NUMBER}\s+(?:(?!in\b)[\w'-]+\s+){{0,4}}?(?:\w+s|idea|item|name)\b"
_BEST: Final = rf"\b(?:best|choose|pick|select|top)\W+(?:(?:the|best|top)\W+)*{_NUMBER}\b"
_HEADINGS: Final = r"^### Item (\d{1,3})\s+(\S.*)$"  # over long items, which may hold lists of their own
_LISTED: Final = r"^[ \t]*(?:\(?(\d{1,3})[.):]|[-*•])[ \t]+(\S.*)$"
_JUDGED: Final = re.compile(r'<answer id="([A-Z])">\n(.*?)\n</answer>', re.DOTALL)
_OFFERED: Final = r"(?:\b(?:as|into|one of|labels?|categories|options)\b(?: are)?:?\s*[\[({]?|\()([^\])}.:\n]+)"
_EITHER: Final = r"\b(yes or no|true or false)\b"
_LANGUAGE: Final = r"\b(python|typescript|javascript|java|rust|go|sql|bash|ruby|html|yaml)\b"
_COMMENTS: Final = {"python": "#", "bash": "#", "ruby": "#", "yaml": "#", "sql": "--"}
_PROGRAM: Final = r"(?:class|code|function|script|program|query|regex|parser|tests?)\b"
_KEY: Final = re.compile(r"\s*([\"'`])?(.+?)(?(1)\1)\s*(?:\((?:an? )?(\w+).*|\b(?:for|per)\b.*)?")
_STAGE: Final = re.compile(r'^Reply with JSON only, an object with the key "(ranking|items)"', re.MULTILINE)
_RANKED: Final = ("properties", "ranking", "items", "enum")
_ROWS: Final = r"\bjson (?:array|list)\b|\b(?:array|list) of (?:\w+ )?objects\b"
_EXAMPLE: Final = re.compile(r"(\")([^\"\n]+)\"\s*:\s*(\S*)")
_TYPES: Final = {  # by what a prompt says of a key in brackets, or shows as its value
    r"num|float|\d+\.\d": "number",
    r"int|\d": "integer",
    r"bool|true|false": "boolean",
    r"list|array|\[": "array",
    r"": "string",
}
_FORMATS: Final = {
    "date": "2026-11-22",
    "date-time": "2026-11-22T12:30:00Z",
    "time": "12:30:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com",
}


def write(asked: Asked) -> str:
    """Return the placeholder that answers a question: never empty."""
    prompt = asked.messages[-1].content
    task = re.split(rf"```|{_HEADINGS}|{_LISTED}", prompt.strip(), flags=re.MULTILINE)[0].strip() or prompt
    question = _Question(prompt, task, f"{task}\n{asked.system}", size_of(asked.model), Chance(asked.seed))
    if found := _STAGE.findall(prompt) or ["ranking"] * (inside(asked.schema, *_RANKED) is not None):
        rows = [int(number) for number, _ in _chosen(question)] if found[-1] == "ranking" else _placeholders(question)
        return json.dumps({found[-1]: rows}, ensure_ascii=False)
    in_words = _find(r"\b(?:as|in|with|return|answer|give)\b[^.\n]{0,30}?\bjson\b", question.full)
    if (schema := schema_in(asked.system) if asked.schema is None else asked.schema) is None and (
        asked.wants_json or (in_words and not _JUDGED.search(prompt))
    ):
        schema = _schema_in_words(f"{prompt}\n{asked.system}", is_array=not asked.wants_json)
    if schema is not None and not _JUDGED.search(prompt):
        values = _Values(schema, question.chance, question.count(_COUNTED) or 3)
        return json.dumps(values.make(schema), ensure_ascii=False, indent=2)
    places = {cue: found.start() for cue in _SHAPES if (found := _find(cue, question.full))}
    return _SHAPES[min(places, key=lambda cue: places[cue])](question) or _prose(question)


def _find(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(pattern, text, re.IGNORECASE)


@dataclass(frozen=True)
class _Question:
    """A prompt; its task, which stands before the first list or code; and the task with the system prompt."""

    prompt: str
    task: str
    full: str
    size: Size
    chance: Chance

    def count(self, counted: str) -> int | None:
        """Return the number that the task has where a pattern has its group."""
        if (found := _find(counted, self.task)) is None:
            return None
        return min(_MOST, int(found[1]) if found[1].isdecimal() else [*_FIGURES].index(found[1].lower()))

    def listed(self) -> list[tuple[str, str]]:
        """Return the items of the prompt's list, each with its number."""
        found = re.findall(_HEADINGS, self.prompt, re.MULTILINE) or re.findall(_LISTED, self.prompt, re.MULTILINE)
        return [(number or str(place), text) for place, (number, text) in enumerate(found, 1)]

    def sentence(self, *name: object, least: int = 6) -> str:
        """Return a filler sentence of `least` to twice as many words."""
        return f"{self.chance.words(*name, least=least).capitalize()}."

    def mostly_shared(self, *name: object) -> Chance:
        """Return a chance that three of four models and samples share, so that votes can agree."""
        return Chance("shared") if self.chance.number("own", *name) % 4 else self.chance


def _prose(question: _Question) -> str:
    wanted = question.count(rf"{_NUMBER}\s+sentences?\b")
    sizes = (wanted,) if wanted else _PARAGRAPHS[question.size]
    texts = [[question.sentence(part, place) for place in range(size)] for part, size in enumerate(sizes)]
    about = " ".join(re.split(r"[.!?](?:\s|$)|\n", question.task.strip())[0].split()).strip(" .?!")[:80]
    texts[0][0] = f"Simulated placeholder for “{about}”." if about else "Simulated placeholder."
    return "\n\n".join(map(" ".join, texts))


def _placeholders(question: _Question) -> list[str]:
    parts = _PARTS[question.size]
    numbers = range(1, 1 + (question.count(_COUNTED) or 2 * parts - 1))
    return [f"Placeholder {n} {question.chance.words(n, least=2 * parts)}" for n in numbers]


def _chosen(question: _Question) -> list[tuple[str, str]]:
    wanted = question.count(_BEST) or (1 if _find(r"\bbest\b", question.task) else _MOST)
    return sorted(question.listed(), key=lambda item: question.mostly_shared().number(item[1]))[:wanted]


def _ranking(question: _Question) -> str:
    chosen = _chosen(question)
    if _find(r"\bnumbers? (?:only|alone)\b", question.prompt):
        return ", ".join(number for number, _ in chosen)
    return "\n".join(f"{place}. ({number}) {text}" for place, (number, text) in enumerate(chosen, 1))


def _score(question: _Question) -> str:
    found = _find(r"\b(?:from|between)\s+(\d{1,3})\s+(?:to|and)\s+(\d{1,3})\b", question.prompt)
    low, high = sorted((int(found[1]), int(found[2]))) if found else (1, 10)
    if answers := _JUDGED.findall(question.prompt):
        return json.dumps({letter: round(Chance("worth").between(low, high, text), 1) for letter, text in answers})
    return str(question.chance.pick(range(low, high + 1), "score"))


def _label(question: _Question) -> str:
    offers = [found[1] for cue in (_OFFERED, _EITHER) for found in re.finditer(cue, question.full, re.IGNORECASE)]
    split = [re.split(r"[,/|]|\bor\b|\band\b", offer) for offer in (*offers, "positive, negative or neutral")]
    bare = ([part.strip(" \t'\"`*?!") for part in parts] for parts in split)
    labels = next(labels for parts in bare if len(labels := [*filter(None, parts)]) > 1)
    if len(texts := question.listed()) < 2:  # noqa: PLR2004 - one text, however it is written
        return question.mostly_shared().pick(labels, question.prompt)
    return "\n".join(f"{number}. {question.mostly_shared(text).pick(labels, text)}" for number, text in texts)


def _code(question: _Question) -> str:
    found = _find(_LANGUAGE, question.task) or re.search(r"```([\w+#]+)", question.prompt)
    language, name = found[1].lower() if found else "python", "test" if _find(r"tests?\b", question.task) else "part"
    sign = _COMMENTS.get(language, "//")
    lines = [f"```{language}", f"{sign} Simulated placeholder: no model wrote this code."]
    for part in range(_PARTS[question.size]):
        lines += ["", f"{sign} {question.sentence('code', part, least=12)}"]
        lines += [f"def {name}_{part}(value=None):", "    return value"] if language == "python" else []
    return "\n".join([*lines, "```"])


def _review(question: _Question) -> str:
    if "APPROVED" in question.prompt and question.chance.number("approved") % 3 == 0:
        return "APPROVED"
    grades = enumerate(("High", "Medium", "Medium", "Low")[: _PARTS[question.size]], 1)
    lines = [f"{n}. **[{grade}] Placeholder**: {question.sentence(n, least=9)}" for n, grade in grades]
    return "\n".join([*lines, "", "Verdict: a simulated placeholder; no model has read it."])


_SHAPES: Final[dict[str, Callable[[_Question], str]]] = {  # by the cue that stands first; of two there, the upper one
    r"\b(?:classify|categori[sz]e|label|sentiment|yes or no|true or false)\b": _label,
    r"\b(?:rank|pick|choose|select|prioriti[sz]e|best of)\b": _ranking,
    r"\b(?:review|critique|audit|proofread)\b|\bfind (?:\w+ )?(?:bugs|errors)\b": _review,
    r"^\W*(?:rate|score|grade)\b|\bon a scale\b|\bnumber (?:only|alone)\b": _score,
    rf"^\W*list\b|\bbrainstorm\b|\b(?:give|generate|list|name|suggest|write)\b[^.\n]{{0,20}}?{_COUNTED}": (
        lambda question: "\n".join(f"{n}. {text}" for n, text in enumerate(_placeholders(question), 1))
    ),
    r"\b(?:implement|prototype|refactor)\b": _code,
    rf"(?:{_LANGUAGE}|\b(?:write|build|create|generate|fix|improve)\b)[^.\n]{{0,60}}\b{_PROGRAM}": _code,
    r"\b(?:explain|describe|summari[sz]e|translate|improve|polish|revise)\b|\Z": _prose,
}


def _schema_in_words(text: str, *, is_array: bool) -> JsonObject:
    """Return the schema of the JSON that a text asks for by an example, or by the names of its keys."""
    named = _find(r"\b(?:keys?|fields?)\b:?((?:[^.\n]|\.\w)+)", text)
    parts: list[str] = re.split(r"[,;](?![^(]*\))\s*(?:and\b)?|\band\b", named[1]) if named else []
    keys = [*_EXAMPLE.finditer(text)] or [key for part in parts if (key := _KEY.fullmatch(part))]
    kinds = {key[2]: next(kind for cue, kind in _TYPES.items() if re.match(cue, key[3] or "")) for key in keys}
    fields = {key: {"type": kind} for key, kind in kinds.items()}
    schema: JsonObject = {"type": "object", "properties": fields or {"title": {}, "score": {"type": "integer"}}}
    return {"type": "array", "items": schema} if is_array and _find(_ROWS, text) else schema


@dataclass(frozen=True)
class _Values:
    """Values that satisfy a JSON schema, as far as structured output takes one; `pattern` is not read."""

    root: JsonObject
    chance: Chance
    count: int

    def make(self, given: Json, *path: str | int) -> Json:
        """Return a value for a part of the schema; `path` is the keys and positions that lead to it."""
        schema = resolved(given, self.root, deep=len(path) > _DEEP)
        options = [schema["const"]] if "const" in schema else schema.get("enum")
        if options and isinstance(options, list):
            return self.chance.pick(options, *path)
        kinds = [kind.lower() for kind in strings(schema.get("type"))]  # Google writes them in capitals
        if kinds == ["null"] or len(path) > (_DEEP if "null" in kinds or schema.get("nullable") else 2 * _DEEP):
            return None
        match next((kind for kind in kinds if kind != "null"), "object" if "properties" in schema else "string"):
            case "object":
                return self._object(schema, path)
            case "array":
                return self._array(schema, path)
            case "integer" | "number" as kind:
                return self._number(schema, path, step=int(kind == "integer"))
            case "boolean":
                return self.chance.pick((True, False), *path)
            case _:
                text = " ".join(("Placeholder", *map(str, path), self.chance.words(*path, least=2)))
                text = text.ljust(whole(schema.get("minLength")) or 0, ".")[: whole(schema.get("maxLength"))]
                return _FORMATS.get(str(schema.get("format")), text)

    def _object(self, schema: JsonObject, path: tuple[str | int, ...]) -> JsonObject:
        fields = cast("JsonObject", schema.get("properties", {}))
        keys = dict.fromkeys((*(fields if len(path) <= _DEEP else ()), *strings(schema.get("required"))))
        return {key: self.make(fields.get(key), *path, key) for key in keys}

    def _array(self, schema: JsonObject, path: tuple[str | int, ...]) -> list[Json]:
        least, most = whole(schema.get("minItems")) or 0, whole(schema.get("maxItems"))
        wanted = least if len(path) > _DEEP else max(least, min(self.count, _MOST if most is None else most))
        parts = cast("list[Json]", schema.get("prefixItems", [schema.get("items")] * wanted))
        return [self.make(part, *path, place) for place, part in enumerate(parts)]

    def _number(self, schema: JsonObject, path: tuple[str | int, ...], *, step: int) -> float:
        edges = {key: edge for key, edge in schema.items() if isinstance(edge, int | float)}
        low = edges.get("minimum", edges.get("exclusiveMinimum", -step) + step)
        high = edges.get("maximum", edges.get("exclusiveMaximum", low + 10) - step)
        low = low if low <= high else high - 10
        if step:
            return int(low) + self.chance.number(*path) % (int(high) - int(low) + 1)
        value = self.chance.between(low + (high - low) / 10, high - (high - low) / 10, *path)
        return round(value, 2) if high - low >= 1 else value
