"""Asks the simulator in all four protocols, and reads what it answers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import httpx2
import openai

from victor_nb.wire.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

T = TypeVar("T")

PROMPT = "Explain how tides work, for a curious reader."
PROVIDERS = ("anthropic", "openai", "google", "ollama")
LENGTH = {"anthropic": "max_tokens", "openai": "length", "google": "MAX_TOKENS", "ollama": "length"}
STOP = {"anthropic": "end_turn", "openai": "stop", "google": "STOP", "ollama": "stop"}
MODELS = {
    "anthropic": "claude-sonnet-5-5",
    "openai": "gpt-4o-mini",
    "google": "gemini-3.8-flash",
    "ollama": "qwen2.5-coder:7b",
}


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@asynccontextmanager
async def http(speed: float = 0, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=Simulator(speed=speed), base_url="http://sim.test", **options) as client:
        yield client


@asynccontextmanager
async def claude(speed: float = 0) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with httpx2.AsyncClient(transport=Simulator(speed=speed)) as client:
        yield anthropic.AsyncAnthropic(api_key="none", http_client=client, max_retries=0)


@asynccontextmanager
async def chat(speed: float = 0) -> AsyncIterator[openai.AsyncOpenAI]:
    async with httpx2.AsyncClient(transport=Simulator(speed=speed)) as client:
        yield openai.AsyncOpenAI(api_key="none", http_client=client, max_retries=0)


def request(provider: str, prompt: str, *, stream: bool, limit: int | None = None) -> tuple[str, dict[str, Any]]:
    """Return the path and the body in which a provider is asked."""
    turns = [{"role": "user", "content": prompt}]
    model = MODELS[provider]
    match provider:
        case "anthropic":
            return "/v1/messages", {"model": model, "messages": turns, "max_tokens": limit or 4096, "stream": stream}
        case "openai":
            extra = {"stream_options": {"include_usage": True}} if stream else {}
            body = {"model": model, "messages": turns, "stream": stream, **extra}
            return "/v1/chat/completions", body | ({"max_completion_tokens": limit} if limit else {})
        case "google":
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
            return f"/v1beta/models/{model}:{verb}", body | (
                {"generationConfig": {"maxOutputTokens": limit}} if limit else {}
            )
        case _:
            body = {"model": model, "messages": turns, "stream": stream}
            return "/api/chat", body | ({"options": {"num_predict": limit}} if limit else {})


def read(provider: str, body: bytes, *, stream: bool) -> tuple[str, int, int, str]:
    """Return text, input tokens, output tokens and finish reason of an answer's bytes."""
    if not stream:
        events = [json.loads(body)]
    elif provider == "ollama":
        events = [json.loads(line) for line in body.splitlines()]
    else:
        lines = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: ")]
        events = [json.loads(line) for line in lines if line != b"[DONE]"]
    readers = {"anthropic": read_anthropic, "openai": read_openai, "google": read_google, "ollama": read_ollama}
    return readers[provider](events)


def read_anthropic(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    if events[0]["type"] == "message":
        [event] = events
        usage = event["usage"]
        return event["content"][0]["text"], usage["input_tokens"], usage["output_tokens"], event["stop_reason"]
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    [end] = [event for event in events if event["type"] == "message_delta"]
    start = events[0]["message"]["usage"]
    return text, start["input_tokens"], end["usage"]["output_tokens"], end["delta"]["stop_reason"]


def read_openai(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    usage = events[-1]["usage"]
    if "message" in (events[0]["choices"] or [{}])[0]:
        choice = events[0]["choices"][0]
        text, finish = choice["message"]["content"], choice["finish_reason"]
    else:
        choices = [choice for event in events for choice in event["choices"]]
        text = "".join(choice["delta"].get("content", "") for choice in choices)
        finish = choices[-1]["finish_reason"]
    return text, usage["prompt_tokens"], usage["completion_tokens"], finish


def read_google(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    text = "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events)
    usage = events[-1]["usageMetadata"]
    thoughts = usage.get("thoughtsTokenCount", 0)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"] + thoughts
    finish = events[-1]["candidates"][0]["finishReason"]
    return text, usage["promptTokenCount"], usage["candidatesTokenCount"] + thoughts, finish


def read_ollama(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    text = "".join(event["message"]["content"] for event in events)
    assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
    return text, events[-1]["prompt_eval_count"], events[-1]["eval_count"], events[-1]["done_reason"]


async def ask(provider: str, prompt: str, *, stream: bool, limit: int | None = None) -> tuple[bytes, Any]:
    path, body = request(provider, prompt, stream=stream, limit=limit)
    async with http() as client:
        response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.content, read(provider, response.content, stream=stream)
