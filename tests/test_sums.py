"""One sum of money, in every place where it is shown."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pytest

from cells import MARKDOWN, Shell, write
from ledger_rows import row, running
from servers import Answer, Server, Tokens, faults
from victor_nb.kernel import session
from victor_nb.notebook.widgets.ledger_page import SpendingReader
from victor_nb.reports import frames

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["cells_fixtures", "workbench_fixtures"]

MINI: Final = {"provider": "openai", "model": "gpt-4o-mini"}
NOTHING: Final = {"input_tokens": None, "output_tokens": None, "usage_source": None}
ZERO: Final = {"cost": Decimal(0), "billed": Decimal(0)}
UNKNOWN: Final = {"cost": None, "billed": None}


def price(amount: str) -> dict[str, Decimal]:
    return {"cost": Decimal(amount), "billed": Decimal(amount)}


def spend() -> None:
    """Write what a kernel may have done: paid, free, lost, turned away, refused, under way, and simulated."""
    ledger = session().ledger
    for done in (
        row("a", **price("0.00125")),
        row("b", profile="premium", **price("0.00145")),
        row("c", profile="premium", status="error", **UNKNOWN, **NOTHING),
        row("d", profile="local", provider="ollama", cost_source="local", **ZERO),
        row("e", status="error", http_status=429, **ZERO, **NOTHING),
        row("e", attempt=2, **price("0.001")),
        row("f", profile="premium", status="refused", **ZERO, **NOTHING),
        row("g", profile="lost", status="error", **UNKNOWN, **NOTHING),
        row("h", mode="simulate", cost=Decimal("0.5"), billed=Decimal(0)),
        row("i", mode="replay", cost=Decimal("0.25"), billed=Decimal(0)),
    ):
        ledger.finish(done)
    ledger.start(running("j"))


SPENT: Final = ">= USD 0.0037 (2 unpriced)"


def test_when_money_was_spent_in_all_ways_then_each_view_says_the_same(live: Shell) -> None:
    spend()
    books = session().ledger.books()
    assert {name: str(total.ended) for name, total in books.items()} == {
        "paid": SPENT,
        "replayed": "USD 0.2500",
        "simulated": "USD 0.5000",
    }
    figures = dict(SpendingReader(session()).read().figures)
    assert figures == {
        "paid": SPENT,
        "replayed at list prices": "USD 0.2500",
        "simulated at list prices": "USD 0.5000",
        "calls": "9 in 10 attempts",
        "under way": "1",
        "failed": "3",
        "refused": "1",
    }
    status = live.run("%victor status").plain
    counts = "7 calls in 8 attempts, 1 under way, 3 failed, 1 refused"
    assert re.search(rf"spent here +{re.escape(SPENT)}, {counts}$", status, re.MULTILINE)
    assert re.search(r"simulated, at list prices, not paid +USD 0\.5000, 1 call$", status, re.MULTILINE)
    cost = live.run("%victor cost").plain
    paid = cost.partition("\n\nReplayed, at list prices; nothing of it was paid:")[0]
    assert paid.endswith("Paid: >= USD 0.0037 (2 unpriced). 1 refused before it was sent; 1 under way.")
    frame = session().ledger.to_frame()
    ended = frame[frame["mode"].eq("live") & frame["status"].ne("running")]
    assert SPENT in frames.styled(frames.summary(ended, by=[])).plain()


def test_when_costs_are_listed_then_the_amounts_are_to_the_right_and_add_up_as_they_are_written(live: Shell) -> None:
    spend()
    lines = live.run("%victor cost").plain.split("\n\n")[0].splitlines()
    assert len({len(line) for line in lines}) == 1, "every line ends where the amounts do"
    cells = {line.split()[0]: re.split(r" {2,}", line) for line in lines[1:]}
    assert cells["fast"][1:] == ["3", "4", "200", "40", "USD 0.00225"]
    assert cells["premium"][1:] == ["2", "2", "100", "20", ">= USD 0.00145 (1 unpriced)"]
    assert cells["local"][-1] == "free"
    assert cells["lost"][-1] == "unpriced"
    assert cells["total"][1:] == ["7", "8", "400", "80", ">= USD 0.00370 (2 unpriced)"]
    markdown = live.run("%victor cost").frames[-1][MARKDOWN]
    assert "| profile | calls | attempts | tokens in | tokens out | list price |\n| --- | ---: | ---: |" in markdown


def test_when_all_was_refused_then_nothing_was_called(live: Shell) -> None:
    session().ledger.finish(row("a", status="refused", **ZERO, **NOTHING))
    assert "spent here  USD 0.0000, 0 calls, 1 refused" in re.sub(" {3,}", "  ", live.run("%victor status").plain)
    table = frames.summary(session().ledger.to_frame())
    assert (table["calls"].tolist(), table["attempts"].tolist()) == ([0], [0])


def test_when_the_ledger_is_listed_then_free_and_unpriced_are_words(live: Shell) -> None:
    spend()
    lines = live.run("%victor ledger 20").plain.splitlines()
    prices = [re.findall(r"(USD [\d.]+|unpriced|free)", line)[-1:] for line in lines if re.match(r"\d\d:", line)]
    wanted = ["0.0013", "0.0014", "", "free", "0.0000", "0.0010", "0.0000", "", "0.5000", "0.2500", ""]
    found = [text for (text,) in prices]
    assert found.count("free") == 1
    assert found.count("unpriced") == 3
    assert len(found) == len(wanted)


# --- caches and reasoning ---

CACHED: Final = {"model": "claude-sonnet-4-5", "provider": "anthropic", "profile": "clever"}


def test_when_a_cache_was_used_then_what_it_saved_is_told_and_negative_where_nothing_was_read(live: Shell) -> None:
    ledger = session().ledger
    ledger.finish(row("a", input_tokens=10_000, cache_read_tokens=10_000, **CACHED, **price("0.003")))
    ledger.finish(row("b", **{**CACHED, "profile": "vain"}, input_tokens=1_000, cache_write_tokens=1_000))
    hourly = {"cache_write_tokens": 1_000, "cache_write_1h_tokens": 1_000}
    ledger.finish(row("c", **{**CACHED, "profile": "vain"}, input_tokens=1_000, **hourly))
    ledger.finish(row("d", output_tokens=200, reasoning_tokens=150))
    shown = live.run("%victor cost").plain
    cells = {line.split()[0]: re.split(r" {2,}", line) for line in shown.splitlines() if "USD" in line}
    place = re.split(r" {2,}", shown.splitlines()[0]).index("cache saved")
    # Reads cost 0.30 instead of 3 a million; writes 3.75 for five minutes, 6 for an hour.
    assert cells["clever"][place] == "USD 0.0270"
    assert cells["vain"][place] == "USD -0.0038"
    assert cells["fast"][place] == "USD 0.0000"
    assert cells["total"][place] == "USD 0.0232"
    assert cells["fast"][place - 1] == "75 %"
    summary = frames.summary(ledger.to_frame())
    assert summary["cache_saved"].round(9).to_dict() == {"clever": 0.027, "vain": -0.00375, "fast": 0.0}
    assert summary["reasoning_share"].round(9).to_dict() == {"clever": 0.0, "vain": 0.0, "fast": 0.75}


def test_when_the_price_of_a_cache_is_unknown_then_so_is_what_it_saved(live: Shell) -> None:
    session().ledger.finish(row("a", model="nobody-7b", profile="x", cache_read_tokens=50, **UNKNOWN))
    assert re.search(r"^x .* USD 0\.0000 \(1 unpriced\) +unpriced$", live.run("%victor cost").plain, re.MULTILINE)
    assert frames.summary(session().ledger.to_frame())["cache_saved"].isna().tolist() == [True]


# --- bills ---


def test_when_a_model_is_free_then_its_bill_says_so(live: Shell, server: Server, tmp_path: Path) -> None:
    local = {"provider": "ollama", "model": "llama3.2", "base_url": server.url}
    write(tmp_path, {"local": local, "fast": {**MINI, "base_url": f"{server.url}/v1", "retries": 0}})
    server.play(Answer())
    assert " tok · free · " in live.run("%%victor local\nHi.").plain
    server.play(Answer(quirks=frozenset({"no_usage"})))
    assert " tok · unpriced · " in live.run("%%victor fast\nHi.").plain
    shown = live.run("%victor cost").plain
    assert re.search(r"^local .* free$", shown, re.MULTILINE)
    assert re.search(r"^fast .* unpriced$", shown, re.MULTILINE)


def test_when_one_of_a_fan_out_fails_at_a_cost_then_its_bill_has_it(
    live: Shell, server: Server, tmp_path: Path
) -> None:
    profile = {**MINI, "base_url": f"{server.url}/v1", "retries": 0}
    write(tmp_path, {"fast": profile, "two": profile, "three": profile})
    withheld = Answer(pieces=(), finish="content_filter", tokens=Tokens(input=10_000, output=1))
    server.play(Answer(tokens=Tokens(input=10_000, output=1)), withheld, faults.hang_up())
    shown = live.run("%%victor profiles=fast,two,three\nHi.").plain
    assert sum(each.cost or 0 for each in session().ledger.rows()) == Decimal("0.0030012")
    assert " · >= USD 0.0030 (1 unpriced) · " in shown
    assert re.search(r"^two failed: .* · USD 0\.0015$", shown, re.MULTILINE)
    assert re.search(r"^three failed: .* · unpriced$", shown, re.MULTILINE)


@pytest.mark.parametrize("by", ["profile", "mode", "day"])
def test_when_calls_were_simulated_then_they_are_never_called_paid(shell: Shell, by: str) -> None:
    shell.run("%%victor\nSay hello.")
    shown = shell.run(f"%victor cost by={by}").plain
    assert shown.startswith("Simulated, at list prices; nothing of it was paid:")
    assert "Paid" not in shown
