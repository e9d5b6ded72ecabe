"""When a failed attempt is tried again, and after how long. What an attempt is, the call knows."""

from __future__ import annotations

import asyncio
import time
import warnings
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from victor_nb.accounting.budget import worst_case
from victor_nb.calls.record import Record
from victor_nb.errors import (
    BadRequestError,
    BudgetError,
    ClosedError,
    ConnectError,
    ContentFilterError,
    MalformedAnswerError,
    OverloadedError,
    PartialAnswerError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    VictorError,
    VictorWarning,
)
from victor_nb.money import Total
from victor_nb.providers.spec import takes_temperature
from victor_nb.values import ORIGIN, Origin, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from tenacity import AsyncRetrying, RetryCallState

    from victor_nb.accounting.budget import Hold
    from victor_nb.calls.record import Attempt
    from victor_nb.calls.request import Plan
    from victor_nb.values import ChatRequest, ReplyStatus, Status


LONGEST_WAIT: Final = 60.0  # seconds; a provider that asks for more is not waited for
_FIRST_WAIT: Final = 0.5  # seconds
_LONGEST_OWN_WAIT: Final = 8.0  # seconds


def worth_another(error: BaseException) -> bool:
    """Tell whether the same request may succeed within a wait that a user would sit through."""
    return isinstance(error, ProviderError) and error.retryable and (error.retry_after or 0.0) <= LONGEST_WAIT


def retrying(retries: int) -> AsyncRetrying:
    """Return tenacity's loop with our policy: exponential waits with jitter, unless the provider names one.

    Full jitter between half and all of the wait, after Brooker, "Exponential Backoff And Jitter" (AWS, 2015).
    """
    import tenacity  # noqa: PLC0415 - 60 ms that an import of victor_nb should not pay

    own = tenacity.wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_OWN_WAIT)
    jitter = tenacity.wait_random(0.5, 1.0)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ProviderError) else None
        return asked if asked is not None else own(state) * jitter(state)

    return tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=wait,
        retry=tenacity.retry_if_exception(worth_another),
        reraise=True,
    )


class Call:
    """A plan under way on the background loop; what has arrived is readable from any thread."""

    def __init__(self, plan: Plan, *, on_text: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self._record = Record(plan)
        self._notes: list[str] = []
        self._request = self._cooled(plan.request)
        self._on_text = on_text
        self._attempt: Attempt | None = None
        self._task: asyncio.Task[object] | None = None
        self._closed = False
        self._began = self._ended = time.perf_counter()
        self._failure: ProviderError | None = None
        self._deadline: asyncio.Timeout | None = None

    async def run(self) -> Reply:
        """Hold, call, price, record, settle.

        Raises:
            VictorError: What went wrong; every attempt is in the ledger.
        """
        self._check_open()
        hold = self._hold()
        self._task = asyncio.current_task()
        self.plan.running.add(self)
        try:
            await self._ask()
        except asyncio.CancelledError:
            if not self._closed:
                raise
            raise ClosedError(f"{self.plan.profile.name}: closed while the call was under way.") from None
        except VictorError as error:
            self.plan.runtime.errors.append(error)
            raise
        finally:
            self.plan.running.discard(self)
            self._ended = time.perf_counter()
            hold.settle(self._record.spent.exact_cost)
        return self.reply("ok" if self._attempt and self._attempt.draft.finish_reason else "partial")

    def _check_open(self) -> None:
        if self.plan.owner.closed:
            raise ClosedError(f"{self.plan.profile.name}: closed before the call was sent.")

    def close(self) -> None:
        """End the call because its client goes. On the background loop only."""
        self._closed = True
        self.stop()

    def stop(self) -> None:
        """Cancel the call. On the background loop only."""
        if self._task is not None:
            self._task.cancel()

    def reply(self, status: ReplyStatus) -> Reply:
        """Return what has arrived, as a reply of that status."""
        profile, draft, record = self.plan.profile, self._attempt and self._attempt.draft, self._record
        spent = record.spent
        first = self._attempt.first if self._attempt else None
        notes = [*self._notes, *(["tokens estimated: the provider reported none"] if record.estimated else [])]
        return Reply(
            content=draft.text if draft else "",
            usage=record.usage,
            cost=spent.exact_cost,
            billed=spent.exact_billed,
            profile=profile.name,
            provider=profile.provider,
            model=profile.model,
            model_served=draft.model_served if draft else None,
            latency=self._ended - self._began,
            ttft=first - self._began if first is not None else None,
            finish_reason=draft.finish_reason if draft else None,
            attempts=record.attempts,
            mode=self.plan.mode,
            request_id=draft.request_id if draft else None,
            status=status,
            call_id=record.call_id,
            notes=tuple(notes),
        )

    def _hold(self) -> Hold:
        plan = self.plan
        worst: Decimal | None = None
        if plan.limits:
            tariff = plan.runtime.tariff(plan.profile, plan.base_url)
            worst = worst_case(self._request, tariff, mode=plan.mode, calibration=plan.runtime.calibration)
        try:
            return plan.runtime.budget.hold(worst, limits=plan.limits, who=plan.profile.name)
        except BudgetError as error:
            self._record.refuse(self._request, error)
            raise

    async def _ask(self) -> None:
        """Wait for a place, then try until it works or is not worth another try."""
        asked = time.perf_counter()
        async with self.plan.limiter:
            self._check_open()
            self._began = time.perf_counter()
            self._record.queue = self._began - asked
            self._deadline = asyncio.timeout(self.plan.timeout)
            try:
                async with self._deadline:
                    async for attempt in retrying(self.plan.retries):
                        with attempt:
                            await self._try()
            except TimeoutError as error:
                if isinstance(error, VictorError):
                    raise
                raise self._failure or self._late() from None

    async def _try(self) -> None:
        """Make one attempt, and another at once without the temperature that the model turned out to refuse."""
        try:
            await self._exchange()
        except BadRequestError as error:
            if self._request.temperature is None or "temperature" not in str(error).lower():
                raise
            self._drop_temperature()
            await self._exchange()

    def _cooled(self, request: ChatRequest) -> ChatRequest:
        """Leave a temperature out that the model is known to refuse."""
        given, plan = request.temperature, self.plan
        if given is None:
            return request
        if takes_temperature(plan.profile.provider, request.model, given, refused=plan.runtime.refuses_temperature):
            return request
        self._notes.append("temperature not sent: the model takes none")
        return replace(request, temperature=None)

    def _drop_temperature(self) -> None:
        profile, given = self.plan.profile, self._request.temperature
        self._request = replace(self._request, temperature=None)
        self._notes.append("temperature not sent: the model takes none")
        self.plan.runtime.refuses_temperature.add((profile.provider, profile.model))
        text = f"{profile.model} refuses temperature={given:g}: it is sent without one from now on."
        warnings.warn(text, VictorWarning, stacklevel=2)

    async def _exchange(self) -> None:
        """Make one HTTP exchange, one row."""
        self._attempt = attempt = self._record.open(self._request)
        plan = self.plan
        ORIGIN.set(Origin(plan.profile.name, stage=plan.stage, sample=plan.sample, attempt=self._record.attempts))
        try:
            await self._receive(attempt)
            self._judge(attempt)
        except ProviderError as error:
            failure = self._broken_off(attempt, error) if attempt.draft.started else error
            self._close(attempt, failure)
            raise failure from (error if failure is not error else error.__cause__)
        except asyncio.CancelledError:
            late = self._late() if self._deadline is not None and self._deadline.expired() else None
            self._failure = self._broken_off(attempt, late) if late and attempt.draft.started else late
            self._close(attempt, self._failure)
            raise
        finally:
            self._record.close(attempt, _ended(attempt))

    def _close(self, attempt: Attempt, failure: ProviderError | None) -> None:
        status = "interrupted" if failure is None else "partial" if attempt.draft.started else "error"
        self._record.close(attempt, status, failure)
        self._ended = time.perf_counter()
        if isinstance(failure, PartialAnswerError):
            failure.reply = failure.partial = self.reply("partial")

    async def _receive(self, attempt: Attempt) -> None:
        async with aclosing(self.plan.provider.send(self._request, stream=self.plan.stream)) as deltas:
            async for delta in deltas:
                self._hear(attempt, attempt.draft.add(delta))
        self._hear(attempt, attempt.draft.end())

    def _hear(self, attempt: Attempt, text: str) -> None:
        if not text:
            return
        if attempt.first is None and self.plan.stream:
            attempt.first = time.perf_counter()
        if self._on_text is not None:
            self._on_text(text)

    def _judge(self, attempt: Attempt) -> None:
        """Refuse an answer that says nothing, so that nobody takes silence for an answer."""
        draft, who = attempt.draft, self.plan.profile.provider
        if draft.text or draft.finish_reason in {"tool_calls", "other"}:
            return
        if draft.finish_reason == "length":
            self._notes.append("no text: max_tokens was used up before the first word")
        elif draft.finish_reason == "content_filter":
            raise self._error(ContentFilterError, f"{who} withheld the answer. Rephrase the prompt.")
        else:
            raise self._error(MalformedAnswerError, f"{who}'s answer holds no text. Check base_url, or ask again.")

    def _broken_off(self, attempt: Attempt, error: ProviderError) -> ProviderError:
        """Return what an error means once text has arrived: never a second try."""
        fact = str(error).removeprefix(f"{self.plan.profile.name}: ")
        failure = self._error(PartialAnswerError, f"the answer broke off: {fact}")
        failure.http_status = error.http_status
        failure.request_id = error.request_id or attempt.draft.request_id
        return failure

    def _late(self) -> ProviderError:
        return self._error(
            RequestTimeoutError,
            f"{self.plan.profile.provider} gave no whole answer within {self.plan.timeout:g} s. Raise timeout.",
        )

    def _error(self, kind: type[ProviderError], fact: str) -> ProviderError:
        profile = self.plan.profile
        return kind(
            f"{profile.name}: {fact}",
            profile=profile.name,
            provider=profile.provider,
            model=profile.model,
            request_id=self._attempt.draft.request_id if self._attempt else None,
        )


def _ended(attempt: Attempt) -> Status:
    """Return how an attempt went that nothing was said about."""
    if attempt.draft.finish_reason:
        return "ok"
    return "partial" if attempt.draft.started else "error"


_ELSEWHERE: Final = (RateLimitError, OverloadedError, ConnectError, RequestTimeoutError)
"""What another provider may not suffer from. A refused request would be refused there too."""


class Detour(Protocol):
    """Makes the plan of one fallback; opening its client may block."""

    def __call__(self) -> Plan:
        """Return the plan.

        Raises:
            VictorError: The fallback cannot be asked.
        """
        ...


class Route:
    """One question on its way: to the profile that was named, then to its fallbacks in turn."""

    def __init__(
        self, plan: Plan, detours: Sequence[Detour] = (), *, on_text: Callable[[str], None] | None = None
    ) -> None:
        self.plan = plan
        self._detours = detours
        self._on_text = on_text
        self._call = Call(plan, on_text=on_text)
        self._failed: list[tuple[Call, ProviderError]] = []

    async def run(self) -> Reply:
        """Ask until somebody answers.

        Raises:
            VictorError: What the first profile failed with; notes on it say how the others did.
        """
        try:
            return await self._call.run()
        except _ELSEWHERE as error:
            if not self._detours:
                raise
            first = error
        self._failed.append((self._call, first))
        for detour in self._detours:
            try:
                return await self._ask(detour)
            except VictorError as error:
                first.add_note(f"Fallback: {error}")
        raise first

    async def run_outermost(self) -> Reply:
        """Ask for a user's own call: what comes is `session().last`, also where it broke off or was stopped."""
        runtime = self.plan.runtime
        try:
            runtime.last = reply = await self.run()
        except PartialAnswerError as error:
            runtime.last = error.partial
            raise
        except asyncio.CancelledError:
            runtime.last = self.reply("interrupted")
            raise
        return reply

    async def _ask(self, detour: Detour) -> Reply:
        plan = await asyncio.to_thread(detour)
        self._call = call = Call(plan, on_text=self._on_text)
        try:
            return self._with_failed(await call.run())
        except ProviderError as error:
            self._failed.append((call, error))
            raise

    def reply(self, status: ReplyStatus) -> Reply:
        """Return what has arrived so far, as a reply of that status."""
        return self._with_failed(self._call.reply(status))

    def _with_failed(self, reply: Reply) -> Reply:
        """Add what the profiles that failed have used: a reply is what all of it took."""
        for call, error in self._failed:
            lost = call.reply("interrupted")
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
