"""Kernels that are killed (SIGKILL) at random moments while they write: ledger, store of answers, tape; two at a time.

Run it as `python tests/benchmarks/kills.py [kills] [seed]`; 200 kills take half a minute. Each kernel is a fork of this
process, and says over a pipe what is written for certain: a row once `flush` has returned, an answer once `written` is
done, an exchange once it is in the journal. After each kill all three files must open, and at the end each of these
must be there, once. What else may happen to the files, and which test shows what comes of it:

    disk full           test_ledger_files, test_cache (a limit of the process), test_crashes (a file system of its own)
    no right to write   test_ledger_files, test_cache, test_tape
    damaged             test_ledger_files, test_cache, test_tape
    two kernels         test_ledger_files, test_cache, test_budget_processes, test_map_store, and here
    a map, killed       benchmarks/killed_maps.py, test_map_store
    fork and spawn      test_processes, test_executors
    a clock that jumps  test_crashes
"""

from __future__ import annotations

import os
import random
import select
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from victor_nb.accounting.cache import AnswerCache, StoredAnswer
from victor_nb.accounting.ledger import Ledger
from victor_nb.accounting.rows import Row
from victor_nb.values import Usage
from victor_nb.wire.asked import Asked
from victor_nb.wire.tape import Exchange, Journal, TapeFile

CENT = Decimal("0.01")
BATCH = 5  # of each kind, between two words to the parent
LONGEST = 0.06  # seconds from the first word to the kill
TAPES = 20  # kernels that write to one tape, which is rewritten by each


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        certain: What the kernels called written, by kind.
        lost: How many of these are not there.
        twice: How many are there more than once, or count more than once.
        broken: Files that did not open after a kill.
    """

    certain: Counter[str]
    lost: int
    twice: int
    broken: list[str]


def exchange(name: str) -> Exchange:
    """Return an exchange that asks for nothing but a name."""
    asked = Asked("POST", "openai", "/chat/completions", {"prompt": name}, 0)
    return Exchange(asked, "fast", None, 1, 0, 0, 200, {}, 0.01, ((0.02, name.encode()),), 0.03)


def kernel(folder: Path, tape: Path, name: str, out: int) -> None:
    """Write rows, answers and exchanges without end; say what is written for certain."""
    ledger, answers = Ledger(folder / "ledger.sqlite3", kernel=name), AnswerCache(folder / "answers.sqlite")
    journal, file, kept = Journal(tape), TapeFile(tape), list[Exchange]()
    for batch in range(10**9):
        names = [f"{name}-{batch}-{number}" for number in range(BATCH)]
        now = datetime.now(UTC)
        for each in names:
            row = Row(ts=now, call_id=each, profile="fast", provider="openai", model="m")
            ledger.start(row)
            ledger.finish(Row(**{**vars_of(row), "status": "ok", "cost": CENT, "billed": CENT}))
            answer = StoredAnswer(content=each, usage=Usage(1, 1), cost=CENT, created=now, provider="openai", model="m")
            answers.put(each.encode().rjust(32, b"."), answer)
            kept.append(exchange(each))
            journal.append(kept[-1].line())
        say(out, "tape", names)
        if ledger.flush():
            say(out, "row", names)
        answers.written().result()
        say(out, "answer", names)
        if batch % 4 == 3:  # as at the end of a kernel
            file.add(kept)
            journal.remove()
            kept.clear()


def vars_of(row: Row) -> dict[str, object]:
    """Return the fields of a row."""
    return {name: getattr(row, name) for name in Row.__slots__}


def say(out: int, kind: str, names: list[str]) -> None:
    """Write to the pipe, which takes so little at once or not at all."""
    os.write(out, "".join(f"{kind} {name}\n" for name in names).encode())


def fork(folder: Path, tape: Path, name: str) -> tuple[int, int]:
    """Start a kernel; return its process and its pipe."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            kernel(folder, tape, name, write)
        finally:
            os._exit(1)
    os.close(write)
    return child, read


def trial(folder: Path, *, kills: int, seed: int = 0) -> Outcome:
    """Kill so many kernels, and look at what they have left."""
    chance, certain, broken = random.Random(seed), dict[str, list[str]](), list[str]()
    for first in range(0, kills, 2):
        tape = folder / "tapes" / f"{first // TAPES}.jsonl"
        tape.parent.mkdir(exist_ok=True)
        running = [fork(folder, tape, f"k{number}") for number in range(first, min(first + 2, kills))]
        for _, pipe in running:
            select.select([pipe], [], [], 60)
        for child, _ in running:
            time.sleep(chance.random() * LONGEST)
            os.kill(child, signal.SIGKILL)
        for child, pipe in running:
            os.waitpid(child, 0)
            with open(pipe, "rb") as stream:  # noqa: PTH123 - a pipe
                for line in stream.read().decode().splitlines():
                    kind, _, name = line.partition(" ")
                    certain.setdefault(kind, []).append(name)
        broken += check(folder, tape)
    return judge(folder, certain, broken)


def check(folder: Path, tape: Path) -> list[str]:
    """Return which files do not open."""
    broken: list[str] = []
    for name in ("ledger.sqlite3", "answers.sqlite"):
        with closing(sqlite3.connect(folder / name, timeout=60)) as db:
            if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
                broken.append(name)
    try:
        TapeFile(tape).read()
    except ValueError as error:
        broken.append(str(error))
    return broken


def judge(folder: Path, certain: dict[str, list[str]], broken: list[str]) -> Outcome:
    """Compare the files with what was certain."""
    with Ledger(folder / "ledger.sqlite3", kernel="reader") as ledger:
        rows = ledger.rows(scope="all")
        total = ledger.total(scope="all")
    ended = Counter(row.call_id for row in rows if row.status == "ok")
    cache = AnswerCache(folder / "answers.sqlite")
    keys = [name.encode().rjust(32, b".") for name in certain.get("answer", [])]
    answers = cache.find(keys).result()
    cache.close()
    places = {
        journal.with_name(f"{journal.name.split('.')[1]}.jsonl") for journal in (folder / "tapes").glob(".*.journal")
    }
    places |= set((folder / "tapes").glob("*.jsonl"))
    tapes = [each for path in places for each in TapeFile(path).read()]
    exchanges = Counter(each.body.decode() for each in tapes)
    lost = sum(name not in ended for name in certain.get("row", []))
    lost += sum(key not in answers or answers[key].content.encode() != key.strip(b".") for key in keys)
    lost += sum(name not in exchanges for name in certain.get("tape", []))
    twice = sum(count > 1 for counts in (ended, exchanges) for count in counts.values())
    twice += total.cost != CENT * len(ended)
    return Outcome(Counter({kind: len(names) for kind, names in certain.items()}), lost, twice, broken)


def main(kills: int = 200, seed: int = 0) -> None:
    """Run a trial, and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        found = trial(Path(folder), kills=kills, seed=seed)
    print(f"{kills} kills; written for certain: {dict(found.certain)}")
    print(f"lost: {found.lost}; twice: {found.twice}; files that did not open: {found.broken or 'none'}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
