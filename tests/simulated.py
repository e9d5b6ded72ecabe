"""Asks the simulator in every protocol, and reads what it answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import httpx2
import openai

from servers import PROTOCOLS
from victor_nb.wire.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from servers.dialects.base import Told

T = TypeVar("T")

PROMPT = "Explain how tides work, for a curious reader."
PROVIDERS = {repr(dialect): dialect for dialect in PROTOCOLS}


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


async def ask(provider: str, prompt: str, *, stream: bool, limit: int | None = None) -> tuple[bytes, Told]:
    path, body = PROVIDERS[provider].question(prompt, stream=stream, limit=limit)
    async with http() as client:
        response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.content, PROVIDERS[provider].told_in(response.content, stream=stream)
