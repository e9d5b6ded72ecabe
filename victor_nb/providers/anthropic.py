"""Anthropic, through its SDK: the Messages API."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final, cast

import anthropic
import httpx2
from anthropic import AsyncAnthropic, AsyncStream

from victor_nb.media import split
from victor_nb.providers.base import Provider
from victor_nb.providers.http import events, finish, given, items, no_answer, number, parse, read, text
from victor_nb.providers.params import tier_name
from victor_nb.providers.refusals import StatusError
from victor_nb.values import Delta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from victor_nb.providers.translate import Endpoint
    from victor_nb.values import ChatRequest, Message

_VERSION: Final = "2026-10-21"
"""Of the API. A newer one would change what is taken and what is answered."""
_LONGEST_PLAIN: Final = 21_333
"""Tokens that take ten minutes, at an hour for 128,000: a longer silence is cut off on the way, so it is streamed."""


class Anthropic(Provider):
    """The Messages API, version 2026-10-21: no temperature, always a max_tokens."""

    failures: ClassVar[tuple[type[Exception], ...]] = (anthropic.AnthropicError, StatusError)
    longest_plain = _LONGEST_PLAIN

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._sdk = AsyncAnthropic(
            api_key=self.key,
            base_url=endpoint.base_url,
            http_client=self.http,
            max_retries=0,
            timeout=self.http.timeout,
        )

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What the SDK sends when the environment adds nothing."""
        return {
            "accept": "application/json",
            "anthropic-version": _VERSION,
            "user-agent": self._sdk.user_agent,
            **self._sdk.auth_headers,
        }

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        # The SDK's own door for what it has no types for, without the walk through all of its types.
        raw = await self._sdk.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            body=self._body(request),
            # What the SDK would else copy deeply from its defaults for each call.
            options={"headers": {}, "params": {}, "max_retries": 0, "timeout": self.http.timeout},
        )
        message = parse(raw.content)
        if read(message, "type") != "message":
            raise no_answer(message, raw.headers, "message")
        reason = message.get("stop_reason")
        return Delta(
            text=_joined(message),
            usage=_usage(message.get("usage"), Usage()),
            service_tier=_tier(message),
            finish_reason=finish(reason) or "stop",  # it is whole
            model_served=text(message.get("model")),
            request_id=raw.headers.get("request-id"),
            finish_word=text(reason),
        )

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the deltas of a streamed answer."""
        asking = self._sdk.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            body={**self._body(request), "stream": True},
            options={"timeout": self.read_timeout},
            stream=True,
            stream_cls=AsyncStream[object],
        )
        raw, usage = cast("httpx2.Response", await asking), Usage()
        request_id = raw.headers.get("request-id")
        async with aclosing(events(raw, sse=True)) as found:
            async for event in found:
                delta = _delta(event, usage, request_id)
                usage = delta.usage or usage
                yield delta

    def _body(self, request: ChatRequest) -> dict[str, object]:
        turns = [
            {"role": turn.role, "content": _parts(turn) if turn.media else turn.content} for turn in request.messages
        ]
        limit = self.endpoint.spec.max_output(request) or self.endpoint.spec.output_demanded
        config = given(effort=request.effort)
        params = request.params
        if (schema := request.schema) is not None and schema.kind == "schema":
            config["format"] = {"type": "json_schema", "schema": schema.schema}
            own = cast("dict[str, object]", params.get("output_config") or {})
            params = {**params, "output_config": config | own}
        return {
            "model": request.model,
            **given(max_tokens=limit, system=request.system),
            "messages": turns,
            **({"output_config": config} if config else {}),
            **_worded(request),
            **params,
        }


def _worded(request: ChatRequest) -> dict[str, object]:
    """Return what the tier and the prompt cache of a request are called here."""
    cache: dict[str, object] = {}
    if request.prompt_cache not in {None, "off"}:
        ttl = given(ttl=None if request.prompt_cache == "auto" else request.prompt_cache)
        cache = {"cache_control": {"type": "ephemeral", **ttl}}
    return cache | given(
        service_tier="standard_only" if request.tier == "standard" else None,
        speed="fast" if request.tier == "fast" else None,
    )


def _parts(turn: Message) -> list[dict[str, object]]:
    """Return the blocks of a turn with images or PDFs."""
    parts: list[dict[str, object]] = []
    for part in split(turn.content, turn.media):
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        else:
            source = {"type": "base64", "media_type": part.mime, "data": part.base64}
            parts.append({"type": "document" if part.kind == "pdf" else "image", "source": source})
    return parts


def _joined(message: object) -> str:
    """Return the text of the blocks that are text."""
    if said := text(read(message, "content")):  # some gateways
        return said
    blocks = items(message, "content")
    return "".join(text(read(block, "text")) or "" for block in blocks if read(block, "type") == "text")


def _usage(raw: object, before: Usage) -> Usage:
    """Read usage, whose `input_tokens` exclude cache reads and writes. A zero does not replace what was known."""
    cached, written = number(raw, "cache_read_input_tokens"), number(raw, "cache_creation_input_tokens")
    cached, written = cached or before.cache_read_tokens, written or before.cache_write_tokens
    known = before.input_tokens - before.cache_read_tokens - before.cache_write_tokens
    return Usage(
        input_tokens=(number(raw, "input_tokens") or known) + cached + written,
        output_tokens=number(raw, "output_tokens") or before.output_tokens,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=number(raw, "output_tokens_details", "thinking_tokens") or before.reasoning_tokens,
        cache_write_1h_tokens=number(raw, "cache_creation", "ephemeral_1h_input_tokens")
        or before.cache_write_1h_tokens,
        web_searches=number(raw, "server_tool_use", "web_search_requests") or before.web_searches,
    )


def _tier(message: object) -> str | None:
    """Return the tier that served: usage names capacity, speed and place, each with a price of its own."""
    usage = read(message, "usage")
    return tier_name(*(read(usage, name) for name in ("service_tier", "speed", "inference_geo")))


def _delta(event: object, before: Usage, request_id: str | None) -> Delta:
    """Read one event of a stream."""
    match read(event, "type"):
        case "message_start":
            message = read(event, "message")
            usage = _usage(read(message, "usage"), before)
            return Delta(
                usage=replace(usage, output_tokens=0),  # a placeholder: the true one comes at the end
                model_served=text(read(message, "model")),
                request_id=request_id,
                service_tier=_tier(message),
            )
        case "content_block_start":
            return Delta(
                text=text(read(event, "content_block", "text")) or "",
                thinking=read(event, "content_block", "type") in {"thinking", "redacted_thinking"},
            )
        case "content_block_delta":
            return Delta(
                text=text(read(event, "delta", "text")) or "",
                thinking=read(event, "delta", "type") in {"thinking_delta", "signature_delta"},
            )
        case "message_delta":
            reason = read(event, "delta", "stop_reason")
            return Delta(
                usage=_usage(read(event, "usage"), before),
                finish_reason=finish(reason),
                service_tier=_tier(event),
                finish_word=text(reason),
            )
        case _:
            return Delta()
