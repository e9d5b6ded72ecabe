"""SQLite files that several kernels write at once, or memory where no file can be used: the ledger's store."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
import warnings
from collections import deque
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypeVar

from victor_nb.accounting.rows import SCHEMA, TABLE, upsert
from victor_nb.errors import ClosedError, VictorWarning
from victor_nb.fork import Step, at_fork, in_child, keep_for_ever, take

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from victor_nb.accounting.rows import Cell

Result = TypeVar("Result")
Record: TypeAlias = "tuple[Cell, ...]"
"""A row as it is written: in the ledger the kernel's id, then a cell for each column."""

_APPLICATION: Final = 0x56696374
"""`Vict`, by which we know our own files (PRAGMA application_id)."""
_CHANGES: Final[Mapping[int, Sequence[str]]] = {}
"""SQL that leads from a version, the first being 1, to the next. A new column needs none: see `_migrate`."""
_VERSION: Final = 1 + len(_CHANGES)
PATIENCE: Final = 30.0
"""Seconds that other kernels may keep us waiting for the file."""
_MOMENT: Final = 0.01
"""Seconds that records wait for others: a transaction takes longer than many a row in it."""
_GROUP: Final = 5_000
"""Items that are served together at most, so that a flood of records keeps no reader waiting."""
_FAILURES: Final = (
    sqlite3.Error,
    OSError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""What a record or a question may fail with; the thread goes on and serves others."""

_CLAIMS: Final = """
    CREATE TABLE IF NOT EXISTS claims (
        key TEXT NOT NULL, kernel TEXT NOT NULL, amount INTEGER NOT NULL, PRIMARY KEY (key, kernel)
    ) WITHOUT ROWID"""
"""What each kernel may use of a limit that several share, in nano-dollars."""
_PREPARATION: Final = (
    TABLE,
    _CLAIMS,
    "CREATE INDEX attempts_by_kernel ON attempts (kernel, ts)",
    "CREATE INDEX attempts_by_ts ON attempts (ts)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
_OWN: Final = f"SELECT kernel, {', '.join(SCHEMA)} FROM attempts WHERE kernel = ? ORDER BY rowid"  # noqa: S608 - our own names
_CACHE: Final = 16_000
"""Kilobytes of the file's pages in memory at most, so that its indexes are not read again for each transaction."""
_WAL: Final = 10_000
"""Pages of 4 kB beside the file before they are moved into it: moved more often, pages are written again and again."""


class Writer:
    """Takes records from any thread without waiting, and writes those of a moment in one transaction.

    A record is in the file 10 ms after it was appended, or at once if something reads, forks or closes: a process that
    is killed loses at most what it appended in that moment. The thread starts, and the file is opened, with the first
    record or question.

    Args:
        path: The file; None: in memory.
        kernel: The kernel's id.
        kind: What the file is opened as.
    """

    def __init__(self, path: Path | None, *, kernel: str, kind: type[Store] | None = None) -> None:
        self._path = path
        self._kernel = kernel
        self._kind = kind or Store
        self._closed = False
        self._appended = 0
        self._begin()
        at_fork(Step.FILES, self.rest)
        in_child(self.renew)

    def _begin(self) -> None:
        """Take locks of this process's own, and no thread and file yet."""
        self._store: Store | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()  # a finaliser may append a row while its thread is appending one
        self._waiting: deque[Record | _Question] = deque()
        self._mark: _Question | None = None  # is served after all that waits
        self._bell: SimpleQueue[_Due] = SimpleQueue()
        self._due = _Due.NEVER
        self._serving = threading.RLock()

    @property
    def path(self) -> Path | None:
        """The file, or None when the rows are in memory."""
        return self._path if self._store is None else self._store.path

    @property
    def store(self) -> Store | None:
        """What its thread has opened."""
        return self._store

    @property
    def started(self) -> bool:
        """Whether there was anything to do yet."""
        return self._thread is not None

    @property
    def appended(self) -> int:
        """How many records were appended so far; all of them are seen by what is asked from now on."""
        return self._appended

    def append(self, *records: Record) -> None:
        """Queue records for writing."""
        self._put(records, _Due.SOON, records=len(records))

    def ask(self, work: Callable[[sqlite3.Connection], Result]) -> Future[Result]:
        """Queue work on the table, to be done at once, after all that was appended until now."""
        question = _Question(work)
        self._put((question,), _Due.NOW)
        return question.answer

    def written(self) -> Future[None]:
        """Return what is done once all that was appended until now is written: the same for all of a moment."""
        with self._lock:
            if self._mark is None:
                self._put((), _Due.SOON)
                self._mark = _Question(nothing)
            return self._mark.answer

    def flush(self, *, timeout: float = 30.0) -> bool:
        """Wait until all that was appended is written; return False if that takes more than `timeout` seconds."""
        try:
            if self.started:
                self.ask(nothing).result(timeout)
        except TimeoutError:
            return False
        return True

    def _put(self, items: Sequence[Record | _Question], due: _Due, *, records: int = 0) -> None:
        with self._lock:
            if self._closed:
                raise ClosedError(self._kind.closed)
            self._waiting.extend(items)
            if due > self._due:  # else the thread knows
                self._due = due
                self._bell.put(due)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._kind.thread, daemon=True)
                self._thread.start()
            self._appended += records

    def close(self, *, timeout: float) -> None:
        """Write what was appended, then end the thread; wait at most `timeout` seconds. Twice is fine."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._bell.put(_Due.NOW)
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        with self._serving:
            self._store = self._kind(self._path, kernel=self._kernel)
        with closing(self._store):
            while not self._closed or self._waiting or self._mark:
                if self._bell.get() < _Due.NOW:
                    with suppress(Empty):
                        self._bell.get(timeout=_MOMENT)
                with self._serving:
                    self._serve(self._store, self._take())

    def rest(self, held: ExitStack, deadline: float) -> None:
        """Keep the file closed: a child must be forked with no connection, and no lock of SQLite's; see `at_fork`.

        A child that had one would take its parent's locks for its own, and its rows would be lost when the parent
        closes the file. It is opened again when it is needed.
        """
        if take(self._serving, held, deadline) and self._store is not None:
            self._store.rest()

    def renew(self) -> None:
        """Begin anew in a forked child: the thread is the parent's, which also writes what waits."""
        keep_for_ever(self._store)
        self._begin()

    def _take(self) -> list[Record | _Question]:
        """Return what waits, in the order in which it came."""
        with self._lock:
            taken: list[Record | _Question] = []
            while self._waiting and len(taken) < _GROUP:
                taken.append(self._waiting.popleft())
            self._due = _Due.NOW if self._waiting else _Due.NEVER
            if self._waiting:
                self._bell.put(_Due.NOW)
            elif self._mark is not None:
                taken.append(self._mark)
                self._mark = None
        return taken

    def _serve(self, store: Store, items: Sequence[Record | _Question]) -> None:
        """Write, then answer."""
        records: list[Record] = []
        questions: list[_Question] = []
        for item in items:
            if isinstance(item, tuple):
                records.append(item)
            else:
                questions.append(item)
        if records:
            try:
                store.run(partial(store.insert, records))
            except _FAILURES as error:
                if len(records) > 1 and not isinstance(error, sqlite3.Error):  # what no column takes is lost alone
                    for record in records:
                        self._serve(store, [record])
                else:  # not even memory takes them
                    store.warn(f"{len(records)} {store.rows} are lost: {error}.")
        for question in questions:
            question.ask(store)


class _Due(IntEnum):
    """When what waits is to be served."""

    NEVER = 0
    SOON = 1
    NOW = 2


@dataclass(frozen=True, slots=True)
class _Question:
    """Work on the table, and the future that a reader waits for."""

    work: Callable[[sqlite3.Connection], Any]
    answer: Future[Any] = field(default_factory=Future[Any])

    def ask(self, store: Store) -> None:
        """Set the answer, or raise in the reader: a failure, or a warning that the user's filter made an error."""
        if not self.answer.set_running_or_notify_cancel():  # its reader was stopped
            return
        try:
            found = store.run(self.work)
            failure, store.unraised = store.unraised, None
        except _FAILURES as error:
            found, failure = None, error
        if failure is None:
            self.answer.set_result(found)
        else:
            self.answer.set_exception(failure)


class Store:
    """One connection to the ledger's table, for one thread at a time.

    A file that fails gives one `VictorWarning`; this kernel's rows then move to memory.

    Attributes:
        path: The file, or None when the rows are in memory.
        insert: Adds records to the table, or completes those that are there.
        unraised: The warning, where the user's filter made an error of it: the next reader raises it.
    """

    thread: ClassVar = "victor-ledger"
    rows: ClassVar = "ledger rows"
    closed: ClassVar = "The ledger is closed. Use session().ledger of an open session."

    def __init__(self, path: Path | None, *, kernel: str) -> None:
        self.path = path
        self.insert: Callable[[Sequence[Record], sqlite3.Connection], None] = _insert
        self.unraised: VictorWarning | None = None
        self._kernel = kernel
        self._opened: sqlite3.Connection | None = self._open()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def rest(self) -> None:
        """Close the file until it is needed again; rows in memory stay where they are."""
        if self.path is not None and self._opened is not None:
            self._opened.close()
            self._opened = None

    def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work` on the table; if the file fails, once more on the table in memory."""
        try:
            return patiently(work, self._opened or self._db, mend=_migrate)
        except (sqlite3.Error, OSError) as cause:
            if self.path is None:
                raise
            self._opened = self._fall_back(self.path, cause, self._opened)
            return work(self._opened)

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()

    def warn(self, text: str) -> None:
        """Warn; keep the warning if it became an exception, which on this thread no user would see."""
        try:
            warnings.warn(text, VictorWarning, stacklevel=2)
        except VictorWarning as warning:
            self.unraised = warning

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            return _in_memory()
        try:
            return _in_file(self.path)
        except (sqlite3.Error, OSError, ValueError) as cause:  # ValueError: a path with a NUL in it
            return self._fall_back(self.path, cause, None)

    def _fall_back(self, path: Path, cause: Exception, old: sqlite3.Connection | None) -> sqlite3.Connection:
        memory = _in_memory()
        if old is not None:
            with closing(old), suppress(sqlite3.Error):
                for record in old.execute(_OWN, (self._kernel,)):
                    upsert([record], memory)
        self.path = None
        self.warn(
            f"The ledger {str(path)!r} cannot be used ({cause}): this kernel's rows stay in memory and end with it. "
            "Set VICTOR_LEDGER to another file."
        )
        return memory


# --- opening, creating, migrating ---


def _in_memory() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    _create(db)
    return db


def _in_file(path: Path) -> sqlite3.Connection:
    """Open or create the ledger. Only its owner may read it: `log_text` puts prompts there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    db = sqlite3.connect(path, timeout=PATIENCE / 6, isolation_level=None, check_same_thread=False)
    try:
        patiently(_prepare, db, mend=_migrate)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection) -> None:
    """Create or migrate the table, then switch to WAL, in which readers and a writer do not wait for each other."""
    if mark(db) == (0, 0):
        with transaction(db):
            if mark(db) == (0, 0) and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                _create(db)
    _migrate(db)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA wal_autocheckpoint = {_WAL}")
    db.execute(f"PRAGMA cache_size = -{_CACHE}")


def _create(db: sqlite3.Connection) -> None:
    for statement in _PREPARATION:
        db.execute(statement)


def _migrate(db: sqlite3.Connection) -> bool:
    """Bring a file of an earlier version up to date; return whether there was anything to do.

    A column that is only missing is added, with NULL in the rows that are there, and leaves `user_version` as it is: an
    older victor_nb, which names its columns, goes on writing to the file. Columns that a newer one added are kept.

    Raises:
        sqlite3.DatabaseError: The file is not a ledger, or of a newer version.
    """
    if _version(db) == _VERSION and not _missing(db) and db.execute("PRAGMA table_info(claims)").fetchone():
        return False
    with transaction(db):  # and read again: another kernel may have been first
        for version in range(_version(db), _VERSION):
            for statement in _CHANGES[version]:
                db.execute(statement)
        db.execute(_CLAIMS)
        for name in _missing(db):
            db.execute(f"ALTER TABLE attempts ADD COLUMN {name} {SCHEMA[name].sql}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
    return True


def _version(db: sqlite3.Connection) -> int:
    """Return the version of a ledger that can be read here.

    Raises:
        sqlite3.DatabaseError: The file is not a ledger, or of a newer version.
    """
    application, version = mark(db)
    if application != _APPLICATION or version < 1:
        raise sqlite3.DatabaseError("it is not a ledger of victor_nb")
    if version > _VERSION:
        raise sqlite3.DatabaseError(
            f"its version {version} is of a newer victor_nb, and this one knows {_VERSION}: upgrade victor_nb"
        )
    return version


def _missing(db: sqlite3.Connection) -> list[str]:
    """Return the columns that the table lacks."""
    there = {name for _, name, *_ in db.execute("PRAGMA table_info(attempts)")}
    return [name for name in SCHEMA if name not in there]


def mark(db: sqlite3.Connection) -> tuple[int, int]:
    """Return whose file it is and of which version; zeros for an empty one."""
    return db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0]


def _insert(records: Sequence[Record], db: sqlite3.Connection) -> None:
    """Add the records, or complete those of the same kernel, call and attempt, in one transaction."""
    last = {
        record[2:4]: record for record in records
    }  # by call and attempt: one that has ended needs no `running` first
    with transaction(db):
        upsert(list(last.values()), db)


def nothing(_db: sqlite3.Connection) -> None:
    """Do nothing, after all that was appended before."""


@contextmanager
def transaction(db: sqlite3.Connection) -> Generator[None]:
    """Write all or nothing. IMMEDIATE: a reader that turns writer half-way cannot be made to wait, only refused."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # an error may have ended the transaction already
            db.execute("ROLLBACK")
        raise


def patiently(
    work: Callable[[sqlite3.Connection], Result],
    db: sqlite3.Connection,
    mend: Callable[[sqlite3.Connection], bool] | None = None,
) -> Result:
    """Do `work` again while other kernels hold the file: SQLite's own timeout does not cover the switch to WAL.

    Once more also where `mend` finds something to do, as if an older victor_nb has created the table anew meanwhile.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return work(db)
        except sqlite3.OperationalError as error:
            failure = error
        try:
            if mend is not None and failure.sqlite_errorcode == sqlite3.SQLITE_ERROR and mend(db):
                continue
        except sqlite3.OperationalError as error:
            failure = error
        if not is_busy(failure) or time.monotonic() > deadline:
            raise failure
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - two kernels must not wait in step


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another kernel has the file."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
