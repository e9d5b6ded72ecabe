"""Anthropic, through its SDK: the Messages API."""

from __future__ import annotations

import re
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import anthropic
from anthropic import AsyncAnthropic

from victor_nb.providers.base import Provider
from victor_nb.providers.http import finish, given, items, number, read, text
from victor_nb.providers.spec import tier_name
from victor_nb.values import Delta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from anthropic import AsyncStream

    from victor_nb.providers.translate import Endpoint
    from victor_nb.values import ChatRequest

_VERSION: Final = "2026-10-21"
"""Of the API. A newer one would change what is taken and what is answered."""
_LONGEST_PLAIN: Final = 21_333
"""Above it the SDK demands a stream: an hour for 128,000 tokens, ten minutes at the most."""
_RETIRING: Final = re.compile("The model .* is deprecated", re.IGNORECASE)
"""What the SDK warns of at every call with such a model; IGNORECASE as `warnings` itself compiles it."""
_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Anthropic(Provider):
    """The Messages API, version 2026-10-21: no temperature, always a max_tokens."""

    failures: ClassVar[tuple[type[Exception], ...]] = (anthropic.AnthropicError,)

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

    def must_stream(self, request: ChatRequest) -> bool:
        """Return True for a large `max_tokens`, which is answered only as a stream."""
        return (self.endpoint.spec.max_output(request) or 0) > _LONGEST_PLAIN

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        message = cast("object", await self._sdk.messages.create(**self._body(request)))
        if read(message, "type") != "message":
            raise ValueError("not a message")
        return Delta(
            text=_joined(read(message, "content")),
            usage=_usage(read(message, "usage"), Usage()),
            service_tier=_tier(message),
            finish_reason=finish(_FINISH, read(message, "stop_reason")),
            model_served=text(read(message, "model")),
            request_id=text(read(message, "_request_id")),
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Yield the deltas of a streamed answer."""
        events = cast(
            "AsyncStream[object]",
            await self._sdk.messages.create(**self._body(request), stream=True, timeout=self.read_timeout),
        )
        request_id = events.response.headers.get("request-id")
        usage = Usage()
        async with events:
            async for event in events:
                delta = _delta(event, usage, request_id)
                usage = delta.usage or usage
                yield delta

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        _ignore_retirement_warnings()
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": self.endpoint.spec.max_output(request) or self.endpoint.spec.output_demanded,
            "messages": [],
        }
        # The SDK walks through all of its message types for every message it is given by name. In `extra_body`, which
        # wins over what is named, they go out as they are.
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        body["extra_body"] = {"messages": turns, **_worded(request), **request.params}
        if request.system is not None:
            body["system"] = request.system
        if request.effort is not None:
            body["output_config"] = {"effort": request.effort}
        return body


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


def _ignore_retirement_warnings() -> None:
    """Silence the SDK's warning of a retiring model, which `%victor doctor` reports once, with what to do.

    Looks first: each change of the filters makes Python repeat warnings that it has shown already.
    """
    if not any(entry[1] == _RETIRING for entry in warnings.filters):
        warnings.filterwarnings("ignore", message=_RETIRING.pattern, category=DeprecationWarning)


def _joined(blocks: object) -> str:
    """Return the text of the blocks that are text."""
    found = items({"content": blocks}, "content")
    return "".join(text(read(block, "text")) or "" for block in found if read(block, "type") == "text")


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
        reasoning_tokens=number(read(raw, "output_tokens_details"), "thinking_tokens") or before.reasoning_tokens,
        cache_write_1h_tokens=number(read(raw, "cache_creation"), "ephemeral_1h_input_tokens")
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
            return Delta(
                usage=_usage(read(message, "usage"), before),
                model_served=text(read(message, "model")),
                request_id=request_id,
                service_tier=_tier(message),
            )
        case "content_block_start":
            return Delta(text=text(read(event, "content_block", "text")) or "")
        case "content_block_delta":
            return Delta(text=text(read(event, "delta", "text")) or "")
        case "message_delta":
            reason = finish(_FINISH, read(event, "delta", "stop_reason"))
            return Delta(usage=_usage(read(event, "usage"), before), finish_reason=reason, service_tier=_tier(event))
        case _:
            return Delta()
