"""A transport that answers in-process, as a provider would: no socket, no key, no bill."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import httpx2

from victor_nb.providers.spec import BUILT_IN, Spec
from victor_nb.values import ORIGIN, SimulatedAnswer
from victor_nb.wire.clock import CLOCK, Clock
from victor_nb.wire.dialects.base import Call, Dialect, Event, RefusedError, answer
from victor_nb.wire.pace import Pace
from victor_nb.wire.reading import Json, JsonObject, attached, clean, dumps
from victor_nb.wire.shapes import write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_EXTENSIONS: Final = {"http_version": b"HTTP/1.1"}


class Simulator(httpx2.AsyncBaseTransport):
    """Answers the requests of a provider's clients, plain and streamed.

    The same request gets the same bytes: the answer of the user's own that `ORIGIN` carries, else a placeholder in the
    shape that the prompt asks for. It is no model's, and is shown as simulated.

    Args:
        specs: Whose protocols it speaks; a path tells them apart, and none is all that are built in.
        speed: Factor on every wait: 1 is the pace of a model of that kind, 0 answers at once.
    """

    def __init__(self, *specs: Spec, speed: float = 1.0) -> None:
        self._dialects: list[Dialect] = [
            kind() for kind in dict.fromkeys(kind for spec in specs or BUILT_IN for kind in spec.load_dialects())
        ]
        self._speed = speed

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request.

        Raises:
            httpx2.ReadTimeout: The answer takes longer than the request waits for it.
        """
        call = _call(request, await request.aread())
        known = next((dialect for dialect in self._dialects if dialect.path.search(call.path)), None)
        dialect = known or self._dialects[0]
        try:
            if known is None or call.method != "POST":
                raise dialect.refuse(f"Invalid URL ({call.method} {call.path})", call, status=404)
            return await self._answer(call, dialect, request)
        except RefusedError as refused:
            return _json(refused.status, refused.body, call, dialect)

    async def _answer(self, call: Call, dialect: Dialect, request: httpx2.Request) -> httpx2.Response:
        given, asked = ORIGIN.get().answer or SimulatedAnswer(), dialect.read(call)
        if count := attached(call.body):
            asked = replace(asked, attachments=count)
        if given.status is not None:
            await _Waiting(speed=self._speed, pace=Pace(given.delay, 1), request=request, last=0).wait(0)
            wait = {} if given.retry_after is None else {"retry-after": f"{given.retry_after:g}"}
            message = given.message or f"A simulated failure with status {given.status}."
            return _json(given.status, dialect.error(given.status, message, call), call, dialect, **wait)
        asked = replace(asked, seed=f"{asked.seed}/{call.sample}") if call.sample else asked
        answered = answer(asked, write(asked) if given.text is None else clean(given.text), given)
        last = answered.text_tokens if answered.breaks_at is None else answered.breaks_at
        clock = _Waiting(speed=self._speed, pace=answered.pace, request=request, last=last)
        streams = dialect.streams(call)
        if not streams and answered.breaks_at is None:
            await clock.wait(answered.text_tokens)
            return _json(200, dialect.plain(answered, call), call, dialect)
        lost = Event(b"", answered.text_tokens)  # of a plain answer nothing can be read
        events = dialect.events(answered, call) if streams else iter((lost,))
        headers = {"content-type": dialect.stream_type if streams else dialect.plain_type, **dialect.headers(call)}
        stream = _Stream(events, clock, breaks_at=answered.breaks_at)
        return httpx2.Response(200, headers=headers, stream=stream, extensions=_EXTENSIONS)


class _Waiting:
    """Waits until tokens are due, as long as the request does, and moves the clock of the call on.

    Args:
        last: The tokens after which the answer ends.
    """

    def __init__(self, *, speed: float, pace: Pace, request: httpx2.Request, last: int) -> None:
        self._speed, self._pace, self._request = speed, pace, request
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._sleeper: asyncio.Future[None] | None = None
        self._patience: float | None = request.extensions.get("timeout", {}).get("read")
        clock = CLOCK.get()
        if clock is None and self._patience is not None:  # a client that knows of no simulated time waits for real
            self._patience = self._patience / speed if speed else None
        self._clock = clock or Clock(datetime.now(UTC))
        self._began = self._clock.now
        longest = pace.due(last) if self._patience is None else min(pace.due(last), self._patience)
        self._clock.promise(self._began + longest)

    async def wait(self, tokens: int) -> None:
        """Return when this many tokens of text are out, counted from the request.

        Raises:
            httpx2.ReadTimeout: That is longer than the request waits.
        """
        clock, due = self._clock, self._began + self._pace.due(tokens)
        late = self._patience is not None and due > clock.now + self._patience
        if late and self._patience is not None:
            due = clock.now + self._patience
        await clock.until(due, self._delay, self._speed, self._sleep)
        if late:
            raise httpx2.ReadTimeout("the simulated answer took too long", request=self._request)

    def _delay(self, due: float) -> float:
        return self._start + self._speed * (due - self._began) - self._loop.time()

    async def _sleep(self, seconds: float) -> None:
        if not seconds:
            await asyncio.sleep(0)  # let others run, and be stopped
            return
        self._sleeper = self._loop.create_future()
        timer = self._loop.call_later(seconds, self.wake)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None

    def wake(self) -> None:
        """End the wait that is under way."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)


class _Stream(httpx2.AsyncByteStream):
    """The bytes of a streamed answer, each event when it is due; none once it is closed.

    Args:
        events: The bytes.
        clock: When they are due.
        breaks_at: The tokens of text after which the connection is lost; None if it is not.
    """

    def __init__(self, events: Iterator[Event], clock: _Waiting, *, breaks_at: int | None) -> None:
        self._events, self._clock, self._closed, self._breaks_at = events, clock, False, breaks_at

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            left = event.tokens if self._breaks_at is None else self._breaks_at
            await self._clock.wait(min(event.tokens, left))
            if self._closed:
                return
            if event.tokens > left:
                raise httpx2.ReadError("the connection was lost, as the simulated answer says")
            yield event.data

    async def aclose(self) -> None:
        """End the answer where it is, and the wait for its next piece."""
        self._closed = True
        self._clock.wake()


def _call(request: httpx2.Request, body: bytes) -> Call:
    return Call(
        sample=ORIGIN.get().sample,
        method=request.method,
        path=request.url.path,
        query=dict(request.url.params),
        headers=request.headers,
        body=_object(body),
    )


def _object(body: bytes) -> JsonObject:
    """Return a JSON object; an empty one, which every provider refuses, for anything else."""
    try:
        value: Json = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _json(status: int, body: JsonObject, call: Call, dialect: Dialect, **more: str) -> httpx2.Response:
    headers = {"content-type": dialect.plain_type, **dialect.headers(call), **more}
    return httpx2.Response(status, headers=headers, content=dumps(body), extensions=_EXTENSIONS)
