"""How fast a host may be asked: a pace learned from refusals, a window of attempts under way, limits that are stated.

All are plain arithmetic over seconds that the caller gives, so that their behaviour can be computed for any host.
"""

from __future__ import annotations

from collections import deque
from math import inf, sqrt
from typing import Final

_FIRST_PACE: Final = 20.0  # attempts a second
_FASTER: Final = 6.0  # attempts a second that each answer adds until the first refusal
_MANY: Final = 100  # answers without a refusal, after which more is tried faster
_TRIPS: Final = 2.0  # times the time that a refusal took are waited for others
_UNLIMITED: Final = 5_000.0  # attempts a second; more than one process can send
_BELOW: Final = 0.96
"""What is sent of what a host was seen to admit: even attempts then stay below its limit in spite of their jitter."""
_BELOW_LONG: Final = 0.95
"""The same where a refusal costs a long pause, as with a `Retry-After` in whole seconds."""
_SPAN: Final = 1.0  # seconds: the window of most limiters, over which is counted what a host admitted
_LEAST: Final = 0.92
"""The same where attempts are late."""
_UNEVEN: Final = 8.0  # times their mean lateness are left free of what is counted in `_SPAN`
_JOLT: Final = 0.97
"""What is left of a pace that was admitted for long and then refused: what is sent evenly may arrive unevenly."""
_LATE: Final = 0.02  # seconds that an attempt may be late without a loss for those after it; `_BELOW` leaves 0.04
_SURE: Final = 15.0  # seconds that a pace is kept before more is tried
_SUREST: Final = 60.0  # seconds; the limit may have risen
_TRIED: Final = 40.0  # attempts between two trials of more: one refusal of 40 is half of what is thought too many
_PAUSES: Final = 10.0  # times the last pause between two trials of more: they cost a tenth of the time at most
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
_LONGEST_PAUSE: Final = 30.0  # seconds that are waited where the host names none
_DOUBLED: Final = 10  # times at most: a float has an end
_DAY: Final = 86_400.0  # seconds
_NEARLY: Final = 1e-9
_RECENT: Final = 40  # attempts, whose refused part is watched
_NOISE: Final = 0.35  # of them; a host that refuses more has a limit
_FEWER: Final = 0.25  # of them; what is refused beside them is chance
_LEFT: Final = 0.15  # of that rate is kept until refusals are many
_SURPRISES: Final = 2  # refusals at a small part of a rate that the host was seen to admit
_FALLEN: Final = 0.4  # of the rate before them, from where on refusals are counted
_SHORT: Final = 0.3  # seconds: the longest pause of our own; what a longer one costs is more than an attempt or two
_SAME: Final = 0.07  # of each other; what was admitted in the last second is as much as at the last refusal: a window
_GAINED: Final = 1 / 3
"""What part of a pause a host is thought to make good afterwards: a bucket all of it, a window nothing."""
_MORE: Final = 1.02  # times a rate: more than it


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
        self._sure = True  # whether that is thought to be about what the host admits
        self._before = -inf  # when the first of the attempts before the last pause was sent that were refused
        self._counted = 0.0  # what was admitted in the second before it
        self._pause = 0.0  # seconds that were waited after it
        self._pauses = 0  # how many came at once after another, with nothing admitted between them
        self._again = 0  # how many came after a few attempts only
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
        more = 0.01 * over * over if self._sure else 2 ** min(20.0, over) - 1
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
                self._sure = True
                self._outcomes.clear()
            return None
        if sent < self._began:
            return None
        self._count -= 1
        self._admitted -= 1
        if self._refused is not None:
            return None
        self._refused = sent
        # What was sent before it, and is not refused, was admitted, though its answer may take longer.
        admitted = any(self._began <= earlier < sent for earlier in self._sent)
        self._pauses = 0 if admitted else self._pauses + 1
        seen = self._lately(sent) * _SPAN
        wait = 0.1 if seen <= _FEW else 0.5 if seen <= _SEVERAL else max(0.1, min(2.5 / seen, 0.24))
        wait = max(wait, min(_TRIPS * (now - sent), _SPAN))  # until those that were sent meanwhile are answered
        return min(_LONGEST_PAUSE, wait * 2 ** min(self._pauses, _DOUBLED))

    def _learn(self, now: float, refused: float) -> None:
        """Set the rate by what was admitted until the refusal, now that the pause after it is over."""
        pause, lately = now - refused, self._lately(refused)
        if self._count > 0 or not self._base:
            self._highest = max(self._highest, self._base)
            tried = self.rate > self._base * _MORE  # whether the host admits more than what it was known to
            fallen = self.rate < self._highest * _FALLEN
            self._surprises = self._surprises + 1 if fallen and not (tried and self._sure) else 0
            if self._surprises <= 1:
                self._outcomes.clear()
            found = self._find(refused, lately)
            self._below = max(_LEAST, min(_BELOW if pause <= _SHORT else _BELOW_LONG, 1 - _UNEVEN * self._late / _SPAN))
            base = found * self._below
            if tried and self._sure:  # only what was tried was too much
                base = max(base, self._base)
            self._settle(max(_SLOWEST, base), pause, now)
            if not self._refuses_many():  # else what came of the first refusals might take minutes to be tried
                self._base = max(self._base, self._highest * _LEFT)
            if refused - self._anchor >= _SPAN:
                self._anchor, self._admitted = refused, 0
            self._counted = lately
        else:  # refused again after a pause
            self._counts_windows = True
            self._hold, self._since, self._sure = max(self._hold, _SURE), now, True
        if self._surprises >= _SURPRISES * (1 + self._alarms) and sum(self._outcomes) <= _FEWER * len(self._outcomes):
            self.noisy = True
            self._base, self._since, self._hold, self._sure = self._highest, now, _UNSURE, False
            self._surprises, self._highest = 0, 0.0
        self._before, self._pause = refused, pause
        self._began, self._count, self._next = now, 0, now

    def _settle(self, base: float, pause: float, now: float) -> None:
        """Keep a rate before more is tried: the longer, the more a refusal costs and the more often it was found."""
        # To try more is cheap where a refusal costs a short pause only.
        cheap = self._count <= _FEW or (pause <= _SHORT and not self._counts_windows)
        alike = abs(base - self._base) <= _ALIKE * base
        if alike and self._sure:
            self._hold = min(2 * self._hold, _SUREST)
        else:
            self._sure = alike or not cheap
            self._hold = max(_TRIED / base, _PAUSES * pause) if self._sure else _UNSURE
        self._base, self._since = base, now

    def _refuses_many(self) -> bool:
        """Return whether the host has refused many of the last attempts: there is a limit, and it is far below."""
        return len(self._outcomes) >= _RECENT / 2 and sum(self._outcomes) > _FEWER * len(self._outcomes)

    def _lately(self, until: float) -> float:
        """Return what was admitted in a second, of what was sent in the last one until a moment."""
        return sum(1 for sent in self._sent if until - _SPAN < sent <= until) / _SPAN

    def _find(self, refused: float, lately: float) -> float:
        """Return what a host admits in a second: what it did in the last one, or since an earlier refusal."""
        since, whole = refused - self._began, refused - self._anchor
        if not self._base:
            return lately if self._count > _FEW else self.rate * 0.5
        mean = self._admitted / whole if whole >= _SPAN else 0.0
        self._again = self._again + 1 if self._count <= _FEW else 0
        counts = self._counts_windows or abs(lately - self._counted) <= _SAME * lately or self._pause > _SHORT
        if since < _SPAN and counts and lately > _FEW:
            return lately
        if self._again:
            return max(min(mean, self.rate), self.rate * (0.7 if self._again == 1 else 0.4))
        if since < _SPAN:
            found = self._count / (refused - self._before)  # a bucket was empty then, as it is now
            if not self._sure and self.rate > self._base * _MORE:  # the limit is between what was admitted and this
                return max(found, sqrt(self._base * self.rate))
            return min(lately, found)
        # A bucket gains in a pause what it makes good afterwards, a window does not: something between both.
        kept = min(_JOLT, since / (since + min(self._pause, _SPAN) * _GAINED))
        return max(mean, min(max(lately, self._base / self._below), self.rate) * kept)


class Window:
    """How many attempts may be under way: half as many more each round trip, then one; less after a refusal."""

    def __init__(self) -> None:
        self.size = _UNHEARD
        self._unheard = True
        self._answers = 0
        self._enough = inf
        self._cut = self._began = -inf

    def delay(self, now: float, under_way: int, *, least: float = 0.0) -> float:
        """Return the seconds until another attempt may be sent; infinity where another one must end before.

        While a host has not answered at all, a few are sent at once, and then some more.

        Args:
            now: Seconds.
            under_way: Attempts.
            least: Attempts that may be under way in spite of earlier refusals.
        """
        if self._began == -inf:
            self._began = now
        if under_way < int(max(self.size, least)):
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
