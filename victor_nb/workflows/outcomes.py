"""What came of the rows of a map, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from victor_nb.errors import BudgetError, InvalidAnswerError, PartialAnswerError, VictorError
from victor_nb.money import Total
from victor_nb.values import Reply
from victor_nb.workflows.forecast import spoken

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["ok", "reused", "skipped", "invalid", "failed", "refused", "partial", "interrupted", "pending"]

_LONGEST: Final = 300  # characters of an error in a frame
_NO_FAULT: Final = ("ok", "reused", "skipped", "interrupted")
ANSWERED: Final = ("ok", "reused", "partial")
"""The statuses of rows that have an answer."""


@dataclass(slots=True)
class Cell:
    """What came of one row at one profile.

    Attributes:
        data: The answer as a value, where there is a schema.
        error: Why there is no answer, or not a whole one, on one line.
        cost: List price in USD of what this map asked for it; 0 where nothing was sent, None where it is unknown.
        latency: Seconds.
        model: The model that served.
        reused_price: What the answer cost when it was asked, where it is reused; None where that is unknown.
        last_cost: The part of `cost` that is of the worker whose answer it is, where others were lost that had asked.
    """

    status: Status = "pending"
    text: str | None = None
    data: object = None
    error: str | None = None
    cost: Decimal | None = Decimal(0)
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency: float | None = None
    model: str | None = None
    finish_reason: str | None = None
    reused_price: Decimal | None = None
    last_cost: Decimal | None = None

    @property
    def price(self) -> Decimal | None:
        """List price in USD of the answer, whether this map asked for it or reused it; None where it is unknown."""
        if self.status == "reused":
            return self.reused_price
        return self.cost if self.last_cost is None else self.last_cost

    def take(self, reply: Reply) -> None:
        """Take the content of a reply, whole or not."""
        self.text, self.data, self.finish_reason = reply.content, reply.data, reply.finish_reason
        self.model, self.latency = reply.model_served or reply.model, reply.latency
        if reply.usage.total_tokens:
            self.input_tokens, self.output_tokens = reply.usage.input_tokens, reply.usage.output_tokens

    def fail(self, error: VictorError) -> None:
        """Take an error, and what had come by then."""
        reply = error.partial if isinstance(error.partial, Reply) else getattr(error, "reply", None)
        if isinstance(reply, Reply):
            self.take(reply)
        found: list[Status] = [status for kind, status in _STATUS if isinstance(error, kind)]
        self.status = found[0] if found else "failed"
        self.error = shortened(f"{type(error).__name__}: {error}")

    def repeat(self, first: Cell) -> None:
        """Take what came of an equal row, beside which this one costs nothing."""
        self.text, self.data, self.error, self.finish_reason = first.text, first.data, first.error, first.finish_reason
        self.input_tokens, self.output_tokens = first.input_tokens, first.output_tokens
        self.latency, self.model, self.reused_price = first.latency, first.model, first.price
        self.status = "reused" if first.status == "ok" else first.status


_STATUS: Final[tuple[tuple[type[VictorError], Status], ...]] = (
    (BudgetError, "refused"),
    (InvalidAnswerError, "invalid"),
    (PartialAnswerError, "partial"),
)


def shortened(text: str) -> str:
    """Return a text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a map is: rows by what came of them, one for each profile and sample.

    Attributes:
        total: All of them; None while that is not known.
        by: How many of each status.
        spent: What the map has spent.
        eta: Seconds to the end, as far as can be seen.
        again: How many were sent by a worker of a cluster that was lost, and asked again by another one.
    """

    done: int = 0
    total: int | None = None
    by: Mapping[str, int] = field(default_factory=dict[str, int])
    spent: Total = field(default_factory=Total)
    eta: float | None = None
    again: int = 0

    @property
    def failed(self) -> int:
        """How many have no whole answer, and were not stopped."""
        return sum(count for status, count in self.by.items() if status not in _NO_FAULT)

    @property
    def answered(self) -> int:
        """How many have an answer."""
        return sum(self.by.get(status, 0) for status in ANSWERED)

    @property
    def reused(self) -> int:
        """How many took an answer that there was."""
        return self.by.get("reused", 0)

    @property
    def now(self) -> str:
        """What bars show beside the numbers."""
        stopped = self.by.get("interrupted", 0)
        parts = (f"{self.reused:,} reused" if self.reused else "", f"{stopped:,} stopped" if stopped else "")
        return " · ".join(filter(None, parts))

    def __str__(self) -> str:
        """Return it as text: `1,200/2,000 · 300 reused · 2 failed · USD 0.0123 · 40 s left`."""
        total = "" if self.total is None else f"/{self.total:,}"
        failed = f"{self.failed:,} failed" if self.failed else ""
        again = f"{self.again:,} asked twice, as a worker was lost" if self.again else ""
        left = f"{spoken(self.eta)} left" if self.eta else ""
        return " · ".join(filter(None, (f"{self.done:,}{total}", self.now, failed, again, str(self.spent), left)))
