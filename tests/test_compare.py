"""Strategies side by side: costs as the ledger has them, and a judge whose likings do not decide."""

from __future__ import annotations

import asyncio
import signal
import threading
from math import isnan
from typing import TYPE_CHECKING, Literal

import pytest

from ensemble import Asked, Ensemble, run_of, said
from planted import CONTEST, planted
from servers import Answer, faults
from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError, ServerError, VictorInterrupted, VictorWarning
from victor_nb.kernel import session
from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts import plot
from victor_nb.reports.standings import standings
from victor_nb.workflows.checks import Exact, JsonSchema, Regex
from victor_nb.workflows.compare import Comparison, compare, compare_sync
from victor_nb.workflows.strategies import Funnel, Single, Specialized, Strategy, Tiered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from servers import Exchange, Server

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]


def test_when_strategies_are_compared_then_the_frame_has_what_the_ledger_has(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said("2, 1", 1000, 100))

    frame = compare_sync([Funnel(ideas=2), Specialized(), Single("fast"), Single("premium")], ["a", "b"])

    assert list(frame["strategy"]) == ["funnel", "specialized", "single fast", "single premium"] * 2
    assert list(frame["task"]) == ["a"] * 4 + ["b"] * 4
    assert list(frame["calls"]) == [5, 3, 1, 1] * 2
    assert list(frame["tokens"]) == [5500, 3300, 1100, 1100] * 2
    rows = session().ledger.rows()
    for line in frame.to_dict("records"):
        own = [row for row in rows if row.run_id == line["run_id"]]
        assert line["cost"] == pytest.approx(float(sum(row.cost or 0 for row in own)))
        assert line["same_calls"] == pytest.approx(len(own) * (1000 * 3 + 100 * 15) / 1e6)
        assert line["wall"] > 0
    assert frame["score"].isna().all()
    assert set(frame["baseline"]) == {"premium"}
    assert list(frame["one_call"]) == pytest.approx([0.0045] * 8)
    assert not frame["estimated"].any()  # `Single("premium")` has measured it
    assert frame["complete"].all()
    assert list(frame.columns)[:9] == [
        "strategy",
        "task",
        "cost",
        "billed",
        "unpriced",
        "calls",
        "tokens",
        "wall",
        "serial",
    ]


def test_when_nobody_answers_directly_then_one_call_is_estimated(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said("x", 1000, 100))

    frame = compare_sync([Tiered()], "a", baseline="gpt-4o")

    assert set(frame["baseline"]) == {"gpt-4o"}
    assert frame["estimated"].all()
    assert frame["one_call"][0] == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)


async def test_when_it_is_awaited_then_it_is_the_same(ensemble: Ensemble) -> None:
    ensemble.play(planted)

    frame = await compare(CONTEST, ["a", "b"], judge="premium", at_once=3)

    best = frame.loc[frame.groupby("task")["score"].idxmax()]
    assert list(best["strategy"]) == ["tiered", "tiered"]
    assert list(frame["strategy"]) == [strategy.name for strategy in CONTEST] * 2


@pytest.mark.parametrize(
    ("judge", "wanted"),
    [
        (Exact("42"), [1.0, 0.0]),
        (Exact({"6 x 7": "42"}), [1.0, 0.0]),
        (Regex(r"\b4\d\b"), [1.0, 1.0]),
        (JsonSchema({"type": "integer", "maximum": 42}), [1.0, 0.0]),
        (lambda task, answer: len(task) / 10 if answer == "42" else 0.25, [0.5, 0.25]),
        (lambda task, answer: answer == "42", [1.0, 0.0]),
    ],
    ids=["exact", "exact by task", "regex", "schema", "function", "yes or no"],
)
def test_when_a_check_judges_then_its_score_is_taken(ensemble: Ensemble, judge: object, wanted: list[float]) -> None:
    ensemble.play(lambda asked: "42" if asked.model == "gpt-4o-mini" else "43")

    frame = compare_sync([Single("fast"), Single("default")], "6 x 7", judge=judge)  # type: ignore[arg-type]

    assert list(frame["score"]) == wanted
    assert frame["score_se"].isna().all()


def test_when_a_review_stands_behind_an_answer_then_a_check_looks_at_the_answer(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "Add a source." if asked.prompt.startswith("Review") else "42")

    frame = compare_sync([Funnel(ideas=2)], "6 x 7", judge=Exact("42"))

    assert frame["answer"][0] == "42\n\n## Review\n\nAdd a source."
    assert frame["score"][0] == 1.0


def test_when_a_strategy_fails_then_the_others_are_not_lost(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500, "down") if asked.model == "gpt-4o" else planted(asked))

    with pytest.warns(VictorWarning, match=r"tiered answered 0 of 1 tasks. It failed on 'task' \(.*down"):
        frame = compare_sync([Single("fast"), Tiered(), Single("local")], "task", judge="premium").set_index("strategy")

    assert "down" in frame["error"]["tiered"]
    assert not frame["complete"]["tiered"]
    assert isnan(frame["score"]["tiered"])
    assert frame["cost"]["tiered"] > 0
    assert frame["score"]["single fast"] > frame["score"]["single local"]
    assert frame["answered"].tolist() == ["1 of 1", "0 of 1", "1 of 1"]


HIT_AND_MISS = ["one", "two", "three", "four", "five"]


def fails_on_all_but_one(asked: Asked) -> object:
    """Play a cheap model that is perfect on one task of five and fails on the others, and two that are passable."""
    if asked.model == "gpt-4o-mini" and asked.prompt != "three":
        return faults.status(500, "down")
    return "10" if asked.model == "gpt-4o-mini" else "6" if asked.model == "gpt-4o" else "5"


@pytest.mark.parametrize("failures", ["out", "zero"])
def test_when_a_strategy_fails_on_4_of_5_tasks_then_nothing_crowns_it(
    ensemble: Ensemble, failures: Literal["out", "zero"]
) -> None:
    ensemble.play(fails_on_all_but_one)  # type: ignore[arg-type]
    strategies = [Single("fast"), Single("default"), Single("premium")]

    with pytest.warns(VictorWarning) as warned:
        frame = compare_sync(
            strategies, HIT_AND_MISS, judge=lambda task, answer: int(answer) / 10, failures=failures, at_once=4
        )

    (text,) = [str(each.message) for each in warned]
    assert text.startswith("single fast answered 1 of 5 tasks. It failed on 'one' (")
    assert all(f"{task!r} (" in text for task in HIT_AND_MISS if task != "three")
    assert set(frame[frame.strategy == "single fast"]["answered"]) == {"1 of 5"}
    table = standings(frame).set_index("strategy")
    assert table["answered"].tolist()[:3] == ["1 of 5", "5 of 5", "5 of 5"]
    assert table["tasks"].tolist()[:3] == ([1] * 3 if failures == "out" else [5] * 3)
    assert table["score"].tolist()[:3] == pytest.approx([1.0 if failures == "out" else 0.2, 0.6, 0.5])
    assert table["verdict"]["single fast"] == "not ranked"
    assert table["verdict"]["single default"] == "the reference"
    front, drawn = _drawn(plot("pareto", frame))
    assert drawn == {"single fast": "none", "single default": draw.BLUE, "single premium": draw.GREY}
    assert front == [table["score"]["single default"]]
    for kind in ("pareto", "strategy_comparison"):
        alt = getattr(plot(kind, frame), "alt")  # noqa: B009 - a plain figure has none
        title, rest = alt.split(". ")[1] if kind == "pareto" else alt.split(". ")[0], alt
        assert "single fast" not in title
        assert "single fast answered 1 of 5" in rest


def _drawn(figure: Figure) -> tuple[list[float], dict[str, str]]:
    """Return the scores of a front, and the colour of each strategy's point."""
    lines = figure.axes[0].lines
    (front,) = [list(line.get_ydata()) for line in lines if line.get_label() == "front"]  # type: ignore[arg-type]
    return front, {str(line.get_label()): str(line.get_markerfacecolor()) for line in lines if line.get_marker() == "o"}


def test_when_a_judge_asks_a_model_itself_then_it_can(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "0.75" if asked.model == "gpt-4o" else "an answer")

    def ask(task: str, answer: str) -> float:
        return float(session().pool.get_orchestrator("default").run_sync(f"Score {answer}").content)

    assert compare_sync([Single("fast")], "x", judge=ask)["score"].tolist() == [0.75]


def test_when_runs_go_at_once_then_so_many_are_under_way(ensemble: Ensemble, server: Server) -> None:
    async def when_four_are_here(exchange: Exchange) -> None:
        await asyncio.to_thread(server.wait, lambda: len(server.requests) >= 4)
        await Answer(pieces=("x",))(exchange)

    ensemble.play(lambda asked: when_four_are_here)

    frame = compare_sync([Single("fast"), Single("default")], ["a", "b", "c", "d"], at_once=4)

    assert frame["complete"].all()
    assert frame["task"].tolist() == ["a", "a", "b", "b", "c", "c", "d", "d"]


def test_when_all_fail_then_it_is_an_error(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: faults.status(500))

    with pytest.raises(ServerError):
        compare_sync([Single("fast"), Single("default")], "task")


def test_when_a_budget_ends_a_run_then_the_frame_says_so(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: "x")

    with session().budget.limit("0.02"), pytest.warns(VictorWarning, match="tiered answered 0 of 1 tasks"):
        frame = compare_sync([Single("fast"), Tiered()], "task").set_index("strategy")

    assert frame["complete"]["single fast"]
    assert not frame["complete"]["tiered"]
    assert "budget of this block" in frame["error"]["tiered"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategies": [Funnel(), Funnel()]}, "Two strategies are called 'funnel'. Give one another name"),
        ({"strategies": [Funnel(), "funel"]}, "Did you mean 'funnel'"),
        ({"strategies": "funnel"}, "strategies is a list"),
        ({"strategies": []}, "at least one strategy"),
        ({"tasks": []}, "at least one task"),
        ({"tasks": ["a", "a"]}, "Two tasks are called 'a'"),
        ({"judge": "premum"}, "Did you mean 'premium'"),
        ({"judge": 7}, "judge=7 scores nothing"),
        ({"baseline": "premum"}, "Did you mean 'premium'"),
        ({"judge": "fast", "samples": 0}, "samples=0 is not a number of 1 or more"),
        ({"at_once": 0}, "at_once=0 is not"),
        ({"failures": "nil"}, "failures='nil' is not one of out, zero"),
    ],
)
def test_when_a_comparison_cannot_be_then_nothing_is_asked(
    ensemble: Ensemble, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_sync(**{"strategies": [Single("fast")], "tasks": "x", **arguments})  # type: ignore[arg-type]

    assert not ensemble.server.requests


def test_when_stop_is_pressed_then_what_had_come_is_in_the_error(ensemble: Ensemble) -> None:
    def play(asked: Asked) -> object:
        if asked.model != "gpt-4o":
            return "x"
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return faults.silence()

    ensemble.play(play)  # type: ignore[arg-type]

    with pytest.raises(VictorInterrupted, match="stopped after 1 of 2 runs") as caught:
        compare_sync([Single("fast"), Single("default")], "task")

    comparison = caught.value.partial
    assert isinstance(comparison, Comparison)
    assert list(comparison.to_frame()["strategy"]) == ["single fast"]
    assert session().last is comparison
    assert session().ledger.rows()[-1].status == "interrupted"


def test_when_stop_is_pressed_in_a_run_then_its_error_has_it(ensemble: Ensemble) -> None:
    def play(asked: Asked) -> object:
        if asked.model != "gpt-4o":
            return "first"
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return faults.silence()

    ensemble.play(play)  # type: ignore[arg-type]

    with pytest.raises(VictorInterrupted) as caught:
        Strategy("two", [Stage("a", "fast", "{{ task }}"), Stage("b", "default", "{{ a }}")]).run_sync("x")

    assert run_of(caught.value).content == "first"


async def test_when_a_comparison_is_cancelled_then_its_calls_end(ensemble: Ensemble, server: Server) -> None:
    ensemble.play(lambda asked: faults.silence())

    task = asyncio.create_task(compare([Single("fast")], "x"))
    await asyncio.to_thread(server.wait, lambda: server.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await asyncio.to_thread(server.wait, lambda: server.requests[0].hung_up)
