"""What every provider does alike: four of them, asked plainly and by a stream, on a server that knows the truth."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import genai_prices
import pytest

from servers import ANTHROPIC, DIALECTS, GOOGLE, OLLAMA, OPENAI, Answer, Dialect, Server, Tokens, faults
from victor_nb import Agent
from victor_nb.errors import BadRequestError, ContentFilterError, MalformedAnswerError, SecretError, VictorWarning
from victor_nb.session import session
from victor_nb.values import Message, Usage
from workbench import Bench, ask, rows, write_profiles

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]

TOKENS = Tokens(input=1500, output=420, cache_read=700, cache_write=300, reasoning=120)


def told(dialect: Dialect, tokens: Tokens) -> Usage:
    """Return the usage that a reply should have for what a server told."""
    known = dialect.known(tokens)
    return Usage(
        input_tokens=known.input,
        output_tokens=known.output,
        cache_read_tokens=known.cache_read,
        cache_write_tokens=known.cache_write,
        reasoning_tokens=known.reasoning,
        cache_write_1h_tokens=known.cache_write_1h,
    )


def list_price(dialect: Dialect, usage: Usage, model: str | None = None) -> Decimal:
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    return genai_prices.calc_price(counted, model or dialect.model, provider_id=dialect.name).total_price


async def test_when_asked_then_the_reply_and_its_row_say_what_the_server_said(bench: Bench) -> None:
    answer = Answer(tokens=TOKENS, delay=0.01)
    bench.play(answer)
    agent = await bench.agent()
    reply = await bench.ask(agent)

    assert (str(reply), f"{reply}", reply.content) == (answer.text,) * 3
    assert (reply.status, reply.finish_reason, reply.attempts, reply.mode) == ("ok", "stop", 1, "live")
    assert (reply.profile, reply.provider, reply.model) == ("desk", bench.dialect.name, bench.dialect.model)
    assert reply.usage == told(bench.dialect, TOKENS)
    assert reply.request_id == bench.dialect.request_id(answer)
    [row] = rows()
    same = ["status", "attempt", "profile", "provider", "model", "model_served", "mode", "request_id"]
    expected = ["ok", 1, "desk", reply.provider, reply.model, reply.model_served, "live", reply.request_id]
    assert [row[name] for name in same] == expected
    counts = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"]
    assert [row[name] for name in counts] == [getattr(reply.usage, name) for name in counts]
    assert (row["usage_source"], row["http_status"], row["error_type"]) == ("reported", 200, None)


async def test_when_asked_then_times_are_measured_where_they_can_be(bench: Bench) -> None:
    bench.play(Answer(delay=0.05))
    reply = await bench.ask(await bench.agent())
    if bench.way == "plain":
        assert reply.ttft is None
        assert 0.05 <= reply.latency < 5
    else:
        assert reply.ttft is not None
        assert 0.05 <= reply.ttft < reply.latency
        assert reply.latency >= 0.2
    [row] = rows()
    assert row["latency"] == pytest.approx(reply.latency, abs=0.05)
    assert row["ttft"] == pytest.approx(reply.ttft, abs=0.05) if reply.ttft else row["ttft"] is None


async def test_when_asked_then_the_cost_is_the_list_price_of_the_usage(bench: Bench) -> None:
    bench.play(Answer(tokens=TOKENS))
    reply = await bench.ask(await bench.agent())
    [row] = rows()
    if bench.dialect is OLLAMA:
        assert (reply.cost, reply.billed, row["cost_source"]) == (0, 0, "local")
    else:
        price = list_price(bench.dialect, reply.usage)
        assert (reply.cost, row["cost"]) == (price, pytest.approx(float(price)))
        assert (reply.billed, row["cost_source"]) == (reply.cost, "computed")


async def test_when_another_model_served_then_its_price_counts(bench: Bench) -> None:
    served = {"anthropic": "claude-opus-4-5", "openai": "gpt-4o", "google": "gemini-2.5-pro"}.get(bench.dialect.name)
    bench.play(Answer(tokens=TOKENS, model=served))
    reply = await bench.ask(await bench.agent())
    assert reply.model == bench.dialect.model
    assert reply.model_served == (served or bench.dialect.model)
    if served:
        assert reply.cost == list_price(bench.dialect, reply.usage, served)


async def test_when_a_model_has_no_price_then_its_cost_is_unknown(bench: Bench) -> None:
    bench.play(Answer())
    reply = await bench.ask(await bench.agent(model="house-model-nobody-lists"))
    assert reply.cost == (0 if bench.dialect is OLLAMA else None)
    assert reply.usage == told(bench.dialect, Answer().tokens)


QUIRKS = [
    (ANTHROPIC, {"zeros_first"}),
    (ANTHROPIC, {"pings"}),
    (ANTHROPIC, {"thinks"}),
    (ANTHROPIC, {"thinks", "zeros_first", "pings"}),
    (OPENAI, {"usage_in_choice"}),
    (OPENAI, {"usage_on_finish"}),
    (OPENAI, {"text_first", "pings"}),
    (OPENAI, {"no_done"}),
    (GOOGLE, {"usage_last"}),
    (GOOGLE, {"thinks"}),
    (OLLAMA, {"thinks"}),
    *((dialect, {"crlf", "tight"}) for dialect in DIALECTS),
]


@pytest.mark.parametrize(
    ("dialect", "quirks"), QUIRKS, ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else None
)
async def test_when_a_server_has_its_ways_then_text_and_usage_are_the_same(bench: Bench, quirks: set[str]) -> None:
    bench.play(Answer(tokens=TOKENS, quirks=frozenset(quirks)))
    reply = await bench.ask(await bench.agent())
    assert reply.content == Answer().text
    assert reply.usage == told(bench.dialect, TOKENS)
    assert (reply.finish_reason, reply.status) == ("stop", "ok")


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
async def test_when_a_cache_is_written_for_an_hour_then_it_is_counted_apart(bench: Bench) -> None:
    tokens = Tokens(input=900, output=10, cache_write=500, cache_write_1h=400)
    bench.play(Answer(tokens=tokens))
    reply = await bench.ask(await bench.agent())
    assert reply.usage == told(bench.dialect, tokens)
    by_five_minutes = list_price(bench.dialect, reply.usage)
    assert reply.cost is not None
    assert reply.cost > by_five_minutes


@pytest.mark.parametrize("dialect", [OPENAI, GOOGLE, OLLAMA], ids=repr)
async def test_when_no_usage_is_told_then_the_row_says_that_it_is_estimated(bench: Bench) -> None:
    bench.play(Answer(quirks=frozenset({"no_usage"})))
    reply = await bench.ask(await bench.agent())
    assert (reply.content, reply.status) == (Answer().text, "ok")
    [row] = rows()
    assert row["usage_source"] == "estimated"
    assert row["output_tokens"] > 0


WORDS = [
    (ANTHROPIC, "end_turn", "stop"),
    (ANTHROPIC, "stop_sequence", "stop"),
    (ANTHROPIC, "max_tokens", "length"),
    (ANTHROPIC, "model_context_window_exceeded", "length"),
    (ANTHROPIC, "tool_use", "tool_calls"),
    (ANTHROPIC, "refusal", "content_filter"),
    (ANTHROPIC, "pause_turn", "other"),
    (OPENAI, "length", "length"),
    (OPENAI, "content_filter", "content_filter"),
    (OPENAI, "tool_calls", "tool_calls"),
    (OPENAI, "function_call", "tool_calls"),
    (OPENAI, "insufficient_system_resource", "other"),
    (GOOGLE, "STOP", "stop"),
    (GOOGLE, "MAX_TOKENS", "length"),
    (GOOGLE, "SAFETY", "content_filter"),
    (GOOGLE, "RECITATION", "content_filter"),
    (GOOGLE, "PROHIBITED_CONTENT", "content_filter"),
    (GOOGLE, "LANGUAGE", "other"),
    (OLLAMA, "stop", "stop"),
    (OLLAMA, "length", "length"),
    (OLLAMA, "unload", "other"),
]


@pytest.mark.parametrize(("dialect", "word", "expected"), WORDS)
async def test_when_an_answer_ends_then_the_reason_is_said_in_one_vocabulary(
    bench: Bench, word: str, expected: str
) -> None:
    bench.play(Answer(word=word))
    reply = await bench.ask(await bench.agent())
    assert (reply.finish_reason, reply.content, reply.status) == (expected, Answer().text, "ok")


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
async def test_when_an_answer_is_withheld_then_it_is_an_error_with_its_row(bench: Bench) -> None:
    bench.play(Answer(pieces=(), finish="content_filter", tokens=Tokens(input=50, output=1)))
    error = await bench.fail(await bench.agent())
    assert isinstance(error, ContentFilterError)
    [row] = rows()
    assert (row["status"], row["error_type"], row["input_tokens"]) == ("error", "ContentFilterError", 50)


@pytest.mark.parametrize("dialect", [GOOGLE], ids=repr)
async def test_when_google_blocks_a_prompt_then_it_is_an_error(bench: Bench) -> None:
    blocked = b'{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}}'
    bench.play(faults.body(b"data: " + blocked + b"\n\n" if bench.way == "stream" else blocked))
    error = await bench.fail(await bench.agent())
    assert isinstance(error, ContentFilterError)
    assert [row["error_type"] for row in rows()] == ["ContentFilterError"]


async def test_when_an_answer_has_no_text_then_it_is_an_error_and_not_an_empty_reply(bench: Bench) -> None:
    bench.play(Answer(pieces=("",), tokens=Tokens(input=50, output=1)))
    error = await bench.fail(await bench.agent())
    assert isinstance(error, MalformedAnswerError)
    [row] = rows()
    assert (row["status"], row["input_tokens"], row["usage_source"]) == ("error", 50, "reported")


async def test_when_the_room_was_used_up_before_any_text_then_the_reply_says_so(bench: Bench) -> None:
    bench.play(Answer(pieces=("",), finish="length", tokens=Tokens(input=50, output=40, reasoning=40)))
    reply = await bench.ask(await bench.agent(max_tokens=40))
    assert (reply.content, reply.finish_reason, reply.status) == ("", "length", "ok")
    assert any("max_tokens" in note for note in reply.notes)


async def test_when_the_address_is_in_the_environment_then_it_is_asked_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(bench.dialect.url_variable, bench.dialect.base_url(bench.server.url))
    bench.play(Answer())
    agent = await bench.agent(base_url=None)
    assert (await bench.ask(agent)).content == Answer().text


@pytest.mark.parametrize("dialect", [OLLAMA], ids=repr)
async def test_when_ollamas_host_has_no_scheme_then_it_is_asked_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", bench.server.url.removeprefix("http://"))
    bench.play(Answer())
    assert (await bench.ask(await bench.agent(base_url=None))).content == Answer().text


async def test_when_asked_then_the_key_travels_where_the_provider_wants_it(bench: Bench, keys: str) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    [request] = bench.server.requests
    assert bench.dialect.asked(request).key == (keys if bench.dialect.key_variable else None)
    assert keys not in request.path
    assert keys not in request.body.decode()


async def test_when_a_profile_names_its_key_then_that_key_is_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "team-key-of-our-own")
    bench.play(Answer())
    await bench.ask(await bench.agent(api_key_env="TEAM_KEY"))
    key = bench.dialect.asked(bench.server.requests[0]).key
    assert key is not None
    assert key.removeprefix("Bearer ") == "team-key-of-our-own"


BARE: dict[str, dict[str, Any]] = {
    "anthropic": {"max_tokens": 8192, "messages": [{"role": "user", "content": "How many?"}], "model": ANTHROPIC.model},
    "openai": {"messages": [{"role": "user", "content": "How many?"}], "model": OPENAI.model},
    "google": {"contents": [{"role": "user", "parts": [{"text": "How many?"}]}]},
    "ollama": {"messages": [{"role": "user", "content": "How many?"}], "model": OLLAMA.model},
}
STREAMED: dict[str, dict[str, Any]] = {
    "anthropic": {"stream": True},
    "openai": {"stream": True, "stream_options": {"include_usage": True}},
    "google": {},
    "ollama": {"stream": True},
}


async def test_when_nothing_more_is_asked_then_nothing_more_is_sent(bench: Bench) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    body = dict(bench.body)
    if bench.dialect is ANTHROPIC:
        assert body["max_tokens"] >= 4096
        body["max_tokens"] = BARE["anthropic"]["max_tokens"]
    if bench.way == "plain":
        assert body.pop("stream", False) is False
    extra = STREAMED[bench.dialect.name] if bench.way == "stream" else {}
    assert body == {**BARE[bench.dialect.name], **extra}


async def test_when_a_profile_says_more_then_all_of_it_is_sent(bench: Bench) -> None:
    bench.play(Answer())
    warm = 0.3 if bench.dialect.takes_temperature else None
    agent = await bench.agent(system="Answer in one word.", max_tokens=321, temperature=warm)
    await bench.ask(agent)
    asked = bench.dialect.asked(bench.server.requests[0])
    assert asked[:5] == (bench.dialect.model, "Answer in one word.", [("user", "How many?")], 321, warm)


async def test_when_a_call_says_more_then_it_beats_the_profile_for_this_call(bench: Bench) -> None:
    bench.play(Answer())
    warm = bench.dialect.takes_temperature
    agent = await bench.agent(system="Answer in one word.", max_tokens=321, temperature=0.3 if warm else None)
    options: dict[str, Any] = {"temperature": 0.9} if warm else {}
    await bench.ask(agent, system="Answer at length.", max_tokens=99, **options)
    await bench.ask(agent)
    first, second = (bench.dialect.asked(request) for request in bench.server.requests)
    assert (first.system, first.max_tokens, first.temperature) == ("Answer at length.", 99, 0.9 if warm else None)
    assert (second.system, second.max_tokens) == ("Answer in one word.", 321)


PARAMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "anthropic": ({"stop_sequences": ["END"], "top_k": 5}, {"stop_sequences": ["END"], "top_k": 5}),
    "openai": ({"seed": 7, "house_rule": "x"}, {"seed": 7, "house_rule": "x"}),
    "google": ({"topK": 5, "safetySettings": []}, {"generationConfig": {"topK": 5}, "safetySettings": []}),
    "ollama": ({"seed": 7, "keep_alive": "5m"}, {"options": {"seed": 7}, "keep_alive": "5m"}),
}


async def test_when_params_are_given_then_they_pass_through(bench: Bench) -> None:
    given, sent = PARAMS[bench.dialect.name]
    bench.play(Answer())
    await bench.ask(await bench.agent(params=given))
    assert {name: bench.body[name] for name in sent} == sent


async def test_when_a_chat_goes_on_then_it_remembers_and_the_agent_does_not(bench: Bench) -> None:
    bench.play(Answer(pieces=("one", "!")), Answer(pieces=("two", "!")), Answer(pieces=("three", "!")))
    agent = await bench.agent(system="Count.")
    chat = agent.chat()
    await ask(chat, "first", bench.way)
    await ask(chat, "second", bench.way)
    await bench.ask(agent, "alone")
    asked = [bench.dialect.asked(request) for request in bench.server.requests]
    assert [turns.system for turns in asked] == ["Count."] * 3
    assert [len(turns.messages) for turns in asked] == [1, 3, 1]
    assert asked[1].messages == [("user", "first"), ("assistant", "one!"), ("user", "second")]
    assert [turn.content for turn in chat.history] == ["first", "one!", "second", "two!"]


async def test_when_a_chats_turn_fails_then_it_is_not_remembered(bench: Bench) -> None:
    bench.play(faults.status(400), Answer())
    chat = (await bench.agent()).chat()
    with pytest.raises(BadRequestError):
        await ask(chat, "lost", bench.way)
    await ask(chat, "kept", bench.way)
    assert bench.dialect.asked(bench.server.requests[-1]).messages == [("user", "kept")]


PROMPTS = ["{'a': 1}", '{"k": "{{ v }}"}', "$x^2$ \\frac{1}{2} %%", "tab\tnew\nline  ", "数えて 🎲 é \u2028 \x85 \x00"]


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
async def test_when_a_prompt_has_odd_characters_then_it_arrives_as_typed(bench: Bench, prompt: str) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent(), prompt)
    assert bench.dialect.asked(bench.server.requests[0]).messages == [("user", prompt)]


TEXTS = {
    "utf-8": ("naïve ", "数え", "る 🎲", "\n"),
    "separators": ("a\u2028b\u2029", "c\x85d", "e\x0b\x0c\x1c\x1d\x1ef", "g\r\nh\ri"),
    "lines": ("\n\n", "data: [DONE]\n\n", "event: ping", "\n: x\n\n"),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_when_an_answer_has_odd_characters_then_each_arrives(bench: Bench, name: str) -> None:
    agent = await bench.agent()
    for chop in [0, 1, 7] if bench.way == "stream" else [0]:
        for line_ends in [set(), {"crlf"}]:
            answer = Answer(pieces=TEXTS[name], chop=chop, quirks=frozenset(line_ends))
            bench.play(answer)
            reply = await bench.ask(agent)
            assert (reply.content, reply.status) == (answer.text, "ok"), (chop, line_ends)


async def test_when_a_piece_is_large_then_all_of_it_arrives(bench: Bench) -> None:
    bench.play(Answer(pieces=("x" * 1_000_000, "é" * 300_000)))
    reply = await bench.ask(await bench.agent())
    assert (len(reply.content), reply.content[-1], reply.status) == (1_300_000, "é", "ok")


async def test_when_an_answer_is_compressed_then_it_is_read(bench: Bench) -> None:
    bench.play(faults.compressed(Answer()))
    assert (await bench.ask(await bench.agent())).content == Answer().text


async def test_when_a_server_closes_idle_connections_then_the_next_call_opens_another(bench: Bench) -> None:
    bench.play(faults.then_close(Answer()))
    agent = await bench.agent()
    for count in [1, 2, 3]:
        assert (await bench.ask(agent)).content == Answer().text
        await asyncio.to_thread(bench.server.wait, lambda: bench.server.open == 0)
        assert bench.server.connections == count


async def test_when_an_address_ends_in_a_slash_then_it_is_the_same_address(bench: Bench) -> None:
    bench.play(Answer())
    address = bench.dialect.base_url(bench.server.url)
    assert (await bench.ask(await bench.agent(base_url=f"{address}/"))).content == Answer().text


async def test_when_a_call_brings_its_history_and_tags_then_they_are_sent_and_kept(bench: Bench) -> None:
    bench.play(Answer())
    history = [Message("user", "One?"), Message("assistant", "One.")]
    await bench.ask(await bench.agent(), "Two?", history=history, tags={"round": "7"})
    expected = [("user", "One?"), ("assistant", "One."), ("user", "Two?")]
    assert bench.dialect.asked(bench.server.requests[0]).messages == expected
    assert rows()[0]["tags"] == {"round": "7"}


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_key_has_characters_that_no_key_has_then_the_error_names_its_variable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "\u201ccanary-in-curly-quotes\u201d"  # as a word processor makes them
    monkeypatch.setenv(bench.dialect.key_variable, key)
    bench.play(Answer())
    with pytest.raises(SecretError, match=bench.dialect.key_variable) as caught:
        await bench.ask(await bench.agent())
    assert "canary-in" not in "".join(traceback.format_exception(caught.value))
    assert not bench.server.requests


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_a_model_refuses_its_temperature_then_it_is_dropped_said_and_remembered(bench: Bench) -> None:
    bench.play(faults.status(400, faults.NO_TEMPERATURE), Answer(), Answer())
    agent = await bench.agent(temperature=0.3)
    with pytest.warns(VictorWarning, match="temperature") as caught:
        reply = await bench.ask(agent)
    assert len(caught) == 1
    await bench.ask(agent)
    warmth = [bench.dialect.asked(request).temperature for request in bench.server.requests]
    assert warmth == [0.3, None, None]
    assert (reply.content, reply.attempts) == (Answer().text, 2)
    assert any("temperature" in note for note in reply.notes)
    assert [row["status"] for row in rows()] == ["error", "ok", "ok"]


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
async def test_when_anthropic_is_given_a_temperature_then_it_is_never_sent(bench: Bench) -> None:
    bench.play(Answer())
    reply = await bench.ask(await bench.agent(temperature=0.3))
    assert any("temperature" in note for note in reply.notes)
    assert "temperature" not in bench.body
    [row] = rows()
    assert "temperature" in str(row["tags"])


@pytest.mark.parametrize("dialect", DIALECTS, ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_run_then_no_stream_is_asked_unless_the_sdk_demands_it(bench: Bench) -> None:
    bench.play(Answer())
    agent = await bench.agent()
    small, large = await agent.run("short", max_tokens=500), await agent.run("long", max_tokens=50_000)
    ways = [bench.dialect.streamed(request) for request in bench.server.requests]
    assert ways == [False, bench.dialect is ANTHROPIC]
    assert small.content == large.content == Answer().text


async def test_when_a_call_is_cancelled_then_the_socket_closes_and_the_row_says_so(bench: Bench) -> None:
    bench.play(faults.cut(Answer(), 2, "silence") if bench.way == "stream" else faults.silence())
    agent = await bench.agent()
    task = asyncio.create_task(bench.ask(agent))
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests[0].hung_up)
    [row] = rows()
    assert row["status"] == "interrupted"


@pytest.mark.parametrize("way", ["stream"])
async def test_when_a_reader_leaves_a_stream_then_it_is_stopped_and_its_text_kept(bench: Bench) -> None:
    bench.play(faults.cut(Answer(), 2, "silence"))
    stream = (await bench.agent()).stream("How many?")
    async for piece in stream:
        assert piece
        break
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests[0].hung_up)
    assert await asyncio.to_thread(stream.wait, 5)
    assert stream.reply.status == "interrupted"
    assert stream.reply.content.startswith(Answer().pieces[0])
    [row] = rows()
    assert row["status"] == "interrupted"


@pytest.mark.parametrize("way", ["stream"])
def test_when_a_plain_loop_over_a_stream_is_left_then_it_is_stopped_too(bench: Bench) -> None:
    bench.play(faults.cut(Answer(), 2, "silence"))
    stream = asyncio.run(bench.agent()).stream("How many?")
    for piece in stream:
        assert piece
        break
    bench.server.wait(lambda: bench.server.requests[0].hung_up)
    assert stream.wait(5)
    assert [row["status"] for row in rows()] == ["interrupted"]


@pytest.mark.parametrize("way", ["stream"])
async def test_when_a_stream_is_cancelled_then_what_came_is_kept(bench: Bench) -> None:
    bench.play(faults.cut(Answer(), 2, "silence"))
    stream = (await bench.agent()).stream("How many?")
    pieces = aiter(stream)
    while stream.text != "Tokens are ":
        await anext(pieces)
    stream.cancel()
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests[0].hung_up)
    assert await asyncio.to_thread(stream.wait, 5)
    assert (stream.reply.content, stream.reply.status) == ("Tokens are ", "interrupted")
    [row] = rows()
    assert row["status"] == "interrupted"
    assert row["output_tokens"] > 0 or bench.dialect is OLLAMA


@pytest.mark.parametrize("dialect", DIALECTS, ids=repr)
def test_when_blocking_forms_are_used_then_they_give_the_same(
    tmp_path: Path, server: Server, dialect: Dialect, keys: str
) -> None:
    server.play(Answer())
    spec = {"provider": dialect.name, "model": dialect.model, "base_url": dialect.base_url(server.url)}
    write_profiles(tmp_path, desk=spec)
    agent = Agent.create_sync(profile="desk")
    assert agent.run_sync("How many?").content == Answer().text
    assert "".join(agent.stream("How many?")) == Answer().text
    assert agent.chat().run_sync("How many?").content == Answer().text
    last = session().last
    assert last is not None
    assert last.content == Answer().text
    agent.close_sync()
