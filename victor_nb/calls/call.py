"""A question to one profile, in as many attempts as it takes."""

from __future__ import annotations

import asyncio
import time
import warnings
from contextlib import aclosing, nullcontext
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from victor_nb.accounting.budget import Hold
from victor_nb.accounting.worst_case import worst_case
from victor_nb.calls.quota import Quota, Turns, paused
from victor_nb.calls.record import Record
from victor_nb.calls.retries import is_worth_another, retrying_by
from victor_nb.calls.schema import Reading, stepped_down
from victor_nb.errors import (
    BadRequestError,
    BudgetError,
    ClosedError,
    ContentFilterError,
    InvalidAnswerError,
    MalformedAnswerError,
    OverloadedError,
    PartialAnswerError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    VictorError,
    VictorWarning,
)
from victor_nb.loop import check_stopped
from victor_nb.money import Total
from victor_nb.providers.catalog import host_of
from victor_nb.providers.params import AUTO_TIER, STANDARD_TIERS
from victor_nb.providers.spec import spec_of, takes_temperature
from victor_nb.values import BOOKS, ORIGIN, UNPAID, Lesson, Origin, Reply, SimulatedQuestion, Usage
from victor_nb.wire.clock import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import AsyncRetrying

    from victor_nb.accounting.rows import Row
    from victor_nb.calls.record import Attempt
    from victor_nb.calls.request import Request
    from victor_nb.config.profiles import Profile
    from victor_nb.values import Book, ChatRequest, ReplyStatus, SimulatedAnswer
    from victor_nb.wire.clock import Clock

_SHORTEST: Final = 256  # tokens; an answer that a budget would have to cut shorter is not asked for
_NOT_SENT: Final = "temperature not sent: the model takes none"
Failure = TypeVar("Failure", bound=ProviderError)


class ProfileCall:
    """A question to one profile: attempts until one succeeds, or none that follows would."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._on_text: Callable[[str], object] | None = None
        self._record = Record(request)
        self._notes: list[str] = []
        self._attempt: Attempt | None = None
        self._reading: Reading[Attempt] | None = None
        self._task: asyncio.Task[object] | None = None
        self._closed = False
        self._began = self._ended = 0.0
        self._failure: ProviderError | None = None
        self._lost: ProviderError | None = None
        self._deadline: asyncio.Timeout | None = None
        self._chat = request.chat
        self._tiers = list(request.tiers)
        self._book: Book = BOOKS[request.mode]
        # No method: a hold would then hold the call that holds it, and all of it would wait for the garbage collector.
        calibration = request.runtime.calibration
        self._worst = partial(worst_case, tariff=request.tariff, mode=request.mode, calibration=calibration)
        self._turns: Turns | None = None
        self._lessons: list[Lesson] = []
        profile, learned, given = request.profile, request.runtime.learned, request.chat.temperature
        if learned:
            here = (host_of(request.base_url), profile.model)
            learned = {feature: instead for (*place, feature), instead in learned.items() if tuple(place) == here}
            self._chat = stepped_down(replace(request.chat, learned=learned))
        refused = "temperature" in learned
        if given is not None and not takes_temperature(profile.provider, profile.model, given, refused=refused):
            self._chat = replace(self._chat, temperature=None)
            self._notes.append(_NOT_SENT)

    async def run(self, on_text: Callable[[str], object] | None) -> Reply:
        """Hold, call, price, record, settle.

        Raises:
            VictorError: What went wrong; every attempt is in the ledger.
        """
        request, self._on_text = self._request, on_text
        if (schema := self._chat.schema) is not None and schema.read is not None:
            self._reading, self._on_text = Reading(schema.name, schema.read), None
        self._task = asyncio.current_task()
        request.running.add(self)
        if request.mode in UNPAID:
            self._record.clock = clock = CLOCK.get()
            self._record.now = clock or time.perf_counter
        elif request.quota is not None:
            quota = Quota.of(request.runtime, request.provider.endpoint)
            self._turns = Turns(quota, request.quota, request.profile, request.limiter)
        self._began = self._ended = self._record.now()
        try:
            if request.cache is not None and (found := await request.cache.find(request, on_text)):
                return found
            await self._ask()
        except asyncio.CancelledError:
            if not self._closed:
                raise
            raise ClosedError(f"{request.profile.name}: closed while the call was under way.") from None
        except VictorError as error:
            failure = error if self._reading is None else self._reading.failure(error, self.reply)
            request.runtime.errors.append(failure)
            if failure is error:
                raise
            raise failure from error
        finally:
            request.running.discard(self)
            self._task, self._ended = None, self._record.now()
        if self._reading is not None and on_text is not None and self.text:  # what does not fit was no piece of it
            on_text(self.text)
        reply = self.reply("ok" if self._attempt and self._attempt.finish_reason else "partial")
        rows, limit = self._record.rows, self._chat.max_tokens
        return reply if request.cache is None else request.cache.keep(request, reply, rows[-1], limit)

    def close(self) -> None:
        """End the call because its client goes. On the background loop only."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    @property
    def text(self) -> str:
        """The text so far of the attempt that is under way, or of the last one."""
        return self._attempt.text if self._attempt else ""

    @property
    def request(self) -> Request:
        """What it asks."""
        return self._request

    @property
    def profile(self) -> Profile:
        """The profile that is asked."""
        return self._request.profile

    @property
    def thinking(self) -> bool:
        """Whether the model thinks, by what its stream said last."""
        return self._attempt is not None and self._attempt.thinking

    @property
    def rows(self) -> list[Row]:
        """The rows of its attempts, that of one under way included."""
        attempt, rows = self._attempt, list(self._record.rows)
        return [*rows, attempt.row] if attempt and attempt.open else rows

    def reply(self, status: ReplyStatus) -> Reply:
        """Return what has arrived, as a reply of that status; a whole answer that does not fit, rather than a part."""
        profile, attempt, record = self._request.profile, self._attempt, self._record
        if self._reading is not None and self._reading.unfit and status in {"interrupted", "invalid"}:
            attempt = self._reading.unfit
        spent, first = Total.of(self.rows), attempt.first if attempt else None
        notes = (*self._notes, *(attempt.notes if attempt else ()), *(self._reading.notes if self._reading else ()))
        if record.rows and record.rows[-1].usage_source == "estimated":
            notes = (*notes, "tokens estimated: the provider reported none")
        if attempt and attempt.asked_tier not in {None, AUTO_TIER} and attempt.service_tier in STANDARD_TIERS:
            notes = (*notes, f"served at the standard tier, not at {attempt.asked_tier}")
        return Reply(
            content=attempt.text if attempt else "",
            usage=record.usages[0] if len(record.usages) == 1 else sum(record.usages, Usage()),
            cost=spent.exact_cost,
            billed=spent.exact_billed,
            profile=profile.name,
            provider=profile.provider,
            model=profile.model,
            model_served=attempt.model_served if attempt else None,
            latency=self._ended - self._began,
            ttft=first - self._began if first is not None else None,
            finish_reason=attempt.finish_reason if attempt else None,
            attempts=record.attempts,
            mode=self._request.mode,
            request_id=attempt.request_id if attempt else None,
            status=status,
            call_id=record.call_id,
            notes=notes,
            service_tier=attempt.service_tier if attempt else None,
            data=self._reading.data if self._reading else None,
        )

    # --- attempts ---

    async def _ask(self) -> None:
        """Wait for a place, then try until it works or is not worth another try."""
        async with self._request.limiter if self._turns is None else nullcontext():
            if self._request.owner.closed or self._request.runtime.closed:
                raise ClosedError(f"{self._request.profile.name}: closed before the call was sent.")
            clock, failure = self._record.clock, None
            again = retrying_by(clock, self._request, self._chat)
            if clock is not None:
                self._end_by(clock)
            self._deadline = asyncio.timeout(None)  # the call's time begins with the first attempt
            try:
                async with self._deadline:
                    try:
                        await (self._try_tiers() if self._tiers else self._try())
                    except ProviderError as error:
                        if not self._request.retries or not is_worth_another(error):
                            raise
                        failure = error
                    if failure is not None:
                        await self._retry(again(), failure)
            except BudgetError as error:
                if self._lost is None:
                    self._record.refuse(self._chat, error)
                    raise
                self._lost.add_note(f"Not asked again: {error}")
                raise self._lost from None
            except TimeoutError as error:
                if isinstance(error, VictorError):
                    raise
                raise self._failure or self._late() from None

    async def _retry(self, attempts: AsyncRetrying, first: ProviderError | None) -> None:
        """Go on after the failure of the first attempt; most calls have none, and need no loop of attempts."""
        async for attempt in attempts:
            with attempt:
                if first is not None:
                    failure, first = first, None
                    raise failure
                await (self._try_tiers() if self._tiers else self._try())

    def _end_by(self, clock: Clock) -> None:
        """Let a clock end the call at its deadline, since its waits are simulated."""
        loop = asyncio.get_running_loop()

        def expire() -> None:
            if self._deadline is not None:
                self._deadline.reschedule(loop.time())

        clock.deadline, clock.expire = clock.now + self._request.timeout, expire

    async def _try(self) -> None:
        """Make one attempt, and others at once without what the host refuses, or for an answer that does not fit."""
        while True:
            try:
                if self._turns is None:
                    await (self._exchange() if self._request.quota is None else self._exchange_bulk())
                else:
                    await self._turns.run(self._exchange, self._chat, self._deadline, final=not self._tiers)
            except InvalidAnswerError as error:
                if self._reading is None or not self._reading.may_ask_again:
                    raise
                self._lost = self._reading.misfit = error
                self._chat = self._reading.again(self._chat, error)
            except BadRequestError as error:
                said = str(error).partition(": ")[2]  # without the profile's name, which may be any word
                lesson = self._request.provider.lesson(said, self._chat) if type(error) is BadRequestError else None
                tried = {each.feature for each in self._lessons if each.feature != "schema"}  # which has two steps
                if lesson is None or lesson in self._lessons or lesson.feature in tried:
                    raise
                self._learn(lesson)
            else:
                break
        limit, usage = self._chat.max_tokens, self._attempt.usage if self._attempt else None
        if limit and usage and usage.output_tokens - usage.reasoning_tokens > limit:
            self._note_overrun(usage.output_tokens - usage.reasoning_tokens)
        if self._lessons:
            self._remember()

    def _remember(self) -> None:
        """Keep for the session what has helped, not what was tried."""
        request = self._request
        for lesson in self._lessons:
            place = (host_of(request.base_url), request.profile.model, lesson.feature)
            request.runtime.learned[place] = lesson.instead
            if lesson.feature == "temperature":
                given = f"{request.profile.model} refuses temperature={request.chat.temperature:g}"
                warnings.warn(f"{given}: it is sent without one from now on.", VictorWarning, stacklevel=2)

    def _note_overrun(self, tokens: int) -> None:
        """Note that a server ignores the limit that it was sent, and send it under another name from now on."""
        request, spec = self._request, spec_of(self._request.profile.provider)
        most = spec.max_output(self._chat)
        if most is not None and tokens > most * spec.answers(self._chat):
            self._notes.append(f"the server ignores the limit: {tokens:,} tokens came, {most:,} were allowed")
            other = request.provider.other_limit(self._chat)
            if other is not None and "max_tokens" not in self._chat.learned:
                self._lessons.append(Lesson("max_tokens", other, ""))

    def _learn(self, lesson: Lesson) -> None:
        """Send this call's further attempts otherwise, and note it."""
        chat = self._chat
        self._lessons.append(lesson)
        self._notes += filter(None, [lesson.note])
        self._chat = stepped_down(replace(chat, learned={**chat.learned, lesson.feature: lesson.instead}))
        if lesson.feature == "temperature":
            self._chat = replace(self._chat, temperature=None)

    async def _try_tiers(self) -> None:
        """Make one attempt, and where a tier has no capacity, at once another at the next one that was asked for."""
        while self._tiers:
            try:
                await self._try()
            except (RateLimitError, OverloadedError, RequestTimeoutError):
                asked, tier = self._chat.tier, self._tiers.pop(0)
                self._chat = replace(self._chat, tier=tier)
                self._notes.append(f"tier {asked} had no capacity: {tier} was asked for")
            else:
                return
        await self._try()

    async def _hold(self) -> Hold:
        """Set the worst case of an attempt aside, with an output limit: where none is given, the model's own one.

        Where that does not fit, half of it and so on is sent, if `budget: {shrink: true}` allows it.

        Raises:
            BudgetError: It does not fit, or has no bound.
        """
        request, spec = self._request, spec_of(self._request.profile.provider)
        if spec.max_output(self._chat) or not self._worst(self._chat):  # given, free, or of unknown price
            return await self._set_aside(self._chat)
        tokens = spec.own_output(request.profile.model)
        if tokens is None:
            fact = "nothing limits its answer, so no budget can hold it. Nothing was sent. Set max_tokens=."
            raise BudgetError(f"{request.profile.name}: {fact}")
        shrink = request.runtime.settings.budget.shrink
        while True:
            chat = replace(self._chat, max_tokens=tokens)
            try:
                hold = await self._set_aside(chat, f"Set max_tokens= (without it, {tokens:,}) or raise the budget.")
            except BudgetError:
                if not shrink or tokens // 2 < _SHORTEST:
                    raise
                tokens //= 2
            else:
                self._chat = chat
                return hold

    async def _set_aside(self, chat: ChatRequest, *advice: str) -> Hold:
        request = self._request
        hold = Hold(request.limits, self._book, partial(self._worst, chat))
        return await request.runtime.budget.hold(hold, request.profile.name, *advice)

    async def _exchange(self) -> Usage | None:
        """Make one HTTP exchange, one row; return the tokens that it used, if they are known."""
        request = self._request
        waits = request.runtime.ledger.asks_leave
        answer = None if waits or request.mode != "simulate" else self._own_answer(self._record.attempts + 1)
        limited = False
        for limit in request.limits:
            limited = limited or limit.amount.is_finite()
        if limited:
            hold = await self._hold()
        else:
            hold = Hold(request.limits, self._book, partial(self._worst, self._chat))
            request.runtime.budget.uncounted.add(hold)
        if not self._record.attempts:  # the call's time begins, after what it has waited for a place and for money
            asked, self._began = self._began, self._record.now()
            self._record.queue = self._began - asked
            if self._deadline is not None and self._record.clock is None:
                self._deadline.reschedule(asyncio.get_running_loop().time() + request.timeout)
        try:
            check_stopped()
            self._attempt = attempt = self._record.open(self._chat, hold)
        except BaseException:  # nothing was sent: what was set aside is free again
            request.runtime.budget.settle(hold, Decimal(0))
            raise
        try:
            answer = await self._after_leave(attempt) if waits else answer
            who = self._record.call_id, request.profile.name, request.stage
            ORIGIN.set(Origin(request.sample, answer, *who, attempt.began))
            hear = self._turns.hear if self._turns else None
            async with aclosing(request.provider.send(self._chat, stream=request.stream, hear=hear)) as deltas:
                async for delta in deltas:
                    self._hear(attempt, attempt.add(delta))
            self._hear(attempt, attempt.keep("", final=True))
            self._check_answer(attempt)
            if self._reading is not None:
                await self._read(attempt, self._reading)
        except ProviderError as error:
            broken = attempt.pieces and not isinstance(error, InvalidAnswerError)
            self._lost = failure = self._broken_off(attempt, error) if broken else error
            self._fail(attempt, failure)
            raise failure from (error if failure is not error else error.__cause__)
        except asyncio.CancelledError:
            late = self._late() if self._deadline is not None and self._deadline.expired() else None
            self._failure = self._broken_off(attempt, late) if late and attempt.pieces else late
            self._fail(attempt, self._failure)
            raise
        finally:
            # Of what has failed, the row is closed already.
            self._record.close(attempt, "ok" if attempt.finish_reason else "partial" if attempt.pieces else "error")
        return attempt.usage

    async def _exchange_bulk(self) -> None:
        """Make an exchange of bulk work that waits for no turn; replayed, as many as were made of it."""
        from victor_nb.wire.player import goes_on  # noqa: PLC0415 - only bulk work that is simulated or replayed

        while True:
            try:
                await self._exchange()
            except (RateLimitError, OverloadedError):
                if not goes_on(self._request.provider.endpoint.transport, self._record.call_id):
                    raise
            else:
                return

    async def _after_leave(self, attempt: Attempt) -> SimulatedAnswer | None:
        """Wait until an attempt may be made, when its time and the call's begin; return the user's own answer to it."""
        if attempt.leave is not None:
            waited = await paused(self._deadline, asyncio.wrap_future(attempt.leave))
            if self._record.clock is None:  # simulated time stands still meanwhile
                attempt.began, self._began = attempt.began + waited, self._began + waited
        return self._own_answer(attempt.row.attempt)

    def _own_answer(self, number: int) -> SimulatedAnswer | None:
        """Return the answer that the user has for a simulated attempt; None for others, or if the simulator writes it.

        Args:
            number: The attempt, of those of the call.

        Raises:
            ConfigError: The answers cannot be read, or the function that gives them failed.
        """
        request, chat = self._request, self._chat
        if request.mode != "simulate":
            return None
        question = SimulatedQuestion(
            profile=request.profile.name,
            stage=request.stage,
            sample=request.sample,
            prompt=request.chat.messages[-1].content,
            system=chat.system or "",
            model=chat.model,
            attempt=number,
        )
        return request.runtime.answers.find(question, request.answer_files)

    def _hear(self, attempt: Attempt, text: str) -> None:
        if not text:
            return
        if attempt.first is None and self._request.stream:
            attempt.first = self._record.now()
        if self._on_text is not None:
            self._on_text(text)

    def _check_answer(self, attempt: Attempt) -> None:
        """Raise if the answer has no text and no finish reason that explains it."""
        if attempt.pieces or attempt.finish_reason == "tool_calls":
            return
        provider = self._request.profile.provider
        if attempt.finish_reason == "length":
            self._notes.append("no text: max_tokens was used up before the first word")
        elif attempt.finish_reason == "content_filter":
            raise self._error(ContentFilterError, f"{provider} withheld the answer. Rephrase the prompt.")
        else:
            why = f": it ended with {attempt.finish_word}" if attempt.finish_reason == "other" else ""
            step = "Ask again, or in another way" if why else "Check base_url, or ask again"
            raise self._error(MalformedAnswerError, f"{provider}'s answer holds no text{why}. {step}.")

    async def _read(self, attempt: Attempt, reading: Reading[Attempt]) -> None:
        """Keep the value that an answer is.

        Raises:
            InvalidAnswerError: It does not fit its schema.
        """
        unfit = await reading.read(attempt, self._request.runtime.settings.redactor())
        if unfit is None:
            return
        failure = self._error(InvalidAnswerError, unfit.fact)
        failure.http_status, failure.faults = 200, unfit.faults
        self._record.close(attempt, "invalid", failure)
        raise failure

    # --- failures ---

    def _fail(self, attempt: Attempt, failure: ProviderError | None) -> None:
        """Complete the row of an attempt that failed, or (None) was stopped."""
        status = "interrupted" if failure is None else "partial" if attempt.pieces else "error"
        self._record.close(attempt, status, failure)
        self._ended = self._record.now()
        if isinstance(failure, PartialAnswerError):
            failure.reply = failure.partial = self.reply("partial")

    def _broken_off(self, attempt: Attempt, error: ProviderError) -> ProviderError:
        """Return what an error means once text has arrived: never a second try."""
        fact = str(error).removeprefix(f"{self._request.profile.name}: ")
        failure = self._error(PartialAnswerError, f"the answer broke off: {fact}")
        failure.http_status = error.http_status
        failure.request_id = error.request_id or attempt.request_id
        return failure

    def _late(self) -> ProviderError:
        provider, seconds = self._request.profile.provider, self._request.timeout
        return self._error(RequestTimeoutError, f"{provider} gave no whole answer within {seconds:g} s. Raise timeout.")

    def _error(self, kind: type[Failure], fact: str) -> Failure:
        profile = self._request.profile
        return kind(
            f"{profile.name}: {fact}",
            profile=profile.name,
            provider=profile.provider,
            model=profile.model,
            request_id=self._attempt.request_id if self._attempt else None,
        )
