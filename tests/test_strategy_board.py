"""`StrategyBoard`: a strategy as it goes, what it costs beside what, and what came of it, however it ended."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from ipywidgets import HTML, Button

from ensemble import Asked, Ensemble, by_stage, said
from servers import faults
from victor_nb import session
from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError
from victor_nb.notebook.widgets.base import descendants
from victor_nb.notebook.widgets.strategy_board import StrategyBoard
from victor_nb.notebook.widgets.throttle import throttle
from victor_nb.workflows.strategies import Cascade, Funnel, Single, Strategy
from widget_pages import HOSTILE, assert_inert, current_shell, seen, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.exchange import Act, Exchange

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]


class Gate:
    """Holds the answers of one model back until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def before(self, answer: Act) -> Act:
        async def act(exchange: Exchange) -> None:
            while not self._open.is_set():  # noqa: ASYNC110 - it is opened by another thread
                await asyncio.sleep(0.005)
            await answer(exchange)

        return act


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def pages(board: StrategyBoard) -> str:
    assert throttle().wait_idle()
    return "".join(each.value for each in descendants(board) if isinstance(each, HTML))


def stop_of(board: StrategyBoard) -> Button:
    (button,) = (each for each in descendants(board) if isinstance(each, Button))
    return button


def answer_of(board: StrategyBoard) -> str:
    assert throttle().wait_idle()
    return board._answer.value


def test_when_a_strategy_runs_then_its_board_goes_with_it_to_the_end(ensemble: Ensemble) -> None:
    gate = Gate()
    ensemble.play(lambda asked: gate.before(said("done")) if asked.model == "gpt-4o" else by_stage(asked))
    board = StrategyBoard(Funnel(ideas=4, keep=2).start("a slug function"))

    until(lambda: "4 → 2" in seen(board) and "5 of 7 calls" in seen(board))
    shown = seen(board)
    assert "running" in shown
    assert "waiting" in shown
    assert "this run so far" in shown
    assert "the same calls at premium's prices" in shown
    assert "one call to premium" in shown
    assert "this run is" not in shown  # what the rest will cost is not known
    assert not stop_of(board).disabled
    assert answer_of(board) == ""

    gate.open()
    assert board.wait(120)
    shown = seen(board)
    assert "7 of 7 calls" in shown
    assert "running" not in shown
    assert "Idea number" in shown
    assert shown.count("estimate: this run is") == 2
    assert stop_of(board).disabled
    assert "done" in answer_of(board)
    assert pages(board).count("<img alt=") == 3


def test_when_a_stage_speaks_then_the_end_of_it_is_seen_as_text(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.cut(said("Half a story, and then"), 1, "silence"))
    job = Single("fast").start("a story")
    board = StrategyBoard(job)

    until(lambda: "Half a" in seen(board))
    assert "answer · fast says" in seen(board)
    job.cancel()
    assert board.wait(120)


def test_when_stop_is_pressed_then_the_run_ends_and_the_board_says_so(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.silence() if asked.model == "gpt-4o" else by_stage(asked))
    job = Funnel(ideas=3, keep=2).start("x")
    board = StrategyBoard(job)
    until(lambda: "gpt-4o" in ensemble.models)

    stop_of(board).click()

    assert board.wait(120)
    assert job.done()
    shown = seen(board)
    assert "stopped by the user" in shown
    assert "not begun" in shown
    assert "estimate: this run is" not in shown  # what the stopped call costs is not known
    assert "so how they compare is not known" in shown
    assert "Idea number" in answer_of(board)
    assert stop_of(board).disabled
    assert "StrategyBoard(funnel, stopped)" in repr(board)
    assert "4 of 5 calls" in seen(StrategyBoard(job.result()))  # the run knows of no stage that was not begun


def test_when_a_stage_fails_then_one_line_says_why_and_what_came_stays(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500, "the oven is cold") if asked.model == "gpt-4o" else by_stage(asked))
    board = StrategyBoard(Funnel(ideas=3, keep=2).start("x"))

    assert board.wait(120)
    shown = seen(board)
    assert "✕ failed" in shown
    assert "implement: " in shown
    assert "the oven is cold" in shown
    assert answer_of(board)


def test_when_the_budget_refuses_everything_then_there_is_no_chart(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    with session().budget.limit("0.0001"):
        board = StrategyBoard(Single("premium").start("x"))

    assert board.wait(120)
    shown = seen(board)
    assert "refused by the budget" in shown
    assert "Nothing was sent" in shown
    assert "<img" not in pages(board).split("</style>")[-1]
    assert 'budget.limit("0.0001")' in shown


def test_when_a_job_is_cancelled_before_it_begins_then_the_board_is_at_its_end(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.silence())
    job = Single("fast").start("x")
    job.cancel()
    board = StrategyBoard(job)

    assert board.wait(120)
    assert "stopped" in seen(board)


async def test_when_a_run_has_ended_then_its_board_is_whole_from_the_start(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    run = await Funnel(ideas=10, keep=3).run("x")
    board = StrategyBoard(run)

    assert board.wait(120)
    shown = seen(board)
    assert "13 of 13 calls" in shown
    assert "10 → 3" in shown
    assert "run = await Funnel().run('x') StrategyBoard(run)" in shown
    assert stop_of(board).disabled
    assert pages(board).count("<img alt=") == 3


def test_when_a_cascade_ends_early_then_its_path_is_told(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "no" if asked.model == "qwen2.5-coder:7b" else "yes")
    board = StrategyBoard(Cascade(["local", "fast", "premium"], accept="yes").start("x"))

    assert board.wait(120)
    shown = seen(board)
    assert "✓ done not accepted" in shown
    assert "✓ done accepted" in shown
    assert "– not begun" in shown
    assert "2 of 2 calls" in shown
    assert "funnel" not in pages(board)


def test_when_texts_are_hostile_then_they_are_only_text(ensemble: Ensemble) -> None:
    def say(asked: Asked) -> Act:
        return said(HOSTILE) if asked.model != "gpt-4o" else faults.cut(said(HOSTILE * 9), 1, "silence")

    ensemble.play(say)
    stages = [Stage("many", "fast", "{{ task }}", n=2, parse="text"), Stage("now", "default", "{{ many }}")]
    job = Strategy("<img src=x>", stages).start(HOSTILE)
    board = StrategyBoard(job)
    until(lambda: "▶ running" in seen(board) and "pwned" in seen(board))
    until(lambda: any(stage.texts and stage.texts[0] for stage in job.progress.stages[1:]))

    for page in (pages(board), board.fallback().html):
        assert_inert(page.split("</style>")[-1])
    job.cancel()
    assert board.wait(120)
    for page in (pages(board), board.fallback().html):
        assert_inert(page.split("</style>")[-1])
    assert_inert(answer_of(board))


def test_when_another_baseline_is_chosen_then_both_are_of_that(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    run = Funnel(ideas=3, keep=2).run_sync("x")
    board = StrategyBoard(run, baseline="fast")
    assert "one call to fast" in seen(board)

    board._baseline.value = "default"

    assert "the same calls at default's prices" in seen(board)
    assert "one call to default" in text_of(board.fallback().html)
    same = run.savings("default").baseline_cost
    assert same is not None
    assert f"USD {same:.4f}" in seen(board)


def test_when_a_strategy_is_not_a_known_one_then_no_code_is_made_up(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    board = StrategyBoard(Funnel(ideas=2, keep=1).start("x"))
    assert board.wait(120)
    assert "StrategyBoard(" not in seen(board)

    board = StrategyBoard(Single("fast").start("x", max_tokens=50))
    assert board.wait(120)
    assert "StrategyBoard(Single('fast').start('x', max_tokens=50))" in seen(board)


def test_when_nobody_can_watch_then_displaying_it_waits_for_the_end(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    with current_shell() as shell:
        shell.names["StrategyBoard"], shell.names["Funnel"] = StrategyBoard, Funnel
        ran = shell.run("StrategyBoard(Funnel(ideas=3, keep=2).start('x'))")

    assert ran.error is None
    (frame,) = ran.frames
    assert "6 of 6 calls" in frame["text/plain"]
    assert "print(1)" in frame["text/plain"]
    assert frame["text/html"].count("<img alt=") == 3
    assert "4, 1, 7" not in frame["text/plain"]


def test_when_a_cell_runs_a_strategy_behind_then_its_handle_has_a_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    with current_shell() as shell:
        shell.run("%%victor strategy=tiered bg=true out=job\na limerick")
        board = StrategyBoard(shell.names["job"])
        assert board.wait(120)
        assert "polish" in seen(board)

        shell.run("%%victor fast bg=true out=job\na limerick")
        with pytest.raises(ConfigError, match=r"asks no strategy \(it is a Stream"):
            StrategyBoard(shell.names["job"])


def test_when_it_is_given_something_else_then_the_error_names_the_way(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    with pytest.raises(ConfigError, match=r"StrategyBoard\(await Funnel"):
        StrategyBoard(Funnel().run("x"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"strategy.start\(task\)"):
        StrategyBoard(Funnel())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"Start one with StrategyBoard"):
        StrategyBoard("funnel")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="neither a profile nor a model"):
        StrategyBoard(Single("fast").run_sync("x"), baseline="nobody")
    assert not [request for request in ensemble.prompts if "Funnel" in request]


def test_when_a_run_has_ended_then_its_board_says_nothing_more(ensemble: Ensemble) -> None:
    ensemble.play(by_stage)
    board = StrategyBoard(Single("fast").start("x"))
    assert board.wait(120)
    before = pages(board)
    board.resume()
    until(lambda: not board._stops)
    assert pages(board) == before
