"""`dry=true`: what a cell would send and cost, compared with what it then does send and cost."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pytest

from cells import Shell, served, write
from servers import Answer, Server, faults
from servers.answers import Tokens
from victor_nb.errors import BudgetError, ConfigError
from victor_nb.kernel import session
from victor_nb.providers.spec import spec_of
from victor_nb.values import ChatRequest, Message
from workbench import rows

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

ANTHROPIC = {"provider": "anthropic", "model": "claude-sonnet-5-5"}
MINI = {"provider": "openai", "model": "gpt-4o-mini"}
FREE = {"provider": "ollama", "model": "qwen2.5-coder:7b"}


def fields(plain: str) -> dict[str, str]:
    """Read the frame of one profile."""
    return dict(re.findall(r"^(\w+) {2,}(.*)$", plain, re.MULTILINE))


def amounts(text: str) -> list[Decimal]:
    return [Decimal(each) for each in re.findall(r"USD ([\d.]+\d)", text)]


def test_when_a_run_is_dry_then_nothing_is_sent_and_the_cost_is_a_range(live: Shell, server: Server) -> None:
    live.run("x = 'X' * 4000")
    ran = live.run("%%victor --dry max_tokens=1000\nRead {{ x }}")
    told = fields(ran.plain)
    assert (told["input"], told["output"]) == ("about 1,001 tokens", "1,000 tokens at most")
    assert amounts(told["cost"]) == [Decimal("0.0002"), Decimal("0.0012")]
    assert told["inserted"] == "{{ x }}, 4,000 characters"
    assert "\n```text\nRead XXX" in ran.shown
    assert server.requests == []
    assert rows() == []


def test_when_it_is_asked_in_earnest_then_the_cost_lies_in_the_range(live: Shell, server: Server) -> None:
    least, most = amounts(fields(live.run("%%victor --dry max_tokens=1000\nHow many?").plain)["cost"])
    server.play(Answer(tokens=Tokens(input=10, output=1_000)))
    live.run("%%victor max_tokens=1000 out=reply\nHow many?")
    assert least <= round(live.names["reply"].cost, 4) <= most
    live.fail(f"%%victor max_tokens=1000 budget={most - Decimal('0.0001')}\nHow many times more than once?")


def test_when_a_model_has_answered_then_the_likely_cost_is_that_of_its_usual_answer(
    live: Shell, server: Server
) -> None:
    assert "likely" not in fields(live.run("%%victor --dry max_tokens=1000\nHi.").plain)
    for length, past in ((300, "as in its only answer so far"), (100, "the median of its last 2 answers")):
        server.play(Answer(tokens=Tokens(input=10, output=length)))
        live.run(f"%%victor max_tokens=1000 out=reply\nCount to {length}.")
        likely = fields(live.run(f"%%victor --dry max_tokens=1000\nCount to {length}.").plain)["likely"]
        assert likely.endswith(past)
        if length == 300:
            assert amounts(likely) == [round(live.names["reply"].cost, 4)]
    assert "for 200 tokens out" in likely
    assert "for 50 tokens out" in fields(live.run("%%victor --dry max_tokens=50\nHi.").plain)["likely"]
    assert ", likely USD 0.0" in live.run("%%victor profiles=fast,other n=3 --dry max_tokens=50\nHi.").plain


def test_when_nothing_limits_an_answer_then_it_is_said_with_what_a_budget_would_hold(live: Shell) -> None:
    told = fields(live.run("%%victor --dry\nHi.").plain)
    assert told["output"] == "no limit"
    assert re.search(r"USD \S+ and more: without max_tokens a budget holds USD 0\.0098", told["cost"])


def test_when_a_fan_out_is_dry_then_each_profile_is_priced_and_so_is_the_whole(live: Shell, server: Server) -> None:
    live.run("x = 'X' * 4000")
    shown = live.run("%%victor profiles=other,fast n=60 --dry max_tokens=1000\nRead {{ x }}").plain
    assert server.requests == []
    assert rows() == []
    ranges = re.findall(
        r"^(?:other|fast) .* 60 +about 1,0\d\d tokens +1,000 tokens at most +(.*)$", shown, re.MULTILINE
    )
    (whole,) = re.findall(r"^Dry run, nothing was sent: 120 calls, (.*) \(live\)", shown)
    for parts, told in zip(zip(*map(amounts, ranges), strict=True), amounts(whole), strict=True):
        assert sum(parts) == pytest.approx(told, rel=Decimal("0.02"))
    assert "system Be other." in shown
    assert "inserted: {{ x }}, 4,000 characters" in shown
    assert shown.endswith("XXX")


def test_when_part_of_a_dry_fan_out_has_no_limit_or_no_price_then_it_is_said_of_whom(
    live: Shell, tmp_path: Path
) -> None:
    unheard = {"provider": "openai", "model": "a-model-of-nobody", "max_tokens": 10}
    write(tmp_path, {"fast": MINI, "limited": ANTHROPIC, "unheard": unheard, "free": FREE})
    shown = live.run("%%victor profiles=fast,limited,unheard,free --dry\nHi.").plain
    assert "no limit for fast as max_tokens is not set, what unheard costs is unknown" in shown
    assert re.search(r"limited .* 8,192 tokens at most +USD \S+ to USD 0\.0\d+$", shown, re.MULTILINE)
    assert re.search(r"unheard .* unpriced$", shown, re.MULTILINE)
    assert re.search(r"free .* no limit +free$", shown, re.MULTILINE)
    shown = live.run("%%victor profiles=free,limited --dry\nHi.").plain
    assert re.match(r"Dry run, nothing was sent: 2 calls, USD \S+ to USD 0\.0\d+ \(live\)\.", shown)
    shown = live.run("%%victor profiles=unheard --dry\nHi.").plain
    assert fields(shown)["cost"] == "unpriced"


def test_when_a_temperature_would_be_left_out_then_it_is_said(live: Shell, server: Server, tmp_path: Path) -> None:
    write(tmp_path, {**served(server), "fast": {**served(server)["fast"], "temperature": 0.3}, "limited": ANTHROPIC})
    assert fields(live.run("%%victor limited temperature=0.5 --dry\nHi.").plain)["temperature"].startswith("0.5, left")
    assert fields(live.run("%%victor --dry\nHi.").plain)["temperature"] == "0.3"
    server.play(faults.status(400, faults.NO_TEMPERATURE), Answer())
    with pytest.warns(match="refuses temperature"):
        live.run("%%victor\nHi.")
    assert fields(live.run("%%victor --dry\nHi.").plain)["temperature"].startswith("0.3, left out")


def test_when_several_tiers_may_serve_then_the_range_is_that_of_all(live: Shell, tmp_path: Path) -> None:
    write(tmp_path, {"fast": {"provider": "openai", "model": "gpt-6-luna", "max_tokens": 1_000}})

    def told(tier: str) -> tuple[str, list[Decimal]]:
        found = fields(live.run(f"%%victor tier={tier} --dry\nHi.").plain)
        return found["tier"], amounts(found["cost"])

    (_, (least, some)), (_, (least_too, most)) = told("flex"), told("priority")
    assert (least < least_too, some < most) == (True, True)
    assert told("flex,priority") == ("flex, then priority", [least, most])
    assert told("priority,flex") == ("priority, then flex", [least, most])


def test_when_short_prompts_were_dense_then_the_range_of_a_long_one_is_none_the_less_one(
    live: Shell, server: Server
) -> None:
    server.play(Answer(tokens=Tokens(input=120, output=1)))
    live.run("%%victor budget=1 max_tokens=1\nHi.")
    least, most = amounts(fields(live.run(f"%%victor --dry max_tokens=1\n{'word ' * 1_000}").plain)["cost"])
    assert least <= most


def test_when_another_may_answer_or_the_money_may_not_do_then_it_is_said(live: Shell, tmp_path: Path) -> None:
    write(tmp_path, {"fast": {**MINI, "fallback": ["big"], "max_tokens": 1_000}, "big": ANTHROPIC})
    told = fields(live.run("%%victor --dry\nHi.").plain)
    assert told["fallback"] == "big if fast cannot, at prices not counted here"
    assert "budget" not in told
    told = fields(live.run("%%victor budget=0.0001 --dry\nHi.").plain)
    assert told["budget"].startswith("USD 0.0001 left for this cell, too little at worst")
    assert isinstance(live.fail("%%victor budget=0.0001\nHi."), BudgetError)
    session().set_budget("0.01")
    shown = live.run("%%victor profiles=fast,big --dry\nHi.").plain
    assert "fallback: big if fast cannot" in shown
    assert "budget: USD 0.0100 left for this notebook, too little at worst" in shown


def test_when_a_fan_out_would_be_refused_then_so_is_its_rehearsal(live: Shell) -> None:
    assert isinstance(live.fail("%%victor profiles=fast,fast --dry\nHi."), ConfigError)
    assert "exclude each other" in str(live.fail("%%victor strategy=funnel --dry\nHi."))


def test_when_a_notebook_rounds_its_decimals_then_the_sums_are_exact_all_the_same(live: Shell) -> None:
    cell = "%%victor profiles=fast,other n=7 --dry max_tokens=1234\nHi."
    usual = live.run(cell).plain
    with localcontext(prec=1):
        assert live.run(cell).plain == usual


@pytest.mark.parametrize(
    ("provider", "max_tokens", "params", "limit", "several"),
    [
        ("openai", None, {}, None, 1),
        ("openai", 100, {"n": 5}, 100, 5),
        ("openai", None, {"max_tokens": 7}, 7, 1),
        ("anthropic", None, {}, 8192, 1),
        ("anthropic", 100, {"max_tokens": 5_000}, 5_000, 1),
        ("anthropic", 100, {"max_tokens": 50, "n": 3}, 50, 1),
        ("google", 100, {"maxOutputTokens": 5_000}, 5_000, 1),
        ("google", 100, {"generationConfig": {"maxOutputTokens": 50, "candidateCount": 2}}, 50, 2),
        ("google", 100, {"generationConfig": "odd"}, 100, 1),
        ("ollama", 100, {"options": {"num_predict": 7}}, 100, 1),
        ("ollama", None, {"options": {"num_predict": 7}}, 7, 1),
        ("ollama", None, {"num_predict": -1}, None, 1),
        ("openai", 100, {"max_completion_tokens": None}, None, 1),
        ("openai", 100, {"max_tokens": "50", "extra": {"maxOutputTokens": None}}, None, 1),
        ("openai", 100, {"n_predict": -1}, None, 1),
        ("openai", 100, {"metadata": {"max_completion_tokens": 50}}, 100, 1),
        ("openai", None, {"reasoning": {"max_tokens": 50}}, None, 1),
        ("openai", None, {"max_tokens": "5_000.0", "n": "3"}, 5_000, 3),
        ("google", 100, {"max_output_tokens": 5e3}, 5_000, 1),
    ],
)
def test_when_params_limit_an_answer_then_they_go_before_max_tokens_as_they_do_when_sent(
    provider: str, max_tokens: int | None, params: dict[str, Any], limit: int | None, several: int
) -> None:
    request = ChatRequest(model="m", messages=(Message("user", "x"),), max_tokens=max_tokens, params=params)
    spec = spec_of(provider)
    assert (spec.max_output(request), spec.answers(request)) == (limit, several)
