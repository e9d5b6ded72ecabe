"""Kernels that are killed as they write, a disk that is full, a clock that jumps: nothing is lost or counts twice.

`tests/benchmarks/kills.py` kills 200 kernels, and its docstring lists which other accident is shown where.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import kills
from ledger_rows import row, running
from servers import OPENAI, Answer, Server
from victor_nb.accounting.cache import AnswerCache, StoredAnswer
from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.window import Window
from victor_nb.calls import record
from victor_nb.errors import VictorWarning
from victor_nb.kernel import session
from victor_nb.values import Usage
from victor_nb.wire.tape import Journal, TapeFile
from workbench import rows, write_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["workbench_fixtures"]
SIZE = 400 * 1024  # bytes of a disk
MANY = 5_000  # rows that do not fit on it, however tightly they are written


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is a file system of its own, and small."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may make a file system here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_when_kernels_are_killed_as_they_write_then_what_was_written_is_there_once(tmp_path: Path) -> None:
    program = Path(kills.__file__)  # in a process of its own: a fork of this one would share its threads' locks
    ran = subprocess.run([sys.executable, program, "6"], capture_output=True, text=True, check=True, timeout=300)
    assert re.search(r"'row': \d+", ran.stdout), ran.stdout
    assert "lost: 0; twice: 0; files that did not open: none" in ran.stdout, ran.stdout


def test_when_a_disk_fills_up_then_rows_answers_and_exchanges_are_kept_or_said_to_be_lost(disk: Path) -> None:
    with warnings.catch_warnings(record=True) as said, Ledger(disk / "ledger.sqlite3", kernel="here") as ledger:
        warnings.simplefilter("always")
        for number in range(MANY):
            ledger.start(running(f"{number}"))
            ledger.finish(row(f"{number}"))
        found = ledger.rows()
        assert {each.call_id for each in found if each.status == "ok"} == {f"{number}" for number in range(MANY)}
        assert len(found) == MANY
    assert [each.category for each in said] == [VictorWarning]
    answers = AnswerCache(disk / "answers.sqlite")
    keys = [b"%032d" % number for number in range(1_000)]
    plain = {"usage": Usage(1, 1), "cost": None, "created": datetime.now(UTC), "provider": "openai", "model": "m"}
    for key in keys:
        answers.put(key, StoredAnswer(content=key.decode() * 10, **plain))
    assert len(answers.find(keys).result()) == 1_000
    assert [text for text in answers.news() if "full" in text or "cannot" in text]
    answers.close()
    tape = disk / "tape.jsonl"
    journal, number = Journal(tape), 0
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012 - one of them meets the end
        while True:
            journal.append(kills.exchange(f"{number}").line())
            number += 1
    assert journal._file is not None
    with suppress(OSError):
        journal._file.close()  # as the end of a kernel does
    assert {each.body.decode() for each in TapeFile(tape).read()} == {f"{each}" for each in range(number)}


async def test_when_the_clock_jumps_then_seconds_and_sums_are_right_all_the_same(
    tmp_path: Path, server: Server, keys: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys
    write_profiles(
        tmp_path, desk={"provider": "openai", "model": OPENAI.model, "base_url": OPENAI.base_url(server.url)}
    )
    jumps = [timedelta(), timedelta(days=-400), timedelta(days=20_000), timedelta(seconds=-5), timedelta(days=-20_000)]
    clock, began = {"ahead": jumps[0]}, time.time
    server.play(Answer(delay=0.01))

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + clock["ahead"]

    monkeypatch.setattr(record, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: began() + clock["ahead"].total_seconds())
    orchestrator = session().pool.get_orchestrator("desk")
    for jump in jumps:
        clock["ahead"] = jump
        reply = await orchestrator.run("How many?")
        assert 0 < reply.latency < 60
        assert Window.of("all", "today").rows(session().ledger) is not None
    found = rows()
    assert [each["status"] for each in found] == ["ok"] * len(jumps)
    assert all(0 < each["latency"] < 60 for each in found)
    assert [each["ts"] for each in found] == sorted(each["ts"] for each in found)
    total = session().ledger.total()
    assert (total.attempts, total.cost) == (len(jumps), sum(each.cost or 0 for each in session().ledger.rows()))
