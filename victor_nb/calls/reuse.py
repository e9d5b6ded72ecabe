"""An answer out of the store in place of a call: found, read by its schema, and kept once it is whole."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.cache import StoredAnswer, answer_key
from victor_nb.config.environment import stamp_of
from victor_nb.errors import ConfigError
from victor_nb.providers.spec import spec_of
from victor_nb.providers.weights import locate
from victor_nb.values import Reply
from victor_nb.wire.clock import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.accounting.cache import AnswerCache
    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import Request

_WHOLE: Final = ("stop", "length")
"""Reasons to stop after which an answer is kept: of what was withheld or called a tool, there is no whole text."""


def key_of(request: Request) -> bytes:
    """Return the digest of all that decides the answer to a request; it is made once."""
    reuse = request.cache
    if not isinstance(reuse, Reuse):
        return _key(request)
    reuse.key = key = reuse.key or _key(request)
    return key


def _key(request: Request) -> bytes:
    profile = request.profile
    key = answer_key(
        request.chat, provider=profile.provider, base_url=request.base_url, api=profile.api, sample=request.sample
    )
    if profile.provider == "embedded" and request.mode == "live":
        with suppress(ConfigError):  # there is no file, and what asks it says so
            file = stamp_of(locate(profile.model, request.provider.endpoint.folders))
            return sha256(key + repr(file).encode()).digest()
    return key


@dataclass(slots=True)
class Reuse:
    """What a call of `cache=on`, or `refresh`, does with the store of answers.

    Attributes:
        fresh: Whether it only keeps what comes, and looks nothing up.
        key: The digest of its question, once it is known.
        kept: Where its answer was put, if it was.
    """

    fresh: bool = False
    key: bytes | None = None
    kept: AnswerCache | None = None

    async def find(self, request: Request, on_text: Callable[[str], object] | None) -> Reply | None:
        """Return the reply that the store has for a request, if it has; its text is one piece."""
        cache = None if self.fresh else request.runtime.cache_for(request.mode)
        if cache is None:
            return None
        key = key_of(request)
        search = cache.find([key])
        # What is simulated must come in the same order each time, whatever this machine does meanwhile.
        found = (search.result() if request.mode == "simulate" else await asyncio.wrap_future(search)).get(key)
        if found is None or not found.serves(request.chat.max_tokens):
            return None
        reply = await reused(request, found)
        if reply is not None and on_text is not None:
            on_text(reply.content)
        return reply and replace(reply, notes=(*reply.notes, *cache.news()))

    def keep(self, request: Request, reply: Reply, row: Row, max_tokens: int | None) -> Reply:
        """Store the answer of a call, if it is whole and holds no key; return its reply, with what is shown once.

        Args:
            request: What was asked.
            reply: What came of it.
            row: The attempt that was answered.
            max_tokens: The limit that was sent.
        """
        cache = request.runtime.cache_for(request.mode)
        whole = reply.status == "ok" and reply.finish_reason in _WHOLE and bool(reply.content)
        if cache is None or not whole or self._leaks(request, reply.content):
            return reply
        if request.chat.max_tokens is None and max_tokens == spec_of(request.profile.provider).own_output(row.model):
            max_tokens = None  # it was sent for a budget, and is the model's own
        self.kept = cache
        answer = StoredAnswer(
            content=reply.content,
            usage=reply.usage if reply.attempts == 1 else row.usage,
            cost=row.cost,
            created=row.ts,
            provider=row.provider,
            model=row.model,
            finish_reason=reply.finish_reason,
            model_served=row.model_served,
            max_tokens=max_tokens,
            cost_source=row.cost_source,
            price_version=row.price_version,
            latency=row.latency or 0.0,
            ttft=row.ttft,
            request_id=row.request_id,
            service_tier=row.service_tier,
            notes=reply.notes,
        )
        cache.put(key_of(request), answer)
        news = cache.news()
        return replace(reply, notes=(*reply.notes, *news)) if news else reply

    def _leaks(self, request: Request, text: str) -> bool:
        return request.runtime.settings.leaks(text, lately=request.quota is not None)


async def reused(request: Request, stored: StoredAnswer) -> Reply | None:
    """Return the reply that a stored answer is; None where it does not fit the schema of today."""
    schema, data = request.chat.schema, None
    if schema is not None and schema.read is not None:
        try:
            data, _ = await asyncio.to_thread(schema.read, stored.content)
        except ValueError:
            return None
    clock = CLOCK.get() if request.mode == "simulate" else None
    now = datetime.now(UTC) if clock is None else clock.moment
    return Reply(
        content=stored.content,
        usage=stored.usage,
        cost=stored.cost,
        billed=Decimal(0),
        profile=request.profile.name,
        provider=request.profile.provider,
        model=request.profile.model,
        model_served=stored.model_served,
        latency=0.0,
        ttft=None,
        finish_reason=stored.finish_reason,
        attempts=0,
        mode=request.mode,
        request_id=stored.request_id,
        notes=stored.notes,
        service_tier=stored.service_tier,
        data=data,
        made=stored.created,
        age=max(0.0, (now - stored.created).total_seconds()),
    )
