"""What every provider answers alike: four of them, asked plainly and by a stream, on a server that knows the truth."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import genai_prices
import pytest

from servers import ANTHROPIC, GOOGLE, OLLAMA, OPENAI, PROTOCOLS, RESPONSES, Answer, Dialect, Tokens, faults
from victor_nb.errors import ContentFilterError, MalformedAnswerError
from victor_nb.values import Usage
from workbench import Bench, rows

if TYPE_CHECKING:
    from decimal import Decimal

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
    assert f"http://{row['host']}" == bench.server.url


async def test_when_asked_then_times_are_measured_where_they_can_be(bench: Bench) -> None:
    bench.play(Answer(delay=0.05))
    reply = await bench.ask(await bench.agent())
    [row] = rows()
    # The server's pace is the least that both can say, and the row's span lies within the call's, on any machine.
    if bench.way == "plain":
        assert reply.ttft is row["ttft"] is None
        assert 0.05 <= row["latency"] <= reply.latency < 5
    else:
        assert reply.ttft is not None
        assert 0.05 <= row["ttft"] <= reply.ttft < reply.latency
        assert 0.2 <= row["latency"] <= reply.latency


async def test_when_asked_then_the_cost_is_the_list_price_of_the_usage(bench: Bench) -> None:
    bench.play(Answer(tokens=TOKENS))
    reply = await bench.ask(await bench.agent())
    [row] = rows()
    if bench.dialect.free:
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
    assert reply.cost == (0 if bench.dialect.free else None)
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
    (RESPONSES, {"pings", "done"}),
    (RESPONSES, {"thinks"}),
    (GOOGLE, {"usage_last"}),
    (GOOGLE, {"thinks"}),
    (OLLAMA, {"thinks"}),
    *((dialect, {"crlf", "tight"}) for dialect in PROTOCOLS),
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


@pytest.mark.parametrize("way", ["stream"])
async def test_when_a_model_thinks_before_it_answers_then_its_stream_says_so(bench: Bench) -> None:
    bench.play(Answer(quirks=frozenset({"thinks"}), delay=60))  # before its text
    stream = (await bench.agent()).stream("Hi.")
    for _ in range(1_000):
        if not stream.thinking:
            await asyncio.sleep(0.02)
    assert stream.thinking
    assert stream.text == ""
    stream.cancel()


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
async def test_when_a_cache_is_written_for_an_hour_then_it_is_counted_apart(bench: Bench) -> None:
    tokens = Tokens(input=900, output=10, cache_write=500, cache_write_1h=400)
    bench.play(Answer(tokens=tokens))
    reply = await bench.ask(await bench.agent())
    assert reply.usage == told(bench.dialect, tokens)
    [row] = rows()
    assert (row["cache_write_tokens"], row["cache_write_1h_tokens"]) == (500, 400)
    by_five_minutes = list_price(bench.dialect, reply.usage)
    assert reply.cost is not None
    assert reply.cost > by_five_minutes


@pytest.mark.parametrize("dialect", [OPENAI, RESPONSES, GOOGLE, OLLAMA], ids=repr)
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
    (OPENAI, "insufficient_stars", "other"),
    (RESPONSES, "max_output_tokens", "length"),
    (RESPONSES, "content_filter", "content_filter"),
    (RESPONSES, "function_call", "tool_calls"),
    (RESPONSES, "max_messages", "other"),
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


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, RESPONSES, GOOGLE], ids=repr)
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
