"""What a search is given: its options, tasks with what is expected of them, candidates."""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.calls.request import CallOptions
from victor_nb.config.request_options import TEXT, Kind, shown, whole
from victor_nb.config.strategies import Stage
from victor_nb.errors import ConfigError, VictorError, suggest
from victor_nb.money import to_usd
from victor_nb.providers.spec import spec_of
from victor_nb.templates import Template
from victor_nb.values import plain
from victor_nb.workflows.checks import Agreement, Problem, accepted
from victor_nb.workflows.intake import Feed, Prompts, table_of
from victor_nb.workflows.race import Answer, Ladder, Wish
from victor_nb.workflows.strategies import DIRECT, Single, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from victor_nb.config.strategies import Acceptance
    from victor_nb.values import Reply, Usage
    from victor_nb.workflows.askers import Pool

_WORDS: Final = ("effort", "tier")
"""The options that a word behind `@` may set."""
_KINDS: Final[Mapping[str, Kind]] = {
    "serves": whole(1),
    "concurrency": whole(1),
    "seed": whole(0),
    "reference": TEXT,
    "template": TEXT,
}


# --- options ---


class SearchOptions(CallOptions, total=False):
    """The options of a search.

    Attributes:
        score: What grades an answer from 0 to 1: a check, or a function of the task (of a DataFrame, the row as a
            mapping) and the answer, and of what is expected where it takes three arguments.
        judge: The profile that grades instead, or a function of the task and the answer.
        audit: The share of tasks for which `labels` tell whether the judge is right; then its bias does no harm.
        labels: A function of the task and the answer, or a frame of `task`, `answer` and `label` (0 to 1).
        accept: Where a cascade may stop, by what is there when it serves; see `Cascade`. None: where two agree.
        keep: The part of the reference's quality that is kept: 0.95.
        bar: The quality that is to be had instead, from 0 to 1; then no reference is asked.
        reference: The profile whose quality is kept: `premium`.
        confidence: The probability that a certificate is right: 0.95.
        budget: What the search may spend, in USD.
        serves: How many tasks the plan is for, 10,000: a search that costs more than it can still save ends.
        seed: Of the order of the tasks; it is not sent.
        template: What is asked of each row of a DataFrame: `{{ column }}` stands for its value.
        concurrency: Calls at once.
    """

    score: Any
    judge: str | Callable[..., object] | None
    audit: float | None
    labels: Any
    accept: Acceptance | None
    keep: float | None
    bar: float | None
    reference: str
    confidence: float
    budget: Decimal | str | float | None
    serves: int
    seed: int | None
    template: str | None
    concurrency: int | None


OWN: Final = frozenset(SearchOptions.__annotations__) - frozenset(CallOptions.__annotations__) | {"seed"}
"""The options that are the search's own; the others are sent with every call."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a search is to find, and by whose word; see `SearchOptions`."""

    wish: Wish
    score: object = None
    judge: str | Callable[..., object] | None = None
    labels: object = None
    accept: Acceptance | None = None
    reference: str = "premium"
    budget: Decimal | None = None
    seed: int = 0
    concurrency: int | None = None

    @property
    def word(self) -> str:
        """By whose word an answer is right."""
        judge, audit = self.judge, self.wish.audit
        if judge is None:
            return "the score is the truth"
        name = judge if isinstance(judge, str) else getattr(judge, "__name__", type(judge).__name__)
        if not audit:
            return f"right is what the judge {name} says (its scores were not audited)"
        return f"the labels of the {audit:.0%} of tasks that audit the judge {name} are the truth"

    @classmethod
    def of(cls, own: Mapping[str, Any]) -> Terms:
        """Return the terms that options say.

        Raises:
            ConfigError: They do not fit together.
        """
        for name in ("keep", "bar", "confidence", "audit"):
            share = plain(own.get(name))
            fits = isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share <= 1
            if share is not None and (not fits or (share == 1 and name in {"bar", "confidence"})):
                raise ConfigError(f"{name}={shown(share)} is no share such as 0.9.")
        serves: Any = own.get("serves", 10_000)
        serves = int(serves) if isinstance(serves, float) and serves.is_integer() else serves  # 1e6
        for name, kind in _KINDS.items():
            fault = kind.fault({**own, "serves": serves}[name]) if name in own else None
            if fault is not None:
                raise ConfigError(f"{name}= {fault}.")
        if "keep" in own and "bar" in own:
            raise ConfigError("Give keep=, a part of the reference's quality, or bar=, a quality; not both.")
        judge, audit, labels = own.get("judge"), own.get("audit"), own.get("labels")
        if judge is not None and "score" in own:
            raise ConfigError("score= and judge= both grade. Give one of them; labels= audit a judge.")
        if judge is not None and not isinstance(judge, str) and not callable(judge):
            raise ConfigError(f"judge= is a profile or a function, not {type(judge).__name__}.")
        if (audit is None) != (labels is None) or (audit is not None and judge is None):
            raise ConfigError("audit= goes with judge= and labels=, a frame or a function of the task and the answer.")
        wish = Wish(
            keep=None if "bar" in own else own.get("keep", 0.95),
            bar=own.get("bar"),
            confidence=own.get("confidence", 0.95),
            serves=int(serves),
            audit=audit,
        )
        names = ("score", "judge", "labels", "accept", "reference", "seed", "concurrency")
        given = {name: own[name] for name in names if name in own}
        return cls(wish=wish, budget=to_usd(own["budget"]) if "budget" in own else None, **given)


# --- tasks ---


def problems_of(tasks: object, template: str | None, pool: Pool) -> list[Problem]:
    """Return the tasks of a search, one for each prompt: an answer is stored, and is no evidence for a second time.

    Args:
        tasks: Texts, pairs of a text and what is expected, or a table with a template.
        template: What is asked of each row of a table.
        pool: Whose keys no prompt may hold.

    Raises:
        ConfigError: They cannot be asked, or are too few.
    """
    if template is not None:
        rows = table_of(tasks, None)
        if isinstance(rows, Feed):
            raise ConfigError("A search asks tasks in an order of its own. Give a DataFrame or a list, no iterator.")
        parsed = Template(template, dict.fromkeys(rows.known))
        prompts = Prompts(rows, parsed, others={}, empty="skip", leaks=pool.settings.leak_check())
        found: list[Problem] = []
        for number in range(rows.size):
            names = rows.names(number)
            prompt = prompts.of(names)
            if prompt is not None:
                found.append(Problem(prompt, names["row"], names.get("expected")))
    else:
        if hasattr(tasks, "columns"):
            raise ConfigError("A table needs a template: template='Classify: {{ review }}'.")
        if isinstance(tasks, (str, bytes)) or not hasattr(tasks, "__iter__"):
            raise ConfigError("tasks is a list of texts, of pairs (text, expected), or a DataFrame with template=.")
        found = [_problem(each) for each in cast("Sequence[object]", tasks)]
    alike: dict[str, list[Problem]] = {}
    for each in found:
        alike.setdefault(each.prompt, []).append(each)
    if len(alike) < _FEWEST:
        count = f"{len(found)} tasks" if len(alike) == len(found) else f"{len(found)} tasks with {len(alike)} prompts"
        raise ConfigError(f"{count} say nothing of a quality. Give {_FEWEST} or more; 200 tell small differences.")
    return [replace(first, also=tuple(others)) for first, *others in alike.values()]


_FEWEST: Final = 20


def _problem(task: object) -> Problem:
    if isinstance(task, str):
        return Problem(task, task)
    if type(task) in {tuple, list}:
        pair: list[object] = [*cast("Sequence[object]", task)]
        if len(pair) == 2 and isinstance(pair[0], str):  # noqa: PLR2004 - a pair
            return Problem(pair[0], pair[0], pair[1])
    raise ConfigError(f"A task is a text, or a pair (text, expected), not {type(task).__name__}.")


# --- candidates ---


@dataclass(frozen=True)
class Candidate:
    """Who may answer: a profile, with an effort or a tier of its own, or a strategy.

    Attributes:
        name: `fast`, `fast@low`, `fast@flex`, or the name of a strategy.
        profile: Whose; empty for a strategy.
        options: The effort or the tier.
    """

    name: str
    profile: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    strategy: Strategy | None = None

    def ensure(self, pool: Pool, options: CallOptions) -> None:
        """Refuse a candidate that cannot be asked: a missing key shows before anything is paid for."""
        if self.strategy is None:
            pool.get_orchestrator(self.profile)
        else:
            self.strategy.prepare("a task", pool=cast("Any", pool), stream=False, options=options)

    def likely_cost(self, pool: Pool, usage: Usage) -> float:
        """Return the list price of an answer in USD, were each of its calls such a one; 0 where it is unknown."""
        profiles = [self.profile]
        if self.strategy is not None:
            profiles = [stage.profile for stage in self.strategy.stages for _ in range(stage.n)]
        tariffs = (pool.runtime.find_tariff(name, pool.settings) for name in profiles)
        return sum(float(tariff.price(usage).cost or 0) for tariff in tariffs if tariff is not None)

    def stage(self, **more: Any) -> Stage:
        """Return the stage that asks it."""
        name = re.sub(r"[^\w-]", "-", self.name)
        return Stage(name if re.match(r"[A-Za-z_]", name) else f"_{name}", self.profile, DIRECT, **self.options, **more)


def candidate_of(given: object, pool: Pool) -> Candidate:
    """Return a candidate: a profile's name, `PROFILE@WORD`, or a strategy.

    Raises:
        ConfigError: It is none of these, or its model takes no such word.
    """
    if isinstance(given, Strategy):
        return Candidate(given.name, strategy=given)
    if not isinstance(given, str):
        raise ConfigError(f"A candidate is a profile's name or a strategy, not {type(given).__name__}.")
    base, _, word = given.rpartition("@")
    if not base or pool.settings.find(given) is not None:
        pool.settings.profile(given)  # says what is wrong with the name
        return Candidate(given, given)
    profile = pool.settings.profile(base)
    spec = spec_of(profile.provider)
    known = {option: spec.words_for(option, profile.model) for option in _WORDS}
    option = next((option for option in _WORDS if word in known[option]), None)
    if option is None:
        words = [each for option in _WORDS for each in known[option]]
        hint = suggest(word, words, otherwise=f"Its words: {', '.join(words) or 'none'}.")
        raise ConfigError(f"{given}: {profile.model} takes no {word!r}. {hint}")
    return Candidate(given, base, {option: word})


def listed(candidates: object) -> list[object]:
    """Return the candidates that are given as a list.

    Raises:
        ConfigError: They are a single one, or none.
    """
    if isinstance(candidates, str) or not hasattr(candidates, "__iter__"):
        raise ConfigError(f"candidates= is a list, such as ['fast', 'fast@low'], not {shown(candidates)}.")
    return [*cast("Sequence[object]", candidates)]


def ready(pool: Pool) -> list[str]:
    """Return the profiles that can be asked."""
    found: list[str] = []
    for name in pool.settings.profiles:
        with suppress(VictorError):
            pool.get_orchestrator(name)
            found.append(name)
    return found


# --- plans ---


class Acceptor:
    """Says whether a cascade may stop at an answer, by what is there when it serves; each question is asked once.

    Args:
        rule: See `Stage.accept`; None: two profiles must agree.
    """

    def __init__(self, rule: Acceptance | None) -> None:
        given = 2 if rule is None else rule
        self.rule: Acceptance = Agreement(given, across=True) if isinstance(given, int) else given
        self.votes = self.rule.at_least if isinstance(self.rule, Agreement) else 1
        self._verdicts: dict[tuple[str, ...], bool] = {}

    def __call__(self, task: str, answers: Sequence[Answer]) -> bool:
        """Return whether the last answer is accepted."""
        seen = [answer for answer in answers if answer.text is not None]
        if len(seen) < self.votes:
            return False
        seen = seen if self.votes > 1 else seen[-1:]
        key = (task, *(each.text or "" for each in seen))
        if key not in self._verdicts:
            replies = [cast("Reply", each.source) for each in seen]
            self._verdicts[key] = accepted(self.rule, replies, len(replies) - 1, task=task) is not None
        return self._verdicts[key]


def ladders(candidates: Sequence[Candidate], costs: Mapping[str, float], accept: Acceptor) -> list[Ladder]:
    """Return the plans: each candidate by itself, and cascades of two and three profiles, the cheapest first.

    Where profiles must agree, two answer before a third decides.
    """
    plans = [Ladder((each.name,), name=each.name) for each in candidates]
    known = [each.name for each in candidates if each.strategy is None and each.name in costs]
    profiles = sorted(known, key=lambda name: costs[name])
    sign = " > " if accept.votes == 1 else " = "
    for count in (2, 3):
        if count <= accept.votes:
            continue
        chains = [each for each in itertools.combinations(profiles, count) if costs[each[-1]] > costs[each[0]]]
        plans += [Ladder(chain, accept, f"{sign.join(chain[:-1])} > {chain[-1]}") for chain in chains]
    return plans


def strategy_of(plan: Ladder, candidates: Mapping[str, Candidate], accept: Acceptor, *, name: str) -> Strategy:
    """Return a plan as a strategy that serves."""
    chosen = [candidates[each] for each in plan.profiles]
    if len(chosen) == 1:
        one = chosen[0]
        if one.strategy is not None:
            return one.strategy
        return Single(one.profile) if not one.options else Strategy(f"single {one.name}", [one.stage()])
    stages: list[Stage] = []
    for place, each in enumerate(chosen):
        before = (stages[-1].name,) if stages else ()
        stages.append(each.stage(needs=before, accept=None if place == len(chosen) - 1 else accept.rule))
    return Strategy(name, stages)
