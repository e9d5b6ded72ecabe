"""A map beside the bare openai SDK on the same transport: wall, CPU and memory, each in a process of its own.

    python tests/benchmarks/maps.py [ROWS] [ROUNDS]        10,000 rows, 256 in flight, answers after 200 ms
    python tests/benchmarks/maps.py generator [ROWS]       100,000 rows of a generator: memory

The sides take turns, and what counts is their ratio: a machine may be busy with other things. Ledger and frame of each
map must be whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from server import KEYS, profile, server

IN_FLIGHT = 256


async def raw(url: str, rows: int) -> dict[str, Any]:
    """Ask with the SDK alone, on aiohttp's transport, by so many workers."""
    import aiohttp
    import httpx2
    from httpx_aiohttp.httpx2 import AiohttpTransport
    from openai import AsyncOpenAI

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    http = httpx2.AsyncClient(transport=AiohttpTransport(client=session), timeout=60)
    texts = (f"Classify: It is number {number}." for number in range(rows))
    answers: list[str | None] = []
    sdk = AsyncOpenAI(api_key="none", base_url=f"{url}/delay=0.2/v1", max_retries=0, http_client=http)
    async with session, sdk as it:

        async def work() -> None:
            for text in texts:
                messages: Any = [{"role": "user", "content": text}]
                reply = await it.chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=100)
                answers.append(reply.choices[0].message.content)

        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        return figures(began, cpu, len(answers))


def figures(began: float, cpu: float, rows: int) -> dict[str, Any]:
    """Return what was measured."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu, "mb": peak, "rows": rows}


def ours(url: str, rows: int, *, generator: bool) -> dict[str, Any]:
    """Ask about each row of a frame, or of a generator, and hold that frame and ledger are whole."""
    import pandas as pd

    from victor_nb import session

    Path("profiles.yaml").write_text(json.dumps({"profiles": {"desk": profile("openai", url, "delay=0.2")}}))
    pool = session().pool
    pool.map_sync(["warm up"], "{{ value }}", profile="desk")
    data: Any = pd.DataFrame({"review": [f"It is number {number}." for number in range(0 if generator else rows)]})
    prompt = "Classify: {{ review }}"
    if generator:
        data, prompt = (f"It is number {number}." for number in range(rows)), "Classify: {{ value }}"
    began, cpu = time.perf_counter(), time.process_time()
    handle = pool.start_map(data, prompt, profile="desk", concurrency=IN_FLIGHT)
    frame = handle.result()
    found = figures(began, cpu, int((frame["answer_status"] == "ok").sum()))
    ledger = session().ledger.to_frame()
    mine = ledger[ledger["run_id"] == handle.run_id]
    assert len(mine) == rows, len(mine)
    assert abs(mine["cost"].sum() - frame["answer_cost"].sum()) < 1e-9
    return {**found, "price": handle.price}


def child(kind: str, url: str, rows: int) -> dict[str, Any]:
    """Run one side in a process of its own, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VICTOR_")}
        env = {**kept, **KEYS, "HOME": folder, "XDG_DATA_HOME": folder}
        command = [sys.executable, __file__, "side", kind, url, str(rows)]
        out = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def main(rows: int, rounds: int) -> None:
    """Let the sides take turns, and print what came of it."""
    sides: dict[str, list[dict[str, Any]]] = {"raw": [], "map": []}
    with server() as url:
        for _ in range(rounds):
            for kind, found in sides.items():
                found.append(child(kind, url, rows))
                print(kind, found[-1], flush=True)
    for name in ("wall", "cpu"):
        one, other = (min(each[name] for each in sides[kind]) for kind in ("map", "raw"))
        pairs = [each[name] / beside[name] for each, beside in zip(sides["map"], sides["raw"], strict=True)]
        print(f"{name}: {one:.1f} s against {other:.1f} s, {one / other:.2f}; by rounds {statistics.median(pairs):.2f}")
    print(f"memory: {max(each['mb'] for each in sides['map']):.0f} MB")


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["side"]:
        _, kind, url, count = words
        side = asyncio.run(raw(url, int(count))) if kind == "raw" else ours(url, int(count), generator=kind != "map")
        print(json.dumps(side))
    elif words[:1] == ["generator"]:
        with server() as address:
            print(child("generator", address, int([*words, "100000"][1])))
    else:
        numbers = [int(word) for word in words]
        main(*numbers, *(10_000, 3)[len(numbers) :])
