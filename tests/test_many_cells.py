"""Cells that take more than one call: side by side, as a strategy, under a budget, in the background."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cells import MARKDOWN, PLAIN, Kernel, Shell
from servers import OPENAI, Server, faults
from servers.answers import Answer
from victor_nb import Replies, StrategyRun, session
from victor_nb.errors import BudgetError, ConfigError, FanOutError, VictorInterrupted
from victor_nb.notebook.costs import plot_kinds
from victor_nb.reports import charts
from victor_nb.reports.charts.drawing import finish, paper
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HTML = "text/html"
HOSTILE = "<script>window.hit=1</script><img src=x onerror=hit()> $x$ </pre></td></table>\u202e\x1b[31mred"


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Open a notebook in simulate mode, with the profiles that come with us."""
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    return Shell()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Shell, Server, Server]]:
    """Open a notebook whose profiles `one` and `two` are servers of ours."""
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-no-meaning")
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as one, Server() as two:
        base = {"provider": "openai", "model": OPENAI.model, "retries": 0}
        spec = {name: {**base, "base_url": OPENAI.base_url(s.url)} for name, s in (("one", one), ("two", two))}
        write_profiles(tmp_path, **spec)
        yield Shell(), one, two


def test_when_profiles_are_named_then_their_answers_stand_side_by_side(shell: Shell) -> None:
    ran = shell.run("%%victor profiles=fast,local,premium out=r\nGive me 3 names for a boat.")
    assert ran.error is None
    (frame,) = ran.frames
    assert frame[HTML].count("<th scope") == 3
    assert all(f"[{name}]" in frame[PLAIN] for name in ("fast", "local", "premium"))
    assert "3 answers · " in frame[PLAIN]
    assert "s wall" in frame[PLAIN]
    replies = shell.names["r"]
    assert isinstance(replies, Replies)
    assert session().last is replies
    assert all(reply.content in frame[PLAIN] for reply in replies.ok)


def test_when_samples_are_wanted_then_each_has_a_column(shell: Shell) -> None:
    ran = shell.run("%%victor fast n=3\nName a boat.")
    assert ran.frames[-1][HTML].count("<th scope") == 3
    assert "[fast · sample 3]" in ran.plain
    assert len(rows()) == 3


def test_when_one_fails_then_the_rest_is_shown_and_one_line_says_so(desk: tuple[Shell, Server, Server]) -> None:
    shell, one, two = desk
    one.play(Answer())
    two.play(faults.status(401))
    ran = shell.run("%%victor profiles=one,two out=r\nHi.")
    assert ran.error is None
    assert Answer().text in ran.plain
    assert "1 of 2 failed: two (AuthenticationError)" in ran.plain
    assert list(shell.names["r"].failed) == ["two"]


def test_when_none_may_fail_then_the_cell_is_red_and_what_came_is_shown(desk: tuple[Shell, Server, Server]) -> None:
    shell, one, two = desk
    one.play(Answer())
    two.play(faults.status(401))
    ran = shell.run("%%victor profiles=one,two on_error=raise out=r\nHi.")
    assert isinstance(ran.error, FanOutError)
    assert Answer().text in ran.plain
    assert "r" not in shell.names


def test_when_an_answer_is_hostile_then_the_table_holds_it_as_text(desk: tuple[Shell, Server, Server]) -> None:
    shell, one, two = desk
    one.play(Answer(pieces=(HOSTILE,)))
    two.play(Answer())
    html = shell.run("%%victor profiles=one,two\nHi.").frames[-1][HTML]
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("</table>") == 1
    assert "</pre>" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html


@pytest.mark.parametrize("name", ["funnel", "tiered", "specialized", "single"])
def test_when_a_strategy_is_named_then_answer_stages_bill_and_chart_are_shown(shell: Shell, name: str) -> None:
    ran = shell.run(f"%%victor strategy={name} out=run\na slug function for titles")
    assert ran.error is None
    answer, chart = ran.frames
    run = shell.names["run"]
    assert isinstance(run, StrategyRun)
    assert session().last is run
    assert all(stage.name in answer[PLAIN] for stage in run.stages)
    assert f"{run.strategy} · {run.calls} call" in answer[PLAIN]
    assert answer[MARKDOWN]
    assert '<img alt="' in chart[HTML]
    assert "USD" in chart[PLAIN]


def test_when_a_strategy_breaks_then_what_had_come_is_shown(desk: tuple[Shell, Server, Server]) -> None:
    shell, one, two = desk
    one.play(Answer())
    two.play(faults.status(400))
    shell.run(
        "from victor_nb import Stage, Strategy\nimport victor_nb.workflows.strategies as s\n"
        "s.BUILT_IN['pair'] = lambda: Strategy('pair', [Stage('a', 'one', '{{ task }}'), Stage('b', 'two', '{{ a }}')])"
    )
    try:
        ran = shell.run("%%victor strategy=pair\nHi.")
    finally:
        shell.run("del s.BUILT_IN['pair']")
    assert ran.error is not None
    assert Answer().text in ran.plain
    assert "not complete" in ran.plain


def test_when_the_cell_has_a_budget_then_nothing_beyond_it_is_sent(shell: Shell) -> None:
    error = shell.fail("%%victor premium budget=0.0001 max_tokens=100\nHi.")
    assert isinstance(error, BudgetError)
    assert "the budget of this cell" in str(error)
    assert shell.run("%%victor local budget=0\nHi.").error is None
    assert [row["status"] for row in rows()] == ["refused", "ok"]


def test_when_the_notebook_has_a_budget_then_it_is_shown_and_holds(shell: Shell) -> None:
    assert "No budget" in shell.run("%victor budget").plain
    assert "this notebook  USD 0.0010" in shell.run("%victor budget 0.001").plain
    assert isinstance(shell.fail("%%victor premium\nHi."), BudgetError)
    shell.run("%victor budget off")
    assert shell.run("%%victor premium\nHi.").error is None


def test_when_the_file_limits_a_cell_then_each_cell_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write_profiles(tmp_path, default={"provider": "openai", "model": "gpt-4o", "max_tokens": 100})
    with (tmp_path / "profiles.yaml").open("a", encoding="utf-8") as file:
        file.write("budget: {cell: 0.0015}\n")
    shell = Shell()
    for _ in range(3):
        assert shell.run("%%victor\nHi.").error is None
    assert "a cell" in str(shell.fail("%%victor max_tokens=900\nHi."))


def test_when_it_goes_on_behind_then_the_handle_has_the_result(shell: Shell) -> None:
    ran = shell.run("%%victor fast bg=true out=job\nName a boat.")
    assert "running in the background; job.result() waits" in ran.frames[0][PLAIN]
    job = shell.names["job"]
    reply = job.result()
    assert reply.status == "ok"
    assert job.done()
    assert session().jobs == [job]
    assert repr(job).startswith("Background(fast, ended)")


@pytest.mark.parametrize("line", ["profiles=fast,local", "strategy=single", "fast n=2"])
def test_when_many_go_on_behind_then_the_handle_has_them(shell: Shell, line: str) -> None:
    shell.run(f"%%victor {line} bg=true out=job\nName a boat.")
    assert isinstance(shell.names["job"].result(), Replies | StrategyRun)


def test_when_it_is_cancelled_behind_then_what_had_come_is_kept(desk: tuple[Shell, Server, Server]) -> None:
    shell, one, _ = desk
    one.play(faults.cut(Answer(), 2, "silence"))
    shell.run("%%victor one bg=true out=job\nHi.")
    one.wait(lambda: one.requests)
    job = shell.names["job"]
    wait(lambda: job.work.text)
    assert "Stopped 1 call." in shell.run("%victor cancel").plain
    assert job.result().status == "interrupted"
    one.wait(lambda: one.requests[0].hung_up)


def test_when_a_chart_is_asked_for_then_it_is_of_what_was_asked_last(shell: Shell) -> None:
    assert set(plot_kinds()) <= set(charts.KINDS)
    shell.run("%%victor profiles=fast,local\nHi.")
    assert "<img alt" in shell.run("%victor plot replies").frames[0][HTML]
    shell.run("%%victor strategy=funnel\nHi.")
    for kind in ("cost_by_stage", "funnel", "gantt", "spend_over_time", "tokens_vs_cost"):
        assert "<img alt" in shell.run(f"%victor plot {kind}").frames[0][HTML], kind


@pytest.fixture
def toy() -> Iterator[str]:
    """Add a chart by one function, and take it away again."""

    @charts.chart("calls", "ledger")
    def heads(frame: pd.DataFrame, *, ax: Axes | None = None, word: str = "rows") -> Figure:
        return finish(paper(ax), f"{len(frame)} {word}")

    yield heads.__name__
    del charts.KINDS[heads.__name__]


def test_when_a_chart_is_added_by_one_function_then_it_is_drawn_offered_and_suggested(shell: Shell, toy: str) -> None:
    assert charts.heads is charts.KINDS[toy].draw
    assert list(charts.KINDS) == sorted(charts.KINDS)
    assert shell.complete("%victor plot he") == {"heads"}
    shell.run("%%victor fast\nHi.")
    assert shell.run("%victor plot heads").frames[0][PLAIN] == "1 rows."
    shell.run("%%victor strategy=funnel out=run\nHi.")
    run = shell.names["run"]
    assert shell.run("%victor plot heads").frames[0][PLAIN] == f"{run.calls} rows."
    assert repr(run.plot("heads", word="calls")) == f"<Chart: {run.calls} calls.>"
    assert "Did you mean heads?" in str(shell.fail("%victor plot haeds"))
    assert "heads" in str(shell.fail("%victor plot xyz"))
    with pytest.raises(ConfigError, match="Did you mean 'heads'"):
        run.plot("haeds")
    with pytest.raises(ConfigError, match=r"Known: .*\bheads\b"):
        run.plot("xyz")


def test_when_strategies_are_listed_then_each_stage_has_its_profile(shell: Shell) -> None:
    plain = shell.run("%victor strategy").plain
    assert all(name in plain for name in ("funnel", "tiered", "specialized", "cascade", "single"))
    assert "implement  default" in shell.run("%victor strategy funnel").plain


def test_when_costs_are_asked_by_stage_then_each_stage_is_a_row(shell: Shell) -> None:
    shell.run("%%victor strategy=tiered\nHi.")
    plain = shell.run("%victor cost by=stage").plain
    assert all(stage in plain for stage in ("prototype", "refine", "polish"))
    assert f"{session().ledger.rows()[0].ts:%Y-%m-%d}" in shell.run("%victor cost by=day").plain


def test_when_many_stream_in_a_kernel_then_frames_are_few_and_stop_is_at_once(tmp_path: Path) -> None:
    with Kernel(tmp_path, VICTOR_MODE="simulate", VICTOR_SIM_SPEED="1", CI="", HOME=str(tmp_path)) as kernel:
        kernel.run("%load_ext victor_nb")
        kernel.run("from victor_nb import session; session().warm_up()")
        pressed: list[float] = []

        def stop(heard: list[Any]) -> None:
            grown = [message for message in heard if message.kind == "update_display_data"]
            if not pressed and sum("loading" not in str(message.content["data"]) for message in grown) >= 2:
                pressed.append(time.monotonic())
                kernel.interrupt()

        prompt = "Write a long essay about bridges, in ten paragraphs."
        for _ in range(5):  # another try: the machine may do something else as well
            pressed.clear()
            heard = kernel.messages(f"%%victor profiles=fast,local,premium,default\n{prompt}", meanwhile=stop)
            if (taken := time.monotonic() - pressed[0]) < 0.3:
                break
        assert taken < 0.3
        frames = [message for message in heard if message.kind in {"display_data", "update_display_data"}]
        assert len(frames) <= 12 * max(1.0, heard[-1].at)
        (error,) = [message.content["traceback"] for message in heard if message.kind == "error"]
        assert len(error) == 1
        assert error[0].startswith(VictorInterrupted.__name__)
        kept = kernel.run("print(sorted({reply.status for reply in session().last.ok}))")
        assert "interrupted" in kept.said


def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_when_a_call_was_refused_then_the_ledger_can_still_be_charted(shell: Shell) -> None:
    shell.fail("%%victor premium budget=0.0001\nHi.")
    shell.run("%%victor fast\nHi.")
    assert "<img alt" in shell.run("%victor plot tokens_vs_cost").frames[0][HTML]
