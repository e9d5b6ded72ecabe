"""Measure the search for a cheaper plan on a table of public answers, or on tables whose truth is planted.

    python tests/benchmarks/certificates.py ANSWERS.csv.gz --keep 0.95 --prices "gpt-4=10/30,mixtral=0.6/0.6"
    python tests/benchmarks/certificates.py --planted

A table has a row for each task and model (`task`, `model`, `score`, `cost`, and an `answer` where two models may
agree); or a column of scores for each model, `NAME`, beside its answers, `NAME_response`. Without costs, `--prices`
gives USD per million tokens, in and out, by a part of the model's name; a token is taken as four characters.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Final

from victor_nb.workflows.evidence import Bets
from victor_nb.workflows.race import BATCH, PILOT, Answer, Ladder, Outcome, Race, Wish, run_ladder

if TYPE_CHECKING:
    from collections.abc import Sequence

Table = list[dict[str, Answer]]
CHARACTERS: Final = 4


# --- tables ---


def read(path: Path, prices: str | None) -> Table:
    """Return the answers of a table, task by task, of those tasks that all models have answered."""
    csv.field_size_limit(10_000_000)
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tariffs = [each.split("=") for each in (prices or "").split(",") if each]
    return _long(rows) if {"task", "model", "score"} <= rows[0].keys() else _wide(rows, tariffs)


def _long(rows: Sequence[dict[str, str]]) -> Table:
    table: dict[str, dict[str, Answer]] = {}
    for row in rows:
        answer = Answer(row.get("answer", ""), float(row["cost"]), _score(row["score"]))
        table.setdefault(row["task"], {})[row["model"]] = answer
    models = {model for answers in table.values() for model in answers}
    return [answers for answers in table.values() if answers.keys() == models]


def _wide(rows: Sequence[dict[str, str]], tariffs: Sequence[Sequence[str]]) -> Table:
    models = [name for name in rows[0] if name not in {"prompt", "subject"} and not name.endswith("_response")]

    def cost(row: dict[str, str], model: str) -> float:
        rate = next((rate for part, rate in tariffs if part.casefold() in model.casefold()), None)
        if rate is None:
            raise SystemExit(f"No price is known of {model}: add it to --prices.")
        into, out = map(float, rate.split("/"))
        return (len(row["prompt"]) * into + len(row.get(f"{model}_response", "x" * 40)) * out) / CHARACTERS / 1e6

    return [
        {model: Answer(row.get(f"{model}_response", ""), cost(row, model), _score(row[model])) for model in models}
        for row in rows
    ]


def _score(text: str) -> float:
    return float({"true": "1", "false": "0"}.get(text.casefold(), text))


def plans_of(table: Table, *, accept: bool) -> list[Ladder]:
    """Return the models by themselves and their cascades: by the score, where that serves, or by agreement."""
    models = sorted(table[0], key=lambda model: fmean(row[model].cost for row in table))
    plans = [Ladder((model,), name=model) for model in models]
    if accept:
        chains = [chain for count in (2, 3) for chain in itertools.combinations(models, count)]
        return plans + [Ladder(chain, lambda _, answers: answers[-1].score >= 1, " > ".join(chain)) for chain in chains]
    if any(row[model].text for row in table[:50] for model in models):
        for one, other, last in itertools.combinations(models, 3):
            plans.append(Ladder((one, other, last), _agree, f"{one} = {other} > {last}"))
    return plans


def _agree(task: str, answers: Sequence[Answer]) -> bool:
    del task
    return len(answers) == 2 and answers[0].text == answers[1].text


# --- a search ---


@dataclass
class Searched:
    """What one search came to.

    Attributes:
        plan: The plan that was found; None: the reference.
        tasks: Tasks that it used.
        spent: USD.
    """

    plan: str | None
    tasks: int
    spent: float


def search(table: list[dict[str, Outcome]], names: Sequence[str], wish: Wish, reference: str, seed: int) -> Searched:
    """Race the plans of a table in an order of its own."""
    order = random.Random(seed).sample(range(len(table)), len(table))
    race = Race(names, wish, reference=reference)
    spent = 0.0

    def batch(asks: Sequence[str], tasks: Sequence[int]) -> dict[str, list[Outcome]]:
        nonlocal spent
        found = {name: [table[task][name] for task in tasks] for name in asks}
        for place in range(len(tasks)):
            parts: dict[str, float] = {}
            for outcomes in found.values():
                parts |= outcomes[place].asked
            spent += sum(parts.values())
        return found

    race.pilot(batch(names, order[:PILOT]))
    at = PILOT
    while race.why is None and at < len(order):
        race.add(batch(race.asks, order[at : at + BATCH]))
        at += BATCH
    return Searched(race.best.name if race.best else None, min(at, len(order)), spent)


def usual(table: list[dict[str, Outcome]], names: Sequence[str], wish: Wish, reference: str, seed: int) -> str:
    """Return the plan of the usual practice: the cheapest whose mean over 100 tasks holds."""
    tasks = random.Random(seed).sample(range(len(table)), min(100, len(table)))
    means = {name: fmean(table[task][name].answer.score for task in tasks) for name in names}
    bar = wish.bar if wish.bar is not None else (wish.keep or 0) * means[reference]
    costs = {name: fmean(table[task][name].cost for task in tasks) for name in names}
    return min((name for name in names if means[name] >= bar or name == reference), key=costs.__getitem__)


def report(table: Table, wish: Wish, *, reference: str | None, runs: int, accept: bool) -> None:
    """Print the line of a table: how often a certificate is wrong, what the plans cost, what the search did."""
    plans = plans_of(table, accept=accept)
    names = [plan.name for plan in plans]
    # Of models by the share that is right, the best is the reference.
    quality = {name: fmean(row[name].score for row in table) for name in table[0]}
    reference = next(
        (name for name in quality if reference and reference in name), max(quality, key=quality.__getitem__)
    )
    outcomes = [{plan.name: run_ladder(plan, "", row) for plan in plans} for row in table]
    true = {name: fmean(row[name].answer.score for row in outcomes) for name in names}
    cost = {name: fmean(row[name].cost for row in outcomes) for name in names}
    bar = wish.bar if wish.bar is not None else (wish.keep or 0) * true[reference]
    possible = min(cost[name] for name in names if true[name] >= bar or name == reference)
    began = time.perf_counter()
    found = [search(outcomes, names, wish, reference, seed) for seed in range(runs)]
    seconds = (time.perf_counter() - began) / runs
    wrong = sum(each.plan is not None and true[each.plan] < bar - 1e-12 for each in found)
    served = [each.plan or reference for each in found]
    habits = [usual(outcomes, names, wish, reference, seed) for seed in range(runs)]
    total = [each.spent + 10_000 * cost[name] for each, name in zip(found, served, strict=True)]
    base = cost[reference]
    paid = fmean(cost[name] for name in served)
    habit = sum(true[name] < bar - 1e-12 and name != reference for name in habits)
    print(f"{len(table):,} tasks, {len(plans)} plans, reference {reference} ({true[reference]:.1%}); {wish}")
    print(f"  wrong certificates                {wrong} of {runs}")
    print(f"  certified a cheaper plan          {sum(each.plan is not None for each in found)} of {runs}")
    print(f"  cost of the plan found            {paid / base:.1%} (best possible {possible / base:.1%})")
    print(f"  tasks used (median)               {median(each.tasks for each in found):,.0f}")
    print(f"  search + 10,000 calls             {fmean(total) / (10_000 * base):.1%}")
    print(f"  usual practice (100 tasks): wrong {habit / runs:.0%}")
    print(f"  seconds per search                {seconds:.2f}")


# --- planted truth ---


def planted(runs: int) -> None:
    """Print how often plans that miss the bar by nothing are certified, and how many tasks true ones need."""
    for bar in (0.7, 0.8, 0.9):
        wrong = sum(_hardest(seed, bar) for seed in range(runs))
        print(f"four plans at the bar {bar}, a look every {BATCH} of 1,000 tasks: {wrong} of {runs} certified wrongly")
    for truth, bar, known in ((0.95, 0.90, 184), (0.90, 0.85, 414), (0.70, 0.65, 820), (0.90, 0.88, 2938)):
        needed = [_needed(seed, truth, bar) for seed in range(max(100, runs // 5))]
        print(f"truth {truth}, bar {bar}: {median(needed):,.0f} tasks (median; published {known:,})")
    for share in (None, 0.2):
        wrong = sum(judged(seed, share) for seed in range(min(runs, 400)))
        print(f"judge 0.84 of 0.80, bar 0.80, audit {share}: {wrong} of {min(runs, 400)} certified wrongly")


def _hardest(seed: int, bar: float) -> bool:
    """Return whether any of four plans just under the bar is certified."""
    draw = random.Random(seed)
    race = Race(["a", "b", "c", "d", "top"], Wish(keep=None, bar=bar, serves=10**9), reference=None)

    def one(name: str) -> Outcome:
        cost = 10.0 if name == "top" else 1.0
        score = float(draw.random() < (1.0 if name == "top" else bar - 1e-9))
        return Outcome(Answer("", cost, score), {name: cost})

    race.pilot({name: [one(name) for _ in range(PILOT)] for name in race.racers})
    race.racers["top"].state = "too expensive" if race.racers["top"].state == "racing" else race.racers["top"].state
    while race.why is None and race.tested < 1000:
        race.add({name: [one(name) for _ in range(BATCH)] for name in race.asks})
    return any(racer.state == "certified" for racer in race.racers.values())


def _needed(seed: int, truth: float, bar: float) -> int:
    draw, bets = random.Random(seed), Bets(bar)
    while bets.evidence < 20 and bets.count < 20_000:
        bets.add(float(draw.random() < truth))
    return bets.count


def judged(seed: int, share: float | None) -> bool:
    """Return whether a plan at the bar is certified by a judge who is 0.04 too kind."""
    draw = random.Random(seed)
    wish = Wish(keep=None, bar=0.8, audit=share, serves=10**9)
    race = Race(["plan"], wish, reference=None)

    def one() -> Outcome:
        truth = draw.random() < 0.8
        judged = draw.random() < (0.95 if truth else 0.40)
        audited = share is not None and draw.random() < share
        return Outcome(Answer("", 1.0, float(judged), float(truth) if audited else None), {"plan": 1.0})

    race.pilot({"plan": [one() for _ in range(PILOT)]})
    race.racers["plan"].state, race.why, race.chosen = "racing", None, ("plan",)
    while race.racers["plan"].state == "racing" and race.tested < 1000:
        race.why = None
        race.add({"plan": [one() for _ in range(BATCH)]})
    return race.racers["plan"].state == "certified"


def main(words: Sequence[str]) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--keep", type=float, default=None)
    parser.add_argument("--bar", type=float, default=None)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--serves", type=int, default=10_000)
    parser.add_argument("--reference")
    parser.add_argument("--prices")
    parser.add_argument("--accept", action="store_true", help="the score serves too, as unit tests do")
    parser.add_argument("--planted", action="store_true")
    asked = parser.parse_args(words)
    if asked.planted:
        planted(asked.runs)
    if asked.table is not None:
        keep = 0.95 if asked.keep is None and asked.bar is None else asked.keep
        table = read(asked.table, asked.prices)
        wish = Wish(keep=keep, bar=asked.bar, serves=asked.serves)
        report(table, wish, reference=asked.reference, runs=asked.runs, accept=asked.accept)


if __name__ == "__main__":
    main(sys.argv[1:])
