"""However a call ends, all of it has ended: the garbage collector would end what is left, in any thread."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import contextmanager, suppress
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Final

import pytest

from servers import OPENAI, PROTOCOLS, Answer, Request, Server, dialect_of, faults
from victor_nb.calls.call import ProfileCall
from victor_nb.calls.stream import Call, Stream
from victor_nb.errors import ProviderError
from victor_nb.kernel import session
from victor_nb.loop import Job
from victor_nb.values import Reply
from workbench import Way, ask, rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.exchange import Act
    from victor_nb.calls.orchestrator import AgentOrchestrator

pytest_plugins = ["workbench_fixtures"]

LONG: Final = 60.0  # seconds; a machine may be busy
ACTS: Final[dict[str, Act]] = {
    "whole": Answer(),
    "refused": faults.status(500, "No."),
    "half a body": faults.cut_plain(Answer()),
    "silence": faults.silence(),
    "an error": faults.error_event(Answer(), 2, "Out of stars"),
    "lost": faults.cut(Answer(), 2, "reset"),
    "an early end": faults.cut(Answer(), 2, "clean"),
    "silence after text": faults.cut(Answer(), 2, "silence"),
    "no JSON": faults.body(b"data: {]\n\n", kind="text/event-stream"),
}
ENDS: Final[dict[Way, tuple[str, ...]]] = {
    "plain": ("whole", "refused", "half a body"),
    "stream": ("whole", "refused", "an error", "lost", "an early end", "no JSON"),
}
"""What ends by itself."""
STAYS: Final[dict[Way, str]] = {"plain": "silence", "stream": "silence after text"}
"""What is stopped, or takes too long."""
KINDS: Final = (Job, Call, ProfileCall, Stream, Reply)
_older: Final[list[object]] = []


@pytest.fixture(autouse=True)
def _leave_out_others() -> Iterator[None]:
    """Look at nothing that other tests have left in memory."""
    gc.collect()
    _older[:] = kept()
    yield
    _older.clear()


def answer(request: Request) -> Act:
    """Do what a prompt names."""
    return ACTS[dialect_of(request).asked(request).messages[-1][1].partition(" | ")[0]]


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector away."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def half_way() -> list[str]:
    """Return the generators of answers that have begun and not ended."""
    found = [each for each in gc.get_objects() if isinstance(each, AsyncGeneratorType) and each.ag_frame is not None]
    homes = ("/httpx2/", "/httpx_aiohttp/", "/victor_nb/providers/", "/victor_nb/wire/")
    return [str(each) for each in found if any(home in each.ag_code.co_filename for home in homes)]


def kept() -> list[object]:
    """Return what there is of calls in memory."""
    older = {id(each) for each in _older}
    return [each for each in gc.get_objects() if isinstance(each, KINDS) and id(each) not in older]


async def freed(*, collect: bool = False) -> bool:
    """Return whether nothing of calls stays in memory, once the loop's thread has let go of what it has just done."""
    until = time.monotonic() + 5
    while kept() and time.monotonic() < until:
        await asyncio.sleep(0.01)
        if collect:
            gc.collect()
    return not kept()


async def left() -> list[str]:
    """Return what is half-way on the background loop, and the tasks that are under way there."""

    async def look() -> list[str]:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return half_way() + [str(task) for task in tasks if "victor_nb" in str(task)]

    return await session().runtime.loop.call(look)


async def fail(orchestrator: AgentOrchestrator, prompt: str, way: Way, seconds: float = LONG) -> None:
    with suppress(ProviderError):
        await ask(orchestrator, prompt, way, timeout=seconds)


async def leave(orchestrator: AgentOrchestrator) -> None:
    """Leave a stream at its first piece."""
    stream = orchestrator.stream(STAYS["stream"])
    async for piece in stream:
        assert piece
        break
    assert await asyncio.to_thread(stream.wait, LONG)


async def cancel(orchestrator: AgentOrchestrator, way: Way, server: Server) -> None:
    """Cancel the task that awaits a call, once the server has been asked."""
    prompt = f"{STAYS[way]} | {orchestrator.profile.name}"
    task = asyncio.create_task(ask(orchestrator, prompt, way))
    await asyncio.to_thread(server.wait, lambda: any(prompt in request.text for request in server.requests))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def end(orchestrator: AgentOrchestrator, server: Server) -> None:
    """Make calls that end in every way, at once."""
    calls = [fail(orchestrator, name, way) for way, names in ENDS.items() for name in names]
    late = [fail(orchestrator, f"{name} | late", way, 0.5) for way, name in STAYS.items()]
    stopped = [cancel(orchestrator, way, server) for way in STAYS]
    await asyncio.gather(*calls, *late, *stopped, leave(orchestrator))


@pytest.mark.parametrize("mode", ["live", "record"])
async def test_when_a_call_has_ended_then_nothing_of_it_is_half_way(
    tmp_path: Path, server: Server, keys: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VICTOR_TAPE", str(tmp_path / "tape.jsonl"))
    monkeypatch.setenv("VICTOR_MODE", mode)
    desks = {
        repr(each): {"provider": each.name, "model": each.model, "base_url": each.base_url(server.url), "retries": 0}
        for each in PROTOCOLS
    }
    write_profiles(tmp_path, **desks)
    server.answer = answer
    with uncollected():
        await asyncio.gather(*(end(session().pool.get_orchestrator(desk), server) for desk in desks))
        assert await left() == []
    assert len(rows()) == len(desks) * 14
    # Cancelled timers and idle connections stay, with the contexts of the calls: these hold no calls.
    session().runtime.errors.clear()
    session().runtime.last = None
    assert await freed(collect=True)


async def test_when_an_answer_is_whole_then_its_memory_is_free_without_the_garbage_collector(
    tmp_path: Path, server: Server, keys: str
) -> None:
    write_profiles(
        tmp_path, desk={"provider": "openai", "model": OPENAI.model, "base_url": OPENAI.base_url(server.url)}
    )
    server.play(Answer())
    orchestrator = session().pool.get_orchestrator("desk")
    with uncollected():
        for way in ENDS:
            await ask(orchestrator, "How many?", way)
        await asyncio.to_thread(orchestrator.run_sync, "How many?")
        session().runtime.last = None
        assert await freed()
