"""The ledger's file: many writers at once, kernels that are killed, and files that cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import victor_nb
from ledger_rows import row, running
from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.rows import encode
from victor_nb.errors import VictorWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A program that appends attempts under a kernel id of its own: PATH KERNEL COUNT.
PROGRAM = """
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from victor_nb.accounting.ledger import Ledger, Row

path, kernel, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ledger = Ledger(path, kernel=kernel)

def row(number, status):
    cost = Decimal("0.001") if status == "ok" else None
    return Row(ts=datetime.now(UTC), call_id=f"{kernel}-{number}", profile="fast", provider="openai", model="m",
               status=status, cost=cost, billed=cost)

for number in range(count):
    ledger.start(row(number, "running"))
    ledger.finish(row(number, "ok"))
"""


@contextmanager
def child(*arguments: object, program: str = PROGRAM) -> Iterator[subprocess.Popen[str]]:
    """Run a program of ours in another process; kill it if the test leaves it running."""
    root = Path(victor_nb.__file__).parents[1]
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; give up, as a failure, long after it should have held."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


@contextmanager
def one_warning(*words: str) -> Iterator[None]:
    """Expect one warning of ours, and no other, with all of the words in it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [warning.category for warning in caught] == [VictorWarning]
    assert [word for word in words if word not in str(caught[0].message)] == []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


def test_when_nothing_is_appended_or_read_then_no_file_is_opened(path: Path) -> None:
    ledger = Ledger(path, kernel="here")
    assert ledger.flush()
    ledger.close()
    assert not path.parent.exists()


def test_when_the_ledger_is_in_memory_then_no_file_appears(tmp_path: Path) -> None:
    with Ledger(None, kernel="here") as ledger:
        ledger.finish(row())
        assert ledger.rows(scope="all") == [row()]
        assert ledger.path is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_when_the_file_is_created_then_only_its_owner_reads_it(path: Path) -> None:
    with Ledger(path, kernel="here") as ledger:
        ledger.finish(row())
        ledger.flush()
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_when_two_kernels_write_then_each_sees_its_own_rows_and_all_on_demand(path: Path) -> None:
    with Ledger(path, kernel="one") as one, Ledger(path, kernel="two") as two:
        one.finish(row("same id"))
        two.finish(row("same id"))
        assert (len(one.rows()), len(two.rows()), len(one.rows(scope="all"))) == (1, 1, 2)
        assert (len(one.to_frame()), len(one.to_frame(scope="all"))) == (1, 2)
        assert one.total(scope="all").calls == 2


def test_when_a_ledger_is_closed_then_the_next_kernel_finds_its_rows(path: Path) -> None:
    with Ledger(path, kernel="yesterday") as ledger:
        ledger.finish(row())
    with Ledger(path, kernel="today") as ledger:
        assert ledger.rows() == []
        assert ledger.rows(scope="all") == [row()]


# --- many at once, and sudden ends ---


def test_when_eight_threads_append_then_every_attempt_is_one_completed_row(path: Path) -> None:
    def work(name: int) -> None:
        for number in range(100):
            ledger.start(running(f"{name}-{number}"))
            ledger.finish(row(f"{name}-{number}"))

    ledger = Ledger(path, kernel="here")
    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = ledger.rows()
    ledger.close()
    assert {found.call_id for found in rows} == {f"{name}-{number}" for name in range(8) for number in range(100)}
    assert len(rows) == 800
    assert {found.status for found in rows} == {"ok"}


def test_when_four_processes_write_to_a_new_file_then_no_row_is_lost(path: Path) -> None:
    program = PROGRAM + "ledger.close()"
    with (
        child(path, "a", 500, program=program) as a,
        child(path, "b", 500, program=program) as b,
        child(path, "c", 500, program=program) as c,
        child(path, "d", 500, program=program) as d,
    ):
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in (a, b, c, d)]
    assert ends == [("", 0)] * 4  # no warning, no fallback
    with Ledger(path, kernel="reader") as ledger:
        rows = ledger.rows(scope="all")
        assert {found.call_id for found in rows} == {f"{kernel}-{n}" for kernel in "abcd" for n in range(500)}
        assert {found.status for found in rows} == {"ok"}
        total = ledger.total(scope="all")
        assert (total.cost, total.attempts, str(total)) == (Decimal(2), 2_000, "USD 2.0000")


def test_when_a_kernel_is_killed_then_its_rows_are_there_and_one_is_running(path: Path) -> None:
    program = PROGRAM + 'ledger.start(row("last", "running")); print("ready", flush=True); sys.stdin.read()'
    with child(path, "doomed", 20, program=program) as process, Ledger(path, kernel="reader") as ledger:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        until(lambda: len(ledger.rows(scope="all")) == 21)  # the child never flushes: rows are written at once
        process.kill()
        process.wait()
        statuses = {found.call_id: found.status for found in ledger.rows(scope="all")}
        assert statuses == {f"doomed-{number}": "ok" for number in range(20)} | {"doomed-last": "running"}
        assert ledger.total(scope="all").unpriced == 1


def test_when_attempts_end_within_a_moment_then_their_rows_are_written_once_and_in_order(path: Path) -> None:
    with Ledger(path, kernel="here") as ledger:
        ledger.start(running("before"))
        assert [found.status for found in ledger.rows()] == ["running"]
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE completed (call_id TEXT)")
            insert = "INSERT INTO completed VALUES (old.call_id)"
            other.execute(f"CREATE TRIGGER completes AFTER UPDATE ON attempts BEGIN {insert}; END")
            other.commit()
            ledger.finish(row("before"))
            for number in range(50):
                ledger.start(running(str(number)))
                ledger.finish(row(str(number)))
            ledger.flush()
            completed = [call_id for (call_id,) in other.execute("SELECT call_id FROM completed")]
        assert completed[0] == "before"
        assert len(completed) < 50  # one of them may lie across the end of a moment, not all
        assert [found.call_id for found in ledger.rows()] == ["before", *map(str, range(50))]
        assert {found.status for found in ledger.rows()} == {"ok"}


def test_when_many_rows_are_appended_at_once_then_each_is_there_and_counts(path: Path) -> None:
    with Ledger(path, kernel="driver") as ledger:
        ledger.extend(row(str(number)) for number in range(12_000))  # more than are written together
        ledger.extend([])
        assert ledger.version == 12_000
        total = ledger.total()
        assert (total.attempts, total.cost) == (12_000, 12_000 * Decimal("0.000027"))


def test_when_another_process_holds_the_file_then_appending_does_not_wait_and_nothing_is_lost(path: Path) -> None:
    with Ledger(path, kernel="here") as ledger:
        ledger.finish(row("before"))
        ledger.flush()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            for number in range(100):
                ledger.finish(row(str(number)))  # returns, though no one can write
            assert not ledger.flush(timeout=0.01)
            other.execute("COMMIT")
        assert ledger.flush()
        assert len(ledger.rows()) == 101
        assert ledger.path == path


# --- files that cannot be used ---


def parent_is_a_file(path: Path) -> Path:
    path.parent.write_text("in the way")
    return path


def is_a_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def is_corrupt(path: Path) -> Path:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 100)
    return path


def is_of_another_program(path: Path) -> Path:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE attempts (theirs)")
    return path


def is_of_a_later_version(path: Path) -> Path:
    Ledger(path, kernel="x").rows()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    return path


def has_a_nul(path: Path) -> Path:
    return path / "\0"


@pytest.mark.parametrize(
    "spoil",
    [parent_is_a_file, is_a_folder, is_corrupt, is_of_another_program, is_of_a_later_version, has_a_nul],
)
def test_when_the_file_cannot_be_used_then_one_warning_names_it_and_rows_are_kept(
    path: Path, spoil: Callable[[Path], Path]
) -> None:
    bad = spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with one_warning(repr(str(bad)), "VICTOR_LEDGER"), Ledger(bad, kernel="here") as ledger:
        ledger.start(running())
        ledger.finish(row())
        assert ledger.rows() == ledger.rows(scope="all") == [row()]
        assert len(ledger.to_frame()) == 1
        assert ledger.path is None
    assert before is None or path.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to root")
@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_when_the_file_is_read_only_then_rows_are_kept_in_memory(path: Path, mode: int) -> None:
    with Ledger(path, kernel="yesterday") as ledger:
        ledger.finish(row())
    path.chmod(mode)
    with one_warning("ledger.sqlite3"), Ledger(path, kernel="here") as ledger:
        ledger.finish(row())
        assert ledger.rows() == [row()]


def test_when_the_file_goes_bad_later_then_new_rows_are_kept(path: Path) -> None:
    with one_warning("ledger.sqlite3"), Ledger(path, kernel="here") as ledger:
        ledger.finish(row("before"))
        ledger.flush()
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE attempts")
        ledger.finish(row("after"))
        ledger.finish(row("later"))
        assert [found.call_id for found in ledger.rows()] == ["after", "later"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits on files are of POSIX")
def test_when_the_disk_is_full_then_all_rows_are_kept_with_one_warning(path: Path) -> None:
    program = (
        "import resource, warnings; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "warnings.simplefilter('always')\n"
        + PROGRAM
        + "found = ledger.rows(); print(len(found), {row.status for row in found}, ledger.path); ledger.close()"
    )
    with child(path, "full", 2_000, program=program) as process:
        out, err = process.communicate(timeout=120)
    assert (out, process.returncode) == ("2000 {'ok'} None\n", 0)
    assert err.count("VictorWarning") == 1


def test_when_warnings_are_errors_then_the_next_reader_gets_it_and_the_rows_stay(path: Path) -> None:
    with warnings.catch_warnings(), Ledger(is_a_folder(path), kernel="here") as ledger:
        warnings.simplefilter("error")
        ledger.finish(row())
        with pytest.raises(VictorWarning, match="memory"):
            ledger.flush()
        assert ledger.rows() == [row()]


def test_when_not_even_memory_takes_a_record_then_the_writer_says_so_and_lives() -> None:
    with one_warning("1 ledger rows are lost"), Ledger(None, kernel="here") as ledger:
        ledger._writer.append(("too short",))
        ledger.flush()
        ledger.finish(row())
        assert ledger.rows() == [row()]


def test_when_no_column_takes_a_record_then_it_is_lost_alone_and_the_writer_lives(path: Path) -> None:
    broken = encode(row(call_id="broken"), kernel="here\ud800", status="ok")
    with one_warning("1 ledger rows are lost"), Ledger(path, kernel="here") as ledger:
        ledger._writer.append(*(encode(row(), kernel="here", status="ok"), broken))
        assert ledger.rows() == [row()]
