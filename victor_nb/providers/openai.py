"""OpenAI and every server that speaks its Chat Completions, through the SDK."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit

import httpx2
import openai
from openai import AsyncOpenAI

from victor_nb.money import EXACT
from victor_nb.providers.base import Provider
from victor_nb.providers.http import finish, given, items, number, parse, read, text
from victor_nb.providers.spec import is_local
from victor_nb.values import Delta, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from victor_nb.providers.spec import Spec
    from victor_nb.providers.translate import Endpoint
    from victor_nb.values import ChatRequest

_FINISH: Final = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_STATE_COSTS: Final = frozenset({"openrouter.ai", "x.ai", "perplexity.ai"})
"""Whose answers state what they cost. Elsewhere a field of such a name may be anything."""
_USD: Final = Decimal(1)
_TICK: Final = Decimal("1e-10")  # USD; xAI counts in them
_OWN_NETWORK: Final = "own network"
_KEY_LENGTH: Final = 32  # characters, of which a prompt_cache_key may have 64
_LITELLM_COST: Final = "x-litellm-response-cost"


class OpenAI(Provider):
    """Chat Completions, here or at any `base_url`."""

    failures: ClassVar[tuple[type[Exception], ...]] = (openai.OpenAIError,)

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        states = endpoint.spec.states_cost
        self._stating = frozenset({states}) if states else _stating(endpoint.base_url)
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
        message, raw_usage = read(choices[0], "message"), read(completion, "usage")
        refusal = text(read(message, "refusal"))
        return Delta(
            text=text(read(message, "content")) or refusal or "",
            usage=_usage(raw_usage, searched=bool(read(message, "annotations")) and _cites(message)),
            finish_reason="content_filter" if refusal else finish(_FINISH, read(choices[0], "finish_reason")),
            model_served=text(read(completion, "model")),
            request_id=raw.headers.get("x-request-id"),
            reported_cost=_stated_cost(raw_usage, self._stating, by_proxy=raw.headers.get(_LITELLM_COST)),
            service_tier=text(read(completion, "service_tier")),
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
        request_id, searched = chunks.response.headers.get("x-request-id"), False
        async with chunks:
            async for chunk in chunks:
                choice = next(iter(items(chunk, "choices")), None)
                raw_usage, delta = read(chunk, "usage"), read(choice, "delta")
                refusal = text(read(delta, "refusal"))
                searched = searched or (bool(read(delta, "annotations")) and _cites(delta))
                yield Delta(
                    text=text(read(delta, "content")) or refusal or "",
                    usage=_usage(raw_usage, searched=searched),
                    finish_reason="content_filter" if refusal else finish(_FINISH, read(choice, "finish_reason")),
                    model_served=text(read(chunk, "model")) or None,
                    request_id=request_id,
                    reported_cost=_stated_cost(raw_usage, self._stating),
                    service_tier=text(read(chunk, "service_tier")),
                )

    def _body(self, request: ChatRequest) -> dict[str, object]:
        turns = [{"role": "system", "content": request.system}] if request.system is not None else []
        for turn in request.messages:
            turns.append({"role": turn.role, "content": turn.content})  # noqa: PERF401 - the system prompt is there
        limit = {self.endpoint.spec.output_names[0]: request.max_tokens}
        options = given(**limit, temperature=request.temperature, seed=request.seed, reasoning_effort=request.effort)
        if request.tier or request.prompt_cache:
            options |= worded(request, self.endpoint.spec)
        return {"model": request.model, "messages": turns, **options, **request.params}


def worded(request: ChatRequest, spec: Spec) -> dict[str, object]:
    """Return what the tier and the prompt cache of a request are called here.

    Requests with the same beginning go to the same cache by a key that is made of it; without the cache of which what
    is written is charged, no place is named up to which it would be.
    """
    beginning = request.system if request.system is not None else request.messages[0].content
    key = sha256(f"{request.model}\0{beginning}".encode()).hexdigest()[:_KEY_LENGTH]
    return given(
        service_tier=spec.standard_tier if request.tier == "standard" else request.tier,
        prompt_cache_key=key if request.prompt_cache == "auto" else None,
        prompt_cache_options={"mode": "explicit"} if request.prompt_cache == "off" else None,
    )


def _stating(base_url: str) -> frozenset[str]:
    """Return whose stated costs a host's answers may hold; a server on one's own network may pass on any of them."""
    host = urlsplit(base_url).hostname or ""
    if is_local(base_url):
        return _STATE_COSTS | {_OWN_NETWORK}
    return frozenset(domain for domain in _STATE_COSTS if host == domain or host.endswith(f".{domain}"))


def _stated_cost(usage: object, stating: frozenset[str], *, by_proxy: str | None = None) -> Decimal | None:
    """Return the cost that an answer states, in USD; None where it states none."""
    cost, ticks = read(usage, "cost"), read(usage, "cost_in_usd_ticks")
    found = None
    if ticks is not None and "x.ai" in stating:
        found = _amount(ticks, unit=_TICK)
    elif isinstance(cost, (int, float, str)) and "openrouter.ai" in stating:
        found = _of_openrouter(usage, surely=_OWN_NETWORK not in stating)
    elif cost is not None and "perplexity.ai" in stating:
        found = _amount(read(cost, "total_cost"))
    if found is None and by_proxy:
        return _amount(by_proxy) or None  # of 0: the proxy knows no price
    return found


def _of_openrouter(usage: object, *, surely: bool) -> Decimal | None:
    """Return OpenRouter's cost: with a key of one's own, it states its fee, and what the provider charges beside it."""
    cost, own_key = _amount(read(usage, "cost")), read(usage, "is_byok")
    if own_key is None and not surely:
        return None
    if cost is None or own_key is not True:
        return cost
    upstream = _amount(read(usage, "cost_details", "upstream_inference_cost"))
    return None if upstream is None else EXACT.add(cost, upstream)


def _amount(stated: object, *, unit: Decimal = _USD) -> Decimal | None:
    """Return an amount of money; None for what is none, or less than nothing."""
    if not isinstance(stated, (int, float, str)) or isinstance(stated, bool):
        return None
    try:
        found = Decimal(str(stated))
    except InvalidOperation:
        return None
    return EXACT.multiply(found, unit) if found.is_finite() and found >= 0 else None


def _cites(message: object) -> bool:
    """Return whether an answer cites the web, which a model has then searched once."""
    return any(read(note, "type") == "url_citation" for note in items(message, "annotations"))


def _usage(raw: object, *, searched: bool) -> Usage | None:
    """Read usage, whose parts are inside the totals, by the names that OpenAI and others give them."""
    if raw is None:
        return None
    prompt, completion = number(raw, "prompt_tokens"), number(raw, "completion_tokens")
    output = max(completion, number(raw, "total_tokens") - prompt)  # xAI and Google count reasoning in the total only
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=number(raw, "prompt_tokens_details", "cached_tokens")
        or number(raw, "prompt_cache_hit_tokens")  # DeepSeek
        or number(raw, "cached_tokens")  # Moonshot, Together
        or number(raw, "cache_read_input_tokens"),  # Anthropic's models behind litellm
        cache_write_tokens=number(raw, "prompt_tokens_details", "cache_write_tokens")
        or number(raw, "cache_creation_input_tokens"),
        reasoning_tokens=number(raw, "completion_tokens_details", "reasoning_tokens") or output - completion,
        web_searches=number(raw, "server_tool_use", "web_search_requests")
        or number(raw, "num_search_queries")  # Perplexity
        or number(raw, "num_sources_used")  # xAI
        or int(searched),
    )
