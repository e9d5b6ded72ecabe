"""What the trials of budgets share: a server's own book, and a tally of how near to their limits they came."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from servers.answers import Answer, Tokens
from victor_nb import session
from victor_nb.errors import BudgetError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servers.exchange import Act, Exchange

TRIALS: Final = int(os.environ.get("BUDGET_TRIALS", "12"))
"""How many of each kind; `tests/benchmarks/budget_trials.py` runs 100."""
IN, OUT = Decimal(1), Decimal(10)  # USD per million tokens
MAX_TOKENS: Final = 1_000
WORST = (Decimal(100) * IN + MAX_TOKENS * OUT) / 1_000_000
PRICES: Final = {"input": float(IN), "output": float(OUT)}


def price(tokens: Tokens, rates: tuple[Decimal, Decimal] = (IN, OUT)) -> Decimal:
    """Return what an answer costs, in USD, at rates per million tokens of input and output."""
    return (tokens.input * rates[0] + tokens.output * rates[1]) / 1_000_000


class Book:
    """What a server has generated, by its own count, whether the answer arrived or not."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.by_prompt: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.sent = 0

    @property
    def usd(self) -> Decimal:
        """What all answers cost."""
        return sum(self.by_prompt.values(), Decimal(0))

    def charge(self, prompt: str, tokens: Tokens, rates: tuple[Decimal, Decimal] = (IN, OUT)) -> None:
        """Note what an answer costs."""
        self.by_prompt[prompt] += price(tokens, rates)
        self.sent += 1

    def answer(self, *, least: int = 0, most: int = MAX_TOKENS) -> Act:
        """Return an act: an answer of a random length."""

        async def act(exchange: Exchange) -> None:
            prompt = exchange.request.json["messages"][-1]["content"]
            size = self.random.randint(1, len(prompt.encode()))
            tokens = Tokens(input=size, output=self.random.randint(least, most))
            self.charge(prompt, tokens)
            await Answer(tokens=tokens)(exchange)

        return act

    def lost(self, fault: Act) -> Act:
        """Return an act: the answer is generated, at its full length, and then lost."""

        async def act(exchange: Exchange) -> None:
            prompt = exchange.request.json["messages"][-1]["content"]
            self.charge(prompt, Tokens(input=len(prompt.encode()), output=MAX_TOKENS))
            await fault(exchange)

        return act


@dataclass
class Tally:
    """How near to their limits trials have come.

    Attributes:
        trials: How many there were.
        highest: The highest ratio of the server's book to its limit.
        sent: Calls that the server got.
        possible: Those that would have fitted, had each cost as much as any could.
        killed: Trials in which a process was killed before its end.
    """

    trials: int = 0
    highest: Decimal = Decimal(0)
    sent: int = 0
    possible: int = 0
    killed: int = 0

    def note(self, spent: Decimal, limit: Decimal, *, sent: int = 0, possible: int = 0) -> None:
        """Add a trial, which must not have spent more than its limit."""
        self.trials += 1
        self.highest = max(self.highest, spent / limit)
        self.sent, self.possible = self.sent + sent, self.possible + possible
        assert spent <= limit, f"trial {self.trials}: USD {spent} spent of {limit}"

    def properties(self) -> Iterable[tuple[str, object]]:
        """Yield what a report of the test is to hold."""
        yield "trials", self.trials
        yield "highest", f"{self.highest:.3f}"
        yield "sent", f"{self.sent} of {self.possible}" if self.possible else "-"


def spend_all(_: int) -> int:
    """Ask until the budget refuses; return how often it did not. It is here since a spawned worker imports it."""
    count = 0
    with suppress(BudgetError):
        while count < 100:  # a budget that does not hold must not ask for ever
            session().pool.get_orchestrator("paid").run_sync("How many?")
            count += 1
    return count
