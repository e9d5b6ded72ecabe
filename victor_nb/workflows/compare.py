"""Strategies on the same tasks, side by side: what each costs, how long it takes, and how good its answers are."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Final, Unpack

from victor_nb.errors import ConfigError, VictorInterrupted, VictorWarning
from victor_nb.session import session
from victor_nb.workflows.checks import as_check
from victor_nb.workflows.contest import Contest
from victor_nb.workflows.strategies import Single, find_strategy
from victor_nb.workflows.tariff import find_tariff

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from victor_nb.plan import CallOptions
    from victor_nb.workflows.contest import Judge
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.strategies import Strategy
    from victor_nb.workflows.tariff import Tariff

_PREMIUM: Final = "premium"


async def compare(  # noqa: PLR0913 - each is a choice of its own
    strategies: Sequence[Strategy | str],
    tasks: str | Sequence[str],
    *,
    judge: Judge | None = None,
    samples: int | None = None,
    baseline: str | None = None,
    at_once: int = 1,
    seed: int = 0,
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[CallOptions],
) -> pd.DataFrame:
    """Run strategies on the same tasks.

    Args:
        strategies: What to compare, or their names; no two may go by one name.
        tasks: What to have done, one or several.
        judge: Who scores the answers. A profile: a model that sees a task's answers side by side, their names hidden,
            in orders drawn by lot in which every answer stands in every place once; its calls are in the ledger as
            strategy and stage `judge`. A function of the task and an answer, or `Exact`, `Regex`, `JsonSchema`: these
            look at `run.answer`, the judge at `run.content`.
        samples: How many times a judging profile reads a task's answers, rounded up so that every answer stands in
            every place equally often; None: as often as there are answers.
        baseline: The profile or model for the two baselines; else that of the last `Single`, else `premium`.
        at_once: Runs under way at the same time. More than one is sooner done, but the runs wait for each other.
        seed: What the orders are drawn from.
        pool: Whose profiles are asked; else the kernel's.
        progress: Whether to show a bar of the runs: None for ten calls or more that take over a second, where somebody
            watches (a notebook or a terminal; not with CI=true or VICTOR_PROGRESS=off); True at once, for few as well.
        **options: What every call is sent with (see `CallOptions`).

    Returns:
        One row for each strategy and task: `strategy`, `task`, `cost` and `billed` (USD, NaN where a part of it is
        unknown; `unpriced` counts the attempts), `calls`, `tokens`, `wall` and `serial` (seconds), `score` (0 to 1) and
        `score_se` (its standard error, NaN below two judgements), `same_calls` and `one_call` (USD at `baseline`'s
        prices; `estimated` tells whether the latter is a guess), `complete`, `mode`, `run_id`, `error`, `answer`.
        A strategy that failed has no score.

    Raises:
        ConfigError: Something does not fit; nothing was asked.
        VictorError: All runs failed.
    """
    contest = await asyncio.to_thread(_prepare, strategies, tasks, judge, baseline, pool)
    contest.settle(samples, at_once, seed, options)
    async with contest.bar(progress):
        await contest.hold()
    for text in contest.warnings:
        warnings.warn(text, VictorWarning, stacklevel=2)
    return await asyncio.to_thread(contest.frame)


def compare_sync(  # noqa: PLR0913 - each is a choice of its own
    strategies: Sequence[Strategy | str],
    tasks: str | Sequence[str],
    *,
    judge: Judge | None = None,
    samples: int | None = None,
    baseline: str | None = None,
    at_once: int = 1,
    seed: int = 0,
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[CallOptions],
) -> pd.DataFrame:
    """Run strategies on the same tasks, and block until all have ended; `compare` says the rest.

    Raises:
        VictorInterrupted: Stop was pressed; its `frame` is what had come.
    """
    contest = _prepare(strategies, tasks, judge, baseline, pool)
    contest.settle(samples, at_once, seed, options)
    try:
        with contest.bar(progress) as bar:
            bar.result(contest.pool.container.loop.start(contest.hold))
    except KeyboardInterrupt:
        error = VictorInterrupted(
            f"stopped after {len(contest.entries)} of {len(contest.strategies) * len(contest.tasks)} runs; "
            "what had come is in .frame of this error."
        )
        error.__dict__["frame"] = contest.frame()
        raise error from None
    for text in contest.warnings:
        warnings.warn(text, VictorWarning, stacklevel=2)
    return contest.frame()


def _prepare(
    strategies: Sequence[Strategy | str],
    tasks: str | Sequence[str],
    judge: Judge | None,
    baseline: str | None,
    pool: OrchestratorPool | None,
) -> Contest:
    """Refuse what would fail after money was spent.

    Raises:
        ConfigError: Something does not fit.
    """
    home = pool or session().pool
    if isinstance(strategies, str):
        raise ConfigError(f"strategies is a list, such as [Funnel(), {strategies!r}].")
    asked = [find_strategy(each, home.settings) if isinstance(each, str) else each for each in strategies]
    given = [tasks] if isinstance(tasks, str) else list(tasks)
    if not asked or not given:
        raise ConfigError(f"A comparison needs at least one {'task' if asked else 'strategy'}.")
    for listed, what in (([each.name for each in asked], "strategies are"), (given, "tasks are")):
        twice = next((word for place, word in enumerate(listed) if word in listed[:place]), None)
        if twice is not None:
            raise ConfigError(f"Two {what} called {twice!r}. Give one another name, as in Funnel(name='wide').")
    if isinstance(judge, str):
        home.get_orchestrator(judge)
    elif judge is not None and as_check(judge) is None and not callable(judge):
        raise ConfigError(f"judge={judge!r} scores nothing. Give a profile, a function of task and answer, or a check.")
    return Contest(asked, given, judge, _tariff(baseline, asked, home), home)


def _tariff(baseline: str | None, strategies: Sequence[Strategy], pool: OrchestratorPool) -> Tariff | None:
    singles = [each.stages[0].profile for each in strategies if isinstance(each, Single)]
    name = baseline or (singles[-1] if singles else _PREMIUM)
    known = baseline is not None or name in pool.settings.profiles
    return find_tariff(name, pool) if known else None
