"""Maps and the store of answers: what was paid for is not asked again, whatever has happened since."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from benchmarks.killed_maps import CONCURRENCY, trial
from servers import OPENAI, Answer, faults
from victor_nb import session
from victor_nb.calls.call import ProfileCall
from victor_nb.errors import MapError
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server
    from servers.exchange import Act, Request
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool

pytest_plugins = ["workbench_fixtures"]

FRAME = pd.DataFrame({"review": [f"It is number {number}." for number in range(12)]})
PROMPT = "Classify: {{ review }}"


@pytest.fixture
def pool(tmp_path: Path, server: Server, keys: str) -> OrchestratorPool:
    assert keys
    server.play(Answer())
    profile = {"provider": "openai", "model": "gpt-4o-mini", "base_url": OPENAI.base_url(server.url), "retries": 0}
    write_profiles(tmp_path, desk=profile, other={**profile, "timeout": 30, "retries": 3, "concurrency": 2})
    return session().pool


def counts(frame: pd.DataFrame, out: str = "answer") -> dict[Any, int]:
    return frame[f"{out}_status"].value_counts().to_dict()


def test_when_a_map_is_run_again_then_only_what_is_new_is_asked(pool: OrchestratorPool, server: Server) -> None:
    first = pool.map_sync(FRAME, PROMPT, profile="desk")
    longer = pd.concat([FRAME, pd.DataFrame({"review": ["One more.", None]})], ignore_index=True)
    again = pool.map_sync(longer, PROMPT, profile="other", out="label")

    assert counts(first) == {"ok": 12}
    assert counts(again, "label") == {"reused": 12, "ok": 1, "skipped": 1}
    assert len(server.requests) == 13
    assert again["label"][:12].tolist() == first["answer"].tolist()
    assert again["label_cost"][:12].tolist() == [0.0] * 12
    assert again["label_cost"].sum() == pytest.approx(rows()[-1]["cost"])
    assert again["label_price"].sum() == pytest.approx(sum(row["cost"] for row in rows()))  # also of those reused
    assert len(rows()) == 13
    assert counts(pool.map_sync(FRAME, PROMPT, profile="desk", temperature=0.5)) == {"ok": 12}
    assert counts(pool.map_sync(FRAME, PROMPT, profile="desk", reuse="off")) == {"ok": 12}
    assert counts(pool.map_sync(FRAME, PROMPT, profile="desk", cache="refresh")) == {"ok": 12}


def test_when_a_key_is_set_later_then_no_answer_that_holds_it_is_stored(
    pool: OrchestratorPool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.play(Answer(("It is house-of-cards-7.",)))
    assert counts(pool.map_sync(FRAME[:2], PROMPT, profile="desk")) == {"ok": 2}
    monkeypatch.setenv("HOUSE_TOKEN", "house-of-cards-7")
    asked = [counts(pool.map_sync(FRAME[:4], PROMPT, profile="desk")) for _ in range(2)]
    monkeypatch.delenv("HOUSE_TOKEN")
    asked += [counts(pool.map_sync(FRAME[:4], PROMPT, profile="desk")) for _ in range(2)]
    assert asked == [{"reused": 2, "ok": 2}] * 3 + [{"reused": 4}]


def test_when_rows_have_ended_then_nothing_of_them_waits_for_the_garbage_collector(pool: OrchestratorPool) -> None:
    pool.map_sync(FRAME[:1], PROMPT, profile="desk")
    before = gc.get_threshold()
    gc.collect()
    older = [each for each in gc.get_objects() if isinstance(each, ProfileCall)]  # of other tests
    gc.disable()
    try:
        assert counts(pool.map_sync(FRAME, PROMPT, profile="desk")) == {"ok": 11, "reused": 1}
        kept = [each for each in gc.get_objects() if isinstance(each, ProfileCall)]
        assert not [each for each in kept if not any(each is other for other in older)]
    finally:
        gc.enable()
    assert gc.get_threshold() == before


def test_when_a_budget_is_used_up_then_stored_answers_serve_all_the_same(pool: OrchestratorPool) -> None:
    pool.map_sync(FRAME[8:], PROMPT, profile="desk")
    again = pool.map_sync(FRAME, PROMPT, profile="desk", budget=0)

    assert again["answer_status"].tolist() == ["refused"] * 8 + ["reused"] * 4


def test_when_max_tokens_is_raised_then_only_what_was_cut_is_asked_again(
    pool: OrchestratorPool, server: Server
) -> None:
    cut, whole = Answer(finish="length"), Answer()
    server.answer = lambda request: cut if "number 1" in request.json["messages"][-1]["content"] else whole
    first = pool.map_sync(FRAME, PROMPT, profile="desk", max_tokens=10)
    again = pool.map_sync(FRAME, PROMPT, profile="desk", max_tokens=100)

    assert (first["answer_finish_reason"] == "length").sum() == 3
    assert counts(again) == {"reused": 9, "ok": 3}


def test_when_some_rows_fail_then_they_say_why_and_only_they_are_asked_again(
    pool: OrchestratorPool, server: Server
) -> None:
    def choose(request: Request) -> Act:
        return faults.status(400) if "number 1." in request.json["messages"][-1]["content"] else Answer()

    server.answer = choose
    first = pool.map_sync(FRAME, PROMPT, profile="desk")
    server.answer = lambda request: Answer()
    again = pool.map_sync(FRAME, PROMPT, profile="desk")

    assert counts(first) == {"ok": 11, "failed": 1}
    assert first["answer_error"][1].startswith("BadRequestError: desk: ")
    assert "\n" not in first["answer_error"][1]
    assert first["answer_cost"].notna().all()
    assert counts(again) == {"reused": 11, "ok": 1}


def test_when_the_key_is_wrong_then_ten_rows_are_asked_and_the_frame_is_kept(
    pool: OrchestratorPool, server: Server
) -> None:
    server.play(faults.status(401))
    with pytest.raises(MapError, match=r"rows failed alike, and 9\d\d more were not asked\. desk: ") as caught:
        pool.map_sync([f"row {number}" for number in range(1000)], "{{ value }}", profile="desk")

    assert len(server.requests) <= 20
    assert set(counts(caught.value.partial)) <= {"failed", "interrupted", "pending"}


def test_when_a_map_is_killed_then_the_next_one_asks_for_the_rest_alone(tmp_path: Path) -> None:
    found = trial(tmp_path, rows=150, kills=1, seed=1, delay=0.02)

    assert len(found.asked) == 150
    assert found.twice <= CONCURRENCY
    assert found.last["texts"] == 150
    assert found.last["by"]["reused"] >= found.killed[0] - CONCURRENCY
    assert found.last["running"] == 0


def test_when_all_prompts_begin_alike_then_one_row_alone_warms_the_cache(
    pool: OrchestratorPool, server: Server
) -> None:
    server.play(Answer(delay=0.3))
    pool.map_sync(FRAME, PROMPT, profile="desk", system="Be brief. " * 500)

    arrived = sorted(request.arrived for request in server.requests)
    assert arrived[1] - arrived[0] >= 0.3
    assert len(arrived) == 12
