"""Ledger files of every past version: they open, keep their rows, get the new columns, and older kernels go on."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from ledger_rows import row, running
from test_ledger_files import PROGRAM, child, one_warning
from victor_nb.accounting import store
from victor_nb.accounting.ledger import Ledger, Row
from victor_nb.accounting.rows import COLUMNS, SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

# --- the past: what each version created, and three rows as it wrote them (a dump of its file) ---

WORDS: Final = """
    kernel TEXT NOT NULL,
    ts INTEGER NOT NULL, call_id TEXT, attempt INTEGER, run_id TEXT, strategy TEXT, stage TEXT, profile TEXT,
    provider TEXT, model TEXT, model_served TEXT, mode TEXT, status TEXT, input_tokens INTEGER,
    cache_read_tokens INTEGER, cache_write_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER,
    usage_source TEXT, cost INTEGER, billed INTEGER, cost_source TEXT, price_version TEXT, latency REAL, ttft REAL,
    queue REAL, http_status INTEGER, error_type TEXT, error TEXT, request_id TEXT, notebook TEXT, tags TEXT NOT NULL"""
ENDING: Final = """
    CREATE INDEX attempts_by_kernel ON attempts (kernel, ts);
    CREATE INDEX attempts_by_ts ON attempts (ts);
    PRAGMA application_id = 1449747316;
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;"""
ROWS: Final = """
    'past',1795348800000000,'a',1,NULL,NULL,NULL,'fast','openai','gpt-4o-mini','gpt-4o-mini','live','ok',100,0,40,20,0,'reported',27000,27000,'computed','genai-prices 0.2.3',1.5,0.25,0.0,200,NULL,NULL,'req_1','a.ipynb','{"task": "x"}'
    'past',1795348801000000,'b',1,NULL,NULL,NULL,'fast','openai','gpt-4o-mini',NULL,'live','error',NULL,NULL,NULL,NULL,NULL,NULL,0,0,'computed',NULL,NULL,NULL,NULL,429,'RateLimitError','fast: slow down.',NULL,NULL,'{}'
    'past',1795348802000000,'c',1,NULL,NULL,NULL,'local','ollama','llama3.2',NULL,'live','running',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{}'
"""  # noqa: E501 - as the dump has them
PAST: Final = {
    "2026-11-22: the first": (("prompt", "TEXT"), ("answer", "TEXT")),
    "2026-11-23: input_bytes": (("input_bytes", "INTEGER"), ("prompt", "TEXT"), ("answer", "TEXT")),
}
"""The columns after `tags`. Add an entry, with what was released, before you add a column."""
LATEST: Final = tuple(PAST)[-1]
NEW: Final = ["cache_write_1h_tokens", "host", "service_tier", "web_searches", "held"]
"""What `LATEST` lacks."""


def table(version: str) -> str:
    """Return the table as a version created it."""
    columns = ", ".join(f"{name} {kind}" for name, kind in PAST[version])
    return f"CREATE TABLE attempts ({WORDS}, {columns}, UNIQUE (kernel, call_id, attempt));{ENDING}"


def write_past(path: Path, version: str) -> Path:
    """Write a file as a version left it: three rows of the kernel `past`."""
    path.parent.mkdir(exist_ok=True)
    cells = ", ".join("400" if name == "input_bytes" else "NULL" for name, _ in PAST[version])
    rows = ";".join(f"INSERT INTO attempts VALUES ({row}, {cells})" for row in ROWS.strip().splitlines())
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"{table(version)} {rows};")
    return path


def past_rows(version: str) -> list[Row]:
    """Return the three rows as they should be read."""
    start = datetime(2026, 11, 22, 12, tzinfo=UTC)
    size: dict[str, Any] = {"input_bytes": 400} if ("input_bytes", "INTEGER") in PAST[version] else {}
    paid = {"cost": Decimal("0.000027"), "billed": Decimal("0.000027"), "price_version": "genai-prices 0.2.3"}
    good = row("a", ts=start, model_served="gpt-4o-mini", cache_read_tokens=0, cache_write_tokens=40, **paid, **size)
    good = replace(good, reasoning_tokens=0, latency=1.5, ttft=0.25, queue=0.0, http_status=200, request_id="req_1")
    failed = replace(running("b"), ts=start + timedelta(seconds=1), status="error", http_status=429, **size)
    failed = replace(failed, cost=Decimal(0), billed=Decimal(0), cost_source="computed")
    begun = replace(running("c"), ts=start + timedelta(seconds=2), provider="ollama", model="llama3.2", **size)
    return [
        replace(good, notebook="a.ipynb", tags={"task": "x"}),
        replace(failed, error_type="RateLimitError", error="fast: slow down."),
        replace(begun, profile="local"),
    ]


def write_as_past(path: Path, version: str, call_id: str) -> None:
    """Write a row as an older kernel does: it checks the marks, and names all the columns it knows."""
    names = [part.split()[0] for part in WORDS.split(",")] + [name for name, _ in PAST[version]]
    sets = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    cells = {"kernel": "older", "ts": 1, "call_id": call_id, "attempt": 1, "tags": "{}", "profile": "fast"}
    cells |= {"provider": "openai", "model": "m", "mode": "live", "status": "ok", "cost": 1_000}
    with closing(sqlite3.connect(path, timeout=30)) as db:
        marks = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        assert marks == [0x56696374, 1], "an older victor_nb would refuse the file"
        upsert = (
            f"INSERT INTO attempts ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT (kernel, call_id, attempt) DO UPDATE SET {sets}"
        )
        db.execute(upsert, [cells.get(name) for name in names])
        db.commit()


def columns_of(path: Path) -> list[str]:
    """Return the names of the table's columns."""
    with closing(sqlite3.connect(path)) as db:
        return [name for _, name, *_ in db.execute("PRAGMA table_info(attempts)")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


# --- an old file, a new kernel ---


def test_when_a_column_was_added_then_old_rows_can_lack_it() -> None:
    known = [part.split()[0] for part in WORDS.split(",")][1:] + [name for name, _ in PAST[LATEST]]
    assert [name for name in SCHEMA if name not in known] == NEW
    assert not [name for name in NEW if "NOT NULL" in SCHEMA[name].sql]


@pytest.mark.parametrize("version", PAST)
def test_when_a_past_version_wrote_the_file_then_it_opens_and_keeps_its_rows(path: Path, version: str) -> None:
    fresh = row("new", ts=datetime(2026, 11, 26, tzinfo=UTC), cache_write_1h_tokens=7, host="10.0.0.1:8000")
    with Ledger(write_past(path, version), kernel="new") as ledger:
        assert ledger.rows(scope="all") == past_rows(version)
        ledger.start(fresh)
        ledger.finish(fresh)
        assert ledger.path == path
        assert ledger.rows(scope="all") == [*past_rows(version), fresh]
        frame = ledger.to_frame(scope="all")
        assert list(frame.columns) == list(COLUMNS)
        assert frame.host.isna().tolist() == frame.cache_write_1h_tokens.isna().tolist() == [True] * 3 + [False]
        total = ledger.total(scope="all")
        assert (total.cost, total.attempts, total.running) == (Decimal("0.000054"), 4, 1)
    assert sorted(columns_of(path)) == sorted(["kernel", *SCHEMA])
    with Ledger(path, kernel="next") as ledger:
        assert ledger.rows(scope="all") == [*past_rows(version), fresh]


@pytest.mark.parametrize("version", PAST)
def test_when_the_file_was_migrated_then_an_older_kernel_goes_on_writing(path: Path, version: str) -> None:
    with Ledger(write_past(path, version), kernel="new") as ledger:
        ledger.finish(row("mine", host="a.example"))
        ledger.flush()
        write_as_past(path, version, "theirs")
        write_as_past(path, version, "theirs")
        ledger.finish(row("mine too", host="a.example"))
        found = {each.call_id: each for each in ledger.rows(scope="all")}
    assert set(found) == {"a", "b", "c", "mine", "theirs", "mine too"}
    assert (found["theirs"].host, found["mine"].host) == (None, "a.example")


def test_when_a_new_kernel_creates_the_file_then_an_older_one_writes_to_it(path: Path) -> None:
    with Ledger(path, kernel="new") as ledger:
        ledger.finish(row("mine"))
        ledger.flush()
        write_as_past(path, LATEST, "theirs")
        assert [each.call_id for each in ledger.rows(scope="all")] == ["theirs", "mine"]


def test_when_an_older_kernel_creates_the_table_anew_meanwhile_then_no_row_is_lost(path: Path) -> None:
    with Ledger(path, kernel="new") as ledger:
        ledger.finish(row("gone with the table"))
        for call_id in ("one", "two"):  # at a write, then at a reading
            ledger.flush()
            with closing(sqlite3.connect(path)) as db:
                db.executescript(f"DROP TABLE attempts; {table(LATEST)}")
            assert not {*NEW} & {*columns_of(path)}
            if call_id == "two":
                assert ledger.rows() == []
            ledger.finish(row(call_id, host="a.example"))
            assert ledger.rows() == [row(call_id, host="a.example")]
        assert ledger.path == path
    assert {*NEW} <= {*columns_of(path)}


def test_when_another_kernel_holds_the_file_while_columns_are_added_then_they_are_added_later(path: Path) -> None:
    write_past(path, LATEST)
    with (
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db,
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        end = threading.Timer(0.3, other.execute, ("COMMIT",))
        end.start()
        found = store.patiently(lambda it: it.execute("SELECT host FROM attempts").fetchall(), db, store._migrate)
        end.join()
    assert found == [(None,)] * 3


# --- a newer file ---


def test_when_a_newer_version_added_columns_then_they_are_kept_and_not_read(path: Path) -> None:
    with Ledger(path, kernel="new") as ledger:
        ledger.finish(row("mine"))
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE attempts ADD COLUMN tier_of_tomorrow TEXT")
        db.execute("UPDATE attempts SET tier_of_tomorrow = 'flex'")
        db.commit()
    with Ledger(path, kernel="new") as ledger:
        ledger.finish(row("another"))
        ledger.finish(row("mine", latency=2.0))
        assert [each.call_id for each in ledger.rows()] == ["mine", "another"]
        assert list(ledger.to_frame().columns) == list(COLUMNS)
    with closing(sqlite3.connect(path)) as db:
        cells = db.execute("SELECT call_id, latency, tier_of_tomorrow FROM attempts ORDER BY rowid").fetchall()
    assert cells == [("mine", 2.0, "flex"), ("another", None, None)]


def test_when_the_version_is_newer_then_the_warning_names_it_and_the_fix_and_rows_are_kept(path: Path) -> None:
    with Ledger(path, kernel="new") as ledger:
        ledger.finish(row("before"))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")
    with one_warning("version 7", "upgrade victor_nb", "VICTOR_LEDGER"), Ledger(path, kernel="old") as ledger:
        ledger.finish(row())
        assert ledger.rows(scope="all") == [row()]
        assert ledger.path is None
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT call_id FROM attempts").fetchall() == [("before",)]


def test_when_a_change_is_real_then_it_is_made_once_and_raises_the_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {
        1: ("ALTER TABLE attempts RENAME COLUMN host TO server", "UPDATE attempts SET profile = profile || '!'"),
        2: ("ALTER TABLE attempts RENAME COLUMN server TO host",),
    }
    with Ledger(path, kernel="old") as ledger:
        ledger.finish(row(host="a.example"))
    monkeypatch.setattr(store, "_CHANGES", changes)
    monkeypatch.setattr(store, "_VERSION", 3)
    for _ in range(2):
        with Ledger(path, kernel="new") as ledger:
            assert ledger.rows(scope="all") == [row(profile="fast!", host="a.example")]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)


def test_when_a_change_fails_then_the_file_is_as_it_was_and_rows_are_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_past(path, LATEST)
    monkeypatch.setattr(store, "_CHANGES", {1: ("DELETE FROM attempts", "THIS IS NO SQL")})
    monkeypatch.setattr(store, "_VERSION", 2)
    with one_warning("ledger.sqlite3"), Ledger(path, kernel="new") as ledger:
        ledger.finish(row())
        assert ledger.rows() == [row()]
    monkeypatch.undo()
    with Ledger(path, kernel="new") as ledger:
        assert ledger.rows(scope="all") == past_rows(LATEST)


# --- many at once ---


@pytest.mark.parametrize("version", PAST)
def test_when_eight_kernels_migrate_a_file_at_once_then_none_falls_back(path: Path, version: str) -> None:
    write_past(path, version)
    ledgers = [Ledger(path, kernel=str(number)) for number in range(8)]
    start = threading.Barrier(len(ledgers))

    def work(ledger: Ledger) -> None:
        start.wait()
        ledger.finish(row())

    threads = [threading.Thread(target=work, args=(ledger,)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ledger.flush() for ledger in ledgers] == [True] * 8
    assert {ledger.path for ledger in ledgers} == {path}
    assert len(ledgers[0].rows(scope="all")) == 3 + 8
    for ledger in ledgers:
        ledger.close()
    assert sorted(columns_of(path)) == sorted(["kernel", *SCHEMA])


def test_when_new_processes_and_an_older_kernel_write_to_an_old_file_then_no_row_is_lost(path: Path) -> None:
    write_past(path, LATEST)
    program = PROGRAM + "ledger.close()"
    with child(path, "x", 500, program=program) as x, child(path, "y", 500, program=program) as y:
        for number in range(100):
            write_as_past(path, LATEST, f"older-{number}")
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in (x, y)]
    assert ends == [("", 0)] * 2  # no warning, no fallback
    with Ledger(path, kernel="reader") as ledger:
        found = {each.call_id for each in ledger.rows(scope="all")}
        assert len(ledger.rows(scope="all")) == len(found) == 3 + 100 + 1_000
    written = {f"{kernel}-{number}" for kernel in "xy" for number in range(500)}
    assert found == {"a", "b", "c", *(f"older-{number}" for number in range(100)), *written}
