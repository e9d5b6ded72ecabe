"""Google Gemini over plain httpx2: `generateContent` and `streamGenerateContent` under /v1beta."""

from __future__ import annotations

import re
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from victor_nb.media import split
from victor_nb.providers.catalog import BUDGETS
from victor_nb.providers.http import (
    FIRST,
    OTHERS,
    PlainProvider,
    events,
    finish,
    given,
    items,
    no_answer,
    number,
    read,
    text,
)
from victor_nb.providers.params import tier_name
from victor_nb.values import Delta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    import httpx2

    from victor_nb.values import ChatRequest, Message

_ROLES: Final = {"user": "user", "assistant": "model"}
_TOP_LEVEL: Final = {"tools", "toolConfig", "safetySettings", "cachedContent", "labels", "service_tier", "serviceTier"}
"""Params that are sent beside `generationConfig`; all others go into it."""
_SEARCH_PER_ANSWER: Final = re.compile(r"gemini-[12]\b")
"""Models whose searches are charged once for an answer; later ones charge for each query."""


_HAS_BUDGETS: Final = re.compile(r"(models/)?gemini-2\.5")


class Google(PlainProvider):
    """The Gemini API; the key travels in a header, never in the address."""

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The key."""
        return {"x-goog-api-key": self.key}

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        answer, headers = await self.post(self._path(request.model, "generateContent"), _body(request))
        if not items(answer, "candidates") and read(answer, "promptFeedback") is None:
            raise no_answer(answer, headers, "candidates")
        return _delta(answer, headers, whole=True)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the deltas of a streamed answer."""
        path = self._path(request.model, "streamGenerateContent?alt=sse")
        async with self.open(path, _body(request)) as response, aclosing(events(response, sse=True)) as found:
            async for event in found:
                yield _delta(event, response.headers)

    def _path(self, model: str, verb: str) -> str:
        root = "" if self.endpoint.base_url.endswith("/v1beta") else "/v1beta"
        return f"{root}/models/{quote(model.removeprefix('models/'), safe='')}:{verb}"


def _body(request: ChatRequest) -> dict[str, object]:
    config = given(maxOutputTokens=request.max_tokens, temperature=request.temperature, seed=request.seed)
    if request.effort is not None:
        config["thinkingConfig"] = _thinking(request.model, request.effort)
    if (schema := request.schema) is not None and schema.kind != "prompt":
        config["responseMimeType"] = "application/json"
        if schema.kind == "schema":
            config["responseJsonSchema"] = schema.schema
    params = dict(request.params)
    config |= cast("dict[str, object]", params.pop("generationConfig", {}))
    config |= {name: value for name, value in params.items() if name not in _TOP_LEVEL}
    body: dict[str, object] = {
        "contents": [{"role": _ROLES[turn.role], "parts": _parts(turn)} for turn in request.messages]
    }
    if request.system is not None:
        body["systemInstruction"] = {"parts": [{"text": request.system}]}
    if config:
        body["generationConfig"] = config
    if request.tier is not None:
        body["service_tier"] = request.tier
    return body | {name: value for name, value in params.items() if name in _TOP_LEVEL}


def _thinking(model: str, effort: str) -> dict[str, object]:
    """Return how much a model is to think: a level, or for models before gemini-3 a number of tokens."""
    if _HAS_BUDGETS.match(model):
        return {"thinkingBudget": BUDGETS[effort]}
    return {"thinkingLevel": effort}


def _parts(turn: Message) -> list[dict[str, object]]:
    """Return the parts of a turn."""
    parts: list[dict[str, object]] = []
    for part in split(turn.content, turn.media) if turn.media else (turn.content,):
        if isinstance(part, str):
            parts.append({"text": part})
        else:
            parts.append({"inlineData": {"mimeType": part.mime, "data": part.base64}})
    return parts


def _delta(event: Mapping[str, object], headers: httpx2.Headers, *, whole: bool = False) -> Delta:
    """Read one answer, or one event of a stream. Thoughts are not part of the text, nor are other candidates."""
    candidates = items(event, "candidates")
    candidate = next(
        (each for each in candidates if read(each, "index") in FIRST), candidates[0] if whole and candidates else None
    )
    parts, reason = items(candidate, "content", "parts"), read(candidate, "finishReason")
    if read(event, "promptFeedback", "blockReason") is not None:
        reason = "SAFETY"
    served = text(read(event, "modelVersion"))
    searches = len(items(candidate, "groundingMetadata", "webSearchQueries"))
    if searches and _SEARCH_PER_ANSWER.match(served or ""):
        searches = 1
    return Delta(
        text="".join(text(read(part, "text")) or "" for part in parts if read(part, "thought") is not True),
        usage=_usage(read(event, "usageMetadata"), searches),
        finish_reason=finish(reason) or ("stop" if whole else None),
        model_served=served,
        request_id=headers.get("x-request-id") or text(read(event, "responseId")),
        service_tier=tier_name(headers.get("x-gemini-service-tier")),
        finish_word=text(reason),
        note=OTHERS if len(candidates) > 1 or (candidates and candidate is None) else None,
        thinking=bool(parts) and read(parts[-1], "thought") is True,
    )


def _usage(raw: object, searches: int) -> Usage:
    """Read usage: thoughts are beside the candidates' tokens, and what tools fed in beside the prompt's."""
    thoughts, cached = number(raw, "thoughtsTokenCount"), number(raw, "cachedContentTokenCount")
    prompt = number(raw, "promptTokenCount") + number(raw, "toolUsePromptTokenCount")
    return Usage(
        input_tokens=prompt if cached <= prompt else prompt + cached,
        output_tokens=number(raw, "candidatesTokenCount") + thoughts,
        cache_read_tokens=cached,
        reasoning_tokens=thoughts,
        web_searches=searches,
    )
