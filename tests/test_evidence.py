"""Certificates are right as often as they say, whatever is looked at meanwhile; other libraries agree."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from pkgutil import resolve_name
from statistics import fmean, median, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_nb.workflows.evidence import Bets, audited, lower_limit, peak, smallest_gap, tasks_needed
from victor_nb.workflows.race import BATCH, PILOT, Answer, Ladder, Outcome, Race, Wish, run_ladder

sys.path.append(str(Path(__file__).parent / "benchmarks"))


def shares(mean: float, count: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [float(draw.random() < mean) for _ in range(count)]


# --- the bets ---


@pytest.mark.parametrize(("truth", "bar", "published"), [(0.95, 0.90, 184), (0.90, 0.85, 414), (0.70, 0.65, 820)])
def test_when_a_share_is_over_the_bar_then_it_takes_as_many_tasks_as_published(
    truth: float, bar: float, published: int
) -> None:
    taken = tasks_needed(truth, bar)
    assert taken is not None
    assert 0.6 * published < taken < 1.5 * published  # tests/benchmarks/certificates.py has it with more runs
    assert tasks_needed(bar, bar, most=500) is None


def test_when_a_mean_is_at_the_bar_then_few_of_many_looks_find_it_over_the_bar() -> None:
    assert sum(peak(shares(0.8, 500, seed), 0.8) >= np.log(20) for seed in range(300)) <= 15


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0.05, 0.95))
def test_when_bets_are_placed_then_the_capital_never_ends_and_no_value_is_known_before(
    values: list[float], bar: float
) -> None:
    # The expected gain of every bet is at most 0 for a value of the bar itself, and linear in the value.
    bets = Bets(bar)
    for value in values:
        before = bets._capital
        worst, best = (_after(bets, each) - before for each in (0.0, 1.0))
        assert bar * np.exp(best) + (1 - bar) * np.exp(worst) == pytest.approx(1)
        bets.add(value)
    assert bets.peak >= 0


def _after(bets: Bets, value: float) -> float:
    copy = Bets(bets.bar)
    for name in Bets.__slots__:
        setattr(copy, name, getattr(bets, name))
    copy.add(value)
    return copy._capital


def test_when_a_limit_is_given_then_it_holds_and_is_near_that_of_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    below, wide = 0, []
    for seed in range(20):
        values = shares(0.8, 300, seed)
        limit = lower_limit(values, 0.05)
        exact, _ = proportion_confint(sum(values), len(values), alpha=0.1, method="beta")  # one side of 5 %
        below += limit <= 0.8
        wide.append(exact - limit)
    assert below >= 18
    assert 0 < fmean(wide) < 0.05  # a limit for any number of looks is lower than that of a single look


def test_when_a_judge_is_audited_then_the_estimate_is_that_of_ppi_python_and_unbiased() -> None:
    from ppi_py import ppi_mean_pointestimate

    draw = random.Random(1)
    truths = [float(draw.random() < 0.8) for _ in range(4000)]
    judged = [float(draw.random() < (0.95 if truth else 0.4)) for truth in truths]
    seen = [draw.random() < 0.2 for _ in truths]
    share = sum(seen) / len(seen)
    ours = [
        audited(said, truth if looked else None, share)
        for said, truth, looked in zip(judged, truths, seen, strict=True)
    ]
    labels = np.array([truth for truth, looked in zip(truths, seen, strict=True) if looked])
    paired = np.array([said for said, looked in zip(judged, seen, strict=True) if looked])
    theirs = ppi_mean_pointestimate(labels, paired, np.array(judged), lam=1)
    assert fmean(ours) == pytest.approx(float(theirs[0]), abs=1e-9)
    assert abs(fmean(ours) - 0.8) < 3 * stdev(ours) / len(ours) ** 0.5 < abs(fmean(judged) - 0.8) + 0.03


def test_when_tasks_are_few_then_only_a_large_difference_can_be_shown() -> None:
    gaps = [smallest_gap(count, 0.9) for count in (20, 60, 300)]
    assert gaps[0] is None
    assert gaps[1] is not None
    assert gaps[2] is not None
    assert 0.1 > gaps[1] > gaps[2] > 0.03


# --- the race ---

COSTS = {"small": 1.0, "middle": 4.0, "large": 20.0}


def table(rates: dict[str, float], count: int, seed: int) -> list[dict[str, Answer]]:
    """Answers of models that fail mostly on the same tasks; a wrong answer is one of two."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        luck = draw.random()
        row = {}
        for name, rate in rates.items():
            right = (draw.random() if draw.random() < 0.3 else luck) < rate
            row[name] = Answer("right" if right else f"wrong {draw.randint(1, 2)}", COSTS[name], float(right))
        rows.append(row)
    return rows


def raced(plans: list[Ladder], rows: list[dict[str, Answer]], wish: Wish, reference: str | None) -> Race:
    race = Race([plan.name for plan in plans], wish, reference=reference)

    def batch(asks: list[str], part: list[dict[str, Answer]]) -> dict[str, list[Outcome]]:
        return {plan.name: [run_ladder(plan, "", row) for row in part] for plan in plans if plan.name in asks}

    race.pilot(batch(list(race.racers), rows[:PILOT]))
    at = PILOT
    while race.why is None and at < len(rows):
        race.add(batch(race.asks, rows[at : at + BATCH]))
        at += BATCH
    return race


SINGLES = [Ladder((name,), name=name) for name in COSTS]
LADDERS = [
    *SINGLES,
    Ladder(("small", "large"), lambda _, answers: answers[-1].score >= 1, "small > large"),
    Ladder(
        ("small", "middle", "large"),
        lambda _, answers: len(answers) == 2 and answers[0].text == answers[1].text,
        "small = middle > large",
    ),
]


def test_when_a_cascade_keeps_the_quality_then_it_is_found_and_said_at_least_how_much() -> None:
    race = raced(LADDERS, table({"small": 0.75, "middle": 0.8, "large": 0.95}, 1000, 1), Wish(keep=0.95), "large")
    assert race.best is not None
    assert race.best.name == "small > large"
    assert race.best.cost < 0.4 * COSTS["large"]
    limit = race.limit("small > large")
    assert limit is not None
    assert 0.95 <= limit < 1.05
    assert race.racers["small"].state in {"futile", "not chosen", "too expensive"}
    assert race.racers["large"].state == "reference"


def test_when_nothing_cheaper_holds_then_the_race_says_no_and_spends_little() -> None:
    race = raced(SINGLES, table({"small": 0.5, "middle": 0.6, "large": 0.95}, 1000, 2), Wish(keep=0.95), "large")
    assert race.best is None
    assert race.tested <= 200
    assert race.why


def test_when_few_calls_are_served_then_the_search_ends_before_it_costs_more_than_it_saves() -> None:
    rows = table({"small": 0.5, "middle": 0.93, "large": 0.95}, 1000, 3)
    assert raced(SINGLES, rows, Wish(keep=0.97, serves=200), "large").tested <= BATCH
    assert raced(SINGLES, rows, Wish(keep=0.97, serves=10**6), "large").tested > BATCH


def test_when_a_bar_is_given_then_no_reference_is_asked() -> None:
    race = raced(SINGLES, table({"small": 0.7, "middle": 0.9, "large": 0.95}, 1000, 4), Wish(keep=None, bar=0.8), None)
    assert race.best is not None
    assert race.best.name == "middle"
    assert "large" not in race.asks


@pytest.mark.parametrize("keep", [0.8, 0.9])
def test_when_a_plan_just_misses_then_it_is_certified_in_few_of_many_searches(keep: float) -> None:
    rates = {"small": 0.95 * keep - 1e-6, "large": 0.95}
    plans = [plan for plan in SINGLES if plan.name != "middle"]
    found = [raced(plans, table(rates, 600, seed), Wish(keep=keep, serves=10**8), "large").best for seed in range(60)]
    assert sum(best is not None for best in found) <= 5


def test_when_a_judge_is_too_kind_then_an_audit_keeps_the_certificate_true() -> None:
    judged = resolve_name("certificates:judged")

    alone, audit = (sum(judged(seed, share) for seed in range(60)) for share in (None, 0.2))
    assert alone >= 20
    assert audit <= 5


def test_when_a_profile_fails_in_the_pilot_then_it_is_left_out() -> None:
    rows = [{**row, "small": Answer(None, 0.0, 0.0)} for row in table(dict.fromkeys(COSTS, 0.9), 200, 5)]
    race = raced(SINGLES, rows, Wish(keep=0.8), "large")
    assert race.racers["small"].state == "failed"
    assert race.best is not None


def test_when_the_program_reads_a_table_then_it_prints_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = resolve_name("certificates:main")

    rows = table({"small": 0.8, "middle": 0.9, "large": 0.95}, 300, 6)
    lines = ["task,model,score,cost,answer"]
    lines += [
        f"{n},{name},{each.score},{each.cost},{each.text}" for n, row in enumerate(rows) for name, each in row.items()
    ]
    (tmp_path / "answers.csv").write_text("\n".join(lines), encoding="utf-8")
    main([str(tmp_path / "answers.csv"), "--keep", "0.8", "--runs", "5"])
    printed = capsys.readouterr().out
    assert "300 tasks, 4 plans, reference large" in printed
    assert "wrong certificates                0 of 5" in printed
    assert median([len(row) for row in rows]) == 3
