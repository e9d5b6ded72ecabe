"""The pool on real sockets: one orchestrator a profile, whoever asks, and everything closed when it should be."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from servers import DIALECTS, Answer, Server, faults
from victor_nb import Agent, OrchestratorPool, Settings
from victor_nb.errors import ClosedError, ProfileNotFoundError, SecretError, VictorError
from victor_nb.kernel import session
from workbench import CANARY, assert_clean, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]
NAMES = [dialect.name for dialect in DIALECTS]
WITH_KEY = [dialect.name for dialect in DIALECTS if dialect.key_variable]


@pytest.fixture
def pool(tmp_path: Path, server: Server, keys: str) -> Iterator[OrchestratorPool]:
    """Return a pool over one profile of each provider, and one called default."""
    assert keys
    server.play(Answer())
    specs = {d.name: {"provider": d.name, "model": d.model, "base_url": d.base_url(server.url)} for d in DIALECTS}
    write_profiles(tmp_path, **specs, default=specs["openai"])
    pool = OrchestratorPool(Settings())
    yield pool
    pool.shutdown()


def test_when_eight_threads_ask_for_a_profile_then_they_get_one_object(pool: OrchestratorPool) -> None:
    together = threading.Barrier(8)

    def get(name: str) -> int:
        together.wait(5)
        return id(pool.get_orchestrator(name))

    for name in NAMES:
        with ThreadPoolExecutor(8) as threads:
            assert len(set(threads.map(get, [name] * 8))) == 1
    assert pool.get_cached_profiles() == NAMES


def test_when_profiles_are_got_then_they_are_listed_in_that_order(pool: OrchestratorPool) -> None:
    assert pool.get_cached_profiles() == []
    for name in ["ollama", "anthropic", "google", "ollama"]:
        assert pool.get_orchestrator(name) is pool.get_orchestrator(profile=name)
    assert pool.get_cached_profiles() == ["ollama", "anthropic", "google"]
    assert pool.get_orchestrator("anthropic").profile.name == "anthropic"


def test_when_no_profile_is_named_then_it_is_the_default(pool: OrchestratorPool) -> None:
    assert pool.get_default_orchestrator() is pool.get_orchestrator() is pool.get_orchestrator("default")
    assert pool.get_cached_profiles() == ["default"]


async def test_when_a_profile_is_cleared_then_its_socket_closes_and_the_others_stay(
    pool: OrchestratorPool, server: Server
) -> None:
    old = {name: pool.get_orchestrator(name) for name in NAMES}
    await asyncio.gather(*(orchestrator.run("hi") for orchestrator in old.values()))
    assert server.open == len(NAMES)
    pool.clear_cache(profile="google")
    await asyncio.to_thread(server.wait, lambda: server.open == len(NAMES) - 1)
    assert pool.get_cached_profiles() == [name for name in NAMES if name != "google"]
    assert pool.get_orchestrator("anthropic") is old["anthropic"]
    new = pool.get_orchestrator("google")
    assert new is not old["google"]
    assert (await new.run("hi")).content == Answer().text
    with pytest.raises(ClosedError):
        await old["google"].run("hi")
    pool.clear_cache()
    await asyncio.to_thread(server.wait, lambda: server.open == 0)
    assert pool.get_cached_profiles() == []


def test_when_an_empty_or_unknown_name_is_cleared_then_nothing_is(pool: OrchestratorPool) -> None:
    pool.get_orchestrator("google")
    for name in ["", "nobody"]:
        pool.clear_cache(name)
    assert pool.get_cached_profiles() == ["google"]


@pytest.mark.parametrize("name", ["opnai", "", "nobody", "Default"])
def test_when_a_profile_is_unknown_then_it_is_a_value_error_that_helps(pool: OrchestratorPool, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^Profile '{name}' not found") as caught:
        pool.get_orchestrator(name)
    assert isinstance(caught.value, ProfileNotFoundError)
    if name == "opnai":
        assert "'openai'" in str(caught.value)
    assert pool.get_cached_profiles() == []


@pytest.mark.parametrize("name", WITH_KEY)
def test_when_a_key_is_missing_then_it_is_a_runtime_error_that_names_the_variable(tmp_path: Path, name: str) -> None:
    dialect = next(dialect for dialect in DIALECTS if dialect.name == name)
    write_profiles(tmp_path, x={"provider": name, "model": dialect.model})
    with OrchestratorPool(Settings()) as pool, pytest.raises(RuntimeError) as caught:
        pool.get_orchestrator("x")
    assert str(caught.value).startswith("Failed to create provider for profile 'x'")
    assert dialect.key_variable in str(caught.value)
    assert "simulate" in str(caught.value)
    assert isinstance(caught.value, SecretError)


async def test_when_a_pool_is_shut_down_then_its_sockets_close_and_its_use_is_an_error(
    pool: OrchestratorPool, server: Server
) -> None:
    orchestrators = [pool.get_orchestrator(name) for name in NAMES]
    await asyncio.gather(*(orchestrator.run("hi") for orchestrator in orchestrators))
    assert not pool.closed
    pool.shutdown()  # inside a running loop
    pool.shutdown()
    assert pool.closed
    await asyncio.to_thread(server.wait, lambda: server.open == 0)
    with pytest.raises(ClosedError):
        pool.get_orchestrator("google")
    with pytest.raises(ClosedError):
        pool.get_default_orchestrator()
    for orchestrator in orchestrators:
        with pytest.raises(ClosedError):
            await orchestrator.run("hi")


def test_when_many_threads_shut_a_pool_down_then_all_return(pool: OrchestratorPool, server: Server) -> None:
    for name in NAMES:
        pool.get_orchestrator(name).run_sync("hi")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: pool.shutdown(), range(4)))
    server.wait(lambda: server.open == 0)
    assert pool.closed


async def test_when_a_pool_is_shut_down_under_a_call_then_the_call_ends(pool: OrchestratorPool, server: Server) -> None:
    server.play(faults.cut(Answer(), 2, "silence"))
    streams = [pool.get_orchestrator(name).stream("hi") for name in NAMES]
    for stream in streams:
        assert await anext(aiter(stream))
    await asyncio.to_thread(pool.shutdown)
    for stream in streams:
        assert await asyncio.to_thread(stream.wait, 3)
    await asyncio.to_thread(server.wait, lambda: server.open == 0)
    assert {row["status"] for row in rows()} <= {"interrupted", "partial", "error"}
    assert len(rows()) == len(NAMES)


def test_when_a_pool_is_left_then_it_is_closed(pool: OrchestratorPool, server: Server) -> None:
    with pool as same:
        assert same is pool
        assert pool.get_orchestrator("ollama").run_sync("hi").content == Answer().text
    assert pool.closed
    server.wait(lambda: server.open == 0)


async def test_when_a_pool_is_left_asynchronously_then_it_is_closed(pool: OrchestratorPool, server: Server) -> None:
    async with pool as same:
        assert same is pool
        assert (await pool.get_orchestrator("ollama").run("hi")).content == Answer().text
    assert pool.closed
    await asyncio.to_thread(server.wait, lambda: server.open == 0)


async def test_when_an_agent_is_closed_then_its_socket_is(pool: OrchestratorPool, server: Server) -> None:
    async with await Agent.create(profile="openai") as agent:
        await agent.run("hi")
        assert server.open == 1
    await asyncio.to_thread(server.wait, lambda: server.open == 0)
    await agent.close()
    with pytest.raises(ClosedError):
        await agent.run("hi")
    assert not pool.closed


async def test_when_an_agents_profile_is_unknown_then_it_is_the_same_error(pool: OrchestratorPool) -> None:
    assert not pool.closed
    with pytest.raises(ValueError, match=r"^Profile 'nobody' not found"):
        await Agent.create(profile="nobody")


def test_when_one_orchestrator_is_used_from_many_loops_then_all_are_answered(
    pool: OrchestratorPool, server: Server
) -> None:
    def work(name: str) -> list[str]:
        async def ask() -> list[str]:
            orchestrator = pool.get_orchestrator(name)
            replies = await asyncio.gather(*(orchestrator.run("hi") for _ in range(5)))
            return [reply.content for reply in replies]

        return asyncio.run(ask())

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(work, NAMES * 2))
    assert results == [[Answer().text] * 5] * 2 * len(NAMES)
    assert len(server.requests) == 10 * len(NAMES)


async def test_when_things_are_shown_then_no_key_is(pool: OrchestratorPool, server: Server) -> None:
    server.play(faults.echo_key())
    shown: list[object] = [pool]
    for name in WITH_KEY:
        orchestrator = pool.get_orchestrator(name)
        agent = await Agent.create(profile=name)
        stream = orchestrator.stream("hi")
        assert await asyncio.to_thread(stream.wait, 5)
        with pytest.raises(VictorError) as caught:
            await agent.run("hi")
        assert_clean(caught.value)
        shown += [orchestrator, agent, agent.chat(), stream, orchestrator.profile, vars(orchestrator.profile)]
    assert CANARY not in repr(shown)
    assert {row["status"] for row in rows()} == {"error"}


@pytest.mark.parametrize("name", NAMES)
def test_when_an_agent_is_dropped_then_its_socket_closes_without_a_word(
    pool: OrchestratorPool, server: Server, name: str
) -> None:
    agent = Agent.create_sync(profile=name)
    agent.run_sync("hi")
    assert (server.open, pool.closed) == (1, False)
    del agent
    gc.collect()  # an unclosed client would warn here, and a warning is an error
    server.wait(lambda: server.open == 0)


@pytest.mark.parametrize("name", NAMES)
def test_when_the_session_ends_then_agents_that_nobody_closed_are_closed(
    pool: OrchestratorPool, server: Server, name: str
) -> None:
    agent = Agent.create_sync(profile=name)
    agent.run_sync("hi")
    session().close()
    server.wait(lambda: server.open == 0)
    with pytest.raises(ClosedError):
        agent.run_sync("hi")
    assert not pool.get_cached_profiles()
