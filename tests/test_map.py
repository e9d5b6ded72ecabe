"""A table in, the same table plus answers out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from victor_nb import Image, SimulatedAnswer, Stage, Strategy, session
from victor_nb.errors import ConfigError, MapError, PromptError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from victor_nb.workflows.orchestrator_pool import OrchestratorPool


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> OrchestratorPool:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    return session().pool


def reviews(count: int = 30) -> pd.DataFrame:
    return pd.DataFrame({"review": [f"It is number {i}." for i in range(count)], "my col": range(count)})


def rows_of(run: str) -> pd.DataFrame:
    frame = session().ledger.to_frame()
    return frame[frame["run_id"] == run]


INDICES = {
    "range": pd.RangeIndex(3),
    "texts": pd.Index(["a", "b", "c"], name="key"),
    "dates": pd.date_range("2026-01-01", periods=3, freq="D", tz="UTC", name="day"),
    "several levels": pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1)], names=["one", "two"]),
    "duplicates": pd.Index([7, 7, 1]),
    "categories": pd.CategoricalIndex(["u", "v", "u"]),
    "periods": pd.period_range("2026-01", periods=3, freq="M"),
    "backwards": pd.RangeIndex(6, 0, -2),
}


@pytest.mark.parametrize("kind", INDICES)
def test_when_a_frame_is_mapped_then_its_index_columns_and_attrs_are_kept(kind: str, pool: OrchestratorPool) -> None:
    frame = pd.DataFrame(
        {
            "text": pd.Series(["one", "two", "three"], dtype="string").array,
            "count": pd.array([1, None, 3], dtype="Int64"),
            "when": pd.date_range("2026-01-01", periods=3),
            "kind": pd.Categorical(["p", "q", "p"]),
        },
        index=INDICES[kind],
    )
    frame.attrs["source"] = {"file": "a.csv"}
    frame.columns.name = "fields"
    before = frame.copy(deep=True)

    answers = pool.map_sync(frame, "Classify: {{ text }}", profile="fast", out="label")

    pd.testing.assert_frame_equal(answers[list(before.columns)], before)
    pd.testing.assert_frame_equal(frame, before)
    assert answers.index.equals(before.index)
    assert answers.index.names == before.index.names
    assert type(answers.index) is type(before.index)
    assert answers.attrs == before.attrs
    assert list(answers.columns[4:7]) == ["label", "label_status", "label_error"]
    assert answers["label_status"].tolist() == ["ok"] * 3


def test_when_a_map_has_ended_then_its_costs_are_those_of_its_rows_in_the_ledger(pool: OrchestratorPool) -> None:
    handle = pool.start_map(reviews(), "Classify: {{ review }} {{ row['my col'] }}", profile="fast", out="label")
    answers = handle.result()

    ledger = rows_of(handle.run_id)
    assert len(ledger) == 30
    assert answers["label_cost"].sum() == pytest.approx(ledger["cost"].sum(), rel=1e-12)
    assert answers["label_output_tokens"].sum() == ledger["output_tokens"].sum()
    assert session().last is answers
    assert str(handle.tally).startswith("30/30 · USD 0.0")


def test_when_rows_are_equal_then_one_is_asked_and_the_others_cost_nothing(pool: OrchestratorPool) -> None:
    handle = pool.start_map(["the same"] * 1000, "Classify: {{ value }}", profile="fast")
    answers = handle.result()

    assert answers["answer_status"].value_counts().to_dict() == {"reused": 999, "ok": 1}
    assert set(answers["answer"]) == {answers["answer"][0]}
    assert len(rows_of(handle.run_id)) == 1
    assert (answers["answer_cost"] > 0).sum() == 1


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "  "])
def test_when_a_cell_is_empty_then_nothing_is_sent(missing: object, pool: OrchestratorPool) -> None:
    frame = pd.DataFrame({"review": pd.Series(["good", missing, "bad"], dtype="object"), "other": [1, 2, None]})

    answers = pool.map_sync(frame, "Classify: {{ review }}", profile="fast", out="label")

    assert answers["label_status"].tolist() == ["ok", "skipped", "ok"]
    assert answers["label_cost"].tolist()[1] == 0
    assert len(session().ledger.to_frame()) == 2
    with pytest.raises(PromptError, match="Row 1 lacks a value"):
        pool.map_sync(frame, "Classify: {{ review }}", profile="fast", empty="error")
    sent = pool.map_sync(frame, "Classify: {{ review }}", profile="fast", empty="send")
    assert sent["answer_status"].tolist() == ["reused", "ok", "reused"]


class Label(BaseModel):
    kind: Literal["good", "bad"]
    sure: float
    stars: int | None
    quoted: bool
    words: list[str]
    why: str


def test_when_there_is_a_schema_then_each_field_is_a_typed_column(pool: OrchestratorPool) -> None:
    frame = reviews(3)
    frame.loc[1, "review"] = None

    answers = pool.map_sync(frame, "Classify: {{ review }}", profile="fast", out="label", schema=Label)

    expected = {"kind": "category", "sure": "Float64", "stars": "Int64", "quoted": "boolean", "words": "object"}
    found = {name: str(answers[f"label.{name}"].dtype) for name in (*expected, "why")}
    assert found == {**expected, "why": "string"}
    assert list(answers["label.kind"].cat.categories) == ["good", "bad"]
    assert all(pd.isna(answers[f"label.{name}"][1]) for name in (*expected, "why"))
    assert "label" not in answers
    anything = pool.map_sync(frame, "Read: {{ review }}", profile="fast", schema={"type": "object"})
    assert [type(value) for value in anything["answer"]] == [dict, type(None), dict]


def test_when_there_are_several_profiles_and_samples_then_each_has_columns(pool: OrchestratorPool) -> None:
    answers = pool.map_sync(reviews(4), "Is it good? {{ review }}", profiles=["fast", "local"], n=2, out="label")

    names = ["label.fast.1", "label.fast.2", "label.local.1", "label.local.2"]
    assert [name for name in map(str, answers) if name.startswith("label") and "_" not in name] == names
    assert all((answers[f"{name}_status"] == "ok").all() for name in names)
    assert len(session().ledger.to_frame()) == 16


def test_when_it_is_a_series_or_records_then_they_stand_beside_the_answers(pool: OrchestratorPool) -> None:
    series = pd.Series(["a", "b"], name="letter", index=[5, 6])
    one = pool.map_sync(series, "Spell: {{ letter }} {{ value }}", profile="fast")
    two = pool.map_sync([{"x": 1, "y": "p"}, {"x": 2}], "Spell: {{ x }}", profile="fast")

    assert one["letter"].tolist() == ["a", "b"]
    assert one.index.tolist() == [5, 6]
    assert two["x"].tolist() == [1, 2]
    assert pool.map_sync(reviews(), "{{ review }}", profile="fast", rows=4).shape[0] == 4


async def test_when_it_is_an_iterator_then_rows_are_taken_as_they_are_needed(pool: OrchestratorPool) -> None:
    async def later() -> AsyncIterator[dict[str, object]]:
        for number in range(150):
            yield {"number": number}

    answers = await pool.map(later(), "Spell: {{ number }}", profile="fast")
    plain = pool.map_sync((f"line {number}" for number in range(150)), "Spell: {{ value }}", profile="fast")

    assert (answers["answer_status"] == "ok").all()
    assert len(answers) == len(plain) == 150
    assert (plain["answer_status"] == "ok").all()


def test_when_a_map_cannot_be_then_the_error_says_so_before_anything_is_sent(pool: OrchestratorPool) -> None:
    frame, two = reviews(2), pd.DataFrame({"two": ["a"]})
    faults = {
        "'revew' is no column. Did you mean 'review'": lambda: pool.map_sync(frame, "{{ revew }}"),
        "{{ my col }} is no name in Python. Write {{ row['my col'] }}": lambda: pool.map_sync(
            frame, "{{ review }} {{ my col }}"
        ),
        "holds no column": lambda: pool.map_sync(frame, "Classify"),
        "has a column 'review' already": lambda: pool.map_sync(frame, "{{ review }}", out="review"),
        "several columns 'two'": lambda: pool.map_sync(pd.concat([two, two], axis=1), "{{ two }}"),
        "A str is no table": lambda: pool.map_sync("text", "{{ value }}"),
        "rows= ": lambda: pool.map_sync(frame, "{{ review }}", rows=0),
        "reuse='never' is unknown": lambda: pool.map_sync(frame, "{{ review }}", reuse="never"),  # pyright: ignore[reportArgumentType]
        "not both": lambda: pool.map_sync(frame, "{{ review }}", profile="fast", profiles=["local"]),
        "A call takes no tempreature=": lambda: pool.map_sync(frame, "{{ review }}", tempreature=1),  # pyright: ignore[reportCallIssue]
    }
    for text, ask in faults.items():
        with pytest.raises((ConfigError, PromptError), match=re.escape(text)):
            ask()
    assert session().ledger.to_frame().empty


def test_when_all_rows_fail_alike_then_it_ends_red_after_ten(pool: OrchestratorPool) -> None:
    session().simulate_with(lambda _: SimulatedAnswer(status=401, message="no such key"))
    with pytest.raises(MapError, match="rows failed alike, and") as caught:
        pool.map_sync(reviews(2000), "Classify: {{ review }}", profile="fast", out="label")

    frame = caught.value.partial
    counts = frame["label_status"].value_counts().to_dict()
    assert len(frame) == 2000
    assert 10 <= counts["failed"] <= 20
    assert counts["pending"] >= 1980 - 1
    assert session().last is frame


def test_when_a_budget_is_used_up_then_the_others_are_refused(pool: OrchestratorPool) -> None:
    handle = pool.start_map(reviews(200), "Say: {{ review }}", profile="fast", budget="0.002", max_tokens=100)
    answers = handle.result()

    counts = answers["answer_status"].value_counts().to_dict()
    assert set(counts) == {"ok", "refused"}
    assert answers["answer_cost"].sum() <= 0.002
    assert handle.tally.done == 200


def test_when_twenty_rows_have_been_asked_then_the_price_of_all_is_known(pool: OrchestratorPool) -> None:
    frame = pd.concat([reviews(100), reviews(20)])
    handle = pool.start_map(frame, "Say: {{ review }}", profile="fast", budget="2.00")
    handle.result()

    assert handle.priced is not None
    assert handle.priced.cost is not None
    assert handle.priced.cost.value == pytest.approx(float(handle.tally.spent.cost), rel=0.2)
    assert handle.price is not None
    assert handle.price.startswith("120 rows (100 different): USD 0.0")
    assert handle.price.endswith("; 20 done. budget=2.00 holds.")
    assert pool.plan_map(frame, "Say: {{ review }}").different == 100
    assert 0 < handle.wall < 60


def test_when_a_strategy_is_the_profile_then_it_runs_once_for_each_row(pool: OrchestratorPool) -> None:
    mine = Strategy("mine", [Stage("draft", "fast", "{{ task }}"), Stage("polish", "premium", "Improve: {{ draft }}")])
    frame = reviews(3)
    frame.loc[1, "review"] = None

    answers = pool.map_sync(frame, "Say: {{ review }}", profiles=[mine, "local"], out="said")
    named = pool.map_sync(frame, "Is it good? {{ review }}", profile="cascade")

    ledger = session().ledger.to_frame()
    assert answers["said.mine_status"].tolist() == ["ok", "skipped", "ok"]
    assert answers["said.local_status"].tolist() == ["ok", "skipped", "ok"]
    of_runs = ledger[ledger["strategy"] == "mine"]
    assert len(of_runs) == 4
    assert answers["said.mine_cost"].sum() == pytest.approx(of_runs["cost"].sum(), rel=1e-12)
    assert set(named["answer_status"]) == {"ok", "skipped"}


def test_when_stop_is_pressed_then_the_frame_so_far_is_kept(
    pool: OrchestratorPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", "1")
    handle = pool.start_map(reviews(500), "Say: {{ review }}", profile="fast", concurrency=8)
    while handle.tally.done < 10:
        handle.wait(0.05)
    error = handle.interrupted()

    counts = error.partial["answer_status"].value_counts().to_dict()
    assert set(counts) == {"ok", "interrupted", "pending"}
    assert 1 <= counts["interrupted"] <= 8
    assert str(error).startswith(f"stopped; {counts['ok']} of 500 rows have an answer (")
    assert session().last is error.partial
    assert handle.result()["answer_status"].value_counts().to_dict() == counts


def test_when_a_map_was_stopped_then_the_price_of_the_next_is_that_of_the_rest(pool: OrchestratorPool) -> None:
    texts = [f"row {number}" for number in range(200)]
    pool.map_sync(texts, "Say something on {{ value }}", profile="fast", rows=120)
    handle = pool.start_map(texts, "Say something on {{ value }}", profile="fast")
    handle.result()

    assert handle.tally.by == {"reused": 120, "ok": 80}
    assert handle.priced is not None
    assert handle.priced.cost is not None
    assert handle.priced.cost.low <= float(handle.tally.spent.cost) <= handle.priced.cost.high


def test_when_the_iterator_fails_then_its_error_comes_and_what_was_asked_is_kept(pool: OrchestratorPool) -> None:
    def lines() -> Iterator[str]:
        for number in range(100):
            yield f"line {number}"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        pool.map_sync(lines(), "Spell: {{ value }}", profile="fast")

    last = session().last
    assert isinstance(last, pd.DataFrame)
    assert last["answer_status"].tolist() == ["ok"] * 100


def test_when_the_table_is_changed_meanwhile_then_the_answers_stand_beside_the_rows_that_were_asked(
    pool: OrchestratorPool,
) -> None:
    frame = reviews(3)
    handle = pool.start_map(frame, "Classify: {{ review }}", profile="fast")
    frame.loc[3] = ["It came later.", 3]
    frame["review"] = "gone"

    assert handle.result()["review"].tolist() == ["It is number 0.", "It is number 1.", "It is number 2."]


def test_when_cells_are_images_then_they_are_sent_as_such(pool: OrchestratorPool) -> None:
    drawn = [Image(np.full((4, 4), shade, dtype="uint8")) for shade in (0, 9)]
    answers = pool.map_sync(pd.DataFrame({"plot": [*drawn, None]}), "What is it? {{ plot }}", profile="fast")

    assert answers["answer_status"].tolist() == ["ok", "ok", "skipped"]
    assert answers["answer_input_tokens"][0] > 100


def test_when_a_template_is_no_text_or_an_option_is_misspelt_then_one_line_says_what_is_meant(
    pool: OrchestratorPool,
) -> None:
    with pytest.raises(PromptError, match="template is a NoneType, not text"):
        pool.map_sync(reviews(3), None, profile="local", out="label")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Did you mean 'concurrency'"):
        pool.map_sync(reviews(3), "{{ review }}", profile="local", out="label", concurency=2)  # type: ignore[call-arg]
