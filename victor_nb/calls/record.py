"""The record of one call: its attempts, each an exchange and a row of the ledger."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from victor_nb.accounting.rows import Row, input_text
from victor_nb.config.secret import MASK, SHORTEST_SECRET
from victor_nb.providers.params import AUTO_TIER, asked_tier
from victor_nb.providers.spec import spec_of
from victor_nb.values import BYTES_PER_TOKEN, UNPAID, Price, Usage, estimate_tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from victor_nb.accounting.budget import Hold
    from victor_nb.calls.request import Request
    from victor_nb.errors import VictorError
    from victor_nb.values import ChatRequest, Delta, FinishReason, Status, UsageSource
    from victor_nb.wire.clock import Clock

_HIGH: Final = ("\ud800", "\udbff")
_NOTHING: Final = Price(Decimal(0), "computed", "")
_UNKNOWN: Final = Price(None, "unknown", "")
_COUNTS: Final = tuple(count.name for count in fields(Usage))
_counts: Final = attrgetter(*_COUNTS)
_NAMES: Final = ("model_served", "request_id", "service_tier", "finish_word")
_LONG: Final = 8_000  # bytes; a shorter prompt fits any context
_CUT: Final = 2.5 * BYTES_PER_TOKEN
"""Bytes for each token that was read, above which a server has cut the prompt; prose has 4, of Chinese less."""
_NOT_STATED: Final = "not stated"
"""The tier of an answer that does not name it, where another than the standard one was asked for: it has no price."""


@dataclass(slots=True)
class Attempt:
    """One exchange: its row, and what its deltas have brought. Written on the loop only, readable from any thread.

    Attributes:
        hold: What is set aside for it.
        began: When the request was sent, on the clock of the record.
        leave: What has to be done before it may be sent, if anything.
        first: When the first text arrived, on the same clock; None before, and where the answer came in one piece.
        open: Whether the row has yet to be completed.
        pieces: The text so far.
        asked_tier: The service tier that was asked for; None for the standard one.
        thinking: Whether what it has brought last is of what the model thinks.
        secret: The key that it was sent with, which no answer brings back.
    """

    row: Row
    hold: Hold
    began: float
    leave: Future[None] | None = None
    first: float | None = None
    open: bool = True
    pieces: list[str] = field(default_factory=list[str])
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    model_served: str | None = None
    request_id: str | None = None
    reported_cost: Decimal | None = None
    service_tier: str | None = None
    asked_tier: str | None = None
    finish_word: str | None = None
    thinking: bool = False
    notes: list[str] = field(default_factory=list[str])
    secret: str = field(default="", repr=False)
    _half: str = ""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def add(self, delta: Delta) -> str:
        """Take one delta in, and return the text that is new."""
        if (usage := delta.usage) is not None and (usage.input_tokens or usage.output_tokens):
            self.usage = usage if self.usage is None else self.usage.updated(usage)
        self.finish_reason = delta.finish_reason or self.finish_reason
        for name in _NAMES:
            named: str | None = getattr(delta, name)
            if named:
                named = named.replace(self.secret, MASK) if self.secret else named
                setattr(self, name, named if named.isascii() else named.encode("utf-8", "replace").decode())
        self.thinking = delta.thinking or (self.thinking and not delta.text)
        if delta.note is not None and delta.note not in self.notes:
            self.notes.append(delta.note)
        if delta.reported_cost is not None:
            self.reported_cost = delta.reported_cost
        return self.keep(delta.text) if delta.text else ""

    def keep(self, text: str, *, final: bool = False) -> str:
        """Append text that can be encoded, and return it: halves of a pair are joined, a lone one becomes U+FFFD.

        JSON may hold half a surrogate pair, and a stream may cut a pair in two; no file or message takes one.

        Args:
            text: What arrived; "" at the end.
            final: Whether nothing more comes: a half that was held back is then appended too.
        """
        text, self._half = self._half + text, ""
        if text and not final and _HIGH[0] <= text[-1] <= _HIGH[1]:
            text, self._half = text[:-1], text[-1]
        if not text.isascii():
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if self.secret and self.secret[0] in text:
            text = self._mask(text, final=final)
        if text:
            self.pieces.append(text)
        return text

    def _mask(self, text: str, *, final: bool) -> str:
        """Return a piece without the key, which a careless server may echo; what may be its start is held back."""
        secret = self.secret
        text = text.replace(secret, MASK)
        start = text.find(secret[0], max(0, len(text) - len(secret) + 1))
        while start >= 0 and not secret.startswith(text[start:]):
            start = text.find(secret[0], start + 1)
        if start < 0:
            return text
        text, rest = text[:start], text[start:]
        if final:  # broken off inside of it
            return text + (rest if len(rest) < SHORTEST_SECRET else MASK)
        self._half = rest + self._half
        return text


class Record:
    """All attempts of a call to one profile.

    Attributes:
        queue: Seconds that the call waited for a place; None while it does.
        attempts: Exchanges that have begun.
        rows: Those that have ended.
        usages: Their tokens.
        now: Returns seconds: `time.perf_counter`, or the clock.
        clock: That of a simulated call.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        # Ids that begin with the time lie beside each other in the ledger's index, and are quickly added to it.
        self.call_id = f"{time.time_ns():016x}{os.urandom(8).hex()}"
        self.now: Callable[[], float] = time.perf_counter
        self.clock: Clock | None = None
        self.queue: float | None = None
        self.attempts = 0
        self.rows: list[Row] = []
        self.usages: list[Usage] = []

    def open(self, chat: ChatRequest, hold: Hold) -> Attempt:
        """Write the row of an attempt that starts now."""
        secret = self._request.provider.secret
        attempt = Attempt(self._row(chat, held=hold.amount), hold, self.now(), secret=secret)
        if chat.tier or chat.params:
            attempt.asked_tier = asked_tier(chat.params, chat.tier)
        attempt.leave = self._request.runtime.ledger.start(attempt.row)
        return attempt

    def refuse(self, chat: ChatRequest, error: VictorError) -> None:
        """Write the row of a call that was never sent."""
        row, zero, ledger = self._row(chat), Decimal(0), self._request.runtime.ledger
        ledger.start(row)
        kind = type(error).__name__
        ledger.finish(replace(row, status="refused", cost=zero, billed=zero, error_type=kind, error=str(error)))

    def close(self, attempt: Attempt, status: Status, error: VictorError | None = None) -> None:
        """Complete the row of an attempt that has ended. Once only."""
        if not attempt.open:
            return
        attempt.open = False
        runtime = self._request.runtime
        usage, source = self._usage(attempt)
        price = self._price(attempt, usage, source, error)
        http_status = getattr(error, "http_status", None) if error else 200 if attempt.pieces else None
        row = replace(
            attempt.row,
            status=status,
            model_served=attempt.model_served,
            usage_source=source,
            cost=price.cost,
            billed=Decimal(0) if self._request.mode in UNPAID else price.cost,
            cost_source=price.source,
            price_version=price.version or None,
            latency=self.now() - attempt.began,
            ttft=attempt.first - attempt.began if attempt.first is not None else None,
            http_status=http_status,
            error_type=type(error).__name__ if error else None,
            error=str(error) if error else None,
            service_tier=attempt.service_tier,
            request_id=attempt.request_id or getattr(error, "request_id", None),
            answer=attempt.text if runtime.settings.log_text else None,
            **({} if usage is None else dict(zip(_COUNTS, _counts(usage), strict=True))),
        )
        if usage is not None and source == "reported":
            size, read = row.input_bytes or 0, usage.input_tokens
            if read and size > max(_LONG, _CUT * read) and self._free():
                most = f"only {read:,} of some {size // BYTES_PER_TOKEN:,} tokens of the prompt were read"
                attempt.notes.append(f"{most}: the context is too small (for Ollama, params: {{num_ctx: ...}})")
            elif attempt.hold.counted:
                runtime.calibration.learn(row.model, row.mode, size=size, tokens=read)
        if row.cost is None:
            row = replace(row, held=attempt.hold.at_worst())
        runtime.ledger.finish(row)
        runtime.budget.settle(attempt.hold, row.cost)
        self.rows.append(row)
        self.usages.append(usage or Usage())

    def _row(self, chat: ChatRequest, *, held: Decimal | None = None) -> Row:
        request, settings = self._request, self._request.runtime.settings
        self.attempts += 1
        tags = dict(request.tags)
        if request.chat.temperature is not None and chat.temperature is None:
            tags["temperature"] = "not sent"
        if chat.learned:
            tags |= self._sent_otherwise(chat)
        return Row(
            ts=datetime.now(UTC) if self.clock is None else self.clock.moment,
            call_id=self.call_id,
            attempt=self.attempts,
            run_id=request.run_id,
            strategy=request.strategy,
            stage=request.stage,
            profile=request.profile.name,
            provider=request.profile.provider,
            model=chat.model,
            mode=request.mode,
            queue=self.queue,
            notebook=settings.notebook,
            tags=tags,
            held=held,
            host=urlsplit(request.base_url).netloc.rpartition("@")[2],
            # An image is no text: what it counts says nothing about how dense texts are.
            input_bytes=None if chat.media else len(input_text(chat)),
            prompt=chat.messages[-1].content if settings.log_text else None,
        )

    def _sent_otherwise(self, chat: ChatRequest) -> dict[str, str]:
        """Return what this attempt sends otherwise than it was asked to, since the host has refused it."""
        asked = {"stream_options": self._request.stream or None}
        return {
            name: f"sent as {instead}" if instead else "not sent"
            for name, instead in chat.learned.items()
            if asked.get(name, getattr(chat, name, None)) is not None
        }

    def _usage(self, attempt: Attempt) -> tuple[Usage | None, UsageSource | None]:
        """Return the tokens of an attempt, and how they are known; None where they are not."""
        if (usage := attempt.usage) is not None:
            # An answer of no tokens, or to none, was not counted to its end; a local server may remember a prompt.
            whole = (usage.output_tokens or not attempt.pieces) and (usage.input_tokens or self._free())
            if attempt.pieces and not usage.output_tokens:
                usage = replace(usage, output_tokens=estimate_tokens(attempt.text))
            return usage, "reported" if attempt.finish_reason and whole else "partial"
        if not attempt.pieces:
            return None, None
        tokens_in = -(-(attempt.row.input_bytes or 0) // BYTES_PER_TOKEN)
        return Usage(tokens_in, estimate_tokens(attempt.text)), "estimated"

    def _price(
        self, attempt: Attempt, usage: Usage | None, source: UsageSource | None, error: VictorError | None
    ) -> Price:
        """Price an attempt: nothing where nothing was answered, unknown where the tokens are."""
        request = self._request
        if getattr(error, "refused", False) and not attempt.pieces and attempt.usage is None:
            return _NOTHING
        if source != "reported" and not self._free():
            return _UNKNOWN
        tier = attempt.service_tier
        if tier is None and attempt.asked_tier not in {None, AUTO_TIER}:
            tier = _NOT_STATED
        return request.tariff.price(
            usage or Usage(), model_served=attempt.model_served, reported=attempt.reported_cost, tier=tier or "standard"
        )

    def _free(self) -> bool:
        profile = self._request.profile
        return profile.prices is None and profile.priced_as is None and spec_of(profile.provider).free
