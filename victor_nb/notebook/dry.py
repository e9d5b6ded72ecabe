"""`dry=true`: what would be sent, and what it would cost, sending nothing."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.money import EXACT, usd
from victor_nb.notebook.bill import price
from victor_nb.notebook.estimates import Estimate
from victor_nb.notebook.markdown import clean, fence, shorten
from victor_nb.notebook.tables import frame
from victor_nb.workflows.fan_out import check_fan_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from victor_nb.notebook.asking import Question
    from victor_nb.notebook.display import Bundle
    from victor_nb.session import Session

_LONGEST: Final = 40  # characters of a setting in a table of several


def rehearse(home: Session, question: Question) -> Bundle:
    """Return a frame with the rendered prompt, an estimate of its tokens, and the range of its cost.

    The least is the price of the input alone; the most is what a budget would set aside. Nothing is sent.

    Raises:
        VictorError: The question could not be asked.
    """
    call = question.call
    if call.profiles:
        check_fan_out([question.prompt], call.profiles, call.n or 1)
    estimates = [Estimate.of(home, name, question) for name in call.profiles or (call.profile,)]
    shown = _one(home, estimates[0], question) if len(estimates) == 1 else _several(home, estimates, question)
    prompt = clean(shorten(question.prompt))
    return {
        "text/markdown": f"{shown['text/markdown']}\n\n{fence(prompt, 'text')}",
        "text/plain": f"{shown['text/plain']}\n\n{prompt}",
    }


def _one(home: Session, estimate: Estimate, question: Question) -> Bundle:
    rows = [
        ["profile", estimate.profile.name],
        ["model", estimate.model],
        ["mode", home.mode],
        *([["calls", estimate.calls]] if estimate.calls > 1 else []),
        ["input", estimate.input],
        ["output", estimate.output],
        ["cost", estimate.range],
        *map(list, estimate.settings),
        *_beside(home, [estimate], question),
    ]
    return frame(["dry run", "nothing was sent"], rows)


def _several(home: Session, estimates: Sequence[Estimate], question: Question) -> Bundle:
    """Return a row for each profile, the sum, and what else is to know."""
    columns = ["profile", "model", "calls", "input of each", "output of each", "cost of all", "with"]
    rows = [
        [each.profile.name, each.model, each.calls, each.input, each.output, each.range, _settings(each)]
        for each in estimates
    ]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    calls = sum(each.calls for each in estimates)
    above = f"Dry run, nothing was sent: {calls} calls, {_sum(estimates)} ({home.mode})."
    below = " · ".join(f"{name}: {said}" for name, said in _beside(home, estimates, question))
    return frame(columns, rows, above=above, below=below)


def _settings(estimate: Estimate) -> str:
    return " · ".join(
        f"{name} {said if len(said) <= _LONGEST else said[:_LONGEST] + '…'}" for name, said in estimate.settings
    )


def _sum(estimates: Sequence[Estimate]) -> str:
    """Say what all of it would cost; a part that is not known is named, never taken for nothing."""
    priced = [each for each in estimates if each.least is not None]
    unknown = [each.profile.name for each in estimates if each.least is None or each.most is None]
    endless = [each.profile.name for each in priced if each.endless and each.most is not None]
    with localcontext(EXACT):
        least = sum((each.least or Decimal(0) for each in priced), Decimal(0))
        most = sum((each.most or Decimal(0) for each in priced), Decimal(0))
    said = [f"{price(least)} to {price(most)}" if not endless else f"{price(least)} and more"] if priced else []
    said += [f"no limit for {', '.join(endless)} as max_tokens is not set"] if endless else []
    said += [f"what {', '.join(unknown)} costs is unknown"] if unknown else []
    return ", ".join(said)


def _beside(home: Session, estimates: Sequence[Estimate], question: Question) -> list[list[str]]:
    """Return what else is to know: what was inserted, who may answer instead, and whether the money would do."""
    inserted = [["inserted", f"{expression}, {size:,} characters"] for expression, size in question.inserted]
    others = [
        ["fallback", f"{', '.join(each.profile.fallback)} if {each.profile.name} cannot, at prices not counted here"]
        for each in estimates
        if each.profile.fallback
    ]
    return inserted + others + _budgets(home, estimates, question)


def _budgets(home: Session, estimates: Sequence[Estimate], question: Question) -> list[list[str]]:
    """Return the limits that the question might not fit; one that it fits at worst needs no word."""
    cell = {"a cell": home.settings.budget.cell, "this cell": question.call.budget}
    left = [(name, amount) for name, amount in cell.items() if amount is not None]
    for limit in home.budget.limits:
        limit.refresh()
        left.append((limit.name, limit.left))
    with localcontext(EXACT):
        worst = sum((each.most or Decimal(0) for each in estimates), Decimal(0))
    return [
        [
            "budget",
            f"{usd(max(amount, Decimal(0)))} left for {name}, too little at worst: what does not fit is not sent",
        ]
        for name, amount in left
        if worst > amount
    ]
