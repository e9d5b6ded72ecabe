"""The server of the benchmarks, in a process of its own: four protocols, plain and streamed, on loopback.

What a client wants is in the path, before that of its protocol: `/delay=0.2/v1/chat/completions` answers after 0.2 s,
`/chunks=2000,pause=0.001/api/chat` streams so many pieces, so many seconds apart. It answers as fast as one process
can: it reads no body further than for `"stream": true`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

WORD = "eleven "
SAID = "The Rhine: it rises in the Swiss Alps and ends in the North Sea near Rotterdam."
PROFILES: Mapping[str, dict[str, str]] = {
    "openai": {"provider": "openai", "model": "gpt-4o-mini", "base_url": "/v1"},
    "anthropic": {"provider": "anthropic", "model": "claude-haiku-4-5", "base_url": ""},
    "google": {"provider": "google", "model": "gemini-2.5-flash", "base_url": ""},
    "ollama": {"provider": "ollama", "model": "llama3.2", "base_url": ""},
}
KEYS = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"), "sk-of-no-use")
OPENAI = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini-2024-07-18", "service_tier": "default"}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001"}
GOOGLE = {"modelVersion": "gemini-2.5-flash", "responseId": "r1"}
OLLAMA = {"model": "llama3.2", "created_at": "2026-11-26T09:00:00Z"}
ENDED = {"done": True, "done_reason": "stop", "prompt_eval_count": 25, "total_duration": 9, "eval_duration": 5}


def sse(event: Mapping[str, Any]) -> str:
    """Write an event as OpenAI and Google do, and as Anthropic does where it has a type."""
    kind = f"event: {event['type']}\n" if "type" in event else ""
    return f"{kind}data: {json.dumps(event)}\n\n"


def openai(chunks: int) -> list[str]:
    """Return the pieces of a streamed answer; of a plain one the only piece, where there are no chunks."""
    usage = {"prompt_tokens": 25, "completion_tokens": chunks or 21, "total_tokens": 25 + (chunks or 21)}
    if not chunks:
        message = {"role": "assistant", "content": SAID, "refusal": None}
        choices = [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}]
        return [json.dumps({**OPENAI, "object": "chat.completion", "choices": choices, "usage": usage})]
    head = {**OPENAI, "object": "chat.completion.chunk", "system_fingerprint": "fp_1", "usage": None}
    one, stop = (
        sse({**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]})
        for delta, end in (({"content": WORD}, None), ({}, "stop"))
    )
    return [*[one] * chunks, stop, sse({**head, "choices": [], "usage": usage}), "data: [DONE]\n\n"]


def anthropic(chunks: int) -> list[str]:
    """Return the same of the Messages API."""
    usage = {"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    if not chunks:
        end = {"stop_reason": "end_turn", "stop_sequence": None, "usage": {**usage, "output_tokens": 21}}
        return [json.dumps({**MESSAGE, "content": [{"type": "text", "text": SAID}], **end})]
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        sse({"type": "message_start", "message": start}),
        sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        *[sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}})] * chunks,
        sse({"type": "content_block_stop", "index": 0}),
        sse({"type": "message_delta", "delta": ended, "usage": {"output_tokens": chunks}}),
        sse({"type": "message_stop"}),
    ]


def google(chunks: int) -> list[str]:
    """Return the same of Gemini's."""

    def frame(text: str, **more: str) -> dict[str, Any]:
        usage = {"promptTokenCount": 25, "candidatesTokenCount": chunks or 21, "totalTokenCount": 25 + (chunks or 21)}
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
        return {"candidates": [candidate], "usageMetadata": usage, **GOOGLE}

    if not chunks:
        return [json.dumps(frame(SAID, finishReason="STOP"))]
    return [*[sse(frame(WORD))] * (chunks - 1), sse(frame(WORD, finishReason="STOP"))]


def ollama(chunks: int) -> list[str]:
    """Return the same of Ollama's: a JSON object a line."""

    def line(text: str, **more: object) -> str:
        return json.dumps({**OLLAMA, "message": {"role": "assistant", "content": text}, "done": False, **more}) + "\n"

    if not chunks:
        return [line(SAID, **ENDED, eval_count=21)]
    return [*[line(WORD)] * chunks, line("", **ENDED, eval_count=chunks)]


@cache
def answer_of(path: str, *, stream: bool) -> tuple[float, float, list[bytes]]:
    """Return what a path wants: seconds before the answer and between its pieces, and the pieces, head and all."""
    words, _, rest = path.lstrip("/").partition("/")
    wanted = {key: float(value) for key, _, value in (word.partition("=") for word in words.split(",")) if value}
    chunks = int(wanted.get("chunks", 1)) if stream else 0
    rest = rest if wanted else path
    write = anthropic if "messages" in rest else google if "models/" in rest else ollama if "api/" in rest else openai
    kind = "application/json" if not stream else "application/x-ndjson" if write is ollama else "text/event-stream"
    head = f"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: {kind}\r\nx-request-id: req_1\r\nrequest-id: req_1\r\n"
    pieces = [piece.encode() for piece in write(chunks)]
    if stream:
        framed = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
        pieces = [f"{head}transfer-encoding: chunked\r\n\r\n".encode(), *framed, b"0\r\n\r\n"]
    else:
        pieces = [f"{head}content-length: {len(pieces[0])}\r\n\r\n".encode() + pieces[0]]
    return wanted.get("delay", 0.0), wanted.get("pause", 0.0), pieces


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of one connection."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(size.split(b":")[1]))
            path = head.split(b" ", 2)[1].decode()
            stream = ":streamGenerate" in path or b'"stream":true' in body or b'"stream": true' in body
            delay, pause, pieces = answer_of(path, stream=stream)
            if delay:
                await asyncio.sleep(delay)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if len(pieces) > 1:
                    await asyncio.sleep(pause)
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()


def allow_sockets() -> None:
    """Let this process open as many sockets as it may: by default often 1,024."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def serve() -> None:
    """Print the port, and answer until standard input closes."""
    allow_sockets()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def server() -> Generator[str]:
    """Run the server in a process of its own, and give its address."""
    child = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdin
    try:
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}"
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait()


def profile(name: str, url: str, wants: str = "", **more: object) -> dict[str, object]:
    """Return a profile of a provider at this server that wants its answers so."""
    known = PROFILES[name]
    return {**known, "base_url": f"{url}{wants and '/'}{wants}{known['base_url']}", "max_tokens": 100, **more}


if __name__ == "__main__":
    asyncio.run(serve())
