"""JSON as a provider's server reads it, which may be of any shape, and as it writes it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from victor_nb.values import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ATTACHED: Final = frozenset({"image_url", "file", "image", "document", "input_image", "input_file"})
"""Types of the parts of a message that hold an image or a file."""
_HOLDERS: Final = frozenset({"messages", "contents", "input", "content", "parts"})
_HANDLING: Final = frozenset(
    (
        *("service_tier", "serviceTier", "speed", "cache_control"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    )
)
"""Fields that say how a request is handled, and not what is asked."""
_FORMS: Final = frozenset(
    (
        *("response_format", "format", "responseMimeType", "response_mime_type"),
        *("responseJsonSchema", "response_json_schema", "responseSchema", "response_schema"),
    )
)
"""Fields that hold an answer to a schema: what its prompt asks for stays the same."""
_FORM_HOLDERS: Final = ("output_config", "text")
_IN_FULL: Final = re.compile(r"\bJSON schema:\n(\{.*\})")
_LIMITS: Final = re.compile(r"\{\".*\}$")  # what a provider's schema has no place for, in a description
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]


def dumps(value: Json) -> bytes:
    """Return compact JSON as providers send it, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def text_of(content: Json) -> str:
    """Return the text of a message's content: a string, or a list of parts of which those with text count."""
    if isinstance(content, str):
        return clean(content)
    if isinstance(content, list):
        return "\n".join(filter(None, map(text_of, content)))
    if isinstance(content, dict):
        return text_of(content.get("text"))
    return ""


def attached(value: Json) -> int:
    """Return how many images and files are in a body, in any protocol."""
    if isinstance(value, list):
        return sum(map(attached, value))
    if not isinstance(value, dict):
        return 0
    images = value.get("images")
    own = len(images) if isinstance(images, list) else int(value.get("type") in _ATTACHED or "inlineData" in value)
    return own + sum(attached(each) for name, each in value.items() if name in _HOLDERS)


def conversation(messages: Json, *system: str) -> tuple[tuple[Message, ...], str]:
    """Return the turns of a list of messages, and the text of those with the roles of a system prompt."""
    turns = [(inside(each, "role"), text_of(inside(each, "content"))) for each in cast("list[Json]", messages)]
    spoken = [
        Message("assistant" if role == "assistant" else "user", text) for role, text in turns if role not in system
    ]
    return tuple(spoken), "\n".join(text for role, text in turns if role in system)


def clean(text: str) -> str:
    """Return the text with what UTF-8 cannot carry (a lone surrogate) replaced."""
    return text.encode("utf-8", "replace").decode()


def whole(value: Json) -> int | None:
    """Return a whole number, or None where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def inside(value: Json, *path: str) -> Json:
    """Return the value at a path of keys through objects; None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def strings(value: Json) -> tuple[str, ...]:
    """Return the strings of a string or a list."""
    listed = value if isinstance(value, list) else [value]
    return tuple(item for item in listed if isinstance(item, str))


def shaping(body: JsonObject, *left_out: str) -> JsonObject:
    """Return the part of a body that may shape the answer."""
    unshaping = {*left_out, *_HANDLING, *_FORMS}
    kept = {key: value for key, value in body.items() if key not in unshaping}
    for holder in _FORM_HOLDERS:
        inner = kept.pop(holder, None)
        if isinstance(inner, dict):
            inner = {key: value for key, value in inner.items() if key != "format"}
        if inner:
            kept[holder] = inner
    return kept


def schema_in(text: str) -> JsonObject | None:
    """Return the JSON schema that a system prompt holds; None where it holds none."""
    found = _IN_FULL.search(text)
    return _parsed(found[1]) if found else None


def _parsed(text: str) -> JsonObject | None:
    """Return a JSON object; None where the text is none."""
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def resolved(given: Json, root: JsonObject, *, deep: bool) -> JsonObject:
    """Return a schema with what it refers to, and with the first alternative that is not null; deep down null."""
    schema: JsonObject = dict(given) if isinstance(given, dict) else {}
    either = cast("list[Json]", schema.pop("anyOf", schema.pop("oneOf", [])))
    either = sorted(either, key=lambda part: (inside(part, "type") == "null") != deep)[:1]
    target = inside(root, *str(schema.pop("$ref", "#")).split("/")[1:]) if "$ref" in schema else None
    for part in (target, *cast("list[Json]", schema.pop("allOf", [])), *either):
        schema |= resolved(part, root, deep=deep) if part else {}
    limits = _LIMITS.search(str(schema.get("description", "")))
    return schema | (_parsed(limits[0]) or {}) if limits else schema
