"""Many calls at once, ledger and all, against the openai SDK: a fan-out, and a map of a frame or of a generator.

    python tests/benchmarks/bench_map.py [ROWS] [ROUNDS]      fan-outs, then a map of 10,000 rows, three times
    python tests/benchmarks/bench_map.py generator [ROWS]     a map of 100,000 rows out of a generator: its memory

Each answer takes 200 ms. A fan-out is compared with the SDK as it comes, all calls at once; a map with the SDK on the
same aiohttp transport, 256 in flight, since its own one takes longer the more are in flight: wall, CPU and memory, each
side in a process of its own. The sides take turns, and what counts is their ratio. Every call must have succeeded, and
frame and ledger must be exact.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from benchmarks.server import KEYS, allow_sockets, profile, server  # noqa: E402 - found beside this folder

AT_ONCE = 256
DELAY = "delay=0.2"


# --- a fan-out ---


async def bare(base_url: str, calls: int) -> float:
    """Return the seconds that the SDK takes as it comes."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="none", base_url=base_url, max_retries=0, timeout=600) as client:

        async def ask(number: int) -> None:
            messages: Any = [{"role": "user", "content": f"Call {number}"}]
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


def write_profile(url: str) -> str:
    """Write a profile of a server that takes its time, and return the address of its openai."""
    wanted = profile("openai", url, DELAY, retries=0, timeout={"connect": 120, "total": 600})
    Path("profiles.yaml").write_text(json.dumps({"profiles": {"fast": wanted}}), encoding="utf-8")
    return str(wanted["base_url"])


def measure_fan_out(url: str, sizes: list[int], *, rounds: int = 3) -> dict[int, tuple[float, float]]:
    """Return the seconds of ours and of the SDK by number of calls, the best of some rounds in turn."""
    allow_sockets()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        base_url = write_profile(url)
        fan_out(2)
        asyncio.run(bare(base_url, 2))
        found: dict[int, tuple[float, float]] = {}
        for calls in sizes:
            both = [(fan_out(calls), asyncio.run(bare(base_url, calls))) for _ in range(rounds)]
            found[calls] = min(ours for ours, _ in both), min(theirs for _, theirs in both)
        return found


# --- a map: each side in a process of its own ---


async def raw(url: str, rows: int) -> dict[str, Any]:
    """Ask with the SDK alone, on aiohttp's transport, by so many workers."""
    import aiohttp
    import httpx2
    from httpx_aiohttp.httpx2 import AiohttpTransport
    from openai import AsyncOpenAI

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    http = httpx2.AsyncClient(transport=AiohttpTransport(client=session), timeout=600)
    texts = (f"Classify: It is number {number}." for number in range(rows))
    answers: list[str | None] = []
    sdk = AsyncOpenAI(api_key="none", base_url=f"{url}/{DELAY}/v1", max_retries=0, http_client=http)
    async with session, sdk as it:

        async def ask(text: str) -> str | None:
            messages: Any = [{"role": "user", "content": text}]
            reply = await it.chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=100)
            return reply.choices[0].message.content

        async def work() -> None:
            for text in texts:
                answers.append(await ask(text))  # noqa: PERF401 - many workers share it

        await ask("warm up")
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return figures(began, cpu, len(answers))


def figures(began: float, cpu: float, rows: int) -> dict[str, Any]:
    """Return what was measured."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu, "MB": peak, "rows": rows}


def mapped(url: str, rows: int, *, generator: bool) -> dict[str, Any]:
    """Ask about each row of a frame, or of a generator, and hold that frame and ledger are exact."""
    import pandas as pd

    from victor_nb import session

    write_profile(url)
    pool = session().pool
    pool.map_sync(["warm up"], "{{ value }}", profile="fast", progress=False)
    texts = (f"It is number {number}." for number in range(rows))
    began, cpu = time.perf_counter(), time.process_time()
    if generator:
        handle = pool.start_map(texts, "Classify: {{ value }}", profile="fast", concurrency=AT_ONCE)
    else:
        data = pd.DataFrame({"review": list(texts)})
        handle = pool.start_map(data, "Classify: {{ review }}", profile="fast", concurrency=AT_ONCE)
    frame = handle.result()
    session().ledger.flush()
    found = figures(began, cpu, int((frame["answer_status"] == "ok").sum()))
    ledger = session().ledger.to_frame()
    mine = ledger[ledger["run_id"] == handle.run_id]
    assert len(mine) == found["rows"] == rows, (len(mine), found)
    assert abs(mine["cost"].sum() - frame["answer_cost"].sum()) < 1e-9
    return found


def side(kind: str, url: str, rows: int) -> dict[str, Any]:
    """Run one side in a process of its own, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VICTOR_")}
        env = {**kept, **KEYS, "HOME": folder, "XDG_DATA_HOME": folder, "NO_PROXY": "*"}
        command = [sys.executable, __file__, "side", kind, url, str(rows)]
        out = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def measure_map(url: str, rows: int, *, rounds: int = 2) -> dict[str, tuple[float, float]]:
    """Return ours and the SDK's seconds, CPU seconds and megabytes, the best of some rounds in turn."""
    both = [(side("map", url, rows), side("raw", url, rows)) for _ in range(rounds)]
    assert all(each["rows"] == rows for pair in both for each in pair)
    return {
        name: (min(ours[name] for ours, _ in both), min(theirs[name] for _, theirs in both))
        for name in ("wall", "cpu", "MB")
    }


def main(words: list[str]) -> None:
    """Print both sides and their ratios."""
    if words[:1] == ["side"]:
        _, kind, address, rows = words
        found = (
            asyncio.run(raw(address, int(rows)))
            if kind == "raw"
            else mapped(address, int(rows), generator=kind == "generator")
        )
        print(json.dumps(found))
        return
    with server() as url, tempfile.TemporaryDirectory() as folder:
        if words[:1] == ["generator"]:
            print(side("generator", url, int([*words, "100000"][1])))
            return
        rows, rounds = (int(word) for word in [*words, *("10000", "3")[len(words) :]])
        os.environ |= {**KEYS, "VICTOR_MODE": "live", "VICTOR_LEDGER": f"{folder}/rows.sqlite", "VICTOR_CACHE": "off"}
        from victor_nb.kernel import reset

        for calls, (ours, theirs) in measure_fan_out(url, [4, 100, 1_000], rounds=rounds).items():
            print(f"fan-out of {calls:,}: {ours:.2f} s, the SDK {theirs:.2f} s: {ours / theirs:.2f}x", flush=True)
        reset()
        for name, (ours, theirs) in measure_map(url, rows, rounds=rounds).items():
            print(f"map of {rows:,} rows, {name}: {ours:.1f}, the SDK {theirs:.1f}: {ours / theirs:.2f}x")


if __name__ == "__main__":
    main(sys.argv[1:])
