"""What a streamed piece costs: CPU of this process per chunk, ours against what the two SDKs make of the same stream.

    python tests/benchmarks/bench_stream.py [CHUNKS]        (2,000 unless given)

A server in a process of its own sends the same answers to both sides, which take turns in one run. Ours is a whole
call: text to the user, usage, price, row. The SDKs only read, over their own transports. What counts are the ratios: at
most 0.5 of openai's, at most 1.0 of anthropic's.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 5
WORD = "eleven "
SERVER = """
import asyncio, json, sys
WORD, CHUNKS = {word!r}, {chunks}

def openai():
    head = {{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini-2024-07-18",
            "service_tier": "default", "system_fingerprint": "fp_1"}}
    def chunk(delta, finish=None):
        return {{**head, "choices": [{{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}}],
                "usage": None}}
    counts = {{"prompt_tokens": 9, "completion_tokens": CHUNKS, "total_tokens": 9 + CHUNKS}}
    last = {{**head, "choices": [], "usage": counts}}
    for event in [*[chunk({{"content": WORD}})] * CHUNKS, chunk({{}}, "stop"), last]:
        yield f"data: {{json.dumps(event)}}\\n\\n"
    yield "data: [DONE]\\n\\n"

def anthropic():
    def event(kind, **more):
        return f"event: {{kind}}\\ndata: {{json.dumps({{'type': kind, **more}})}}\\n\\n"
    message = {{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": {{"input_tokens": 9, "output_tokens": 1}}}}
    yield event("message_start", message=message)
    yield event("content_block_start", index=0, content_block={{"type": "text", "text": ""}})
    for _ in range(CHUNKS):
        yield event("content_block_delta", index=0, delta={{"type": "text_delta", "text": WORD}})
    yield event("content_block_stop", index=0)
    yield event("message_delta", delta={{"stop_reason": "end_turn", "stop_sequence": None}},
                usage={{"output_tokens": CHUNKS}})
    yield event("message_stop")

async def answer(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            length = next(line for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\n")
            writer.write(b"transfer-encoding: chunked\\r\\n\\r\\n")
            for text in (anthropic if b"/v1/messages" in head else openai)():
                data = text.encode()
                writer.write(b"%x\\r\\n%b\\r\\n" % (len(data), data))
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(b"0\\r\\n\\r\\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


async def measure(read: Callable[[], Awaitable[int]], chunks: int) -> float:
    """Return the microseconds of CPU per chunk of one answer."""
    began = time.process_time()
    length = await read()
    spent = time.process_time() - began
    assert length == chunks * len(WORD), length
    return spent / chunks * 1e6


def sides(port: int) -> dict[str, tuple[Callable[[], Awaitable[int]], Callable[[], Awaitable[int]]]]:
    """Return, for each SDK, how we read an answer, and how it does."""
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

    from victor_nb import Agent

    url = f"http://127.0.0.1:{port}"
    messages: Any = [{"role": "user", "content": "Count."}]
    openai, anthropic = AsyncOpenAI(base_url=f"{url}/v1", max_retries=0), AsyncAnthropic(base_url=url, max_retries=0)
    agents = {
        "openai": Agent.create_sync(provider="openai", model="gpt-4o-mini", base_url=f"{url}/v1"),
        "anthropic": Agent.create_sync(provider="anthropic", model="claude-haiku-4-5", base_url=url),
    }

    def ours(name: str) -> Callable[[], Awaitable[int]]:
        async def read() -> int:
            return sum([len(piece) async for piece in agents[name].stream("Count.")])

        return read

    async def by_openai() -> int:
        more: Any = {"stream_options": {"include_usage": True}}
        chunks = await openai.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True, **more)
        return sum([len(each.choices[0].delta.content or "") async for each in chunks if each.choices])

    async def by_anthropic() -> int:
        events = await anthropic.messages.create(
            model="claude-haiku-4-5", messages=messages, max_tokens=8192, stream=True
        )
        return sum(
            [
                len(event.delta.text)
                async for event in events
                if event.type == "content_block_delta" and event.delta.type == "text_delta"
            ]
        )

    return {"openai": (ours("openai"), by_openai), "anthropic": (ours("anthropic"), by_anthropic)}


async def compare(port: int, chunks: int) -> dict[str, tuple[float, float]]:
    """Return the median microseconds per chunk of ours and of the SDK, by SDK."""
    found: dict[str, tuple[float, float]] = {}
    for name, (own, sdk) in sides(port).items():
        await own()  # imports and connections
        await sdk()
        pairs = [(await measure(own, chunks), await measure(sdk, chunks)) for _ in range(ROUNDS)]
        found[name] = (median(ours for ours, _ in pairs), median(theirs for _, theirs in pairs))
    return found


def main() -> None:
    """Print the CPU per chunk of both sides, and their ratio, for each SDK."""
    chunks = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    os.environ |= {"OPENAI_API_KEY": "sk-of-no-use", "ANTHROPIC_API_KEY": "sk-of-no-use", "VICTOR_MODE": "live"}
    code = SERVER.format(word=WORD, chunks=chunks)
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["VICTOR_LEDGER"] = str(Path(folder, "rows.sqlite"))
            found = asyncio.run(compare(int(server.stdout.readline()), chunks))
            from victor_nb.kernel import reset

            reset()
    finally:
        server.terminate()
        server.wait()
    for name, (ours, sdk) in found.items():
        print(f"{name}: {ours:.1f} us a chunk, its SDK {sdk:.1f} us: {ours / sdk:.2f}x")


if __name__ == "__main__":
    main()
