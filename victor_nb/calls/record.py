"""An answer while it arrives: the deltas of one attempt, folded."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import uuid4

from victor_nb.accounting.rows import Row
from victor_nb.errors import ConnectError
from victor_nb.money import Total
from victor_nb.providers.spec import spec_of
from victor_nb.values import BYTES_PER_TOKEN, Price, Usage, estimate_tokens

if TYPE_CHECKING:
    from victor_nb.calls.request import Plan
    from victor_nb.errors import VictorError
    from victor_nb.values import ChatRequest, Delta, FinishReason, Status, UsageSource


_HIGH: Final = ("\ud800", "\udbff")


class Draft:
    """What one attempt has brought so far. Written on the background loop, readable from any thread."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._half = ""
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.model_served: str | None = None
        self.request_id: str | None = None
        self.reported_cost: Decimal | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    @property
    def started(self) -> bool:
        """Whether any text has arrived."""
        return bool(self._pieces)

    def add(self, delta: Delta) -> str:
        """Take one delta in, and return the text that is new."""
        self.usage = delta.usage or self.usage
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.model_served = delta.model_served or self.model_served
        self.request_id = delta.request_id or self.request_id
        if delta.reported_cost is not None:
            self.reported_cost = delta.reported_cost
        return self._keep(self._half + delta.text, final=False) if delta.text else ""

    def end(self) -> str:
        """Return what was held back, once nothing more comes."""
        return self._keep(self._half, final=True)

    def _keep(self, text: str, *, final: bool) -> str:
        """Keep a text that can be encoded: halves of a pair are joined, and a lone one is replaced by U+FFFD.

        JSON may hold half a surrogate pair, and a stream may cut a pair in two; no file or message takes one.
        """
        self._half = ""
        if text and not final and _HIGH[0] <= text[-1] <= _HIGH[1]:
            text, self._half = text[:-1], text[-1]
        if not text.isascii():
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if text:
            self._pieces.append(text)
        return text


_NOTHING: Final = Price(Decimal(0), "computed", "")
_UNKNOWN: Final = Price(None, "unknown", "")
_UNBILLED: Final = frozenset({"simulate", "replay"})


@dataclass(slots=True)
class Attempt:
    """One exchange under way."""

    row: Row
    draft: Draft
    began: float
    first: float | None = None
    open: bool = True


class Record:
    """All attempts of one call."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.call_id = uuid4().hex
        self.queue: float | None = None
        self._finished: list[tuple[Row, Usage]] = []
        self._opened = 0

    @property
    def attempts(self) -> int:
        """Exchanges so far."""
        return self._opened

    def open(self, request: ChatRequest) -> Attempt:
        """Write the row of an attempt that starts now."""
        attempt = Attempt(self._row(request), Draft(), time.perf_counter())
        self._plan.runtime.ledger.start(attempt.row)
        return attempt

    def refuse(self, request: ChatRequest, error: VictorError) -> None:
        """Write the row of a call that was never sent."""
        row, zero = self._row(request), Decimal(0)
        self._plan.runtime.ledger.start(row)
        kind = type(error).__name__
        done = replace(row, status="refused", cost=zero, billed=zero, error_type=kind, error=str(error))
        self._plan.runtime.ledger.finish(done)

    def close(self, attempt: Attempt, status: Status, error: VictorError | None = None) -> None:
        """Complete the row of an attempt that has ended. Once only."""
        if not attempt.open:
            return
        attempt.open = False
        draft, tokens = attempt.draft, self._usage(attempt)
        usage, source = tokens or (None, None)
        price = self._price(attempt, usage, source, error)
        http_status = getattr(error, "http_status", None) if error else 200 if draft.started else None
        row = replace(
            attempt.row,
            status=status,
            model_served=draft.model_served,
            usage_source=source,
            cost=price.cost,
            billed=Decimal(0) if self._plan.mode in _UNBILLED else price.cost,
            cost_source=price.source,
            price_version=price.version or None,
            latency=time.perf_counter() - attempt.began,
            ttft=attempt.first - attempt.began if attempt.first is not None else None,
            http_status=http_status,
            error_type=type(error).__name__ if error else None,
            error=str(error) if error else None,
            request_id=draft.request_id or getattr(error, "request_id", None),
            answer=draft.text if self._plan.runtime.settings.log_text else None,
        )
        if usage is not None:
            row = _with_tokens(row, usage)
            self._learn(row)
        self._plan.runtime.ledger.finish(row)
        self._finished.append((row, usage or Usage()))

    def _learn(self, row: Row) -> None:
        if row.usage_source == "reported":
            size, tokens = row.input_bytes or 0, row.input_tokens or 0
            self._plan.runtime.calibration.learn(row.model, row.mode, size=size, tokens=tokens)

    # --- sums, read from the rows ---

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts together."""
        return sum((usage for _, usage in self._finished), Usage())

    @property
    def spent(self) -> Total:
        """Cost and bill of all attempts together."""
        return Total.of(row for row, _ in self._finished)

    @property
    def estimated(self) -> bool:
        """Whether the last attempt's tokens are a guess of ours."""
        return bool(self._finished) and self._finished[-1][0].usage_source == "estimated"

    # --- one row ---

    def _row(self, request: ChatRequest) -> Row:
        plan, settings = self._plan, self._plan.runtime.settings
        self._opened += 1
        tags = dict(plan.tags)
        if plan.request.temperature is not None and request.temperature is None:
            tags["temperature"] = "not sent"
        return Row(
            ts=datetime.now(UTC),
            call_id=self.call_id,
            attempt=self._opened,
            run_id=plan.run_id,
            strategy=plan.strategy,
            stage=plan.stage,
            profile=plan.profile.name,
            provider=plan.profile.provider,
            model=request.model,
            mode=plan.mode,
            queue=self.queue,
            notebook=settings.notebook,
            tags=tags,
            host=urlsplit(plan.base_url).netloc.rpartition("@")[2],
            input_bytes=request.input_bytes,
            prompt=request.messages[-1].content if settings.log_text else None,
        )

    def _usage(self, attempt: Attempt) -> tuple[Usage, UsageSource] | None:
        """Return the tokens of an attempt and how we know them; None where nobody does."""
        draft = attempt.draft
        if draft.usage is not None:
            return draft.usage, "reported" if draft.finish_reason else "partial"
        if not draft.started:
            return None
        return Usage(-(-self._plan.request.input_bytes // BYTES_PER_TOKEN), estimate_tokens(draft.text)), "estimated"

    def _price(
        self, attempt: Attempt, usage: Usage | None, source: UsageSource | None, error: VictorError | None
    ) -> Price:
        """Price an attempt: nothing where nothing was answered, unknown where the tokens are."""
        draft, plan = attempt.draft, self._plan
        refused = isinstance(error, ConnectError) or getattr(error, "http_status", None) is not None
        if refused and not draft.started and draft.usage is None:
            return _NOTHING
        if source != "reported" and not spec_of(plan.profile.provider).local:
            return _UNKNOWN
        tariff = plan.runtime.tariff(plan.profile, plan.base_url)
        return tariff.price(usage or Usage(), model_served=draft.model_served, reported=draft.reported_cost)


def _with_tokens(row: Row, usage: Usage) -> Row:
    return replace(
        row,
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
    )
