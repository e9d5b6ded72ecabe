"""What a run is honestly compared with, and what the past would have cost: to the nano-dollar, or not at all."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from ensemble import SEED, Asked, Ensemble, said
from servers import OPENAI, Answer, faults
from victor_nb.accounting.rows import Row
from victor_nb.errors import ConfigError
from victor_nb.kernel import session
from victor_nb.workflows.strategies import Funnel, Single, Tiered
from victor_nb.workflows.what_if import what_if

if TYPE_CHECKING:
    from victor_nb.workflows.runs import StrategyRun

pytest_plugins = ["workbench_fixtures", "ensemble_fixtures"]
MILLION = 1_000_000


def seed_tokens(asked: Asked) -> Answer:
    """Use the tokens that the seed's funnel is reckoned with."""
    return {
        "qwen2.5-coder:7b": said(f"idea {asked.turn}", 200, 400),
        "gpt-4o-mini": said("3, 1, 2", 4500, 300),
        "gpt-4o": said("code", 900, 1500),
        "claude-sonnet-4-5": said("Mend line 1.", 2000, 500),
    }[asked.model]


@pytest.fixture
def seed_run(ensemble: Ensemble) -> StrategyRun:
    ensemble.play(seed_tokens)
    return Funnel().run_sync("x")


def test_when_the_seeds_funnel_runs_then_it_costs_what_honest_arithmetic_says(seed_run: StrategyRun) -> None:
    select = 4500 * Decimal("0.15") + 300 * Decimal("0.60")
    implement = 900 * Decimal("2.50") + 1500 * Decimal(10)
    review = 2000 * Decimal(3) + 500 * Decimal(15)

    assert seed_run.cost == seed_run.billed == (select + implement + review) / MILLION
    assert f"{seed_run.cost:.4f}" == "0.0316"
    assert [f"{stage.cost:.6f}" for stage in seed_run.stages] == ["0.000000", "0.000855", "0.017250", "0.013500"]


@pytest.mark.parametrize("baseline", ["premium", "claude-sonnet-4-5"])
def test_when_the_same_calls_are_repriced_then_the_seeds_funnel_is_74_percent_cheaper(
    seed_run: StrategyRun, baseline: str
) -> None:
    saved = seed_run.savings(baseline)

    tokens_in, tokens_out = 10 * 200 + 4500 + 900 + 2000, 10 * 400 + 300 + 1500 + 500
    assert saved.baseline_cost == (tokens_in * Decimal(3) + tokens_out * Decimal(15)) / MILLION
    assert f"{saved.baseline_cost:.4f}" == "0.1227"
    assert saved.ratio == pytest.approx(0.7424, abs=0.0001)
    assert saved.saved == Decimal("0.091095")
    assert not saved.estimated
    assert str(saved) == (
        f"USD 0.0316, against USD 0.1227 for the same calls at {baseline}'s prices (with this run's own tokens): "
        "74 % cheaper."
    )


def test_when_one_direct_answer_is_estimated_then_the_seeds_funnel_is_more_expensive(seed_run: StrategyRun) -> None:
    saved = seed_run.savings("premium", "one_call")

    assert saved.baseline_cost == (200 * Decimal(3) + 1500 * Decimal(15)) / MILLION  # a task in, an implementation out
    assert saved.estimated
    assert saved.ratio is not None
    assert saved.ratio < 0
    assert str(saved) == (
        "USD 0.0316, against USD 0.0231 for one call to premium (estimated from this run's tokens): "
        "37 % more expensive."
    )


@pytest.mark.parametrize(
    ("cost", "other", "shown"),
    [
        ("0.001765", "0.000828", ("USD 0.001765", "USD 0.000828", "113 % more expensive")),  # 0.0018 by 0.0008 is 125 %
        ("0.0000831", "0.0024", ("USD 0.000083", "USD 0.002400", "97 % cheaper")),
        ("0.0000000004", "0.0024", ("USD 0.00000000040", "USD 0.00240000000", "100 % cheaper")),
        ("0", "0.0024", ("USD 0.0000", "USD 0.0024", "100 % cheaper")),
    ],
)
def test_when_a_reader_divides_what_is_shown_then_the_percentage_is_the_one_that_is_shown(
    seed_run: StrategyRun, cost: str, other: str, shown: tuple[str, ...]
) -> None:
    text = str(replace(seed_run.savings(), cost=Decimal(cost), baseline_cost=Decimal(other)))

    assert all(part in text for part in shown), text


def test_when_one_direct_answer_is_measured_then_it_is_really_asked(seed_run: StrategyRun, ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said("the answer", 300, 1500))

    saved = seed_run.savings("premium", "one_call", measure=True)

    assert saved.baseline_cost == (300 * Decimal(3) + 1500 * Decimal(15)) / MILLION
    assert not saved.estimated
    assert str(saved).endswith("USD 0.0234 for one call to premium (measured): 35 % more expensive.")
    assert ensemble.prompts[-1] == "x"
    last = session().ledger.rows()[-1]
    assert (last.strategy, last.stage, last.run_id == seed_run.run_id) == ("baseline", "one_call", False)


def test_when_an_attempt_is_long_then_it_is_repriced_alone_by_its_tier(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said("x", 150_000, 1000))

    saved = Tiered().run_sync("x").savings("premium")  # 450,000 tokens together would be of the dear tier

    assert saved.baseline_cost == 3 * (150_000 * Decimal(3) + 1000 * Decimal(15)) / MILLION


def test_when_attempts_failed_or_were_repeated_then_all_of_them_count(ensemble: Ensemble) -> None:
    ensemble.cast(retries=1)
    ensemble.play(lambda asked: faults.status(500) if asked.turn == 0 else said("x", 1000, 100))

    run = Single("fast").run_sync("x")
    saved = run.savings("premium")

    assert len(run.rows) == 2
    assert saved.baseline_cost == (1000 * Decimal(3) + 100 * Decimal(15)) / MILLION
    assert saved.cost == (1000 * Decimal("0.15") + 100 * Decimal("0.60")) / MILLION


def test_when_a_price_is_not_known_then_no_saving_is_claimed(ensemble: Ensemble) -> None:
    ensemble.cast({**SEED, "odd": (OPENAI, "nobody-knows-1")})
    ensemble.play(lambda asked: said("x", 1000, 100))

    odd = Single("odd").run_sync("x")
    against = Single("fast").run_sync("x").savings("odd")

    for saved in (odd.savings("premium"), against):
        assert (saved.saved, saved.ratio, saved.unpriced) == (None, None, 1)
        assert "is unknown: 1 of 1 attempts have no known price." in str(saved)
    assert odd.cost is None
    assert odd.spent.unpriced == 1


def test_when_the_baseline_is_free_then_it_is_said(ensemble: Ensemble) -> None:
    ensemble.play(lambda asked: said("x", 1000, 100))

    saved = Single("fast").run_sync("x").savings("local")

    assert (saved.baseline_cost, saved.ratio) == (0, None)
    assert str(saved).endswith("the baseline is free.")


def test_when_a_baseline_is_misspelt_then_the_nearest_is_named(seed_run: StrategyRun) -> None:
    with pytest.raises(
        ConfigError, match=r"'premum' is neither a profile nor a model with a known price\. Did you mean 'premium'"
    ):
        seed_run.savings("premum")
    with pytest.raises(ConfigError, match="Use 'same_calls' or 'one_call'"):
        seed_run.savings("premium", "both")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="name a profile that asks it"):
        seed_run.savings("claude-sonnet-4-5", "one_call", measure=True)


# --- what if ---


def test_when_the_past_is_priced_again_then_each_profile_shows_the_difference(seed_run: StrategyRun) -> None:
    frame = what_if(session().ledger, {"premium": "fast", "local": "gpt-4o-mini"}).set_index("profile")

    assert list(frame.index) == ["local", "fast", "default", "premium"]
    assert list(frame["calls"]) == [10, 1, 1, 1]
    mini = {"local": 2000 * 0.15 + 4000 * 0.60, "premium": 2000 * 0.15 + 500 * 0.60}
    assert frame["what_if_cost"]["local"] == pytest.approx(mini["local"] / MILLION)
    assert frame["what_if_cost"]["premium"] == pytest.approx(mini["premium"] / MILLION)
    assert frame["delta"]["premium"] == pytest.approx(mini["premium"] / MILLION - 0.0135)
    assert frame["delta"]["default"] == 0
    assert list(frame["what_if"]) == ["gpt-4o-mini", "fast", "default", "fast"]
    assert list(frame["unpriced"]) == [0, 0, 0, 0]


def test_when_a_frame_or_rows_are_given_then_the_answer_is_the_same(seed_run: StrategyRun) -> None:
    ledger = session().ledger
    wanted = what_if(ledger, {"*": "premium"})

    assert what_if(ledger.to_frame(), {"*": "premium"}).equals(wanted)
    assert what_if(seed_run.rows, {"*": "premium"}).equals(wanted)
    assert wanted["what_if_cost"].sum() == pytest.approx(0.1227)


def test_when_a_frame_is_filtered_then_only_its_rows_count(seed_run: StrategyRun) -> None:
    frame = session().ledger.to_frame()

    assert list(what_if(frame[frame["stage"] == "review"], {"premium": "fast"})["profile"]) == ["premium"]


def test_when_attempts_are_asked_for_then_each_has_its_row(seed_run: StrategyRun) -> None:
    frame = what_if(seed_run.rows, {"*": "premium"}, by=None)

    assert len(frame) == 13
    assert (frame["saved"] - (frame["cost"] - frame["what_if_cost"])).abs().max() < 1e-12
    assert set(frame["what_if"]) == {"premium"}


def test_when_a_price_is_not_known_then_it_is_counted_and_left_out() -> None:
    row = Row(ts=datetime.now(UTC), call_id="1", profile="a", provider="openai", model="gpt-4o-mini")
    known = dataclasses.replace(row, input_tokens=1000, output_tokens=0, cost=Decimal("0.00015"), status="ok")
    rows = [row, known, dataclasses.replace(known, call_id="2", cost=None)]

    frame = what_if(rows, {"a": "gpt-4o"})

    assert frame.loc[0, "unpriced"] == 2
    assert frame.loc[0, "cost"] == pytest.approx(0.00015)
    assert frame.loc[0, "what_if_cost"] == pytest.approx(0.0025)


def test_when_a_cache_was_written_for_an_hour_then_it_is_priced_as_such() -> None:
    row = Row(ts=datetime.now(UTC), call_id="1", profile="a", provider="openai", model="gpt-4o-mini", cost=Decimal(0))
    written = dataclasses.replace(row, input_tokens=1_000_000, output_tokens=0, cache_write_tokens=1_000_000)
    for_an_hour = dataclasses.replace(written, cache_write_1h_tokens=1_000_000)

    costs = [what_if([each], {"a": "claude-sonnet-4-5"}).loc[0, "what_if_cost"] for each in (written, for_an_hour)]

    assert float(str(costs[1])) == pytest.approx(
        float(str(costs[0])) * 2 / 1.25
    )  # Anthropic: 1.25 x the input's price, and 2 x for an hour


def test_when_what_if_is_asked_wrongly_then_one_line_says_so(seed_run: StrategyRun) -> None:
    with pytest.raises(ConfigError, match=r"Nothing was asked of 'premum'\. Did you mean 'premium'"):
        what_if(seed_run.rows, {"premum": "fast"})
    with pytest.raises(ConfigError, match="neither a profile nor a model"):
        what_if(seed_run.rows, {"premium": "nobody"})
    with pytest.raises(ConfigError, match="no column 'cost'"):
        what_if(session().ledger.to_frame().drop(columns="cost"), {"premium": "fast"})


@pytest.mark.parametrize("kind", ["cost_by_stage", "funnel", "gantt", "tokens_vs_cost"])
def test_when_a_run_is_plotted_then_there_is_a_chart(seed_run: StrategyRun, kind: str) -> None:
    assert seed_run.plot(kind).get_axes()
    assert seed_run.plot(baseline="premium").get_axes()
