"""The transports of record and replay: one writes what passes into a tape, the other answers from it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2

from victor_nb.errors import SecretError, TapeError, TapeMissError
from victor_nb.values import ORIGIN
from victor_nb.wire.asked import Asked, Miss, find_nearest
from victor_nb.wire.clock import CLOCK, Clock
from victor_nb.wire.tape import Exchange, Journal, TapeFile, kept_headers, streamed_texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from victor_nb.values import Origin

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
_STOPPED: Final = "stopped"
_PATIENCE: Final = 5.0  # seconds in which what was stopped when it was recorded must be stopped again
_NEAR: Final = 0.5  # seconds before the end of a call's time: what was stopped then was stopped by it
_FAILED: Final = 400  # the first status that is an error


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


# --- record ---


class Recording:
    """What a kernel records on one tape.

    Args:
        place: Where.
    """

    def __init__(self, place: Place) -> None:
        self.file = TapeFile(place.path)
        self._place = place
        self._journal = Journal(place.path)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._calls: dict[tuple[str, str], list[int]] = {}
        self._kept: dict[str, list[Exchange]] = {}
        self._new: set[str] = set()

    def open(self, asked: Asked, origin: Origin) -> Draft:
        """Return an exchange that begins now. On the background loop only: its order is that of the calls."""
        numbers = self._calls.get((origin.call, asked.key))
        if numbers is None:
            numbers = self._calls[origin.call, asked.key] = [self._counts[asked.key], -1]
            self._counts[asked.key] += 1
        numbers[1] += 1
        return Draft(self, asked, origin, self._place.cell(), numbers[0], numbers[1])

    def keep(self, exchange: Exchange) -> None:
        """Write an exchange to the journal, after a look for keys, and a trial of what a replay would read.

        Raises:
            SecretError: It holds a key.
            TapeError: It cannot be written.
        """
        line = exchange.line()
        where = f"In [{exchange.cell}]: " if exchange.cell is not None else ""
        texts = (line, exchange.body.decode("utf-8", "replace"), *streamed_texts(exchange.body))
        if any(map(self._place.leaks, texts)):
            fact = f"{where}request or answer of {exchange.profile} holds a key, and was not recorded"
            raise SecretError(f"{fact} in {self.file.name}. Take the key out of the prompt, or have it not repeated.")
        if (read := Exchange.read(line)).body != exchange.body or read.asked.key != exchange.asked.key:
            raise TapeError(f"{where}the answer of {exchange.profile} cannot be recorded: it is read otherwise.")
        with self._lock:
            try:
                self._journal.append(line)
            except OSError as error:
                fact = f"{where}the answer of {exchange.profile} came, but the tape {self.file.path} cannot be written"
                raise TapeError(f"{fact}: {error.strerror or error}. Mend that, and record the cell again.") from None
            self._kept.setdefault(exchange.asked.key, []).append(exchange)
            self._new.add(exchange.asked.key)

    def clean(self, text: bytes) -> bytes:
        """Return the words of a refusal without a key: providers repeat those that they do not take."""
        return self._place.clean(text.decode("utf-8", "replace")).encode()

    @property
    def kept(self) -> list[Exchange]:
        """All that this kernel has recorded since it was last asked to record."""
        with self._lock:
            return [exchange for found in self._kept.values() for exchange in found]

    def save(self) -> int:
        """Sort what is new into the tape; return how many exchanges that are.

        Raises:
            TapeError: It cannot be read or written; the journal keeps them.
        """
        with self._lock:
            found = [exchange for key in self._new for exchange in self._kept[key]]
            if found:
                self.file.add(found)
                self._new.clear()
            self._journal.remove()
            return len(found)


@dataclass
class Draft:
    """An exchange that is being recorded."""

    recording: Recording
    asked: Asked
    origin: Origin
    cell: int | None
    occurrence: int
    attempt: int
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: list[tuple[float, bytes]] = field(default_factory=list[tuple[float, bytes]])
    ended: bool = False
    _began: float = field(init=False)
    _answered: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.origin.began or time.perf_counter()

    def answer(self, response: httpx2.Response) -> None:
        """Take status and headers. The body comes unpacked, as `Real` gives it."""
        self._answered = time.perf_counter() - self._began
        self.status, self.headers = response.status_code, kept_headers(response.headers.multi_items())

    def add(self, piece: bytes) -> None:
        """Take a piece of the body, when it passes."""
        self.pieces.append((time.perf_counter() - self._began, piece))

    def _exchange(self, fault: str) -> Exchange:
        pieces = self.pieces
        if self.status is None or self.status >= _FAILED:
            pieces = [(at, self.recording.clean(data)) for at, data in pieces]
        return Exchange(
            asked=self.asked,
            profile=self.origin.profile,
            stage=self.origin.stage,
            cell=self.cell,
            occurrence=self.occurrence,
            attempt=self.attempt,
            status=self.status,
            headers=self.headers,
            answered=self._answered,
            pieces=tuple((at, data) for at, data in pieces if data),
            latency=time.perf_counter() - self._began,
            fault=fault,
        )

    async def end(self, error: httpx2.TransportError | None = None) -> None:
        """Record it: whole, or broken off by an error.

        Raises:
            SecretError: It holds a key.
            TapeError: It cannot be written.
        """
        self.ended = True
        fault = "" if error is None else self.recording.clean(f"{type(error).__name__}: {error}".encode()).decode()
        work = asyncio.get_running_loop().run_in_executor(None, self.recording.keep, self._exchange(fault))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:  # all has come: it is recorded, whatever becomes of the call
            await asyncio.wait({work})
            work.result()
            raise

    def stop(self) -> None:
        """Record what had come when it was stopped.

        Raises:
            SecretError: It holds a key.
            TapeError: It cannot be written.
        """
        if not self.ended:
            self.ended = True
            self.recording.keep(self._exchange(_STOPPED))


class Recorder(httpx2.AsyncBaseTransport):
    """Records the exchanges of calls that pass through it, streams as they pass. What no call sends is not recorded.

    Args:
        inner: Sends them.
        recording: Where they are recorded.
        provider: Whose client it is.
        base_url: Where its requests go.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, recording: Recording, provider: str, base_url: str) -> None:
        self._inner, self._recording, self._provider = inner, recording, provider
        self._base = urlsplit(base_url).path

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, and record what comes.

        Raises:
            httpx2.TransportError: It could not be sent, or was not answered.
            TapeError: It cannot be recorded.
        """
        origin = ORIGIN.get()
        if not origin.call:
            return await self._inner.handle_async_request(request)
        content = await request.aread()
        asked = Asked.of(request, content, provider=self._provider, base=self._base, sample=origin.sample)
        draft = self._recording.open(asked, origin)
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            await draft.end(error)
            raise
        except asyncio.CancelledError:
            draft.stop()
            raise
        draft.answer(response)
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Tee(response.stream, draft)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Tee(httpx2.AsyncByteStream):
    """The bytes of an answer, each recorded when it passes."""

    def __init__(self, inner: httpx2.AsyncByteStream, draft: Draft) -> None:
        self._inner, self._draft = inner, draft

    async def __aiter__(self) -> AsyncIterator[bytes]:
        draft = self._draft
        try:
            async for piece in self._inner:
                draft.add(piece)
                yield piece
        except httpx2.TransportError as error:
            await draft.end(error)
            raise
        await draft.end()

    async def aclose(self) -> None:
        """Close the answer; what is left of it does not come."""
        try:
            self._draft.stop()
        finally:
            await self._inner.aclose()


# --- replay ---


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

    @property
    def unused(self) -> list[Exchange]:
        """What no call has asked for."""
        return [exchange for exchange in self.exchanges if id(exchange) not in self._used]


class Player(httpx2.AsyncBaseTransport):
    """Answers from a tape, plainly and streamed; it opens no connection.

    Args:
        playback: Returns the tape, as it is replayed now.
        provider: Whose client it is.
        base_url: Where its requests would go.
        speed: Factor on every wait: 0 answers at once, 1 takes as long as it took. What is shown are the recorded
            seconds.
    """

    def __init__(self, playback: Callable[[], Playback], *, provider: str, base_url: str, speed: float = 0.0) -> None:
        self.playback = playback
        self._provider, self._base, self._speed = provider, urlsplit(base_url).path, speed

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request.

        Raises:
            TapeMissError: The tape has no answer to it.
            httpx2.TransportError: It was not answered when it was recorded.
        """
        origin, content = ORIGIN.get(), await request.aread()
        asked = Asked.of(request, content, provider=self._provider, base=self._base, sample=origin.sample)
        exchange = self.playback().take(asked, origin)
        waiting = _Waiting(exchange, self._speed)
        if exchange.status is None:
            await waiting.end(request)
        await waiting.until(exchange.answered)
        stream = _Replayed(exchange, waiting, request)
        return httpx2.Response(
            exchange.status or 0, headers=dict(exchange.headers), stream=stream, extensions=_EXTENSIONS
        )


class _Waiting:
    """Moves the clock of a call to the recorded seconds, and waits for as much of them as the speed has it."""

    def __init__(self, exchange: Exchange, speed: float) -> None:
        self._exchange, self._speed = exchange, speed
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
        if exchange.fault != _STOPPED:
            await self.until(exchange.latency)
            if exchange.fault:
                name, _, words = exchange.fault.partition(": ")
                raise _FAULTS.get(name, httpx2.RemoteProtocolError)(words, request=request)
            return
        if clock.deadline is not None and self._began + exchange.latency > clock.deadline - _NEAR:
            await self.until(clock.deadline - self._began + _NEAR)  # the call's time ends it, as it did
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


# --- the tapes of a kernel ---


class Tapes:
    """The tapes that a kernel records and replays, by their paths."""

    def __init__(self) -> None:
        self.recordings: dict[Path, Recording] = {}
        self.playbacks: dict[Path, Playback] = {}
        self._lock = threading.Lock()

    def recording(self, place: Place) -> Recording:
        """Return the recording of a tape."""
        with self._lock:
            return self.recordings.setdefault(place.path, Recording(place))

    def playback(self, place: Place) -> Playback:
        """Return the playback of a tape, read at the first use.

        Raises:
            TapeError: It cannot be used.
        """
        with self._lock:
            if place.path not in self.playbacks:
                self.playbacks[place.path] = Playback(place)
            return self.playbacks[place.path]

    def save(self) -> int:
        """Sort what was recorded into the tapes; return how many exchanges that are.

        Raises:
            TapeError: One cannot be written.
        """
        return sum(recording.save() for recording in list(self.recordings.values()))

    def rewind(self) -> None:
        """Forget what was replayed: tapes are read anew, and every call gets its answers again."""
        self.playbacks.clear()


def goes_on(transport: httpx2.AsyncBaseTransport, call: str) -> bool:
    """Return whether the tape that a client replays has a further attempt of a call."""
    return isinstance(transport, Player) and transport.playback().goes_on(call)


def ends_in_error(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Return the last attempts of calls whose last attempt failed."""
    last: dict[tuple[str, int], Exchange] = {}
    for exchange in sorted(exchanges, key=lambda each: each.attempt):
        last[exchange.asked.key, exchange.occurrence] = exchange
    return [exchange for exchange in last.values() if exchange.failed]
