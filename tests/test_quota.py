"""Bulk work and the limits of hosts: attempts wait for turns, refusals are waited out, and no call is lost."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from statistics import mean
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from benchmarks.limiters import LIMITERS, bucket, fixed, trial
from servers import OPENAI, Answer, Server, Tokens, faults
from victor_nb import OrchestratorPool, Settings
from victor_nb.calls.quota import Share
from victor_nb.calls.rates import Bucket
from victor_nb.errors import QuotaError, RateLimitError, RequestTimeoutError, VictorError
from victor_nb.kernel import session
from victor_nb.providers.refusals import StatedLimit, stated_limits
from victor_nb.wire.clock import simulated
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
    replies = await ask(pool, ["Row"] * 3, Share())
    assert [type(reply) for reply in replies] == [kind] * 3
    assert len(server.requests) == 3


async def test_when_limits_are_set_then_no_more_are_under_way(pool: OrchestratorPool, server: Server) -> None:
    most = {"all": 0}
    under_way: list[int] = []

    async def slow(exchange: Exchange) -> None:
        under_way.append(1)
        most["all"] = max(most["all"], len(under_way))
        await asyncio.sleep(0.2)
        under_way.pop()
        await Answer()(exchange)

    server.answer = lambda _: slow
    await ask(pool, ["Row"] * 9, Share(concurrency=3))
    assert most["all"] == 3
    most["all"] = 0
    await ask(pool, ["Row"] * 6, Share(), "narrow")
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


# --- the arithmetic, by a clock of its own ---


@pytest.mark.parametrize("hint", ["no", "whole", "exact"])
@pytest.mark.parametrize("limit", [5, 20, 100])
@pytest.mark.parametrize("kind", ["bucket", "fixed window", "sliding window"])
def test_when_a_host_admits_a_rate_then_it_is_found_and_used(kind: str, limit: int, hint: str) -> None:
    make, burst = LIMITERS[kind]
    found = [
        trial(make(limit, 1, burst), limit * 10, hint=hint, seed=seed) for seed in range(1, 4 if limit == 20 else 2)
    ]
    assert {each.admitted for each in found} == {limit * 10}
    used = mean(10 / each.seconds for each in found)
    if limit == 20:
        assert used > 0.91
    else:  # a second lost, as a whole one is waited, is a tenth of the time
        assert used > (0.7 if hint == "whole" and limit == 100 else 0.85)
    assert mean(each.refused / len(each.sent) for each in found) < 0.05


@pytest.mark.parametrize("kind", ["bucket", "small bucket", "fixed window", "sliding window"])
def test_when_answers_take_a_second_then_as_many_are_under_way_as_the_rate_needs(kind: str) -> None:
    make, burst = LIMITERS[kind]
    found = trial(make(20, 1, burst), 600, hint="exact", latency=1.0, seed=1)
    assert 30 / found.seconds > 0.88  # 0.7, were fewer under way after a refusal
    assert found.refused / len(found.sent) < 0.03


@pytest.mark.parametrize("hint", ["no", "whole"])
def test_when_a_host_admits_so_many_a_minute_then_the_second_is_not_taken_for_the_minute(hint: str) -> None:
    found = trial(fixed(60, 60, 1), 180, hint=hint, seed=1)
    assert found.seconds < 180
    assert found.refused < 25


@pytest.mark.parametrize(
    ("part", "limit", "latency"),
    [(0.02, None, 0.05), (0.08, None, 0.05), (0.2, None, 0.05), (0.08, 20, 0.05), (0.08, None, 1.0), (0.08, 20, 1.0)],
)
def test_when_a_host_refuses_some_whatever_the_rate_then_it_is_asked_on(
    part: float, limit: int | None, latency: float
) -> None:
    def moody(now: float) -> float:
        return 0.5 if chance.random() < part else admit(now) if limit else 0.0

    chance = random.Random(1)
    admit = bucket(limit or 1, 1, 1)
    found = trial(moody, 1_000, latency=latency, seed=1)
    assert found.seconds < 200  # twenty minutes and more, if each refusal were learned from
    assert found.refused < (part + 0.1) * 1_000 / (1 - part)


def test_when_a_host_states_limits_then_they_are_read() -> None:
    openai = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "15000",
        "x-ratelimit-reset-tokens": "1m0.5s",
        "retry-after": "2",
    }
    requests, tokens = stated_limits(httpx2.Headers(openai))
    assert requests == StatedLimit("requests", 500, 499, 0.12)
    assert tokens == StatedLimit("tokens", 30_000, 15_000, 60.5)
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
    anthropic = {
        "anthropic-ratelimit-input-tokens-limit": "1000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": soon,
    }
    (limit,) = stated_limits(httpx2.Headers(anthropic))
    assert (limit.name, limit.limit, limit.remaining) == ("input-tokens", 1000, 0)
    assert limit.reset == pytest.approx(30, abs=2)
    draft = {"ratelimit-limit": "10", "ratelimit-remaining": "3", "ratelimit-reset": "7"}
    assert stated_limits(httpx2.Headers(draft)) == [StatedLimit("requests", 10, 3, 7)]
    odd = {"x-ratelimit-limit": "unlimited", "x-ratelimit-remaining": "none", "x-ratelimit-reset-tokens": "soon"}
    assert not stated_limits(httpx2.Headers(odd))


def test_when_a_limit_is_used_up_then_it_says_how_long_to_wait() -> None:
    minute = Bucket.a_minute(600)
    sent, now = 0, 0.0
    while now < 60:
        wait = minute.delay(now, 1)
        if wait:
            now += wait
        else:
            minute.take(now, 1)
            sent += 1
    assert 560 <= sent <= 600
    bucket = Bucket(1, 1)
    bucket.state(1000, 400, 60, since=0, taken=0)
    assert bucket.delay(0, 300) == 0
    bucket.take(0, 300)
    assert bucket.delay(0, 300) == pytest.approx(20)
    bucket.take(0, -250)  # it used less
    assert bucket.delay(0, 300) == 0
    assert bucket.delay(0, 5000) == pytest.approx(65)  # more than it holds: once it is full
    mark = bucket.taken
    bucket.take(1, 100)
    bucket.state(1000, 500, 50, since=1, taken=mark)
    assert bucket.delay(1, 400) == 0
    assert bucket.delay(1, 500) == pytest.approx(10)


async def test_when_a_host_states_its_limits_then_nothing_is_refused(pool: OrchestratorPool, server: Server) -> None:
    left, at = 8.0, time.monotonic()

    def answer(_: Request) -> Act:
        nonlocal left, at
        now = time.monotonic()
        left, at = min(8.0, left + (now - at) * 20), now
        if left < 1:
            return faults.status(429)
        left -= 1
        stated = {"limit": "8", "remaining": str(int(left)), "reset": f"{(8 - left) / 20:.3f}s"}
        headers = {f"x-ratelimit-{name}-requests": value for name, value in stated.items()}

        async def act(exchange: Exchange) -> None:
            body = OPENAI.plain(Answer(), exchange.request)
            await exchange.whole(200, {"content-type": "application/json", **headers}, body)

        return act

    server.answer = answer
    await ask(pool, ["Row"], Share())
    replies = await ask(pool, [f"Row {i}" for i in range(30)], Share())
    assert [str(reply) for reply in replies] == [Answer().text] * 30
    assert sum(row["http_status"] == 429 for row in rows()) <= 3


async def test_when_tokens_are_limited_then_what_was_set_aside_and_not_used_is_free_again(
    pool: OrchestratorPool, server: Server
) -> None:
    server.play(Answer(tokens=Tokens(input=10, output=10)))
    share = Share(tpm=6_000)
    orchestrator = pool.get_orchestrator("desk")

    async def crowd() -> list[Reply]:
        calls = [orchestrator.call("Row", {"max_tokens": 500}, stream=False, quota=share) for _ in range(30)]
        return await asyncio.gather(*(call.run() for call in calls))

    began = time.monotonic()
    replies = await session().runtime.loop.call(crowd)
    assert len(replies) == 30
    assert time.monotonic() - began < 100  # of 500 tokens each it would be two and a half minutes


def test_when_many_calls_are_simulated_then_their_seconds_are_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write_profiles(tmp_path, desk={"provider": "openai", "model": OPENAI.model})
    walls: set[float] = set()
    with OrchestratorPool(Settings()) as pool:
        orchestrator = pool.get_orchestrator("desk")
        for _ in range(2):
            share = Share(concurrency=2)

            async def crowd(share: Share = share) -> float:
                with simulated(session().runtime.timeline) as clock:
                    began = clock.now
                    calls = [orchestrator.call(f"Row {i}", {}, stream=False, quota=share) for i in range(6)]
                    await asyncio.gather(*(call.run() for call in calls))
                    return round(clock.now - began, 6)

            walls.add(session().runtime.loop.start(crowd).result())
    assert len(walls) == 1
    assert walls.pop() > 0
