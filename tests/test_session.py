"""The session and the runtime below it: one of each to a kernel, also after a fork, and those that a user makes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from servers import Answer, Exchange, Server
from victor_nb import Agent, OrchestratorPool, Session, Settings, Single, session
from victor_nb.errors import ClosedError, SecretError
from victor_nb.kernel import reset, session_of
from victor_nb.runtime import Runtime, current, runtime_of
from workbench import write_profiles

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]


@pytest.fixture
def settings(tmp_path: Path, server: Server, keys: str) -> Settings:
    """Return settings with one profile on the server."""
    assert keys
    server.play(Answer())
    write_profiles(tmp_path, fast={"provider": "openai", "model": "gpt-4o-mini", "base_url": f"{server.url}/v1"})
    return Settings()


def test_when_threads_ask_for_the_session_then_they_get_one_over_the_kernels_runtime() -> None:
    together = threading.Barrier(8)

    def get(_: int) -> Session:
        together.wait(5)
        return session()

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(get, range(8)))
    assert found == {session()}
    assert session().runtime is current() is runtime_of(None) is runtime_of(session()) is runtime_of(current())


def test_when_the_session_is_reset_or_closed_then_the_next_one_is_new() -> None:
    first = session()
    reset()
    second = session()
    second.close()
    assert first.closed
    assert second.closed
    assert len({id(first), id(second), id(session())}) == 3
    with pytest.raises(ClosedError, match="session is closed"):
        _ = second.pool


def test_when_a_user_makes_a_session_then_all_that_is_made_in_it_stays_there(settings: Settings) -> None:
    own = Session(settings)
    pool = OrchestratorPool(settings, container=own)
    reply = pool.get_orchestrator("fast").run_sync("x")
    assert own.last is reply
    run = Single("fast").run_sync("x", pool=pool)
    assert own.last is run
    asked = Agent.create_sync("fast", container=own).run_sync("x")
    assert own.last is asked
    assert len(own.ledger.rows()) == 3
    assert own.pool is own.pool is not pool
    assert session_of(pool.runtime) is own is not session()
    assert session().last is None
    own.close()
    assert pool.get_cached_profiles() == ["fast"]
    with pytest.raises(ClosedError):
        pool.get_orchestrator("fast").run_sync("x")


def test_when_a_runtime_is_the_container_then_it_is_shared(settings: Settings) -> None:
    runtime = Runtime(settings)
    reply = OrchestratorPool(settings, container=runtime).get_orchestrator("fast").run_sync("x")
    asked = Agent.create_sync("fast", container=runtime).run_sync("x")
    assert runtime.last is asked
    assert [row.call_id for row in runtime.ledger.rows()] == [reply.call_id, asked.call_id]
    assert session_of(runtime).ledger is runtime.ledger
    runtime.close()


def test_when_the_mode_changes_then_all_that_is_held_obeys_from_the_next_call_on(
    settings: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, own = OrchestratorPool(settings), Session(settings)
    orchestrator, agent = pool.get_orchestrator("fast"), Agent.create_sync("fast")
    chat, apart = agent.chat(), Agent.create_sync("fast", container=own)
    asking = [orchestrator, agent, chat, apart]

    def modes() -> list[str]:
        return [each.run_sync("x").mode for each in asking] + [agent.stream("x").result().mode]

    assert modes() == ["live"] * 5
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    assert modes() == ["simulate"] * 5
    assert orchestrator.mode == "simulate"
    assert pool.get_orchestrator("fast") is orchestrator
    monkeypatch.delenv("VICTOR_MODE")
    assert modes() == ["live"] * 5
    session().set_mode("simulate")
    assert modes() == ["simulate"] * 3 + ["live", "simulate"]
    assert len(server.requests) == 11
    own.close()


def test_when_the_mode_changes_then_what_is_under_way_goes_on_in_its_own(settings: Settings, server: Server) -> None:
    go = threading.Event()

    async def answer(exchange: Exchange) -> None:
        await asyncio.to_thread(go.wait, 30)
        await Answer()(exchange)

    server.play(answer)
    stream = OrchestratorPool(settings).get_orchestrator("fast").stream("x")
    server.wait(lambda: server.requests)
    session().set_mode("simulate")
    go.set()
    assert (stream.result().content, stream.reply.mode) == (Answer().text, "live")


def test_when_a_mode_needs_a_key_that_is_missing_then_it_is_the_same_error_as_at_first(tmp_path: Path) -> None:
    write_profiles(tmp_path, fast={"provider": "openai", "model": "gpt-4o-mini", "api_key_env": "MY_KEY"})
    session().set_mode("simulate")
    pool = OrchestratorPool(Settings())
    orchestrator = pool.get_orchestrator("fast")
    session().set_mode("live")
    for ask in (lambda: pool.get_orchestrator("fast"), lambda: orchestrator.run_sync("x")):
        with pytest.raises(SecretError, match=r"^Failed to create provider for profile 'fast': no key. Set MY_KEY"):
            ask()


def test_when_work_would_end_the_process_then_its_caller_gets_that_and_the_loop_goes_on() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def stay() -> int:
        return 1

    loop = session().runtime.loop
    with pytest.raises(SystemExit):
        loop.start(leave).result()
    later = loop.start(stay)
    assert later.wait(5)
    assert later.result() == 1


def test_when_only_a_warm_up_has_read_the_usual_settings_then_the_first_that_are_asked_for_are_the_kernels(
    tmp_path: Path,
) -> None:
    own = tmp_path / "own.yaml"
    fast = "fast: {provider: openai, model: gpt-6-luna}"
    own.write_text(f"budget: {{notebook: 0.50}}\nprofiles:\n  {fast}\n", encoding="utf-8")
    shared = session()
    shared.warm_up()
    shared.runtime.refresh()  # as before each cell
    pool = OrchestratorPool(Settings(own))
    assert shared.settings is pool.settings
    assert [limit.amount for limit in shared.budget.states()] == [Decimal("0.50")]
    OrchestratorPool(Settings())
    assert shared.settings is pool.settings, "the first stay"


def test_when_the_usual_settings_were_asked_for_then_a_pool_of_others_does_not_take_their_place(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("profiles:\n  fast: {provider: openai, model: gpt-6-luna}\n", encoding="utf-8")
    for asked in ("settings", "pool"):
        reset()
        shared = session()
        shared.warm_up()
        usual = shared.settings if asked == "settings" else shared.pool.settings
        OrchestratorPool(Settings(own))
        assert shared.settings is usual
