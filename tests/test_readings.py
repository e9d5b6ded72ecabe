"""What servers really send, and how it is read: streams cut in every way; counts, reasons, errors in odd places."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given, strategies

from servers import ANTHROPIC, GOOGLE, OLLAMA, OPENAI, Answer, Dialect, Tokens, faults
from victor_nb import errors
from victor_nb.providers.http import DONE, Reader, events
from victor_nb.values import Usage
from victor_nb.wire.transport import Real, Wire
from workbench import Bench, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers import Exchange
    from servers.exchange import Act
    from victor_nb.values import Reply

pytest_plugins = ["workbench_fixtures"]
only_streams = pytest.mark.parametrize("way", ["stream"])
only_openai = pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
JSON = {"content-type": "application/json"}
COUNTED = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
LIST_PRICE = Decimal("0.0000135")  # of these tokens, gpt-4o-mini


# --- streams, however they are written ---


def as_cr(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r")


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda data: data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR": as_cr,
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "comments": lambda data: b": connected\n\n" + data.replace(b"\n\n", b"\n\n: still here\n\n"),
    "comments between lines": lambda data: data.replace(b"data:", b": still here\ndata:"),
    "retry alone": lambda data: b"retry: 3000\n\n" + data,
    "ids": lambda data: data.replace(b"data:", b"id: 7\nretry: 10\ndata:"),
    "empty data": lambda data: b"data:\n\ndata\n\n" + data.replace(b"\n\n", b"\n\ndata: \n\n"),
    "data that is a comment": lambda data: b"data: : keepalive\n\n" + data,
    "events that keep alive": lambda data: b"event: keepalive\ndata: 1\n\nevent: ping\ndata: {}\n\n" + data,
    "other fields": lambda data: b"x-field: 1\n\nnonsense\n\n" + data,
    "data that are null": lambda data: b'data: null\n\ndata: ""\n\n' + data,
    "no space": lambda data: data.replace(b"data: ", b"data:"),
    "no last empty line": lambda data: data.rstrip(b"\n"),
    "no empty lines": lambda data: data.replace(b"\n\n", b"\n"),
    "more empty lines": lambda data: b"\n\n" + data.replace(b"\n\n", b"\n\n\n\n"),
    "no names of events": lambda data: b"".join(
        line for line in data.splitlines(keepends=True) if not line.startswith(b"event:")
    ),
    "over several lines": lambda data: data.replace(b'{"', b'{\ndata: "'),
}
LINES: dict[str, Callable[[bytes], bytes]] = {
    name: FORMS[name] for name in ("as it is", "CRLF", "CR", "byte order mark", "no last empty line")
} | {
    "empty lines": lambda data: b"\n" + data.replace(b"\n", b"\n\n"),
    "data in front": lambda data: b"".join(b"data: " + line + b"\n" for line in data.splitlines()),
}


def written(answer: Answer, form: Callable[[bytes], bytes], chop: int) -> Act:
    """Return an act: a whole stream, written in a form, so many bytes at a time."""

    async def act(exchange: Exchange) -> None:
        dialect = faults.dialect_of(exchange.request)
        data = form(b"".join(event.data for event in dialect.events(answer, exchange.request)))
        await exchange.head(200, {"content-type": dialect.stream_type})
        for at in range(0, len(data), chop or len(data)):
            await exchange.send(data[at : at + (chop or len(data))])
        await exchange.end()

    return act


@only_streams
@pytest.mark.parametrize("chop", [0, 1, 11])
async def test_when_a_stream_is_written_otherwise_then_the_same_is_read(bench: Bench, chop: int) -> None:
    answer = Answer(pieces=("naïve ", "数え", "る 🎲", "\u2028", "end"), tokens=Tokens(input=120, output=34))
    agent = await bench.agent()
    for name, form in (FORMS if "event-stream" in bench.dialect.stream_type else LINES).items():
        bench.play(written(answer, form, chop))
        reply = await bench.ask(agent)
        assert (reply.content, reply.status, reply.finish_reason) == (answer.text, "ok", "stop"), name
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (120, 34), name


EVENTS = [{"n": 1, "text": "a\r\nb"}, {"n": 2, "text": "数\u2028え"}, {"n": 3}]
STREAM = (
    b"".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in EVENTS) + b"data: [DONE]\n\n"
)


@given(strategies.lists(strategies.integers(1, len(STREAM) * 2)), strategies.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_when_a_stream_is_cut_anywhere_then_its_events_are_the_same(cuts: list[int], line_end: bytes) -> None:
    data = b"\xef\xbb\xbf" + STREAM.replace(b"\n", line_end)
    reader, found, last = Reader(sse=True), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += list(reader.feed(data[last:cut]))
        last = max(last, cut)
    assert found + list(reader.end()) == [*EVENTS, DONE]
    assert found[-1] is DONE, "nothing waits for the end of the stream"


def test_when_a_line_has_arrived_then_its_event_is_not_held_back() -> None:
    reader = Reader(sse=True)
    assert list(reader.feed(b'data: {"n": 1}\r\n\r')) == [{"n": 1}]
    assert list(reader.feed(b'\ndata: {"n": 2}\r\n\r\n')) == [{"n": 2}]
    assert list(reader.feed(b'data: {"n"')) == []
    assert list(reader.feed(b": 3}\n")) == []
    assert list(reader.feed(b"\n")) == [{"n": 3}]


@only_streams
@pytest.mark.parametrize("dialect", [OLLAMA], ids=repr)
async def test_when_a_stream_has_ended_then_its_connection_serves_the_next(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        await Answer().tell(exchange)
        await asyncio.sleep(0.01)  # so that the end of the body comes after the end of the answer
        await exchange.end()

    bench.play(act)
    wire, asked = Wire(), {"model": "m", "stream": True, "messages": [{"role": "user", "content": "How many?"}]}
    async with httpx2.AsyncClient(transport=Real(context=lambda: wire.context(bench.server.url))) as client:
        for _ in range(3):
            async with client.stream("POST", f"{bench.server.url}/api/chat", json=asked) as response:
                *_, last = [event async for event in events(response)]
            assert last["done"]
    assert bench.server.connections == 1


@only_streams
async def test_when_a_server_hangs_up_after_each_stream_then_no_call_comes_too_late(bench: Bench) -> None:
    bench.play(Answer())
    agent = await bench.agent()

    async def ask_often() -> None:
        for _ in range(15):
            assert (await bench.ask(agent)).content == Answer().text

    await asyncio.gather(*(ask_often() for _ in range(4)))
    assert (len(bench.server.requests), bench.server.connections) == (60, 60)


async def test_when_an_answer_is_streamed_over_plain_http_then_the_server_may_say_that_it_hangs_up(
    bench: Bench,
) -> None:
    bench.play(Answer())
    await bench.ask(await bench.agent())
    [request] = bench.server.requests
    assert (request.headers.get("connection") == "close") == (bench.way == "stream")


@only_streams
@only_openai
async def test_when_a_server_does_not_hang_up_after_its_answer_then_that_is_not_waited_for(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        await Answer().tell(exchange)
        await exchange.forever()

    reply = await read(bench, act, timeout={"read": 20})
    assert (reply.content, reply.status) == (Answer().text, "ok")
    assert reply.latency < 15


@only_streams
async def test_when_a_character_is_broken_then_the_rest_arrives(bench: Bench) -> None:
    def broken(data: bytes) -> bytes:
        return data.replace(b"XX", b"\xe6\x95")

    bench.play(written(Answer(pieces=("a", "bXXc", "d")), broken, 0))
    reply = await bench.ask(await bench.agent())
    assert (reply.content, reply.status) == ("ab\ufffdcd", "ok")


# --- a server that speaks OpenAI ---


def answered(*choices: dict[str, Any], usage: object = COUNTED, done: bool = True, **more: Any) -> Act:
    """Answer with these choices: whole ones, or one in each chunk of a stream, and the usage in the last chunk."""
    head = {"id": "1", "created": 1, "model": "gpt-4o-mini-2024-07-18"}

    async def act(exchange: Exchange) -> None:
        counts = {"usage": usage} if usage is not None else {}
        if not exchange.request.json.get("stream"):
            body = {**head, "object": "chat.completion", "choices": list(choices), **counts, **more}
            await exchange.whole(200, JSON, json.dumps(body).encode())
            return
        chunks: list[dict[str, Any]] = [
            {"choices": [{("delta" if name == "message" else name): value for name, value in choice.items()}]}
            for choice in choices
        ]
        chunks[-1] |= {**counts, **more}
        lines = [f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
        body = "".join([*lines, *(["data: [DONE]\n\n"] if done else [])])
        await exchange.whole(200, {"content-type": "text/event-stream"}, body.encode())

    return act


def choice(content: object = "The Rhine.", finish: object = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return {"index": 0, "message": message, "finish_reason": finish, **more}


async def read(bench: Bench, *acts: Act, **options: Any) -> Reply:
    bench.play(*acts)
    return await bench.ask(await bench.agent(**options))


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Rivers."}]}
CONTENTS: list[tuple[object, str]] = [
    ([THOUGHT, {"type": "text", "text": "The "}, {"type": "text", "text": "Rhine."}], "The Rhine."),
    ([{"type": "reasoning", "text": "Rivers."}, {"type": "output_text", "text": "Rhine"}, "."], "Rhine."),
    ([{"type": "text", "text": "Rhine"}, {"type": "reference", "reference_ids": [1]}, {"type": "image_url"}], "Rhine"),
    ({"type": "text", "text": "Rhine"}, "Rhine"),
    ([{"text": "Rhine"}], "Rhine"),
    ([{"type": "text", "text": {"value": "Rhine", "annotations": []}}], "Rhine"),
    ([{"type": "text", "content": "Rhine"}, {"type": "text", "text": None}], "Rhine"),
]


@only_openai
@pytest.mark.parametrize(("content", "expected"), CONTENTS)
async def test_when_content_comes_in_blocks_then_its_text_is_read(bench: Bench, content: object, expected: str) -> None:
    reply = await read(bench, answered(choice(content)))
    assert (reply.content, reply.status, reply.cost) == (expected, "ok", LIST_PRICE)


@only_openai
@pytest.mark.parametrize("content", [4, 1.5, True, {"a": 1}, [{"a": 1}], [7], [None], [{"type": "text", "text": 7}]])
async def test_when_content_has_no_form_that_is_known_then_it_is_not_left_out(bench: Bench, content: object) -> None:
    error = await bench.failure(answered(choice(content)))
    assert isinstance(error, errors.MalformedAnswerError)


@only_openai
@pytest.mark.parametrize("content", [None, "", []])
async def test_when_content_is_nothing_then_the_answer_is_none(bench: Bench, content: object) -> None:
    assert isinstance(await bench.failure(answered(choice(content))), errors.MalformedAnswerError)


USAGES: list[tuple[dict[str, Any], Usage]] = [
    ({"usage": {"prompt_tokens": "10", "completion_tokens": 20.0}}, Usage(10, 20)),
    ({"usage": {"input_tokens": 10, "output_tokens": 20}}, Usage(10, 20)),
    ({"usage": None, "x_groq": {"id": "req_1", "usage": COUNTED}}, Usage(10, 20)),
    ({"usage": {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 90}}, Usage(100, 20, 90)),
    (  # cached beside the prompt, and in the total
        {"usage": {**COUNTED, "total_tokens": 120, "cache_read_input_tokens": 90}},
        Usage(100, 20, 90),
    ),
    (
        {"usage": {**COUNTED, "total_tokens": 38, "prompt_tokens_details": {"cached_tokens": 8}}},
        Usage(18, 20, 8),
    ),
    (  # of these, it is the thoughts that are beside
        {
            "usage": {
                **COUNTED,
                "total_tokens": 38,
                "prompt_tokens_details": {"cached_tokens": 8},
                "completion_tokens_details": {"reasoning_tokens": 8},
            }
        },
        Usage(10, 28, 8, reasoning_tokens=8),
    ),
    ({"usage": {**COUNTED, "prompt_tokens_details": None, "completion_tokens_details": "x"}}, Usage(10, 20)),
]


@only_openai
@pytest.mark.parametrize(("stated", "expected"), USAGES)
async def test_when_usage_stands_elsewhere_or_has_other_names_then_it_is_read(
    bench: Bench, stated: dict[str, Any], expected: Usage
) -> None:
    stated = dict(stated)
    reply = await read(bench, answered(choice(), usage=stated.pop("usage"), **stated))
    assert reply.usage == expected
    assert rows()[0]["usage_source"] == "reported"


@only_openai
async def test_when_usage_stands_in_the_choice_then_it_is_read(bench: Bench) -> None:
    reply = await read(bench, answered(choice(usage=COUNTED), usage=None))
    assert (reply.usage, reply.cost) == (Usage(10, 20), LIST_PRICE)


WORDS: list[tuple[str, str]] = [
    ("STOP", "stop"),
    ("eos", "stop"),
    ("eos_token", "stop"),
    ("end_turn", "stop"),
    ("MAX_TOKENS", "length"),
    ("model_length", "length"),
    ("SAFETY", "content_filter"),
    ("refusal", "content_filter"),
    ("tool_use", "tool_calls"),
    ("something_new", "other"),
]


@only_openai
@pytest.mark.parametrize(("word", "expected"), WORDS)
async def test_when_a_gateway_passes_on_anothers_reason_then_it_is_understood(
    bench: Bench, word: str, expected: str
) -> None:
    reply = await read(bench, answered(choice(finish=word)))
    assert (reply.finish_reason, reply.status, reply.cost) == (expected, "ok", LIST_PRICE)


@only_openai
@pytest.mark.parametrize("word", ["stop", "tool_calls"])
async def test_when_a_tool_is_called_then_no_text_is_missing(bench: Bench, word: str) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    parts = [choice(None, None, message={"tool_calls": [call]}), choice(None, word)]
    reply = await read(
        bench, answered(*(parts if bench.way == "stream" else [choice(None, word, message=parts[0]["message"])]))
    )
    assert (reply.content, reply.finish_reason, reply.status) == ("", "tool_calls", "ok")


@only_openai
@pytest.mark.parametrize("word", [None, ""])
async def test_when_a_whole_answer_names_no_reason_then_it_is_complete_and_has_its_price(
    bench: Bench, word: object
) -> None:
    reply = await read(bench, answered(choice(finish=word)))  # of a stream, `[DONE]` and the counts are its end
    assert (reply.finish_reason, reply.status, reply.cost) == ("stop", "ok", LIST_PRICE)
    assert rows()[0]["usage_source"] == "reported"


@only_openai
@only_streams
@pytest.mark.parametrize("word", ["null", "None"])
async def test_when_each_chunk_says_null_for_a_reason_then_a_cut_stream_is_partial(bench: Bench, word: str) -> None:
    reply = await read(bench, answered(choice("The ", word), choice("Rhine.", word), usage=None, done=False))
    assert (reply.content, reply.status, reply.finish_reason) == ("The Rhine.", "partial", None)
    reply = await read(bench, answered(choice("The ", word), choice("Rhine.", "stop")))
    assert (reply.content, reply.status, reply.finish_reason) == ("The Rhine.", "ok", "stop")


@only_openai
@only_streams
async def test_when_a_stream_is_of_one_whole_answer_then_it_is_read_once(bench: Bench) -> None:
    def written(*choices: dict[str, Any]) -> Act:
        chunks = [{"model": "gpt-4o-mini", "choices": [choice]} for choice in choices]
        chunks[-1]["usage"] = COUNTED
        return faults.body("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode())

    reply = await read(bench, written(choice()))
    assert (reply.content, reply.status, reply.cost) == ("The Rhine.", "ok", LIST_PRICE)
    pieces = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in ("The ", "Rhine.")]
    assert (await read(bench, written(*pieces, choice()))).content == "The Rhine."


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
@only_streams
async def test_when_the_end_of_a_message_counts_nothing_then_its_beginning_is_no_count(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.head(200, {"content-type": "text/event-stream"})
        start = {"model": "claude-sonnet-4-5", "usage": {"input_tokens": 10, "output_tokens": 1}}
        for event in (
            {"type": "message_start", "message": start},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "The Rhine."}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 0}},
            {"type": "message_stop"},
        ):
            await exchange.send(f"data: {json.dumps(event)}\n\n".encode())
        await exchange.end()

    reply = await read(bench, act)
    assert (reply.content, reply.finish_reason, reply.cost) == ("The Rhine.", "stop", None)
    assert rows()[0]["usage_source"] == "partial"


@only_openai
@only_streams
@pytest.mark.parametrize("lacks", ["done", "usage"])
async def test_when_a_stream_may_have_been_cut_then_it_is_partial(bench: Bench, lacks: str) -> None:
    usage = None if lacks == "usage" else COUNTED
    reply = await read(bench, answered(choice(finish=None), done=lacks != "done", usage=usage))
    assert (reply.status, reply.finish_reason, reply.cost) == ("partial", None, None)


@pytest.mark.parametrize("dialect", [ANTHROPIC, GOOGLE, OLLAMA], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_whole_answer_of_another_protocol_names_no_reason_then_it_is_complete(bench: Bench) -> None:
    names = {"anthropic": b'"stop_reason": "end_turn"', "google": b'"finishReason": "STOP"'}
    named = names.get(bench.dialect.name, b'"done_reason": "stop"')

    async def act(exchange: Exchange) -> None:
        body = bench.dialect.plain(Answer(), exchange.request)
        assert named in body
        await exchange.whole(200, JSON, body.replace(named, named.split(b":")[0] + b": null"))

    reply = await read(bench, act)
    assert (reply.finish_reason, reply.status) == ("stop", "ok")
    assert reply.cost is not None


ODD = [(GOOGLE, "MALFORMED_FUNCTION_CALL"), (GOOGLE, "LANGUAGE"), (OLLAMA, "load"), (OPENAI, "something_new")]


@pytest.mark.parametrize(("dialect", "word"), [*ODD, (ANTHROPIC, "pause_turn")])
async def test_when_there_is_no_text_and_an_odd_reason_then_the_error_names_it(bench: Bench, word: str) -> None:
    error = await bench.failure(Answer(pieces=("",), word=word))
    bench.check(error, errors.MalformedAnswerError)
    assert f"it ended with {word}" in str(error)


@only_openai
@pytest.mark.parametrize("index", [0, "0", None])
async def test_when_several_answers_come_then_the_first_is_read_and_that_is_said(bench: Bench, index: object) -> None:
    first = choice("Alpha.", index=index)
    others = [choice("Beta.", "length", index=1), choice("Gamma.", index=2)]
    reply = await read(bench, answered(others[0], first, others[1]), params={"n": 3})
    assert (reply.content, reply.finish_reason, reply.status) == ("Alpha.", "stop", "ok")
    assert [note for note in reply.notes if "several answers" in note] == [*reply.notes]
    assert len(reply.notes) == 1


@pytest.mark.parametrize("dialect", [GOOGLE], ids=repr)
async def test_when_several_candidates_come_then_the_first_is_read_and_that_is_said(bench: Bench) -> None:
    def candidate(index: int, text: str) -> dict[str, object]:
        return {"index": index, "content": {"parts": [{"text": text}]}, "finishReason": "STOP"}

    event = json.dumps({"candidates": [candidate(1, "Beta."), candidate(0, "Alpha.")], "modelVersion": "m"}).encode()
    reply = await read(bench, faults.body(b"data: " + event + b"\n\n" if bench.way == "stream" else event))
    assert reply.content == "Alpha."
    assert any("several answers" in note for note in reply.notes)


@only_openai
async def test_when_an_answer_is_refused_then_it_was_withheld(bench: Bench) -> None:
    parts = [choice(None, None, message={"refusal": part}) for part in ("I cannot ", "help.")]
    whole = choice(None, message={"refusal": "I cannot help."})
    acts = [*parts, choice(None, message={"refusal": None})] if bench.way == "stream" else [whole]
    reply = await read(bench, answered(*acts))
    assert (reply.content, reply.finish_reason) == ("I cannot help.", "content_filter")


# --- errors inside an answer that began well ---

CHOICE_ERRORS: list[tuple[dict[str, Any], type[errors.ProviderError], str]] = [
    ({"finish": "error", "error": {"code": 502, "message": "Upstream died"}}, errors.ServerError, "Upstream died"),
    ({"finish": "stop", "error": {"code": 429, "message": "Slow down"}}, errors.RateLimitError, "Slow down"),
    ({"finish": "error"}, errors.ServerError, "error"),
    (
        {"finish": "abort"},
        errors.ServerError,
        "the answer ended with abort",
    ),
    (
        {"finish": "insufficient_system_resource"},
        errors.OverloadedError,
        "the answer ended with insufficient_system_resource",
    ),
]


@only_openai
@pytest.mark.parametrize(("more", "kind", "words"), CHOICE_ERRORS)
async def test_when_a_choice_failed_then_the_answer_is_never_ok(
    bench: Bench, more: dict[str, Any], kind: type[errors.ProviderError], words: str
) -> None:
    error = await bench.failure(answered(choice("The three causes are", **more)), retries=2)
    assert isinstance(error, errors.PartialAnswerError)
    assert error.reply is not None
    assert (error.reply.content, error.reply.status) == ("The three causes are", "partial")
    assert words in str(error)
    assert [row["status"] for row in rows()] == ["partial"]
    error = await bench.failure(answered(choice("", **more)), retries=0)
    assert type(error) is kind
    assert words in str(error)


INSIDE: list[tuple[object, type[errors.ProviderError], int, bool]] = [
    ({"code": 429, "message": "No."}, errors.RateLimitError, 429, True),
    ({"code": "429", "message": "No."}, errors.RateLimitError, 429, True),
    ({"code": 502.0, "message": "No."}, errors.ServerError, 502, True),
    ({"code": 503, "message": "No.", "status": "UNAVAILABLE"}, errors.OverloadedError, 503, True),
    ({"code": 401, "message": "No."}, errors.AuthenticationError, 401, False),
    ({"code": 402, "message": "No."}, errors.BadRequestError, 402, False),
    ({"code": 402, "message": "Insufficient credits. No."}, errors.QuotaError, 402, False),
    ({"code": 403, "message": "No.", "metadata": {"flagged_input": "x"}}, errors.ContentFilterError, 403, False),
    ({"code": 404, "message": "No."}, errors.NotFoundError, 404, False),
    ({"code": 400, "type": "exceed_context_size_error", "message": "No."}, errors.ContextLengthError, 400, False),
    ({"type": "insufficient_quota", "code": "insufficient_quota", "message": "No."}, errors.QuotaError, 500, False),
    ({"status": "PERMISSION_DENIED", "message": "No."}, errors.AuthenticationError, 403, False),
    ({"type": "rate_limit_error", "message": "No."}, errors.RateLimitError, 429, True),
    ({"type": "overloaded_error", "message": "No."}, errors.OverloadedError, 529, True),
    ({"code": 1302, "message": "No."}, errors.ServerError, 500, True),
    ("No.", errors.ServerError, 500, True),
    ({"code": 0, "message": {"detail": [{"loc": ["body", "x"], "msg": "No."}]}}, errors.ServerError, 500, True),
]


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE, OLLAMA], ids=repr)
async def test_when_a_200_is_an_error_then_it_is_the_error_that_it_states(bench: Bench) -> None:
    agent = await bench.agent()
    for stated, kind, status, retried in INSIDE:
        body = json.dumps({"type": "error", "error": stated}).encode()
        sse = bench.way == "stream" and "event-stream" in bench.dialect.stream_type
        for form in [b"data: %b\n\n", b"event: error\ndata: %b\n\n", b"%b"] if sse else [b"%b"]:
            bench.play(faults.body(form % body))
            error = bench.check(await bench.fail(agent), kind, status)
            assert "No." in str(error)
            assert error.retryable is retried
            assert error.refused is (status < 500)
            assert rows()[-1]["cost"] == (0 if status < 500 or bench.dialect.free else None)


@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE, OLLAMA], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_200_holds_words_alone_then_they_are_the_error(bench: Bench) -> None:
    agent = await bench.agent()
    for stated in ({"detail": "No models are loaded."}, {"message": "No models are loaded.", "choices": None}):
        bench.play(faults.body(json.dumps(stated).encode()))
        error = bench.check(await bench.fail(agent), errors.ServerError, 500)
        assert "answered with an error: No models are loaded." in str(error)


@only_streams
@pytest.mark.parametrize("dialect", [ANTHROPIC, OPENAI, GOOGLE], ids=repr)
async def test_when_an_error_event_has_no_form_then_its_words_are_read(bench: Bench) -> None:
    agent = await bench.agent()
    for data in (b"CUDA out of memory", b'{"message": "CUDA out of memory"}', b'{"error": "CUDA out of memory"}'):
        bench.play(faults.body(b"event: error\ndata: " + data + b"\n\n"))
        error = bench.check(await bench.fail(agent), errors.ServerError, 500)
        assert "answered with an error: CUDA out of memory" in str(error)


@only_openai
async def test_when_the_path_is_wrong_then_the_error_says_so(bench: Bench) -> None:
    words = {"error": "Unexpected endpoint or method. (POST /chat/completions)"}

    async def act(exchange: Exchange) -> None:
        await exchange.whole(200, JSON, json.dumps(words, indent=2).encode())

    bench.server.answer = lambda _: act
    error = bench.check(await bench.fail(await bench.agent(base_url=bench.server.url)), errors.NotFoundError, 500)
    assert "Unexpected endpoint" in str(error)
    assert "base_url has no path: most servers have this API under /v1." in str(error)


@only_openai
@only_streams
async def test_when_an_error_is_not_wrapped_after_text_then_what_came_is_kept(bench: Bench) -> None:
    async def act(exchange: Exchange) -> None:
        await Answer().tell(exchange, pieces=2)
        await exchange.send(b'{"error": {"message": "Out of stars", "code": 500}}\n')
        await exchange.end()

    error = bench.check(await bench.failure(act), errors.PartialAnswerError, 500)
    assert error.reply is not None
    assert error.reply.content == "Tokens are "
    assert "Out of stars" in str(error)


@only_openai
async def test_when_an_error_is_empty_then_there_is_none(bench: Bench) -> None:
    for nothing in (None, "", {}, False, {"code": 0, "message": ""}, {"code": None, "message": None}):
        reply = await read(bench, answered(choice(error=nothing), error=nothing))
        assert (reply.content, reply.status) == ("The Rhine.", "ok")


@only_openai
async def test_when_openrouter_passes_on_what_its_provider_said_then_the_error_has_both(bench: Bench) -> None:
    upstream = json.dumps({"error": {"message": "tokens per minute"}})
    stated = {"code": 429, "message": "Provider returned error", "metadata": {"raw": upstream, "provider_name": "Acme"}}
    body = json.dumps({"error": stated}).encode()
    error = await bench.failure(faults.body(b"data: %b\n\n" % body if bench.way == "stream" else body))
    assert "Provider returned error (Acme: tokens per minute)" in str(error)


def dialects(*wanted: Dialect) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("dialect", wanted, ids=repr)


@dialects(OLLAMA)
async def test_when_a_local_server_cut_the_prompt_then_that_is_said_and_not_learnt(bench: Bench) -> None:
    bench.play(Answer(tokens=Tokens(input=2050, output=5)))
    agent = await bench.agent()
    cut = await bench.ask(agent, "A fact. " + "word " * 10_000)
    assert [note for note in cut.notes if "2,050 of some 12,502 tokens of the prompt" in note] == [*cut.notes]
    assert len(cut.notes) == 1
    assert (await bench.ask(agent, "A fact. " + "word " * 1_500)).notes == ()


@dialects(OPENAI)
async def test_when_a_paid_server_counts_few_tokens_then_nothing_is_said(bench: Bench) -> None:
    bench.play(Answer(tokens=Tokens(input=2050, output=5)))
    assert (await bench.ask(await bench.agent(), "word " * 10_000)).notes == ()


@pytest.mark.parametrize("dialect", [GOOGLE], ids=repr)
async def test_when_more_is_cached_than_the_prompt_has_then_it_stands_beside_it(bench: Bench) -> None:
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 20, "cachedContentTokenCount": 100}
    candidate = {"content": {"parts": [{"text": "The Rhine."}]}, "finishReason": "STOP"}
    event = json.dumps({"candidates": [candidate], "usageMetadata": counts}).encode()
    reply = await read(bench, faults.body(b"data: " + event + b"\n\n" if bench.way == "stream" else event))
    assert reply.usage == Usage(110, 20, 100)
