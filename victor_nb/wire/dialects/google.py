"""Google's Gemini API: `generateContent` and `streamGenerateContent`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from victor_nb.values import Message
from victor_nb.wire.dialects.base import Answered, Asked, Call, Dialect, Event, fingerprint
from victor_nb.wire.reading import Json, JsonObject, dumps, inside, shaping, strings, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH: Final = re.compile(r"/models/(?P<model>.+):(?P<verb>generateContent|streamGenerateContent)$")
_THINKS: Final = re.compile(r"gemini-(?:2\.5|[3-9])(?!.*lite)")
_TOKENS_PER_CHUNK: Final = 24
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Google(Dialect):
    """`POST .../models/MODEL:generateContent` and `MODEL:streamGenerateContent`."""

    path = _PATH
    plain_type = "application/json; charset=UTF-8"
    stream_type = "text/event-stream"

    def read(self, call: Call) -> Asked:
        """Return what is asked."""
        for problem in _problems(call):
            raise self.refuse(problem, call)
        found, settings = _PATH.search(call.path), _either(call.body, "generationConfig")
        model = found["model"] if found else ""
        schema = _either(settings, "responseJsonSchema") or _either(settings, "responseSchema")
        limit = whole(_either(settings, "maxOutputTokens"))
        unthinking = inside(_either(settings, "thinkingConfig"), "thinkingBudget") == 0
        return Asked(
            model=model,
            messages=tuple(_messages(call.body["contents"])),
            system=_parts(_either(call.body, "systemInstruction")),
            max_tokens=limit,
            stops=strings(_either(settings, "stopSequences")),
            schema=schema if isinstance(schema, dict) else None,
            wants_json=_either(settings, "responseMimeType") == "application/json",
            thinks=bool(_THINKS.search(model)) and not unthinking,
            seed=fingerprint(["google", model, _shaping(call.body, settings)]),
        )

    def streams(self, call: Call) -> bool:
        """Return whether the request asks for a stream."""
        return call.path.endswith(":streamGenerateContent")

    def plain(self, answered: Answered, call: Call) -> JsonObject:
        """Return a whole response."""
        return _response(answered, call, answered.text, answered.text_tokens, _finish(answered))

    def events(self, answered: Answered, call: Call) -> Iterator[Event]:
        """Yield the chunks of a response: events with `alt=sse`, else the items of one JSON array."""
        sse = call.query.get("alt") == "sse"
        opening = b"["
        for tokens, body in _chunks(answered, call):
            yield Event(b"data: %s\r\n\r\n" % dumps(body) if sse else opening + dumps(body), tokens)
            opening = b"\r\n,"
        if not sse:
            yield Event(b"]\r\n", answered.text_tokens)

    def headers(self, call: Call) -> dict[str, str]:
        """Return the header that names the tier, where one was asked for."""
        tier = text_of(_either(call.body, "serviceTier"))
        return {"x-gemini-service-tier": tier} if tier else {}

    def error(self, status: int, message: str, call: Call) -> JsonObject:
        """Return the body of an error."""
        del call
        return {"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}}


def _problems(call: Call) -> Iterator[str]:
    contents = call.body.get("contents")
    if not contents or not isinstance(contents, list):
        yield "* GenerateContentRequest.contents: contents is not specified\n"
    elif not any(inside(turn, "parts") for turn in contents):
        yield "* GenerateContentRequest.contents: contents.parts must not be empty.\n"
    limit = _either(_either(call.body, "generationConfig"), "maxOutputTokens")
    if limit is not None and (whole(limit) or 0) < 1:
        yield "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.\n"


def _either(value: Json, name: str) -> Json:
    """Return a field by its JSON name or by its proto name: the server takes both."""
    proto = re.sub(r"(?=[A-Z])", "_", name).lower()
    found = inside(value, name)
    return inside(value, proto) if found is None else found


def _shaping(body: JsonObject, settings: Json) -> JsonObject:
    kept = shaping(settings, "maxOutputTokens", "max_output_tokens") if isinstance(settings, dict) else {}
    return shaping(body, "generationConfig", "generation_config") | {"settings": kept}


def _messages(contents: Json) -> Iterator[Message]:
    for turn in contents if isinstance(contents, list) else []:
        yield Message("assistant" if inside(turn, "role") == "model" else "user", _parts(turn))


def _parts(turn: Json) -> str:
    return text_of(inside(turn, "parts")) if isinstance(turn, dict) else text_of(turn)


def _chunks(answered: Answered, call: Call) -> Iterator[tuple[int, JsonObject]]:
    """Yield the responses of a stream. The last one has the finish reason."""
    chunks = list(answered.chunks(_TOKENS_PER_CHUNK)) or [(0, "")]
    for place, (tokens, text) in enumerate(chunks, start=1):
        finish = _finish(answered) if place == len(chunks) else None
        yield tokens, _response(answered, call, text, tokens, finish)


def _response(answered: Answered, call: Call, text: str, tokens: int, finish: str | None) -> JsonObject:
    ending: JsonObject = {"finishReason": finish} if finish else {}
    candidate: JsonObject = {"content": {"parts": [{"text": text}], "role": "model"}, **ending, "index": 0}
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(answered, tokens),
        "modelVersion": answered.asked.model,
        "responseId": call.chance.letters(22, "id"),
    }


def _usage(answered: Answered, tokens: int) -> JsonObject:
    """Return the usage when `tokens` tokens of text are out. Thinking is counted beside them, not in them."""
    visible = tokens if tokens < answered.text_tokens else answered.output_tokens - answered.thinking_tokens
    usage: JsonObject = {
        "promptTokenCount": answered.input_tokens,
        "candidatesTokenCount": visible,
        "totalTokenCount": answered.input_tokens + visible + answered.thinking_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answered.input_tokens}],
    }
    return usage | ({"thoughtsTokenCount": answered.thinking_tokens} if answered.thinking_tokens else {})


def _finish(answered: Answered) -> str:
    return "MAX_TOKENS" if answered.cut else "STOP"
