"""JSON: for a schema, by an example in the prompt, for the keys that it names, or just some."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.writing.brief import one_line
from victor_nb.wire.writing.fields import number_for, text_for
from victor_nb.wire.writing.labels import label
from victor_nb.wire.writing.lists import THINGS, list_lines
from victor_nb.wire.writing.schemas import Schemas
from victor_nb.wire.writing.subjects import words_of

if TYPE_CHECKING:
    from victor_nb.wire.dialects.base import Json, JsonObject
    from victor_nb.wire.writing.brief import Brief

_KEYS: Final = re.compile(
    r"\b(?:keys?|fields?|propert(?:y|ies)|attributes?|columns?)\b\s*(?::|=|are|named|called|of)?\s*(?P<keys>[^.\n]{1,200})",
    re.IGNORECASE,
)
_ARRAY: Final = re.compile(r"\b(?:json\s+)?(?:array|list)\b", re.IGNORECASE)
_FENCED: Final = re.compile(r"\b(?:code block|fenced|markdown)\b", re.IGNORECASE)
_MOST_KEYS: Final = 12
_DEFAULT_ITEMS: Final = 3


def write_schema(brief: Brief) -> str:
    """Return JSON that satisfies the request's schema."""
    schema = brief.schema if brief.schema is not None else {}
    return _dumps(Schemas(schema, brief).fulfil(schema, ()))


def write_json(brief: Brief) -> str:
    """Return JSON in the shape that the prompt shows or names."""
    told = f"{brief.prompt}\n{brief.system}"
    example, keys = _example(told), named_keys(told)
    count = brief.count(f"{THINGS}|items|objects|entries|elements|records|rows")
    if isinstance(example, list) and example:
        value: Json = [_like(example[0], brief, "item", place) for place in range(count or len(example))]
    elif isinstance(example, dict) and example:
        value = _like(example, brief, "answer", 0)
    elif _ARRAY.search(brief.task) or (count and not brief.wants_json):
        value = [*_entries(brief, keys, count or _DEFAULT_ITEMS)]
    else:
        value = {key: value_for(key, brief, 0) for key in keys or ("title", "summary", "score")}
    text = _dumps(value)
    return f"```json\n{text}\n```" if _FENCED.search(brief.task) and not brief.wants_json else text


def _dumps(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _entries(brief: Brief, keys: tuple[str, ...], count: int) -> list[Json]:
    if keys:
        return [{key: value_for(key, brief, place) for key in keys} for place in range(min(count, 100))]
    return [line.partition(":")[0] for line in list_lines(brief, min(count, 100))]


def value_for(key: str, brief: Brief, place: int) -> Json:
    """Return what would stand under a key: a number where its name says so, else text."""
    found = number_for(key, brief, place)
    if found is not None:
        return found
    if re.search(r"(?:s|list)$", key) and not re.search(r"(?:ss|us|is)$", key):
        return [text_for(key, brief, place, offset) for offset in range(_DEFAULT_ITEMS)]
    return text_for(key, brief, place)


def _like(example: Json, brief: Brief, key: str, place: int) -> Json:
    """Return a value with the keys and types of an example."""
    if isinstance(example, dict):
        return {name: _like(value, brief, name, place) for name, value in example.items()}
    if isinstance(example, list):
        first = example[0] if example else ""
        return [_like(first, brief, key, place + offset) for offset in range(max(2, len(example)))]
    if isinstance(example, bool) or example is None:
        return brief.chance.pick((True, False), key, place)
    if isinstance(example, int | float):
        found = number_for(key, brief, place)
        return found if found is not None and isinstance(found, float) == isinstance(example, float) else example
    return _choice(str(example), brief) or text_for(key, brief, place)


def _choice(example: str, brief: Brief) -> str | None:
    """Return one of the words of an example such as `low|medium|high`."""
    parts = [part.strip() for part in re.split(r"\||/", example)]
    told = re.sub(r"[\[{][^{}]*[\]}]", "", brief.prompt)
    return label(brief, told, tuple(parts)) if len(parts) > 1 and all(parts) else None


def _example(text: str) -> JsonObject | list[Json] | None:
    """Return the first JSON object or array of objects in a text."""
    decoder = json.JSONDecoder()
    for found in list(re.finditer(r"[\[{]\s*[\[{\"]", text))[:20]:
        try:
            value: Json = decoder.raw_decode(text, found.start())[0]
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            return value
    return None


def named_keys(text: str) -> tuple[str, ...]:
    """Return the keys that a text names after `keys:`, `with fields` and the like."""
    found = _KEYS.search(text)
    if not found:
        return ()
    quoted = re.findall(r"[\"'`]([\w-]{1,40})[\"'`]", found["keys"])
    if quoted:
        return tuple(dict.fromkeys(quoted))[:_MOST_KEYS]
    plain = re.sub(r"\([^)]*\)", "", found["keys"])
    parts = [words_of(one_line(part)) for part in re.split(r",\s*(?:and|or)\s+|,|\band\b|;", plain)]
    return tuple(dict.fromkeys(words[0] for words in parts if words))[:_MOST_KEYS]
