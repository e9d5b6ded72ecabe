"""Questions that take more than one call: a fan-out, or a strategy; watched, or in the background."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from victor_nb.errors import BudgetError, FanOutError, VictorError, VictorInterrupted
from victor_nb.notebook.background import Background
from victor_nb.notebook.limits import limited
from victor_nb.notebook.watching import watch
from victor_nb.workflows.replies import Replies
from victor_nb.workflows.runs import StrategyRun
from victor_nb.workflows.strategies import find_strategy

if TYPE_CHECKING:
    from victor_nb.notebook.asking import Question
    from victor_nb.notebook.columns import LiveColumns
    from victor_nb.notebook.staging import LiveStages
    from victor_nb.session import Session
    from victor_nb.workflows.fan_out import FanOut
    from victor_nb.workflows.job import StrategyJob


# --- fan-out ---


def start_fan_out(home: Session, question: Question) -> FanOut:
    """Start asking all profiles of a question."""
    call = question.call
    profiles = call.profiles or (cast("str", call.profile),)
    with limited(home, call):
        return home.pool.start_fan_out(question.prompt, profiles, n=call.n or 1, **question.options)


def ask_many(home: Session, question: Question, live: LiveColumns) -> Replies:
    """Ask several profiles, or one several times, and show them side by side.

    Raises:
        FanOutError: All failed, or one did and none may; what came is shown.
        VictorInterrupted: Stop was pressed; the partial answers are shown, and are `session().last`.
    """
    try:
        fan = watch(partial(start_fan_out, home, question), live.grow)
        replies = fan.result(on_error=question.call.on_error)
    except (FanOutError, VictorInterrupted) as error:
        seen = error.replies if isinstance(error, FanOutError) else home.last
        if isinstance(seen, Replies):
            live.end(seen)
        raise
    live.end(replies)
    return replies


def fan_out_behind(home: Session, question: Question, live: LiveColumns) -> Background[Replies]:
    """Ask several profiles in the background."""
    fan = start_fan_out(home, question)

    def end(outcome: Replies | VictorError | None) -> None:
        live.end(outcome if isinstance(outcome, Replies) else fan.replies)

    name = ", ".join(dict.fromkeys(lane.profile for lane in fan.lanes))
    return Background(
        name,
        fan,
        finish=lambda: fan.result(on_error=question.call.on_error),
        look=lambda: live.grow(fan),
        end=end,
    )


# --- strategies ---


def start_strategy(home: Session, question: Question) -> StrategyJob:
    """Start a question's strategy."""
    call = question.call
    strategy = find_strategy(cast("str", call.strategy), home.settings)
    with limited(home, call):
        return strategy.start(question.prompt, pool=home.pool, **question.options)


def run_strategy(home: Session, question: Question, live: LiveStages) -> StrategyRun:
    """Run a strategy and show its stages as they happen.

    Raises:
        VictorError: A stage failed; what had come is shown.
        VictorInterrupted: Stop was pressed; the same holds.
    """
    try:
        job = watch(partial(start_strategy, home, question), live.grow)
        run = job.result()
    except (VictorError, VictorInterrupted) as error:
        seen = getattr(error, "run", None)
        if isinstance(seen, StrategyRun) and seen.stages and not isinstance(error, BudgetError):
            home.last = seen
            live.end(seen)
        raise
    home.last = run
    live.end(run)
    return run


def strategy_behind(home: Session, question: Question, live: LiveStages) -> Background[StrategyRun]:
    """Run a strategy in the background."""
    job = start_strategy(home, question)

    def end(_: StrategyRun | VictorError | None) -> None:
        home.last = run = job.run
        live.end(run)

    return Background(cast("str", question.call.strategy), job, finish=job.result, look=lambda: live.grow(job), end=end)
