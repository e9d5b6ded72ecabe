"""Frames sum up what was recorded: known money as it is, unknown money as unknown, and the same dtypes for no rows."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import pytest

from ledger_rows import NOON, row, running
from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.rows import zone
from victor_nb.errors import BudgetError, ConfigError, PartialAnswerError, RateLimitError
from victor_nb.money import Total
from victor_nb.reports.frames import records_frame, spend, styled, summary, zone_name
from victor_nb.values import Reply, Usage
from victor_nb.workflows.compare import COMPARE
from victor_nb.workflows.fan_out import REPLIES, Entry, Replies
from victor_nb.workflows.runs import RUN, STAGES, StageResult, StrategyRun, call_records
from victor_nb.workflows.strategies import Funnel
from victor_nb.workflows.what_if import WHAT_IF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from victor_nb.accounting.rows import Row
    from victor_nb.reports.frames import By, Every
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool


def frame(*rows: Row) -> pd.DataFrame:
    with Ledger(None, kernel="here") as ledger:
        for each in rows:
            ledger.finish(each)
        return ledger.to_frame()


def reply(content: str = "Yes.", **changes: Any) -> Reply:
    plain = Reply(
        content=content,
        usage=Usage(10, 5, cache_read_tokens=2, reasoning_tokens=1),
        cost=Decimal("0.25"),
        billed=Decimal(0),
        profile="fast",
        provider="openai",
        model="gpt-4o-mini",
        model_served=None,
        latency=1.5,
        ttft=0.5,
        finish_reason="stop",
        attempts=1,
        mode="simulate",
        request_id=None,
        call_id="c",
    )
    return replace(plain, **changes)


def stage(name: str, *replies: Reply, items: int, kept: int, **changes: Any) -> StageResult:
    texts = tuple(f"idea {number}" for number in range(items))
    plain = StageResult(
        name, "fast", replies, texts, texts[:kept], texts[kept:], (), 0.0, 1.0, Total(Decimal("0.5"), Decimal(0))
    )
    return replace(plain, **changes)


def run(rows: tuple[Row, ...], *stages: StageResult) -> StrategyRun:
    """Return a strategy run of these attempts and stages; of the rest as little as there can be."""
    nothing: dict[str, Any] = {"task": "", "run_id": "", "content": "", "answer": "", "path": (), "stopped": None}
    pool = cast("OrchestratorPool", None)
    return StrategyRun("funnel", **nothing, stages=stages, complete=True, wall=0.0, final=None, rows=rows, asked=pool)


def replies(*entries: Entry) -> pd.DataFrame:
    return Replies(entries, wall=0.0, run_id="", single=False).to_frame()


# --- any rows ---


def test_when_rows_are_plain_mappings_then_their_names_decide_the_dtypes() -> None:
    full = records_frame(
        [
            {"strategy": "funnel", "cost": Decimal("0.1"), "calls": 3, "complete": True, "ts": NOON, "wall": 2},
            {"strategy": None, "cost": None},
        ],
        ["ts", "strategy", "cost", "calls", "complete", "wall"],
    )
    empty = records_frame([], ["ts", "strategy", "cost", "calls", "complete", "wall"])
    kinds = ["datetime64[us, UTC]", "string", "float64", "Int64", "boolean", "float64"]
    assert [str(dtype) for dtype in full.dtypes] == [str(dtype) for dtype in empty.dtypes] == kinds
    assert full.cost.tolist()[0] == 0.1
    assert full.iloc[1].isna().all()


def test_when_kinds_are_given_then_they_count_and_other_columns_come_last() -> None:
    made = records_frame([{"x": 1, "delta": Decimal("-0.5"), "more": [1]}], {"delta": "money", "x": "text"})
    assert made.to_dict("list") == {"delta": [-0.5], "x": ["1"], "more": [[1]]}


@pytest.mark.parametrize("columns", [COMPARE, REPLIES, RUN, STAGES, WHAT_IF])
def test_when_a_frame_has_a_shape_then_it_has_it_without_rows_too(columns: list[str]) -> None:
    empty = records_frame([], columns)
    assert list(empty.columns) == columns
    assert list(records_frame([{"mode": "live", "cost": None}], columns).columns) == columns
    assert empty.dtypes.equals(records_frame([{"mode": "live"}], columns).dtypes)


# --- summaries ---


def test_when_a_ledger_is_summed_up_then_every_figure_is_right() -> None:
    found = summary(
        frame(
            row("a", latency=1.0, ttft=0.5, cache_read_tokens=50, reasoning_tokens=5),
            row("b", latency=2.0, ttft=None, cache_write_tokens=7),
            row("c", status="error", latency=9.0, input_tokens=None, output_tokens=None, cost=Decimal(0)),
            row("c", attempt=2, latency=3.0, cost=None, billed=None),
            row("d", status="refused", input_tokens=None, output_tokens=None, cost=Decimal(0), billed=Decimal(0)),
            row("e", profile="local", status="partial", latency=4.0),
        )
    )
    fast: Any = found.loc["fast"]
    assert (fast.calls, fast.attempts, fast.retries) == (3, 4, 1)  # what was refused was not called
    assert (fast.unpriced, fast.unbilled, fast["mode"]) == (1, 1, "live")
    assert (fast.input_tokens, fast.output_tokens, fast.cache_read_tokens) == (300, 60, 50)
    assert (fast.cache_write_tokens, fast.reasoning_tokens) == (7, 5)
    assert fast.cost == pytest.approx(0.000054)
    assert fast.billed == pytest.approx(0.000081)
    assert (fast.latency_p50, fast.latency_p95) == (2.0, pytest.approx(2.9))
    assert (fast.ttft_p50, fast.ttft_p95) == (0.5, 0.5)
    assert fast.tokens_per_second == pytest.approx(60 / 6)
    assert fast.error_rate == pytest.approx(1 / 4)
    assert fast.cache_share == pytest.approx(50 / 300)
    local: Any = found.loc["local"]
    assert (local.error_rate, local.calls) == (1.0, 1)
    assert pd.isna(local.latency_p50)
    assert pd.isna(local.tokens_per_second)


def test_when_nothing_is_priced_then_the_cost_is_unknown_and_not_0() -> None:
    rows = frame(row("a", cost=None, billed=None), row("b", cost=None, billed=None))
    found: Any = summary(rows).loc["fast"]
    assert pd.isna(found.cost)
    assert pd.isna(found.billed)
    assert found.unpriced == 2


@pytest.mark.parametrize("by", ["profile", "provider", "model", "stage", "strategy", "notebook", "day", "run_id"])
def test_when_rows_are_grouped_then_no_row_is_lost_and_groups_stand_in_the_order_of_their_first_rows(by: By) -> None:
    values = {"profile": "z", "provider": "z", "model": "z", "ts": NOON + timedelta(days=1)}
    later = row("b", **{"ts": NOON + timedelta(hours=1), **values, "stage": "z", "strategy": "z"})
    later = replace(later, notebook="z", run_id="z")
    last = row("c", ts=NOON + timedelta(days=2), stage="a", strategy="a", notebook="a", run_id="a")
    found = summary(frame(row("a"), later, last), by)
    assert found.attempts.sum() == 3
    assert found.index.name == by
    keys = [None if pd.isna(key) else key for key in found.index]
    if by == "day":
        assert keys == [pd.Timestamp(NOON.astimezone().date()) + timedelta(days=days) for days in range(3)]
    elif by in {"stage", "strategy", "notebook", "run_id"}:
        assert keys == [None, "z", "a"]
    else:
        assert keys[1] == "z"


def test_when_several_groups_are_asked_for_then_the_index_has_them_all() -> None:
    rows = frame(row("a", stage="x"), row("b", stage="y"), row("c", status="error"), running("d"))
    assert summary(rows, ["profile", "stage"]).index.tolist()[:2] == [("fast", "x"), ("fast", "y")]
    assert summary(rows, "status").attempts.to_dict() == {"ok": 2, "error": 1, "running": 1}
    everything = summary(rows, [])
    assert (everything.index.tolist(), everything.attempts.tolist()) == (["all"], [4])


def test_when_there_are_no_rows_then_the_summary_has_its_columns_and_dtypes() -> None:
    empty, full = summary(frame()), summary(frame(row()))
    assert len(empty) == 0
    assert empty.dtypes.equals(full.dtypes)
    assert {str(dtype) for dtype in full.dtypes} == {"Int64", "float64", "string"}


def test_when_the_group_is_unknown_then_the_error_says_what_there_is() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'profile'"):
        summary(frame(), "profiles")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Known: profile, provider"):
        summary(frame(), "xyz")  # type: ignore[arg-type]


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine 14 hours ahead of UTC."""
    monkeypatch.setenv("TZ", "Etc/GMT-14")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows has one zone for all processes")
@pytest.mark.usefixtures("far_east")
def test_when_a_day_is_meant_then_it_is_one_of_this_machine_s_zone() -> None:
    late = datetime(2026, 11, 22, 9, 59, tzinfo=UTC)
    ledger = frame(row("a", ts=late), row("b", ts=late + timedelta(minutes=2)))
    days = [pd.Timestamp("2026-11-22"), pd.Timestamp("2026-11-23")]
    assert summary(ledger, "day").index.tolist() == spend(ledger).index.tolist() == days
    assert (zone(late), zone_name(ledger)) == ("UTC+14", "UTC+14")


# --- money over time ---


def test_when_money_is_spent_then_quiet_days_cost_nothing_and_unpriced_ones_are_unknown() -> None:
    half = Decimal("0.5")
    found = spend(
        frame(
            row("a", cost=half, billed=half),
            row("b", cost=half, billed=Decimal(0)),
            row("c", ts=NOON + timedelta(days=2), cost=None, billed=None),
            row("d", ts=NOON + timedelta(days=3), cost=half, billed=half),
        )
    )
    assert [f"{day:%m-%d}" for day in found.index] == ["11-22", "11-23", "11-24", "11-25"]
    assert found.cost.fillna(-1).tolist() == [1.0, 0.0, -1.0, 0.5]
    assert found.billed.fillna(-1).tolist() == [0.5, 0.0, -1.0, 0.5]
    assert found.unpriced.tolist() == [0, 0, 1, 0]
    assert found.cumulative_cost.tolist() == [1.0, 1.0, 1.0, 1.5]


@pytest.mark.parametrize(
    ("every", "begin"),
    [
        ("minute", "2026-11-22 12:00"),
        ("hour", "2026-11-22 12:00"),
        ("day", "2026-11-22"),
        ("week", "2026-11-16"),
        ("month", "2026-11-01"),
    ],
)
def test_when_a_period_is_asked_for_then_it_is_named_by_its_beginning(every: Every, begin: str) -> None:
    noon = datetime(2026, 11, 22, 12).astimezone()
    assert spend(frame(row(ts=noon)), every).index.tolist() == [pd.Timestamp(begin)]
    assert len(spend(frame(), every)) == 0


def test_when_the_period_is_unknown_then_the_error_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match=r"every 'year'.*minute, hour, day"):
        spend(frame(), "year")  # type: ignore[arg-type]


# --- in a notebook ---


def test_when_a_frame_is_styled_then_money_times_and_counts_are_readable() -> None:
    rows = frame(
        row("a", latency=0.0123, input_tokens=1_234_567, cost=Decimal("0.0041")),
        row("b", latency=1.5, cost=None),
        row("c", profile="local", cost=None, latency=11.0, cache_read_tokens=50),
    )
    text = str(styled(summary(rows)))
    assert ">= USD 0.0041" in text
    assert "unpriced" in text
    assert "1,234,667" in text
    assert "50.0%" in text
    assert "0.8 s" in text
    fast = str(styled(summary(rows.head(2))))
    assert "756 ms" in fast
    assert "11.0 s" not in fast


def test_when_a_column_of_the_users_has_a_name_of_ours_then_it_shows_what_it_holds() -> None:
    theirs = pd.DataFrame({name: ["yes 1"] for name in ("df", "score", "cost", "started_at", "ratio", "latency")})
    assert str(styled(theirs)).count("yes 1") == 6


def test_when_a_frame_is_styled_then_a_screen_reader_can_follow_its_headers() -> None:
    html = styled(
        summary(frame(row(), row("b", stage="x")), ["profile", "stage"]), caption="Where it <went>"
    )._repr_html_()
    assert "<caption>Where it &lt;went&gt;</caption>" in html
    assert html.count("<th ") == html.count('<th scope="col"') + html.count('<th scope="row"')
    assert '<th scope="col">profile</th>' in html
    assert '<th scope="col">stage</th>' in html
    assert "input tokens" in html
    assert "&nbsp;" not in html


def test_when_a_text_is_wild_then_the_table_shows_it_as_text() -> None:
    odd = "<script>alert(1)</script> costs $5 or $6\n" + "x" * 100
    html = styled(frame(row(error=odd, tags={"<b>": "$"})))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; costs <span>$</span>5 or" in html
    assert "x" * 60 not in html
    assert "mathjax_ignore" in html


def test_when_the_data_are_the_same_then_the_table_is_the_same_text() -> None:
    one, other = (styled(summary(frame(row()))) for _ in range(2))
    assert one._repr_html_() == other._repr_html_()
    assert repr(one) == repr(other)
    assert "0x" not in repr(one)


def test_when_a_frame_is_long_then_its_first_rows_are_shown_and_the_caption_tells() -> None:
    rows = frame(*(row(str(number)) for number in range(120)))
    assert styled(rows)._repr_html_().count("<tr>") == 101
    assert "first 100 of 120 rows" in styled(rows)._repr_html_()
    assert "Mine · first 5 of 120 rows" in styled(rows, "Mine", rows=5)._repr_html_()
    assert "<caption>1 row</caption>" in styled(rows.head(1))._repr_html_()
    assert styled(frame())._repr_html_().count("<tr>") == 1


# --- fan-outs and strategies ---


def test_when_a_fan_out_becomes_a_frame_then_errors_are_rows_too() -> None:
    broken = PartialAnswerError("broke off", model="m")
    broken.reply = reply("Ye", status="partial", cost=None)
    entries = [
        Entry("fast", 0, 0, reply()),
        Entry("fast", 0, 1, reply(profile="other")),
        Entry("slow", 0, 0, RateLimitError("slow down", model="gpt-x")),
        Entry("dear", 1, 0, BudgetError("too dear")),
        Entry("cut", 1, 0, broken),
    ]
    found = replies(*entries)
    assert list(found.columns) == REPLIES
    assert found.status.tolist() == ["ok", "ok", "error", "refused", "partial"]
    assert found.profile.tolist() == ["fast", "fast", "slow", "dear", "cut"]
    assert found.served.tolist() == ["fast", "other", pd.NA, pd.NA, "fast"]
    assert found.model.tolist() == ["gpt-4o-mini", "gpt-4o-mini", "gpt-x", pd.NA, "gpt-4o-mini"]
    assert found.cost.fillna(-1).tolist() == [0.25, 0.25, -1, -1, -1]
    assert found.content.tolist() == ["Yes.", "Yes.", pd.NA, pd.NA, "Ye"]
    assert found.error.tolist()[2:] == [
        "RateLimitError: slow down",
        "BudgetError: too dear",
        "PartialAnswerError: broke off",
    ]
    assert found.prompt.tolist() == [0, 0, 0, 1, 1]
    assert replies().dtypes.equals(found.dtypes)


def test_when_calls_were_retried_then_a_run_s_frame_has_one_row_for_each_call() -> None:
    later = NOON + timedelta(seconds=2)
    rows = (
        row("a", ts=NOON, stage="explore", latency=1.0, queue=0.5),
        row("b", ts=NOON, stage="explore", status="error", latency=0.5, queue=0.0, cost=Decimal(0), input_tokens=None),
        row("b", attempt=2, ts=later, stage="explore", latency=1.0, ttft=0.25),
        row("c", ts=later, stage="review", status="error", latency=1.0, cost=None, error="no"),
    )
    first = reply("1. idea 0\n2. other", call_id="a")
    second = reply("1. another", call_id="b")
    found = run(rows, stage("explore", first, second, items=3, kept=1)).to_frame()
    assert list(found.columns) == RUN
    assert found.call_id.tolist() == ["a", "b", "c"]
    assert found.attempts.tolist() == [1, 2, 1]
    assert found.latency.tolist() == [1.0, 3.0, 1.0]
    assert found.ttft.fillna(-1).tolist() == [-1, 2.25, -1]
    assert found.start.tolist() == [0.5, 0.5, 2.5]
    assert found.input_tokens.tolist() == [100, 100, 100]
    assert found.cost.fillna(-1).tolist() == [0.000027, 0.000027, -1]
    assert found["sample"].tolist() == [0, 1, pd.NA]
    assert found.kept.tolist() == [True, False, pd.NA]
    assert found.status.tolist() == ["ok", "ok", "error"]


def test_when_a_stage_keeps_all_or_its_reply_names_nothing_then_kept_says_so() -> None:
    rows = (row("a", stage="one"), row("b", ts=NOON + timedelta(seconds=1), stage="two"))
    whole = stage("one", reply(call_id="a"), items=2, kept=2)
    ranking = stage("two", reply("2, 1, 3", call_id="b"), items=3, kept=1)
    assert run(rows, whole, ranking).to_frame().kept.tolist() == [True, pd.NA]


def test_when_stages_become_a_frame_then_items_money_and_times_are_there() -> None:
    unknown = reply(cost=None)
    explore = stage("explore", reply(), unknown, items=3, kept=1, spent=Total(unpriced=1))
    found = run((), explore, stage("review", reply(), items=1, kept=1)).stages_frame()
    assert list(found.columns) == STAGES
    assert found["items"].tolist() == [3, 1]
    assert (found.kept_items.tolist(), found.dropped_items.tolist()) == ([1, 1], [2, 0])
    assert (found.calls.tolist(), found.unpriced.tolist(), found.tokens.tolist()) == ([2, 1], [1, 0], [30, 15])
    assert found.cost.fillna(-1).tolist() == [-1, 0.5]
    assert found["mode"].tolist() == ["simulate", "simulate"]


def test_when_there_are_no_rows_then_there_are_no_calls() -> None:
    assert call_records([]) == []


def test_when_a_strategy_has_run_then_its_frame_agrees_with_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    ran = Funnel(ideas=3, keep=2).run_sync("Name a colour.")
    found = ran.to_frame()
    assert len(found) == ran.calls
    assert found.cost.sum() == pytest.approx(float(ran.cost or 0))
    assert set(found["mode"]) == {"simulate"}
    assert found.start.min() >= 0
    assert ran.stages_frame().stage.tolist() == [each.name for each in ran.stages]
