"""The transport of record: what passes through it is written into a tape. The tapes of a kernel."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import httpx2

from victor_nb.errors import SecretError, TapeError
from victor_nb.values import JOB, ORIGIN
from victor_nb.wire.player import Playback, Taped
from victor_nb.wire.tape import STOPS, Exchange, Journal, TapeFile, kept_headers, streamed_texts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable
    from pathlib import Path

    from victor_nb.values import Origin, Stoppable
    from victor_nb.wire.asked import Asked
    from victor_nb.wire.player import Place

_FAILED: Final = 400  # the first status that is an error


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
    _job: Stoppable | None = field(init=False)
    _answered: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.origin.began or time.perf_counter()
        self._job = JOB.get()

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
            self.recording.keep(self._exchange((self._job.stopped if self._job else "") or STOPS[0]))

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Record what breaks off the block.

        Raises:
            SecretError: It holds a key.
            TapeError: It cannot be written.
        """
        try:
            yield
        except httpx2.TransportError as error:
            await self.end(error)
            raise
        except asyncio.CancelledError:
            self.stop()
            raise


class Recorder(Taped):
    """Records the exchanges of calls that pass through it, streams as they pass. What no call sends is not recorded.

    Args:
        inner: Sends them.
        recording: Where they are recorded.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, recording: Recording, provider: str, base_url: str) -> None:
        super().__init__(provider=provider, base_url=base_url)
        self._inner, self._recording = inner, recording

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, and record what comes.

        Raises:
            httpx2.TransportError: It could not be sent, or was not answered.
            TapeError: It cannot be recorded.
        """
        origin = ORIGIN.get()
        if not origin.call:
            return await self._inner.handle_async_request(request)
        draft = self._recording.open(await self._asked(request, origin), origin)
        async with draft.watching():
            response = await self._inner.handle_async_request(request)
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
        inner = cast("AsyncGenerator[bytes]", aiter(self._inner))
        async with self._draft.watching(), aclosing(inner) as pieces:
            async for piece in pieces:
                self._draft.add(piece)
                yield piece
        await self._draft.end()

    async def aclose(self) -> None:
        """Close the answer; what is left of it does not come."""
        try:
            self._draft.stop()
        finally:
            await self._inner.aclose()


# --- the tapes of a kernel ---


class Tapes:
    """The tapes that a kernel records and replays, by their paths."""

    def __init__(self) -> None:
        self.recordings: dict[Path, Recording] = {}
        self.playbacks: dict[Path, Playback] = {}
        self._lock = threading.Lock()

    def recording(self, place: Place) -> Recording:
        """Return the recording of a tape, which is read at the first use: what is paid must find its place.

        Raises:
            TapeError: It cannot be used.
        """
        with self._lock:
            if place.path not in self.recordings:
                recording = Recording(place)
                recording.file.check()
                self.recordings[place.path] = recording
            return self.recordings[place.path]

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


def ends_in_error(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Return the last attempts of calls whose last attempt failed."""
    last: dict[tuple[str, int], Exchange] = {}
    for exchange in sorted(exchanges, key=lambda each: each.attempt):
        last[exchange.asked.key, exchange.occurrence] = exchange
    return [exchange for exchange in last.values() if exchange.failed]
