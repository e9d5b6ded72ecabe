"""Strategies: lists of stages over one engine, the built-in ones and those of users.

Example:
    run = await Funnel(ideas=5).run("a name for a photo app")  # or .run_sync, in scripts and cells
    mine = Strategy("mine", [Stage("draft", "fast", "{{ task }}"), Stage("polish", "premium", "Improve: {{ draft }}")])
    job = mine.start("an apology")  # job.progress while it runs, job.result() at its end
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Unpack

from victor_nb.config.request_options import sentence
from victor_nb.config.strategies import Stage, fault
from victor_nb.errors import ConfigError, suggest
from victor_nb.runtime import current, runtime_of
from victor_nb.values import listed
from victor_nb.workflows.checks import Agreement
from victor_nb.workflows.engine import Engine, StrategyJob
from victor_nb.workflows.orchestrator_pool import kernel_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.calls.request import CallOptions
    from victor_nb.config.settings import Settings
    from victor_nb.config.strategies import Acceptance
    from victor_nb.values import PromptLike
    from victor_nb.workflows.orchestrator_pool import OrchestratorPool
    from victor_nb.workflows.runs import StrategyRun


DIRECT: Final = "{{ task }}"

EXPLORE: Final = """\
Suggest 1 idea for this task: {{ task }}

In a few sentences: what it is, how it works, why it serves. Do not do the task yet. This is idea {{ sample }} of \
{{ n }}, each from another angle, so do not settle for the most obvious one."""

SELECT: Final = """\
Rank the ideas below for this task and choose the best {{ keep }}: {{ task }}

{{ items }}"""

IMPLEMENT: Final = """\
{{ task }}

Start from the first of the ideas below (they are ranked), and take from the others what makes it better. Give the \
complete result only, no account of how you came to it.

{{ items }}"""

REVIEW: Final = """\
Review the result below of this task: {{ task }}

If nothing needs to change, answer with the one word APPROVED. Else list what is wrong or missing, gravest first, each \
with the corrected passage. Do not repeat the rest.

{{ implement }}"""

REVISE: Final = """\
Revise the result below of this task: {{ task }}

Work in what the review asks for, where it is right, and change nothing else. Give the whole result, and no account of \
the changes.

{{ implement }}

The review:

{{ review }}"""

PROTOTYPE: Final = """\
{{ task }}

A first, quick but complete version is enough."""

REFINE: Final = """\
Improve the first version below of this task: {{ task }}

Fix what is wrong, add what is missing, make it clearer. Give the whole result, and no account of the changes.

{{ prototype }}"""

POLISH: Final = """\
Polish the version below of this task until nothing is left to mend: {{ task }}

Check every detail, cut every needless word. Give the whole result, and no account of the changes.

{{ refine }}"""

RESEARCH: Final = """\
List the requirements, facts and pitfalls for this task: {{ task }}

Give also the approach to take. Be brief and definite. Do not do the task yet."""

CODE: Final = """\
{{ task }}

Use the findings below. Give the complete result only, no account of how you came to it.

{{ research }}"""

TEST: Final = """\
Write tests for the result below of this task: {{ task }}

Cover the ordinary cases, the edges, and what must not happen. Do not repeat the result.

{{ code }}"""


class Strategy:
    """A way to an answer: stages, each asking a profile, over one engine. Equal by content.

    Args:
        name: What it is called in the ledger and in charts.
        stages: What is done; see `Stage`.

    Raises:
        ConfigError: The stages do not fit together; one line names the stage and the reason.
    """

    def __init__(self, name: str, stages: Sequence[Stage]) -> None:
        self.name = name
        self.stages = tuple(stages)
        wrong = fault(self.stages)
        if wrong is not None:
            number, field, fact = wrong
            where = "" if number is None else f" stage {self.stages[number].name!r}, {field}:"
            raise ConfigError(sentence(f"Strategy {name!r}:{where} {fact}"))

    async def run(
        self,
        task: PromptLike,
        *,
        pool: OrchestratorPool | None = None,
        progress: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> StrategyRun:
        """Run it, and wait for the final answer.

        Args:
            task: What you want. It may hold any braces: it is put into prompts once, and never looked at again.
            pool: Whose profiles are asked; else the kernel's.
            progress: Whether to show a bar: None for ten calls or more that take over a second, where a user can watch
                (a notebook or a terminal; not with CI=true or VICTOR_PROGRESS=off); True at once, for few as well.
            **options: What every call is sent with (see `CallOptions`); a stage's own settings beat them.

        Returns:
            The run. Where a budget refused a call it is not complete, and holds what there is.

        Raises:
            VictorError: A stage failed, or a budget refused the very first call; `partial` is what had come.
        """
        # The first client of a provider imports its SDK: a second that must not stop the caller's loop.
        with runtime_of(pool and pool.runtime).budget.pinned():
            engine = await asyncio.to_thread(self.prepare, task, pool=pool, stream=False, options=options)
        with engine.keeping():
            async with engine.bar(progress):
                await engine.runtime.loop.call(engine.run)
        return await asyncio.to_thread(engine.kept)

    def run_sync(
        self,
        task: PromptLike,
        *,
        pool: OrchestratorPool | None = None,
        progress: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> StrategyRun:
        """Run it, and block until the final answer is there; see `run`.

        Raises:
            VictorInterrupted: Stop was pressed; `partial` is what had come.
        """
        return StrategyJob(self.prepare(task, pool=pool, stream=False, options=options)).result(progress=progress)

    def start(
        self,
        task: PromptLike,
        *,
        pool: OrchestratorPool | None = None,
        stream: bool = True,
        **options: Unpack[CallOptions],
    ) -> StrategyJob:
        """Start it without waiting: the handle shows how far it is, with the text as it arrives.

        `StrategyBoard(job)` shows it in a notebook; `job.progress` is its state, `cancel()` stops it, `result()` waits.

        Args:
            task: What you want.
            pool: Whose profiles are asked; else the kernel's.
            stream: Whether answers arrive piece by piece, to be shown.
            **options: See `run`.

        Raises:
            VictorError: The task is empty, or a profile cannot be asked; nothing was sent.
        """
        return StrategyJob(self.prepare(task, pool=pool, stream=stream, options=options))

    def prepare(self, task: PromptLike, *, pool: OrchestratorPool | None, stream: bool, options: CallOptions) -> Engine:
        """Return a run that is ready to go, as a part of a comparison: it does not become `session().last`.

        Raises:
            VictorError: The task is empty, or a profile cannot be asked; nothing was sent.
        """
        return Engine(self.name, self.stages, task, pool=pool or kernel_pool(), stream=stream, options=options)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Strategy) and (self.name, self.stages) == (other.name, other.stages)

    def __hash__(self) -> int:
        return hash((self.name, tuple(stage.name for stage in self.stages)))

    def __repr__(self) -> str:
        stages = ", ".join(f"{stage.name} ({_times(stage)}{stage.profile})" for stage in self.stages)
        return f"Strategy({self.name!r}: {stages})"


class Funnel(Strategy):
    """Many cheap ideas, the best of them worked out once, and a look at that by the best model.

    `ideas` calls explore at once, one ranks what they found, one implements it from the `keep` best, one reviews. The
    final answer is the implementation followed by the review, unless that begins with APPROVED; with `revise` a fifth
    stage works the review in where there is one, and its text is the final answer.
    """

    def __init__(
        self,
        explore: str = "local",
        select: str = "fast",
        implement: str = "default",
        review: str = "premium",
        *,
        revise: str | None = None,
        ideas: int = 10,
        keep: int = 3,
        name: str = "funnel",
    ) -> None:
        stages = [
            Stage("explore", explore, EXPLORE, n=ideas, parse="item"),
            Stage("select", select, SELECT, select="rank", keep=keep),
            Stage("implement", implement, IMPLEMENT),
            Stage("review", review, REVIEW, adds_to="implement"),
        ]
        super().__init__(name, [*stages, Stage("revise", revise, REVISE, unless="review")] if revise else stages)


class Tiered(Strategy):
    """A quick draft, made better by a better model, and polished by the best: each writes the whole answer anew."""

    def __init__(
        self, prototype: str = "fast", refine: str = "default", polish: str = "premium", *, name: str = "tiered"
    ) -> None:
        stages = [
            Stage("prototype", prototype, PROTOTYPE),
            Stage("refine", refine, REFINE),
            Stage("polish", polish, POLISH),
        ]
        super().__init__(name, stages)


class Specialized(Strategy):
    """Each kind of work by the model that is good at it. The final answer is the code, followed by its tests."""

    def __init__(
        self, research: str = "default", code: str = "premium", test: str = "fast", *, name: str = "specialized"
    ) -> None:
        stages = [
            Stage("research", research, RESEARCH),
            Stage("code", code, CODE),
            Stage("test", test, TEST, adds_to="code"),
        ]
        super().__init__(name, stages)


class Single(Strategy):
    """One direct answer: what all the others are compared with. The task is sent as it is."""

    def __init__(self, profile: str = "default", *, name: str | None = None) -> None:
        super().__init__(name or f"single {profile}", [Stage("answer", profile, DIRECT)])


class Cascade(Strategy):
    """The cheap profile first; the next one where its answer will not do, or where it fails.

    `run.path` names the profiles that were asked. The last one's answer is not checked.

    Args:
        profiles: Cheapest first. One that stands there several times is asked for another answer each time.
        accept: What an answer must satisfy: a function of the reply, a regular expression, a JSON schema, or (an
            `Agreement`, or a number) how many samples must agree. None: two must agree, or, where there is a schema,
            an answer must fit it.
        schema: What all answers must fit, the last one's too; see `Stage`.
        n: Samples of each profile but the last; more than one only where samples are to agree.
        prompt: What is asked.
    """

    def __init__(
        self,
        profiles: Sequence[str] = ("local", "fast", "premium"),
        accept: Acceptance | None = None,
        *,
        schema: object | None = None,
        n: int | None = None,
        prompt: str = DIRECT,
        name: str = "cascade",
    ) -> None:
        profiles = listed(profiles)
        if isinstance(profiles, str) or not profiles:
            raise ConfigError(f"profiles is a list of names, the cheapest first, not {profiles!r}.")
        if accept is None:
            accept = 2 if schema is None else {}
        votes = accept.at_least if isinstance(accept, Agreement) else accept if isinstance(accept, int) else 1
        if isinstance(accept, Agreement) and accept.across:
            votes = 1  # of each profile: the answers of several must agree
        samples = n or (votes + 1 if votes > 1 else 1)
        if votes > samples:
            raise ConfigError(f"{votes} samples cannot agree where n={samples} are taken.")
        stages: list[Stage] = []
        for place, profile in enumerate(profiles):
            last = place == len(profiles) - 1
            before = (stages[-1].name,) if stages else ()
            many = votes > 1 and not last
            stage = Stage(
                profile if profile not in [each.name for each in stages] else f"{profile}-{place + 1}",
                profile,
                prompt,
                n=1 if last else samples,
                select="vote" if many else None,
                needs=before,
                accept=None if last else accept,
                schema=schema,
            )
            stages.append(stage)
        super().__init__(name, stages)


BUILT_IN: Final[dict[str, Callable[[], Strategy]]] = {
    "cascade": Cascade,
    "funnel": Funnel,
    "single": Single,
    "specialized": Specialized,
    "tiered": Tiered,
}
"""The strategies that go by a name without further ado."""


def find_strategy(name: str, settings: Settings | None = None) -> Strategy:
    """Return a strategy by name: one of `profiles.yaml`, else one of ours.

    Args:
        name: Its name.
        settings: Where `strategies:` is; else the kernel's.

    Raises:
        ConfigError: None goes by that name.
    """
    written = (settings or current().settings).strategies
    if name in written:
        return Strategy(name, written[name])
    if name in BUILT_IN:
        return BUILT_IN[name]()
    known = [*written, *BUILT_IN]
    others = f"Known: {', '.join(known)}; or write it under strategies:."
    raise ConfigError(f"Strategy {name!r} not found. {suggest(name, known, otherwise=others)}")


def strategy_named(name: str, settings: Settings) -> Strategy | None:
    """Return the strategy of a name; None where there is none."""
    return find_strategy(name, settings) if name in settings.strategies or name in BUILT_IN else None


def _times(stage: Stage) -> str:
    return f"{stage.n} x " if stage.n > 1 else ""
