"""The transport of replay: it answers from a tape, and opens no connection."""

from __future__ import annotations

import asyncio
from _thread import interrupt_main
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from weakref import WeakSet

import httpx2

from victor_nb.errors import TapeMissError
from victor_nb.values import JOB, ORIGIN
from victor_nb.wire.asked import Asked, Miss, find_nearest
from victor_nb.wire.clock import CLOCK, Clock
from victor_nb.wire.tape import STOPS, TapeFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from victor_nb.values import Origin, Stoppable
    from victor_nb.wire.tape import Exchange

_EXTENSIONS: Final = {"http_version": b"HTTP/1.1"}
_FAULTS: Final = {
    kind.__name__: kind
    for kind in (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.ProxyError,
        httpx2.ReadError,
        httpx2.ReadTimeout,
        httpx2.RemoteProtocolError,
        httpx2.WriteError,
        httpx2.WriteTimeout,
    )
}
"""What breaks an exchange off; what else does is replayed as the last but two."""
_PATIENCE: Final = 5.0  # seconds in which what was stopped when it was recorded must be stopped again
_TOGETHER: Final = 0.3  # seconds in which all that was under way comes as far as it came, before its job is stopped
_NEAR: Final = 0.5  # seconds before the end of a call's time: what was stopped then was stopped by it


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client's exchanges are recorded, or replayed from.

    Attributes:
        path: The tape.
        leaks: Returns whether a text holds a key.
        clean: Returns a text without any key.
        cell: Returns the number of the running cell; None where there are no cells.
    """

    path: Path
    leaks: Callable[[str], bool]
    clean: Callable[[str], str]
    cell: Callable[[], int | None]


class Taped(httpx2.AsyncBaseTransport):
    """The transport of one client whose exchanges are on a tape.

    Args:
        provider: Whose client it is.
        base_url: Where its requests go, or would go.
    """

    def __init__(self, *, provider: str, base_url: str) -> None:
        self._provider, self._base = provider, urlsplit(base_url).path

    async def _asked(self, request: httpx2.Request, origin: Origin) -> Asked:
        content = await request.aread()
        return Asked.of(request, content, provider=self._provider, base=self._base, sample=origin.sample)


class Playback:
    """A tape that is replayed to a kernel: every call gets its exchanges once, in their order.

    Attributes:
        exchanges: All that it holds.
        misses: What was asked that it does not hold.
    """

    def __init__(self, place: Place) -> None:
        self.file = TapeFile(place.path)
        self.exchanges: Sequence[Exchange] = self.file.read()
        self.misses: list[Miss] = []
        self._cell = place.cell
        self._calls: dict[str, dict[int, list[Exchange]]] = {}
        for exchange in sorted(self.exchanges, key=lambda each: (each.occurrence, each.attempt)):
            self._calls.setdefault(exchange.asked.key, {}).setdefault(exchange.occurrence, []).append(exchange)
        self._free = {key: list(calls.values()) for key, calls in self._calls.items()}
        self._begun: dict[tuple[str, str], list[Exchange]] = {}
        self._used: set[int] = set()
        self._stopping: WeakSet[Stoppable] = WeakSet()

    def take(self, asked: Asked, origin: Origin) -> Exchange:
        """Return the next exchange of a call. On the background loop only.

        Raises:
            TapeMissError: The tape holds none.
        """
        place = (origin.call, asked.key)
        if place not in self._begun and (free := self._free.get(asked.key)):
            mine = [each for each in free if (each[0].profile, each[0].stage) == (origin.profile, origin.stage)]
            chosen = next(iter(mine), free[0])
            free.remove(chosen)
            self._begun[place] = list(chosen)
        if left := self._begun.get(place):
            self._used.add(id(left[0]))
            return left.pop(0)
        recorded = ((each.asked, each.cell) for each in self.exchanges)
        miss = Miss(asked, self._cell(), *find_nearest(asked, recorded), len(self._calls.get(asked.key, ())))
        self.misses.append(miss)
        error = TapeMissError(
            f"{origin.profile}: {miss.fact(self.file.name)}",
            profile=origin.profile,
            provider=asked.provider,
            model=asked.model,
        )
        error.refused = True
        for line in miss.notes():
            error.add_note(line)
        raise error

    def goes_on(self, call: str) -> bool:
        """Return whether the tape has a further attempt of a call that has begun."""
        return any(left for (begun, _), left in self._begun.items() if begun == call)

    def stop(self, fault: str) -> None:
        """Stop the job that is under way as it was stopped when it was recorded, once."""
        if (job := JOB.get()) is None or job.stopped or job in self._stopping:
            return
        self._stopping.add(job)
        if fault == "interrupted":
            interrupt_main()
        else:
            job.cancel()

    @property
    def unused(self) -> list[Exchange]:
        """What no call has asked for."""
        return [exchange for exchange in self.exchanges if id(exchange) not in self._used]


class Player(Taped):
    """Answers from a tape, plainly and streamed; it opens no connection.

    Args:
        playback: Returns the tape, as it is replayed now.
        speed: Factor on every wait: 0 answers at once, 1 takes as long as it took. What is shown are the recorded
            seconds.
    """

    def __init__(self, playback: Callable[[], Playback], *, provider: str, base_url: str, speed: float = 0.0) -> None:
        super().__init__(provider=provider, base_url=base_url)
        self.playback, self._speed = playback, speed

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request.

        Raises:
            TapeMissError: The tape has no answer to it.
            httpx2.TransportError: It was not answered when it was recorded.
        """
        origin, playback = ORIGIN.get(), self.playback()
        exchange = playback.take(await self._asked(request, origin), origin)
        waiting = _Waiting(exchange, self._speed, playback)
        if exchange.status is None:
            await waiting.end(request)
        await waiting.until(exchange.answered)
        stream = _Replayed(exchange, waiting, request)
        return httpx2.Response(
            exchange.status or 0, headers=dict(exchange.headers), stream=stream, extensions=_EXTENSIONS
        )


class _Waiting:
    """Moves the clock of a call to the recorded seconds, and waits for as much of them as the speed has it."""

    def __init__(self, exchange: Exchange, speed: float, playback: Playback) -> None:
        self._exchange, self._speed, self._playback = exchange, speed, playback
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._clock = CLOCK.get() or Clock(datetime.now(UTC))
        self._began = self._clock.now
        self._clock.promise(self._began + exchange.latency)

    async def until(self, seconds: float) -> None:
        """Wait until a moment of the exchange."""
        await self._clock.until(self._began + seconds, self._delay, self._speed, asyncio.sleep)

    def _delay(self, due: float) -> float:
        return self._start + self._speed * (due - self._began) - self._loop.time()

    async def end(self, request: httpx2.Request) -> None:
        """End the exchange as it ended.

        Raises:
            httpx2.TransportError: It broke off.
            TapeMissError: It was stopped when it was recorded, and is not stopped now.
        """
        exchange, clock = self._exchange, self._clock
        if exchange.fault not in STOPS:
            await self.until(exchange.latency)
            if exchange.fault:
                name, _, words = exchange.fault.partition(": ")
                raise _FAULTS.get(name, httpx2.RemoteProtocolError)(words, request=request)
            return
        if clock.deadline is not None and self._began + exchange.latency > clock.deadline - _NEAR:
            await self.until(clock.deadline - self._began + _NEAR)  # the call's time ends it, as it did
        if exchange.fault != STOPS[0]:  # with all of its job
            await self.until(exchange.latency)
            await asyncio.sleep(_TOGETHER)
            self._playback.stop(exchange.fault)
        await asyncio.sleep(_PATIENCE)
        fact = "this answer was stopped when it was recorded, and nothing stops it now. Record the cell again."
        raise TapeMissError(f"{exchange.profile}: {fact}", profile=exchange.profile, provider=exchange.asked.provider)


class _Replayed(httpx2.AsyncByteStream):
    """The recorded bytes of an answer, in the pieces in which they came."""

    def __init__(self, exchange: Exchange, waiting: _Waiting, request: httpx2.Request) -> None:
        self._exchange, self._waiting, self._request = exchange, waiting, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at, data in self._exchange.pieces:
            await self._waiting.until(at)
            yield data
        await self._waiting.end(self._request)


def goes_on(transport: httpx2.AsyncBaseTransport, call: str) -> bool:
    """Return whether the tape that a client replays has a further attempt of a call."""
    return isinstance(transport, Player) and transport.playback().goes_on(call)
