"""How fast the ledger is: `python tests/benchmarks/bench_ledger.py [rows]`. Run by hand; a test is never timed.

It prints seconds, and ratios to what the machine itself needs for work of the same size, which can be compared between
machines: appending against a plain `queue.put`, the frame against a bare `fetchall` of the same table, a price
against 1,000 additions of decimals.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from victor_nb.accounting.ledger import Ledger, Row
from victor_nb.accounting.pricing import PriceBook
from victor_nb.values import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

START = datetime(2026, 11, 22, tzinfo=UTC)
MODELS = ("gpt-6-luna", "claude-haiku-5-5", "gemini-3.8-flash", "llama3.2")


def seconds(work: Callable[[], object], *, times: int = 1) -> float:
    """Return the best of `times` runs."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def row(number: int) -> Row:
    """Return a row as a busy notebook leaves it: every eighth attempt failed, every fifth is tagged."""
    failed = number % 8 == 0
    return Row(
        ts=START + timedelta(milliseconds=number),
        call_id=f"{number:032x}",
        run_id=f"run-{number // 50}",
        strategy="funnel",
        stage=("explore", "select", "implement", "review")[number % 4],
        profile=("fast", "default", "premium", "local")[number % 4],
        provider=("openai", "anthropic", "google", "ollama")[number % 4],
        model=MODELS[number % 4],
        model_served=None if failed else MODELS[number % 4],
        status="error" if failed else "ok",
        input_tokens=None if failed else 1_000 + number % 777,
        cache_read_tokens=None if failed else number % 100,
        cache_write_tokens=None if failed else 0,
        output_tokens=None if failed else number % 500,
        reasoning_tokens=None if failed else 0,
        usage_source=None if failed else "reported",
        cost=None if failed else Decimal(number % 9_999).scaleb(-6),
        billed=None if failed else Decimal(0),
        cost_source="unknown" if failed else "computed",
        price_version="genai-prices 0.2.3",
        latency=1.5,
        ttft=0.3,
        queue=0.0,
        http_status=429 if failed else 200,
        error_type="RateLimitError" if failed else None,
        error=f"Slow down, call {number}." if failed else None,
        request_id=f"req_{number}",
        notebook="analysis.ipynb",
        tags={"task": f"t{number % 20}"} if number % 5 == 0 else {},
    )


def say(what: str, took: float, base: float, against: str) -> None:
    """Print one figure and what it is a multiple of."""
    print(f"{what:<44} {took:8.3f} s   {took / base:7.1f} x {against}")


def bench_rows(count: int, path: Path) -> None:
    """Time appending, flushing and reading `count` attempts, two records each."""
    rows = [row(number) for number in range(count)]
    inbox: SimpleQueue[Row] = SimpleQueue()
    put = seconds(lambda: [inbox.put(item) for item in rows for _ in range(2)])
    with Ledger(path, kernel="bench") as ledger:
        append = seconds(lambda: [(ledger.start(replace(item)), ledger.finish(item)) for item in rows])
        say(f"append {count:,} attempts (start and finish)", append, put, "a bare queue.put")
        say("then write what was left of them", seconds(ledger.flush), put, "a bare queue.put")
        with closing(sqlite3.connect(path)) as db:
            fetch = seconds(lambda: db.execute("SELECT * FROM attempts").fetchall(), times=3)
        say("first frame, with the import of pandas", seconds(ledger.to_frame), fetch, "a bare fetchall")
        say(f"to_frame() of {count:,} rows, best of 5", seconds(ledger.to_frame, times=5), fetch, "a bare fetchall")
        say(f"rows() of {count:,} rows", seconds(ledger.rows), fetch, "a bare fetchall")
        say("total()", seconds(ledger.total, times=5), fetch, "a bare fetchall")
    say("the bare fetchall", fetch, fetch, "itself")


def bench_prices() -> None:
    """Time one price of a known, a dated, and an unknown model."""
    book, usage = PriceBook(), Usage(1_000, 100, 500, 100, 10, 50)
    adding = seconds(lambda: sum(map(Decimal, range(1_000)), Decimal(0)), times=5)
    for provider, model in (("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5-20250929"), ("openai", "nope")):
        book.price(usage, provider=provider, model=model)
        loop = seconds(lambda: [book.price(usage, provider=provider, model=model) for _ in range(1_000)], times=3)  # noqa: B023
        say(f"1,000 prices of {model}", loop, adding * 1_000, "1,000 additions")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        bench_rows(int(sys.argv[1]) if sys.argv[1:] else 100_000, Path(folder) / "ledger.sqlite3")
    bench_prices()
