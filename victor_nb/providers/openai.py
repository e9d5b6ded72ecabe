"""OpenAI and every server that speaks its Chat Completions, through the SDK."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

import httpx2
import openai
from openai import AsyncOpenAI

from victor_nb.providers.base import Provider
from victor_nb.providers.http import finish, given, items, number, parse, read, text
from victor_nb.values import Delta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from victor_nb.providers.translate import Endpoint
    from victor_nb.values import ChatRequest

_FINISH: Final = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class OpenAI(Provider):
    """Chat Completions, here or at any `base_url`."""

    failures: ClassVar[tuple[type[Exception], ...]] = (openai.OpenAIError,)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._states_cost = "openrouter.ai" in endpoint.base_url  # other servers' `cost` may be anything
        self._sdk = AsyncOpenAI(
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
            "authorization": f"Bearer {self.key}",
            "user-agent": self._sdk.user_agent,
        }

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        # The SDK's own door for what it has no types for: authentication, errors and all, without the models that half
        # of a call's CPU would go into.
        raw = await self._sdk.post("/chat/completions", cast_to=httpx2.Response, body=self._body(request))
        completion = parse(raw.content)
        choices = items(completion, "choices")
        if not choices:
            raise ValueError("no choices")
        message = read(choices[0], "message")
        refusal = text(read(message, "refusal"))
        return Delta(
            text=text(read(message, "content")) or refusal or "",
            usage=_usage(read(completion, "usage")),
            finish_reason="content_filter" if refusal else finish(_FINISH, read(choices[0], "finish_reason")),
            model_served=text(read(completion, "model")),
            request_id=raw.headers.get("x-request-id"),
            reported_cost=_stated_cost(completion) if self._states_cost else None,
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Yield the deltas of a streamed answer."""
        chunks = await self._sdk.chat.completions.create(
            model=request.model,
            messages=[],
            extra_body=self._body(request),  # wins over what is named, and goes out as it is
            stream=True,
            stream_options={"include_usage": True},
            timeout=self.read_timeout,
        )
        request_id = chunks.response.headers.get("x-request-id")
        async with chunks:
            async for chunk in chunks:
                choice = next(iter(items(chunk, "choices")), None)
                refusal = text(read(choice, "delta", "refusal"))
                usage = read(chunk, "usage")
                yield Delta(
                    text=text(read(choice, "delta", "content")) or refusal or "",
                    usage=_usage(usage),
                    finish_reason="content_filter" if refusal else finish(_FINISH, read(choice, "finish_reason")),
                    model_served=text(read(chunk, "model")) or None,
                    request_id=request_id,
                    reported_cost=_stated_cost(chunk) if self._states_cost else None,
                )

    def _body(self, request: ChatRequest) -> dict[str, object]:
        turns = [{"role": "system", "content": request.system}] if request.system is not None else []
        for turn in request.messages:
            turns.append({"role": turn.role, "content": turn.content})  # noqa: PERF401 - the system prompt is there
        limit = {self.endpoint.spec.output_names[0]: request.max_tokens}
        options = given(**limit, temperature=request.temperature, seed=request.seed)
        return {"model": request.model, "messages": turns, **options, **request.params}


def _stated_cost(answer: object) -> Decimal | None:
    """Return the cost that OpenRouter puts into the usage of every answer, in USD."""
    cost = read(answer, "usage", "cost")
    if not isinstance(cost, (int, float, str)) or isinstance(cost, bool):
        return None
    try:
        found = Decimal(str(cost))
    except InvalidOperation:
        return None
    return found if found.is_finite() and found >= 0 else None


def _usage(raw: object) -> Usage | None:
    """Read usage, whose parts are inside the totals."""
    if raw is None:
        return None
    return Usage(
        input_tokens=number(raw, "prompt_tokens"),
        output_tokens=number(raw, "completion_tokens"),
        cache_read_tokens=number(raw, "prompt_tokens_details", "cached_tokens"),
        cache_write_tokens=number(raw, "prompt_tokens_details", "cache_write_tokens"),
        reasoning_tokens=number(raw, "completion_tokens_details", "reasoning_tokens"),
    )
