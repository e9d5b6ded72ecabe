"""Many calls at once, ledger and all, against the openai SDK: a fan-out, and a map of a frame.

    python tests/benchmarks/bench_map.py [ROWS]        (10,000 unless given)

Each answer takes 200 ms. A fan-out is compared with the SDK as it comes, all calls at once; a map with the SDK on the
same aiohttp transport, 256 in flight, since its own one takes longer the more are in flight. Every call must have
succeeded, and be in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from benchmarks.server import KEYS, allow_sockets, profile, server  # noqa: E402 - found beside this folder

AT_ONCE = 256
DELAY = "delay=0.2"


def prepare(url: str, folder: str) -> str:
    """Write profiles for a server that takes its time, and return the address of its openai."""
    allow_sockets()
    wanted = profile("openai", url, DELAY, retries=0, timeout={"connect": 120})
    Path(folder, "profiles.yaml").write_text(json.dumps({"profiles": {"fast": wanted}}), encoding="utf-8")
    os.chdir(folder)
    return str(wanted["base_url"])


async def bare(base_url: str, calls: int, at_once: int | None = None) -> float:
    """Return the seconds that the SDK takes; where it is limited, on the transport that ours has."""
    from httpx2 import AsyncClient
    from openai import AsyncOpenAI

    more: dict[str, Any] = {}
    if at_once is not None:
        import aiohttp
        from httpx_aiohttp.httpx2 import AiohttpTransport

        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        more["http_client"] = AsyncClient(transport=AiohttpTransport(client=session), timeout=60)
    limit = asyncio.Semaphore(at_once or calls)
    async with AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0, timeout=600, **more) as client:

        async def ask(number: int) -> None:
            messages: Any = [{"role": "user", "content": f"Call {number}"}]
            async with limit:
                await client.chat.completions.create(model="gpt-4o-mini", messages=messages, max_completion_tokens=100)

        began = time.perf_counter()
        await asyncio.gather(*map(ask, range(calls)))
        return time.perf_counter() - began


def fan_out(calls: int) -> float:
    """Return the seconds of a fan-out of so many prompts."""
    from victor_nb import session

    ledger, pool = session().ledger, session().pool
    before = ledger.total().calls
    began = time.perf_counter()
    replies = pool.fan_out_sync([f"Call {number}" for number in range(calls)], ["fast"], progress=False)
    took = time.perf_counter() - began
    assert len(replies.ok) == calls == ledger.total().calls - before, (len(replies.ok), replies.failed)
    return took


def mapped(rows: int, turn: int) -> float:
    """Return the seconds of a map of so many rows, its frame and the writing of its rows included."""
    import pandas as pd

    from victor_nb import session

    frame = pd.DataFrame({"text": [f"Call {number} of turn {turn}" for number in range(rows)]})
    ledger, before = session().ledger, session().ledger.total().calls
    began = time.perf_counter()
    done = session().pool.map_sync(
        frame, "{{ text }}", profile="fast", out="said", concurrency=AT_ONCE, reuse="off", progress=False
    )
    ledger.flush()
    took = time.perf_counter() - began
    assert (done["said_status"] == "ok").all()
    assert ledger.total().calls - before == rows
    return took


def measure_fan_out(url: str, sizes: list[int], *, rounds: int = 3) -> dict[int, tuple[float, float]]:
    """Return the seconds of ours and of the SDK by number of calls, the best of some rounds in turn."""
    with tempfile.TemporaryDirectory() as folder:
        base_url = prepare(url, folder)
        fan_out(2)
        asyncio.run(bare(base_url, 2))
        found: dict[int, tuple[float, float]] = {}
        for calls in sizes:
            both = [(fan_out(calls), asyncio.run(bare(base_url, calls))) for _ in range(rounds)]
            found[calls] = min(ours for ours, _ in both), min(theirs for _, theirs in both)
        os.chdir(HERE)
        return found


def measure_map(url: str, rows: int, *, rounds: int = 2) -> tuple[float, float]:
    """Return the seconds of ours and of the SDK on the same transport."""
    with tempfile.TemporaryDirectory() as folder:
        base_url = prepare(url, folder)
        mapped(2, -1)
        asyncio.run(bare(base_url, 2, AT_ONCE))
        both = [(mapped(rows, turn), asyncio.run(bare(base_url, rows, AT_ONCE))) for turn in range(rounds)]
        os.chdir(HERE)
        return min(ours for ours, _ in both), min(theirs for _, theirs in both)


def main() -> None:
    """Print both sides and their ratios."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with server() as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {**KEYS, "VICTOR_MODE": "live", "VICTOR_LEDGER": f"{folder}/rows.sqlite", "VICTOR_CACHE": "off"}
        from victor_nb.kernel import reset

        for calls, (ours, theirs) in measure_fan_out(url, [4, 100, 1_000]).items():
            print(f"fan-out of {calls:,}: {ours:.2f} s, the SDK {theirs:.2f} s: {ours / theirs:.2f}x")
        reset()
        ours, theirs = measure_map(url, rows)
        print(f"map of {rows:,} rows: {ours:.1f} s, the SDK {theirs:.1f} s: {ours / theirs:.2f}x")
        reset()


if __name__ == "__main__":
    main()
