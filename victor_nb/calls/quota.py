"""The quota of a host and a key: when each attempt of bulk work may be sent, and how long all wait after a refusal.

It lives on the background loop of one process: what other kernels send with the same key it sees by its refusals only.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Final, cast

from victor_nb.accounting.rows import input_text
from victor_nb.calls.rates import Bucket, Pace, Window
from victor_nb.errors import OverloadedError, ProviderError, RateLimitError
from victor_nb.providers.catalog import host_of
from victor_nb.providers.refusals import stated_limits
from victor_nb.providers.spec import spec_of
from victor_nb.values import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    import httpx2

    from victor_nb.config.profiles import Profile
    from victor_nb.providers.translate import Endpoint
    from victor_nb.runtime import Runtime
    from victor_nb.values import ChatRequest, Usage

_MOST: Final = 256  # attempts at once of bulk work that sets no limit
_LONGEST_WAIT: Final = 300.0  # seconds; a host that asks for more is not waited for
_PATIENCE: Final = {RateLimitError: 120.0, OverloadedError: 30.0}
"""Seconds that refused attempts wait while a host answers none at all."""
_LONGEST_PATIENCE: Final = 1800.0  # seconds that one call waits in all
_OUTPUT: Final = 500.0  # tokens of an answer, where none is known and no limit is set
_ROOM: Final = 1.5  # times what is under way on average: latencies differ
_LATEST: Final = 0.1
"""What the last answer counts in the mean of all before it."""


class Share:
    """What the attempts of one map have in common: their limits, and their part of each host's quota.

    Args:
        concurrency: Attempts at once; None: 256.
        rpm: Requests a minute, which no minute exceeds.
        tpm: Tokens a minute, which no minute exceeds by more than one request.

    Attributes:
        most: Attempts at once; more calls under way than that are of no use.
        requests: What is left of `rpm`.
        tokens: What is left of `tpm`.
        under_way: Attempts under way.
        served: When it was given its last turn, as the number of that turn.
    """

    def __init__(self, *, concurrency: int | None = None, rpm: int | None = None, tpm: int | None = None) -> None:
        self.most = concurrency or _MOST
        self.requests = None if rpm is None else Bucket.a_minute(rpm)
        self.tokens = None if tpm is None else Bucket.a_minute(tpm)
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
        model: What is asked: hosts state their limits for each model.
        tokens: What it will use, estimated: (input, output); zeros where nothing limits tokens.
        sent: When its turn came; 0 while it waits.
        taken: What had been taken of each limit that the host states, this attempt included.
    """

    share: Share
    profile: str
    places: int | None
    model: str
    tokens: tuple[float, float] = (0.0, 0.0)
    sent: float = 0.0
    taken: dict[str, float] = field(default_factory=dict[str, float])
    ready: asyncio.Future[None] | None = None

    def amount(self, name: str) -> float:
        """Return what it uses of a limit of that name."""
        if "token" not in name:
            return 1.0
        return self.tokens[0] if "input" in name else self.tokens[1] if "output" in name else sum(self.tokens)


class Quota:
    """The turns of all bulk work at one host with one key. On the background loop only.

    Args:
        now: Returns seconds.
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now or asyncio.get_running_loop().time
        self._lanes: dict[tuple[Share, str], deque[Turn]] = {}
        self._under_way: dict[str, int] = {}
        self._turns = self._all = 0
        self._timer: asyncio.TimerHandle | None = None
        self._until = self._answered = self._latency = 0.0
        self._pace, self._window = Pace(), Window()
        self._stated: dict[str, dict[str, Bucket]] = {}
        self._means: dict[str, tuple[float, float]] = {}

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
        self._all -= 1
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
        now, share = self._now(), turn.share
        self._turns = share.served = self._turns + 1
        turn.sent = now
        share.under_way += 1
        self._under_way[turn.profile] = self._under_way.get(turn.profile, 0) + 1
        self._all += 1
        self._pace.take(now)
        for bucket, name in ((share.requests, "requests"), (share.tokens, "tokens")):
            if bucket is not None:
                bucket.take(now, turn.amount(name))
        for name, bucket in self._stated.get(turn.model, {}).items():
            bucket.take(now, turn.amount(name))
            turn.taken[name] = bucket.taken

    def _delay(self, turn: Turn) -> float:
        """Return the seconds until an attempt may be sent; infinity where another one must end before."""
        share, now = turn.share, self._now()
        if share.under_way >= share.most:
            return inf
        if turn.places is not None and self._under_way.get(turn.profile, 0) >= turn.places:
            return inf
        # A learned pace says how many are under way by themselves (Little's law): fewer would only slow it.
        least = _ROOM * self._pace.rate * self._latency if self._pace.learned else 0.0
        delay = max(self._until - now, self._window.delay(now, self._all, least=least))
        stated = self._stated.get(turn.model)
        if self._pace.learned or not stated:
            delay = max(delay, self._pace.delay(now))
        for bucket, name in ((share.requests, "requests"), (share.tokens, "tokens")):
            if bucket is not None:
                delay = max(delay, bucket.delay(now, turn.amount(name)))
        if stated:
            waits = [bucket.delay(now, turn.amount(name)) for name, bucket in stated.items()]
            delay = max(delay, *(wait for wait in waits if wait <= _LONGEST_WAIT), 0.0)  # else it is asked, and fails
        return delay

    # --- what is used ---

    def estimate(self, turn: Turn, chat: ChatRequest) -> None:
        """Set what a request will use, where something limits tokens: its input, and the mean output, or its limit."""
        if turn.share.tokens is None and turn.model not in self._stated:
            return
        density, output = self._means.get(turn.model, (1.0, chat.max_tokens or _OUTPUT))
        turn.tokens = density * len(input_text(chat)) / BYTES_PER_TOKEN, min(output, chat.max_tokens or inf)

    def spend(self, turn: Turn, chat: ChatRequest, usage: Usage) -> None:
        """Give back what was set aside for an attempt and not used, or take what was used beyond that."""
        if turn.share.tokens is None and turn.model not in self._stated:
            return
        used = float(usage.input_tokens), float(usage.output_tokens)
        seen = used[0] / max(1.0, len(input_text(chat)) / BYTES_PER_TOKEN), used[1]
        mean = self._means.get(turn.model, seen)
        self._means[turn.model] = (
            mean[0] + _LATEST * (seen[0] - mean[0]),
            mean[1] + _LATEST * (seen[1] - mean[1]),
        )
        now, set_aside = self._now(), turn.tokens
        turn.tokens = used[0] - set_aside[0], used[1] - set_aside[1]
        if turn.share.tokens is not None:
            turn.share.tokens.take(now, sum(turn.tokens))
        for name in turn.taken:
            if "token" in name:
                self._stated[turn.model][name].take(now, turn.amount(name))

    # --- what the host answers ---

    def hear(self, turn: Turn, headers: httpx2.Headers) -> None:
        """Take over the limits that an answer states."""
        for limit in stated_limits(headers):
            known = self._stated.setdefault(turn.model, {})
            bucket = known.get(limit.name)
            if bucket is None:
                known[limit.name] = bucket = Bucket(limit.limit, limit.limit / 60)
            bucket.state(
                limit.limit,
                limit.remaining,
                limit.reset,
                since=turn.sent,
                taken=turn.taken.get(limit.name, bucket.taken),
            )

    def answered(self, turn: Turn) -> None:
        """Note that the host has answered an attempt, well or not, but not refused it for being one too many."""
        self._answered = self._now()
        latency = self._answered - turn.sent
        self._latency += _LATEST * (latency - self._latency) if self._latency else latency
        self._pace.answer()
        self._window.grow(self._all, freely=self._pace.noisy)

    def refuse(self, turn: Turn, error: ProviderError, since: float) -> bool:
        """Let all attempts wait after a refusal; return whether this one is to wait for another turn.

        Args:
            turn: What was refused.
            error: The refusal.
            since: When the call was first refused.
        """
        now, asked = self._now(), error.retry_after
        if asked is not None and asked > _LONGEST_WAIT:
            return False
        own = self._pace.refuse(now, turn.sent)
        if not self._pace.noisy:
            self._window.cut(now, turn.sent, self._all)
        if own is not None:
            self._until = max(self._until, now + own * random.uniform(1.0, 1.2))  # noqa: S311 - jitter
        if asked:
            self._until = max(self._until, now + asked)
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
        self._turn: Turn | None = None

    async def run(
        self,
        exchange: Callable[[], Awaitable[Usage | None]],
        chat: ChatRequest,
        deadline: asyncio.Timeout | None,
        *,
        final: bool,
    ) -> None:
        """Make an exchange at its turn, and others after refusals that all of a host wait out.

        Args:
            exchange: Makes one, and returns what it used.
            chat: What is sent.
            deadline: When the time of the call is over.
            final: Whether the call has nothing else to try at once, such as another tier.

        Raises:
            ProviderError: What an exchange failed with.
        """
        quota = self._quota
        while True:
            self._turn = turn = Turn(self._share, self._profile, self._places, chat.model)
            quota.estimate(turn, chat)
            await paused(deadline, quota.enter(turn, again=bool(self._refused)))
            try:
                async with self._limiter:
                    usage = await exchange()
            except (RateLimitError, OverloadedError) as error:
                self._refused = self._refused or turn.sent
                if not final or not quota.refuse(turn, error, self._refused):
                    raise
            except ProviderError as error:
                if error.http_status is not None:
                    quota.answered(turn)
                raise
            else:
                quota.answered(turn)
                if usage is not None:
                    quota.spend(turn, chat, usage)
                return
            finally:
                quota.leave(turn)

    def hear(self, headers: httpx2.Headers) -> None:
        """Take over the limits that the answer to the attempt under way states."""
        if self._turn is not None:
            self._quota.hear(self._turn, headers)


async def paused(deadline: asyncio.Timeout | None, waiting: Awaitable[object]) -> float:
    """Wait for something while the time of a call stands still; return the seconds that it took."""
    loop = asyncio.get_running_loop()
    began, due = loop.time(), None if deadline is None or deadline.expired() else deadline.when()
    if deadline is None or due is None:
        await waiting
        return loop.time() - began
    deadline.reschedule(None)
    await waiting
    waited = loop.time() - began
    deadline.reschedule(due + waited)
    return waited
