"""Hosts that allow so many requests, each by another limiter, and bulk work against them in time that is computed.

    python tests/benchmarks/limiters.py [--seeds 5] [--kinds ...] [--hints ...] [--limits 5,20,100,60m] [--loads ...]

Prints how much of what a host allows was used (the time that its rate gives the calls, over the time they took) and how
many requests it refused: the mean of all seeds, and the worst one. The turns are those of the product; the clock of the
event loop, the way to the host and its answers are computed, so that each run with a seed is the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import random
import selectors
import statistics
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from victor_nb.calls.quota import Quota, Share, Turns
from victor_nb.config.profiles import Profile
from victor_nb.errors import RateLimitError
from victor_nb.values import ChatRequest, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Limiter = Callable[[float], float]
    """Takes a time in seconds; returns 0 where a request is admitted, else the seconds until the next would be."""

# --- limiters ---


def bucket(limit: float, span: float, burst: float) -> Limiter:
    """Return a token bucket, which gives at once that part of its limit."""
    most, rate = max(1.0, limit * burst), limit / span
    level, last = most, -math.inf

    def admit(now: float) -> float:
        nonlocal level, last
        level, last = min(most, level + (now - last) * rate), now
        if level < 1:
            return (1 - level) / rate
        level -= 1
        return 0.0

    return admit


def fixed(limit: float, span: float, _: float) -> Limiter:
    """Return a counter that begins anew with each span of the clock."""
    count, window = 0, -1.0

    def admit(now: float) -> float:
        nonlocal count, window
        if now // span != window:
            count, window = 0, now // span
        count += 1
        return 0.0 if count <= limit else span - now % span

    return admit


def sliding(limit: float, span: float, _: float) -> Limiter:
    """Return a log of the requests that were admitted in the last span."""
    admitted: deque[float] = deque()

    def admit(now: float) -> float:
        while admitted and admitted[0] <= now - span:
            admitted.popleft()
        if len(admitted) < limit:
            admitted.append(now)
            return 0.0
        return admitted[0] + span - now

    return admit


def moody(_: float, __: float, ___: float) -> Limiter:
    """Return what refuses 8 of 100 requests, however few there are."""
    chance = random.Random(8)
    return lambda _: 0.5 if chance.random() < 0.08 else 0.0


LIMITERS: Final[dict[str, tuple[Callable[[float, float, float], Limiter], float]]] = {
    "bucket": (bucket, 1.0),
    "small bucket": (bucket, 0.25),
    "no burst": (bucket, 0.0),
    "fixed window": (fixed, 1.0),
    "sliding window": (sliding, 1.0),
    "at random": (moody, 1.0),
}
"""The limiters, and what part of its limit each gives at once."""


def hinted(wait: float, hint: str, now: float) -> float | None:
    """Return what a refusal asks to wait, as a client reads it.

    Args:
        wait: Seconds until a request is admitted.
        hint: `no`, `whole` seconds rounded up, `exact`, or `date`: the whole second of the clock after that time.
        now: Seconds of the clock.
    """
    until = {"whole": math.ceil(wait), "exact": math.ceil(wait * 1000) / 1000, "date": math.ceil(now + wait) - now}
    return until.get(hint)


# --- time that is computed ---


class _Asleep(selectors.SelectSelector):
    """Lets the time of its loop pass, where there is nothing to do."""

    loop: Computed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Move the clock on; there are no events of files."""
        assert timeout is not None, "all wait for ever"
        self.loop.now += max(0.0, timeout)
        return []


class Computed(asyncio.SelectorEventLoop):
    """An event loop whose clock is computed."""

    def __init__(self) -> None:
        self.now = 0.0
        asleep = _Asleep()
        asleep.loop = self
        super().__init__(asleep)

    def time(self) -> float:
        """Return the seconds."""
        return self.now


@dataclass(frozen=True)
class Load:
    """How busy the machine is.

    Attributes:
        work: Seconds of CPU of each side of a call.
        stalls: How often a second both this process and the host do nothing for a while; each for itself.
        stall: The longest of these, in seconds.
    """

    work: float
    stalls: float
    stall: float


LOADS: Final = {"quiet": Load(0.0007, 0.2, 0.02), "busy": Load(0.003, 1.0, 0.08), "crowded": Load(0.006, 2.0, 0.2)}


class Stalls:
    """When a process does nothing, since others have its core."""

    def __init__(self, load: Load, chance: random.Random) -> None:
        self._load, self._chance = load, chance
        self._from, self._to = self._next(0.0)

    def _next(self, after: float) -> tuple[float, float]:
        begin = after + self._chance.expovariate(self._load.stalls)
        return begin, begin + self._chance.uniform(0, self._load.stall)

    def after(self, now: float) -> float:
        """Return the first time from `now` on when it does something."""
        while now >= self._to:
            self._from, self._to = self._next(self._to)
        return self._to if now >= self._from else now


class Outcome(NamedTuple):
    """What came of a trial.

    Attributes:
        seconds: What it took until the last one was admitted.
        admitted: Requests.
        refused: Requests.
        sent: When each was sent, and whether it was admitted.
    """

    seconds: float
    admitted: int
    refused: int
    sent: list[tuple[float, bool]]


def trial(
    limiter: Limiter, rows: int, *, hint: str = "no", latency: float = 0.05, load: str = "quiet", seed: int = 0
) -> Outcome:
    """Send so many requests through the turns of one map."""
    loop, chance = Computed(), random.Random(seed)
    here, there = Stalls(LOADS[load], chance), Stalls(LOADS[load], chance)
    loop.now = chance.random() * 60  # a window of the clock begins at any time
    began, sent = loop.now, list[tuple[float, bool]]()
    profile = Profile.model_validate({"name": "desk", "provider": "openai", "model": "gpt-4o-mini"})
    chat = ChatRequest("gpt-4o-mini", (Message("user", "Row"),))

    def work() -> None:
        loop.now = here.after(loop.now) + LOADS[load].work * chance.uniform(0.7, 1.3)

    async def exchange() -> None:
        work()
        await asyncio.sleep(chance.expovariate(500))
        arrived = there.after(loop.now)
        if arrived > loop.now:
            await asyncio.sleep(arrived - loop.now)
        wait = limiter(loop.now)
        sent.append((loop.now - began, not wait))
        asked = hinted(wait, hint, loop.now)
        await asyncio.sleep(latency * (chance.uniform(0.04, 0.12) if wait else chance.uniform(0.6, 1.4)))
        work()
        if wait:
            raise RateLimitError("Too many.", retryable=True, retry_after=asked, http_status=429)

    async def every() -> None:
        quota, share = Quota(), Share()
        turns = (Turns(quota, share, profile, contextlib.nullcontext()) for _ in range(rows))
        # As in a map: no more calls than may be under way.
        workers = [_work(turns, exchange, chat) for _ in range(share.most)]
        await asyncio.gather(*workers)

    with contextlib.closing(loop):
        random.seed(seed)
        loop.run_until_complete(every())
        admitted = sum(good for _, good in sent)
        last = max(at for at, good in sent if good)
        return Outcome(last, admitted, len(sent) - admitted, sent)


async def _work(turns: Iterator[Turns], exchange: Callable[[], Coroutine[Any, Any, None]], chat: ChatRequest) -> None:
    for turn in turns:
        await turn.run(exchange, chat, None, final=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="what the calls take at best")
    parser.add_argument("--kinds", default=",".join(LIMITERS))
    parser.add_argument("--hints", default="no,whole,exact,date")
    parser.add_argument("--limits", default="5,20,100,60m")
    parser.add_argument("--latencies", default="0.05,1")
    parser.add_argument("--loads", default=",".join(LOADS))
    given = parser.parse_args()
    print("limiter            limit  Retry-After  latency  load       used  (least)  refused  (most)")
    for kind in given.kinds.split(","):
        make, burst = LIMITERS[kind]
        for limit in given.limits.split(","):
            most, span = float(limit.removesuffix("m")), 60.0 if limit.endswith("m") else 1.0
            seconds = given.seconds * (1 if span == 1 else 18)
            rows = round(most / span * seconds)
            for load in given.loads.split(","):
                for latency in map(float, given.latencies.split(",")):
                    for hint in given.hints.split(","):
                        found = [
                            trial(make(most, span, burst), rows, hint=hint, latency=latency, load=load, seed=seed)
                            for seed in range(given.seeds)
                        ]
                        used = [seconds / each.seconds for each in found]
                        refused = [each.refused / len(each.sent) for each in found]
                        print(
                            f"{kind:<16}{limit:>8}{hint:>13}{latency:>9g}  {load:<8}"
                            f"{statistics.mean(used):>7.1%}{min(used):>9.1%}"
                            f"{statistics.mean(refused):>9.1%}{max(refused):>8.1%}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
