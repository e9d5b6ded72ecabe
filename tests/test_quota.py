"""Bulk work and the limits of hosts: attempts wait for turns, refusals are waited out, and no call is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from servers import OPENAI, Answer, Server, faults
from victor_nb import OrchestratorPool, Settings
from victor_nb.calls.quota import Share
from victor_nb.errors import QuotaError, RateLimitError, RequestTimeoutError, VictorError
from victor_nb.kernel import session
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import Exchange, Request
    from servers.exchange import Act
    from victor_nb.values import Reply

pytest_plugins = ["workbench_fixtures"]


@pytest.fixture
def pool(tmp_path: Path, server: Server, keys: str) -> Iterator[OrchestratorPool]:
    """Return a pool of two profiles at one server, which retry nothing by themselves."""
    assert keys
    desk: dict[str, Any] = {
        "provider": "openai",
        "model": OPENAI.model,
        "base_url": OPENAI.base_url(server.url),
        "retries": 0,
        "timeout": 5,
    }
    write_profiles(tmp_path, desk=desk, narrow={**desk, "concurrency": 2})
    with OrchestratorPool(Settings()) as made:
        yield made


def prompt_of(request: Request) -> str:
    """Return the prompt of a request."""
    return str(request.json["messages"][-1]["content"])


async def ask(
    pool: OrchestratorPool, prompts: list[str], share: Share, profile: str = "desk"
) -> list[Reply | BaseException]:
    """Ask all of them at once, as one map does."""
    orchestrator = pool.get_orchestrator(profile)

    async def crowd() -> list[Reply | BaseException]:
        calls = [orchestrator.call(prompt, {}, stream=False, quota=share) for prompt in prompts]
        return await asyncio.gather(*(call.run() for call in calls), return_exceptions=True)

    return await session().runtime.loop.call(crowd)


def first_refused(count: int, refusal: Act) -> Callable[[Request], Act]:
    """Return what answers all requests but the first ones."""
    seen: list[Request] = []

    def answer(request: Request) -> Act:
        seen.append(request)
        return refusal if len(seen) <= count else Answer()

    return answer


async def test_when_a_host_refuses_then_all_wait_once_and_no_retry_is_used(
    pool: OrchestratorPool, server: Server
) -> None:
    server.answer = first_refused(3, faults.status(429, retry_after="1"))
    replies = await ask(pool, [f"Row {i}" for i in range(12)], Share())
    assert [str(reply) for reply in replies] == [Answer().text] * 12
    arrived = [request.arrived for request in server.requests]
    refused = [row for row in rows() if row["http_status"] == 429]
    assert len(arrived) == len(rows()) == 12 + len(refused)
    later = [at for at in arrived if at > arrived[0] + 0.5]
    assert len(later) >= 3
    assert min(later) - arrived[0] >= 1.0


async def test_when_a_wait_is_longer_than_the_timeout_then_the_time_stands_still_meanwhile(
    pool: OrchestratorPool, server: Server
) -> None:
    pool.get_orchestrator("desk")
    server.answer = first_refused(1, faults.status(429, retry_after="1"))
    orchestrator = pool.get_orchestrator("desk")
    call = orchestrator.call("Row", {"timeout": 0.7}, stream=False, quota=Share())
    reply = await session().runtime.loop.call(call.run)
    assert reply.attempts == 2
    server.play(faults.silence())
    server.answer = lambda request: faults.silence()
    call = orchestrator.call("Row", {"timeout": 0.3}, stream=False, quota=Share())
    with pytest.raises(RequestTimeoutError):
        await session().runtime.loop.call(call.run)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (faults.status(429, "You exceeded your current quota: insufficient_quota"), QuotaError),
        (faults.status(429, retry_after="3600"), RateLimitError),
    ],
    ids=["no money", "an hour"],
)
async def test_when_waiting_does_not_help_then_it_fails_at_once(
    pool: OrchestratorPool, server: Server, refusal: Act, kind: type[VictorError]
) -> None:
    server.play(refusal)
    began = time.monotonic()
    replies = await ask(pool, ["Row"] * 3, Share())
    assert [type(reply) for reply in replies] == [kind] * 3
    assert time.monotonic() - began < 2


async def test_when_limits_are_set_then_no_more_are_under_way(pool: OrchestratorPool, server: Server) -> None:
    most = {"all": 0}
    under_way: list[int] = []

    async def slow(exchange: Exchange) -> None:
        under_way.append(1)
        most["all"] = max(most["all"], len(under_way))
        await asyncio.sleep(0.02)
        under_way.pop()
        await Answer()(exchange)

    server.answer = lambda _: slow
    await ask(pool, ["Row"] * 12, Share(concurrency=3))
    assert most["all"] == 3
    most["all"] = 0
    await ask(pool, ["Row"] * 12, Share(), "narrow")
    assert most["all"] == 2


async def test_when_two_maps_share_a_host_then_they_take_turns(pool: OrchestratorPool, server: Server) -> None:
    server.answer = lambda _: Answer(delay=0.01)
    first, second = Share(), Share()
    await asyncio.gather(
        ask(pool, [f"a{i}" for i in range(40)], first, "narrow"),
        ask(pool, [f"b{i}" for i in range(10)], second, "narrow"),
    )
    asked = [prompt_of(request)[0] for request in server.requests]
    last = len(asked) - asked[::-1].index("b")
    assert last <= 26


async def test_when_calls_are_cancelled_while_they_wait_then_the_others_go_on(
    pool: OrchestratorPool, server: Server
) -> None:
    async def late(exchange: Exchange) -> None:
        await asyncio.to_thread(cancelled.wait)
        await Answer()(exchange)

    cancelled = threading.Event()
    server.answer = lambda _: late
    orchestrator, share = pool.get_orchestrator("narrow"), Share()

    async def crowd() -> list[Any]:
        tasks = [
            asyncio.create_task(orchestrator.call(f"Row {i}", {}, stream=False, quota=share).run()) for i in range(8)
        ]
        await asyncio.to_thread(server.wait, lambda: len(server.requests) == 2)
        for task in tasks[::2]:
            task.cancel()
        cancelled.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = await session().runtime.loop.call(crowd)
    assert [str(each) for each in found[1::2]] == [Answer().text] * 4
    assert [type(each) for each in found[::2]] == [asyncio.CancelledError] * 4
    assert share.under_way == 0
