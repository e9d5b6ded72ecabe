"""The line of code that shows a board of the same run again, where it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from victor_nb.errors import ConfigError
from victor_nb.workflows.runs import StrategyRun
from victor_nb.workflows.strategies import BUILT_IN, Single, find_strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.config.settings import Settings
    from victor_nb.workflows.job import StrategyJob
    from victor_nb.workflows.strategies import Strategy

_SINGLE: Final = "single "
_OURS: Final = ("this block", "this cell")
"""Names of the budgets that a line of code has set, not profiles.yaml."""
_LONGEST: Final = 300  # characters of a task; a longer one is for a variable


def code_of(source: StrategyJob | StrategyRun, settings: Settings, baseline: str | None) -> str:
    """Return the code that starts the same, or runs it, and shows its board; empty where nobody can tell what that is.

    Args:
        source: What the board is of.
        settings: Where named strategies are.
        baseline: What the board compares with, where that was chosen.
    """
    about = source if isinstance(source, StrategyRun) else source.progress
    task = repr(about.task) if len(about.task) <= _LONGEST else "task"
    known = _known(about.strategy, settings)
    more = f", baseline={baseline!r}" if baseline else ""
    if known is None or not _is_same(known[1], source):
        return ""
    if isinstance(source, StrategyRun):
        return f"run = await {known[0]}.run({task})\nStrategyBoard(run{more})"
    return _of_job(source, known[0], task, more)


def _of_job(job: StrategyJob, strategy: str, task: str, more: str) -> str:
    options = _options(job.options)
    if options is None:
        return ""
    line = f"StrategyBoard({strategy}.start({task}{options}){more})"
    budget = next((limit.amount for limit in reversed(job.limits) if limit.name in _OURS), None)
    return line if budget is None else f'with session().budget.limit("{budget}"):\n    board = {line}\nboard'


def _known(name: str, settings: Settings) -> tuple[str, Strategy] | None:
    """Return how a strategy is written, and the strategy that this gives."""
    if name.startswith(_SINGLE):
        profile = name.removeprefix(_SINGLE)
        return f"Single({profile!r})", Single(profile)
    try:
        found = find_strategy(name, settings)
    except ConfigError:
        return None
    maker = BUILT_IN.get(name) if name not in settings.strategies else None
    return (f"{maker.__name__}()" if isinstance(maker, type) else f"find_strategy({name!r})"), found


def _is_same(strategy: Strategy, source: StrategyJob | StrategyRun) -> bool:
    """Tell whether a strategy would do what was done; of a run, only the stages that began are known."""
    if not isinstance(source, StrategyRun):
        return strategy.stages == source.stages
    begun = {(stage.name, stage.profile): len(stage.replies) for stage in source.stages}
    meant = {(stage.name, stage.profile): stage.n for stage in strategy.stages}
    return bool(begun) and all(meant.get(stage) == calls for stage, calls in begun.items())


def _options(options: Mapping[str, object]) -> str | None:
    """Return options as code; None where one of them cannot be written down."""
    given = {name: value for name, value in options.items() if value is not None and name != "run_id"}
    if not all(isinstance(value, (str, int, float)) for value in given.values()):
        return None
    return "".join(f", {name}={value!r}" for name, value in given.items())
