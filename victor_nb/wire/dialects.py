"""Which of the four protocols a request speaks, by its path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.wire.dialect_anthropic import Anthropic
from victor_nb.wire.dialect_google import PATH, Google
from victor_nb.wire.dialect_ollama import Ollama
from victor_nb.wire.dialect_openai import OpenAI

if TYPE_CHECKING:
    from victor_nb.wire.dialect import Call, Dialect, JsonObject

# Where questions go. Whatever stands before is a base URL's business.
_QUESTIONS: Final[tuple[tuple[re.Pattern[str], Dialect], ...]] = (
    (re.compile(r"/v1/messages$"), Anthropic()),
    (re.compile(r"/chat/completions$"), OpenAI()),
    (PATH, Google()),
    (re.compile(r"/api/chat$"), Ollama()),
)
_LISTS: Final = re.compile(r"/models(/[^/:]+)?$|/api/(tags|version)$")
_GOOGLE: Final = re.compile(r"/v1(alpha|beta)/")


def dialect_of(call: Call) -> Dialect:
    """Return the protocol of a request; OpenAI's, which most servers speak, for one that no provider knows."""
    for path, dialect in _QUESTIONS:
        if path.search(call.path):
            return dialect
    if "anthropic-version" in call.headers:
        return Anthropic()
    if "/api/" in call.path:
        return Ollama()
    if _GOOGLE.search(call.path) or "x-goog-api-key" in call.headers:
        return Google()
    return OpenAI()


def is_question(call: Call) -> bool:
    """Say whether the request asks a model something."""
    return call.method == "POST" and any(path.search(call.path) for path, _ in _QUESTIONS)


def listing(call: Call) -> JsonObject:
    """Return what a GET of a list is answered with, such as the list of models.

    Raises:
        RefusedError: There is nothing at this path.
    """
    dialect = dialect_of(call)
    found = dialect.listing(call) if call.method == "GET" and _LISTS.search(call.path) else None
    if found is None:
        raise dialect.refuse(f"Invalid URL ({call.method} {call.path})", call, status=404)
    return found
