"""A call: a question to a profile and its fallbacks; and its answer while it arrives, piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from victor_nb.calls.call import ProfileCall
from victor_nb.errors import (
    ConnectError,
    InvalidAnswerError,
    OverloadedError,
    PartialAnswerError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestTimeoutError,
    VictorError,
    VictorInterrupted,
)
from victor_nb.loop import GRACE, TICK, Handle, awake
from victor_nb.money import Total
from victor_nb.values import UNPAID, Reply
from victor_nb.wire.clock import simulated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from victor_nb.accounting.rows import Row
    from victor_nb.calls.request import Request
    from victor_nb.config.profiles import Profile
    from victor_nb.values import ReplyStatus

_FALL_BACK: Final = (RateLimitError, QuotaError, OverloadedError, ConnectError, RequestTimeoutError)
"""What another provider may not suffer from. A refused request would be refused there too."""


class Call:
    """A question under way on the background loop; what has arrived is readable from any thread.

    Args:
        request: What the profile is asked.
        fallbacks: Give the requests to its fallbacks, in turn; opening a client may block.

    Attributes:
        on_text: Called on the background loop with each new piece of text. Set it before the call runs.
    """

    def __init__(self, request: Request, fallbacks: Sequence[Callable[[], Request]] = ()) -> None:
        self.runtime = request.runtime
        self.on_text: Callable[[str], object] | None = None
        self._fallbacks = fallbacks
        self._simulated = request.mode in UNPAID
        self._asking = ProfileCall(request)
        self._failed: list[tuple[ProfileCall, ProviderError]] = []

    async def run(self) -> Reply:
        """Ask until a profile answers.

        Raises:
            VictorError: What the first profile failed with; notes on it say how the others did.
        """
        with simulated(self.runtime.timeline) if self._simulated else contextlib.nullcontext():
            try:
                return await self._asking.run(self.on_text)
            except _FALL_BACK as error:
                if not self._fallbacks:
                    raise
                return await self._run_fallbacks(error)

    async def _run_fallbacks(self, first: ProviderError) -> Reply:
        self._failed.append((self._asking, first))
        for fallback in self._fallbacks:
            try:
                return await self._fall_back(fallback)
            except VictorError as error:
                first.add_note(f"Fallback: {error}")
                if first.reply is None and isinstance(error, ProviderError):
                    first.reply = first.partial = error.reply
        raise first

    async def run_outermost(self) -> Reply:
        """Run as a user's own call: what comes is `session().last`, also where it broke off or was stopped."""
        try:
            self.runtime.last = reply = await self.run()
        except (PartialAnswerError, InvalidAnswerError) as error:
            self.runtime.last = error.partial
            raise
        except asyncio.CancelledError:
            self.runtime.last = self.reply("interrupted")
            raise
        return reply

    async def _fall_back(self, fallback: Callable[[], Request]) -> Reply:
        request = await asyncio.to_thread(fallback)
        self._asking = asking = ProfileCall(request)
        try:
            return self._with_failed(await asking.run(self.on_text))
        except ProviderError as error:
            self._failed.append((asking, error))
            raise

    def reply(self, status: ReplyStatus) -> Reply:
        """Return what has arrived so far, as a reply of that status."""
        return self._with_failed(self._asking.reply(status))

    @property
    def request(self) -> Request:
        """What the profile is asked, or the fallback, once those before it have failed."""
        return self._asking.request

    @property
    def text(self) -> str:
        """The text so far of the attempt that is under way."""
        return self._asking.text

    @property
    def profile(self) -> Profile:
        """The profile that is asked: a fallback, once those before it have failed."""
        return self._asking.profile

    @property
    def thinking(self) -> bool:
        """Whether the model thinks, by what its stream said last."""
        return self._asking.thinking

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of its attempts, those of profiles that failed first; readable from any thread."""
        return tuple(row for asked in (*(asked for asked, _ in self._failed), self._asking) for row in asked.rows)

    def _with_failed(self, reply: Reply) -> Reply:
        """Add what the profiles that failed have used: a reply is what all of it took."""
        for asked, error in self._failed:
            lost = asked.reply("interrupted")
            spent = Total.of((reply, lost))
            reply = replace(
                reply,
                usage=reply.usage + lost.usage,
                cost=spent.exact_cost,
                billed=spent.exact_billed,
                attempts=reply.attempts + lost.attempts,
                latency=reply.latency + lost.latency,
                notes=(*reply.notes, f"{lost.profile} failed ({type(error).__name__})"),
            )
        return reply


class Stream(Handle[Reply]):
    """Text as it arrives: `async for piece in stream`, or plain `for`; afterwards `stream.reply`.

    Of an answer that must fit a schema, it is one piece, once it does.

    It has started when you get it, and goes on whether or not it is read. Breaking out of the loop stops it, and so
    does `cancel()`: the socket is closed, nothing more is paid for, and `reply` is the partial one.
    """

    def __init__(self, call: Call, *, on_reply: Callable[[Reply], object] | None = None) -> None:
        self._call = call
        self._on_reply = on_reply
        self._feed = _Feed()
        call.on_text = self._feed.hear
        self._job = call.runtime.loop.start(self._run, ended=self._feed.end)

    async def _run(self) -> Reply:
        reply = await self._call.run_outermost()
        if self._on_reply is not None:
            self._on_reply(reply)
        return reply

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._feed.pieces) or self._call.text

    @property
    def profile(self) -> Profile:
        """The profile that is asked: a fallback, once those before it have failed."""
        return self._call.profile

    @property
    def thinking(self) -> bool:
        """Whether the model thinks, by what its stream said last; not all providers say so."""
        return self._call.thinking

    @property
    def reply(self) -> Reply:
        """The reply, once the answer has ended; a partial one where it broke off or was stopped.

        Raises:
            VictorError: What went wrong before any text arrived, or that the answer is not complete yet.
        """
        if self._job.stopped:
            self._job.wait(GRACE)
        elif not self._job.done():
            raise VictorError("The answer is still arriving. Finish the loop over the stream first, or cancel() it.")
        error = self._job.error
        if isinstance(error, asyncio.CancelledError) or (self._job.stopped and error is None and not self._job.done()):
            return self._interrupted()
        if isinstance(error, (PartialAnswerError, InvalidAnswerError)) and isinstance(error.reply, Reply):
            return error.reply
        return self._job.result()

    def result(self) -> Reply:
        """Wait for the reply. Stop cancels the call.

        Raises:
            VictorError: What went wrong.
            VictorInterrupted: Stop was pressed; the partial reply is `session().last`.
        """
        try:
            return self._job.result()
        except asyncio.CancelledError:
            return self.reply  # it was cancelled from elsewhere: what had come is the reply
        except KeyboardInterrupt:
            raise self.interrupted() from None

    def interrupted(self) -> VictorInterrupted:
        """Stop the answer, keep what came as `session().last`, and return the error to raise."""
        self.cancel()
        self._job.wait(GRACE)
        reply = self._interrupted()
        kept = f"{len(reply.content):,} characters are kept in session().last" if reply.content else "no text had come"
        return VictorInterrupted(f"stopped {reply.profile}; {kept}.", reply)

    def _interrupted(self) -> Reply:
        """Return what had come, and keep it as `session().last`: the call may not have closed its socket yet."""
        self._call.runtime.last = reply = self._call.reply("interrupted")
        return reply

    def __iter__(self) -> Iterator[str]:
        feed, taken = self._feed, 0
        try:
            while True:
                with feed.changed:
                    # In short waits, so that an interrupt is never missed.
                    while not (feed.ended or self._job.done()) and len(feed.pieces) == taken:
                        feed.changed.wait(TICK)
                if taken == len(feed.pieces):
                    break
                yield feed.pieces[taken]
                taken += 1
        except KeyboardInterrupt:
            raise self.interrupted() from None
        except GeneratorExit:
            self.cancel()
            raise
        self._check()

    def __aiter__(self) -> AsyncIterator[str]:
        return _Pieces(self._feed, self.cancel, self._check)

    def _check(self) -> None:
        """Raise what went wrong; that it was stopped is no error."""
        self._job.wait()
        error = self._job.error
        if error is not None and not (self._job.stopped and isinstance(error, asyncio.CancelledError)):
            raise error


@dataclass(slots=True, eq=False)
class _Feed:
    """The pieces of an answer as they arrive, for readers in any thread and on any event loop."""

    pieces: list[str] = field(default_factory=list[str])
    ended: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)
    _waiters: list[_Waiter] = field(default_factory=list["_Waiter"])

    def hear(self, piece: str) -> None:
        """Append a piece, and wake all who wait."""
        self.pieces.append(piece)
        self.wake()

    def end(self) -> None:
        """Say that no piece follows."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Wake all who wait."""
        with self.changed:
            self.changed.notify_all()
            waiters = list(self._waiters)
        for waiter in waiters:
            waiter.wake()

    def attach(self, waiter: _Waiter) -> None:
        """Wake a waiter whenever something changes."""
        with self.changed:
            self._waiters.append(waiter)

    def detach(self, waiter: _Waiter) -> None:
        """Wake it no longer."""
        with self.changed:
            if waiter in self._waiters:
                self._waiters.remove(waiter)


class _Waiter:
    """Wakes a task of another loop; many pieces that arrive at once wake it once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def wake(self) -> None:
        """Set the event, from any thread."""
        if not self.event.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.event.set)


class _Pieces:
    """One loop over a stream, on the caller's own event loop. Dropped half-way, it stops the stream."""

    def __init__(self, feed: _Feed, cancel: Callable[[], None], check: Callable[[], None]) -> None:
        self._feed = feed
        self._cancel = cancel
        self._check = check
        self._taken = 0
        self._waiter = _Waiter()
        feed.attach(self._waiter)

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> str:
        feed = self._feed
        while True:
            if len(feed.pieces) > self._taken:
                self._taken += 1
                return feed.pieces[self._taken - 1]
            if feed.ended:
                feed.detach(self._waiter)
                self._check()
                raise StopAsyncIteration
            await self._wait()

    async def _wait(self) -> None:
        try:
            with awake(asyncio.get_running_loop()):
                await self._waiter.event.wait()
        except asyncio.CancelledError:
            # Stop, in an awaiting cell: the socket is closed and the row written before the cell ends.
            self._cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    while not self._feed.ended:
                        self._waiter.event.clear()
                        await self._waiter.event.wait()
            raise
        self._waiter.event.clear()

    def __del__(self) -> None:
        if not self._feed.ended:
            self._cancel()
        self._feed.detach(self._waiter)
