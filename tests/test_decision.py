"""A decision: which strategy costs least with its mistakes, and how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from victor_nb import decide
from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

    from victor_nb.reports.decision import Decision

SOLVED = {"premium": 26, "default": 23, "fast": 19, "local": 15, "cascade": 28}
COSTS = {"premium": 37.17e-4, "default": 18.59e-4, "fast": 1.44e-4, "local": 0.0, "cascade": 8.93e-4}


def frame(solved: dict[str, int] = SOLVED, costs: dict[str, float] = COSTS, tasks: int = 30) -> DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {"strategy": name, "task": task, "cost": costs[name], "score": float(task < right)}
            for name, right in solved.items()
            for task in range(tasks)
        ]
    )


def row(decision: Decision, name: str) -> dict[str, float]:
    table = decision.table()
    cells = table[table["strategy"] == name].drop(columns=["strategy", "verdict"])
    return {str(column): float(cells[column].iloc[0]) for column in cells}


def test_when_a_cheaper_strategy_is_not_shown_to_be_cheaper_with_its_mistakes_then_the_first_is_kept() -> None:
    found = decide(frame(), mistake=0.30)
    assert found.choice == "premium"
    assert found.headline == (
        "At USD 0.30 a mistake keep premium: cascade is cheaper as measured, by USD 228 for 10,000 tasks, "
        "but 30 tasks do not show it"
    )
    cascade = row(found, "cascade")
    assert cascade["mistakes"] == pytest.approx(10_000 * 2 / 30)
    assert cascade["whole"] == pytest.approx(8.93 + 0.30 * 10_000 * 2 / 30)
    assert cascade["dearer"] == pytest.approx(8.93 - 37.17 - 0.30 * 10_000 * 2 / 30)
    assert cascade["low"] < cascade["dearer"] < 0 < cascade["high"]
    verdicts = dict(found.table()[["strategy", "verdict"]].itertuples(index=False))
    assert verdicts == {
        "premium": "the reference",
        "default": "not shown",
        "fast": "dearer",
        "local": "dearer",
        "cascade": "not shown",
    }
    for text in (repr(found), found._repr_html_()):
        assert found.headline in text
        assert "543 less to 100 more" in text
        assert "Mistakes and USD are for 10,000 tasks. Measured on 30 tasks." in text


def test_when_one_is_shown_to_be_cheaper_then_it_is_taken_and_said_by_how_much() -> None:
    found = decide(frame(), mistake=0.01)
    assert found.choice == "cascade"
    assert found.headline == (
        "At USD 0.01 a mistake take cascade: USD 15.60 for 10,000 tasks, 23.98 to 45.40 less than premium"
    )
    dear = decide(frame({"clerk": 27, "expert": 36}, {"clerk": 1e-4, "expert": 4e-4}, 36), mistake=0.30)
    assert dear.choice == "expert"  # dearer calls, and fewer mistakes
    assert "above 0.0012 (" in repr(dear)


def test_the_limit_of_a_strategy_is_where_the_verdict_changes() -> None:
    limit = row(decide(frame(), mistake=0.30), "fast")
    assert limit["limit"] == pytest.approx((37.17 - 1.44) / 10_000 / (7 / 30))
    for usd, verdict in (
        (0.99 * limit["limit_low"], "cheaper"),
        (1.01 * limit["limit_low"], "not shown"),
        (0.99 * limit["limit_high"], "not shown"),
        (1.01 * limit["limit_high"], "dearer"),
    ):
        table = decide(frame(), mistake=usd).table().set_index("strategy")
        assert table.loc["fast", "verdict"] == verdict, usd
    best = row(decide(frame(), mistake=0.30), "cascade")
    assert math.isinf(best["limit"])  # as measured it makes fewer mistakes
    assert "any (0.066 to any)" in repr(decide(frame(), mistake=0.30))


def test_what_cannot_be_compared_is_said_and_not_chosen() -> None:
    some = frame()
    some.loc[(some["strategy"] == "cascade") & (some["task"] == 3), "score"] = None
    some.loc[some["strategy"] == "local", "cost"] = None
    found = decide(some, mistake=0.001)
    table = found.table().set_index("strategy")
    assert table.loc["cascade", "verdict"] == "not compared: answered 29 of 30"
    assert table.loc["local", "verdict"] == "not compared: no price"
    assert table["tasks"].tolist() == [29] * 5
    assert found.choice == "fast"
    assert "not ranked: cascade answered 29 of 30." in repr(found)
    assert "unpriced" in repr(found)
    assert "Nothing to compare" in repr(decide(frame({"fast": 3}), mistake=0.3))
    few = decide(frame(tasks=3), mistake=0.3)
    assert few.choice == "premium"
    assert "0/1 scores need 5 tasks" in repr(few)


def test_scores_that_are_not_0_or_1_count_as_parts_of_mistakes() -> None:
    some = frame().assign(score=lambda rows: 0.2 + 0.6 * rows["score"])
    text = repr(decide(some, mistake=0.30, per=1))
    assert "score" in text.splitlines()[2]
    assert "USD are for a task." in text


def test_the_chart_of_a_decision_marks_what_a_mistake_costs() -> None:
    assert "if a mistake costs USD 0.30, the whole is cascade USD 209" in decide(frame(), mistake=0.3).plot().alt  # type: ignore[attr-defined]


def test_wrong_numbers_are_said() -> None:
    for mistake in (0, -1, math.nan, math.inf, True, "0.30"):
        with pytest.raises(ConfigError, match="a number of USD above 0"):
            decide(frame(), mistake=mistake)  # type: ignore[arg-type]
    for per in (0, 1.5, True):
        with pytest.raises(ConfigError, match="a whole number above 0"):
            decide(frame(), mistake=0.3, per=per)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="from 0 to 1"):
        decide(frame().assign(score=7), mistake=0.3)
    with pytest.raises(ConfigError, match="decide"):
        decide(frame().drop(columns="cost"), mistake=0.3)
