"""The thread that owns the ledger's file, so that no one who appends a row ever waits for a disk."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from victor_nb.accounting.store import Store
from victor_nb.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from victor_nb.accounting.rows import Cell

Result = TypeVar("Result")
Record: TypeAlias = "tuple[Cell, ...]"

_GROUP: Final = 5_000
"""Items that are served together at most, so that a flood of records keeps no reader waiting."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Work on the table that someone waits for."""

    work: Callable[[sqlite3.Connection], Any]
    answer: Future[Any] = field(default_factory=Future[Any])

    def ask(self, store: Store) -> None:
        """Answer, or raise to the one who waits: a failure, or the warning that the user wants to be raised."""
        try:
            found = store.run(self.work)
            failure, store.unsaid = store.unsaid, None
        except (sqlite3.Error, ArithmeticError, TypeError, ValueError) as error:  # the thread serves others as well
            found, failure = None, error
        if failure is None:
            self.answer.set_result(found)
        else:
            self.answer.set_exception(failure)


class Writer:
    """Takes records from any thread without waiting, and puts all that are there into one transaction.

    The thread starts, and the file is opened, with the first record or question.
    """

    def __init__(self, path: Path | None, *, kernel: str) -> None:
        self._path = path
        self._kernel = kernel
        self._store: Store | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._appended = 0
        self._lock = threading.RLock()  # a finaliser may append a row while its thread is appending one
        self._inbox: SimpleQueue[Record | _Question | None] = SimpleQueue()

    @property
    def path(self) -> Path | None:
        """The file, or None when the rows are in memory."""
        return self._path if self._store is None else self._store.path

    @property
    def started(self) -> bool:
        """Whether there was anything to do yet."""
        return self._thread is not None

    @property
    def appended(self) -> int:
        """How many records were appended so far; all of them are seen by what is asked from now on."""
        return self._appended

    def append(self, record: Record) -> None:
        """Have a record written, soon."""
        with self._lock:
            self._post(record)
            self._appended += 1

    def ask(self, work: Callable[[sqlite3.Connection], Result]) -> Future[Result]:
        """Have `work` done on the table, after all that was appended until now."""
        question = _Question(work)
        self._post(question)
        return question.answer

    def close(self, *, timeout: float) -> None:
        """Write what was appended, then end; at most `timeout` seconds are waited for it. Twice is fine."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._inbox.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _post(self, item: Record | _Question) -> None:
        with self._lock:
            if self._closed:
                raise ClosedError("The ledger is closed. Use session().ledger of an open session.")
            self._inbox.put(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="victor-ledger", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with closing(Store(self._path, kernel=self._kernel)) as self._store:
            while self._serve(self._store, self._waiting()):
                pass

    def _waiting(self) -> list[Record | _Question | None]:
        """Return all that waits, in the order in which it came; wait for the first."""
        waiting = [self._inbox.get()]
        with suppress(Empty):
            while len(waiting) < _GROUP:
                waiting.append(self._inbox.get_nowait())
        return waiting

    def _serve(self, store: Store, items: Sequence[Record | _Question | None]) -> bool:
        """Write, then answer; return whether there is more to come."""
        if records := [item for item in items if isinstance(item, tuple)]:
            try:
                store.write(records)
            except sqlite3.Error as error:  # not even memory takes them
                store.warn(f"{len(records)} ledger rows are lost: {error}.")
        for item in items:
            if isinstance(item, _Question):
                item.ask(store)
        return None not in items
