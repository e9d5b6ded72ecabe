"""The test servers against clients that we did not write: raw httpx2, and the two SDKs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import pytest

from servers import ANTHROPIC, OLLAMA, OPENAI, PROTOCOLS, RESPONSES, Answer, Server, Tokens, closed_port, faults

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import ParsedMessage

    from servers import Dialect
    from servers.exchange import Exchange

TOKENS = Tokens(input=100, output=40, cache_read=30, cache_write=20, reasoning=10)
every_dialect = pytest.mark.parametrize("dialect", PROTOCOLS, ids=repr)


def ask(server: Server, dialect: Dialect, *, stream: bool = False) -> httpx2.Response:
    path, body = dialect.question("hi", stream=stream, limit=9)
    with httpx2.Client(trust_env=False, timeout=60) as client:
        return client.post(server.url + path, json=body)


@every_dialect
def test_when_a_plain_answer_is_asked_then_the_text_is_in_it(dialect: Dialect) -> None:
    with Server(Answer(pieces=("one ", "two"))) as server:
        response = ask(server, dialect)
        assert "one two" in response.text
        server.wait(lambda: server.requests[0].finished)


@every_dialect
@pytest.mark.parametrize("chop", [0, 1])
def test_when_a_stream_is_asked_then_each_piece_is_an_event(dialect: Dialect, chop: int) -> None:
    with Server(Answer(pieces=("héllo", "wörld"), chop=chop)) as server:
        response = ask(server, dialect, stream=True)
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    texts = [json.loads(line) for line in lines if line.startswith("{")]
    if dialect is RESPONSES:  # it says the whole text again when it has ended
        texts = [event for event in texts if event["type"] == "response.output_text.delta"]
    assert sum("h\u00e9llo" in str(text) for text in texts) == 1
    assert response.headers["content-type"] == dialect.stream_type


@every_dialect
def test_when_a_client_leaves_then_the_server_sees_it(dialect: Dialect) -> None:
    with Server(faults.silence()) as server:
        path, body = dialect.question("hi")
        with pytest.raises(httpx2.ReadTimeout), httpx2.Client(trust_env=False, timeout=0.05) as client:
            client.post(server.url + path, json=body)
        server.wait(lambda: server.requests[0].hung_up)
        server.wait(lambda: server.open == 0)


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_when_a_stream_is_cut_then_the_pieces_before_it_arrive(how: Literal["reset", "fin"]) -> None:
    seen = b""
    with Server(faults.cut(Answer(), 2, how)) as server, httpx2.Client(trust_env=False) as client:
        path, body = OPENAI.question("hi", stream=True)
        with client.stream("POST", server.url + path, json=body) as response:
            pieces = response.iter_bytes()
            with contextlib.suppress(httpx2.TransportError):
                while True:
                    seen += next(pieces)
    assert b"are " in seen
    assert b"counted" not in seen
    assert not server.requests[0].hung_up


def test_when_a_server_hangs_up_or_is_not_there_then_a_client_gets_no_answer() -> None:
    with Server(faults.hang_up()) as server, pytest.raises(httpx2.RemoteProtocolError):
        ask(server, OPENAI)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://127.0.0.1:{closed_port()}", trust_env=False)


def test_when_a_plain_answer_is_cut_then_the_client_knows() -> None:
    with Server(faults.cut_plain(Answer())) as server, pytest.raises(httpx2.RemoteProtocolError):
        ask(server, OLLAMA)


def test_when_acts_are_played_then_each_has_its_turn_and_the_last_stays() -> None:
    with Server(faults.status(500), faults.status(429, retry_after="1"), Answer()) as server:
        codes = [ask(server, OPENAI).status_code for _ in range(4)]
    assert codes == [500, 429, 200, 200]


def test_when_a_connection_is_kept_then_it_serves_many_requests() -> None:
    path, body = OPENAI.question("hi")
    with Server(Answer()) as server, httpx2.Client(trust_env=False) as client:
        for _ in range(5):
            client.post(server.url + path, json=body)
    assert (len(server.requests), server.connections) == (5, 1)


def test_when_a_script_has_a_mistake_then_the_test_fails() -> None:
    with (
        pytest.raises(AssertionError, match="no protocol"),
        Server(Answer()) as server,
        contextlib.suppress(httpx2.RemoteProtocolError),
    ):
        httpx2.post(f"{server.url}/v2/chat", json={}, trust_env=False)


def ask_in_vain(server: Server) -> None:
    with contextlib.suppress(httpx2.TransportError):
        ask(server, OPENAI)


def test_when_a_server_stops_while_it_waits_then_it_stops_at_once() -> None:
    with Server(Answer(delay=60)) as server:
        threading.Thread(target=ask_in_vain, args=[server], daemon=True).start()
        server.wait(lambda: server.requests)
        start = time.monotonic()
    assert time.monotonic() - start < 15


def test_when_a_script_counts_while_it_answers_then_a_wait_for_its_count_ends() -> None:
    counted = list[str]()

    async def count(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)  # the server has seen all that it sees until the script ends
        counted.append(exchange.request.path)
        await asyncio.sleep(60)

    with Server(count) as server:
        threading.Thread(target=ask_in_vain, args=[server], daemon=True).start()
        start = time.monotonic()
        server.wait(lambda: counted)
        assert time.monotonic() - start < 15


def anthropic_client(server: Server) -> AsyncAnthropic:
    import anthropic

    http = anthropic.DefaultAsyncHttpxClient(trust_env=False)
    return anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0, http_client=http)


@pytest.mark.parametrize("zeros", ["", "zeros_first"])
def test_when_anthropics_sdk_reads_a_stream_then_it_finds_what_was_told(zeros: str) -> None:
    async def stream(server: Server) -> ParsedMessage[None]:
        async with anthropic_client(server) as client:
            messages: list[Any] = [{"role": "user", "content": "hi"}]
            async with client.messages.stream(model="m", max_tokens=9, messages=messages) as events:
                return await events.get_final_message()

    with Server(Answer(tokens=TOKENS, quirks=frozenset({"thinks", "pings", zeros}))) as server:
        message = asyncio.run(stream(server))
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert "".join(block.text for block in message.content if block.type == "text") == Answer().text
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (50, 30, 40)
    assert ANTHROPIC.asked(server.requests[0]).key == "k"


def test_when_openais_sdk_asks_then_it_finds_what_was_told() -> None:
    import openai

    async def ask_both(server: Server) -> tuple[Any, list[Any]]:
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", http_client=http) as client:
            messages: list[Any] = [{"role": "user", "content": "hi"}]
            create: Any = client.chat.completions.create
            plain = await create(model="m", messages=messages)
            options = {"include_usage": True}
            stream = await create(model="m", messages=messages, stream=True, stream_options=options)
            return plain, [chunk async for chunk in stream]

    with Server(Answer(tokens=TOKENS)) as server:
        plain, chunks = asyncio.run(ask_both(server))
    assert plain.choices[0].message.content == Answer().text
    assert plain.usage == chunks[-1].usage
    assert plain.usage.prompt_tokens_details.cached_tokens == TOKENS.cache_read
    assert chunks[-1].choices == []
    assert chunks[-2].choices[0].finish_reason == "stop"
