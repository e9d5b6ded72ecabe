"""Google's Gemini API: ai.google.dev/api/generate-content."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from servers.dialects.base import THOUGHT, Asked, Dialect, Event, Told, blocks, dump, only, sse, without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.answers import Answer, Tokens
    from servers.exchange import Request


class Google(Dialect):
    """POST /v1beta/models/MODEL:generateContent and :streamGenerateContent?alt=sse."""

    name = "google"
    model = "gemini-2.5-flash"
    stream_type = "text/event-stream"
    words: ClassVar = {
        "stop": "STOP",
        "length": "MAX_TOKENS",
        "content_filter": "SAFETY",
        "other": "OTHER",
    }
    key_variable = "GOOGLE_API_KEY"
    url_variable = "GOOGLE_GEMINI_BASE_URL"
    params: ClassVar = (
        {"topK": 5, "safetySettings": []},
        {"generationConfig": {"topK": 5}, "safetySettings": []},
    )
    too_long = "The input token count (1210000) exceeds the maximum number of tokens allowed (1048576)."
    path = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent\?alt=sse)")

    def question(self, prompt: str, *, stream: bool = False, limit: int | None = None) -> tuple[str, dict[str, Any]]:
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
        more = {"generationConfig": {"maxOutputTokens": limit}} if limit else {}
        return f"/v1beta/models/{self.model}:{verb}", {**body, **more}

    def told(self, events: list[dict[str, Any]]) -> Told:
        text = "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events)
        usage = events[-1]["usageMetadata"]
        thoughts = usage.get("thoughtsTokenCount", 0)
        assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"] + thoughts
        finish = events[-1]["candidates"][0]["finishReason"]
        return Told(text, usage["promptTokenCount"], usage["candidatesTokenCount"] + thoughts, finish)

    def speaks(self, path: str) -> bool:
        return self.path.fullmatch(path) is not None

    def streamed(self, request: Request) -> bool:
        return ":streamGenerateContent" in request.path

    def known(self, tokens: Tokens) -> Tokens:
        return only(tokens, "input", "output", "cache_read", "reasoning")

    def request_id(self, answer: Answer) -> str | None:
        return answer.id

    def asked(self, request: Request) -> Asked:
        body = request.json
        found = self.path.fullmatch(request.path)
        assert found, request.path
        roles = {"user": "user", "model": "assistant"}
        messages = [(roles[turn["role"]], blocks(turn["parts"])) for turn in body["contents"]]
        system = blocks(body["systemInstruction"]["parts"]) if "systemInstruction" in body else None
        options = body.get("generationConfig", {})
        limit, warmth = options.get("maxOutputTokens"), options.get("temperature")
        key, seed = request.headers.get("x-goog-api-key"), options.get("seed")
        return Asked(found[1], system, messages, limit, warmth, key, seed)

    def plain(self, answer: Answer, request: Request) -> bytes:
        thought = [{"text": THOUGHT, "thought": True}] if "thinks" in answer.quirks else []
        parts = [*thought, {"text": answer.text}]
        return dump(
            self._frame(answer, request, parts, self.finish_word(answer), usage="no_usage" not in answer.quirks)
        )

    def events(self, answer: Answer, request: Request) -> Iterator[Event]:
        often = not answer.quirks & {"usage_last", "no_usage"}
        if "thinks" in answer.quirks:
            yield Event(sse(self._frame(answer, request, [{"text": THOUGHT, "thought": True}], None, usage=often)))
        for piece in answer.pieces[:-1]:
            yield Event(sse(self._frame(answer, request, [{"text": piece}], None, usage=often)), is_text=True)
        last = [{"text": answer.pieces[-1]}] if answer.pieces else []
        usage = "no_usage" not in answer.quirks
        yield Event(sse(self._frame(answer, request, last, self.finish_word(answer), usage=usage)), is_text=bool(last))

    def error(self, status: int, message: str) -> bytes:
        return dump(self._error(status, message))

    def error_event(self, message: str) -> bytes:
        return sse(self._error(503, message))

    def _error(self, status: int, message: str) -> dict[str, Any]:
        states = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
        states |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
        return {"error": {"code": status, "message": message, "status": states.get(status, "UNKNOWN")}}

    def _frame(
        self, answer: Answer, request: Request, parts: list[Any], finish: str | None, *, usage: bool
    ) -> dict[str, Any]:
        candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": finish, "index": 0}
        frame = {"candidates": [without(candidate, finishReason=None)]}
        told = {"usageMetadata": self._usage(answer, last=finish is not None)} if usage else {}
        return {**frame, **told, "modelVersion": answer.model or self.asked(request).model, "responseId": answer.id}

    def _usage(self, answer: Answer, *, last: bool) -> dict[str, int]:
        told = answer.tokens
        spoken = told.output - told.reasoning if last else 1
        counts = {
            "promptTokenCount": told.input,
            "candidatesTokenCount": spoken,
            "totalTokenCount": told.input + spoken + told.reasoning,
            "cachedContentTokenCount": told.cache_read,
            "thoughtsTokenCount": told.reasoning,
        }
        return without(counts, cachedContentTokenCount=0, thoughtsTokenCount=0)
