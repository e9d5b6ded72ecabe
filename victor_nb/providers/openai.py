"""OpenAI and every server that speaks its Chat Completions, through the SDK."""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast
from urllib.parse import urlsplit

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream

from victor_nb.media import split
from victor_nb.money import EXACT
from victor_nb.providers.base import Provider
from victor_nb.providers.catalog import host_of, is_local
from victor_nb.providers.http import (
    DONE,
    FIRST,
    OTHERS,
    events,
    fails,
    finish,
    given,
    items,
    no_answer,
    number,
    parse,
    read,
)
from victor_nb.providers.refusals import StatusError
from victor_nb.values import Delta, Lesson, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from victor_nb.providers.spec import Spec
    from victor_nb.providers.translate import Endpoint
    from victor_nb.values import ChatRequest, FinishReason, Message

_FAILED: Final = {
    **dict.fromkeys(("error", "failed", "server_error", "abort", "aborted", "cancelled", "canceled"), 500),
    "timeout": 504,
    "insufficient_system_resource": 503,
}
"""Finish reasons of answers that failed half-way, and the status that each amounts to."""
_TEXTS: Final = (None, "text", "output_text")
"""The kinds of blocks that an answer's text is in."""
_OWN_HOSTS: Final = ("openai.com", "azure.com")
_OWN_MODELS: Final = re.compile(r"(.*/)?(gpt-(?!oss)|chatgpt|o\d)")
"""Models that want the limit of an answer under the name that OpenAI gives it, wherever they are asked."""
_TOO_MUCH: Final = re.compile(
    r"too (large|high|big|small|low)|at (most|least)|less than|greater than|exceed|between|must be|expected a value"
    r"|reached|minimum",
    re.IGNORECASE,
)
"""What a refusal says of a limit's value, and not of its name."""
_STATE_COSTS: Final = frozenset({"openrouter.ai", "x.ai", "perplexity.ai"})
"""Whose answers state what they cost. Elsewhere a field of such a name may be anything."""
_USD: Final = Decimal(1)
_TICK: Final = Decimal("1e-10")  # USD; xAI counts in them
_OWN_NETWORK: Final = "own network"
_KEY_LENGTH: Final = 32  # characters, of which a prompt_cache_key may have 64
LITELLM_COST: Final = "x-litellm-response-cost"


class OpenAI(Provider):
    """Chat Completions, here or at any `base_url`."""

    failures: ClassVar[tuple[type[Exception], ...]] = (openai.OpenAIError, StatusError)
    path: ClassVar[bytes] = b"chat/completions"
    """What is asked below the base URL."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        states = endpoint.spec.states_cost
        self._stating = frozenset({states}) if states else _stating(endpoint.base_url)
        self._limit = _limit_name(endpoint)
        self._connect(endpoint.base_url, self.key)

    def _connect(self, base_url: str, key: str) -> None:
        """Make the SDK's client for an address, and the URL that is asked, which it would else make for each call."""
        self._sdk = AsyncOpenAI(
            api_key=key, base_url=base_url, http_client=self.http, max_retries=0, timeout=self.http.timeout
        )
        base = self._sdk.base_url
        self._url = str(base.copy_with(raw_path=base.raw_path + self.path))
        # What the SDK would copy deeply from its defaults for each call, and a key that it would draw and not send.
        defaults: dict[str, Any] = {"headers": {}, "params": {}, "max_retries": 0, "timeout": self.http.timeout}
        self._plain: Any = {**defaults, "idempotency_key": "", "security": {"bearer_auth": True}}

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What the SDK sends when the environment adds nothing."""
        return {
            "accept": "application/json",
            "authorization": f"Bearer {self.key}",
            "user-agent": self._sdk.user_agent,
        }

    def lessons(self, refusal: str, request: ChatRequest) -> Iterator[tuple[int, Lesson]]:
        """Yield what a refusal may say of stream options, or of the name of the output limit, too."""
        host, sent = host_of(self.endpoint.base_url), request.learned.get("max_tokens") or self._limit
        if "stream_options" in refusal and "stream_options" not in request.learned:
            note = f"stream_options not sent: {host} takes none, so it may count no tokens"
            yield refusal.index("stream_options"), Lesson("stream_options", None, note)
        if sent in refusal and not _TOO_MUCH.search(refusal) and (other := self.other_limit(request)):
            note = f"max_tokens sent as {other}: {host} refuses {sent}"
            yield refusal.index(sent), Lesson("max_tokens", other, note)
        yield from super().lessons(refusal, request)

    def other_limit(self, request: ChatRequest) -> str | None:
        """Return OpenAI's other name for the output limit than the one sent, unless params hold a limit."""
        names, sent = self.endpoint.spec.output_names, request.learned.get("max_tokens") or self._limit
        if request.max_tokens is None or any(name in request.params for name in names):
            return None
        return next((name for name in names if name != sent), None)

    async def ask(self, request: ChatRequest) -> Delta:
        """Return the whole answer to a request that is not streamed."""
        # The SDK's own door for what it has no types for: authentication, errors and all, without the models that half
        # of a call's CPU would go into.
        raw = await self._sdk.post(self._url, cast_to=httpx2.Response, body=self._body(request), options=self._plain)
        answer = parse(raw.content)
        if not isinstance(answer.get("choices"), list) or not answer["choices"]:
            raise no_answer(answer, raw.headers, "choices")
        delta = self._read(answer, "message", raw, _Seen(whole=True))
        if answer.get("error") and fails(answer["error"]):
            raise StatusError(raw.status_code, raw.headers, answer, came=delta)
        return delta

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the deltas of a streamed answer."""
        body = {**self._body(request), "stream": True}
        if "stream_options" not in request.learned:
            body["stream_options"] = {"include_usage": True}
        asking = self._sdk.post(
            self._url,
            cast_to=httpx2.Response,
            body=body,
            options={"timeout": self.read_timeout},
            stream=True,
            stream_cls=AsyncStream[object],
        )
        raw, seen = cast("httpx2.Response", await asking), _Seen()
        async with aclosing(events(raw, sse=True)) as found:
            async for event in found:
                if event is not DONE:
                    yield self._read(event, "delta", raw, seen)
                elif seen.counted and not seen.ended:  # the protocol's own end, and all of it counted
                    yield Delta(finish_reason="stop")

    def _read(self, event: dict[str, object], part: str, raw: httpx2.Response, seen: _Seen) -> Delta:
        """Read a whole answer, or one chunk of a stream.

        Raises:
            StatusError: The choice failed; what came with it is in `came`.
            ValueError: Its content has a form that nothing is known of.
        """
        choice = seen.choose(event.get("choices"))
        # Some gateways make a stream of one piece of a whole answer.
        message, reason = choice.get(part, None if seen.said else choice.get("message")), choice.get("finish_reason")
        content = refusal = None
        if isinstance(message, dict):
            message = cast("dict[str, object]", message)
            content, refusal = message.get("content"), message.get("refusal")
            if "annotations" in message and _cites(message):
                seen.searched = True
            seen.called = seen.called or bool(message.get("tool_calls"))
        said = content if isinstance(content, str) else _joined(content) if content else ""
        if refusal and isinstance(refusal, str):
            said, seen.refused = said or refusal, True
        seen.said = seen.said or bool(said)
        counts = event.get("usage") or choice.get("usage") or read(event, "x_groq", "usage")
        ended = finish(reason) if reason else None
        if ended or seen.whole:  # a whole answer that names no reason has ended all the same
            seen.ended = "content_filter" if seen.refused else ended or "stop"
            if seen.called and seen.ended == "stop":  # as some servers call it
                seen.ended = "tool_calls"
        usage = _usage(counts, searched=seen.searched) if counts else None
        if usage is not None and usage.output_tokens:
            seen.counted = True
        model, tier = event.get("model"), event.get("service_tier")
        proxy = raw.headers.get(LITELLM_COST) if seen.whole else None
        delta = Delta(
            text=said,
            usage=usage,
            finish_reason=seen.ended,
            model_served=model if isinstance(model, str) and model else None,
            request_id=raw.headers.get("x-request-id"),
            reported_cost=stated_cost(counts, self._stating, by_proxy=proxy) if counts or proxy else None,
            service_tier=tier if isinstance(tier, str) else None,
            finish_word=reason if isinstance(reason, str) and reason else None,
            note=seen.note,
            thinking=not said and bool(read(message, "reasoning_content") or read(message, "reasoning")),
        )
        failure, word = choice.get("error"), str(reason).lower()
        if (failure and fails(failure)) or word in _FAILED:
            failure = failure or {"message": f"the answer ended with {reason}", "code": _FAILED[word]}
            delta = replace(delta, finish_reason=None)
            raise StatusError(raw.status_code, raw.headers, {"error": failure}, came=delta)
        return delta

    def _body(self, request: ChatRequest) -> dict[str, object]:
        turns: list[dict[str, object]] = []
        if request.system is not None:
            turns.append({"role": "system", "content": request.system})
        for turn in request.messages:
            content = _parts(turn) if turn.media else turn.content
            turns.append({"role": turn.role, "content": content})
        name = request.learned.get("max_tokens") or self._limit
        for given_name in self.endpoint.spec.output_names:  # a limit in params replaces ours, by whichever name
            name = given_name if given_name in request.params else name
        limit = {name: request.max_tokens}
        options = given(**limit, temperature=request.temperature, seed=request.seed, reasoning_effort=request.effort)
        if request.tier or request.prompt_cache:
            options |= worded(request, self.endpoint.spec)
        if (schema := request.schema) is not None and schema.kind != "prompt":
            form = {"name": schema.name, "schema": schema.schema, "strict": True}
            by_schema = {"type": "json_schema", "json_schema": form}
            options["response_format"] = by_schema if schema.kind == "schema" else {"type": "json_object"}
        return {"model": request.model, "messages": turns, **options, **request.params}


def _parts(turn: Message) -> list[dict[str, object]]:
    """Return the parts of a turn with images or PDFs."""
    parts: list[dict[str, object]] = []
    for part in split(turn.content, turn.media):
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        elif part.kind == "pdf":
            parts.append({"type": "file", "file": {"filename": "document.pdf", "file_data": part.url}})
        else:
            parts.append({"type": "image_url", "image_url": {"url": part.url}})
    return parts


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


@dataclass(slots=True)
class _Seen:
    """What has been read of an answer.

    Attributes:
        whole: Whether it comes in one piece.
        ended: Why it ended, once it has.
        counted: Whether its tokens have been counted.
        said: Whether text has come.
    """

    whole: bool = False
    ended: FinishReason | None = None
    counted: bool = False
    said: bool = False
    refused: bool = False
    searched: bool = False
    called: bool = False
    note: str | None = None

    def choose(self, choices: object) -> dict[str, object]:
        """Return the choice that is read, the first one; an empty one where a chunk is of another, or of none."""
        ours: dict[str, object] = {}
        other: dict[str, object] = {}
        for choice in cast("list[object]", choices) if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                choice = cast("dict[str, object]", choice)
                if choice.get("index") in FIRST and not ours:
                    ours = choice
                else:
                    other, self.note = other or choice, OTHERS
        return ours or (other if self.whole else {})


def _limit_name(endpoint: Endpoint) -> str:
    """Return how the limit of an answer's tokens is called: a server may ignore the other name without a word."""
    names, host = endpoint.spec.output_names, urlsplit(endpoint.base_url).hostname or ""
    own = endpoint.spec.name != "openai" or host.endswith(_OWN_HOSTS) or _OWN_MODELS.match(endpoint.model)
    return names[0] if own else names[-1]


def _joined(content: object) -> str:
    """Return the text of content that is a list of blocks: what a model thought, or refers to, is left out.

    Raises:
        ValueError: It is no list of blocks.
    """
    blocks = cast("list[object]", content) if isinstance(content, list) else [content]
    texts: list[str] = []
    for block in blocks:
        kind, said = read(block, "type"), read(block, "text")
        said = read(block, "content") if said is None else read(said, "value") or said
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(said, str) and kind in _TEXTS:
            texts.append(said)
        elif kind is None or (kind in _TEXTS and said is not None):
            raise ValueError(f"content of type {type(block).__name__}")
    return "".join(texts)


def _stating(base_url: str) -> frozenset[str]:
    """Return whose stated costs a host's answers may hold; a server on one's own network may pass on any of them."""
    host = urlsplit(base_url).hostname or ""
    if is_local(base_url):
        return _STATE_COSTS | {_OWN_NETWORK}
    return frozenset(domain for domain in _STATE_COSTS if host == domain or host.endswith(f".{domain}"))


def stated_cost(usage: object, stating: frozenset[str], *, by_proxy: str | None = None) -> Decimal | None:
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


def _usage(raw: object, *, searched: bool) -> Usage:
    """Read usage, whose parts are inside the totals, by the names that OpenAI and others give them."""
    prompt = number(raw, "prompt_tokens") or number(raw, "input_tokens")
    completion = number(raw, "completion_tokens") or number(raw, "output_tokens")
    cached = (
        number(raw, "prompt_tokens_details", "cached_tokens")
        or number(raw, "prompt_cache_hit_tokens")  # DeepSeek
        or number(raw, "cached_tokens")  # Moonshot, Together
        or number(raw, "cache_read_input_tokens")  # Anthropic's models behind litellm
    )
    written = number(raw, "prompt_tokens_details", "cache_write_tokens") or number(raw, "cache_creation_input_tokens")
    reasoning, more = number(raw, "completion_tokens_details", "reasoning_tokens"), cached + written
    beyond = number(raw, "total_tokens") - prompt - completion if prompt else 0  # what the total alone has
    if more > prompt or (beyond == more != reasoning):  # Bedrock and Anthropic count it beside the prompt
        prompt, beyond = prompt + more, beyond - more
    output = completion + max(0, beyond)  # xAI and Google count reasoning in the total only
    return Usage(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning or output - completion,
        web_searches=number(raw, "server_tool_use", "web_search_requests")
        or number(raw, "num_search_queries")  # Perplexity
        or number(raw, "num_sources_used")  # xAI
        or int(searched),
    )
