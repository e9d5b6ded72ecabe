"""Budgets against an independent server that keeps its own book: never above a limit, whatever goes wrong."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import re
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from servers import OPENAI, Dialect, Server, faults
from servers.answers import Answer, Tokens
from trials import IN, MAX_TOKENS, OUT, PRICES, TRIALS, WORST, Book, Tally, spend_all
from victor_nb import Session, Settings, session
from victor_nb.errors import BudgetError, VictorError
from workbench import write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.exchange import Act, Request

pytest_plugins = ["workbench_fixtures", "trials_fixtures"]


@pytest.fixture
def paid(tmp_path: Path, server: Server, keys: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what writes profiles.yaml, with a ledger in a file, so that kernels can share limits."""
    assert keys
    monkeypatch.setenv("VICTOR_LEDGER", str(tmp_path / "rows.sqlite"))

    def write(budget: object = None, **more: object) -> None:
        profile = {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "base_url": OPENAI.base_url(server.url),
            "retries": 0,
            "max_tokens": MAX_TOKENS,
            "prices": PRICES,
        }
        write_profiles(tmp_path, paid={**profile, **more})
        if budget is not None:
            with (tmp_path / "profiles.yaml").open("a", encoding="utf-8") as file:
                file.write(yaml.safe_dump({"budget": budget}))
            session().runtime.use(Settings())

    write()
    return write


async def ask_all(calls: int, prompt: str = "How many of them would fit?", **options: Any) -> int:
    """Ask at once, and return how many calls got as far as the server's answer or its loss."""
    orchestrator = session().pool.get_orchestrator("paid")
    asked = (orchestrator.run(prompt, **options) for _ in range(calls))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    wrong = [each for each in outcomes if isinstance(each, BaseException) and not isinstance(each, VictorError)]
    assert not wrong, wrong
    return sum(not isinstance(each, BudgetError) for each in outcomes)


async def test_when_fifty_calls_meet_a_budget_for_seven_then_at_least_six_are_sent(
    paid: object, server: Server, book: Book
) -> None:
    server.play(book.answer(least=MAX_TOKENS))
    for prompt in ("How many of them would fit?", "an ordinary sentence of words " * 100):
        size, before, sent = len(prompt), book.usd, book.sent
        budget = 7 * (size * IN + MAX_TOKENS * OUT) / 1_000_000
        with session().budget.limit(budget):
            await ask_all(50, prompt)
        assert book.usd - before <= budget
        assert book.sent - sent >= 6


async def test_when_answers_are_lost_and_asked_for_again_then_no_budget_is_outspent(
    paid: Callable[..., None], server: Server, book: Book, tally: Tally
) -> None:
    paid(retries=2, timeout={"total": 30, "read": 0.5})
    kinds = [book.answer(), book.lost(faults.hang_up()), book.lost(faults.silence()), faults.status(500)]
    kinds.append(book.lost(faults.cut_plain(Answer())))
    server.answer = lambda request: book.random.choice(kinds)

    async def trial(number: int) -> None:
        prompt, budget = f"trial {number:03}: how many?", WORST * book.random.randint(1, 5)
        with session().budget.limit(budget) as limit:  # each in a task of its own, which keeps its own limits
            await ask_all(4, prompt)
        tally.note(book.by_prompt[prompt], budget)
        assert book.by_prompt[prompt] <= limit.spent
        assert limit.held == 0

    await asyncio.gather(*map(trial, range(TRIALS)))


def test_when_an_answer_is_lost_then_it_is_unpriced_and_counts_at_its_worst(
    paid: object, server: Server, book: Book
) -> None:
    server.play(book.lost(faults.hang_up()))
    with session().budget.limit("0.05") as limit, pytest.raises(VictorError):
        session().pool.get_orchestrator("paid").run_sync("How many?")
    (row,) = session().ledger.rows()
    assert (row.cost, row.billed, row.cost_source) == (None, None, "unknown")
    assert row.held == limit.spent >= book.usd > 0


async def test_when_a_limit_is_moved_in_mid_run_then_what_was_spent_stays_spent(
    paid: object, server: Server, book: Book, tally: Tally
) -> None:
    server.play(book.answer())
    spent = Decimal(0)
    for _ in range(TRIALS):
        low = spent + WORST * book.random.randint(1, 4)
        session().set_budget(None if book.random.random() < 0.3 else low * 2)
        first = asyncio.create_task(ask_all(2))
        await asyncio.sleep(book.random.random() * 0.01)
        session().set_budget(low)
        under_way = book.usd + 2 * WORST
        await ask_all(6)
        await first
        tally.note(book.usd - spent, max(low, under_way) - spent)
        spent = book.usd
    assert session().budget.states()[0].spent == book.usd


async def test_when_profiles_are_saved_in_mid_run_then_the_notebook_s_budget_holds(
    paid: Callable[..., None], server: Server, book: Book, tally: Tally
) -> None:
    server.play(book.answer())
    total = WORST * TRIALS / 2
    for trial in range(TRIALS):
        paid({"notebook": float(total)}, retries=trial % 3)
        session().runtime.refresh()
        await ask_all(2)
        tally.note(book.usd, total)
    assert book.usd > total - 2 * WORST


def test_when_threads_ask_in_a_block_then_they_are_held_to_it(
    paid: object, server: Server, book: Book, tally: Tally
) -> None:
    server.play(book.answer())

    def ask(_: int) -> None:
        with suppress(BudgetError):
            session().pool.get_orchestrator("paid").run_sync("How many?")

    with ThreadPoolExecutor(4) as pool:
        for _ in range(TRIALS):
            before, sent, fits = book.usd, book.sent, book.random.randint(1, 3)
            with session().budget.limit(WORST * fits):
                list(pool.map(ask, range(6)))
            tally.note(book.usd - before, WORST * fits, sent=book.sent - sent, possible=fits)


async def test_when_a_task_has_no_block_then_another_task_s_block_is_not_its_own(
    paid: object, server: Server, book: Book
) -> None:
    server.play(book.answer())
    opened, asked = asyncio.Event(), asyncio.Event()

    async def other() -> int:
        await opened.wait()
        sent = await ask_all(1)
        asked.set()
        return sent

    task = asyncio.create_task(other())
    with session().budget.limit("0.000001"):
        opened.set()
        await asked.wait()
        assert await ask_all(1) == 0
    assert await task == 1


# --- several kernels ---


@pytest.mark.parametrize("kernels", [2, 4])
async def test_when_kernels_share_a_day_s_budget_then_together_they_do_not_outspend_it(
    paid: Callable[..., None], server: Server, book: Book, tally: Tally, kernels: int
) -> None:
    server.play(book.answer())
    total = WORST * 8
    paid({"day": float(total)})
    sessions = [Session(Settings()) for _ in range(kernels)]

    async def ask(session: Session, prompt: str) -> None:
        with suppress(BudgetError):
            await session.pool.get_orchestrator("paid").run(prompt)

    for day in range(TRIALS):
        for each in sessions:
            each.runtime.budget._clock = lambda day=day: time.time() + 86_400 * day
        prompt, sent = f"day {day:04}: how many?", book.sent
        await asyncio.gather(*(ask(each, prompt) for each in sessions for _ in range(6)))
        tally.note(book.by_prompt[prompt], total, sent=book.sent - sent, possible=8)
    assert book.sent >= 8 * TRIALS
    for each in sessions:
        each.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_when_workers_ask_then_they_spend_under_the_notebook_s_budget(
    paid: Callable[..., None], server: Server, book: Book, method: str
) -> None:
    server.play(book.answer())
    session().set_budget(WORST * 10)
    session().pool.get_orchestrator("paid").run_sync("How many?")
    with multiprocessing.get_context(method).Pool(2) as pool:
        counts = pool.map_async(spend_all, range(2)).get(120)
    assert sum(counts) + 1 == book.sent
    with suppress(BudgetError):
        session().pool.get_orchestrator("paid").run_sync("How many?")
    assert WORST * 8 < book.usd <= WORST * 10


async def test_when_a_kernel_is_idle_while_it_claims_more_then_another_cannot_use_its_part(
    paid: Callable[..., None], server: Server, book: Book, tmp_path: Path
) -> None:
    server.play(book.answer(least=MAX_TOKENS))
    session().set_budget(WORST * 4)
    assert await ask_all(1) == 1
    given, budget, other = session().runtime.by_hand, session().runtime.budget, Session(Settings())

    async def idle() -> None:
        budget._on_idle()

    with closing(sqlite3.connect(tmp_path / "rows.sqlite", isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")  # so that the claim has to wait
        second = asyncio.create_task(ask_all(1))
        while not budget._claiming.locked():  # noqa: ASYNC110 - nothing sets an event for it
            await asyncio.sleep(0.001)
        await session().runtime.loop.call(idle)
        file.execute("COMMIT")
    assert await second == 1
    other.runtime.by_hand = given
    asked = other.pool.get_orchestrator("paid")
    outcomes = await asyncio.gather(*(asked.run("How many?") for _ in range(4)), return_exceptions=True)
    refused = sum(isinstance(each, BudgetError) for each in outcomes)
    assert refused in (2, 3)  # one fits beside what is claimed, two beside what is spent
    assert WORST * 2 < book.usd <= WORST * 4
    other.close()


async def test_when_a_kernel_has_no_budget_then_its_rows_count_for_one_that_has(
    paid: Callable[..., None], server: Server, book: Book
) -> None:
    server.play(book.answer(least=MAX_TOKENS))
    for _ in range(3):
        await ask_all(1)
    session().ledger.flush()
    paid({"day": float(WORST * 4)})
    other = Session(Settings())
    assert other.runtime.budget.states()[0].spent == book.usd
    await other.pool.get_orchestrator("paid").run("How many?")
    with pytest.raises(BudgetError, match="the budget of the day"):
        await other.pool.get_orchestrator("paid").run("How many?")
    other.close()


async def test_when_the_day_ends_then_its_budget_renews_in_a_kernel_that_lives_on(
    paid: Callable[..., None], server: Server, book: Book
) -> None:
    server.play(book.answer(least=MAX_TOKENS))
    paid({"day": float(WORST * 2)})
    assert await ask_all(4) < 4
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    session().runtime.budget._clock = lambda: midnight.timestamp() - 1
    assert await ask_all(1) == 0
    session().runtime.budget._clock = midnight.timestamp
    assert await ask_all(1) == 1


# --- what is written down ---

RATES: Final = {"input": 3, "output": 15, "cache_read": 1, "cache_write": 4}


@pytest.mark.parametrize("streamed", [False, True])
async def test_when_calls_go_well_or_wrong_then_each_row_says_what_the_server_s_book_says(
    dialect: Dialect, server: Server, keys: str, tmp_path: Path, *, streamed: bool
) -> None:
    assert keys
    chance, truth, lost = random.Random(repr(dialect)), dict[str, Tokens](), Counter[str]()
    profile = {"provider": dialect.name, "model": dialect.model, "base_url": dialect.base_url(server.url)}
    limits = {"max_tokens": MAX_TOKENS, "retries": 2, "timeout": {"total": 60, "read": 5}, "concurrency": 25}
    write_profiles(tmp_path, desk={**profile, **limits, "prices": RATES})
    session().set_budget(1_000)

    def plan(request: Request) -> Act:
        (prompt,) = re.findall(r"call \d+", request.body.decode())
        tokens = Tokens(input=chance.randint(1, 900), output=chance.randint(1, MAX_TOKENS))
        if dialect.name in {"anthropic", "openai"}:
            tokens = replace(tokens, cache_read=tokens.input // 3)
        answer = Answer(tokens=tokens, delay=chance.choice((0, 0, 0.01)))
        kind = chance.choice(("whole", "whole", "whole", "refused", "hung up", "cut"))
        if kind == "refused":
            return faults.status(500)
        if kind == "hung up":
            lost[prompt] += 1
            return faults.hang_up()
        if kind == "cut":
            lost[prompt] += 1
            return faults.cut(answer, 2, "reset") if streamed else faults.cut_plain(answer)
        truth[prompt] = tokens
        return answer

    server.answer = plan
    orchestrator = session().pool.get_orchestrator("desk")

    async def ask(number: int) -> None:
        prompt = f"call {number}"
        with suppress(VictorError):
            if streamed:
                async for _ in orchestrator.stream(prompt, tags={"prompt": prompt}):
                    pass
            else:
                await orchestrator.run(prompt, tags={"prompt": prompt})

    await asyncio.gather(*map(ask, range(125)))
    rows = session().ledger.rows()
    whole = {row.tags["prompt"]: row for row in rows if row.status == "ok"}
    assert whole.keys() == truth.keys()
    for prompt, tokens in truth.items():
        row = whole[prompt]
        assert (row.input_tokens, row.output_tokens) == (tokens.input, tokens.output)
        plain = (tokens.input - tokens.cache_read) * 3 + tokens.cache_read + tokens.output * 15
        assert row.cost == row.billed == Decimal(plain) / 1_000_000
    unpriced = Counter(row.tags["prompt"] for row in rows if row.cost is None)
    assert unpriced == lost
    assert all(row.http_status == 500 for row in rows if row.cost == 0)
    spent = session().budget.states()[0].spent
    assert spent == sum(row.held if row.cost is None else row.cost for row in rows if row.held is not None)
