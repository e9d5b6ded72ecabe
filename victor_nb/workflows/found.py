"""What a search has found: the plan, its certificate, the other plans, and how they go into profiles.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from html import escape
from math import inf, isnan
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from victor_nb.config.settings import Settings
from victor_nb.errors import ConfigError
from victor_nb.money import usd
from victor_nb.reports.charts.mistakes import price_of_mistake
from victor_nb.reports.charts.races import plans_chart, race_chart
from victor_nb.reports.charts.text import percent
from victor_nb.reports.frames import FrameTable, numbers, records_frame, words
from victor_nb.reports.statistics import by_t, proportion
from victor_nb.workflows.checks import Agreement, JsonSchema, Regex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from victor_nb.config.strategies import Stage
    from victor_nb.money import Total
    from victor_nb.reports.charts import Axes, Figure
    from victor_nb.reports.frames import DataFrame, Dtype
    from victor_nb.workflows.race import Race, Racer, Wish
    from victor_nb.workflows.strategies import Strategy

TABLE: Final[Mapping[str, Dtype]] = {
    "plan": "text",
    "state": "text",
    "cost": "money",
    "quality": "number",
    "low": "number",
    "high": "number",
    "counted": "count",
    "tasks": "count",
    "evidence": "number",
    "at_least": "number",
}
"""One row for each plan, the cheapest first: `cost` (USD a task) and `quality` from 0 to 1 with its 95 % interval, by
the `counted` tasks: those that it was tested on or, of a plan that was not tested, those of the pilot; the `tasks` that
it was tested on, and by these the evidence that it holds, as an e-value, and what it has `at_least`: of the reference's
quality, or of quality (see `Certificate.limit`)."""

ANSWERS: Final[Mapping[str, Dtype]] = {"strategy": "text", "task": "text", "cost": "money", "score": "number"}
"""One row for each plan and task: its cost (USD), and its score from 0 to 1."""

_STATES: Final[Mapping[str, str]] = {"racing": "not decided", "pilot": "not decided"}
_RANK: Final = 10_000  # tasks for which costs are said: a single one costs a part of a cent
_COST: Final = f"USD for {_RANK:,} tasks"
_CSS: Final = """<style>
.victor-found .victor-frame caption {caption-side: bottom; font-weight: normal; text-align: left}
</style>"""


@dataclass(frozen=True)
class Certificate:
    """What is certified of a plan, and what that rests on.

    Attributes:
        plan: Its name.
        wish: What was asked of it.
        reference: The profile that it was compared with; None where a bar was set and none was.
        tasks: Tasks that it was tested on.
        evidence: The e-value; `needed` certifies.
        limit: What it has at least: of the reference's quality, or of quality.
        price: What the answers of the search cost, in USD, those out of the store too.
        cost: USD of a task, on average; `reference_cost` is that of what it replaces.
        reference_quality: How good that is, from 0 to 1, as measured; None where a bar was set.
        word_of: By whose word an answer is right.
    """

    plan: str
    wish: Wish
    reference: str | None
    tasks: int
    evidence: float
    needed: float
    limit: float | None
    price: Decimal
    cost: float
    reference_cost: float
    reference_quality: float | None
    word_of: str

    @property
    def confidence(self) -> float:
        """The probability that it is right."""
        return self.wish.confidence

    @property
    def pays_back(self) -> int | None:
        """Tasks after which the plan has saved what the search cost; None where it saves nothing."""
        saved = self.reference_cost - self.cost
        return None if saved <= 0 else -int(-float(self.price) // saved)

    @property
    def saved(self) -> float:
        """The part of the cost that it saves."""
        return max(0.0, 1 - self.cost / self.reference_cost) if self.reference_cost else 0.0

    @property
    def more_mistakes(self) -> float | None:
        """The most mistakes in a task that it makes beyond those of what it replaces, by `limit`; None if unknown.

        What is missing to a score of 1 is a mistake, or a part of one.
        """
        if self.limit is None or self.reference_quality is None:
            return None
        return max(0.0, self.reference_quality * (1 - self.limit))

    @property
    def break_even(self) -> float | None:
        """What a mistake costs (USD) below which the plan is cheaper with `more_mistakes`, too; None if unknown."""
        if self.more_mistakes is None:
            return None
        saved = max(0.0, self.reference_cost - self.cost)
        return saved / self.more_mistakes if self.more_mistakes else inf

    @property
    def worth(self) -> str:
        """Its mistakes at the most, and what one may cost for the plan to pay; empty if that is unknown."""
        if not self.saved or not self.more_mistakes or self.break_even is None:
            return ""
        most = f"at most {self.more_mistakes * _RANK:,.0f} more mistakes than {self.reference} in {_RANK:,} tasks"
        return f"{most}, so it pays while one costs less than USD {price_of_mistake(self.break_even)}"

    @property
    def costs(self) -> str:
        """What so many tasks cost, and what they would cost without the plan."""
        instead = f" instead of USD {self.reference_cost * _RANK:,.2f}" if self.saved else ""
        return f"USD {self.cost * _RANK:,.2f} for {_RANK:,} tasks{instead}"

    @property
    def claim(self) -> str:
        """What it certifies, as a sentence."""
        return f"{self.plan} {_held(self.wish, self.reference)}"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must be true for it to hold."""
        return (
            "the tasks are a fair sample of those to come",
            self.word_of,
            "the models stay as they are",
        )

    def __str__(self) -> str:
        return f"{self.claim}. {self.basis}"

    @property
    def basis(self) -> str:
        """What it rests on, as sentences."""
        limit = "" if self.limit is None else f" At least {percent(self.limit, 1)} by these tasks."
        price = f"The answers of the search cost {usd(self.price)} when they were asked"
        back = "" if self.pays_back is None else f" {price}, paid back after {self.pays_back:,} tasks."
        evidence = f"evidence {self.evidence:,.0f}, {self.needed:,.0f} needed"
        basis = f"{percent(self.confidence)} sure, on {self.tasks:,} tasks ({evidence})"
        worth = f" {self.worth[0].upper()}{self.worth[1:]}." if self.worth else ""
        return f"{basis[0].upper()}{basis[1:]}.{limit}{worth}{back} It holds if {'; '.join(self.assumptions)}."


@dataclass(frozen=True, repr=False, eq=False)
class Found:
    """What a search has found, or what was known when it was stopped.

    Attributes:
        plan: The cheapest certified plan; else the reference, or None where there is none.
        race: The plans as they stand; None where the pilot did not end.
        strategies: Each plan as a strategy, by name.
        reference: The profile whose quality is kept; None where a bar is set.
        word_of: By whose word an answer is right.
        tasks: How many there were; `seen` of them were used.
        spent: What was paid this time; `worth` is what all answers cost, in USD, those out of the store too.
        why: Why it ended.
        notes: What was left out, and why.
        waiting: Audited tasks and answers that have no label yet.
        source: The profiles.yaml that the plan is saved in.
        prompts: The tasks after the pilot, in the order of the race.
        rest: The tasks that the search did not need, in a random order: new ones, on which `decide` is to be trusted.
    """

    plan: Strategy | None
    race: Race | None
    wish: Wish
    strategies: Mapping[str, Strategy]
    reference: str | None
    word_of: str
    tasks: int
    seen: int
    spent: Total
    worth: Decimal
    why: str
    notes: tuple[str, ...]
    waiting: tuple[tuple[str, str], ...] = ()
    source: Path | None = field(default=None)
    prompts: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()

    @property
    def certified(self) -> bool:
        """Whether a plan is certified."""
        return self.race is not None and self.race.best is not None

    @cached_property
    def certificate(self) -> Certificate | None:
        """The certificate of the plan; None where the search found none."""
        race = self.race
        best = race.best if race is not None else None
        if race is None or best is None:
            return None
        return Certificate(
            plan=best.name,
            wish=self.wish,
            reference=self.reference,
            tasks=len(best.values),
            evidence=best.for_it.evidence,
            needed=1 / race.level,
            limit=race.limit(best.name),
            price=self.worth,
            cost=best.cost,
            reference_cost=race.base_cost,
            reference_quality=race.racers[self.reference].quality if self.reference and not self.wish.bar else None,
            word_of=self.word_of,
        )

    # --- tables and charts ---

    def table(self) -> DataFrame:
        """Return the plans with their cost, quality and state; see `TABLE`."""
        race = self.race
        racers = sorted(race.racers.values(), key=lambda racer: racer.cost) if race is not None else []
        return records_frame([_record(racer, race.limit(racer.name)) for racer in racers if race is not None], TABLE)

    to_frame = table

    def answers(self) -> DataFrame:
        """Return what the certified plans made of each task, for `decide(found.answers(), mistake=0.02)`.

        The reference comes first; where a bar was set and the reference was not tested, the dearest plan. Where nothing
        is certified, the plans are those that were tested to the end. The tasks are those after the pilot, which chose
        the plans, and of these the ones that all of them answered. The search stopped there because they looked good,
        and the plan taken is the best of several: an interval of these tasks does not allow for that, and may hold the
        truth less often than it says. A certificate allows for it; or run `compare` on `rest`, and decide on that.

        Returns:
            One row for each plan and task; see `ANSWERS`. It is empty where no plan was tested. Scores that an audit
            of a judge corrected may be under 0 or over 1, which `decide` does not take.
        """
        race = self.race
        if race is None:
            return records_frame([], ANSWERS)
        tested = [racer for racer in race.racers.values() if racer.tested]
        last = max((racer.tested for racer in tested), default=0)
        plans = [racer for racer in tested if racer.state == "certified"]
        plans = plans or [racer for racer in tested if racer.tested == last]
        first = [racer for racer in tested if racer.name == race.reference]
        plans = [*first, *sorted((each for each in plans if each not in first), key=lambda racer: -racer.cost)]
        count = min(len(self.prompts), *(racer.tested for racer in plans)) if plans else 0  # a race may still go on
        rows = [
            {"strategy": racer.name, "task": task, "cost": cost, "score": score}
            for racer in plans
            for task, cost, score in zip(
                self.prompts[:count],
                racer.after(racer.costs)[:count],
                racer.after(racer.scores)[:count],
                strict=True,
            )
        ]
        return records_frame(rows, ANSWERS)

    def trace(self) -> DataFrame:
        """Return the evidence after each batch: `plan`, `tasks`, `evidence` (e-value), `needed`."""
        race = self.race
        kinds: dict[str, Dtype] = {"plan": "text", "tasks": "count", "evidence": "number", "needed": "number"}
        racers = [] if race is None else [race.racers[name] for name in race.chosen]
        needed = 1.0 if race is None else 1 / race.level
        rows = [
            {"plan": racer.name, "tasks": tasks, "evidence": 2.718281828459045**level, "needed": needed}
            for racer in racers
            for tasks, level in racer.trace
        ]
        return records_frame(rows, kinds)

    def to_label(self) -> DataFrame:
        """Return the audited answers that wait for a label: fill the column in, and give it as `labels=`."""
        kinds: dict[str, Dtype] = {"task": "text", "answer": "text", "label": "number"}
        return records_frame([{"task": task, "answer": answer} for task, answer in self.waiting], kinds)

    def plot(self, kind: Literal["pareto", "race"] = "pareto", *, ax: Axes | None = None) -> Figure:
        """Chart the plans by cost and quality, or the evidence as tasks came.

        Args:
            kind: `pareto` or `race`.
            ax: Where to draw, if not on a new figure.

        Raises:
            ConfigError: There is no such chart.
        """
        if kind == "pareto":
            bar, asked = self.wish.bar, "the quality that was asked for"
            if bar is None and self.race is not None and self.reference is not None:
                keep = self.wish.keep or 0.0
                bar = keep * self.race.racers[self.reference].quality
                asked = f"{percent(keep)} of {self.reference}'s quality as measured"
            best = self.race.best.name if self.race is not None and self.race.best is not None else None
            return plans_chart(self.table(), bar=bar, asked=asked, best=best, title=self.headline, ax=ax)
        if kind == "race":
            sure = self.certificate
            title = self.headline if sure is None else f"{sure.tasks:,} tasks certify {sure.plan}"
            return race_chart(self.trace(), title=title, ax=ax)
        raise ConfigError(f"plot takes 'pareto' or 'race', not {kind!r}.")

    # --- words ---

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        sure = self.certificate
        if sure is not None:
            return f"{sure.claim}{f', for {percent(sure.saved)} less' if sure.saved else ''}"
        what = "Nothing cheaper" if self.reference is not None else "No plan"
        return f"{what} was shown to {_held(self.wish, self.reference, plain=True)}"

    def __str__(self) -> str:
        parts = [f"{self.headline}."]
        sure = self.certificate
        if sure is not None:
            parts += [f"{sure.costs}.", sure.basis]
        else:
            stay = f" Stay with {self.reference}." if self.reference is not None else ""
            parts.append(f"{self.seen:,} of {self.tasks:,} tasks, {self.spent}: {self.why}.{stay}")
        return " ".join([*parts, *self.notes])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        sure = self.certificate
        rows: list[tuple[str, str]] = []
        if sure is not None:
            rows.append(("saves", f"{percent(sure.saved)}: {sure.costs}") if sure.saved else ("costs", sure.costs))
            least = "" if sure.limit is None else f"; {self._has} at least {percent(sure.limit, 1)} by these tasks"
            how = f"{percent(sure.confidence)}, on {sure.tasks:,} tasks that did not choose it"
            rows.append(("how sure", how + least))
            if sure.worth:
                rows.append(("mistakes", sure.worth))
            back = "never" if sure.pays_back is None else f"after {sure.pays_back:,} tasks"
            rows.append(("the search", f"{usd(sure.price)}, paid back {back}"))
            rows.append(("holds if", "; ".join(sure.assumptions)))
        else:
            rows.append(("why", self.why))
            rows.append(("tested", f"{self.seen:,} of {self.tasks:,} tasks, {self.spent}"))
            rows.append(("scored", self.word_of))
        rows += [("note", note) for note in self.notes]
        cells = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in rows
        )
        head = f"<p><b>{escape(self.headline)}.</b></p>"
        return f"<div class='victor-found'>{head}<table>{cells}</table>{self._tested()}</div>"

    def _tested(self) -> str:
        """Return the plans that raced as a table of HTML; of the others how many they were."""
        plans = self.table()
        raced = plans[(plans["tasks"] > 0) | (plans["state"] == "reference")]
        out = len(plans) - len(raced)
        tasks = sorted({int(count) for count in numbers(raced, "tasks")} - {0})
        counted = " to ".join(f"{count:,}" for count in dict.fromkeys((*tasks[:1], *tasks[-1:])))
        sure = f"The last column holds for all plans tested at once, {percent(self.wish.confidence)} sure."
        notes = [f"By the {counted} tasks after the pilot. {sure}"] if tasks else []
        notes += [f"{out:,} more were seen in the pilot only: table()."] if out else []
        columns = ["plan", "state", _COST, "quality", f"{self._has} at least"]
        rows = list(zip(*(words(raced, name) for name in columns[:2]), *_numbers(raced), strict=True))
        return FrameTable(columns, rows, columns[2:], 1, caption=" ".join(notes)).as_html() + _CSS if len(plans) else ""

    @property
    def _has(self) -> str:
        return "is right in" if self.wish.bar is not None else "keeps"

    # --- kept ---

    def save(self, name: str, path: Path | str | None = None) -> Path:
        """Write the plan under `strategies:` of profiles.yaml, its certificate above it as a comment.

        Args:
            name: What the strategy is to be called.
            path: The file; None: the one that the profiles come from.

        Returns:
            The file that was written.

        Raises:
            ConfigError: There is no plan, its checks are functions, the name is taken, or the file cannot be written.
        """
        if self.plan is None:
            raise ConfigError("There is no plan to save: no plan was shown to hold.")
        file = Path(path) if path is not None else self.source
        if file is None:
            raise ConfigError("Where is profiles.yaml? Give it: found.save('cheap', path='profiles.yaml').")
        if not isinstance(cast("object", name), str) or not name.strip():
            raise ConfigError("A plan is saved under a name, such as found.save('cheap').")
        file = file.resolve()  # what a link points to is written, the link stays
        try:
            _write(file, name, _as_yaml(name, self.plan.stages, str(self)))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"{file} cannot be written: {why}. Give another file: path='profiles.yaml'.") from None
        return file


def _held(wish: Wish, reference: str | None, *, plain: bool = False) -> str:
    """Say what a plan does: `keeps 95 % of the quality of premium`."""
    if wish.bar is not None:
        return f"{'be' if plain else 'is'} right in {percent(wish.bar)} or more"
    return f"keep{'' if plain else 's'} {percent(wish.keep or 0)} of the quality of {reference}"


def _numbers(plans: DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Return the columns of a table of plans that are numbers, as text: cost, quality, what they have at least."""
    cost, quality, least = (numbers(plans, name) for name in ("cost", "quality", "at_least"))
    money = [f"{usd * _RANK:,.2f}" for usd in cost]
    return money, [f"{part:.3f}" for part in quality], ["" if isnan(part) else percent(part, 1) for part in least]


def _record(racer: Racer, limit: float | None) -> dict[str, object]:
    values = racer.after(racer.scores)
    gap = None
    if values and set(values) <= {0.0, 1.0}:
        gap = proportion(int(sum(values)), len(values))
    elif len(values) > 1:
        gap = by_t(fmean(values), stdev(values), len(values), len(values) - 1)
    return {
        "plan": racer.name,
        "state": _STATES.get(racer.state, racer.state),
        "cost": racer.cost,
        "quality": racer.quality,
        "low": gap.low if gap else None,
        "high": gap.high if gap else None,
        "counted": len(values),
        "tasks": racer.tested,
        "evidence": racer.for_it.evidence if racer.values else None,
        "at_least": limit,
    }


# --- profiles.yaml ---


def _write(file: Path, name: str, lines: Sequence[str]) -> None:
    """Add a strategy to a file, which is replaced once the new one can be read.

    Raises:
        ConfigError: The new one cannot be read.
        OSError: It cannot be written.
    """
    mode = file.stat().st_mode & 0o777 if file.exists() else None
    if mode is not None and not mode & 0o222:
        raise PermissionError("it is read-only")
    written = _with_strategy("" if mode is None else file.read_text(encoding="utf-8"), name, lines)
    draft = file.with_name(f".{file.name}.{os.getpid()}.yaml")
    try:
        draft.write_text(written, encoding="utf-8")
        Settings(config_file=draft)
        if mode is not None:
            draft.chmod(mode)
        draft.replace(file)
    except ConfigError as error:
        raise ConfigError(str(error).replace(draft.name, file.name)) from None
    finally:
        draft.unlink(missing_ok=True)


def _as_yaml(name: str, stages: Sequence[Stage], comment: str) -> list[str]:
    """Return a strategy as lines, two spaces in."""
    import textwrap  # noqa: PLC0415 - few plans are saved

    import yaml  # noqa: PLC0415 - as above

    listed = yaml.safe_dump([_stage(stage) for stage in stages], sort_keys=False, allow_unicode=True, width=100)
    words = textwrap.wrap(" ".join(comment.split()), 110, break_long_words=False, break_on_hyphens=False)
    return [
        *(f"# {line}" for line in words),
        f"{yaml.safe_dump(name).splitlines()[0]}:",
        *(f"  {line}" for line in listed.splitlines()),
    ]


def _stage(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in fields(stage):
        value: Any = getattr(stage, each.name)
        if each.name in {"name", "profile", "prompt"} or value != _default(each):
            found[each.name] = _accept(value) if each.name == "accept" else _value(stage, each.name, value)
    return found


def _default(each: Any) -> object:  # noqa: ANN401 - a field of a dataclass
    return each.default_factory() if callable(each.default_factory) else each.default


def _value(stage: Stage, name: str, value: object) -> object:
    if isinstance(value, tuple):
        return list(cast("tuple[object, ...]", value))
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    if value is None or isinstance(value, (str, int, float, bool, list)):
        return cast("object", value)
    raise ConfigError(
        f"Stage {stage.name!r}: {name} is a {type(value).__name__}, which no file can hold. Keep .plan in Python."
    )


def _accept(rule: object) -> object:
    """Return what accepts an answer as a file says it."""
    if isinstance(rule, Regex):
        rule = rule.pattern
    if isinstance(rule, re.Pattern):
        return cast("re.Pattern[str]", rule).pattern
    if isinstance(rule, JsonSchema):
        return dict(rule.schema)
    if isinstance(rule, Agreement) and (rule.of is None or isinstance(rule.of, str)):
        return {"agree": rule.at_least, "across": rule.across, **({} if rule.of is None else {"of": rule.of})}
    if isinstance(rule, (str, int)):
        return rule
    if isinstance(rule, Mapping):
        return dict(cast("Mapping[str, object]", rule))
    raise ConfigError(
        "accept= is a function, which no file can hold. Keep found.plan, or accept by a Regex or a schema."
    )


def _with_strategy(text: str, name: str, lines: Sequence[str]) -> str:
    """Return the text of profiles.yaml with a further strategy, all else as it was.

    Raises:
        ConfigError: The name is taken, or `strategies:` is written on one line.
    """
    rows = text.splitlines()
    top = next((place for place, row in enumerate(rows) if re.match(r"strategies\s*:", row)), None)
    if top is None:
        return "\n".join([*rows, *([""] if rows else []), "strategies:", *(f"  {line}" for line in lines)]) + "\n"
    if not re.fullmatch(r"strategies\s*:\s*(#.*)?", rows[top]):
        raise ConfigError("strategies: stands on one line. Write each strategy on a line of its own below it first.")
    below = [row for row in rows[top + 1 :] if row.strip() and not row.lstrip().startswith("#")]
    indent = re.match(r" *", below[0])[0] if below and below[0].startswith(" ") else "  "  # type: ignore[index]
    block = re.compile(rf"{indent}(['\"]?){re.escape(name)}\1\s*:")
    for row in rows[top + 1 :]:
        if row.strip() and not row.startswith((" ", "#")):
            break
        if block.match(row):
            raise ConfigError(f"strategies: has a {name!r} already. Save it under another name.")
    return "\n".join([*rows[: top + 1], *(f"{indent}{line}" for line in lines), *rows[top + 1 :]]) + "\n"
