"""A strategy and a budget: what is refused ends a run with what there is, and nothing is overspent."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ensemble import Asked, Ensemble, run_of, said
from victor_nb.config.strategies import Stage
from victor_nb.errors import BudgetError
from victor_nb.kernel import session
from victor_nb.workflows.strategies import Cascade, Funnel, Single, Strategy

if TYPE_CHECKING:
    from servers import Server
    from servers.exchange import Exchange
    from victor_nb.workflows.runs import StrategyRun

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]


def by_stage(asked: Asked) -> str:
    return "2, 1" if asked.model == "gpt-4o-mini" else f"text {asked.turn} of {asked.model}"


def assert_ended_with_ideas(run: StrategyRun, ensemble: Ensemble) -> None:
    assert not run.complete
    assert (run.stopped or "").startswith("implement: default: at worst USD 0.16")
    assert (
        run.content
        == run["select"].content
        == "\n".join(f"{n}. {idea}" for n, idea in enumerate(run["select"].kept, 1))
    )
    assert run["implement"].state == "refused"
    assert "gpt-4o" not in ensemble.models
    assert [row.status for row in run.rows] == ["ok"] * 4 + ["refused"]
    assert run.calls == 4
    assert run.cost == sum(row.cost for row in run.rows if row.cost)


def test_when_the_budget_refuses_a_stage_then_the_run_ends_with_what_there_is(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    with session().budget.limit("0.02"):
        run = Funnel(ideas=3).run_sync("x")

    assert_ended_with_ideas(run, ensemble)


async def test_when_an_awaited_run_is_refused_then_the_callers_budget_holds_on_the_loop(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    with session().budget.limit("0.02"):
        run = await Funnel(ideas=3).run("x")

    assert_ended_with_ideas(run, ensemble)


def test_when_a_job_outlives_its_block_then_the_blocks_budget_still_holds(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    with session().budget.limit("0.02"):
        job = Funnel(ideas=3).start("x")

    assert_ended_with_ideas(job.result(), ensemble)


def test_when_only_the_review_is_refused_then_the_implementation_is_the_answer(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said("text 0 of gpt-4o", 100, 10_000) if asked.model == "gpt-4o" else by_stage(asked))

    with session().budget.limit("0.20"):
        run = Funnel(ideas=2).run_sync("x")

    assert run["review"].state == "refused"
    assert run.content == run.answer == "text 0 of gpt-4o"


def test_when_nothing_at_all_fits_then_it_is_an_error(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    with session().budget.limit("0.001"), pytest.raises(BudgetError) as caught:
        Single("premium").run_sync("x")

    run = run_of(caught.value)
    assert (run.content, run.calls, run.cost, run.complete) == ("", 0, 0, False)
    assert not ensemble.server.requests


def test_when_samples_wait_for_each_others_money_then_all_of_them_are_asked(ensemble: Ensemble, server: Server) -> None:
    async def together(exchange: Exchange) -> None:
        while len(server.requests) < 2:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.002)
        await said("x", 100, 20)(exchange)

    ensemble.play(lambda asked: together)  # the first two hold until both are there; then no other fits
    worst = Decimal("0.6") * 1000 / 1_000_000

    with session().budget.limit(worst * Decimal("2.8")) as limit:
        run = Strategy("six", [Stage("all", "fast", "{{ task }} {{ sample }}", n=6, max_tokens=1000)]).run_sync("x")

    assert run.complete
    assert len(run["all"].replies) == 6
    assert run.calls == 6
    assert {row.status for row in run.rows} == {"ok"}
    assert limit.spent == run.cost
    assert limit.spent < limit.amount
    assert limit.held == 0


def test_when_some_samples_never_fit_then_the_others_go_on_and_the_run_says_so(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said("x", 100, 1000))
    worst = Decimal("0.6") * 1000 / 1_000_000

    with session().budget.limit(worst * Decimal("3.5")) as limit:
        run = Strategy("six", [Stage("all", "fast", "{{ task }} {{ sample }}", n=6, max_tokens=1000)]).run_sync("x")

    assert not run.complete
    assert (run.stopped or "").startswith("all: fast: at worst")
    assert len(run["all"].replies) == 3
    assert "3 of 6 samples failed" in run["all"].notes[0]
    assert limit.spent <= limit.amount


def test_when_a_cascade_cannot_pay_for_the_next_profile_then_the_cheap_answer_stands(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)

    with session().budget.limit("0.02"):
        run = Cascade(["local", "premium"], accept="perfect").run_sync("x")

    assert run.content == "text 0 of qwen2.5-coder:7b"
    assert not run.complete
    assert (run.stopped or "").startswith("premium: premium: at worst")


def test_when_an_independent_stage_is_under_way_then_a_refusal_lets_it_end(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    stages = [
        Stage("cheap", "local", "{{ task }}"),
        Stage("dear", "premium", "{{ task }}"),
        Stage("end", "local", "{{ cheap }} {{ dear }}"),
    ]

    with session().budget.limit("0.02"):
        run = Strategy("both", stages).run_sync("x")

    assert run["cheap"].state == "done"
    assert run["dear"].state == "refused"
    assert [stage.name for stage in run.stages] == ["cheap", "dear"]
    assert run.content == "text 0 of qwen2.5-coder:7b"
