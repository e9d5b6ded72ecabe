"""What an answer costs at each of four providers: CPU of this process per streamed piece and per plain call.

    python tests/benchmarks/bench_stream.py [CHUNKS]        (2,000 unless given)

A server in a process of its own sends the same answers to both sides, which take turns in one run. Ours is a whole
call: text to the user, usage, price, row. The two SDKs only read, over their own transports; where there is none,
httpx2 and json do. What counts are the ratios: a piece is to cost at most 0.5 of openai's, at most 1.0 of anthropic's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from httpx2 import AsyncClient  # noqa: E402 - as below

from benchmarks.server import KEYS, PROFILES, SAID, WORD, server  # noqa: E402 - found beside this folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PROMPT = "Name the river that flows through Cologne."


class Sides(NamedTuple):
    """Microseconds of CPU, the best of all rounds: ours, and the SDK's or the plain client's."""

    ours: float
    theirs: float


@cache
def once(kind: Callable[..., Any], **how: Any) -> Any:  # noqa: ANN401 - clients of four kinds
    """Return a client, one for each address."""
    return kind(**how)


async def by_openai(url: str) -> int:
    """Return the length of an answer that the openai SDK streams."""
    from openai import AsyncOpenAI

    messages: Any = [{"role": "user", "content": PROMPT}]
    more: Any = {"stream_options": {"include_usage": True}}
    client = once(AsyncOpenAI, base_url=f"{url}/v1", max_retries=0)
    chunks = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True, **more)
    return sum([len(each.choices[0].delta.content or "") async for each in chunks if each.choices])


async def by_anthropic(url: str) -> int:
    """Return the length of an answer that the anthropic SDK streams."""
    from anthropic import AsyncAnthropic

    messages: Any = [{"role": "user", "content": PROMPT}]
    client = once(AsyncAnthropic, base_url=url, max_retries=0)
    events = await client.messages.create(model="claude-haiku-4-5", messages=messages, max_tokens=100, stream=True)
    return sum(
        [
            len(event.delta.text)
            async for event in events
            if event.type == "content_block_delta" and event.delta.type == "text_delta"
        ]
    )


async def by_google(url: str) -> int:
    """Return the length of an answer of Gemini's, as httpx2 and json read it."""
    length, path = 0, f"{url}/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    asked = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    async with once(AsyncClient, base_url=url, timeout=60).stream("POST", path, json=asked) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                length += len(json.loads(line[5:])["candidates"][0]["content"]["parts"][0]["text"])
    return length


async def by_ollama(url: str) -> int:
    """Return the length of an answer of Ollama's, as httpx2 and json read it."""
    length, asked = 0, {"model": "llama3.2", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    async with once(AsyncClient, base_url=url, timeout=60).stream("POST", f"{url}/api/chat", json=asked) as answer:
        async for line in answer.aiter_lines():
            length += len(json.loads(line)["message"]["content"]) if line else 0
    return length


async def google_call(url: str) -> int:
    """Return the length of a plain answer of Gemini's."""
    asked = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    answer = await once(AsyncClient, base_url=url, timeout=60).post(
        f"{url}/v1beta/models/gemini-2.5-flash:generateContent", json=asked
    )
    return len(answer.json()["candidates"][0]["content"]["parts"][0]["text"])


async def ollama_call(url: str) -> int:
    """Return the length of a plain answer of Ollama's."""
    asked = {"model": "llama3.2", "stream": False, "messages": [{"role": "user", "content": PROMPT}]}
    answer = await once(AsyncClient, base_url=url, timeout=60).post(f"{url}/api/chat", json=asked)
    return len(answer.json()["message"]["content"])


STREAMS: dict[str, Callable[[str], Awaitable[int]]] = {
    "openai": by_openai,
    "anthropic": by_anthropic,
    "google": by_google,
    "ollama": by_ollama,
}
CALLS: dict[str, Callable[[str], Awaitable[int]]] = {"google": google_call, "ollama": ollama_call}
"""Those of the SDKs are in `bench_calls`."""


async def cpu(read: Callable[[], Awaitable[int]], length: int, times: int = 1) -> float:
    """Return the microseconds of CPU of one answer."""
    began = time.process_time()
    for _ in range(times):
        assert await read() == length
    return (time.process_time() - began) / times * 1e6


async def compare(url: str, *, chunks: int, calls: int, rounds: int) -> tuple[dict[str, Sides], dict[str, Sides]]:
    """Return what a piece costs, and what a call does, by provider."""
    from victor_nb import Agent, session

    pieces, whole = dict[str, Sides](), dict[str, Sides]()
    for name, theirs in STREAMS.items():
        known, wants = PROFILES[name], f"{url}/chunks={chunks}"
        agent = await Agent.create(provider=name, model=known["model"], base_url=wants + known["base_url"])

        async def stream() -> int:
            return sum([len(piece) async for piece in agent.stream(PROMPT)])  # noqa: B023

        best = Sides(float("inf"), float("inf"))
        for _ in range(rounds + 1):
            ours = await cpu(stream, chunks * len(WORD))
            best = Sides(min(best.ours, ours), min(best.theirs, await cpu(lambda: theirs(wants), chunks * len(WORD))))  # noqa: B023
        pieces[name] = Sides(best.ours / chunks, best.theirs / chunks)
        if name in CALLS:
            agent = await Agent.create(provider=name, model=known["model"], base_url=url + known["base_url"])
            whole[name] = await call_cost(agent, lambda: CALLS[name](url), calls=calls, rounds=rounds)  # noqa: B023
    session().ledger.flush()
    return pieces, whole


async def call_cost(agent: Any, theirs: Callable[[], Awaitable[int]], *, calls: int, rounds: int) -> Sides:  # noqa: ANN401 - an Agent
    """Return what a plain call costs, the writing of its row included."""
    from victor_nb import session

    async def ask() -> int:
        return len((await agent.run(PROMPT)).content)

    async def ours() -> float:
        began = time.process_time()
        await cpu(ask, len(SAID), calls)
        session().ledger.flush()
        return (time.process_time() - began) / calls * 1e6

    best = Sides(float("inf"), float("inf"))
    for _ in range(rounds + 1):
        best = Sides(min(best.ours, await ours()), min(best.theirs, await cpu(theirs, len(SAID), calls)))
    return best


def measure(
    url: str | None = None, *, chunks: int = 2_000, calls: int = 200, rounds: int = 5
) -> tuple[dict[str, Sides], dict[str, Sides]]:
    """Measure in this process, with a ledger and keys of its own; without the address of a server, with a new one."""
    if url is None:
        with server() as found:
            return measure(found, chunks=chunks, calls=calls, rounds=rounds)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**KEYS, "VICTOR_MODE": "live", "VICTOR_LEDGER": str(Path(folder, "rows.sqlite"))}
        from victor_nb.kernel import reset

        found = asyncio.run(compare(url, chunks=chunks, calls=calls, rounds=rounds))
        reset()
        return found


def main() -> None:
    """Print the CPU per piece and per call of both sides, and their ratio, for each provider."""
    pieces, whole = measure(chunks=int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
    for what, found in (("piece", pieces), ("call", whole)):
        for name, (ours, theirs) in found.items():
            print(f"{name}: {ours:.1f} us a {what}, without us {theirs:.1f} us: {ours / theirs:.2f}x")


if __name__ == "__main__":
    main()
