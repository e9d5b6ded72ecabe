"""The price of a map, of its first rows: how often its interval holds the cost."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from victor_nb.workflows.forecast import Asked, Drawn, Forecast, Priced, forecast, price, spoken
from victor_nb.workflows.intake import Plan

LENGTHS = {
    "all alike": lambda chance: 400,
    "of one kind": lambda chance: chance.randint(200, 600),
    "some long ones": lambda chance: round(chance.lognormvariate(5.5, 1.0)),
}


def held(lengths: str, spread: float, *, maps: int, rows: int, seed: int) -> tuple[float, float]:
    """Return how many of the intervals hold what the map costs, as a share, and their mean width beside the cost."""
    chance = random.Random(seed)
    inside, width = 0, 0.0
    for _ in range(maps):
        sizes = [LENGTHS[lengths](chance) for _ in range(rows)]
        costs = [size / 4 * 0.1e-6 + chance.lognormvariate(4.5, spread) * 0.4e-6 for size in sizes]
        drawn = chance.sample(range(rows), 20)
        pilot = [Asked(0, sizes[row], Decimal(repr(costs[row])), 0.5) for row in drawn]
        plan = Plan(rows, rows, 0, sum(sizes))
        cost = price(pilot, plan, Drawn(20, 20, 20, []), lanes=1, workers=64).cost
        assert cost is not None
        inside += cost.low <= sum(costs) <= cost.high
        width += (cost.high - cost.low) / sum(costs)
    return inside / maps, width / maps


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("spread", [0.3, 0.6, 1.0])
def test_when_twenty_rows_are_asked_then_nine_of_ten_intervals_hold_the_cost(lengths: str, spread: float) -> None:
    share, width = held(lengths, spread, maps=300, rows=200, seed=7)

    assert share >= 0.90
    assert width < {0.3: 0.4, 0.6: 0.8, 1.0: 1.8}[spread]


def test_when_cost_follows_from_length_then_a_sample_of_short_rows_is_no_mistake() -> None:
    asked = [(size, size * 1e-6) for size in range(100, 120)]

    found = forecast(asked, rest=100, size=1000)

    assert found.value == pytest.approx(0.1)
    assert found.high - found.low < 0.001


def test_when_rows_are_alike_or_few_then_there_is_an_interval_all_the_same() -> None:
    assert forecast([], rest=10) == Forecast(0.0, 0.0, 0.0)
    assert forecast([(5, 1.0)], rest=2) == Forecast(2.0, 0.0, 4.0)
    assert forecast([(5, 1.0)] * 20, rest=2) == Forecast(2.0, 2.0, 2.0)


@pytest.mark.parametrize(("unknown", "priced"), [(3, True), (10, False)])
def test_when_what_some_rows_have_cost_is_unknown_then_the_others_say_the_price(unknown: int, *, priced: bool) -> None:
    costs = [None] * unknown + [Decimal("0.001")] * (20 - unknown)
    plan = Plan(100, 100, 0, 1000)
    cost = price([Asked(0, 10, cost, 0.5) for cost in costs], plan, Drawn(20, 20, 20, []), lanes=1, workers=8).cost

    assert (cost is not None) == priced
    assert cost is None or cost.value == pytest.approx(0.097)


def test_when_it_is_written_then_the_line_says_what_it_costs_and_whether_the_budget_holds() -> None:
    cost = Forecast(0.412, 0.36, 0.474)
    line = Priced(2000, 2000, 20, cost, 170.0, Decimal("2.00"))

    assert str(line) == "2,000 rows: USD 0.41 (0.36 to 0.47), 3 min; 20 done. budget=2.00 holds."
    assert str(Priced(2000, 40, 20, cost, 9.0)) == "2,000 rows (40 different): USD 0.41 (0.36 to 0.47), 9 s; 20 done."
    assert str(Priced(None, 0, 20, cost, 9.0)) == "1,000 rows: USD 0.41 (0.36 to 0.47); 20 done."
    assert str(Priced(9, 9, 20, None, 9.0)).startswith("9 rows: no price is known, 9 s")
    assert "free" in str(Priced(9, 9, 20, Forecast(0.0, 0.0, 0.0), 9.0))
    assert str(Priced(2000, 2000, 20, cost, 9.0, Decimal("0.4"))).endswith(
        "budget=0.4 may end it before its last rows."
    )
    assert str(Priced(2000, 2000, 20, cost, 9.0, Decimal("0.1"))).endswith("budget=0.1 ends it after some 485 rows.")
    assert [spoken(seconds) for seconds in (0.2, 40, 200, 9000)] == ["1 s", "40 s", "3 min", "2.5 h"]
