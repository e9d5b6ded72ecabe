"""The simulator, driven by the real SDKs and by plain httpx2: what they read is what a provider would send."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        events = [json.loads(line) for line in body.decode().splitlines()]
    else:
        lines = [
            line[6:] for line in body.decode().splitlines() if line.startswith("data: ") and line != "data: [DONE]"
        ]
        events = [json.loads(line) for line in lines]
    return {"anthropic": _anthropic, "openai": _openai, "google": _google, "ollama": _ollama}[provider](events)


def _anthropic(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    if events[0]["type"] == "message":
        [event] = events
        usage = event["usage"]
        return event["content"][0]["text"], usage["input_tokens"], usage["output_tokens"], event["stop_reason"]
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    [end] = [event for event in events if event["type"] == "message_delta"]
    start = events[0]["message"]["usage"]
    return text, start["input_tokens"], end["usage"]["output_tokens"], end["delta"]["stop_reason"]


def _openai(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    usage = events[-1]["usage"]
    if "message" in (events[0]["choices"] or [{}])[0]:
        choice = events[0]["choices"][0]
        text, finish = choice["message"]["content"], choice["finish_reason"]
    else:
        choices = [choice for event in events for choice in event["choices"]]
        text = "".join(choice["delta"].get("content", "") for choice in choices)
        finish = choices[-1]["finish_reason"]
    return text, usage["prompt_tokens"], usage["completion_tokens"], finish


def _google(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    text = "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events)
    usage = events[-1]["usageMetadata"]
    thoughts = usage.get("thoughtsTokenCount", 0)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"] + thoughts
    finish = events[-1]["candidates"][0]["finishReason"]
    return text, usage["promptTokenCount"], usage["candidatesTokenCount"] + thoughts, finish


def _ollama(events: list[dict[str, Any]]) -> tuple[str, int, int, str]:
    text = "".join(event["message"]["content"] for event in events)
    assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
    return text, events[-1]["prompt_eval_count"], events[-1]["eval_count"], events[-1]["done_reason"]


async def ask(provider: str, prompt: str, *, stream: bool, limit: int | None = None) -> tuple[bytes, Any]:
    path, body = request(provider, prompt, stream=stream, limit=limit)
    async with http() as client:
        response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.content, read(provider, response.content, stream=stream)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_when_asked_plainly_and_streamed_then_the_answers_are_the_same(provider: str) -> None:
    _, plain = run(ask(provider, PROMPT, stream=False))
    _, streamed = run(ask(provider, PROMPT, stream=True))
    assert plain == streamed
    text, input_tokens, output_tokens, finish = plain
    assert "tides" in text
    assert finish == STOP[provider]
    assert input_tokens == -(-len(PROMPT) // 4)
    assert len(text) / 7 < output_tokens < len(text) / 2 + 200


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_when_asked_twice_then_every_byte_is_the_same(provider: str, *, stream: bool) -> None:
    first, _ = run(ask(provider, PROMPT, stream=stream))
    again, _ = run(ask(provider, PROMPT, stream=stream))
    other, _ = run(ask(provider, PROMPT + " Again.", stream=stream))
    assert first == again != other


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [False, True])
def test_when_max_tokens_is_small_then_the_answer_is_cut_there(provider: str, *, stream: bool) -> None:
    _, (whole, *_) = run(ask(provider, PROMPT, stream=stream))
    _, (text, _, tokens, finish) = run(ask(provider, PROMPT, stream=stream, limit=12))
    assert (tokens, finish) == (12, LENGTH[provider])
    assert whole.startswith(text)
    assert text != whole


@pytest.mark.parametrize("provider", PROVIDERS)
def test_when_there_are_no_messages_then_the_refusal_is_the_providers(provider: str) -> None:
    async def bad() -> httpx2.Response:
        path, body = request(provider, PROMPT, stream=True)
        emptied = {key: value for key, value in body.items() if key not in ("messages", "contents")}
        async with http() as client:
            return await client.post(path, json=emptied)

    response = run(bad())
    error = response.json()["error"]
    assert response.status_code == 400
    assert "messages" in str(error) or "contents" in str(error)
    if provider == "google":
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")


def test_when_the_anthropic_sdk_streams_then_it_reads_text_usage_and_ids() -> None:
    async def work() -> None:
        async with claude() as client:
            asked: Any = {"model": "claude-opus-5-5", "max_tokens": 2000, "system": "Be brief."}
            asked["messages"] = [{"role": "user", "content": PROMPT}]
            plain: Any = await client.messages.create(**asked)
            async with client.messages.stream(**asked) as stream:
                pieces = [piece async for piece in stream.text_stream]
                final: Any = await stream.get_final_message()
            events = [event.type async for event in await client.messages.create(**asked, stream=True)]
        assert final.content[0].text == plain.content[0].text == "".join(pieces)
        assert final.usage.input_tokens == plain.usage.input_tokens > 0
        assert final.usage.output_tokens == plain.usage.output_tokens > 20
        assert plain.usage.cache_read_input_tokens == 0
        assert (plain.stop_reason, plain.model, plain.role) == ("end_turn", "claude-opus-5-5", "assistant")
        assert plain.id.startswith("msg_01")
        assert plain._request_id.startswith("req_")
        assert events[:2] == ["message_start", "content_block_start"]
        assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]

    run(work())


def test_when_the_openai_sdk_streams_then_usage_comes_only_if_asked() -> None:
    async def work() -> None:
        async with chat() as client:
            asked: Any = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": PROMPT}]}
            plain: Any = await client.chat.completions.create(**asked)
            bare = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
            asked["stream_options"] = {"include_usage": True}
            counted = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        assert all(chunk.usage is None and chunk.choices for chunk in bare)
        assert bare[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in bare) == plain.choices[0].message.content
        assert bare[-1].choices[0].finish_reason == plain.choices[0].finish_reason == "stop"
        assert counted[-1].choices == []
        assert counted[-1].usage == plain.usage
        assert plain.usage.completion_tokens_details.reasoning_tokens in (64, 128, 192)
        assert plain.usage.total_tokens == plain.usage.prompt_tokens + plain.usage.completion_tokens
        assert plain._request_id.startswith("req_")

    run(work())


def test_when_a_model_refuses_a_parameter_then_the_error_names_it() -> None:
    async def work() -> None:
        turns: Any = [{"role": "user", "content": "Hi"}]
        async with claude() as client, chat() as other:
            with pytest.raises(anthropic.BadRequestError, match=r"temperature: Extra inputs are not permitted"):
                await client.messages.create(
                    model="claude-sonnet-5-5", max_tokens=5, messages=turns, extra_body={"temperature": 0.5}
                )
            with pytest.raises(openai.BadRequestError, match=r"does not support 0[.]5") as refused:
                await other.chat.completions.create(model="gpt-5-mini", messages=turns, temperature=0.5)
            assert (refused.value.param, refused.value.code) == ("temperature", "unsupported_value")
            with pytest.raises(openai.NotFoundError):
                await other.embeddings.create(model="text-embedding-3-small", input="Hi")

    run(work())


def test_when_lists_of_models_are_asked_for_then_each_client_can_read_its_own() -> None:
    async def work() -> None:
        async with claude() as client, chat() as other, http() as plain:
            assert (await client.models.list()).data[0].id.startswith("claude-")
            assert (await other.models.list()).data[0].id.startswith("gpt-")
            tags = (await plain.get("/api/tags")).json()
            google = (await plain.get("/v1beta/models")).json()
            lost = await plain.get("/nowhere")
        assert "qwen2.5-coder:7b" in [model["name"] for model in tags["models"]]
        assert google["models"][0]["name"].startswith("models/gemini-")
        assert (lost.status_code, lost.headers["content-type"]) == (404, "application/json")
        assert lost.json()["error"]["message"]

    run(work())


@pytest.mark.parametrize("stops", [["work"], "work"])
def test_when_a_stop_text_is_given_then_the_answer_ends_before_it(stops: list[str] | str) -> None:
    async def work() -> None:
        async with chat() as client:
            turns: Any = [{"role": "user", "content": "Say “we work here”"}]
            reply = await client.chat.completions.create(model="gpt-4o", messages=turns, stop=stops)
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("we ", "stop")

    run(work())


@given(prompt=st.text(max_size=300), provider=st.sampled_from(PROVIDERS), stream=st.booleans())
@settings(max_examples=150, deadline=None)
def test_when_the_prompt_is_any_text_then_the_answer_can_be_read(prompt: str, provider: str, stream: bool) -> None:  # noqa: FBT001
    _, (text, input_tokens, output_tokens, finish) = run(ask(provider, prompt, stream=stream))
    assert text.strip()
    assert input_tokens >= 1
    assert output_tokens >= 1
    assert finish == STOP[provider]


def test_when_the_prompt_holds_half_a_character_then_the_answer_can_still_be_read() -> None:
    async def work() -> httpx2.Response:
        body = rb'{"model": "m", "stream": false, "messages": [{"role": "user", "content": "Rank: a\ud83d, b"}]}'
        async with http() as client:
            return await client.post("/api/chat", content=body)

    assert run(work()).json()["message"]["content"]
