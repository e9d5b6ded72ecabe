"""The search for a cheaper plan that keeps the quality: profiles are asked about tasks, and their plans raced."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, Final, Unpack, cast
from uuid import uuid4

from victor_nb.calls.quota import Share
from victor_nb.calls.request import check_options
from victor_nb.errors import BudgetError, ClosedError, ConfigError, TapeMissError, VictorError, VictorInterrupted
from victor_nb.loop import GRACE
from victor_nb.money import Total
from victor_nb.reports.charts.text import percent
from victor_nb.reports.statistics import scores
from victor_nb.values import BYTES_PER_TOKEN, Reply, Usage
from victor_nb.workflows.candidates import (
    OWN,
    Acceptor,
    Candidate,
    SearchOptions,
    Terms,
    candidate_of,
    ladders,
    listed,
    problems_of,
    ready,
    strategy_of,
)
from victor_nb.workflows.checks import Grader, Labels
from victor_nb.workflows.evidence import smallest_gap, tasks_needed
from victor_nb.workflows.found import Found
from victor_nb.workflows.judge import judge as ask_judge
from victor_nb.workflows.orchestrator_pool import kernel_pool
from victor_nb.workflows.progress_bar import Bar, Tally, Watched
from victor_nb.workflows.race import BATCH, MOST, PILOT, Answer, Ladder, Outcome, Race, step

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from victor_nb.calls.request import CallOptions
    from victor_nb.workflows.askers import Pool
    from victor_nb.workflows.checks import Problem
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool

_AT_ONCE: Final = 64  # calls under way, where `concurrency` does not say
_FIRST: Final = 10  # tasks after which a candidate that cannot answer is left out
_LOST: Final = 8  # of these
_LONG: Final = 250  # tokens that an answer is taken to have before any has come
_PILOT_PART: Final = 3  # of few tasks, one in three chooses the plans: 40 of 60 would leave 20 to test them


def _round(count: int) -> int:
    """Return a count to two digits."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return round(count / step) * step


class Search(Watched["Found"]):
    """A search under way, or ended: `search` makes one and waits for it.

    Attributes:
        race: The plans in the race; None before the pilot has chosen them.
        run_id: The `run_id` of its calls in the ledger.
    """

    def __init__(self, pool: Pool, tasks: object, candidates: Sequence[object] | None, options: SearchOptions) -> None:
        own = {name: value for name, value in options.items() if name in OWN and value is not None}
        sent = {name: value for name, value in options.items() if name not in OWN}
        terms = Terms.of(own)
        check_options(cast("CallOptions", sent), also=OWN)
        self.pool, self.runtime, self.terms = pool, pool.runtime, terms
        self.run_id = str(sent.get("run_id") or uuid4().hex)
        self.problems = problems_of(tasks, cast("str | None", own.get("template")), pool)
        self._options = cast("CallOptions", {"cache": "on", **sent, "strategy": "search", "run_id": self.run_id})
        chosen = [candidate_of(each, pool) for each in (ready(pool) if candidates is None else listed(candidates))]
        if terms.wish.bar is None and terms.reference not in {each.name for each in chosen}:
            chosen.append(candidate_of(terms.reference, pool))
        self.candidates = {each.name: each for each in chosen}
        if len(self.candidates) < (2 if terms.wish.bar is None else 1):
            raise ConfigError(
                f"Only the reference {terms.reference!r} is a candidate. Name a cheaper profile or strategy."
            )
        for each in chosen:
            each.ensure(pool, self._options)
        if isinstance(terms.judge, str):
            pool.get_orchestrator(terms.judge)
        self._grader = Grader(terms.judge if callable(terms.judge) else terms.score, pool.settings.profiles)
        if terms.judge is None:
            self._grader.expects(self.problems)
        self._labels = Labels(terms.labels)
        self.acceptor = Acceptor(terms.accept)
        self.race: Race | None = None
        self.plans: dict[str, Ladder] = {}
        self.why: str | None = None
        self._tested: list[str] = []  # prompts, in the order of the race
        self._rest = [each.prompt for each in self.problems]
        more = sum(len(each.also) for each in self.problems)
        again = f"{more:,} tasks have the prompt of another one and share its answer: each prompt counts once."
        self.notes = [again] if more else []
        self.spent, self.seen = Total(), 0
        self._calls = self._failed = self._lost = 0
        self._started = False
        self._ended = asyncio.Event()
        self._share = Share(concurrency=terms.concurrency or _AT_ONCE)
        self._replies: dict[tuple[str, str], asyncio.Task[tuple[Reply | None, float]]] = {}
        self._answers: dict[tuple[str, int], asyncio.Task[Answer]] = {}
        self._unpriced: set[str] = set()
        self._worth: dict[tuple[str, str], Decimal] = {}

    # --- before it spends ---

    @property
    def pilot(self) -> int:
        """Tasks that choose the plans, and that no certificate counts."""
        return min(PILOT, len(self.problems) // _PILOT_PART)

    def forecast(self) -> str:
        """Return what so many tasks can show, and about what they cost: `with 60 tasks, ...; about USD 0.80`."""
        wish, count = self.terms.wish, len(self.problems)
        ranks = {name: float(place) for place, name in enumerate(self.candidates)}
        made = len(ladders([*self.candidates.values()], ranks, self.acceptor))
        plans = min(MOST, max(1, made - (wish.bar is None)))
        level = wish.bar if wish.bar is not None else wish.keep or 0.0
        gap = smallest_gap(count - self.pilot, min(max(level, 0.01), 0.99), risk=(1 - wish.confidence) / plans)
        able = "keep" if wish.bar is None else "are right in"
        if gap is not None:
            what = f"a certificate for plans that {able} {percent(level + gap)} or more"
        else:
            better = (1 + level) / 2
            needed = tasks_needed(better, level, risk=(1 - wish.confidence) / plans)
            what = "no certificate"
            if needed is not None:
                what += f" (about {_round(needed + PILOT):,} could give one to plans that {able} {percent(better)})"
        size = sum(len(each.prompt) for each in self.problems) // count // BYTES_PER_TOKEN
        usage = Usage(input_tokens=max(1, size), output_tokens=_LONG)
        costs = sorted((each.likely_cost(self.pool, usage) for each in self.candidates.values()), reverse=True)
        most = self.pilot * sum(costs) + (count - self.pilot) * sum(costs[: MOST + 1])
        return f"with {count:,} tasks, expect {what}; about USD {most:.2f} at the most"

    def announce(self, progress: bool | None) -> None:  # noqa: FBT001 - as callers give it
        """Print what can be certified, and about what it costs, before anything is spent."""
        if progress is not False:
            print(f"search: {self.forecast()}.")  # noqa: T201 - the line that is asked for

    # --- for those who wait ---

    @contextmanager
    def limited(self) -> Generator[None]:
        """Hold what starts in the block to the budget of the search."""
        budget = self.terms.budget
        with self.runtime.budget.limit(budget, name="this search") if budget is not None else nullcontext():
            yield

    def start(self) -> Search:
        """Start asking, without waiting."""
        with self.limited():
            self._job, self._started = self.runtime.loop.start(self.run), True
        return self

    async def run(self) -> Found:
        """Race the plans, on the background loop.

        Raises:
            VictorError: The reference, or no candidate, can answer; `partial` is what is known.
        """
        try:
            await self._race()
        except BudgetError as error:
            self.why = str(error).rstrip(".")
            if not self.spent.cost:
                raise
        except asyncio.CancelledError:
            self.why = "stopped by the user"
            await asyncio.to_thread(self._kept)  # for who awaits it, which gets the cancellation alone
            raise
        except VictorError as error:
            error.partial = await asyncio.to_thread(self._kept)
            raise
        finally:
            asking: list[asyncio.Task[Any]] = [*self._answers.values(), *self._replies.values()]
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return await asyncio.to_thread(self._kept)

    @property
    def found(self) -> Found:
        """What is known so far; readable from any thread."""
        race, reference = self.race, self.terms.reference if self.terms.wish.bar is None else None
        strategies = {
            name: strategy_of(plan, self.candidates, self.acceptor, name=name) for name, plan in self.plans.items()
        }
        best = race.best if race is not None else None
        chosen = best.name if best is not None else reference
        plan = strategies.get(chosen or "")
        if plan is None and chosen is not None:
            plan = strategy_of(Ladder((chosen,), name=chosen), self.candidates, self.acceptor, name=chosen)
        return Found(
            plan=plan,
            race=race,
            wish=self.terms.wish,
            strategies=strategies,
            reference=reference,
            word_of=self.terms.word,
            tasks=len(self.problems),
            seen=self.seen,
            spent=self.spent,
            worth=sum(self._worth.values(), Decimal(0)),
            why=self.why or "it has not ended",
            notes=(*self.notes, *self._grader.note(self.terms.judge)),
            waiting=tuple(self._labels.missing),
            source=self.pool.settings.source if self.pool.settings.source.exists() else None,
            prompts=tuple(self._tested),
            rest=tuple(self._rest),
        )

    def _kept(self) -> Found:
        with suppress(VictorError):  # a session that has ended takes its ledger with it
            rows = self.runtime.ledger.rows(run_id=self.run_id)
            self.spent, self._lost = Total.of(rows), sum(row.status == "interrupted" for row in rows)
        self.runtime.last = found = self.found
        return found

    def bar(self, progress: bool | None) -> Bar:  # noqa: FBT001 - as callers give it
        """Return the bar to wait with: it counts tasks."""

        def look() -> Tally:
            return Tally(self.seen, len(self.problems), self._failed, self.spent, self.now)

        calls = len(self.problems) * len(self.candidates)
        return Bar("search", look, calls=calls, progress=progress, runtime=self.runtime)

    @property
    def now(self) -> str:
        """What it does: `pilot`, or the plans that are racing."""
        return "pilot" if self.race is None else ", ".join(self.race.alive)

    def interrupted(self) -> VictorInterrupted:
        """Stop everything, keep what is known as `session().last`, and return the error to raise."""
        if self._started:
            self.cancel()
            self.wait(GRACE)
        self.why = self.why or "stopped by the user"
        found = self._kept()
        text = f"stopped after {self.seen} of {len(self.problems)} tasks ({self.spent}); the same search goes on there."
        if self._lost:
            text += f" {self._lost:,} calls had no answer yet: they are asked again, and their provider may bill them."
        return VictorInterrupted(text, found)

    # --- on the background loop ---

    async def _race(self) -> None:
        order = Random(self.terms.seed).sample(range(len(self.problems)), len(self.problems))  # noqa: S311 - an order
        pilot, wish = self.pilot, self.terms.wish
        self._rest = [self.problems[task].prompt for task in order[pilot:]]
        alive, outcomes = await self._pilot(order[:pilot])
        reference = self.terms.reference if self.terms.reference in alive else None
        costs = {name: sum(each.cost for each in outcomes[name]) for name in alive}
        plans = ladders([self.candidates[name] for name in alive], costs, self.acceptor)
        self.plans = {plan.name: plan for plan in plans}
        self._labels.missing.clear()  # those of the pilot are not tested
        batch = await self._batch(list(self.plans), order[:pilot])
        self.race = race = Race(list(self.plans), wish, reference=reference)
        race.pilot(batch)
        at = pilot
        while race.why is None:
            tasks = order[at : at + BATCH]
            if not tasks:
                race.why = "the tasks are used up"
            elif self._too_dear(race.price(len(tasks))):
                race.why = "the next batch does not fit the budget"
            else:
                self._rest = self._rest[len(tasks) :]
                try:
                    batch = await self._batch(race.asks, tasks)
                except BudgetError as error:
                    race.why = str(error).rstrip(".")
                    break
                if self._labels.missing:
                    race.why = (
                        f"{len(self._labels.missing)} audited answers have no label yet; found.to_label() has them"
                    )
                    break
                race.add(batch)
                self._tested += [self.problems[task].prompt for task in tasks]
                at = self.seen = at + len(tasks)
        self.why = race.why

    def _too_dear(self, price: float) -> bool:
        budget = self.terms.budget
        return budget is not None and float(self.spent.cost) + price > float(budget)

    async def _pilot(self, tasks: Sequence[int]) -> tuple[list[str], dict[str, list[Outcome]]]:
        """Ask all candidates, and leave out those that cannot answer or have no price."""
        names = list(self.candidates)
        singles = {name: Ladder((name,), name=name) for name in names}
        first = await self._batch(names, tasks[:_FIRST], singles)
        if (count := self._grader.faults) and self._grader.alike:
            raise ConfigError(f"The check failed alike on all of {count} answers: {self._grader.first}. Mend it.")
        for name in names:
            lost = sum(each.answer.text is None for each in first[name])
            if lost >= min(_LOST, len(first[name])) or name in self._unpriced:
                why = "its price is unknown" if name in self._unpriced else f"{lost} of its first {_FIRST} calls failed"
                if name == self.terms.reference and self.terms.wish.bar is None:
                    first_fault = next((f" {note}" for note in self.notes if note.startswith(f"{name}: ")), "")
                    raise ConfigError(f"The reference {name} is no measure: {why}.{first_fault}")
                self.notes.append(f"{name} is left out: {why}.")
        alive = [name for name in names if not any(note.startswith(f"{name} is left out") for note in self.notes)]
        if len(alive) < (2 if self.terms.wish.bar is None else 1):
            raise ConfigError(" ".join(self.notes) or "No candidate answers.")
        outcomes = await self._batch(alive, tasks, singles)
        self.seen = len(tasks)
        return alive, outcomes

    async def _batch(
        self, names: Sequence[str], tasks: Sequence[int], plans: Mapping[str, Ladder] | None = None
    ) -> dict[str, list[Outcome]]:
        """Return what plans make of tasks; an answer that several need is asked for once."""
        plans = plans or self.plans
        walks = [self._walk(plans[name], task) for name in names for task in tasks]
        found = await asyncio.gather(*walks)
        size = len(tasks)
        return {name: found[place * size : (place + 1) * size] for place, name in enumerate(names)}

    async def _walk(self, plan: Ladder, task: int) -> Outcome:
        if len(plan.profiles) == 1:
            answer = await self._answer(plan.profiles[0], task)
            return Outcome(answer, {plan.profiles[0]: answer.cost})
        walk = plan.walk(str(task) if self.acceptor.votes > 1 else self.problems[task].prompt)
        name, outcome = next(walk), None
        while outcome is None:
            answer = await self._answer(name, task)
            # A check of the user's may take seconds: not on this loop.
            name, outcome = await asyncio.to_thread(step, walk, answer)
        return outcome

    def _answer(self, name: str, task: int) -> asyncio.Task[Answer]:
        key = (name, task)
        if key not in self._answers:
            self._answers[key] = asyncio.create_task(self._graded(name, task))
        return self._answers[key]

    async def _graded(self, name: str, task: int) -> Answer:
        """Return a candidate's answer with its score, and its true one if the task is audited."""
        problem, audit = self.problems[task], self.terms.wish.audit
        key = (name, problem.prompt)
        if key not in self._replies:
            self._replies[key] = asyncio.create_task(self._ask(self.candidates[name], problem.prompt))
        reply, cost = await self._replies[key]
        if reply is None:
            return Answer(None, cost, 0.0, 0.0 if audit else None)
        text = reply.content
        score = await self._score(problem, text)
        truth: float | None = None
        # One draw for all plans: their scores are compared task by task.
        if audit and Random(f"{self.terms.seed} {task}").random() < audit:  # noqa: S311 - a sample
            truth = await asyncio.to_thread(self._labels.truth, problem, text)
        return Answer(text, cost, score, truth, source=reply)

    async def _score(self, problem: Problem, text: str) -> float:
        if not isinstance(self.terms.judge, str):
            return await asyncio.to_thread(self._grader.grade, problem, text)
        judging = self.pool.get_orchestrator(self.terms.judge)
        seed = str(self.terms.seed)
        found, lost = await ask_judge(
            judging, problem.prompt, [text], samples=1, seed=seed, run_id=self.run_id, cache="on"
        )
        self._grader.alike = False
        if lost:
            self._grader.fail(str(lost[0]))
        return float((scores(found, 1)[0].value if found else None) or 0.0)

    async def _ask(self, candidate: Candidate, prompt: str) -> tuple[Reply | None, float]:
        """Return a candidate's reply, with its list price in USD; None where it failed."""
        try:
            if candidate.strategy is not None:
                return await self._run(candidate, prompt)
            reply = await self._call(candidate, prompt)
        except (BudgetError, ClosedError, TapeMissError):
            raise
        except VictorError as error:
            self._failed += 1
            if not any(note.startswith(f"{candidate.name}: ") for note in self.notes):
                self.notes.append(f"{candidate.name}: an answer failed, and counts as wrong: {error}")
            return None, 0.0
        if reply.cost is None:
            self._unpriced.add(candidate.name)
        self._worth[candidate.name, prompt] = reply.cost or Decimal(0)
        return reply, float(reply.cost or 0)

    async def _call(self, candidate: Candidate, prompt: str) -> Reply:
        """Ask a profile; where the budget is held by other calls of the search, once more when one has ended.

        Raises:
            VictorError: There is no answer.
        """
        options = cast("CallOptions", {**self._options, **candidate.options, "stage": candidate.name})
        orchestrator = self.pool.get_orchestrator(candidate.profile)
        while True:
            call = orchestrator.call(prompt, options, stream=False, quota=self._share)
            self._calls += 1
            try:
                return await call.run()
            except BudgetError:
                if self._calls == 1:  # nothing is held that would come back
                    raise
            finally:
                self._calls -= 1
                self.spent += Total.of(call.rows)
                self._ended.set()
            self._ended.clear()
            await self._ended.wait()

    async def _run(self, candidate: Candidate, prompt: str) -> tuple[Reply | None, float]:
        """Return the answer of a strategy as a reply of its last stage's, with the price of all its calls."""
        options = cast("CallOptions", {k: v for k, v in self._options.items() if k not in {"run_id", "strategy"}})
        prepare = cast("Any", candidate.strategy).prepare
        engine = await asyncio.to_thread(prepare, prompt, pool=self.pool, stream=False, options=options)
        await engine.run()
        run = await asyncio.to_thread(engine.so_far)
        self.spent += run.spent
        replies = [reply for stage in run.stages for reply in stage.replies]
        costs = [reply.cost for reply in replies]
        if any(cost is None for cost in costs):
            self._unpriced.add(candidate.name)
        cost = sum((cost for cost in costs if cost is not None), Decimal(0))
        self._worth[candidate.name, prompt] = cost
        return (replace(replies[-1], content=run.content) if run.complete and run.content else None), float(cost)


async def search(
    tasks: object,
    candidates: Sequence[object] | None = None,
    *,
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[SearchOptions],
) -> Found:
    """Find a cheaper profile or cascade that keeps the quality, with a certificate of how sure that is.

    All candidates answer a pilot of 40 tasks (of fewer than 120, a third), which no certificate counts. The most
    promising plans of these then race on the other tasks, 20 at a time, until the cheapest of them that can be
    certified is known, or a cheaper one is not worth its search; where none can be, the result says no. The certificate
    is right with the probability `confidence`, however often one looks. Answers come from the store and go there, so a
    search that was stopped goes on where it was. Before it spends, it prints what so many tasks can show, unless
    `progress` is False.

    Args:
        tasks: What is asked: texts, pairs of a text and what is expected (a text, `Exact`, `Regex`, `JsonSchema`, a
            function of the answer), or a DataFrame with a `template`. They must be a fair sample of what will come.
            Tasks with the same prompt share one answer, so they count as one, with the mean of their scores.
        candidates: Profiles, `fast@low` (an effort), `fast@flex` (a tier), or strategies; None: all profiles that can
            be asked. Cascades of the profiles are made of them.
        pool: Whose profiles are asked; else the kernel's.
        progress: Whether to show a bar; see `OrchestratorPool.fan_out`.
        **options: See `SearchOptions`.

    Returns:
        What was found: `.plan`, `.certificate`, `.table()`, `.plot("pareto")`, `.save("name")`; and `.rest`, the
        tasks that it did not use, on which `compare` and `decide` say whether the plan pays with its mistakes.

    Raises:
        ConfigError: Something does not fit; nothing was asked.
        VictorError: The reference cannot answer; `partial` is what is known.
    """
    pool = pool or kernel_pool()
    with pool.runtime.budget.pinned():
        made = await asyncio.to_thread(Search, pool, tasks, candidates, options)
    await asyncio.to_thread(made.announce, progress)
    with made.limited():
        async with made.bar(progress):
            return await pool.runtime.loop.call(made.run)


def search_sync(
    tasks: object,
    candidates: Sequence[object] | None = None,
    *,
    pool: OrchestratorPool | None = None,
    progress: bool | None = None,
    **options: Unpack[SearchOptions],
) -> Found:
    """Find a cheaper plan that keeps the quality, and block until it is found; see `search`.

    Raises:
        VictorInterrupted: Stop was pressed; `partial` is what is known, and so is `session().last`.
    """
    made = Search(pool or kernel_pool(), tasks, candidates, options)
    try:
        made.announce(progress)
    except KeyboardInterrupt:
        raise made.interrupted() from None
    return made.start().result(progress=progress)
