"""How fast the ledger is, of a million rows: `python tests/benchmarks/bench_ledger.py [rows]`.

Appending in bulk is compared with sqlite3's `executemany` of ready records into an equal table, the frame with
`pandas.read_sql_query` of the same file (time and memory, each in a process of its own), a price with 1,000 additions
of decimals.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from victor_nb.accounting.ledger import Ledger, Row
from victor_nb.accounting.pricing import PriceBook
from victor_nb.accounting.rows import SCHEMA, encode
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


def appended(count: int, path: Path) -> tuple[float, float]:
    """Return the seconds that so many rows take in bulk, and those of `executemany` into an equal table beside it."""
    batch, ours, theirs = 50_000, 0.0, 0.0
    with Ledger(path, kernel="bench") as ledger, closing(sqlite3.connect(path.with_suffix(".plain"))) as db:
        ledger.start(row(0))
        ledger.flush()
        with closing(sqlite3.connect(path)) as made:
            script = [sql for (sql,) in made.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        db.executescript(";".join(["PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", *script]))
        marks = ", ".join("?" * (1 + len(SCHEMA)))
        insert = f"INSERT INTO attempts (kernel, {', '.join(SCHEMA)}) VALUES ({marks})"
        for start in range(1, count + 1, batch):
            rows = [row(number) for number in range(start, min(start + batch, count + 1))]
            ours += seconds(lambda: (ledger.extend(rows), ledger.flush()))  # noqa: B023
            records = [encode(each, kernel="bench", status=each.status) for each in rows]
            with db:
                theirs += seconds(lambda: db.executemany(insert, records))  # noqa: B023
    return ours, theirs


FRAME = """
import resource, sys, time
import pandas as pd, sqlite3
from pathlib import Path
from victor_nb.accounting.ledger import Ledger
path, ours = Path(sys.argv[1]), sys.argv[2] == "ours"
ledger = Ledger(path, kernel="bench")
ledger.to_frame(since=__import__("datetime").datetime.max.replace(tzinfo=__import__("datetime").UTC))  # imports
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
frame = ledger.to_frame("all") if ours else pd.read_sql_query("SELECT * FROM attempts", sqlite3.connect(path))
took = time.perf_counter() - began
print(len(frame), took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)
"""


def framed(path: Path, *, ours: bool) -> tuple[float, float]:
    """Return the seconds and the megabytes that the frame of a ledger's file takes, in a process of its own."""
    program = [sys.executable, "-c", FRAME, str(path), "ours" if ours else "theirs"]
    out = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    return float(out[1]), float(out[2])


class Measured(NamedTuple):
    """Ours, and what it is compared with: rows per second, seconds, megabytes."""

    append: tuple[float, float]
    frame: tuple[float, float]
    memory: tuple[float, float]


def measure(count: int) -> Measured:
    """Write so many rows into a file, and read them as a frame; both sides in turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        ours, theirs = appended(count, path)
        own, other = framed(path, ours=True), framed(path, ours=False)
    return Measured((count / ours, count / theirs), (own[0], other[0]), (own[1], other[1]))


def bench_prices() -> None:
    """Time one price of a known, a dated, and an unknown model."""
    book, usage = PriceBook(), Usage(1_000, 100, 500, 100, 10, 50)
    adding = seconds(lambda: sum(map(Decimal, range(1_000)), Decimal(0)), times=5)
    for provider, model in (("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5-20250929"), ("openai", "nope")):
        book.price(usage, provider=provider, model=model)
        loop = seconds(lambda: [book.price(usage, provider=provider, model=model) for _ in range(1_000)], times=3)  # noqa: B023
        print(f"1,000 prices of {model}: {loop:.4f} s, {loop / adding:.0f} x 1,000 additions")


def main() -> None:
    """Print all of them."""
    found = measure(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
    for name, (ours, theirs) in found._asdict().items():
        print(f"{name}: {ours:,.1f}, {theirs:,.1f} without us")
    bench_prices()


if __name__ == "__main__":
    main()
