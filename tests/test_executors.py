"""Maps on a dask cluster: workers ask, this process keeps answers, rows and budget; a worker may die at any time."""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.bag
import dask.config
import distributed
import pandas as pd
import pydantic
import pytest
from distributed.utils import get_mp_context

from servers import Answer, Server, Tokens, faults
from trials import PRICES, price
from victor_nb import session
from victor_nb.errors import ConfigError, MapError, VictorInterrupted
from victor_nb.workflows import journal
from workbench import CANARY, write_profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from distributed import Client

    from servers.exchange import Act, Exchange, Request
    from victor_nb import SimulatedQuestion
    from victor_nb.accounting.ledger import Row

pytest_plugins = ["workbench_fixtures"]
IMPORTED = ("victor_nb.workflows.partitions", "openai.resources.chat", "httpx_aiohttp.httpx2", "genai_prices")
"""What a worker imports for its first map."""


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two worker processes, each with a thread, for all tests of the file.

    They are forks of a process that has imported what they need: so each, and each that follows on one that was
    killed, is there at once.
    """
    get_mp_context()  # sets a preload of its own, once
    multiprocessing.get_context("forkserver").set_forkserver_preload(["distributed", *IMPORTED])
    environment = {
        "OPENAI_API_KEY": CANARY,
        "HOUSE_API_KEY": "",
        "NO_PROXY": "*",
        "CI": "true",
        "VICTOR_SIM_SPEED": "0",
    }
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
            env=environment,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class Book:
    """What a server was asked, by prompt: it answers each with its own words, after a moment."""

    def __init__(self) -> None:
        self.by_prompt: Counter[str] = Counter()
        self.held = range(0)  # which requests, by their number, are answered only once they are let go
        self.free = threading.Event()

    @property
    def asked(self) -> int:
        """How many requests came."""
        return self.by_prompt.total()

    @property
    def usd(self) -> Decimal:
        """What its answers cost."""
        return sum((count * price(Tokens(len(prompt), 10)) for prompt, count in self.by_prompt.items()), Decimal(0))

    def __call__(self, request: Request) -> Act:
        """Choose what the server does."""

        async def act(exchange: Exchange) -> None:
            prompt = exchange.request.json["messages"][-1]["content"]
            self.by_prompt[prompt] += 1
            is_held = self.asked in self.held
            while is_held and not self.free.is_set():  # noqa: ASYNC110 - of another thread
                await asyncio.sleep(0.02)
            await Answer((f"about {prompt}",), tokens=Tokens(len(prompt), 10))(exchange)

        return act


@pytest.fixture
def book(server: Server, keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Book:
    """Write profiles for a server that keeps a book."""
    monkeypatch.setenv("HOUSE_API_KEY", keys)  # here, and not where the workers are
    base_url = f"{server.url}/v1"
    spec = {"provider": "openai", "model": "gpt-4o-mini", "base_url": base_url, "prices": PRICES, "max_tokens": 10}
    keyless = {**spec, "api_key_env": "HOUSE_API_KEY"}
    write_profiles(tmp_path, fast=spec, keyless=keyless, two={**spec, "concurrency": 2})
    server.answer = found = Book()
    return found


def rows(count: int) -> pd.DataFrame:
    """Return a frame whose index is in no order and not unique."""
    return pd.DataFrame(
        {"text": [f"row {number}" for number in range(count)]}, index=[7 * n % 50 for n in range(count)]
    )


def test_when_a_map_runs_on_two_workers_then_each_row_has_its_answer_and_all_that_is_written_is_here(
    client: Client, book: Book
) -> None:
    frame = rows(130)
    frame.iloc[5, 0] = "row 4"
    frame.iloc[6, 0] = None
    done = session().pool.map_sync(frame, "{{ text }}", profile="fast", out="said", executor=client)

    assert done.index.tolist() == frame.index.tolist()
    assert Counter(done["said_status"]) == {"ok": 128, "reused": 1, "skipped": 1}
    known = done["text"].notna()
    assert done.loc[known, "said"].tolist() == [f"about {text}" for text in frame.loc[known, "text"]]
    assert max(book.by_prompt.values()) == 1
    assert CANARY.encode() not in pickle.dumps(session().settings), "each worker takes the key of its own environment"
    ledger = session().ledger
    assert ledger.total().attempts == book.asked == 128
    assert {row.run_id for row in ledger.rows()} == {ledger.rows()[0].run_id}
    assert ledger.total().cost == book.usd == Decimal(str(round(done["said_cost"].sum(), 9)))

    again = session().pool.map_sync(frame, "{{ text }}", profile="fast", out="said", executor=client)
    assert Counter(again["said_status"]) == {"reused": 129, "skipped": 1}
    assert book.asked == 128


def test_when_a_worker_is_killed_then_all_rows_are_answered_and_the_ledger_is_the_server_s_book(
    client: Client, server: Server, book: Book
) -> None:
    pids: Any = client.run(os.getpid)
    book.held = range(21, 1_000)  # all that is sent is under way, when a worker is killed
    frame, ledger = rows(300), session().ledger
    made = session().pool.start_map(frame, "{{ text }}", profile="fast", out="said", executor=client)
    server.wait(lambda: book.asked >= 30, timeout=120)  # others have leave, and are sent in the next moments
    os.kill(next(iter(pids.values())), signal.SIGKILL)
    book.free.set()
    done = made.result()

    assert set(done["said_status"]) == {"ok"}
    assert done["said"].tolist() == [f"about {text}" for text in frame["text"]]
    assert max(book.by_prompt.values()) <= 2
    assert 300 <= book.asked == ledger.total().attempts <= 400
    assert f" · {book.asked - 300:,} asked twice, as a worker was lost" in str(made.tally)
    errors = {"ok": None, "interrupted": "the worker was lost", "refused": "not sent: the worker was lost"}
    assert all(row.error == errors[row.status] for row in ledger.rows())
    assert not ledger.total().running
    assert ledger.total().unpriced == done["said_cost"].isna().sum() == book.asked - 300
    assert done["said_price"].notna().all(), "that of the answer alone, whatever lost workers have spent"


def test_when_the_worker_of_a_simulated_map_is_killed_then_the_ledger_has_each_question_that_reached_the_model(
    client: Client, book: Book, tmp_path: Path
) -> None:
    plug, asked = tmp_path / "plug", tmp_path / "asked"
    plug.touch()

    def answer(question: SimulatedQuestion) -> str:
        with asked.open("a") as file:
            file.write(f"{question.prompt}\n")
        if question.prompt == "row 60" and plug.exists():
            plug.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"about {question.prompt}"

    home = session()
    home.set_mode("simulate")
    home.simulate_with(answer)
    frame = rows(200)
    done = home.pool.map_sync(frame, "{{ text }}", profile="fast", out="said", executor=client)
    assert not plug.exists()
    assert done["said"].tolist() == [f"about {text}" for text in frame["text"]]
    assert done["said_latency"].min() > 0, "of simulated time"
    known, total = Counter(asked.read_text().splitlines()), home.ledger.total()
    assert len(known) == 200 < known.total() == total.attempts == total.simulated
    assert (total.billed, total.unbilled, total.running) == (0, 0, 0)
    assert book.asked == 0


def test_when_a_simulated_map_runs_on_two_workers_then_its_seconds_are_those_of_both_side_by_side(
    client: Client, book: Book
) -> None:
    home, frame = session(), rows(60)
    home.set_mode("simulate")

    def seconds(profile: str, **how: Any) -> float:
        made = home.pool.start_map(frame, "{{ text }}", profile=profile, out="said", reuse="off", **how)
        done = made.result()
        assert set(done["said_status"]) == {"ok"}
        calls = [row for row in home.ledger.rows() if row.run_id == made.run_id]
        first = min(row.ts for row in calls)
        assert max((row.ts - first).total_seconds() + (row.latency or 0.0) for row in calls) == pytest.approx(made.wall)
        return made.wall

    each_has_two_places = [seconds("two", executor=client) for _ in range(2)]
    assert each_has_two_places[0] == pytest.approx(each_has_two_places[1]), "whatever the machine does meanwhile"
    assert 1.6 < seconds("two") / each_has_two_places[0] <= 2.0
    assert 0.9 < seconds("fast", concurrency=2) / seconds("fast", concurrency=2, executor=client) < 1.1
    assert book.asked == 0


def test_when_a_worker_is_lost_then_what_it_has_sent_is_read_once_and_only_when_it_lives_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "_PATIENCE", 0.1)
    name = f"victor-a/b c-{uuid4().hex}"
    living = journal.Journal(name)
    living.add(1)
    assert journal.read(name) is None, "it may send more in a moment"
    living.close()
    assert journal.read(name) is None, "there is none, as on another machine"
    program = "import os, sys; from victor_nb.workflows.journal import Journal; journal = Journal(sys.argv[1])"
    killed = f"{program}; [journal.add(each) for each in (3, 3, 2**40)]; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", killed, name], check=False)
    assert journal.read(name) == {3, 2**40}
    assert journal.read(name) is None


def test_when_a_map_on_workers_has_a_budget_then_they_cannot_spend_more_together(
    client: Client, server: Server, book: Book
) -> None:
    lost = Counter[str]()

    def answer(request: Request) -> Act:
        prompt = request.json["messages"][-1]["content"]
        lost[prompt] += 1
        if prompt.endswith("3") and lost[prompt] == 1:
            return faults.status(500, "broken")  # no 503: of these the pace is learned
        return book(request)

    server.answer = answer
    budget = Decimal("0.02")
    done = session().pool.map_sync(rows(300), "{{ text }}", profile="fast", out="said", executor=client, budget=budget)
    ok = (done["said_status"] == "ok").sum()
    assert book.usd <= budget
    assert ok == book.asked > 120
    assert set(done["said_status"]) == {"ok", "refused"}


def test_when_a_map_on_workers_is_stopped_then_they_stop_and_no_row_is_left_open(
    client: Client, server: Server, book: Book
) -> None:
    book.held = range(1, 201)
    made = session().pool.start_map(rows(200), "{{ text }}", profile="fast", out="said", executor=client)
    server.wait(lambda: book.asked == 20, timeout=120)  # the first rows, whose price is waited for
    with pytest.raises(VictorInterrupted) as stopped:
        raise made.interrupted()
    frame: Any = stopped.value.partial
    assert Counter(frame["said_status"]) == {"interrupted": 20, "pending": 180}
    server.wait(lambda: server.open == 0)
    assert made.wait(30)
    assert session().ledger.total().attempts == book.asked == 20
    assert not session().ledger.total().running


@pytest.mark.parametrize("how", ["cancel", "shutdown"])
def test_when_all_is_cancelled_or_the_pool_is_shut_down_then_the_workers_ask_no_other_row(
    client: Client, server: Server, book: Book, how: str
) -> None:
    book.held = range(21, 1_000)
    pool = session().pool
    made = pool.start_map(rows(400), "{{ text }}", profile="fast", out="said", executor=client)
    server.wait(lambda: book.asked > 30, timeout=120)
    if how == "cancel":
        assert session().cancel() > 10, "calls that workers make count as well"
        statuses = Counter(made.result()["said_status"])
    else:
        pool.shutdown()
        with pytest.raises(MapError, match="closed") as ended:
            made.result()
        statuses = Counter(ended.value.partial["said_status"])
    server.wait(lambda: server.open == 0)
    asked = book.asked
    book.free.set()
    time.sleep(1)
    assert book.asked == asked < 400
    assert statuses["interrupted"] > 10
    assert statuses["ok"] == 20
    assert statuses.total() == 400
    assert not session().ledger.total().running


def test_when_the_kernel_is_busy_then_the_time_of_a_row_is_that_of_its_exchange(
    client: Client, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = session().ledger
    start = ledger.start

    def late(row: Row) -> object:
        time.sleep(1.0)  # six rows in two messages: each waits for three at least
        return start(row)

    monkeypatch.setattr(ledger, "start", late)
    done = session().pool.map_sync(rows(6), "{{ text }}", profile="fast", out="said", executor=client)
    assert set(done["said_status"]) == {"ok"}
    assert book.asked == 6
    assert max(row.latency or 9.0 for row in ledger.rows()) < 2.5
    assert done["said_latency"].max() < 2.5


def test_when_workers_have_no_key_then_the_map_ends_with_the_variable_to_set(client: Client, book: Book) -> None:
    with pytest.raises(MapError, match="HOUSE_API_KEY"):
        session().pool.map_sync(rows(100), "{{ text }}", profile="keyless", out="said", executor=client)
    assert book.asked == 0


def locked() -> type[pydantic.BaseModel]:
    """Return a model that can be pickled, whose values cannot be: each has a lock."""

    class Locked(pydantic.BaseModel):
        number: int
        _lock: Any = pydantic.PrivateAttr(default_factory=threading.Lock)

    return Locked


@pytest.mark.parametrize("kind", [threading.Lock, lambda: ContextVar("place"), threading.current_thread])
def test_when_the_answers_cannot_be_pickled_then_the_map_ends_with_what_to_do(
    client: Client, book: Book, kind: Callable[[], object]
) -> None:
    held, home = kind(), session()
    home.set_mode("simulate")
    home.simulate_with(lambda question: f"{held} {question.prompt}")
    made = home.pool.start_map(rows(250), "{{ text }}", profile="fast", out="said", executor=client)
    assert made.wait(20), "it waits for what was never sent"
    with pytest.raises(
        MapError, match=r"simulate_with\(\) was given cannot be sent .* or leave executor= out"
    ) as ended:
        made.result()
    assert set(ended.value.partial["said_status"]) == {"pending"}
    assert home.ledger.total().attempts == book.asked == 0


def test_when_workers_lack_a_module_then_the_map_ends_with_its_name(
    client: Client, book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def answer(question):\n    return 'yes'\n")
    monkeypatch.syspath_prepend(tmp_path)
    home = session()
    home.set_mode("simulate")
    home.simulate_with(importlib.import_module("only_here").answer)
    made = home.pool.start_map(rows(250), "{{ text }}", profile="fast", out="said", executor=client)
    assert made.wait(20)
    with pytest.raises(MapError, match=r"No module named 'only_here'\). Give the workers the same modules") as ended:
        made.result()
    assert set(ended.value.partial["said_status"]) == {"pending"}
    assert home.ledger.total().attempts == book.asked == 0


def test_when_values_cannot_come_back_from_a_worker_then_the_map_ends_and_their_answers_are_stored(
    client: Client, book: Book
) -> None:
    home = session()
    home.set_mode("simulate")
    how: Any = {"profile": "fast", "out": "said", "schema": locked()}
    made = home.pool.start_map(rows(6), "{{ text }}", **how, executor=client, concurrency=1)
    assert made.wait(20), "dask asks for ever for what cannot be pickled"
    with pytest.raises(MapError, match=r"cannot come back .*_thread.lock.* Run it again without executor=") as ended:
        made.result()
    assert set(ended.value.partial["said_status"]) == {"failed"}
    assert home.ledger.total().attempts == 6
    again = home.pool.map_sync(rows(6), "{{ text }}", **how)
    assert set(again["said_status"]) == {"reused"}
    assert home.ledger.total().attempts == 6
    assert not home.ledger.total().running


@pytest.mark.parametrize("executor", ["tcp://127.0.0.1:1", 8])
def test_when_the_executor_is_no_client_then_one_line_says_what_it_takes(executor: object, book: Book) -> None:
    with pytest.raises(ConfigError, match=r"Give a dask.distributed.Client"):
        session().pool.map_sync(rows(3), "{{ text }}", profile="fast", executor=executor)


def test_when_the_client_is_closed_before_a_map_then_one_line_says_so(client: Client, book: Book) -> None:
    address: Any = client.scheduler_info()["address"]
    other = distributed.Client(address, set_as_default=False)
    other.close()
    with pytest.raises(ConfigError, match=r"executor= is a client that is closed. Give a dask.distributed.Client"):
        session().pool.map_sync(rows(3), "{{ text }}", profile="fast", executor=other)


def test_when_the_client_closes_during_a_map_then_it_ends_with_the_frame_and_no_row_stays_open(
    client: Client, server: Server, book: Book
) -> None:
    book.held = range(41, 201)
    address: Any = client.scheduler_info()["address"]
    other = distributed.Client(address, set_as_default=False)
    made = session().pool.start_map(rows(200), "{{ text }}", profile="fast", out="said", executor=other)
    server.wait(lambda: book.asked > 40, timeout=120)
    other.close()
    with pytest.raises(MapError, match="closed") as ended:
        made.result()
    book.free.set()
    statuses = Counter(ended.value.partial["said_status"])
    assert statuses["ok"] >= 20
    assert statuses["failed"] > 0
    assert statuses["ok"] + statuses["failed"] + statuses["pending"] == 200
    ledger = session().ledger
    assert book.asked <= ledger.total().attempts
    assert not ledger.total().running
    server.wait(lambda: server.open == 0)
    assert book.asked <= ledger.total().attempts, "nothing more is sent"


def test_when_the_data_is_dask_s_own_then_one_line_says_how_to_give_its_rows(book: Book) -> None:
    with pytest.raises(ConfigError, match=r"A Bag of dask is not in this kernel. Give its rows: data.compute\(\)"):
        session().pool.map_sync(dask.bag.from_sequence(["a"]), "{{ value }}", profile="fast")
