"""The ledger as a widget: what was spent, when anything is sent, what is saved, and what is hostile."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from ledger_rows import NOON, row, running
from victor_nb.accounting.budget import Hold
from victor_nb.kernel import reset, session
from victor_nb.money import usd
from victor_nb.notebook.widgets.ledger_page import SpendingReader
from victor_nb.notebook.widgets.throttle import throttle
from widget_pages import HOSTILE, assert_inert, click, lines, profiles, seen, text_of, until, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from cells import Shell
    from victor_nb.notebook.widgets.ledger_view import LedgerView

pytest_plugins = ["widget_fixtures"]


# --- what was spent ---


def test_when_calls_have_a_price_then_what_was_spent_is_told_and_what_is_not_known(
    view: Callable[..., LedgerView],
) -> None:
    write(
        row("a", cost=Decimal("0.25"), billed=Decimal("0.25")),
        row("b", cost=None, billed=None),
        row("c", status="error", cost=Decimal(0), billed=Decimal(0)),
        row("c", attempt=2, cost=Decimal("0.125"), billed=Decimal("0.125")),
        running("d"),
    )
    page = view()
    text = seen(page)
    money = ">= USD 0.3750 (1 unpriced)"
    for said in (f"{money} paid", "4 in 5 attempts calls", "1 failed", "1 under way"):
        assert said in text
    assert "simulated" not in text
    assert f"paid: {money} · calls: 4 in 5 attempts" in page.fallback().plain


def test_when_calls_are_simulated_then_it_says_so_and_that_nothing_was_billed(
    notebook: Shell, view: Callable[..., LedgerView]
) -> None:
    notebook.run("%%victor fast out=answer\nSay hello.")
    page = view()
    (line,) = lines(page)
    assert line.endswith("simulated")
    cost = usd(notebook.names["answer"].cost)
    assert f"USD 0.0000 paid {cost} simulated at list prices" in seen(page)
    assert f"paid: USD 0.0000 · simulated at list prices: {cost} · calls: 1" in page.fallback().plain


async def spend(usd: Decimal, over: asyncio.Event | None = None) -> None:
    """Hold an amount as a call does, for as long as the call takes, and spend all of it."""
    budget = session().budget
    hold = await budget.hold(Hold(budget.applying(), "live", lambda: usd), "fast")
    try:
        if over is not None:
            await over.wait()
    finally:
        budget.settle(hold, usd)


def test_when_there_are_budgets_then_what_is_left_of_each_is_told(view: Callable[..., LedgerView]) -> None:
    asyncio.run(session().runtime.loop.call(partial(spend, Decimal("0.45"))))
    session().set_budget("0.50")
    page = view()
    said = "Budget of this notebook: USD 0.4500 spent, USD 0.0500 left of USD 0.5000"
    assert said in seen(page)
    assert "victor-bar-high" in page._money.value
    assert re.search(r"this notebook +USD 0\.5000 +USD 0\.4500 +USD 0\.0000 +USD 0\.0500 +90 %", page.fallback().plain)
    session().set_budget("4.50")
    until(lambda: "USD 4.0500 left of USD 4.5000" in seen(page))
    assert "victor-bar-high" not in page._money.value
    over = asyncio.Event()
    job = session().runtime.loop.start(partial(spend, Decimal(1), over))
    until(lambda: "USD 1.0000 held for calls under way, USD 3.0500 left" in seen(page))
    job.cancel()


def test_when_a_budget_is_nothing_or_spent_then_it_is_told(view: Callable[..., LedgerView]) -> None:
    asyncio.run(session().runtime.loop.call(partial(spend, Decimal(2))))
    session().set_budget("0")
    page = view()
    assert "USD 2.0000 spent, USD 0.0000 left of USD 0.0000" in seen(page)
    assert "100 %" in page.fallback().plain


def test_when_sums_take_long_then_they_are_read_seldom() -> None:
    clock = count(0, 0.1)  # each look at it is a tenth of a second later
    reader = SpendingReader(session(), clock=lambda: next(clock))
    assert reader.read().books["paid"].calls == 0  # from 0.0 to 0.1: not again before 2.1
    write(row("a"))
    reads = [reader.read().books["paid"].calls for _ in range(25)]
    assert reads == sorted(reads)
    assert 18 <= reads.count(0) <= 21
    assert reads[-1] == 1


# --- life ---


def test_when_it_is_paused_then_the_rows_stay_until_it_goes_on(view: Callable[..., LedgerView]) -> None:
    write(row("a"))
    page, other = view(), view()
    page._pause.click()
    assert page.paused
    assert throttle().wait_idle()
    assert page._pause.description == "Go on"
    write(row("b", profile="local", ts=NOON + timedelta(minutes=1)))
    until(lambda: profiles(other) == ["local", "fast"])
    assert profiles(page) == ["fast"]
    page.sort = "cost"  # what is held can be looked at in other ways
    assert "1 attempt, most expensive first · paused" in seen(page)
    page._pause.click()
    assert "local" in profiles(page)


def test_when_thousands_of_calls_run_then_the_rows_are_sent_twice_a_second_at_most(
    view: Callable[..., LedgerView],
) -> None:
    page = view()
    assert throttle().wait_idle()
    times: list[float] = []
    page._list.observe(lambda _: times.append(time.monotonic()), "_options_labels")
    end = threading.Event()

    def flood() -> None:
        for number in count():
            if end.is_set():
                return
            session().ledger.finish(row(str(number), ts=datetime.now(UTC)))
            time.sleep(0.0005)

    flooding = threading.Thread(target=flood)
    began = time.monotonic()
    flooding.start()
    until(lambda: len(times) >= 5)
    taken = time.monotonic() - began
    end.set()
    flooding.join()
    assert len(times) <= 2 * taken + 2
    last = session().ledger.rows(last=1)[0]
    until(lambda: page._shown[0] == last)


def test_when_nothing_happens_then_nothing_is_sent(view: Callable[..., LedgerView]) -> None:
    write(row("a"), row("b", status="error", error="x"))
    page = view()
    click(page, 0)
    assert throttle().wait_idle()
    changes: list[Any] = []
    for part in (page._list, page._head, page._money, page._detail, page._code):
        part.observe(changes.append)
    looks: list[float] = []
    stop = throttle().poll(lambda: looks.append(time.monotonic()), every=0.5)
    until(lambda: len(looks) >= 4)  # the view has looked as often
    stop()
    assert throttle().wait_idle()
    assert changes == []


def test_when_the_session_ends_then_the_rows_stay_and_it_says_so(view: Callable[..., LedgerView]) -> None:
    write(row("a"))
    page = view()
    assert lines(page)
    reset()
    until(lambda: "This session has ended" in seen(page))
    page.sort = "cost"
    assert len(lines(page)) == 1
    assert page.fallback().plain


# --- the fallback ---


def test_when_it_is_saved_then_its_fallback_has_the_first_rows_and_their_errors(
    notebook: Shell, view: Callable[..., LedgerView]
) -> None:
    write(*(row(str(number), profile=f"p{number}") for number in range(24)))
    write(row("bad", status="error", error_type="ServerError", error="It broke.", ts=NOON + timedelta(minutes=9)))
    page = view(sort="failed")
    notebook.names["view"] = page
    (frame,) = notebook.run("view").frames
    html, plain = frame["text/html"], frame["text/plain"]
    assert html.count("<tr>") == 21
    assert html.count("<details>") == 1
    assert "ServerError: It broke." in text_of(html)
    assert "The last 25 attempts, failed first; the first 20" in text_of(html)
    assert "ServerError: It broke." in plain
    assert 'LedgerView(sort="failed")\nsession().ledger.to_frame()' in plain
    assert "p23" in plain
    assert "p4 " not in plain


def test_when_calls_come_then_the_fallback_follows(view: Callable[..., LedgerView]) -> None:
    found = view()
    write(row("a", profile="premium"))
    until(lambda: "premium" in found.fallback().plain)


# --- hostile texts ---


def test_when_names_and_errors_are_hostile_then_they_are_inert_everywhere(view: Callable[..., LedgerView]) -> None:
    hostile = HOSTILE + "\u200f\u061c" + "e\u0301" + "Z\u0351\u0352\u0353\nnew line\ttab " + "x" * 100_000
    write(
        row(
            "a",
            model=hostile,
            model_served=hostile,
            stage=hostile,
            strategy=hostile,
            status="error",
            error_type=hostile,
            error=hostile,
            tags={hostile: hostile},
            prompt=hostile,
            answer=hostile,
        ),
        row("b", profile=hostile, model=hostile),
    )
    page = view(filter="script")
    click(page, 1)
    assert throttle().wait_idle()
    for part in (page._head, page._money, page._detail, page._code):
        assert_inert(part.value)
    assert_inert(page.fallback().html)
    for line in page._list.lines:
        assert len(line) < 250
        assert not re.search(r"[\x00-\x1f\x7f\u0300-\u036f\u061c\u200e-\u200f\u202a-\u202e]", line)
    assert not re.search("[\x1b\u202e]", page.fallback().plain)
