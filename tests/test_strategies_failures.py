"""What goes wrong in a strategy, and what stops it: nothing that had come is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ensemble import Ensemble, by_stage, run_of, said
from servers import Answer, faults
from victor_nb import VictorError
from victor_nb.config.strategies import Stage
from victor_nb.errors import (
    ConfigError,
    MalformedAnswerError,
    PartialAnswerError,
    PromptError,
    ServerError,
    VictorInterrupted,
)
from victor_nb.kernel import session
from victor_nb.workflows.strategies import Funnel, Single, Strategy

if TYPE_CHECKING:
    from servers import Server

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]


def test_when_one_sample_fails_then_the_others_go_on(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500) if "idea 2 of 3" in asked.prompt else by_stage(asked))

    run = Funnel(ideas=3).run_sync("x")

    assert len(run["explore"].kept) == 2
    assert "1 of 3 samples failed" in run["explore"].notes[0]
    assert run.complete
    assert run.calls == 6


def test_when_a_stage_fails_then_the_error_has_what_had_come(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500, "down") if asked.model == "gpt-4o" else by_stage(asked))

    with pytest.raises(ServerError) as caught:
        Funnel(ideas=3).run_sync("x")

    run = run_of(caught.value)
    assert not run.complete
    assert (run.stopped or "").startswith("implement: default: ")
    assert run["implement"].state == "failed"
    assert run.content == run["select"].content == run["explore"].kept[0]
    assert [row.status for row in run.rows] == ["ok"] * 4 + ["error"]


async def test_when_an_awaited_stage_fails_then_the_error_has_what_had_come(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500) if asked.model == "gpt-4o" else by_stage(asked))

    with pytest.raises(ServerError) as caught:
        await Funnel(ideas=2).run("x")

    assert len(run_of(caught.value)["explore"].kept) == 2


def test_when_an_answer_breaks_off_then_its_text_is_in_the_error(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.cut(said("half of it"), 1, "fin"))

    with pytest.raises(PartialAnswerError) as caught:
        Single("fast").start("x").result()

    assert run_of(caught.value).content == "half "


def test_when_no_sample_says_anything_then_it_is_an_error(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: Answer(pieces=(), finish="length"))

    with pytest.raises(MalformedAnswerError, match="Raise max_tokens"):
        Single("fast").run_sync("x")


def test_when_a_key_is_missing_then_nothing_is_asked(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    ensemble.play(by_stage)

    with pytest.raises(VictorError, match="ANTHROPIC_API_KEY"):
        Funnel().run_sync("x")

    assert not ensemble.server.requests


def test_when_the_task_is_empty_then_nothing_is_asked(ensemble: Ensemble) -> None:
    with pytest.raises(PromptError, match="task is empty"):
        Single("fast").run_sync(" \n")


def test_when_the_ranking_cannot_be_read_then_the_first_ideas_are_kept_and_it_is_noted(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "All are lovely." if asked.model == "gpt-4o-mini" else by_stage(asked))

    run = Funnel(ideas=4, keep=2).run_sync("x")

    assert run["select"].kept == run["explore"].kept[:2]
    assert "could not be read" in run["select"].notes[0]


def test_when_users_code_raises_then_it_is_theirs_and_has_the_run(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "x")

    def broken(_items: tuple[str, ...]) -> str:
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError) as caught:
        Strategy("mine", [Stage("a", "fast", "{{ task }}", select=broken)]).run_sync("x")

    assert run_of(caught.value).calls == 1


# --- stopping ---


def test_when_a_job_is_cancelled_then_what_had_come_is_kept(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(
        lambda asked: faults.cut(said("half of it"), 1, "silence") if asked.model == "gpt-4o" else by_stage(asked)
    )

    job = Funnel(ideas=3).start("x")
    server.wait(lambda: "gpt-4o" in ensemble.models)
    while not job.progress.text:
        job.wait(0.01)
    progress = job.progress
    job.cancel()
    run = job.result()

    assert (progress.text, progress.done, progress.total) == ("half ", 4, 6)
    assert progress.current is not None
    assert progress.current.name == "implement"
    assert str(progress).startswith("funnel · implement (default) · 4 of 6 calls")
    assert not run.complete
    assert run.stopped == "stopped by the user"
    assert run.content == "half "
    assert run["implement"].state == "stopped"
    assert run["select"].kept == run["explore"].kept[:1]
    assert [row.status for row in run.rows] == ["ok"] * 4 + ["interrupted"]
    server.wait(lambda: server.requests[-1].hung_up)
    assert job.progress.ended


def test_when_stop_is_pressed_then_the_error_has_what_had_come(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: faults.silence() if asked.model == "gpt-4o-mini" else by_stage(asked))

    job = Funnel(ideas=3).start("x")
    server.wait(lambda: "gpt-4o-mini" in ensemble.models)
    error = job.interrupted()

    assert len(run_of(error)["explore"].kept) == 3
    assert str(error).startswith("stopped funnel after 4 calls")
    assert job.done()


def test_when_a_stage_is_waited_for_then_it_is_there_while_the_run_goes_on(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: faults.silence() if asked.model == "gpt-4o" else by_stage(asked))

    job = Funnel(ideas=3).start("x")
    explored, selected = job.stage("explore"), job.stage("select")

    assert (explored.state, len(explored.items)) == ("done", 3)
    assert selected.kept == explored.kept[:1]
    assert not job.done()
    job.cancel()
    assert job.stage("implement").state == "stopped"
    with pytest.raises(VictorError, match=r"^review was not begun: stopped by the user\.$") as caught:
        job.stage("review")
    assert run_of(caught.value)["select"].kept == selected.kept


def test_when_a_stage_that_is_waited_for_cannot_come_then_the_error_says_why(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500, "down") if asked.model == "gpt-4o-mini" else by_stage(asked))
    job = Funnel(ideas=3).start("x")

    with pytest.raises(ConfigError, match=r"^'draft' is no stage of this run\. It has explore, select, implement, "):
        job.stage("draft")
    with pytest.raises(VictorError, match=r"^fast: .*down") as caught:
        job.stage("select")
    assert len(run_of(caught.value)["explore"].kept) == 3


def test_when_stop_is_pressed_while_a_stage_is_waited_for_then_the_run_stops(
    ensemble: Ensemble, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble.play(lambda asked: faults.silence() if asked.model == "gpt-4o" else by_stage(asked))
    job = Funnel(ideas=3).start("x")
    wait = job.wait

    def interrupted(timeout: float | None = None) -> bool:
        monkeypatch.setattr(job, "wait", wait)
        server.wait(lambda: "gpt-4o" in ensemble.models)
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "wait", interrupted)
    with pytest.raises(VictorInterrupted) as caught:
        job.stage("implement")

    assert len(run_of(caught.value)["explore"].kept) == 3
    assert job.done()


async def test_when_an_awaited_run_is_cancelled_then_its_calls_end(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: faults.silence())

    task = asyncio.create_task(Funnel(ideas=4).run("x"))
    await asyncio.to_thread(server.wait, lambda: len(server.requests) == 4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [row.status for row in session().ledger.rows()] == ["interrupted"] * 4
    await asyncio.to_thread(server.wait, lambda: all(request.hung_up for request in server.requests))


async def test_when_runs_are_awaited_together_then_they_share_nothing_but_the_loop(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: f"{asked.model}: {asked.prompt}")

    runs = await asyncio.gather(*(Single("fast").run(f"task {number}") for number in range(8)))

    assert [run.content for run in runs] == [f"gpt-4o-mini: task {number}" for number in range(8)]
    assert all(run.calls == 1 for run in runs)
