"""What a plain call costs: CPU of this process, ledger and prices included, against the two SDKs as they come.

    python tests/benchmarks/bench_calls.py [CALLS [ROUNDS]]        (300 and 7 unless given)

A server in a process of its own gives the same answer to every side, one call after the other. The sides take turns in
one run: the SDK on its default transport, ours without a budget, ours with a limit of the day and one of the notebook.
What counts are the ratios of the best rounds: at most 1.1 without a budget and 1.3 with one.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping

PROMPT = "Name the river that flows through Cologne, and say in one sentence where it rises and where it ends."
SAID = "The Rhine: it rises in the Swiss Alps and ends in the North Sea near Rotterdam."
OPENAI = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": SAID, "refusal": None, "annotations": []},
        }
    ],
    "usage": {
        "prompt_tokens": 25,
        "completion_tokens": 21,
        "total_tokens": 46,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "text", "text": SAID}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 25,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 21,
        "service_tier": "standard",
    },
}
HEADERS = (
    b"HTTP/1.1 200 OK\r\nserver: bench\r\ndate: Thu, 26 Nov 2026 09:00:00 GMT\r\ncontent-type: application/json\r\n"
    b"x-request-id: req_1\r\nrequest-id: req_1\r\nx-ratelimit-limit-requests: 10000\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-requests: 6ms\r\n"
)


class Calls(NamedTuple):
    """CPU of one plain call in microseconds, the best of all rounds."""

    sdk: float
    plain: float
    limited: float


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delay: float) -> None:
    """Answer every request of one connection."""
    bodies = {name: json.dumps(body).encode() for name, body in (("openai", OPENAI), ("anthropic", ANTHROPIC))}
    whole = {name: b"%bcontent-length: %d\r\n\r\n%b" % (HEADERS, len(body), body) for name, body in bodies.items()}
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            if delay:
                await asyncio.sleep(delay)
            writer.write(whole["anthropic" if b"/v1/messages" in head else "openai"])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()


async def serve(delay: float) -> None:
    """Print the port, and answer until standard input closes."""
    server = await asyncio.start_server(lambda *both: answer(*both, delay=delay), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def server(*, delay: float = 0.0) -> Generator[int]:
    """Run the server in a process of its own that answers after `delay` seconds, and give its port."""
    command = [sys.executable, __file__, "serve", str(delay)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdin
    try:
        yield int(child.stdout.readline())
    finally:
        child.stdin.close()
        child.wait()


def write_profiles(folder: Path, port: int, budget: Mapping[str, float]) -> Path:
    """Write a `profiles.yaml` for the server into a folder, with limits in USD."""
    url = f"http://127.0.0.1:{port}"
    profiles = {
        "openai": {"provider": "openai", "model": "gpt-4o-mini", "base_url": f"{url}/v1", "max_tokens": 100},
        "anthropic": {"provider": "anthropic", "model": "claude-haiku-4-5", "base_url": url, "max_tokens": 100},
    }
    path = folder / f"{'limited' if budget else 'plain'}.yaml"
    path.write_text(json.dumps({"profiles": profiles, "default": "openai", "budget": budget}), encoding="utf-8")
    return path


def bare(port: int) -> dict[str, Callable[[], Awaitable[str | None]]]:
    """Return, for each SDK, what asks one question through it as it comes."""
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

    url = f"http://127.0.0.1:{port}"
    openai = AsyncOpenAI(api_key="sk-of-no-use", base_url=f"{url}/v1", max_retries=0)
    anthropic = AsyncAnthropic(api_key="sk-of-no-use", base_url=url, max_retries=0)
    messages: Any = [{"role": "user", "content": PROMPT}]

    async def by_openai() -> str | None:
        made = await openai.chat.completions.create(model="gpt-4o-mini", messages=messages, max_completion_tokens=100)
        return made.choices[0].message.content

    async def by_anthropic() -> str | None:
        made = await anthropic.messages.create(model="claude-haiku-4-5", messages=messages, max_tokens=100)
        return made.content[0].text if made.content[0].type == "text" else None

    return {"openai": by_openai, "anthropic": by_anthropic}


async def cpu(ask: Callable[[], Awaitable[object]], calls: int, end: Callable[[], object]) -> float:
    """Return the microseconds of CPU per call; `end` is a part of them."""
    for _ in range(3):  # connections, and what is made once
        assert str(await ask()) == SAID
    end()
    began = time.process_time()
    for _ in range(calls):
        await ask()
    end()
    return (time.process_time() - began) / calls * 1e6


async def compare(port: int, folder: Path, *, calls: int, rounds: int) -> dict[str, Calls]:
    """Return what a call costs on each side, by SDK."""
    from victor_nb import Settings, session

    paths = {
        "plain": write_profiles(folder, port, {}),
        "limited": write_profiles(folder, port, {"day": 5_000.0, "notebook": 2_000.0}),
    }
    sdks, found = bare(port), dict[str, Calls]()
    for name, sdk in sdks.items():
        best = dict.fromkeys(("sdk", *paths), float("inf"))
        for _ in range(rounds):
            best["sdk"] = min(best["sdk"], await cpu(sdk, calls, lambda: None))
            for side, path in paths.items():
                session().runtime.use(Settings(path))
                orchestrator = session().pool.get_orchestrator(name)
                spent = await cpu(lambda: orchestrator.run(PROMPT), calls, session().ledger.flush)  # noqa: B023
                best[side] = min(best[side], spent)
        found[name] = Calls(**best)
    return found


def measure(*, calls: int = 300, rounds: int = 7) -> dict[str, Calls]:
    """Measure in this process, with a server, a ledger and keys of its own."""
    with server() as port, tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "OPENAI_API_KEY": "sk-of-no-use",
            "ANTHROPIC_API_KEY": "sk-of-no-use",
            "VICTOR_MODE": "live",
            "VICTOR_LEDGER": str(Path(folder, "rows.sqlite")),
        }
        from victor_nb.kernel import reset

        found = asyncio.run(compare(port, Path(folder), calls=calls, rounds=rounds))
        reset()
        return found


def main() -> None:
    """Print the CPU per call of each side, and the ratios."""
    calls, rounds = [*map(int, sys.argv[1:3]), *(300, 7)[len(sys.argv) - 1 :]]
    for name, (sdk, plain, limited) in measure(calls=calls, rounds=rounds).items():
        sides = (
            f"{plain:.0f} us without a budget ({plain / sdk:.2f}x), {limited:.0f} us with one ({limited / sdk:.2f}x)"
        )
        print(f"{name}: its SDK {sdk:.0f} us a call; ours {sides}")


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[2]))) if sys.argv[1:2] == ["serve"] else main()
