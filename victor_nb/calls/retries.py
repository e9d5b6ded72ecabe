"""When a question is asked again after a failure, and after which wait: simulated ones by their clock."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from victor_nb.errors import ProviderError
from victor_nb.wire.pace import Chance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import AsyncRetrying, RetryCallState

    from victor_nb.calls.request import Request
    from victor_nb.values import ChatRequest
    from victor_nb.wire.clock import Clock

_LONGEST_WAIT: Final = 60.0  # seconds; a provider that asks for more is not waited for
_FIRST_WAIT: Final = 0.5  # seconds
_LONGEST_OWN_WAIT: Final = 8.0  # seconds
_JITTER: Final = (0.5, 1.0)  # of a wait of our own


def is_worth_another(error: BaseException) -> bool:
    """Return whether the same request may succeed within a wait that a user would sit through."""
    return isinstance(error, ProviderError) and error.retryable and (error.retry_after or 0.0) <= _LONGEST_WAIT


def retrying(
    retries: int,
    jitter: Callable[[int], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> AsyncRetrying:
    """Return tenacity's loop with our policy: exponential waits with jitter, unless the provider names one.

    Full jitter between half and all of the wait, after Brooker, "Exponential Backoff And Jitter" (AWS, 2015).
    """
    import tenacity  # noqa: PLC0415 - 60 ms that an import of victor_nb should not pay

    own = tenacity.wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_OWN_WAIT)
    random = tenacity.wait_random(*_JITTER)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, ProviderError) else None
        return asked if asked is not None else own(state) * (jitter(state.attempt_number) if jitter else random(state))

    return tenacity.AsyncRetrying(
        sleep=sleep or asyncio.sleep,
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=wait,
        retry=tenacity.retry_if_exception(is_worth_another),
        reraise=True,
    )


def retrying_by(clock: Clock | None, request: Request, chat: ChatRequest) -> Callable[[], AsyncRetrying]:
    """Return what makes the loop of attempts in the mode of a request: what is not live waits for the same time again.

    Args:
        clock: Passes the waits of what is simulated or replayed; None: they are real.
        request: What is asked.
        chat: What is sent.
    """
    if clock is None and request.mode == "live":
        return partial(retrying, request.retries)
    chance = Chance(f"{chat.model}/{chat.messages[-1].content}/{request.sample}")
    jitter = partial(chance.between, *_JITTER, "wait")
    if clock is None:
        return partial(retrying, request.retries, jitter)
    loop, speed = asyncio.get_running_loop(), request.runtime.settings.speed(request.mode)

    async def sleep(seconds: float) -> None:
        start, began = loop.time(), clock.now
        await clock.until(
            began + seconds, lambda due: start + speed * (due - began) - loop.time(), speed, asyncio.sleep
        )

    return partial(retrying, request.retries, jitter, sleep)
