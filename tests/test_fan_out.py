"""Many profiles at once: every answer, every failure, every row."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from servers import ANTHROPIC, DIALECTS, GOOGLE, OLLAMA, OPENAI, Server, faults
from servers.answers import Answer, Tokens
from victor_nb import Cascade, OrchestratorPool, Reply, Settings, Single, VictorError, session
from victor_nb.errors import ConfigError, FanOutError, RateLimitError
from victor_nb.money import Total
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["workbench_fixtures"]


@pytest.fixture
def four(tmp_path: Path, keys: str) -> Iterator[dict[str, Server]]:
    """Run four servers, one for each provider, each with a profile of the provider's name."""
    assert keys
    servers = {dialect.name: Server() for dialect in DIALECTS}
    for server in servers.values():
        server.__enter__()
    write_profiles(
        tmp_path,
        **{
            dialect.name: {
                "provider": dialect.name,
                "model": dialect.model,
                "base_url": dialect.base_url(servers[dialect.name].url),
                "retries": 0,
            }
            for dialect in (ANTHROPIC, OPENAI, GOOGLE, OLLAMA)
        },
    )
    yield servers
    session().pool.shutdown()
    for server in servers.values():
        server.__exit__(None, None, None)


NAMES = ["anthropic", "openai", "google", "ollama"]


def play(servers: dict[str, Server], **acts: object) -> None:
    for name, server in servers.items():
        server.play(acts.get(name, Answer(pieces=(f"I am {name}.",))))  # pyright: ignore[reportArgumentType]


async def test_when_four_are_asked_then_each_answers_under_its_name(four: dict[str, Server]) -> None:
    play(four)
    replies = await session().pool.fan_out("Who are you?", NAMES)
    assert list(replies) == NAMES
    assert {name: str(replies[name]) for name in replies} == {name: f"I am {name}." for name in NAMES}
    assert len(replies.ok) == len(rows()) == 4
    assert not replies.failed
    assert {row["run_id"] for row in rows()} == {replies.run_id}
    assert replies.cheapest is not None
    assert replies.cheapest.profile == "ollama"
    assert replies.fastest in replies.ok
    assert replies.usage.input_tokens == sum(reply.usage.input_tokens for reply in replies.ok)


async def test_when_four_are_slow_then_they_are_slow_together(four: dict[str, Server]) -> None:
    play(four, **{name: Answer(delay=0.2) for name in NAMES})
    replies = await session().pool.fan_out("Wait.", NAMES)
    # No call began after another had ended: they overlapped, whatever the clock of this machine says.
    starts = [row["ts"] for row in rows()]
    ends = [row["ts"].timestamp() + row["latency"] for row in rows()]
    assert max(start.timestamp() for start in starts) < min(ends)
    assert replies.serial > replies.wall


async def test_when_one_fails_then_the_others_are_kept(four: dict[str, Server]) -> None:
    play(four, google=faults.status(401))
    replies = await session().pool.fan_out("Who are you?", NAMES)
    assert list(replies.failed) == ["google"]
    assert isinstance(replies["google"], VictorError)
    assert [reply.profile for reply in replies.ok] == ["anthropic", "openai", "ollama"]
    frame = replies.to_frame()
    assert list(frame["profile"]) == NAMES
    assert frame["error"].notna().sum() == 1


async def test_when_one_fails_after_it_was_charged_for_then_the_sum_has_it(four: dict[str, Server]) -> None:
    withheld = Answer(pieces=(), finish="content_filter", tokens=Tokens(input=1_000, output=10))
    play(four, google=withheld, anthropic=faults.hang_up(), openai=faults.status(429, retry_after="3600"))
    replies = await session().pool.fan_out("Who are you?", ["google", "openai", "ollama"])
    assert sorted(replies.failed) == ["google", "openai"]
    ledger = session().ledger.rows(run_id=replies.run_id)
    assert replies.spent == Total.of(ledger)
    assert replies.cost == sum(row.cost or 0 for row in ledger) > 0
    assert replies.usage.input_tokens == sum(row.input_tokens or 0 for row in ledger) > 1_000
    with_lost = await session().pool.fan_out("Who are you?", ["google", "anthropic", "ollama"])
    assert (with_lost.cost, with_lost.spent.unpriced) == (None, 1)
    assert str(with_lost.spent).startswith(">= USD 0.")
    frame = with_lost.to_frame()
    assert (frame.cost.isna().tolist(), frame.attempts.tolist()) == ([False, True, False], [1, 1, 1])


async def test_when_one_fails_and_none_may_then_it_raises_with_the_rest(four: dict[str, Server]) -> None:
    play(four, google=faults.status(401))
    with pytest.raises(FanOutError, match="1 of 4 calls failed: AuthenticationError: google") as caught:
        await session().pool.fan_out("Who are you?", NAMES, on_error="raise")
    assert len(caught.value.replies.ok) == 3  # pyright: ignore[reportAttributeAccessIssue]


async def test_when_all_fail_then_it_raises(four: dict[str, Server]) -> None:
    play(four, **{name: faults.status(400) for name in NAMES})
    with pytest.raises(FanOutError, match="4 of 4 calls failed"):
        await session().pool.fan_out("Who are you?", NAMES)
    assert len(rows()) == 4


def test_when_several_samples_or_prompts_are_asked_then_each_has_its_place(four: dict[str, Server]) -> None:
    play(four)
    three = session().pool.fan_out_sync("Who are you?", ["openai", "ollama"], n=3)
    assert [len(three[name]) for name in three] == [3, 3]  # pyright: ignore[reportArgumentType]
    grid = session().pool.fan_out_sync(["One?", "Two?"], ["openai", "ollama"])
    assert [(entry.profile, entry.prompt) for entry in grid.entries] == [
        ("openai", 0),
        ("openai", 1),
        ("ollama", 0),
        ("ollama", 1),
    ]
    assert len(rows()) == 10


@pytest.mark.parametrize(
    ("profiles", "n", "said"),
    [
        (["opnai"], 1, "Profile 'opnai' not found. Did you mean 'openai'?"),
        (["openai", "openai"], 1, "'openai' is named twice"),
        ([], 1, "at least one profile"),
        ("openai", 1, "profiles is a list"),
        (["openai"], 0, "n= takes a whole number from 1 to 1000, not 0"),
        (["openai"], 5000, "n= takes a whole number from 1 to 1000, not 5000"),
    ],
)
async def test_when_it_is_asked_wrongly_then_nothing_is_sent(
    four: dict[str, Server], profiles: list[str], n: int, said: str
) -> None:
    play(four)
    with pytest.raises(ConfigError, match=said):
        await session().pool.fan_out("Who are you?", profiles, n=n)
    assert not any(server.requests for server in four.values())


def test_when_a_sample_is_named_where_samples_are_numbered_then_it_is_refused(four: dict[str, Server]) -> None:
    with pytest.raises(ConfigError, match="sample= is for a single call"):
        session().pool.fan_out_sync("Hi", ["openai"], sample=1)
    with pytest.raises(ConfigError, match="sample= is for a single call"):
        Single("openai").run_sync("Hi", sample=1)
    with pytest.raises(ConfigError) as caught:
        session().pool.fan_out_sync("Hi", ["openai"], bogus=1)  # pyright: ignore[reportCallIssue]
    assert "sample" not in str(caught.value)
    assert not any(server.requests for server in four.values())


def test_when_a_key_is_missing_then_that_one_fails_and_the_others_answer(
    four: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(four)
    monkeypatch.delenv(GOOGLE.key_variable or "")
    replies = session().pool.fan_out_sync("Who are you?", NAMES)
    assert list(replies.failed) == ["google"]
    assert "GOOGLE_API_KEY" in str(replies["google"])


def test_when_a_ten_way_fan_out_is_stopped_then_partials_are_kept_and_sockets_closed(four: dict[str, Server]) -> None:
    pieces = ("first, ", *["more, "] * 200)
    play(four, openai=Answer(pieces=pieces, delay=0.05))
    fan = session().pool.start_fan_out("Go on and on.", ["openai"], n=10)
    until(lambda: all(lane.text for lane in fan.lanes))
    stop = fan.interrupted()
    assert "10 of 10" in str(stop)
    last = session().last
    assert last is not None
    assert all(reply.status == "interrupted" and reply.content.startswith("first") for reply in last.ok)  # pyright: ignore[reportAttributeAccessIssue]
    assert [row["status"] for row in rows()] == ["interrupted"] * 10
    until(lambda: all(request.hung_up for request in four["openai"].requests))


async def test_when_the_waiting_task_is_cancelled_then_all_calls_are(four: dict[str, Server]) -> None:
    play(four, **{name: faults.silence() for name in NAMES})
    task = asyncio.create_task(session().pool.fan_out("Wait.", NAMES))
    await asyncio.to_thread(until, lambda: all(server.requests for server in four.values()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [row["status"] for row in rows()] == ["interrupted"] * 4


def until(condition: object, seconds: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():  # pyright: ignore[reportCallIssue]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


# --- fallback ---


def with_fallback(folder: Path, four: dict[str, Server], **more: object) -> OrchestratorPool:
    write_profiles(
        folder,
        first={
            "provider": "openai",
            "model": OPENAI.model,
            "base_url": OPENAI.base_url(four["openai"].url),
            "retries": 0,
            "fallback": ["second", "third"],
            **more,
        },
        second={
            "provider": "anthropic",
            "model": ANTHROPIC.model,
            "base_url": ANTHROPIC.base_url(four["anthropic"].url),
            "retries": 0,
        },
        third={
            "provider": "ollama",
            "model": OLLAMA.model,
            "base_url": OLLAMA.base_url(four["ollama"].url),
            "retries": 0,
        },
    )
    return OrchestratorPool(Settings())


@pytest.mark.parametrize(
    ("act", "lost"),
    [
        (faults.status(429, retry_after="3600"), ""),
        (faults.status(529), ""),
        (faults.status(503), ""),
        (faults.hang_up(), "lost"),
    ],
    ids=range(4),
)
@pytest.mark.parametrize("stream", ["", "streamed"])
async def test_when_a_profile_cannot_answer_then_its_fallback_does(
    tmp_path: Path, four: dict[str, Server], act: object, lost: str, stream: str
) -> None:
    play(four, openai=act)
    with with_fallback(tmp_path, four) as pool:
        first = pool.get_orchestrator("first")
        if stream:
            answer = first.stream("Who are you?")
            pieces = [piece async for piece in answer]
            reply = answer.reply
            assert "".join(pieces) == reply.content
        else:
            reply = await first.run("Who are you?")
    assert (reply.profile, reply.provider, reply.content) == ("second", "anthropic", "I am anthropic.")
    assert reply.attempts == 2
    assert any("first failed" in note for note in reply.notes)
    assert (reply.cost is None) == bool(lost)  # an answer that was lost may have been charged for
    assert [row["profile"] for row in rows()] == ["first", "second"]


@pytest.mark.parametrize("code", [400, 401, 404, 413])
async def test_when_the_request_is_at_fault_then_nobody_else_is_asked(
    tmp_path: Path, four: dict[str, Server], code: int
) -> None:
    play(four, openai=faults.status(code))
    with with_fallback(tmp_path, four) as pool, pytest.raises(VictorError):
        await pool.get_orchestrator("first").run("Who are you?")
    assert not four["anthropic"].requests


async def test_when_all_fallbacks_fail_then_the_first_error_says_so(tmp_path: Path, four: dict[str, Server]) -> None:
    play(four, openai=faults.status(429, retry_after="900"), anthropic=faults.status(401), ollama=faults.status(529))
    with with_fallback(tmp_path, four) as pool, pytest.raises(RateLimitError) as caught:
        await pool.get_orchestrator("first").run("Who are you?")
    assert [note.split(":")[1].strip() for note in caught.value.__notes__] == ["second", "third"]
    assert len(caught.value._render_traceback_()) == 3


async def test_when_text_has_been_shown_then_no_fallback_starts_again(tmp_path: Path, four: dict[str, Server]) -> None:
    play(four, openai=faults.cut(Answer(), 2, "reset"))
    with with_fallback(tmp_path, four) as pool:
        stream = pool.get_orchestrator("first").stream("Who are you?")
        with pytest.raises(VictorError, match="broke off"):
            [piece async for piece in stream]
    assert not four["anthropic"].requests


async def test_when_the_first_one_answers_then_it_serves(tmp_path: Path, four: dict[str, Server]) -> None:
    play(four, openai=Answer(tokens=Tokens(input=3, output=4)))
    with with_fallback(tmp_path, four) as pool:
        reply = await pool.get_orchestrator("first").run("Who are you?")
    assert isinstance(reply, Reply)
    assert (reply.profile, reply.notes) == ("first", ())


def test_when_it_is_cancelled_before_it_has_begun_then_it_ends_all_the_same(four: dict[str, Server]) -> None:
    play(four, **{name: faults.silence() for name in NAMES})
    for _ in range(20):
        fan = session().pool.start_fan_out("Wait.", NAMES)
        fan.cancel()
        assert fan.wait(20)
        assert {reply.status for reply in fan.replies.ok} == {"interrupted"}


@pytest.mark.parametrize("form", [tuple, np.array, pd.Index, pd.Series, pd.Categorical], ids=lambda form: form.__name__)
def test_when_profiles_come_from_an_array_or_a_table_then_they_are_taken(
    form: Callable[[list[str]], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_MODE", "simulate")
    monkeypatch.setenv("VICTOR_SIM_SPEED", "0")
    spec = {"provider": "openai", "model": OPENAI.model}
    write_profiles(tmp_path, one=spec, two=spec)
    given, pool = form(["one", "two"]), session().pool
    assert [reply.profile for reply in pool.fan_out_sync("Hi.", given).ok] == ["one", "two"]
    assert [stage.profile for stage in Cascade(given).stages] == ["one", "two"]
    frame = pool.map_sync(pd.DataFrame({"q": ["a"]}), "{{ q }}", profiles=given, out="x", progress=False)
    assert {"x.one", "x.two"} <= {*frame.columns}
    none = form([])
    with pytest.raises(ConfigError, match="needs at least one profile"):
        pool.fan_out_sync("Hi.", none)
    with pytest.raises(ConfigError, match="profiles is a list of names"):
        Cascade(none)
