"""Many calls at once through one openai profile, ledger and all, against the bare SDK on its own transport.

    python tests/benchmarks/bench_concurrency.py [CALLS ...]        (100 and 1000 unless told)

A server in a process of its own answers each call after 200 ms. Both sides take turns in one run, and what counts is
their ratio: a machine may be busy with other things. Every call must have succeeded and be in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DELAY = 0.2
ROUNDS = 3
BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Forty-two."}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    + str(len(BODY)).encode()
    + b"\r\n\r\n"
    + BODY
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of one connection after the delay."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            await asyncio.sleep(DELAY)
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    """Print the port, and answer until standard input closes."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def bare(port: int, calls: int) -> float:
    """Time the SDK as it comes, without retries."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client:
        began = time.perf_counter()
        await asyncio.gather(
            *(
                client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": f"Call {i}"}])
                for i in range(calls)
            )
        )
        return time.perf_counter() - began


async def ours(port: int, calls: int) -> float:
    """Time the same through a pool, and see that nothing failed and nothing is missing."""
    from victor_nb import OrchestratorPool, Settings, session

    folder = Path(tempfile.mkdtemp())
    config = folder / "profiles.yaml"
    config.write_text(
        "profiles:\n  fast:\n    provider: openai\n    model: gpt-4o-mini\n    retries: 0\n"
        f"    base_url: http://127.0.0.1:{port}/v1\n",
        encoding="utf-8",
    )
    async with OrchestratorPool(Settings(config)) as pool:
        before = session().ledger.total().calls
        pool.get_orchestrator("fast")
        began = time.perf_counter()
        replies = await pool.fan_out([f"Call {i}" for i in range(calls)], ["fast"])
        wall = time.perf_counter() - began
    assert len(replies.ok) == calls
    assert session().ledger.total().calls - before == calls
    return wall


def main() -> None:
    """Print the median of both sides and their ratio, for each number of calls."""
    os.environ["OPENAI_API_KEY"] = "none-is-needed-here"
    os.environ["VICTOR_LEDGER"] = str(Path(tempfile.mkdtemp()) / "ledger.sqlite")
    server = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    assert server.stdin
    port = int(server.stdout.readline())
    try:
        for calls in [int(word) for word in sys.argv[1:]] or [100, 1000]:
            asyncio.run(ours(port, 5))
            asyncio.run(bare(port, 5))
            walls = [(asyncio.run(bare(port, calls)), asyncio.run(ours(port, calls))) for _ in range(ROUNDS)]
            sdk, own = (statistics.median(side) for side in zip(*walls, strict=True))
            print(f"{calls} calls of {DELAY:g} s: SDK {sdk:.2f} s, victor_nb {own:.2f} s, ratio {own / sdk:.2f}")
    finally:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["serve"] else main()
