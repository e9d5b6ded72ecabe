"""A call with somewhere else to go: the profile's fallbacks, where asking it again would not help."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from victor_nb.call import Call
from victor_nb.errors import (
    ConnectError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    VictorError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.plan import Plan
    from victor_nb.values import Reply, ReplyStatus

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

    async def _ask(self, detour: Detour) -> Reply:
        plan = await asyncio.to_thread(detour)
        self._call = call = Call(plan, on_text=self._on_text)
        try:
            reply = self._with_failed(await call.run())
        except ProviderError as error:
            self._failed.append((call, error))
            raise
        plan.session.last = reply
        return reply

    def reply(self, status: ReplyStatus) -> Reply:
        """Return what has arrived so far, as a reply of that status."""
        return self._with_failed(self._call.reply(status))

    def _with_failed(self, reply: Reply) -> Reply:
        """Add what the profiles that failed have used: a reply is what all of it took."""
        for call, error in self._failed:
            lost = call.reply("interrupted")
            cost = None if reply.cost is None or lost.cost is None else reply.cost + lost.cost
            billed = None if reply.billed is None or lost.billed is None else reply.billed + lost.billed
            reply = replace(
                reply,
                usage=reply.usage + lost.usage,
                cost=cost,
                billed=billed,
                attempts=reply.attempts + lost.attempts,
                latency=reply.latency + lost.latency,
                notes=(*reply.notes, f"{lost.profile} failed ({type(error).__name__})"),
            )
        return reply
