"""A race of plans: the cheapest one whose quality is certified, by answers that come in batches of tasks.

It asks nothing itself: public tables of answers and live profiles run the same race.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, sqrt
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Final, Literal

from victor_nb.workflows.evidence import Bets, audited, lower_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

State = Literal["reference", "pilot", "racing", "certified", "futile", "too expensive", "failed", "not chosen"]

PILOT: Final = 40
"""Tasks that choose the plans to test. No certificate counts them."""
BATCH: Final = 20
"""Tasks between two looks at the race."""
MOST: Final = 4  # plans that are tested: each more makes the evidence that one needs larger
_FUTILE: Final = log(10)  # the evidence that a plan is under the bar, at which it is given up
_CHEAPER: Final = 0.8  # of the best plan's cost: what saves less than a fifth more is not raced further
_AHEAD: Final = 200  # tasks whose cost the race weighs against what it may still save
_HOPE: Final = 0.02  # probability, by the pilot, below which a plan is not tested
_TRIED, _LOST = 10, 8  # a plan that fails 8 of its first 10 tasks is left out


@dataclass(frozen=True, slots=True)
class Answer:
    """One profile's answer to one task.

    Attributes:
        text: What it said; None where it failed.
        cost: USD.
        score: From 0 to 1: by the checker, or by the judge.
        truth: The true score, where a judge's is audited.
        source: What it was read from, for checks.
    """

    text: str | None
    cost: float
    score: float
    truth: float | None = None
    source: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan makes of one task.

    Attributes:
        answer: The one that it gives.
        asked: The cost in USD of each profile that it asks.
    """

    answer: Answer
    asked: Mapping[str, float]

    @property
    def cost(self) -> float:
        """USD of all that it asks."""
        return sum(self.asked.values())


@dataclass(frozen=True)
class Ladder:
    """A plan: one profile, or a cascade of several, the cheapest first.

    Attributes:
        profiles: Who is asked, in turn, until an answer is accepted; the last one's always is.
        accept: Whether the last of the answers so far is accepted; it sees what is there when the plan serves.
        name: What it is called.
    """

    profiles: tuple[str, ...]
    accept: Callable[[str, Sequence[Answer]], bool] | None = field(default=None, compare=False)
    name: str = ""

    def walk(self, task: str) -> Generator[str, Answer, Outcome]:
        """Yield each profile that is to be asked, take its answer, and return what came of the task."""
        answers: list[Answer] = []
        asked: dict[str, float] = {}
        for place, profile in enumerate(self.profiles):
            answer = yield profile
            answers.append(answer)
            asked[profile] = answer.cost
            last = place == len(self.profiles) - 1
            if last or (answer.text is not None and self.accept is not None and self.accept(task, answers)):
                break
        return Outcome(answers[-1], asked)


def run_ladder(plan: Ladder, task: str, answers: Mapping[str, Answer]) -> Outcome:
    """Return what a plan makes of a task whose answers are all there."""
    walk = plan.walk(task)
    profile, outcome = next(walk), None
    while outcome is None:
        profile, outcome = step(walk, answers[profile])
    return outcome


def step(walk: Generator[str, Answer, Outcome], answer: Answer) -> tuple[str, Outcome | None]:
    """Give a plan an answer; return whom it asks next, or what came of the task."""
    try:
        return walk.send(answer), None
    except StopIteration as end:
        return "", end.value


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a plan.

    Attributes:
        keep: The part of the reference's quality that it must keep; None where there is a bar.
        bar: The quality that it must have; None: `keep` says.
        confidence: The probability that a certificate is right.
        serves: Tasks for which the plan is wanted.
        audit: The share of tasks for which a judge's score is compared with the truth; None: scores are true.
    """

    keep: float | None = 0.95
    bar: float | None = None
    confidence: float = 0.95
    serves: int = 10_000
    audit: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that a task can count for a plan: its score over what is asked of it."""
        low, high = (-(self.keep or 0.0), 1.0) if self.bar is None else (-self.bar, 1.0 - self.bar)
        if not self.audit or self.audit >= 1:
            return low, high
        more = 1 / self.audit - 1
        if self.bar is None:
            return low / self.audit - high * more, high / self.audit - low * more
        return -self.bar - more, 1 / self.audit - self.bar

    def value(self, outcome: Outcome, reference: Outcome | None) -> float:
        """Return what a task counts for a plan, from 0 to 1; `null` is what it counts where it just holds."""
        judged, truth = outcome.answer.score, outcome.answer.truth
        if self.bar is not None:
            judged, truth = judged - self.bar, None if truth is None else truth - self.bar
        elif reference is not None:
            keep, base = self.keep or 0.0, reference.answer
            judged -= keep * base.score
            truth = None if truth is None or base.truth is None else truth - keep * base.truth
        low, high = self.ends
        return (audited(judged, truth, self.audit or 1.0) - low) / (high - low)

    @property
    def null(self) -> float:
        """The mean of `value` for a plan that just has what is asked of it."""
        low, high = self.ends
        return -low / (high - low)


@dataclass
class Racer:
    """A plan in the race.

    Attributes:
        values: What each tested task counted (see `Wish.value`).
        scores: Of all tasks, those of the pilot too; so are `costs`, in USD.
        tested: Of these, those after the pilot, which alone count for `cost` and `quality` once there are any: the
            pilot's tasks chose the plans, so they flatter them.
        trace: Tasks tested and the logarithm of the evidence, after each batch.
    """

    name: str
    state: State
    for_it: Bets
    against: Bets
    values: list[float] = field(default_factory=list[float])
    scores: list[float] = field(default_factory=list[float])
    costs: list[float] = field(default_factory=list[float])
    trace: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    asked: dict[str, float] = field(default_factory=dict[str, float])
    tested: int = 0

    def after(self, values: Sequence[float]) -> Sequence[float]:
        """Return the values of the tasks after the pilot; before there are any, those of the pilot."""
        return values[-self.tested :]  # [-0:] is all

    @property
    def cost(self) -> float:
        """USD of a task, on average."""
        return fmean(self.after(self.costs)) if self.costs else 0.0

    @property
    def quality(self) -> float:
        """The mean score so far: by the judge and its audit, where there is a judge."""
        return fmean(self.after(self.scores)) if self.scores else 0.0


class Race:
    """Plans that are tested on the same tasks until one is certified, and no cheaper one is worth its test.

    Args:
        plans: Their names.
        wish: What is asked of them.
        reference: The plan that `keep` is about; of a bar, the one whose cost is compared, if there is one.

    Attributes:
        why: Why it has ended; None while it goes on.
    """

    def __init__(self, plans: Sequence[str], wish: Wish, *, reference: str | None) -> None:
        self.wish, self.reference = wish, reference
        self.racers = {name: Racer(name, "pilot", Bets(wish.null), Bets(1 - wish.null)) for name in plans}
        if reference is not None and wish.bar is None:
            self.racers[reference].state = "reference"
        self.tested = 0
        self.chosen: tuple[str, ...] = ()
        self.why: str | None = None

    # --- what it asks for ---

    @property
    def paired(self) -> bool:
        """Whether the reference is asked about each task too."""
        return self.wish.bar is None

    @property
    def alive(self) -> list[str]:
        """The plans that are tested further."""
        return [racer.name for racer in self.racers.values() if racer.state == "racing"]

    @property
    def asks(self) -> list[str]:
        """The plans whose outcomes the next batch needs."""
        return [*self.alive, *([self.reference] if self.paired and self.reference else [])]

    @property
    def best(self) -> Racer | None:
        """The cheapest certified plan; None while there is none."""
        certified = [racer for racer in self.racers.values() if racer.state == "certified"]
        return min(certified, key=lambda racer: racer.cost, default=None)

    @property
    def base_cost(self) -> float:
        """USD of a task at the reference; where none is asked, at the dearest plan."""
        if self.reference is not None and self.racers[self.reference].costs:
            return self.racers[self.reference].cost
        return max((racer.cost for racer in self.racers.values()), default=0.0)

    @property
    def level(self) -> float:
        """The risk at which each plan is tested: that of the whole, shared by those that are."""
        return (1 - self.wish.confidence) / max(1, len(self.chosen))

    def price(self, tasks: int) -> float:
        """Return what so many further tasks cost, in USD, each answer being paid once."""
        parts: dict[str, float] = {}
        for name in self.asks:
            for profile, cost in self.racers[name].asked.items():
                parts[profile] = max(parts.get(profile, 0.0), cost)
        return tasks * sum(parts.values())

    # --- what comes ---

    def fails(self, name: str, outcomes: Sequence[Outcome]) -> bool:
        """Return whether a plan fails too often to be tested; its first tasks tell."""
        lost = sum(outcome.answer.text is None for outcome in outcomes[:_TRIED])
        return lost >= _LOST and name != self.reference

    def pilot(self, batch: Mapping[str, Sequence[Outcome]]) -> None:
        """Choose the plans to test, by tasks that are not tested."""
        hopes: dict[str, float] = {}
        base = batch.get(self.reference or "")
        for name, outcomes in batch.items():
            self._note(name, outcomes)
        dearest = self.base_cost
        for name, outcomes in batch.items():
            racer = self.racers[name]
            if racer.state == "reference":
                continue
            if self.fails(name, outcomes):
                racer.state = "failed"
                continue
            racer.state = "not chosen"
            values = [self.wish.value(each, base[place] if base else None) for place, each in enumerate(outcomes)]
            chance = _chance(values, self.wish.null)
            saving = (dearest - racer.cost) / dearest if dearest else 0.0
            if chance >= _HOPE and (saving > 0 or not self.paired):
                hopes[name] = (saving if self.paired else saving + 0.05) * chance
        self.chosen = tuple(sorted(hopes, key=lambda name: (-hopes[name], name))[:MOST])
        for name in self.chosen:
            self.racers[name].state = "racing"
        if not self.chosen:
            self.why = "nothing cheaper looks able" if self.paired else "nothing looks able"

    def add(self, batch: Mapping[str, Sequence[Outcome]]) -> None:
        """Test the living plans on further tasks, and certify or drop them."""
        base = batch.get(self.reference or "") if self.paired else None
        needed, count = -log(self.level), 0
        for name in self.asks:
            outcomes, racer = batch[name], self.racers[name]
            count = len(outcomes)
            self._note(name, outcomes)
            racer.tested += count
            if racer.state != "racing":
                continue
            for place, outcome in enumerate(outcomes):
                value = self.wish.value(outcome, base[place] if base else None)
                racer.values.append(value)
                racer.for_it.add(value)
                racer.against.add(1 - value)
            racer.trace.append((len(racer.values), racer.for_it.peak))
            if racer.for_it.peak >= needed:
                racer.state = "certified"
            elif racer.against.peak >= _FUTILE:
                racer.state = "futile"
        self.tested += count
        self._settle()

    def _note(self, name: str, outcomes: Sequence[Outcome]) -> None:
        """Keep scores and costs, and what each profile costs per task."""
        racer, audit = self.racers[name], self.wish.audit or 1.0
        before = len(racer.costs)
        racer.scores += [audited(each.answer.score, each.answer.truth, audit) for each in outcomes]
        racer.costs += [each.cost for each in outcomes]
        new: dict[str, float] = {}
        for outcome in outcomes:
            for profile, cost in outcome.asked.items():
                new[profile] = new.get(profile, 0.0) + cost
        for profile in {*racer.asked, *new}:
            total = racer.asked.get(profile, 0.0) * before + new.get(profile, 0.0)
            racer.asked[profile] = total / max(1, len(racer.costs))

    def _settle(self) -> None:
        """Drop what is not worth testing, and say when the race is over."""
        best = self.best
        if best is not None:
            for name in self.alive:
                if self.racers[name].cost > _CHEAPER * best.cost:
                    self.racers[name].state = "too expensive"
        alive = [self.racers[name] for name in self.alive]
        if not alive:
            self.why = "no plan is left that is cheaper and may hold"
            return
        now = best.cost if best is not None else self.base_cost
        gain = self.wish.serves * (now - min(racer.cost for racer in alive))
        if gain < self.price(_AHEAD):
            self.why = f"{self.wish.serves:,} tasks would save less than {_AHEAD} further tasks cost"

    # --- what is known ---

    def limit(self, name: str) -> float | None:
        """Return what a certified plan has at least: a part of the reference's quality, or a quality; else None.

        Of a part it is that with the quality that the reference had here.
        """
        racer = self.racers[name]
        if not racer.values:
            return None
        low, high = self.wish.ends
        over = low + (high - low) * lower_limit(racer.values, self.level)
        if self.wish.bar is not None:
            return max(0.0, self.wish.bar + over)
        base = self.racers[self.reference or ""].quality
        return max(0.0, (self.wish.keep or 0.0) + over / base) if base else None


def _chance(values: Sequence[float], bar: float) -> float:
    """Return the probability that the mean is over the bar, by a normal law whose variance leans on 0.25."""
    count, mean = len(values), fmean(values)
    variance = (0.25 + sum((value - mean) ** 2 for value in values)) / (count + 1)
    return NormalDist().cdf((mean - bar) / sqrt(variance / count))
