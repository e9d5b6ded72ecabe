"""When a failed attempt is tried again, and after how long. What an attempt is, the call knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from victor_nb.errors import ProviderError

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

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
