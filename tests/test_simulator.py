"""The simulator, driven by the real SDKs and by plain httpx2: what they read is what a provider would send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers import GOOGLE, PROTOCOLS
from simulated import PROMPT, PROVIDERS, ask, chat, claude, http, run
from victor_nb import Settings, Stage, Strategy, session
from victor_nb.errors import ConfigError
from victor_nb.kernel import reset
from workbench import write_profiles

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2


@pytest.mark.parametrize("provider", PROVIDERS)
def test_when_asked_plainly_and_streamed_then_the_answers_are_the_same(provider: str) -> None:
    _, plain = run(ask(provider, PROMPT, stream=False))
    _, streamed = run(ask(provider, PROMPT, stream=True))
    assert plain == streamed
    text, input_tokens, output_tokens, finish = plain
    assert "tides" in text
    assert finish == PROVIDERS[provider].words["stop"]
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
    _, (text, _, tokens, finish) = run(ask(provider, PROMPT, stream=stream, limit=16))
    assert (tokens, finish) == (16, PROVIDERS[provider].words["length"])
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


@given(prompt=st.text(max_size=300), provider=st.sampled_from(list(PROVIDERS)), stream=st.booleans())
@settings(max_examples=150, deadline=None)
def test_when_the_prompt_is_any_text_then_the_answer_can_be_read(prompt: str, provider: str, stream: bool) -> None:  # noqa: FBT001
    _, (text, input_tokens, output_tokens, finish) = run(ask(provider, prompt, stream=stream))
    assert text.strip()
    assert input_tokens >= 1
    assert output_tokens >= 1
    assert finish == PROVIDERS[provider].words["stop"]


def test_when_the_prompt_holds_half_a_character_then_the_answer_can_still_be_read() -> None:
    async def work() -> httpx2.Response:
        body = rb'{"model": "m", "stream": false, "messages": [{"role": "user", "content": "Rank: a\ud83d, b"}]}'
        async with http() as client:
            return await client.post("/api/chat", content=body)

    assert run(work()).json()["message"]["content"]


def test_when_gemini_streams_without_sse_then_it_sends_one_array() -> None:
    async def work() -> list[dict[str, Any]]:
        path, body = GOOGLE.question(PROMPT, stream=True)
        async with http() as client:
            return (await client.post(path.removesuffix("?alt=sse"), json=body)).json()

    assert GOOGLE.told(run(work())) == run(ask("google", PROMPT, stream=True))[1]


# --- what it does not take, and how it says so: each provider in its own words ---


@pytest.mark.parametrize("provider", PROVIDERS)
def test_when_there_are_no_messages_then_the_refusal_is_the_providers(provider: str) -> None:
    async def bad() -> httpx2.Response:
        path, body = PROVIDERS[provider].question(PROMPT, stream=True)
        emptied = {key: value for key, value in body.items() if key not in ("messages", "contents", "input")}
        async with http() as client:
            return await client.post(path, json=emptied)

    response = run(bad())
    error = response.json()["error"]
    assert response.status_code == 400
    assert any(name in str(error) for name in ("messages", "contents", "'input'"))
    if provider == "google":
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("provider", "change", "said"),
    [
        ("anthropic", {"max_tokens": 0}, "max_tokens"),
        ("anthropic", {"messages": "Hi"}, "valid list"),
        ("anthropic", {"model": None}, ""),
        ("openai", {"model": ""}, "model parameter"),
        ("openai", {"messages": []}, "empty array"),
        ("openai", {"messages": "Hi"}, "array of objects"),
        ("openai", {"max_tokens": 0}, "below minimum"),
        ("openai", {"model": "o3-mini", "max_tokens": 9}, "max_completion_tokens"),
        ("google", {"contents": [{"role": "user"}]}, "contents.parts"),
        ("google", {"generation_config": {"max_output_tokens": 0}}, "must be positive"),
        ("ollama", {"model": ""}, "model is required"),
    ],
)
def test_when_a_request_is_wrong_then_it_is_refused(provider: str, change: dict[str, Any], said: str) -> None:
    async def bad() -> httpx2.Response:
        path, body = PROVIDERS[provider].question(PROMPT, stream=False)
        async with http() as client:
            return await client.post(path, json=body | change)

    response = run(bad())
    assert response.status_code == 400
    assert said in response.text


def test_when_the_body_is_not_json_then_it_is_refused_too() -> None:
    async def bad() -> httpx2.Response:
        async with http() as client:
            return await client.post("/v1/messages", content=b"{nonsense")

    assert run(bad()).status_code == 400


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


def test_when_a_path_is_not_a_question_then_it_is_not_found() -> None:
    async def work() -> None:
        async with claude() as client, http() as plain:
            with pytest.raises(anthropic.NotFoundError):
                await client.models.list()
            lost = await plain.get("/nowhere")
        assert (lost.status_code, lost.headers["content-type"]) == (404, "application/json")
        assert lost.json()["error"]["message"]

    run(work())


# --- samples of one prompt differ, each is the same in every run, and no request carries which one it is ---


@pytest.fixture
def simulated_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    write_profiles(tmp_path, **{repr(one): {"provider": one.name, "model": one.model} for one in PROTOCOLS})
    session().runtime.use(Settings())


async def fan_out() -> list[str]:
    replies = await session().pool.fan_out("Name 3 colours.", list(PROVIDERS), n=3)
    return [entry.outcome.content for entry in replies.entries if not isinstance(entry.outcome, Exception)]


@pytest.mark.usefixtures("simulated_profiles")
async def test_when_samples_are_asked_for_then_they_differ_and_are_the_same_in_the_next_kernel() -> None:
    first = await fan_out()
    reset()
    again = await fan_out()
    assert len(first) == 3 * len(PROVIDERS)
    assert len(set(first)) == len(first)
    assert first == again


@pytest.mark.usefixtures("simulated_profiles")
@pytest.mark.parametrize("name", PROVIDERS)
async def test_when_a_sample_is_asked_for_by_its_number_then_it_is_that_of_the_fan_out(name: str) -> None:
    asked = session().pool.get_orchestrator(name)
    replies = [await asked.run("Name 3 colours.", sample=number) for number in (0, 1, 2)]
    entries = (await session().pool.fan_out("Name 3 colours.", [name], n=3)).entries
    assert [reply.content for reply in replies] == [str(entry.outcome) for entry in entries]
    assert (await asked.run("Name 3 colours.")).content == replies[0].content
    assert len({reply.request_id for reply in replies}) == (3 if PROVIDERS[name].has_ids else 1)


@pytest.mark.usefixtures("simulated_profiles")
async def test_when_a_stage_takes_samples_then_they_differ() -> None:
    strategy = Strategy("three", [Stage("ideas", "openai", "Do this: {{ task }}", n=3)])
    run = await strategy.run("Name 3 colours.")
    assert len({reply.content for reply in run.stages[0].replies}) == 3


@pytest.mark.usefixtures("simulated_profiles")
async def test_when_a_sample_is_no_number_then_it_is_refused_before_sending() -> None:
    with pytest.raises(ConfigError, match="sample= takes a whole number of 0 or more, not -1"):
        await session().pool.get_orchestrator("openai").run("Hi", sample=-1)
