"""The simulator, driven by the real SDKs and by plain httpx2: what they read is what a provider would send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulated import LENGTH, PROMPT, PROVIDERS, STOP, ask, chat, claude, http, read_google, request, run

if TYPE_CHECKING:
    import httpx2


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


@pytest.mark.parametrize("stops", [["work"], "work"])
def test_when_a_stop_text_is_given_then_the_answer_ends_before_it(stops: list[str] | str) -> None:
    async def work() -> None:
        async with chat() as client:
            turns: Any = [{"role": "user", "content": "Say “we work here”"}]
            reply = await client.chat.completions.create(model="gpt-4o", messages=turns, stop=stops)
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (
            "Simulated placeholder for “Say “we ",
            "stop",
        )

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


def test_when_gemini_streams_without_sse_then_it_sends_one_array() -> None:
    async def work() -> list[dict[str, Any]]:
        path, body = request("google", PROMPT, stream=True)
        async with http() as client:
            return (await client.post(path.removesuffix("?alt=sse"), json=body)).json()

    assert read_google(run(work())) == run(ask("google", PROMPT, stream=True))[1]
