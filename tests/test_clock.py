"""Simulated seconds: the same on every machine, at every speed, in calls, fan-outs, strategies and the ledger."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from victor_nb import Cascade, Funnel, OrchestratorPool, Reply, SimulatedAnswer, Stage, Strategy, session
from victor_nb.errors import ConfigError, PartialAnswerError, RequestTimeoutError
from victor_nb.runtime import reset
from workbench import write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from victor_nb import Replies, StrategyRun
    from victor_nb.values import SimulatedQuestion

PROFILES: dict[str, Any] = {
    "fast": {"provider": "openai", "model": "gpt-4o-mini"},
    "local": {"provider": "ollama", "model": "qwen2.5-coder:7b", "concurrency": 3},
    "premium": {"provider": "anthropic", "model": "claude-opus-5-5"},
    "default": {"provider": "google", "model": "gemini-3.8-flash"},
    "unsure": {"provider": "openai", "model": "gpt-4o-mini", "fallback": ["premium"], "retries": 1},
}


@pytest.fixture(autouse=True)
def _simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_LEDGER", "memory")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write_profiles(tmp_path, **PROFILES)


def stumbling(question: SimulatedQuestion) -> SimulatedAnswer | None:
    """Refuse the first attempts of some."""
    if question.profile == "unsure" or (question.profile == "local" and question.sample % 2 and question.attempt < 3):
        return SimulatedAnswer(status=429, retry_after=2.0 if question.attempt == 1 else None)
    return None


def fan_out(pool: OrchestratorPool) -> Replies:
    return pool.fan_out_sync("Name a bridge.", ["fast", "local", "unsure"], n=7)


def parallel(pool: OrchestratorPool) -> StrategyRun:
    stages = [
        Stage("a", profile="local", prompt="Say {{ task }}.", n=4),
        Stage("b", profile="local", prompt="Say {{ task }} otherwise.", n=3),
        Stage("c", profile="fast", prompt="Join {{ a }} and {{ b }}."),
    ]
    return Strategy("parallel", stages).run_sync("hello", pool=pool)


def cascade(pool: OrchestratorPool) -> StrategyRun:
    def accept(reply: Reply) -> bool:
        return not pool.get_orchestrator("premium").run_sync(f"Is it good? {reply}").content

    return Cascade(["local", "fast", "premium"], accept=accept).run_sync("How many?", pool=pool)


def spin(over: threading.Event) -> None:
    while not over.is_set():
        sum(range(1000))


def ledger() -> list[tuple[object, ...]]:
    rows = session().ledger.rows()
    return sorted(
        (row.ts - rows[0].ts, row.profile, row.attempt, row.latency or 0.0, row.status, row.ttft, row.queue, row.cost)
        for row in rows
    )


def seen(monkeypatch: pytest.MonkeyPatch, speed: float) -> dict[str, object]:
    """Return all seconds of some work at a speed."""
    monkeypatch.setenv("VICTOR_SIM_SPEED", str(speed))
    reset()
    session().simulate_with(stumbling)
    replies = fan_out(session().pool)
    found: dict[str, object] = {
        "fan-out": (replies.wall, replies.serial, [(each.latency, each.ttft) for each in replies.ok]),
        "rows": ledger(),
    }
    works: list[Callable[[OrchestratorPool], StrategyRun]] = [
        parallel,
        cascade,
        lambda pool: Funnel().run_sync("An app"),
    ]
    for work in works:
        run = work(session().pool)
        stages = [(stage.name, stage.began, stage.ended) for stage in run.stages]
        times = run.to_frame()[["stage", "latency", "ttft", "start", "queue"]].to_csv()
        found[run.strategy] = (run.wall, run.serial, stages, times)
    reset()
    return found


def test_when_the_machine_is_busy_or_the_speed_another_then_all_seconds_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quiet = seen(monkeypatch, 0)
    over = threading.Event()
    busy = [threading.Thread(target=spin, args=[over]) for _ in range(3)]
    for thread in busy:
        thread.start()
    try:
        assert seen(monkeypatch, 0) == quiet
        assert seen(monkeypatch, 0.02) == quiet
    finally:
        over.set()
        for thread in busy:
            thread.join()


def test_when_calls_wait_for_places_then_their_queue_and_the_wall_are_counted() -> None:
    replies = session().pool.fan_out_sync("Name a bridge.", ["local"], n=7)
    rows = [entry.rows[0] for entry in replies.entries]
    free = [0.0, 0.0, 0.0]
    for row in rows:
        assert row.latency is not None
        assert row.queue == pytest.approx(min(free))
        free[free.index(min(free))] += row.latency
    assert replies.wall == pytest.approx(max(free))
    assert replies.serial == pytest.approx(sum(row.latency or 0 for row in rows))


def test_when_a_call_is_asked_again_then_its_waits_count_and_take_no_real_time() -> None:
    session().simulate_with(
        lambda asked: SimulatedAnswer(status=429, retry_after=30) if asked.attempt == 1 else SimulatedAnswer("Here.")
    )
    reply = session().pool.get_orchestrator("fast").run_sync("Hello")
    first, second = session().ledger.rows()
    assert reply.latency == pytest.approx(30 + (first.latency or 0) + (second.latency or 0))
    assert (second.ts - first.ts).total_seconds() == pytest.approx(30 + (first.latency or 0), abs=1e-5)


def test_when_the_start_is_given_then_the_dates_are_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_SIM_START", "2026-01-05T09:00+01:00")
    replies = session().pool.fan_out_sync("Hello", ["fast", "premium"])
    session().pool.get_orchestrator("fast").run_sync("Hello again")
    start = datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert [row.ts for row in session().ledger.rows()] == [start, start, start + timedelta(seconds=replies.wall)]
    monkeypatch.setenv("VICTOR_SIM_START", "soon")
    with pytest.raises(ConfigError, match="VICTOR_SIM_START='soon' is no date"):
        session().pool.get_orchestrator("fast").run_sync("Hello again")


@pytest.mark.parametrize("speed", ["0", "0.1"])
def test_when_the_simulated_answer_takes_longer_than_the_call_may_then_it_ends_there(
    monkeypatch: pytest.MonkeyPatch, speed: str
) -> None:
    monkeypatch.setenv("VICTOR_SIM_SPEED", speed)
    orchestrator = session().pool.get_orchestrator("fast")
    session().simulate_with(lambda _: SimulatedAnswer("word " * 400, delay=1.0))
    with pytest.raises(RequestTimeoutError):
        orchestrator.run_sync("Hello", timeout=0.5)
    with pytest.raises(PartialAnswerError) as caught:
        "".join(orchestrator.stream("Hello", timeout=2))
    reply = session().last
    assert isinstance(reply, Reply)
    assert reply is caught.value.reply
    assert reply.latency == pytest.approx(2)
    assert 0 < len(reply.content) < 2_000
