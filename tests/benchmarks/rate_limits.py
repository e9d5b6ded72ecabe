"""Maps against servers that allow so many requests a second and refuse the others, each by another limiter.

    python tests/benchmarks/rate_limits.py [--seconds 10] [--hints no,whole,exact] [RATE ...]    (5, 20, 100 if none)

Prints how much of what a server allows was used (the time that its rate gives the calls, over the time they took), how
many requests it refused, and how many calls were lost. One server has no limit and refuses 8 of 100 at random: there
the rate is only what its use is counted by. `limiters.py` does the same in time that is computed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.limiters import LIMITERS, hinted

DELAY = 0.05  # seconds that an answer takes
BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Forty-two."}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
)
REFUSAL = json.dumps({"error": {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}})


class Limited:
    """A server that answers each call after a delay, and refuses what its limiter does not admit."""

    def __init__(self) -> None:
        self.begin("bucket", 1.0, "no")

    def begin(self, kind: str, rate: float, hint: str) -> None:
        """Use a new limiter."""
        make, burst = LIMITERS[kind]
        self.hint = hint
        self.admit = make(rate, 1.0, burst)
        self.admitted = self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                length = next((line for line in lines if line.startswith(b"content-length:")), b":0")
                await reader.readexactly(int(length.split(b":")[1]))
                writer.write(await self.answer(head.split(b" ", 2)[1].decode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, path: str) -> bytes:
        """Answer a request: a new limiter, what was counted, or a call."""
        if path.startswith("/begin/"):
            kind, rate, hint = path.removeprefix("/begin/").replace("%20", " ").split("/")
            self.begin(kind, float(rate), hint)
            return message(200, "{}")
        if path == "/counted":
            return message(200, json.dumps({"admitted": self.admitted, "refused": self.refused}))
        wait = self.admit(time.monotonic())
        if wait:
            self.refused += 1
            asked = hinted(wait, self.hint, time.time())
            return message(429, REFUSAL, "" if asked is None else f"retry-after: {asked:g}\r\n")
        self.admitted += 1
        await asyncio.sleep(DELAY)
        return message(200, BODY)


def message(status: int, body: str, headers: str = "") -> bytes:
    """Return an answer's bytes."""
    reason = {200: "OK", 429: "Too Many Requests"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}"
    return f"{head}\r\n{body}".encode()


async def serve() -> None:
    """Print the port, and answer until standard input closes."""
    server = await asyncio.start_server(Limited().serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def ask(port: int, kind: str, rate: float, hint: str, rows: int) -> dict[str, float]:
    """Ask for so many rows, in a session of its own, and return what the server has counted."""
    import httpx2

    from victor_nb import OrchestratorPool, Settings
    from victor_nb.kernel import Session

    folder = Path(tempfile.mkdtemp())
    config = folder / "profiles.yaml"
    config.write_text(
        f"ledger: {folder / 'ledger.sqlite'}\n"
        "profiles:\n  fast:\n    provider: openai\n    model: gpt-4o-mini\n"
        f"    base_url: http://127.0.0.1:{port}/v1\n",
        encoding="utf-8",
    )
    settings = Settings(config)
    home = Session(settings)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await client.get(f"/begin/{kind}/{rate}/{hint}")
        async with OrchestratorPool(settings, container=home) as pool:
            pool.get_orchestrator("fast")
            began = time.perf_counter()
            prompts = [f"Row {row}" for row in range(rows)]
            frame = await pool.map(prompts, "{{ value }}", profile="fast", cache="off", progress=False)
            wall = time.perf_counter() - began
        counted = (await client.get("/counted")).json()
    await asyncio.to_thread(home.close)
    return {**counted, "lost": rows - int((frame["answer_status"] == "ok").sum()), "wall": wall}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rates", nargs="*", type=float, default=[5.0, 20.0, 100.0])
    parser.add_argument("--seconds", type=float, default=10.0, help="what the calls take at best")
    parser.add_argument("--kinds", default=",".join(LIMITERS))
    parser.add_argument("--hints", default="no,whole,exact")
    given = parser.parse_args()
    os.environ["OPENAI_API_KEY"] = "none-is-needed-here"
    with subprocess.Popen(
        [sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        port = int(server.stdout.readline())
        asyncio.run(ask(port, "bucket", 1000.0, "no", 5))  # what is imported at the first call is no matter of limits
        print("limiter          a second  Retry-After  rows  seconds   used  refused  lost")
        for kind in given.kinds.split(","):
            for rate in given.rates:
                for hint in given.hints.split(","):
                    rows = int(rate * given.seconds)
                    seen = asyncio.run(ask(port, kind, rate, hint, rows))
                    used = given.seconds / seen["wall"]
                    refused = seen["refused"] / (seen["admitted"] + seen["refused"])
                    figures = f"{rows:>6}{seen['wall']:>9.2f}{used:>7.1%}{refused:>9.1%}{seen['lost']:>6.0f}"
                    print(f"{kind:<15}{rate:>10g}{hint:>13}{figures}", flush=True)
        server.communicate("")


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["serve"] else main()
