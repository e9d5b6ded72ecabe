"""Budgets: what might not fit is not sent, and what is sent never costs more than was allowed."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

import pytest

from cells import Shell
from servers import OLLAMA, OPENAI, Server, faults
from servers.answers import Answer, Tokens
from victor_nb import session
from victor_nb.errors import BudgetError, ClosedError, ConfigError
from victor_nb.money import to_usd
from victor_nb.values import ChatRequest, Message
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from pathlib import Path

    from servers.exchange import Exchange

pytest_plugins = ["workbench_fixtures"]

PRICES = {"input": 1, "output": 10}  # USD per million tokens: 1,000 tokens of output are a cent
MAX_TOKENS = 1_000
CENT = Decimal("0.01")


def profiles(folder: Path, server: Server, **more: object) -> None:
    write_profiles(
        folder,
        paid={
            "provider": "openai",
            "model": "gpt-4o-mini",
            "base_url": OPENAI.base_url(server.url),
            "retries": 0,
            "max_tokens": MAX_TOKENS,
            "prices": PRICES,
            **more,
        },
        free={"provider": "ollama", "model": OLLAMA.model, "base_url": OLLAMA.base_url(server.url), "retries": 0},
    )


@pytest.fixture
def desk(tmp_path: Path, server: Server, keys: str) -> Server:
    """Write a profile with round prices, and one that costs nothing."""
    assert keys
    profiles(tmp_path, server)
    server.play(Answer(tokens=Tokens(input=10, output=200)))
    return server


def test_when_a_call_fits_then_it_is_sent_and_settled_with_what_it_cost(desk: Server) -> None:
    with session().budget.limit("0.02") as limit:
        reply = session().pool.get_orchestrator("paid").run_sync("How many?")
    assert reply.cost == Decimal("0.00201")
    assert (limit.spent, limit.held) == (Decimal("0.00201"), 0)
    assert len(desk.requests) == 1


def test_when_the_worst_case_does_not_fit_then_nothing_is_sent_and_the_numbers_are_said(desk: Server) -> None:
    with session().budget.limit("0.005", name="this test"), pytest.raises(BudgetError) as caught:
        session().pool.get_orchestrator("paid").run_sync("How many?")
    assert "at worst USD 0.0100" in str(caught.value)
    assert "this test has USD 0.0050 left of 0.0050" in str(caught.value)
    with session().budget.limit("0.00016", name="small change"), pytest.raises(BudgetError) as small:
        session().pool.get_orchestrator("paid").run_sync("How many?")
    assert "small change has USD 0.000160000 left of 0.000160000" in str(small.value)
    assert not desk.requests
    for row in rows():
        assert (row["status"], row["cost"], row["billed"], row["error_type"]) == ("refused", 0, 0, "BudgetError")


@pytest.mark.parametrize(
    ("params", "worst"),
    [
        ({"max_completion_tokens": 5_000}, "0.05"),
        ({"max_tokens": 5_000}, "0.05"),
        ({"max_tokens": 50}, "0.01"),  # goes out beside ours, which allows more
        ({"max_completion_tokens": 500}, "0.005"),
        ({"n": 5}, "0.05"),
        ({"n": "many", "max_completion_tokens": True}, "0.01"),
    ],
)
def test_when_params_allow_more_than_max_tokens_then_that_is_held(
    desk: Server, tmp_path: Path, params: dict[str, object], worst: str
) -> None:
    profiles(tmp_path, desk, params=params)
    with session().budget.limit(Decimal(worst) - Decimal("0.0001")), pytest.raises(BudgetError) as caught:
        session().pool.get_orchestrator("paid").run_sync("How many?")
    assert f"at worst USD {Decimal(worst):.4f}" in str(caught.value)
    assert not desk.requests


def test_when_a_notebook_rounds_its_decimals_then_holds_are_exact_all_the_same(desk: Server, tmp_path: Path) -> None:
    profiles(tmp_path, desk, max_tokens=1_234)
    with (
        localcontext(prec=1),
        session().budget.limit("0.0122"),
        pytest.raises(BudgetError, match=r"at worst USD 0\.012"),
    ):
        session().pool.get_orchestrator("paid").run_sync("How many?")


def test_when_limits_are_nested_then_the_narrowest_holds_and_the_widest_counts(desk: Server) -> None:
    orchestrator = session().pool.get_orchestrator("paid")
    with session().budget.limit("1") as wide:
        with session().budget.limit("0.012") as narrow:
            orchestrator.run_sync("How many?")
            with pytest.raises(BudgetError):
                orchestrator.run_sync("How many?", max_tokens=1_001)
        orchestrator.run_sync("How many?")
    assert (narrow.spent, wide.spent) == (Decimal("0.00201"), Decimal("0.00402"))
    orchestrator.run_sync("How many?")
    assert wide.spent == Decimal("0.00402")
    assert len(desk.requests) == 3


def test_when_a_model_is_free_then_no_budget_refuses_it(desk: Server) -> None:
    with session().budget.limit("0"):
        assert session().pool.get_orchestrator("free").run_sync("How many?").cost == 0
        with pytest.raises(BudgetError):
            session().pool.get_orchestrator("paid").run_sync("How many?")
    assert len(desk.requests) == 1


def test_when_a_price_is_unknown_then_a_budget_refuses_it_unless_it_is_allowed(
    tmp_path: Path, server: Server, desk: Server
) -> None:
    assert desk is server
    profiles(tmp_path, server, prices=None, model="no-such-model")
    with session().budget.limit("1"), pytest.raises(BudgetError, match="no price is known"):
        session().pool.get_orchestrator("paid").run_sync("How many?")
    profiles(tmp_path, server, prices=None, model="no-such-model", allow_unpriced=True)
    with session().budget.limit("1"):
        assert session().pool.get_orchestrator("paid").run_sync("How many?").cost is None


def test_when_a_failed_call_cost_nothing_then_its_hold_is_given_back(desk: Server) -> None:
    desk.play(faults.status(500))
    with session().budget.limit("0.02") as limit:
        for _ in range(3):
            with pytest.raises(RuntimeError):
                session().pool.get_orchestrator("paid").run_sync("How many?")
    assert (limit.spent, limit.held) == (0, 0)


def test_when_a_call_is_stopped_then_its_worst_case_counts(desk: Server) -> None:
    desk.play(faults.silence())
    with session().budget.limit("0.02") as limit:
        stream = session().pool.get_orchestrator("paid").stream("How many?")
        desk.wait(lambda: desk.requests)
        stream.cancel()
        assert stream.reply.status == "interrupted"
    assert limit.held == 0
    assert Decimal("0.0100") < limit.spent < Decimal("0.0101")


def test_when_the_notebook_has_a_budget_then_what_it_has_spent_counts(desk: Server) -> None:
    orchestrator = session().pool.get_orchestrator("paid")
    orchestrator.run_sync("How many?")
    session().set_budget("0.0125")
    orchestrator.run_sync("How many?")
    with pytest.raises(BudgetError, match=r"this notebook has USD 0\.0085 left of 0\.0125"):
        orchestrator.run_sync("How many?")
    session().set_budget(None)
    orchestrator.run_sync("How many?")
    assert len(desk.requests) == 3


@pytest.mark.parametrize("amount", ["lots", "-1", "nan", "inf", ""])
def test_when_an_amount_is_no_money_then_the_error_shows_one(amount: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 0\.50"):
        to_usd(amount)


def test_when_the_day_has_a_budget_then_other_kernels_count(
    tmp_path: Path, server: Server, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys
    monkeypatch.setenv("VICTOR_LEDGER", str(tmp_path / "rows.sqlite"))
    profiles(tmp_path, server)
    with (tmp_path / "profiles.yaml").open("a", encoding="utf-8") as file:
        file.write("budget: {day: 0.012}\n")
    from victor_nb import Session, Settings

    server.play(Answer(tokens=Tokens(input=10, output=200)))
    other = Session(Settings())
    other.pool.get_orchestrator("paid").run_sync("How many?")
    other.pool.get_orchestrator("paid").run_sync("How many?", max_tokens=100)
    other.close()
    here = Session(Settings())
    with pytest.raises(BudgetError, match=r"the day has USD 0\.0080 left of 0\.0120"):
        here.pool.get_orchestrator("paid").run_sync("How many?")
    here.close()


@pytest.mark.parametrize(
    ("prompt", "tokens_before", "tokens_after"),
    [
        ("an ordinary sentence of words " * 100, 3_000, 2_000),  # two thirds of a token a letter, at least one a word
        ("a b c d e f g h i j " * 100, 2_000, 1_000),
        ("x" * 3_000, 3_000, 2_000),
        ("aB3" * 500, 1_500, 1_500),  # as in base64, where real tokenizers find 0.77 tokens a byte
        ("0123456789" * 100, 1_000, 1_000),  # digits and other scripts are denser than prose
        ("日本語" * 100, 900, 900),
    ],
)
def test_when_a_model_has_a_history_then_only_prose_is_held_at_less_than_a_token_a_byte(
    desk: Server, prompt: str, tokens_before: int, tokens_after: int
) -> None:
    calibration = session().runtime.calibration
    request = ChatRequest("gpt-4o-mini", (Message("user", prompt),))
    calibration.load("gpt-4o-mini", "live")
    assert calibration.at_worst(request, "live") == 24 + tokens_before
    for _ in range(5):
        calibration.learn("gpt-4o-mini", "live", size=4_000, tokens=1_000)
    assert calibration.at_worst(request, "live") == pytest.approx(24 + tokens_after, abs=2 + tokens_after // 9)
    assert calibration.expected("gpt-4o-mini", "live", size=16_000) == 4_000


def test_when_a_models_texts_were_dense_then_so_is_the_worst_case(desk: Server) -> None:
    desk.play(Answer(tokens=Tokens(input=8_000, output=1)))
    calibration, prompt = session().runtime.calibration, "word " * 800
    with session().budget.limit("1"):
        for _ in range(5):
            session().pool.get_orchestrator("paid").run_sync(prompt)
    assert calibration.at_worst(ChatRequest("gpt-4o-mini", (Message("user", prompt),)), "live") == 24 + 10_000


async def test_when_fifty_ask_at_once_and_seven_fit_then_the_budget_holds_in_a_hundred_trials(desk: Server) -> None:
    random.seed(7)
    orchestrator = session().pool.get_orchestrator("paid")
    session().runtime.calibration.load("gpt-4o-mini", "live")
    prompt = "How many of them would fit?"
    worst = 24 + len(prompt)

    async def act(exchange: Exchange) -> None:
        tokens = Tokens(input=random.randint(1, 10), output=random.randint(0, MAX_TOKENS))
        await Answer(tokens=tokens)(exchange)

    desk.play(act)
    budget = 7 * (Decimal(worst) + 10 * MAX_TOKENS) / 1_000_000
    for _ in range(100):
        with session().budget.limit(budget) as limit:
            outcomes = await asyncio.gather(*(orchestrator.run(prompt) for _ in range(50)), return_exceptions=True)
        refused = [error for error in outcomes if isinstance(error, BudgetError)]
        spent = sum((reply.cost or 0 for reply in outcomes if not isinstance(reply, BaseException)), Decimal(0))
        assert len(refused) + sum(not isinstance(reply, BaseException) for reply in outcomes) == 50
        assert 50 - len(refused) >= 7
        assert all("the budget of this block has USD" in str(error) for error in refused)
        assert limit.spent == spent <= budget
        assert limit.held == 0
    assert {row["cost"] for row in rows() if row["status"] == "refused"} == {0}


def test_when_a_row_cannot_be_written_then_nothing_is_sent_and_nothing_stays_held(desk: Server) -> None:
    orchestrator = session().pool.get_orchestrator("paid")
    with session().budget.limit("0.02") as limit:
        orchestrator.run_sync("How many?")
        spent = limit.spent
        session().ledger.close()
        with pytest.raises(ClosedError):
            orchestrator.run_sync("How many?")
    assert (limit.spent, limit.held) == (spent, 0)
    assert len(desk.requests) == 1


@pytest.mark.parametrize("limit", ["notebook", "day", "by hand"])
@pytest.mark.parametrize("move", ["%cd {}", "import os; os.chdir('{}')", "%reload_ext victor_nb"])
def test_when_the_notebook_moves_or_loads_us_again_then_what_was_spent_stays_spent(
    desk: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: str, limit: str
) -> None:
    monkeypatch.setenv("VICTOR_LEDGER", str(tmp_path / "rows.sqlite"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (tmp_path, elsewhere):
        profiles(folder, desk)
        if limit != "by hand":
            with (folder / "profiles.yaml").open("a", encoding="utf-8") as file:
                file.write(f"budget: {{{limit}: 0.0135}}\n")
    shell = Shell()
    if limit == "by hand":
        shell.run("%victor budget 0.0135")
    for spent, folder in (("0.00201", elsewhere), ("0.00402", tmp_path)):  # there and back
        assert shell.run("%%victor profile=paid\nHow many?").error is None
        assert shell.run(move.format(folder)).error is None
        (state,) = session().budget.states()
        assert (state.amount, state.spent, state.held) == (Decimal("0.0135"), Decimal(spent), 0)
    refused = shell.fail("%%victor profile=paid\nHow many?")
    assert isinstance(refused, BudgetError)
    assert f"the budget of {'the day' if limit == 'day' else 'this notebook'} has USD 0.0095 left of 0.0135" in str(
        refused
    )
    assert len(desk.requests) == 2


def test_when_an_account_decides_on_the_tier_then_the_dearest_is_held_and_the_one_that_served_is_paid(
    desk: Server, tmp_path: Path
) -> None:
    profiles(tmp_path, desk, prices=None, params={"service_tier": "auto"})
    orchestrator = session().pool.get_orchestrator("paid")
    with session().budget.limit("0.00099"), pytest.raises(BudgetError, match=r"at worst USD 0\.0010"):
        orchestrator.run_sync("How many?")  # a thousand tokens of output at 1, as priority; 0.60 otherwise
    with session().budget.limit("0.0011") as limit:
        assert orchestrator.run_sync("How many?").cost == Decimal("0.0001215")
    assert limit.spent == Decimal("0.0001215")
