"""The session and the runtime below it: one of each to a kernel, also after a fork, and those that a user makes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from servers import Answer, Server
from victor_nb import Agent, OrchestratorPool, Session, Settings, Single, session
from victor_nb.errors import ClosedError
from victor_nb.kernel import reset, session_of
from victor_nb.runtime import Runtime, current, runtime_of
from workbench import write_profiles

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")  # of a fork while there are threads
from victor_nb import session

def ask():
    reply = session().pool.get_orchestrator("fast").run_sync("x")
    return bool(reply.content) and session().last is reply and len(session().ledger.rows()) == 1

before = session()
good = ask()
child = os.fork()
if child == 0:
    alone = before.closed and session() is not before and session().runtime is not before.runtime
    os._exit(0 if good and alone and ask() else 1)
_, status = os.waitpid(child, 0)
after = session().pool.get_orchestrator("fast").run_sync("y")
print(os.waitstatus_to_exitcode(status), session() is before, len(before.ledger.rows()), bool(after.content))
"""


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_when_a_process_forks_then_parent_and_child_each_have_a_session_that_works(tmp_path: Path) -> None:
    write_profiles(tmp_path, fast={"provider": "openai", "model": "gpt-4o-mini"})
    environment = os.environ | {"VICTOR_MODE": "simulate", "VICTOR_SIM_SPEED": "0"}
    ran = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert (ran.stdout.strip(), ran.stderr) == ("0 True 2 True", "")
