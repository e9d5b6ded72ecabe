"""What a fan-out brought: one entry for each profile, failures among them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from victor_nb.accounting.money import usd
from victor_nb.errors import VictorError
from victor_nb.values import Reply, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

Outcome = Reply | VictorError


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer of a fan-out, or the error in its place.

    Attributes:
        profile: Who was asked.
        prompt: Which of the prompts, from 0.
        sample: Which of the n samples, from 0.
    """

    profile: str
    prompt: int
    sample: int
    outcome: Outcome


class Replies(Mapping[str, "Outcome | tuple[Outcome, ...]"]):
    """Replies by profile, in the order in which the profiles were named.

    `replies["fast"]` is a `Reply`, or the error in its place; where several prompts or samples were asked for, it is a
    tuple of these, prompt by prompt.

    Attributes:
        entries: All of them, flat.
        wall: Seconds that the whole fan-out took.
        run_id: What its rows in the ledger share.
    """

    def __init__(self, entries: tuple[Entry, ...], *, wall: float, run_id: str, single: bool) -> None:
        self.entries = entries
        self.wall = wall
        self.run_id = run_id
        self._single = single
        self._by_profile: dict[str, list[Outcome]] = {}
        for entry in entries:
            self._by_profile.setdefault(entry.profile, []).append(entry.outcome)

    def __getitem__(self, profile: str) -> Outcome | tuple[Outcome, ...]:
        found = self._by_profile[profile]
        return found[0] if self._single else tuple(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_profile)

    def __len__(self) -> int:
        return len(self._by_profile)

    @property
    def ok(self) -> list[Reply]:
        """The answers that came."""
        return [entry.outcome for entry in self.entries if isinstance(entry.outcome, Reply)]

    @property
    def failed(self) -> dict[str, VictorError]:
        """The first error of each profile that had one."""
        found: dict[str, VictorError] = {}
        for entry in self.entries:
            if isinstance(entry.outcome, VictorError):
                found.setdefault(entry.profile, entry.outcome)
        return found

    @property
    def fastest(self) -> Reply | None:
        """The answer with the shortest latency; None when none came."""
        return min(self.ok, key=lambda reply: reply.latency, default=None)

    @property
    def cheapest(self) -> Reply | None:
        """The answer with the lowest known cost; None when none has one."""
        priced = [reply for reply in self.ok if reply.cost is not None]
        return min(priced, key=lambda reply: cast("Decimal", reply.cost), default=None)

    @property
    def usage(self) -> Usage:
        """Tokens of all answers together."""
        return sum((reply.usage for reply in self.ok), Usage())

    @property
    def cost(self) -> Decimal | None:
        """List price of all answers together in USD; None when that of any is unknown."""
        costs = [reply.cost for reply in self.ok]
        return None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))

    @property
    def serial(self) -> float:
        """Seconds that the answers would have taken one after the other."""
        return sum(reply.latency for reply in self.ok)

    def to_frame(self) -> DataFrame:
        """Return one row for each entry: who, status, tokens, cost and billed (USD), latency, ttft (s), text, error."""
        return pkgutil.resolve_name("victor_nb.reports.frames:replies_frame")(self.entries)

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Chart latency and cost by profile."""
        return pkgutil.resolve_name("victor_nb.reports.charts:replies")(self.to_frame(), ax=ax)

    def __repr__(self) -> str:
        parts = [f"{name}: {_short(self[name])}" for name in self]
        return f"Replies({', '.join(parts)})"

    def __str__(self) -> str:
        """Show each answer under the name of its profile."""
        return "\n\n".join(f"[{entry.profile}]\n{entry.outcome}" for entry in self.entries)


def _short(value: Outcome | tuple[Outcome, ...]) -> str:
    if isinstance(value, tuple):
        return f"{sum(isinstance(each, Reply) for each in value)} of {len(value)} ok"
    if isinstance(value, Reply):
        cost = "unpriced" if value.cost is None else usd(value.cost)
        return f"{value.status}, {cost}"
    return type(value).__name__
