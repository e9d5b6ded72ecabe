"""`session().cancel()`: what had begun asks nothing more, what had come is kept, and what is started later runs."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pydantic import BaseModel, field_validator

from cells import Shell
from servers import Answer, Server, faults
from trials import PRICES
from victor_nb import Agent, Cascade, Funnel, Single, compare, compare_sync, search, search_sync, session
from victor_nb.errors import ClosedError, MapError, VictorInterrupted, VictorWarning
from victor_nb.workflows.accessor import register
from victor_nb.workflows.found import Found
from victor_nb.workflows.runs import StrategyRun
from victor_nb.workflows.search import Search
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.exchange import Act, Exchange, Request

pytest_plugins = ["workbench_fixtures"]

WAIT = 30.0  # seconds that anything here may take
TASKS = [f"Task {number}" for number in range(60)]
FRAME = pd.DataFrame({"text": [f"row {number}" for number in range(400)]})


@dataclass
class Desk:
    """A server that holds what it is asked until it is let go, and what was done with it in other threads."""

    server: Server
    holds: Callable[[str], bool] = lambda _: True
    act: Act = field(default_factory=Answer)
    free: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.server.answer = self.answer

    def answer(self, request: Request) -> Act:
        """Hold a request, then answer it."""

        async def act(exchange: Exchange) -> None:
            while self.holds(request.json["messages"][-1]["content"]) and not self.free.is_set():  # noqa: ASYNC110 - of another thread
                await asyncio.sleep(0.01)
            await self.act(exchange)

        return act

    @property
    def asked(self) -> int:
        """Requests that have come."""
        return len(self.server.requests)

    def cancel(self, work: Callable[[], object], *, when: Callable[[], object]) -> tuple[int, object]:
        """Cancel all once work in another thread has come to a point; return the count, and what the work gave.

        No request may come after that, though the server then answers at once: those under way have hung up by then.
        """
        thread = Waiting(work)
        self.server.wait(when, timeout=WAIT)
        count, begun = session().cancel(), list(self.server.requests)
        self.server.wait(lambda: all(request.finished or request.hung_up for request in begun), timeout=WAIT)
        self.free.set()
        given = thread.end()
        time.sleep(0.3)
        assert self.asked == len(begun), "what had begun goes on asking"
        return count, given


class Waiting(threading.Thread):
    """Does some work, and keeps what it gave or raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work, self._given = work, None
        self.start()

    def run(self) -> None:
        """Do it."""
        try:
            self._given = self._work()
        except BaseException as error:  # noqa: BLE001 - it is looked at
            self._given = error

    def end(self) -> Any:  # noqa: ANN401 - whatever it gave
        """Wait for its end, and return what it gave or raised."""
        self.join(WAIT)
        assert not self.is_alive(), "it does not end"
        return self._given


@pytest.fixture
def desk(tmp_path: Path, server: Server, keys: str) -> Desk:
    """Write profiles for a server that holds what it is asked; each has two places."""
    assert keys
    spec = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "base_url": f"{server.url}/v1",
        "prices": PRICES,
        "max_tokens": 10,
        "concurrency": 2,
    }
    write_profiles(
        tmp_path,
        fast=spec,
        premium={**spec, "model": "gpt-4o"},
        safe={**spec, "retries": 0, "fallback": ["premium"]},
        patient={**spec, "retries": 3},
    )
    return Desk(server)


def right(task: str, answer: str) -> bool:
    """Take any answer."""
    return bool(task and answer)


def mapped() -> object:
    register()
    frame: Any = FRAME
    return frame.victor.map("Say {{ text }}", profile="fast", out="o", progress=False)


def searching() -> Search:
    return Search(session().pool, TASKS, ["fast", "premium"], {"score": right, "reference": "premium"}).start()


def strategy() -> Funnel:
    return Funnel("fast", "fast", "premium", "premium", ideas=8)


def twice() -> list[Any]:
    return [Single("fast"), Single("premium", name="other")]


BULK: dict[str, tuple[Callable[[], object], int]] = {
    "map of a frame": (mapped, 2),
    "map_sync": (lambda: session().pool.map_sync(FRAME, "Say {{ text }}", profile="fast", out="o"), 2),
    "map of few at a time": (
        lambda: session().pool.map_sync(FRAME, "Say {{ text }}", profile="fast", out="o", concurrency=1),
        1,
    ),
    "start_map": (lambda: session().pool.start_map(FRAME, "Say {{ text }}", profile="fast", out="o").result(), 2),
    "map of strategies": (
        lambda: session().pool.map_sync(FRAME, "Say {{ text }}", profile=strategy(), out="o", concurrency=1),
        2,
    ),
}


@pytest.mark.parametrize(("work", "most"), BULK.values(), ids=BULK)
def test_when_all_is_cancelled_then_a_map_asks_no_other_row_and_gives_its_frame(
    desk: Desk, work: Callable[[], object], most: int
) -> None:
    count, frame = desk.cancel(work, when=lambda: desk.asked == most)
    assert isinstance(frame, pd.DataFrame)
    assert count >= most
    assert set(frame["o_status"]) <= {"interrupted", "pending"}
    assert {row["status"] for row in rows()} == {"interrupted"}
    last = session().last
    assert isinstance(last, pd.DataFrame)
    assert len(last) == len(FRAME)


OTHERS: dict[str, tuple[Callable[[], object], int, type | tuple[type, ...]]] = {
    "awaited map": (
        lambda: asyncio.run(session().pool.map(FRAME, "Say {{ text }}", profile="fast")),
        2,
        asyncio.CancelledError,
    ),
    "fan-out": (lambda: session().pool.fan_out_sync(TASKS, ["fast", "premium"]), 4, object),
    "awaited fan-out": (
        lambda: asyncio.run(session().pool.fan_out(TASKS, ["fast", "premium"])),
        4,
        asyncio.CancelledError,
    ),
    "search": (lambda: search_sync(TASKS, ["fast", "premium"], score=right, reference="premium"), 4, Found),
    "awaited search": (
        lambda: asyncio.run(search(TASKS, ["fast", "premium"], score=right, reference="premium")),
        4,
        asyncio.CancelledError,
    ),
    "search that was started": (lambda: searching().result(), 4, Found),
    "strategy": (lambda: strategy().run_sync("x"), 2, StrategyRun),
    "strategy that was started": (lambda: strategy().start("x").result(), 2, StrategyRun),
    "awaited strategy": (lambda: asyncio.run(strategy().run("x")), 2, asyncio.CancelledError),
    "cascade": (lambda: Cascade(["fast", "premium"], accept="never").run_sync("x"), 1, StrategyRun),
    "call": (lambda: session().pool.get_orchestrator("fast").run_sync("x"), 1, object),
    "call of an agent": (lambda: Agent.create_sync("fast").chat().run_sync("x"), 1, object),
    "awaited call": (lambda: asyncio.run(session().pool.get_orchestrator("fast").run("x")), 1, asyncio.CancelledError),
    "call with a fallback": (lambda: session().pool.get_orchestrator("safe").run_sync("x"), 1, object),
    "measured baseline": (lambda: _run().savings("fast", "one_call", measure=True), 1, VictorInterrupted),
}


def _run() -> StrategyRun:
    """Return a run that has cost nothing."""
    run = Single("fast").start("x", cache="off")
    run.cancel()
    run.wait(WAIT)
    return run.run


@pytest.mark.parametrize(("work", "most", "kind"), OTHERS.values(), ids=OTHERS)
def test_when_all_is_cancelled_then_what_had_begun_asks_nothing_more(
    desk: Desk, work: Callable[[], object], most: int, kind: type
) -> None:
    count, given = desk.cancel(work, when=lambda: desk.asked >= most)
    assert count >= most
    assert isinstance(given, kind), given
    assert not isinstance(given, BaseException) or kind is not object
    assert {row["status"] for row in rows()} == {"interrupted"}
    assert session().cancel() == 0
    assert session().pool.get_orchestrator("fast").run_sync("Hi.").content == Answer().text


def test_when_a_map_is_cancelled_between_its_calls_then_it_ends_too(desk: Desk) -> None:
    desk.act = faults.status(429, retry_after="20")
    desk.free.set()
    count, frame = desk.cancel(
        lambda: session().pool.map_sync(FRAME, "Say {{ text }}", profile="fast", out="o", concurrency=1),
        when=lambda: desk.asked and desk.server.requests[0].finished,
    )
    assert isinstance(frame, pd.DataFrame)
    assert count == 1


def test_when_a_call_waits_for_its_next_attempt_then_it_makes_none(desk: Desk) -> None:
    desk.act = faults.status(503, retry_after="1")
    desk.free.set()
    work = session().pool.get_orchestrator("patient")
    count, _ = desk.cancel(lambda: work.run_sync("x"), when=lambda: desk.asked and desk.server.requests[0].finished)
    time.sleep(1.2)
    assert (count, desk.asked) == (1, 1)


def test_when_an_answer_does_not_fit_then_a_call_that_was_cancelled_asks_no_second_time(desk: Desk) -> None:
    read, cancelled = threading.Event(), threading.Event()

    class Number(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def refuse(cls, n: int) -> int:
            read.set()
            cancelled.wait(WAIT)
            raise ValueError(f"{n} is none")

    desk.act = Answer(('{"n": 1}',))
    desk.free.set()
    work = Waiting(lambda: session().pool.get_orchestrator("fast").run_sync("x", schema=Number))
    assert read.wait(WAIT)
    assert session().cancel() == 1
    cancelled.set()
    assert work.end().status == "interrupted"
    time.sleep(0.3)
    assert desk.asked == 1


@pytest.mark.parametrize("awaited", [False, True])
def test_when_a_comparison_is_cancelled_then_the_runs_that_had_ended_are_kept(desk: Desk, *, awaited: bool) -> None:
    desk.holds = lambda prompt: TASKS[2] in prompt

    def work() -> object:
        if awaited:
            return asyncio.run(compare(twice(), TASKS, progress=False))
        with pytest.warns(VictorWarning, match="stopped after 4 of 120 runs"):
            return compare_sync(twice(), TASKS, progress=False)

    count, given = desk.cancel(work, when=lambda: desk.asked == 5)
    assert count == 1
    last: Any = session().last
    frame = last.to_frame()
    assert frame["task"].tolist() == [TASKS[0]] * 2 + [TASKS[1]] * 2
    if awaited:
        assert isinstance(given, asyncio.CancelledError)
    else:
        pd.testing.assert_frame_equal(given, frame)  # type: ignore[arg-type]


def test_when_a_profile_judges_then_its_other_readings_are_not_asked_for(desk: Desk) -> None:
    desk.holds = lambda prompt: "<answer" in prompt
    tasks = TASKS[:2]
    count, given = desk.cancel(
        lambda: _quiet(lambda: compare_sync(twice(), tasks, judge="fast", samples=6)), when=lambda: desk.asked == 6
    )
    assert count >= 2
    assert isinstance(given, pd.DataFrame)
    assert len(given) == 4


def _quiet(work: Callable[[], object]) -> object:
    with pytest.warns(VictorWarning, match="stopped"):
        return work()


def test_when_a_function_of_the_user_s_asks_then_it_gets_nothing_more(desk: Desk) -> None:
    desk.holds = lambda prompt: "Judge" in prompt
    judged: list[object] = []
    ended = threading.Event()

    def judge(task: str, answer: str) -> float:
        judged.append(session().pool.get_orchestrator("fast").run_sync(f"Judge {answer!r} of {task}").status)
        if len(judged) == 2:
            ended.set()
        return 1.0

    desk.cancel(lambda: _quiet(lambda: compare_sync(twice(), "x", judge=judge)), when=lambda: desk.asked == 3)
    assert ended.wait(WAIT), "the thread of the function goes on"
    assert judged == ["interrupted", "interrupted"]
    assert desk.asked == 3


def test_when_work_is_stopped_by_its_own_handle_then_what_a_function_asks_within_it_stops_too(desk: Desk) -> None:
    desk.holds = lambda prompt: "Judge" in prompt

    def good(reply: Any) -> bool:  # noqa: ANN401 - a Reply
        session().pool.get_orchestrator("fast").run_sync(f"Judge {reply.content}")
        return False

    job = Cascade(["fast", "premium"], accept=good).start("x")
    desk.server.wait(lambda: desk.asked == 2)
    job.cancel()
    desk.server.wait(lambda: desk.server.requests[1].hung_up)
    desk.free.set()
    assert job.wait(WAIT)
    time.sleep(0.3)
    assert desk.asked == 2


def test_when_a_stream_is_cancelled_with_all_then_its_loop_just_ends(desk: Desk) -> None:
    desk.act = faults.cut(Answer(), 2, "silence")
    desk.free.set()
    stream = session().pool.get_orchestrator("fast").stream("x")
    reading = Waiting(lambda: list(stream))
    desk.server.wait(lambda: stream.text == "Tokens are ")
    assert session().cancel() == 1
    assert reading.end() == ["Tokens ", "are "]
    assert (stream.reply.content, stream.reply.status) == ("Tokens are ", "interrupted")


async def test_when_a_stream_is_cancelled_before_it_has_begun_then_an_awaiting_loop_ends(desk: Desk) -> None:
    for _ in range(20):
        stream = session().pool.get_orchestrator("fast").stream("x")
        session().cancel()
        async with asyncio.timeout(WAIT):
            assert not [piece async for piece in stream]
        assert stream.reply.status == "interrupted"
    assert desk.asked <= 20


def test_when_an_answer_of_a_chat_is_cancelled_then_the_chat_does_not_remember_it(desk: Desk) -> None:
    chat = Agent.create_sync("fast").chat()
    desk.cancel(lambda: chat.run_sync("x"), when=lambda: desk.asked == 1)
    assert not chat.history
    chat.run_sync("y")
    assert len(chat.history) == 2


def test_when_all_is_cancelled_then_the_upkeep_goes_on(desk: Desk) -> None:
    loop, done = session().runtime.loop, threading.Event()

    async def tidy() -> None:
        await asyncio.sleep(0.2)
        done.set()

    job = loop.start(tidy, upkeep=True)
    assert not loop.busy
    assert session().cancel() == 0
    job.result()
    assert done.is_set()


def test_when_rows_are_asked_in_the_background_then_the_line_ends_them(desk: Desk) -> None:
    live = Shell()
    live.names["df"] = FRAME
    live.run("%%victor fast over=$df out=o bg=true\nSay {{ text }}")
    desk.server.wait(lambda: desk.asked == 2)
    assert "Stopped 20 calls." in live.run("%victor cancel").plain
    assert "Nothing was running." in live.run("%victor cancel").plain
    desk.free.set()
    job: Any = session().jobs[-1]
    assert set(job.result()["o_status"]) == {"interrupted", "pending"}
    time.sleep(0.3)
    assert desk.asked == 2


@pytest.mark.parametrize("end", ["shutdown", "close"])
def test_when_the_pool_or_the_session_is_closed_then_what_had_begun_asks_nothing_more(desk: Desk, end: str) -> None:
    pool = session().pool
    works = [
        lambda: pool.map_sync(FRAME, "Say {{ text }}", profile="fast", out="o"),
        lambda: Cascade(["fast", "premium"], accept="never").run_sync("x", pool=pool),
        lambda: search_sync(TASKS, ["fast", "premium"], score=right, reference="premium", pool=pool, progress=False),
    ]
    threads = [Waiting(work) for work in works]
    desk.server.wait(lambda: desk.asked >= 4)
    time.sleep(0.2)
    (pool.shutdown if end == "shutdown" else session().close)()
    asked = desk.asked
    desk.free.set()
    ends = [thread.end() for thread in threads]
    time.sleep(0.3)
    assert desk.asked == asked
    assert isinstance(ends[0], MapError)
    if end == "shutdown":
        assert [type(each) for each in ends[1:]] == [ClosedError, ClosedError]
