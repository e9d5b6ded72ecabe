"""Budgets that several processes spend under, by a server's own book: forked children, and kernels that are killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest
import yaml

from nursery import Nursery
from servers import OPENAI, Server
from trials import MAX_TOKENS, PRICES, TRIALS, WORST, Book, Tally
from victor_nb import Settings, session
from victor_nb.errors import BudgetError
from workbench import write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal
    from pathlib import Path

    from servers.exchange import Act, Exchange, Request

pytest_plugins = ["workbench_fixtures", "trials_fixtures"]


class Desk:
    """A profile at a server, and a ledger in a file that processes share."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server

    def write(self, **budget: Decimal) -> None:
        """Write profiles.yaml."""
        profile = {"provider": "openai", "model": "gpt-4o-mini", "base_url": OPENAI.base_url(self.server.url)}
        write_profiles(self.folder, paid={**profile, "retries": 0, "max_tokens": MAX_TOKENS, "prices": PRICES})
        with (self.folder / "profiles.yaml").open("a", encoding="utf-8") as file:
            file.write(yaml.safe_dump({"budget": {name: float(usd) for name, usd in budget.items()}}))
        session().runtime.use(Settings())


@pytest.fixture
def desk(tmp_path: Path, server: Server, keys: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return where a test writes its profile."""
    assert keys
    monkeypatch.setenv("VICTOR_LEDGER", str(tmp_path / "rows.sqlite"))
    return Desk(tmp_path, server)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Keep a warm process for all tests."""
    with Nursery() as running:
        yield running


async def ask(calls: int) -> None:
    """Ask at once, as far as the budget goes."""
    orchestrator = session().pool.get_orchestrator("paid")
    asked = (orchestrator.run("How many?") for _ in range(calls))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    wrong = [each for each in outcomes if isinstance(each, BaseException) and not isinstance(each, BudgetError)]
    assert not wrong, wrong


def work(calls: int) -> None:
    """Ask in a forked child."""
    asyncio.run(ask(calls))


@pytest.mark.parametrize("limit", ["notebook", "day"])
def test_when_forked_children_ask_at_once_then_no_budget_is_outspent(
    desk: Desk, server: Server, book: Book, tally: Tally, limit: str
) -> None:
    server.play(book.answer())
    fork, chance = multiprocessing.get_context("fork"), book.random
    desk.write(**{limit: WORST})
    for _ in range(TRIALS):
        fits, before, sent = chance.randint(2, 9), book.usd, book.sent
        amount = before + WORST * fits
        if limit == "notebook":
            session().set_budget(amount)
        else:
            desk.write(day=amount)
        if chance.random() < 0.5:
            asyncio.run(ask(1))  # so that the parent has claimed something already
        children = [fork.Process(target=work, args=(chance.randint(1, 5),)) for _ in range(chance.randint(1, 3))]
        for child in children:
            child.start()
        work(chance.randint(0, 4))
        for child in children:
            child.join(60)
        assert [child.exitcode for child in children] == [0] * len(children)
        tally.note(book.usd - before, WORST * fits, sent=book.sent - sent, possible=0)
        tally.possible += min(fits, book.sent - sent)
    assert book.usd <= amount


def fork_in_turn(children: int, target: Callable[[int], None]) -> None:
    """Let forked children ask for more than the budget holds, one after the other."""
    for _ in range(children):
        child = multiprocessing.get_context("fork").Process(target=target, args=(6,))
        child.start()
        child.join(60)
        assert child.exitcode == 0


def work_and_fork(calls: int) -> None:
    """Ask twice in a forked child, then let children of its own ask."""
    work(2)
    fork_in_turn(2, work)


@pytest.mark.parametrize("limit", ["notebook", "block"])
@pytest.mark.parametrize("target", [work, work_and_fork])
def test_when_a_parent_has_spent_and_asks_no_more_then_its_forked_children_have_what_is_left(
    desk: Desk, server: Server, book: Book, limit: str, target: Callable[[int], None]
) -> None:
    server.play(book.answer(least=MAX_TOKENS))
    amount = WORST * 8
    desk.write(**({"notebook": amount} if limit == "notebook" else {"day": amount * 100}))
    with session().budget.limit(amount) if limit == "block" else nullcontext():
        asyncio.run(ask(3))
        fork_in_turn(2, target)
    assert WORST * 6 < book.usd <= amount


@pytest.mark.parametrize("kernels", [2, 4])
def test_when_one_of_several_kernels_is_killed_then_the_day_s_budget_is_not_outspent(
    desk: Desk, server: Server, book: Book, tally: Tally, nursery: Nursery, kernels: int
) -> None:
    chance, running, fatal = book.random, list[int](), 0

    def kill_one(request: Request) -> Act:
        async def act(exchange: Exchange) -> None:
            if len(server.requests) >= fatal and running:
                with suppress(ProcessLookupError):
                    os.kill(running.pop(), signal.SIGKILL)
            await asyncio.sleep(chance.random() * 0.02)
            await answer(exchange)

        answer = book.answer()
        return act

    server.answer = kill_one
    while tally.killed < TRIALS and tally.trials < 3 * TRIALS:
        fits, before, sent = chance.randint(4, 16), book.usd, book.sent
        desk.write(day=WORST * fits)
        env = {name: value for name, value in os.environ.items() if name.endswith("_API_KEY") or name == "HOME"}
        env |= {"VICTOR_LEDGER": str(desk.folder / f"rows-{tally.trials}.sqlite"), "NO_PROXY": "*"}
        fatal = len(server.requests) + chance.randint(1, fits // 2)
        pids = nursery.start(kernels, folder=str(desk.folder), env=env, calls=40, at_once=chance.randint(1, 3))
        running[:] = [chance.choice(pids)]
        ended = nursery.wait()
        assert sorted(ended) in ([0] * kernels, [-signal.SIGKILL] + [0] * (kernels - 1))
        tally.note(book.usd - before, WORST * fits, sent=book.sent - sent, possible=fits)
        tally.killed += -signal.SIGKILL in ended
    assert tally.killed == TRIALS
    assert tally.sent >= 0.5 * tally.possible
