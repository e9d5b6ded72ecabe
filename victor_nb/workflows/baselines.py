"""What a run is honestly compared with: the same calls at another profile's prices, or one direct call to it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError
from victor_nb.money import exact_sum, usd
from victor_nb.values import Usage
from victor_nb.workflows.strategies import Strategy
from victor_nb.workflows.what_if import find_tariff, reprice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from victor_nb.accounting.pricing import Tariff
    from victor_nb.accounting.rows import Row
    from victor_nb.workflows.runs import Baseline, StrategyRun


@dataclass(frozen=True, slots=True)
class Savings:
    """A run's cost beside a baseline's, by list prices in USD; None where a part of either is unknown.

    Attributes:
        baseline: What is compared with, in words.
        profile: The profile, or the model, that the baseline asks.
        saved: `baseline_cost - cost`; negative where the run was dearer.
        ratio: `1 - cost / baseline_cost`: 0.74 is 74 % cheaper, -0.35 is 35 % dearer.
        estimated: Whether the baseline's tokens are a guess.
        unpriced: Attempts whose cost, here or there, is not known.
        attempts: Attempts of the run.
        complete: Whether the run came to its end.
    """

    baseline: str
    kind: Baseline
    profile: str
    cost: Decimal | None
    baseline_cost: Decimal | None
    estimated: bool
    unpriced: int
    attempts: int
    complete: bool

    @property
    def saved(self) -> Decimal | None:
        """USD that the run was cheaper by."""
        if self.cost is None or self.baseline_cost is None:
            return None
        return self.baseline_cost - self.cost

    @property
    def ratio(self) -> float | None:
        """The share of the baseline's cost that the run saved."""
        if self.saved is None or not self.baseline_cost:
            return None
        return float(self.saved / self.baseline_cost)

    @property
    def change(self) -> str:
        """What the run is beside the baseline: `74 % cheaper`, `35 % dearer`, `as dear`."""
        if self.ratio is None:
            return "the baseline is free"
        if round(self.ratio, 2) == 0:
            return "as dear"
        return f"{abs(self.ratio):.0%} {'cheaper' if self.ratio > 0 else 'dearer'}".replace("%", " %")

    def __str__(self) -> str:
        """Say it in one honest sentence."""
        if self.cost is None or self.baseline_cost is None:
            unknown = f"{self.unpriced} of {self.attempts} attempts have no known price"
            why = unknown if self.unpriced else "the baseline's cost is not known"
            return f"How the run compares with {self.baseline} cannot be said: {why}."
        how = "estimated from this run's tokens" if self.estimated else "measured"
        how = "with this run's own tokens" if self.kind == "same_calls" else how
        stopped = "" if self.complete else "; the run was stopped before its end"
        compared = f"{usd(self.cost)}, against {usd(self.baseline_cost)} for {self.baseline} ({how})"
        return f"{compared}: {self.change}{stopped}."


def savings(run: StrategyRun, baseline: str, kind: Baseline, *, measure: bool = False) -> Savings:
    """Compare a run with a baseline; `StrategyRun.savings` says the rest."""
    tariff = find_tariff(baseline, run.pool)
    if kind == "same_calls":
        costs = same_calls(run.rows, tariff)
        words, cost, estimated = f"the same calls at {baseline}'s prices", exact_sum(costs), False
    elif kind == "one_call":
        costs = [Decimal(0) for _ in run.rows]
        words, estimated = f"one call to {baseline}", not measure
        cost = measured(run, baseline) if measure else one_call(run, tariff)
    else:
        raise ConfigError(f"There is no baseline {kind!r}. Use 'same_calls' or 'one_call'.")
    return Savings(
        baseline=words,
        kind=kind,
        profile=baseline,
        cost=run.cost,
        baseline_cost=cost,
        estimated=estimated,
        unpriced=sum(row.cost is None or other is None for row, other in zip(run.rows, costs, strict=True)),
        attempts=len(run.rows),
        complete=run.complete,
    )


def same_calls(rows: Iterable[Row], tariff: Tariff) -> list[Decimal | None]:
    """Return what each attempt would have cost at other prices, from its own tokens, in USD; None where unknown.

    Attempt by attempt, since a tier reprices a whole request. Another model would have used other tokens: its tokeniser
    and its manner differ.
    """
    return [reprice(row, tariff) for row in rows]


def one_call(run: StrategyRun, tariff: Tariff) -> Decimal | None:
    """Estimate what one direct answer would have cost, in USD; None when no stage has known tokens.

    Its output is as long as the answer that the run came to (the mean of that stage's samples); its input is the
    shortest that any of the run's calls had, which is the task and an instruction. What stages say to each other, one
    call does not have to read.
    """
    answered = [row for row in run.rows if row.status in {"ok", "partial"} and row.output_tokens is not None]
    final = [row.output_tokens or 0 for row in answered if row.stage == run.final]
    if not final:
        return None
    shortest = min(row.input_tokens or 0 for row in answered)
    return tariff.price(Usage(input_tokens=shortest, output_tokens=round(sum(final) / len(final)))).cost


def measured(run: StrategyRun, profile: str) -> Decimal | None:
    """Ask a profile the task directly, and return what that cost, in USD. Its rows are of strategy `baseline`.

    Raises:
        ConfigError: It is a model, which nobody can ask without a profile.
        VictorError: No answer came.
    """
    if profile not in run.pool.settings.profiles:
        raise ConfigError(f"{profile!r} is a model. To measure it, name a profile that asks it.")
    direct = Strategy("baseline", [Stage("one_call", profile, "{{ task }}")])
    return direct.run_sync(run.task, pool=run.pool).cost
