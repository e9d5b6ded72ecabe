"""How fast a host may be asked: a pace learned from refusals, a window of attempts under way, limits that are stated.

All are plain arithmetic over seconds that the caller gives, so that their behaviour can be computed for any host.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

_FIRST_PACE: Final = 20.0  # attempts a second
_FASTER: Final = 4.0  # attempts a second that each answer adds until the first refusal
_MANY: Final = 100  # answers without a refusal, after which more is tried faster
_TRIPS: Final = 2.0  # times the time that a refusal took are waited for others
_UNLIMITED: Final = 5_000.0  # attempts a second; more than one process can send
_BELOW: Final = 0.96
"""What is sent of what a host was seen to admit: even attempts then stay below its limit in spite of their jitter."""
_SPAN: Final = 1.0  # seconds: the window of most limiters, over which is counted what a host admitted
_LEAST: Final = 0.92
"""The same where attempts are late."""
_UNEVEN: Final = 8.0  # times their mean lateness are left free of what is counted in `_SPAN`
_JOLT: Final = 0.97
"""What is left of a pace that was admitted for a while and then refused: what is sent evenly may arrive unevenly."""
_LATE: Final = 0.02  # seconds that an attempt may be late without a loss for those after it; `_BELOW` leaves 0.04
_SURE: Final = 15.0  # seconds that a pace is kept before more is tried
_UNSURE: Final = 0.5  # seconds, where little was seen
_FEW: Final = 2  # attempts, from which nothing is learned
_SEVERAL: Final = 5  # attempts, of which each refused one counts, so that it is better to wait
_UNHEARD: Final = 6.0  # attempts at once before the first answer, and as many more in each second
_FIRST_WINDOW: Final = 32.0  # attempts
_ALIKE: Final = 0.15  # of each other, by which two figures may differ
_SMALLEST_WINDOW: Final = 4.0
_GROWTH: Final = 0.5  # attempts more after each answer, before the first refusal
_CUT: Final = 0.7
_SLOWEST: Final = 0.02  # attempts a second
_LONG: Final = 3.0  # seconds
_DAY: Final = 86_400.0  # seconds
_NEARLY: Final = 1e-9
_RECENT: Final = 40  # attempts, whose refused part is watched
_NOISE: Final = 0.35  # of them; a host that refuses more has a limit
_FEWER: Final = 0.25  # of them; what is refused beside them is chance
_LEFT: Final = 0.15  # of that rate is kept until refusals are many
_SURPRISES: Final = 2  # refusals at a small part of a rate that the host was seen to admit
_FALLEN: Final = 0.4  # of the rate before them, from where on refusals are counted
_SHORT: Final = 0.25  # seconds; a limiter that admits again after so short a pause counts no windows


class Pace:
    """The rate of attempts that a host admits, learned from what it refuses.

    A host may refuse whatever the rate, as if one in ten: then each refusal would lower what is learned. Where refusals
    come again and again at a rate that was admitted before, though it has fallen to a part, they are no longer learned
    from, until they become many.

    Attributes:
        rate: Attempts a second.
        noisy: Whether the host refuses whatever the rate.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self.noisy = False
        self._outcomes: deque[bool] = deque(maxlen=_RECENT)  # whether each of the last attempts was refused
        self._surprises, self._highest = 0, 0.0
        self._alarms = 0  # how often they were not by chance after all
        self._base = 0.0  # what was learned; 0 before the first refusal
        self._since = -inf  # when it was
        self._answers = 0
        self._hold = _SURE
        self._next = -inf
        self._sent: deque[float] = deque()  # of the last seconds, but for those refused
        self._began = -inf  # since the last pause
        self._count = 0  # admitted since then
        self._anchor = -inf  # an earlier refusal
        self._admitted = 0  # since then
        self._short = False  # whether the last pause was short
        self._counts_windows = False  # whether it has refused again after a pause
        self._waited = False  # whether the next attempt had to wait for its time
        self._late = 0.0  # seconds that attempts are sent after their time; a moving mean
        self._below = _BELOW
        self._refused: float | None = None  # when the first one was sent that was refused since the last pause

    @property
    def learned(self) -> bool:
        """Whether the host has refused anything."""
        return self._base > 0

    def delay(self, now: float) -> float:
        """Return the seconds until another attempt may be sent."""
        self._waited = self._waited or self._next > now
        return self._next - now

    def take(self, now: float) -> None:
        """Note that an attempt is sent."""
        if self._began == -inf:
            self._began = now
        if self._refused is not None:
            self._learn(now, self._refused)
            self._refused = None
        elif self._waited:
            self._late += 0.1 * (min(now - self._next, 1 - _LEAST) - self._late)
        self._waited = False
        self.rate = self._rate(now - self._since)
        self._next = max(self._next, now - _LATE) + 1 / self.rate
        self._count += 1
        self._admitted += 1
        self._sent.append(now)
        while self._sent[0] <= now - _LONG:  # a refusal may come late
            self._sent.popleft()

    def _rate(self, since: float) -> float:
        if not self._base:
            more = self._answers + 4 * max(0, self._answers - _MANY)
            return min(_UNLIMITED, _FIRST_PACE + _FASTER * more)
        over = max(0.0, since - self._hold)
        more = 0.01 * over * over if self._hold == _SURE else 2 ** min(20.0, over) - 1
        return min(_UNLIMITED, self._base * (1 + more))

    def answer(self) -> None:
        """Note an answer."""
        self._answers += 1
        self._outcomes.append(False)
        if self.noisy and len(self._outcomes) == _RECENT and not any(self._outcomes):
            self.noisy = False

    def refuse(self, now: float, sent: float) -> float | None:
        """Note a refusal; return the seconds to wait where the host names none, or None where all wait already."""
        if sent in self._sent:
            self._sent.remove(sent)
        self._outcomes.append(True)
        if self.noisy:
            if sum(self._outcomes) > _NOISE * _RECENT:
                self.noisy = bool(self._alarms)
                self._alarms += 1
                self._base, self._since, self._hold = max(self._lately(sent) * _BELOW, _SLOWEST), now, _SURE
                self._outcomes.clear()
            return None
        if sent < self._began:
            return None
        self._count -= 1
        self._admitted -= 1
        if self._refused is not None:
            return None
        self._refused = sent
        seen = self._lately(sent) * _SPAN
        wait = 0.1 if seen <= _FEW else 0.5 if seen <= _SEVERAL else max(0.1, min(2.5 / seen, 0.24))
        return max(wait, min(_TRIPS * (now - sent), _SPAN))  # until those that were sent meanwhile are answered

    def _learn(self, now: float, refused: float) -> None:
        """Set the rate by what was admitted until the refusal, now that the pause after it is over."""
        pause, whole = now - refused, refused - self._anchor
        if self._count > 0 or not self._base:
            self._highest = max(self._highest, self._base)
            # It was tried whether the host admits more than what it was known to.
            expected = self._hold == _SURE and self.rate > self._base * 1.02
            fallen = self.rate < self._highest * _FALLEN
            self._surprises = self._surprises + 1 if fallen and not expected else 0
            if self._surprises <= 1:
                self._outcomes.clear()
            found = self._find(refused, pause, whole)
            # To try more is cheap where a refusal costs a short pause only.
            cheap = self._count <= _FEW or (pause <= _SHORT and not self._counts_windows)
            self._below = max(_LEAST, min(_BELOW, 1 - _UNEVEN * self._late / _SPAN))
            self._hold = _UNSURE if cheap and abs(found * self._below - self._base) > _ALIKE * found else _SURE
            self._base = max(_SLOWEST, found * self._below)
            if not self._refuses_many():  # else what came of the first refusals might take minutes to be tried
                self._base = max(self._base, self._highest * _LEFT)
            self._since = now
            if whole >= _SPAN:
                self._anchor, self._admitted = refused, 0
        else:  # refused again after a pause
            self._counts_windows = True
            if self._hold == _UNSURE:
                self._hold, self._since = _SURE, now
        if self._surprises >= _SURPRISES * (1 + self._alarms) and sum(self._outcomes) <= _FEWER * len(self._outcomes):
            self.noisy = True
            self._base, self._since, self._hold = self._highest, now, _UNSURE
            self._surprises, self._highest = 0, 0.0
        self._short = pause <= _SHORT
        self._began, self._count, self._next = now, 0, now

    def _refuses_many(self) -> bool:
        """Return whether the host has refused many of the last attempts: there is a limit, and it is far below."""
        return len(self._outcomes) >= _RECENT / 2 and sum(self._outcomes) > _FEWER * len(self._outcomes)

    def _lately(self, until: float) -> float:
        """Return what was admitted in a second, of what was sent in the last one until a moment."""
        return sum(1 for sent in self._sent if until - _SPAN < sent <= until) / _SPAN

    def _find(self, refused: float, pause: float, whole: float) -> float:
        """Return what a host admits in a second: what it did in the last one, or since an earlier refusal."""
        lately = self._lately(refused)
        if self._count <= _FEW:
            return self.rate * (0.5 if self._anchor == -inf else 0.9)
        if self._anchor == -inf:
            return lately
        if whole < _SPAN and not self._counts_windows:
            return min(self._base / self._below, self.rate) * 0.9 if self._short else lately
        mean = self._admitted / whole
        if pause > _LONG or (self._short and not self._counts_windows):
            return mean
        if self.rate <= self._base * 1.02 and refused - self._began >= _SPAN:
            # A bucket gains in a pause what it makes good afterwards, a window does not: as if it were a window, since
            # a pace that is too high then costs less than one that is too low.
            return max(mean, min(lately * 1.1, self._base / self._below) * _JOLT)
        brief = refused - self._began < _SPAN  # more than `lately` was admitted in no second
        return lately if self._counts_windows or brief else (mean + 2 * lately) / 3


class Window:
    """How many attempts may be under way: half as many more each round trip, then one; less after a refusal."""

    def __init__(self) -> None:
        self.size = _UNHEARD
        self._unheard = True
        self._answers = 0
        self._enough = inf
        self._cut = self._began = -inf

    def delay(self, now: float, under_way: int) -> float:
        """Return the seconds until another attempt may be sent; infinity where another one must end before.

        While a host has not answered at all, a few are sent at once, and then some more.
        """
        if self._began == -inf:
            self._began = now
        if under_way < int(self.size):
            return 0.0
        if not self._unheard or under_way >= _FIRST_WINDOW:
            return inf
        return self._began + (under_way + 1 - _UNHEARD) / _UNHEARD - now

    def grow(self, under_way: int, *, freely: bool = False) -> None:
        """Note an answer that came while so many attempts were under way; one that is not filled does not grow.

        Args:
            under_way: So many, this one included.
            freely: Whether earlier refusals say nothing of how many may be.
        """
        self._answers += 1
        if self._unheard:
            self._unheard, self.size = False, max(self.size, under_way)
        elif under_way >= int(self.size):
            fast = 1.0 if self._answers > _MANY else _GROWTH
            self.size += fast if freely or self.size < self._enough else 1.0 / self.size

    def cut(self, now: float, sent: float, under_way: int) -> None:
        """Note a refusal; what was sent before the last cut says nothing new."""
        if sent > self._cut:
            self._unheard = False
            self.size = self._enough = max(_SMALLEST_WINDOW, under_way * _CUT)
            self._cut = now


class Bucket:
    """A limit of requests or tokens: what may be used now, and how fast that grows.

    Args:
        most: What it holds.
        rate: What is added each second.
    """

    def __init__(self, most: float, rate: float) -> None:
        self.most, self.rate = most, rate
        self.taken = 0.0
        self._level, self._at = most, -inf

    @classmethod
    def a_minute(cls, limit: float) -> Bucket:
        """Return that of a limit which no minute exceeds, with what comes in a second at once."""
        most = max(1.0, limit / 60)
        return cls(most, max(limit - most, limit / 2) / 60)

    def state(self, limit: float, remaining: float, reset: float | None, *, since: float, taken: float) -> None:
        """Take over what a host states.

        Args:
            limit: What it holds.
            remaining: What was left of it for those after an attempt.
            reset: Seconds from then until it is full; None: a minute for all of it.
            since: When that attempt was sent.
            taken: `taken` at that time, this attempt included.
        """
        used = limit - remaining
        self.most = max(1.0, limit)
        self.rate = used / reset if reset and used > 0 else limit / 60
        self.rate = max(self.rate, limit / _DAY)
        self._level, self._at = min(self.most, remaining) - (self.taken - taken), since

    def _now(self, now: float) -> float:
        return self.most if self._at == -inf else min(self.most, self._level + (now - self._at) * self.rate)

    def delay(self, now: float, amount: float) -> float:
        """Return the seconds until so much may be taken; of what is more than it holds, until it is full."""
        lack = min(amount, self.most) - self._now(now)
        return lack / self.rate if lack > _NEARLY else 0.0

    def take(self, now: float, amount: float) -> None:
        """Take so much, or give back what was too much (below 0)."""
        self._level, self._at = min(self.most, self._now(now) - amount), now
        self.taken += amount
