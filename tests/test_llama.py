"""llama.cpp's own server, asked through its three doors: its counts and ours are the same, to the token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from servers.llama import CONTEXT, MISSING, MODEL, SAID, WORDS, Llama, prompt_tokens
from victor_nb import Agent, session
from victor_nb.errors import ContextLengthError, InvalidAnswerError
from victor_nb.values import Usage
from workbench import Way, ask, fail, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from victor_nb.values import Reply

pytest_plugins = ["workbench_fixtures"]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


class Door(NamedTuple):
    """One of the protocols that the server speaks, as a profile names it."""

    provider: str
    path: str
    api: str | None = None

    def __repr__(self) -> str:
        return self.api or self.provider

    def profile(self, llama: Llama, **more: object) -> dict[str, object]:
        base = {"provider": self.provider, "model": MODEL, "base_url": llama.url + self.path, "retries": 0}
        return {**base, **({"api": self.api} if self.api else {}), **more}


CHAT, RESPONSES, ANTHROPIC = Door("llamacpp", "/v1"), Door("openai", "/v1", "responses"), Door("anthropic", "")
DOORS = [CHAT, RESPONSES, ANTHROPIC, Door("openai", "/v1")]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """Serve for all tests of this file."""
    with Llama(tmp_path_factory.mktemp("llama")) as running:
        yield running


@pytest.fixture(params=DOORS, ids=repr)
def door(request: pytest.FixtureRequest, keys: str) -> Door:
    """Be each of its protocols in turn."""
    assert keys
    return request.param


def agent(door: Door, llama: Llama, **more: object) -> Agent:
    given: dict[str, Any] = door.profile(llama, **more)
    return Agent.create_sync(**given)


def told(usage: Usage) -> tuple[int, int]:
    return usage.input_tokens, usage.output_tokens


class Counted:
    """What the server counted while something was asked, beside what we did."""

    def __init__(self, llama: Llama) -> None:
        self._llama, self._before = llama, llama.counts()

    def tokens(self) -> tuple[int, int]:
        """Return the tokens that it has read and written since."""
        now = self._llama.counts()
        return now[0] - self._before[0], now[1] - self._before[1]


async def test_when_asked_then_both_count_the_same_tokens(llama: Llama, door: Door, way: Way) -> None:
    counted = Counted(llama)
    with agent(door, llama) as asked:
        reply = await ask(asked, "Hé?", way)
    assert (reply.content, reply.finish_reason, reply.status) == (SAID, "stop", "ok")
    assert told(reply.usage) == counted.tokens() == (prompt_tokens("Hé?"), len(WORDS) + 1)
    [row] = rows()
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (*told(reply.usage), "reported")


async def test_when_a_chat_goes_on_then_what_is_read_again_is_counted_as_cached(
    llama: Llama, door: Door, way: Way
) -> None:
    counted, replies = Counted(llama), list["Reply"]()
    with agent(door, llama, system="Count.") as asked:
        chat = asked.chat()
        for prompt in ("One?", "Two?", "Three?"):
            replies.append(await ask(chat, prompt, way))
    total = sum((reply.usage for reply in replies), Usage())
    assert told(total) == counted.tokens()
    assert replies[2].usage.cache_read_tokens > replies[1].usage.cache_read_tokens > 0
    assert replies[2].usage.cache_read_tokens < replies[2].usage.input_tokens


async def test_when_an_answer_may_not_be_longer_then_it_has_as_many_tokens(llama: Llama, door: Door, way: Way) -> None:
    counted = Counted(llama)
    with agent(door, llama, max_tokens=5) as asked:
        reply = await ask(asked, "Hi", way)
    assert reply.content == "".join(WORDS[:5])
    assert told(reply.usage) == counted.tokens() == (prompt_tokens("Hi"), 5)
    if door is not RESPONSES:  # this server calls a cut response completed
        assert reply.finish_reason == "length"


async def test_when_a_stream_is_stopped_then_the_server_stops_too(llama: Llama, door: Door) -> None:
    counted = Counted(llama)
    with agent(door, llama, params={"ignore_eos": True}, max_tokens=3_000) as asked:
        stream, pieces = asked.stream("Hi"), list[str]()
        async for piece in stream:
            pieces.append(piece)
            if len(pieces) == 3:
                break
        reply = stream.reply
        assert reply.status == "interrupted"
        assert reply.content.startswith("".join(pieces))
        read, written = await asyncio.to_thread(counted.tokens)
        assert written < 3_000
        [row] = rows()
        assert row["status"] == "interrupted"
        assert row["usage_source"] == ("partial" if door is ANTHROPIC else "estimated")  # it states the input at once
        counted = Counted(llama)
        again = await ask(asked, "Hi", "stream", params={}, max_tokens=7)
    assert told(again.usage) == await asyncio.to_thread(counted.tokens) == (prompt_tokens("Hi"), 7)
    assert read in (0, prompt_tokens("Hi"))


async def test_when_a_prompt_is_too_long_then_the_error_says_so_and_nothing_is_read(
    llama: Llama, door: Door, way: Way
) -> None:
    counted = Counted(llama)
    with agent(door, llama) as asked:
        error = await fail(ask(asked, "x" * (CONTEXT + 1), way))
    assert isinstance(error, ContextLengthError)
    assert error.http_status == 400
    assert f"exceeds the available context size ({CONTEXT} tokens)" in str(error)
    assert counted.tokens() == (0, 0)


async def test_when_many_ask_at_once_then_no_token_is_lost(llama: Llama, tmp_path: Path, keys: str) -> None:
    assert keys
    write_profiles(tmp_path, **{repr(door): door.profile(llama, concurrency=2) for door in DOORS[:3]})
    counted = Counted(llama)
    replies = await session().pool.fan_out(["Hi", "x" * 300, "Hé" * 50], [repr(door) for door in DOORS[:3]], n=4)
    assert len(replies.ok) == 36
    assert told(sum((reply.usage for reply in replies.ok), Usage())) == await asyncio.to_thread(counted.tokens)
    kept = rows()
    assert sum(row["input_tokens"] for row in kept) == replies.usage.input_tokens
    assert {row["cost"] for row in kept if row["provider"] == "llamacpp"} == {0}


SCHEMA = {
    "type": "object",
    "properties": {"done": {"type": "boolean"}, "colour": {"enum": ["red", "green"]}},
    "required": ["done", "colour"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("door", [CHAT, DOORS[3]], ids=repr)
async def test_when_a_schema_is_given_then_the_server_s_grammar_holds_the_answer_to_it(
    llama: Llama, door: Door, way: Way, keys: str
) -> None:
    assert keys
    counted = Counted(llama)
    with agent(door, llama, max_tokens=400) as asked:
        for _ in range(5):
            data: Any = (await ask(asked, "Hi", way, schema=SCHEMA)).data
            assert type(data["done"]) is bool
            assert data["colour"] in {"red", "green"}
    kept = rows()
    assert [row["status"] for row in kept] == ["ok"] * 5
    sums = sum(row["input_tokens"] for row in kept), sum(row["output_tokens"] for row in kept)
    assert sums == await asyncio.to_thread(counted.tokens)


@pytest.mark.parametrize("door", [RESPONSES, ANTHROPIC], ids=repr)
async def test_when_a_door_ignores_the_schema_then_the_answer_is_invalid_and_both_attempts_are_counted(
    llama: Llama, door: Door, way: Way, keys: str
) -> None:
    assert keys
    counted = Counted(llama)
    with agent(door, llama) as asked:
        error = await fail(ask(asked, "Hi", way, schema=SCHEMA))
    assert isinstance(error, InvalidAnswerError)
    kept = rows()
    assert [row["status"] for row in kept] == ["invalid", "invalid"]
    sums = sum(row["input_tokens"] for row in kept), sum(row["output_tokens"] for row in kept)
    assert sums == await asyncio.to_thread(counted.tokens)
