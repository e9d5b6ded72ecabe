"""When the simulator's tokens come, and that nothing comes once nobody wants them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import openai
import pytest

from victor_nb.wire.pace import Chance, pace_of, size_of, split_tokens
from victor_nb.wire.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

BODY: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Explain tides."}], "stream": True}
URL = "http://sim.test/v1/chat/completions"


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def arrivals(speed: float, **body: Any) -> list[float]:
    """Return the seconds after which the lines of an answer came."""
    start = time.perf_counter()
    async with (
        httpx2.AsyncClient(transport=Simulator(speed=speed)) as client,
        client.stream("POST", URL, json=BODY | body) as response,
    ):
        return [time.perf_counter() - start async for line in response.aiter_lines() if line]


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("gpt-4o-mini", "small"),
        ("gemini-3.8-flash", "small"),
        ("qwen2.5-coder:7b", "small"),
        ("claude-sonnet-5-5", "medium"),
        ("gpt-4o", "medium"),
        ("qwen3:32b", "medium"),
        ("claude-opus-5-5", "large"),
        ("gemini-2.5-pro", "large"),
        ("llama3.3:70b", "large"),
        ("", "medium"),
    ],
)
def test_when_a_model_is_named_then_its_size_and_pace_are_believable(model: str, size: str) -> None:
    paces = [pace_of(model, Chance(str(seed))) for seed in range(50)]
    assert size_of(model) == size
    assert all(0.15 <= pace.ttft <= 0.8 and 40 <= pace.rate <= 180 for pace in paces)
    assert len({pace.ttft for pace in paces}) == 50


def test_when_texts_fall_into_tokens_then_nothing_is_lost() -> None:
    text = "Straße 12,345 — 量子コンピュータ\n\n\n```python\nprint('x' * 3)\n```  👩‍👩‍👧"
    assert "".join(split_tokens(text)) == text
    english = "The quick brown fox jumps over the lazy dog, and then it sleeps. " * 20
    assert 3 < len(english) / len(split_tokens(english)) < 5.5


def test_when_speed_is_zero_then_a_thousand_streams_take_no_waiting() -> None:
    async def work() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(arrivals(0, seed=seed, max_tokens=2) for seed in range(1000)))
        return time.perf_counter() - start

    assert run(work()) < 150  # at their pace one after the other: ten minutes


def test_when_speed_is_one_then_pieces_come_over_time() -> None:
    times = run(arrivals(1, max_tokens=40))
    assert times[0] >= 0.3 - 0.02  # a medium model's first token
    assert times[-1] - times[0] >= 40 / 110 - 0.05
    assert times == sorted(times)


def test_when_speed_is_a_fraction_then_waits_are_that_fraction() -> None:
    slow = run(arrivals(0.5, max_tokens=60))[-1]
    pace_at_one = 2 * slow
    assert pace_at_one + 0.05 >= 0.3 + 60 / 110


def test_when_the_plain_answer_takes_time_then_it_waits_for_the_last_token() -> None:
    async def work() -> float:
        start = time.perf_counter()
        async with httpx2.AsyncClient(transport=Simulator(speed=0.5)) as client:
            await client.post(URL, json=BODY | {"stream": False, "max_tokens": 40})
        return time.perf_counter() - start

    assert run(work()) >= 0.5 * (0.3 + 40 / 110) - 0.02


def test_when_the_read_timeout_is_shorter_than_the_answer_then_it_times_out() -> None:
    async def work() -> None:
        async with httpx2.AsyncClient(transport=Simulator(speed=50), timeout=0.05) as client:
            with pytest.raises(httpx2.ReadTimeout):
                await client.post(URL, json=BODY | {"stream": False})
            async with client.stream("POST", URL, json=BODY) as response:
                with pytest.raises(httpx2.ReadTimeout):
                    await response.aread()
        async with httpx2.AsyncClient(transport=Simulator(speed=50)) as client:
            sdk = openai.AsyncOpenAI(api_key="none", http_client=client, max_retries=0, timeout=0.05)
            with pytest.raises(openai.APITimeoutError):
                await sdk.chat.completions.create(model="gpt-4o", messages=BODY["messages"])

    run(work())


def test_when_a_task_is_cancelled_then_it_ends_at_once_and_leaves_nothing_behind() -> None:
    async def work() -> int:
        async with httpx2.AsyncClient(transport=Simulator(speed=1000), timeout=None) as client:
            for stream in (True, False):
                asking = asyncio.ensure_future(client.post(URL, json=BODY | {"stream": stream}))
                await asyncio.sleep(0.05)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(asking, 60)
        return len(asyncio.all_tasks())

    assert run(work()) == 1


def test_when_a_stream_is_closed_while_another_task_waits_then_the_wait_ends() -> None:
    async def work() -> bytes:
        async with (
            httpx2.AsyncClient(transport=Simulator(speed=1000), timeout=None) as client,
            client.stream("POST", URL, json=BODY) as response,
        ):
            reading = asyncio.ensure_future(response.aread())
            await asyncio.sleep(0.05)
            await response.stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
            return await asyncio.wait_for(reading, 60)

    assert run(work()) == b""


def test_when_a_reader_leaves_early_then_the_rest_is_never_written() -> None:
    async def work() -> int:
        async with httpx2.AsyncClient(transport=Simulator(speed=0)) as client:
            sdk = openai.AsyncOpenAI(api_key="none", http_client=client, max_retries=0)
            seen = 0
            async with await sdk.chat.completions.create(**BODY) as stream:
                async for _ in stream:
                    seen += 1
                    if seen == 3:
                        break
            return seen

    assert run(work()) == 3
