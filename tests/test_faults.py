"""Servers that lie, break off or say nothing: each ends in one family of errors, with its rows, in time."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING

import httpx2
import pytest

import victor_nb
from servers import (
    ANTHROPIC,
    GOOGLE,
    OLLAMA,
    OPENAI,
    Answer,
    closed_port,
    faults,
)
from victor_nb import errors
from victor_nb.errors import ProviderError
from workbench import Bench, fail, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.faults import Ending

pytest_plugins = ["workbench_fixtures"]
only_streams = pytest.mark.parametrize("way", ["stream"])


async def test_when_nobody_listens_then_the_error_names_the_address(bench: Bench) -> None:
    address = bench.dialect.base_url(f"http://127.0.0.1:{closed_port()}")
    error = await bench.failure(base_url=address)
    bench.check(error, errors.ConnectError)
    assert address in str(error)


@pytest.fixture
def crowded() -> Iterator[str]:
    """Return the address of a server whose queue is full: a further connection is never accepted."""
    with socket.socket() as listening, ExitStack() as queue:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(8):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what their queue has no place for")
async def test_when_a_server_accepts_no_connection_then_the_wait_to_connect_ends_it(bench: Bench, crowded: str) -> None:
    error = await bench.failure(base_url=bench.dialect.base_url(crowded), timeout={"connect": 0.3, "total": 60})
    bench.check(error, errors.RequestTimeoutError)
    assert "did not accept a connection within 0.3 s" in str(error)


async def test_when_a_server_says_nothing_then_the_call_ends_in_time(bench: Bench) -> None:
    start = time.monotonic()
    error = await bench.failure(faults.silence(), timeout=2, retries=2)  # the first call may import for a second
    bench.check(error, errors.RequestTimeoutError)
    assert isinstance(error, TimeoutError)
    assert time.monotonic() - start < 15
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests and bench.server.requests[0].hung_up)


async def test_when_a_call_has_its_own_timeout_then_it_counts(bench: Bench) -> None:
    bench.play(faults.silence())
    error = await bench.fail(await bench.agent(), timeout=0.1)
    bench.check(error, errors.RequestTimeoutError)


@only_streams
async def test_when_a_stream_never_begins_then_the_wait_for_a_piece_ends_it(bench: Bench) -> None:
    error = await bench.failure(faults.silence(), timeout={"read": 0.15})
    bench.check(error, errors.RequestTimeoutError)


@only_streams
@pytest.mark.parametrize("how", ["reset", "fin", "silence"])
async def test_when_a_stream_breaks_off_then_what_came_is_kept_and_not_asked_again(bench: Bench, how: Ending) -> None:
    error = await bench.failure(faults.cut(Answer(), 2, how), timeout={"read": 0.3}, retries=2)
    error = bench.check(error, errors.PartialAnswerError)
    assert error.reply is not None
    assert (error.reply.content, error.reply.status) == ("Tokens are ", "partial")
    assert len(bench.server.requests) == 1
    [row] = rows()
    assert (row["status"], row["error_type"]) == ("partial", "PartialAnswerError")
    assert row["usage_source"] in {"partial", "estimated"}
    assert row["input_tokens"] > 0
    assert row["output_tokens"] > 0


@only_streams
async def test_when_a_stream_takes_too_long_then_what_came_is_kept(bench: Bench) -> None:
    error = await bench.failure(Answer(pieces=("x",) * 1000, delay=0.01), timeout=0.3, retries=2)
    error = bench.check(error, errors.PartialAnswerError)
    assert error.reply is not None
    assert set(error.reply.content) == {"x"}
    assert len(bench.server.requests) == 1
    await asyncio.to_thread(bench.server.wait, lambda: bench.server.requests[0].hung_up)


@pytest.mark.parametrize("dialect", [ANTHROPIC], ids=repr)
@pytest.mark.parametrize("way", ["plain"])
async def test_when_a_stream_that_the_sdk_demanded_breaks_off_then_what_came_is_kept(bench: Bench) -> None:
    error = await bench.failure(faults.cut(Answer(), 2, "reset"), max_tokens=50_000)
    error = bench.check(error, errors.PartialAnswerError)
    assert error.reply is not None
    assert error.reply.content == "Tokens are "


@only_streams
async def test_when_a_stream_ends_without_saying_so_then_the_reply_is_partial(bench: Bench) -> None:
    bench.play(faults.cut(Answer(), 2, "clean"))
    reply = await bench.ask(await bench.agent(retries=2))
    assert (reply.content, reply.status, reply.finish_reason) == ("Tokens are ", "partial", None)
    assert len(bench.server.requests) == 1
    assert [row["status"] for row in rows()] == ["partial"]


@only_streams
async def test_when_a_stream_tells_of_an_error_after_text_then_what_came_is_kept(bench: Bench) -> None:
    error = await bench.failure(faults.error_event(Answer(), 2, "Out of stars"), retries=2)
    assert isinstance(error, errors.PartialAnswerError)
    assert error.reply is not None
    assert error.reply.content == "Tokens are "
    assert "Out of stars" in str(error)
    assert len(bench.server.requests) == 1
    assert [row["status"] for row in rows()] == ["partial"]


@only_streams
async def test_when_a_stream_begins_with_an_error_then_it_is_that_error(bench: Bench) -> None:
    error = await bench.failure(faults.error_event(Answer(), 0, "Out of stars"))
    overloaded = bench.dialect in {ANTHROPIC, GOOGLE}
    assert type(error) is (errors.OverloadedError if overloaded else errors.ServerError)
    assert isinstance(error, ProviderError)
    assert error.retryable
    assert "Out of stars" in str(error)
    assert [row["status"] for row in rows()] == ["error"]


@pytest.mark.parametrize("dialect", [GOOGLE, OLLAMA], ids=repr)
async def test_when_params_make_no_request_then_no_answer_is_blamed(bench: Bench) -> None:
    agent = await bench.agent()
    error = bench.check(await bench.fail(agent, params={"generationConfig": 5, "options": 5}), errors.BadRequestError)
    assert "desk: the request cannot be written: " in str(error)
    assert bench.server.requests == []


@pytest.mark.parametrize("dialect", [OPENAI], ids=repr)
async def test_when_an_sdk_meets_a_half_imported_package_then_no_answer_is_blamed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await bench.agent()
    monkeypatch.setitem(sys.modules, "httpx", ModuleType("httpx"))  # as another thread leaves it for a moment
    error = bench.check(await bench.fail(agent), errors.InternalError)
    assert "openai's client failed, not the answer: AttributeError: module 'httpx' has no attribute" in str(error)
    assert not error.retryable
    assert bench.server.requests == []


@pytest.mark.parametrize(
    "fault",
    ["import no_such_module", "victor_nb.no_such_name", "no_such_name", "Text().no_such_name"],
)
async def test_when_code_of_this_side_fails_then_no_answer_is_blamed(bench: Bench, fault: str) -> None:
    names = {"__name__": "victor_nb.providers.broken", "victor_nb": victor_nb, "Text": str}

    class Broken(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            exec(fault, names)
            raise AssertionError("it did not fail")

    agent = await bench.agent()
    [client] = agent._orchestrator.clients.values()
    client.http._transport = Broken()
    error = bench.check(await bench.fail(agent), errors.InternalError)
    assert f"{bench.dialect.name}'s client failed, not the answer" in str(error)
    assert "no_such" in str(error)


async def test_when_a_surrogate_pair_comes_in_two_pieces_then_it_is_one_character(bench: Bench) -> None:
    bench.play(Answer(pieces=("dice: \ud83c", "\udfb2", "!")))
    reply = await bench.ask(await bench.agent())
    assert reply.content == "dice: \U0001f3b2!"


async def test_when_calls_fail_then_others_at_the_same_time_do_not(bench: Bench) -> None:
    bench.server.answer = lambda request: faults.status(400) if "bad" in request.body.decode() else Answer()
    agent = await bench.agent()
    prompts = ["good", "bad"] * 10
    results = await asyncio.gather(*(bench.ask(agent, prompt) for prompt in prompts), return_exceptions=True)
    assert [isinstance(result, errors.BadRequestError) for result in results] == [False, True] * 10


async def test_when_calls_fail_then_the_next_one_on_the_same_agent_works(bench: Bench) -> None:
    agent = await bench.agent()
    for act in [faults.hang_up(), faults.page(), faults.status(500)]:
        bench.play(act)
        await fail(bench.ask(agent))
    bench.play(faults.silence())
    await fail(bench.ask(agent, timeout=0.1))
    bench.play(Answer())
    assert (await bench.ask(agent)).content == Answer().text
