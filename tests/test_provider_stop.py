"""Stopping: whoever leaves an answer closes its socket, keeps its text and finds a row that says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from servers import OLLAMA, PROTOCOLS, Answer, Dialect, Server, faults
from victor_nb import Agent
from victor_nb.kernel import session
from victor_nb.values import Reply
from workbench import Bench, rows, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]


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


@pytest.mark.parametrize("dialect", PROTOCOLS, ids=repr)
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
    assert isinstance(last, Reply)
    assert last.content == Answer().text
    agent.close_sync()
