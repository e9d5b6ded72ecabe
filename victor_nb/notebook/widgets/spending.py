"""What a kernel has spent so far, and how much of each budget that is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.money import usd
from victor_nb.notebook.widgets.page import Still, still_line, still_table, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.accounting.budget import Limit
    from victor_nb.accounting.ledger import Total
    from victor_nb.session import Session

_REST: Final = 20
"""The sums are read at most once in so many times as it takes to read them: at 100,000 rows that is a tenth second."""
_HIGH: Final = 80  # per cent of a budget from which it is marked
_ZERO: Final = Decimal(0)
_COLUMNS: Final = ("budget of", "limit", "spent", "held", "left", "used")


@dataclass(frozen=True, slots=True)
class Allowance:
    """A budget at one moment, in USD."""

    name: str
    amount: Decimal
    spent: Decimal
    held: Decimal

    @classmethod
    def of(cls, limit: Limit) -> Allowance:
        """Return how a limit stands; what other kernels have spent counts as spent."""
        return cls(limit.name, limit.amount, limit.spent + limit.elsewhere, limit.held)

    @property
    def left(self) -> Decimal:
        """USD that a further call may cost at the most."""
        return max(_ZERO, self.amount - self.spent - self.held)

    def share(self, part: Decimal) -> int:
        """Return how much of the whole a part is, in per cent: 100 at the most, and 1 where it is anything at all."""
        if self.amount <= 0 or part <= 0:
            return 100 if part > 0 else 0
        return min(100, max(1, int(100 * part / self.amount)))

    @property
    def cells(self) -> tuple[str, ...]:
        """What is said of it in each of `_COLUMNS`."""
        used = f"{self.share(self.spent + self.held)} %"
        return (self.name, *map(usd, (self.amount, self.spent, self.held, self.left)), used)

    @property
    def bar(self) -> str:
        """A line about it and a bar, in HTML."""
        spent = self.share(self.spent)
        held = min(100 - spent, self.share(self.held))
        parts = [f"{usd(self.spent)} spent"]
        parts += [f"{usd(self.held)} held for calls under way"] if self.held else []
        text = f"Budget of {self.name}: {', '.join(parts)}, {usd(self.left)} left of {usd(self.amount)}"
        high = " victor-bar-high" if spent + held >= _HIGH else ""
        inner = f'<span style="width:{spent}%"></span><span class="victor-bar-held" style="width:{held}%"></span>'
        bar = f'<div class="victor-bar{high}" aria-hidden="true">{inner}</div>'
        return f'<div class="victor-budget">{words(text)}{bar}</div>'


@dataclass(frozen=True, slots=True)
class Spending:
    """What a kernel has spent at one moment."""

    total: Total
    budgets: tuple[Allowance, ...]

    @property
    def figures(self) -> list[tuple[str, str]]:
        """What is said of it, each with what it is: list price, what was paid, and how many calls that were."""
        total = self.total
        unpriced = max(0, total.unpriced - total.running)  # what runs has no price yet; that is no lack
        tried = f" in {total.attempts:,} attempts" if total.calls != total.attempts else ""
        figures = [
            ("list price", f"{'>= ' if unpriced else ''}{_known(total.cost)}"),
            ("billed", _known(total.billed)),
            ("calls", f"{total.calls:,}{tried}"),
        ]
        counts = (
            ("unpriced", unpriced),
            ("under way", total.running),
            ("failed", total.failed),
            (self._said, total.simulated),
        )
        return figures + [(name, f"{number:,}") for name, number in counts if number]

    @property
    def _said(self) -> str:
        return "simulated or replayed" if self.total.simulated < self.total.attempts else "all simulated or replayed"

    @property
    def html(self) -> str:
        """All of it, as figures and bars."""
        figures = "".join(
            f'<div class="victor-figure{" victor-bad" if name == "failed" else ""}">'
            f"{words(said, 'victor-figure-said')}{words(name)}</div>"
            for name, said in self.figures
        )
        bars = "".join(budget.bar for budget in self.budgets)
        return f'<div class="victor-figures">{figures}</div>{bars}'

    @property
    def still(self) -> Still:
        """All of it for a twin: a line, and a table of the budgets."""
        line = still_line(" · ".join(f"{name}: {said}" for name, said in self.figures))
        if not self.budgets:
            return line
        cells = [budget.cells for budget in self.budgets]
        return line + still_table(_COLUMNS, cells, caption="Budgets", numbers=_COLUMNS[1:])


class Till:
    """Reads what a kernel has spent, no oftener than it is worth: the sums are over all rows.

    Args:
        home: The session.
        clock: Seconds, of any beginning.
    """

    def __init__(self, home: Session, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._clock = clock
        self._due = float("-inf")
        self._version = -1
        self._total: Total | None = None

    def read(self) -> Spending:
        """Return what was spent; the sums may be those of a moment ago (see `late`)."""
        ledger, limits = self._home.ledger, self._home.budget.limits
        began = self._clock()
        if self._total is None or (self.late and began >= self._due):
            self._version = ledger.version
            self._total = ledger.total()
            _refresh(limits)
            ended = self._clock()
            self._due = ended + _REST * (ended - began)
        return Spending(self._total, tuple(map(Allowance.of, limits)))

    @property
    def late(self) -> bool:
        """Whether rows have changed since the sums were read."""
        return self._home.ledger.version != self._version


def _known(sum_of_known: Decimal) -> str:
    return usd(sum_of_known) if sum_of_known else "USD 0"


def _refresh(limits: Sequence[Limit]) -> None:
    for limit in limits:
        limit.refresh()
