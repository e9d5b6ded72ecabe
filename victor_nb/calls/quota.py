"""The quota of a host and a key: when each attempt of bulk work may be sent, and how long all wait after a refusal.

It lives on the background loop of one process: what other kernels send with the same key it sees by its refusals only.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Final, cast

from victor_nb.errors import OverloadedError, RateLimitError
from victor_nb.providers.catalog import host_of
from victor_nb.providers.spec import spec_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from victor_nb.config.profiles import Profile
    from victor_nb.errors import ProviderError
    from victor_nb.providers.translate import Endpoint
    from victor_nb.runtime import Runtime

_MOST: Final = 256  # attempts at once of bulk work that sets no limit
_LONGEST_WAIT: Final = 300.0  # seconds; a host that asks for more is not waited for
_FIRST_WAIT: Final = 0.1  # seconds, after a refusal that names none; doubled each time
_LONGEST_OWN_WAIT: Final = 30.0  # seconds
_PATIENCE: Final = {RateLimitError: 120.0, OverloadedError: 30.0}
"""Seconds that refused attempts wait while a host answers none at all."""
_LONGEST_PATIENCE: Final = 1800.0  # seconds that one call waits in all


class Share:
    """What the attempts of one map have in common: their limits, and their part of each host's quota.

    Args:
        concurrency: Attempts at once; None: 256.
        rpm: Requests a minute.
        tpm: Tokens a minute.

    Attributes:
        most: Attempts at once; more calls under way than that are of no use.
        under_way: Attempts under way.
        served: When it was given its last turn, as the number of that turn.
    """

    def __init__(self, *, concurrency: int | None = None, rpm: int | None = None, tpm: int | None = None) -> None:
        self.most = concurrency or _MOST
        self.rpm, self.tpm = rpm, tpm
        self.under_way = self.served = 0
        self.quotas: set[Quota] = set()

    @property
    def paused(self) -> float:
        """Seconds until the last of its hosts may be asked again; 0 where none has asked to wait."""
        return max((quota.paused for quota in [*self.quotas]), default=0.0)


@dataclass(slots=True, eq=False)
class Turn:
    """One attempt of a map's, from its wait for a turn to its end.

    Attributes:
        profile: Who asks.
        places: How many attempts of the profile may be under way; None: any number.
        sent: When its turn came; 0 while it waits.
    """

    share: Share
    profile: str
    places: int | None
    sent: float = 0.0
    number: int = 0
    ready: asyncio.Future[None] | None = None


class Quota:
    """The turns of all bulk work at one host with one key. On the background loop only.

    Args:
        now: Returns seconds.
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now or asyncio.get_running_loop().time
        self._lanes: dict[tuple[Share, str], deque[Turn]] = {}
        self._under_way: dict[str, int] = {}
        self._turns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._until = self._answered = 0.0
        self._refusals = 0

    @classmethod
    def of(cls, runtime: Runtime, endpoint: Endpoint) -> Quota:
        """Return that of an endpoint's host and key; of the key only a digest is kept."""
        quotas = runtime.quotas
        key = sha256(endpoint.key.reveal().encode()).hexdigest() if endpoint.key else ""
        place = host_of(endpoint.base_url), key
        if place not in quotas:
            quotas[place] = cls()
        return cast("Quota", quotas[place])

    @property
    def paused(self) -> float:
        """Seconds until the host may be asked again."""
        return max(0.0, self._until - self._now())

    async def enter(self, turn: Turn, *, again: bool = False) -> None:
        """Wait for a turn.

        Args:
            turn: It.
            again: Whether it was refused before, and goes before those that were never sent.
        """
        turn.share.quotas.add(self)
        if not self._lanes and self._delay(turn) <= 0:
            self._begin(turn)
            return
        turn.ready = asyncio.get_running_loop().create_future()
        lane = self._lanes.setdefault((turn.share, turn.profile), deque())
        (lane.appendleft if again else lane.append)(turn)
        self.wake()
        try:
            await turn.ready
        except asyncio.CancelledError:
            if turn.sent:
                self.leave(turn)
            elif turn in lane:
                lane.remove(turn)
                self._drop(turn)
            raise

    def leave(self, turn: Turn) -> None:
        """End an attempt, and give its place to the next one."""
        turn.share.under_way -= 1
        self._under_way[turn.profile] -= 1
        turn.sent = 0.0
        for quota in turn.share.quotas:
            quota.wake()

    def wake(self) -> None:
        """Give turns to those that wait and may be sent now: to each map in turn, and of a map to each profile."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._lanes:
            soonest = inf
            for share, profile in sorted(self._lanes, key=lambda lane: lane[0].served):
                turn = self._lanes[share, profile][0]
                if (delay := self._delay(turn)) <= 0:
                    break
                soonest = min(soonest, delay)
            else:
                if soonest < inf:
                    self._timer = asyncio.get_running_loop().call_later(soonest, self.wake)
                return
            self._lanes[share, profile].popleft()
            self._drop(turn)
            if turn.ready is not None and not turn.ready.done():  # else it was cancelled, and has yet to notice
                self._begin(turn)
                turn.ready.set_result(None)

    def _drop(self, turn: Turn) -> None:
        if not self._lanes[turn.share, turn.profile]:
            del self._lanes[turn.share, turn.profile]

    def _begin(self, turn: Turn) -> None:
        self._turns = turn.number = turn.share.served = self._turns + 1
        turn.sent = self._now()
        turn.share.under_way += 1
        self._under_way[turn.profile] = self._under_way.get(turn.profile, 0) + 1

    def _delay(self, turn: Turn) -> float:
        """Return the seconds until an attempt may be sent; infinity where another one must end before."""
        if turn.share.under_way >= turn.share.most:
            return inf
        if turn.places is not None and self._under_way.get(turn.profile, 0) >= turn.places:
            return inf
        return self._until - self._now()

    # --- what the host answers ---

    def answered(self) -> None:
        """Note that the host has answered an attempt, well or not, but with no refusal of more."""
        self._answered, self._refusals = self._now(), 0

    def refuse(self, error: ProviderError, since: float) -> bool:
        """Let all attempts wait after a refusal; return whether this one is to wait for another turn.

        Args:
            error: The refusal.
            since: When the call was first refused.
        """
        now, asked = self._now(), error.retry_after
        if asked is not None and asked > _LONGEST_WAIT:
            return False
        own = min(_LONGEST_OWN_WAIT, _FIRST_WAIT * 2**self._refusals) * random.uniform(1.0, 1.2)  # noqa: S311 - jitter
        if now >= self._until:
            self._refusals += 1
            self._until = now + own
        self._until = max(self._until, now + (asked or 0.0))
        patience = next(seconds for kind, seconds in _PATIENCE.items() if isinstance(error, kind))
        return now - max(since, self._answered) <= patience and now - since <= _LONGEST_PATIENCE


class Turns:
    """The turns of one call: its attempts, each when the quota of its host admits it.

    Waits for a turn, and what was refused and is waited out, use up neither the call's time nor its retries.

    Args:
        quota: That of its host.
        share: The bulk work that it belongs to.
        profile: Who asks.
        limiter: Where its attempts wait for a place, beside calls that are no bulk work.
    """

    def __init__(
        self, quota: Quota, share: Share, profile: Profile, limiter: AbstractAsyncContextManager[object]
    ) -> None:
        self._quota, self._share, self._limiter = quota, share, limiter
        self._profile, self._places = profile.name, profile.concurrency or spec_of(profile.provider).concurrency
        self._refused = 0.0

    async def run(
        self, exchange: Callable[[], Awaitable[None]], deadline: asyncio.Timeout | None, *, final: bool
    ) -> None:
        """Make an exchange at its turn, and others after refusals that all of a host wait out.

        Args:
            exchange: Makes one.
            deadline: When the time of the call is over.
            final: Whether the call has nothing else to try at once, such as another tier.

        Raises:
            ProviderError: What an exchange failed with.
        """
        quota = self._quota
        while True:
            turn = Turn(self._share, self._profile, self._places)
            await self._wait(turn, deadline)
            try:
                async with self._limiter:
                    await exchange()
            except (RateLimitError, OverloadedError) as error:
                self._refused = self._refused or turn.sent
                if not final or not quota.refuse(error, self._refused):
                    raise
            else:
                quota.answered()
                return
            finally:
                quota.leave(turn)

    async def _wait(self, turn: Turn, deadline: asyncio.Timeout | None) -> None:
        """Wait for a turn, while the call's time stands still."""
        due = None if deadline is None or deadline.expired() else deadline.when()
        if due is None or deadline is None:
            await self._quota.enter(turn, again=bool(self._refused))
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline.reschedule(None)
        await self._quota.enter(turn, again=bool(self._refused))
        deadline.reschedule(due + loop.time() - began)
