"""A decision: which strategy costs least with its mistakes, and how sure that is."""

from __future__ import annotations

import ast
import inspect
import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import nbformat
import pytest

from victor_nb import decide, session
from victor_nb.errors import ConfigError
from victor_nb.reports.statistics import tasks_to_show

if TYPE_CHECKING:
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from victor_nb.reports.decision import Decision
    from victor_nb.values import SimulatedQuestion

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


class Bar(NamedTuple):
    name: str
    row: int
    left: float
    right: float


def bars(chart: Figure) -> list[Bar]:
    """Return the bars of a chart, in the order in which they were drawn."""
    found: list[Bar] = []
    for container in chart.axes[0].containers:
        (patch,) = cast("BarContainer", container).patches
        row = round(patch.get_y() + patch.get_height() / 2)
        found.append(Bar(str(container.get_label()), row, patch.get_x(), patch.get_x() + patch.get_width()))
    return found


def test_when_a_cheaper_strategy_is_not_shown_to_be_cheaper_with_its_mistakes_then_the_first_is_kept() -> None:
    found = decide(frame(), mistake=0.30)
    assert found.choice == "premium"
    assert found.headline == (
        "At USD 0.30 a mistake keep premium: cascade is cheaper as measured, by USD 228 for 10,000 tasks, "
        "but 30 tasks do not show it; if it is true, about 130 would"
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
        assert "the last column is for one mistake. Measured on 30 tasks." in text


def test_when_the_first_costs_least_as_measured_then_it_is_said_what_the_tasks_leave_open() -> None:
    solved = {"expert": 35, "both": 33, "clerk": 20, "other": 33, "more": 33, "most": 33}
    costs = {"expert": 4e-4, "both": 2e-4, "clerk": 1e-4, "other": 2e-4, "more": 2e-4, "most": 2e-4}

    def headline(*names: str) -> str:
        return decide(frame({name: solved[name] for name in names}, costs, 36), mistake=0.30).headline

    kept = "At USD 0.30 a mistake keep expert: USD 87 for 10,000 tasks, the least as measured; "
    said = f"{kept}36 tasks leave open whether both costs less (about 210 would decide, if the rates stay)"
    assert headline("expert", "both", "clerk") == said
    assert headline("expert", "both", "other", "more").endswith("whether both, other or more costs less")
    assert headline("expert", "both", "other", "more", "most").endswith("whether any of 4 others costs less")
    assert headline("expert", "clerk") == f"{kept}clerk is shown to cost more"
    solved["both"] = 19
    assert headline("expert", "both", "clerk") == f"{kept}each of the others is shown to cost more"
    one = decide(frame({"expert": 1, "clerk": 0}, costs, 1), mistake=0.30).headline
    assert one.endswith("the least as measured; one task leaves open whether clerk costs less")
    text = repr(decide(frame({"expert": 35, "both": 33}, costs, 36), mistake=0.30))
    assert text.splitlines()[3].split()[-2:] == ["\N{EN DASH}", "\N{EN DASH}"]  # it is compared with itself


def test_when_one_is_shown_to_be_cheaper_then_it_is_taken_and_said_by_how_much() -> None:
    found = decide(frame(), mistake=0.01)
    assert found.choice == "cascade"
    assert found.headline == (
        "At USD 0.01 a mistake take cascade: USD 15.60 for 10,000 tasks, 23.98 to 45.40 less than premium"
    )
    dear = decide(frame({"clerk": 27, "expert": 36}, {"clerk": 1e-4, "expert": 4e-4}, 36), mistake=0.30)
    assert dear.choice == "expert"  # dearer calls, and fewer mistakes
    assert "above 0.0012 (95 %: " in repr(dear)


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
    assert "any (95 %: 0.066 to no limit)" in repr(decide(frame(), mistake=0.30))


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
    assert "mistakes in 10,000 " in repr(decide(some, mistake=0.30))
    text = repr(decide(some, mistake=0.30, per=1))
    assert "score" in text.splitlines()[2]
    assert "USD are for a task; the last column is for one mistake" in text


def test_the_chart_of_a_decision_marks_what_a_mistake_costs() -> None:
    assert "at USD 0.30 a mistake the totals are cascade USD 209" in decide(frame(), mistake=0.3).plot().alt  # type: ignore[attr-defined]


def test_the_chart_of_limits_says_for_which_prices_each_is_shown_to_be_cheaper_or_dearer() -> None:
    found = decide(frame(), mistake=0.3)
    chart = found.plot("limits")
    said = chart.alt  # type: ignore[attr-defined]
    title = "Nothing is shown to be cheaper than premium at USD 0.30 a mistake"
    assert f"{title}; cascade is shown cheaper below USD 0.066 only." in said
    assert "fast: cheaper, from USD 0.0093 on not shown, from USD 0.054 on dearer" in said
    assert "cascade: cheaper, from USD 0.066 on not shown." in said
    assert "No dot: as measured, no price of a mistake changes which is cheaper." in said
    limit = row(found, "fast")
    (grey,) = (each for each in bars(chart) if each.name == "not shown" and each.row == 1)
    assert (grey.left, grey.right) == (pytest.approx(limit["limit_low"]), pytest.approx(limit["limit_high"]))
    assert [each.row for each in bars(chart) if each.name == "cheaper"] == [0, 1, 2, 3]
    assert [each.row for each in bars(chart) if each.name == "dearer"] == [1, 2]
    cheap = decide(frame(), mistake=0.01).plot("limits").alt  # type: ignore[attr-defined]
    assert "cascade is shown to be cheaper than premium at USD 0.01 a mistake" in cheap


def test_the_chart_of_limits_turns_round_where_the_first_is_the_cheaper_one() -> None:
    found = decide(frame({"clerk": 27, "expert": 36}, {"clerk": 1e-4, "expert": 4e-4}, 36), mistake=0.30)
    chart = found.plot("limits")
    assert "expert: dearer, from USD 0.0" in chart.alt  # type: ignore[attr-defined]
    first, *_, last = sorted(bars(chart), key=lambda bar: bar.left)
    assert (first.name, last.name) == ("dearer", "cheaper")


def test_the_chart_of_limits_shows_what_is_so_for_all_prices_or_for_none() -> None:
    few = decide(frame(tasks=3), mistake=0.3).plot("limits")
    assert {bar.name for bar in bars(few)} == {"not shown"}
    sure = decide(frame({"dear": 10, "cheap": 30}, {"dear": 2e-4, "cheap": 1e-4}), mistake=0.3).plot("limits")
    assert [bar.name for bar in bars(sure)] == ["cheaper"]
    never = decide(frame({"cheap": 30, "dear": 10}, {"dear": 2e-4, "cheap": 1e-4}), mistake=0.3).plot("limits")
    assert [bar.name for bar in bars(never)] == ["dearer"]
    alone = decide(frame({"fast": 3}), mistake=0.3).plot("limits")
    assert "Nothing to compare" in alone.alt  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="'break_even' or 'limits'"):
        decide(frame(), mistake=0.3).plot("pareto")  # type: ignore[arg-type]


def test_how_many_tasks_would_show_it_is_that_of_the_whole_with_mistakes() -> None:
    found = decide(frame(), mistake=0.30)
    gap = next(each.gap for each in found.found.others if each.name == "cascade")
    saved = (37.17 - 8.93) / 10_000
    assert found.tasks_to_show("cascade") == tasks_to_show(gap.value + saved / 0.30, gap.spread)
    assert found.tasks_to_show("cascade", more=0) == tasks_to_show(saved / 0.30, gap.spread)
    assert found.tasks_to_show("cascade", more=320) == tasks_to_show(0.0320 - saved / 0.30, gap.spread)
    assert decide(frame(tasks=3), mistake=0.3).tasks_to_show("cascade") is None
    with pytest.raises(ConfigError, match=r"'premium' is not compared with the first"):
        found.tasks_to_show("premium")


def varied(mistake: float) -> Decision:
    """Decide where calls cost more for some tasks, those that are answered wrong among them."""
    some = frame()
    some["cost"] *= 0.2 + 0.1 * (some["task"] * 7 % 17)
    return decide(some, mistake=mistake)


@pytest.mark.parametrize("name", ["default", "fast", "local", "cascade"])
def test_the_limits_are_where_the_verdict_changes_where_calls_vary_too(name: str) -> None:
    limit = row(varied(0.30), name)
    assert 0 < limit["limit_low"] < limit["limit"]
    known = {limit["limit_low"]: ("cheaper", "not shown"), limit["limit_high"]: ("not shown", "dearer")}
    for usd, verdicts in known.items():
        for factor, verdict in zip((0.999, 1.001), verdicts, strict=True):
            if math.isfinite(usd):
                assert varied(factor * usd).table().set_index("strategy").loc[name, "verdict"] == verdict
            else:
                assert varied(1e6).table().set_index("strategy").loc[name, "verdict"] == "not shown"


def test_where_calls_vary_too_much_then_cheap_mistakes_show_nothing() -> None:
    some = frame({"premium": 10, "fast": 29}, {"premium": 2e-4, "fast": 1e-4})
    some["cost"] *= 20.0 * (some["task"] == some["strategy"].map({"premium": 3, "fast": 4})) + 0.5
    found = decide(some, mistake=0.30)
    assert found.table()["verdict"].tolist() == ["the reference", "cheaper"]
    assert row(found, "fast")["limit_low"] == 0
    said = found.plot("limits").alt  # type: ignore[attr-defined]
    assert "fast: not shown, from USD 0.0" in said
    assert said.count("on cheaper") == 1


@pytest.mark.anyio
async def test_the_lines_that_notebook_06_gives_for_your_own_tasks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    text = (Path(__file__).parents[1] / "notebooks" / "06_cost_analysis.ipynb").read_text(encoding="utf-8")
    cells: Any = nbformat.reads(text, as_version=4).cells  # type: ignore[no-untyped-call]
    (block,) = re.findall(r"```python\n(.*?)\ndecide\((.*?)```", "\n".join(cell.source for cell in cells), re.DOTALL)
    code = compile(f"{block[0]}\nfound = decide({block[1]}", "06", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    mine = pd.DataFrame({"receipt": [f"{n} tea" for n in range(1, 9)], "total": [200 * n for n in range(1, 9)]})

    def answer(question: SimulatedQuestion) -> str:
        assert "JSON only" in question.prompt
        n = int(question.prompt.partition(" ")[0])
        return json.dumps({"items": [200] * n, "total": 999 if n == 4 else 200 * n})

    session().simulate_with(answer)
    space: dict[str, Any] = {"mine": mine}
    running = eval(code, space)
    assert inspect.iscoroutine(running)
    await running
    found: Decision = space["found"]
    assert (found.choice, found.mistake, found.found.tasks) == ("single premium", 0.30, 8)
    assert found.table()["score"].tolist() == [7 / 8, 7 / 8]
    assert found.table()["strategy"].tolist() == ["single premium", "cascade"]
    asked = session().ledger.to_frame()
    assert asked["profile"].value_counts().to_dict() == {"fast": 8 + 1, "premium": 8 + 1}  # 999 is refused twice


def test_wrong_numbers_are_said() -> None:
    for mistake in (0, -1, math.nan, math.inf, True, "0.30", None):
        with pytest.raises(ConfigError, match="a number of USD above 0"):
            decide(frame(), mistake=mistake)  # type: ignore[arg-type]
    for per in (0, 1.5, True):
        with pytest.raises(ConfigError, match="a whole number above 0"):
            decide(frame(), mistake=0.3, per=per)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="from 0 to 1"):
        decide(frame().assign(score=7), mistake=0.3)
    with pytest.raises(ConfigError, match="decide"):
        decide(frame().drop(columns="cost"), mistake=0.3)
    with pytest.raises(ConfigError, match="decide needs the columns task"):  # else tasks would be paired by their order
        decide(frame().drop(columns="task"), mistake=0.3)
    with pytest.raises(ConfigError, match="a score must be a number from 0 to 1"):
        decide(frame().assign(score="good"), mistake=0.3)


def test_numbers_of_other_types_are_taken() -> None:
    import numpy as np

    said = repr(decide(frame(), mistake=0.30, per=100))
    some = frame().assign(score=lambda rows: rows["score"] == 1)
    assert repr(decide(some, mistake=Decimal("0.30"), per=np.int64(100))) == said  # type: ignore[arg-type]


def test_when_the_first_cannot_be_compared_then_no_other_stands_in_for_it() -> None:
    failed = frame()
    failed.loc[3, "score"] = None
    found = decide(failed, mistake=0.30)
    assert found.headline.startswith("No decision: premium, the first, answered 29 of 30 tasks. Ask it again")
    assert found.choice == ""
    assert "USD against default" in repr(found)  # what the table compares with
    free = frame()
    free.loc[3, "cost"] = None
    found = decide(free, mistake=0.30)
    assert found.headline == "No decision: premium, the first, has no price for each task"
    assert found.choice == ""
    assert "not compared: premium has no price" in repr(found)
    alone = decide(frame().assign(cost=lambda rows: rows["cost"].where(rows["strategy"] == "premium")), mistake=0.30)
    assert alone.headline == "At USD 0.30 a mistake keep premium: no other has a price"
    few = frame({"premium": 26, "fast": 9, "local": 9})
    few.loc[few["strategy"] == "local", "cost"] = None
    said = decide(few, mistake=0.30).headline
    assert said.endswith("for 10,000 tasks, the least of what is compared; fast is shown to cost more")


def test_what_has_no_score_or_no_task_in_common_says_so() -> None:
    text = repr(decide(frame().assign(score=None), mistake=0.30))
    assert text.count("not compared: no score") == 5
    assert "nan" not in text
    apart = frame({"premium": 26, "fast": 19})
    halves = apart[(apart["strategy"] == "premium") == (apart["task"] < 15)]
    assert repr(decide(halves, mistake=0.30)).count("not compared: no task that all answered") == 2


def test_one_task_does_not_decide_for_others_however_sure_its_judge_is() -> None:
    judged = frame({"premium": 1, "fast": 0}, tasks=1).assign(
        score=[0.6, 0.9], score_se=0.01, score_df=8, judge="premium", judge_cost=0.001, answer="x"
    )
    found = decide(judged, mistake=0.30)
    assert found.choice == "premium"
    assert found.headline.endswith("but one task does not show it")
    assert "one task is too few" in repr(found)
    assert "(" not in repr(found).splitlines()[4]
    limit = row(found, "fast")
    assert math.isnan(limit["low"])
    assert math.isnan(limit["limit_high"])
    known = frame({"premium": 1, "fast": 0}, tasks=6)
    known = known.assign(score=[0.6, 0.61, 0.59, 0.62, 0.6, 0.6, 0.9, 0.9, 0.88, 0.91, 0.9, 0.93], score_se=0.01)
    assert decide(known, mistake=0.30).choice == "fast"


def test_costs_that_vary_widen_the_interval_and_what_they_share_with_mistakes_narrows_it() -> None:
    plain = frame({"premium": 30, "fast": 30}, {"premium": 0.010, "fast": 0.009})
    first, other = (plain["strategy"] == name for name in ("premium", "fast"))
    assert decide(plain, mistake=1e-6).choice == "fast"
    noisy = plain.assign(cost=plain["cost"].mask(other, 0.018 * (plain["task"] % 2)))
    found = row(decide(noisy, mistake=1e-6, per=1), "fast")
    assert decide(noisy, mistake=1e-6).choice == "premium"
    half = 2.04523 * 0.009 * math.sqrt(30 / 29) / math.sqrt(30)  # Student's t with 29 degrees of freedom
    assert found["high"] - found["dearer"] == pytest.approx(half, rel=1e-3)
    wrong = plain["task"] % 3 == 0
    spans: list[float] = []
    for dear in (wrong, ~wrong):  # calls that cost more where the answer is wrong, or where it is right
        rows = plain.assign(score=plain["score"].mask(other & wrong, 0.0), cost=plain["cost"].mask(other & dear, 0.2))
        found = row(decide(rows, mistake=0.30, per=1), "fast")
        spans.append(found["high"] - found["low"])
    assert spans[0] > spans[1]
    assert first.sum() == 30


def test_strategies_that_cost_the_same_differ_by_their_mistakes_alone() -> None:
    same = frame(
        {"first": 12, "better": 25, "alike": 12, "worse": 9}, dict.fromkeys(("first", "better", "alike", "worse"), 0.0)
    )
    found = decide(same, mistake=0.30)
    assert found.choice == "better"
    assert [line.split()[-1] for line in repr(found).splitlines()[4:7]] == ["any", "none", "none"]


def test_a_table_of_many_strategies_holds_the_cheapest_and_says_what_chance_does() -> None:
    solved = {f"s{number}": number % 31 for number in range(60)}
    found = decide(frame(solved, dict.fromkeys(solved, 1e-3)), mistake=0.30)
    text = repr(found)
    assert len(text.splitlines()) == 20 + 5
    assert "Shown: 20 of 60 strategies" in text
    assert "of 40 that cost as much as the first, one looks cheaper by chance" in text
    assert [name for name in ("s0", "s1", "s30") if f"\n{name} " in text] == ["s0", "s30"]
    assert len(found.table()) == 60
    assert "by chance" not in repr(decide(frame(), mistake=0.30))


def test_names_are_shown_as_they_are_written_and_shortened() -> None:
    hostile = "<b>$x$</b>\n& co"
    names = {"premium": hostile, "cascade": "a plan whose name is much longer than a column of a table"}
    found = decide(frame().replace({"strategy": names}), mistake=0.30)
    html = found._repr_html_()
    assert "<b>$" not in html
    assert "&lt;b&gt;<span>$</span>x<span>$</span>&lt;/b&gt; &amp; co" in html
    assert found.choice == hostile
    assert "a plan whose name i…of a table" in repr(found)


@pytest.mark.parametrize("mistake", [0.001, 0.02, 0.30])  # where calls decide, where both do, where mistakes do
def test_the_interval_of_the_whole_holds_the_truth_as_often_as_it_says(mistake: float) -> None:
    import numpy as np
    import pandas as pd

    rng, tasks, trials = np.random.default_rng(7), 30, 200

    def drawn(count: int) -> DataFrame:
        """Draw a premium model and a cascade, which is worse and dearer where a task is hard."""
        hard = rng.random(count) < 0.3
        right = {"premium": np.where(hard, 0.80, 0.97), "cascade": np.where(hard, 0.50, 0.95)}
        usual = {"premium": 0.004, "cascade": np.where(hard, 0.004, 0.0005)}
        each = {
            name: pd.DataFrame(
                {"score": 1.0 * (rng.random(count) < right[name]), "cost": usual[name] * rng.lognormal(0, 0.5, count)}
            )
            for name in right
        }
        return pd.concat(each, names=["strategy", "task"]).reset_index()

    means = drawn(1_000_000).groupby("strategy")[["score", "cost"]].mean()
    one, other = means.loc["cascade"], means.loc["premium"]
    truth = one["cost"] - other["cost"] - mistake * (one["score"] - other["score"])
    found = [row(decide(drawn(tasks), mistake=mistake, per=1), "cascade") for _ in range(trials)]
    held = sum(each["low"] <= truth <= each["high"] for each in found) / trials
    assert 0.91 <= held <= 0.99


def test_at_an_exact_break_even_both_cost_the_same_and_no_number_of_tasks_would_decide() -> None:
    for mistake in (0.02, 0.002):
        even = {"a": 90, "b": 85}, {"a": 0.002, "b": 0.002 - mistake * 0.05}, 100
        found = decide(frame(*even), mistake=mistake)
        assert row(found, "b")["dearer"] == 0
        assert found.tasks_to_show("b") is None
        assert "cheaper as measured" not in found.headline
        assert "100 tasks leave open whether b costs less" in found.headline
