"""The store of answers: what was paid for once is not asked again. The questions are not in it, only their digests."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

from victor_nb.accounting.rows import in_blocks, moment, when
from victor_nb.accounting.store import PATIENCE, Store, Writer, is_busy, mark, patiently, transaction
from victor_nb.money import from_nanos, to_nanos
from victor_nb.providers.catalog import host_of
from victor_nb.values import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from decimal import Decimal

    from victor_nb.accounting.store import Record
    from victor_nb.values import ChatRequest, CostSource, FinishReason

Result = TypeVar("Result")

_APPLICATION: Final = 0x56696341
"""`VicA`, by which we know our own files (PRAGMA application_id)."""
_VERSION: Final = 1
_KEYS: Final = 1
"""The version of the key: raised when what goes into it changes, after which older answers are found no more."""
_EVER: Final = (1 << 63) - 1
_CHUNK: Final = 500
"""Keys in one query; some builds of SQLite take 999."""
_COLUMNS: Final = "key, created, provider, model, cost, content, detail"
_TABLE: Final = """(
    key BLOB PRIMARY KEY, created INTEGER NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, cost INTEGER,
    content TEXT NOT NULL, detail TEXT NOT NULL)"""
"""What no query asks for is JSON, in `detail`: a version that knows more of it needs no new columns."""
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NETWORKS: Final = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "fuse.sshfs")
"""File systems that several hosts may share, by how their names begin: WAL needs the memory of one host."""


def answer_key(chat: ChatRequest, *, provider: str, base_url: str, api: str | None = None, sample: int = 0) -> bytes:
    """Return the digest of all that decides what is answered, 32 bytes.

    Not in it: the profile's name, `max_tokens` (see `StoredAnswer.serves`), tier, prompt cache, prices, waits, retries.
    The order of a schema's fields is in it, since models answer in that order.
    """
    schema = chat.schema
    asked: dict[str, object] = {
        "version": _KEYS,
        "provider": provider,
        "host": host_of(base_url).lower(),
        "path": urlsplit(base_url).path.rstrip("/"),
        "api": api,
        "model": chat.model,
        "messages": [
            [turn.role, turn.content, *([part.kind, sha256(part.data).hexdigest()] for part in turn.media)]
            for turn in chat.messages
        ],
        "system": chat.system,
        "schema": schema and [schema.name, schema.kind, json.dumps(schema.schema)],
        "effort": chat.effort,
        "temperature": None if chat.temperature is None else float(chat.temperature),
        "seed": chat.seed,
        "params": json.loads(json.dumps(chat.params)) if chat.params else {},  # keys as they are sent: texts
        "sample": sample,
    }
    return sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """A whole answer, or one that was cut at its limit, as it is kept; a value is read from it again by its schema.

    Attributes:
        usage: Tokens of the attempt that was answered, without those that failed before it.
        cost: List price of the usage in USD at that time; None where it is unknown.
        created: When it was asked.
        max_tokens: The limit that it was asked with; None: the model's own.
        notes: What a reader of the answer should know.
    """

    content: str
    usage: Usage
    cost: Decimal | None
    created: datetime
    provider: str
    model: str
    finish_reason: FinishReason | None = "stop"
    model_served: str | None = None
    max_tokens: int | None = None
    cost_source: CostSource | None = None
    price_version: str | None = None
    latency: float = 0.0
    ttft: float | None = None
    request_id: str | None = None
    service_tier: str | None = None
    notes: tuple[str, ...] = ()

    def serves(self, max_tokens: int | None) -> bool:
        """Return whether it answers what is asked with such a limit: always, unless it was cut at a lower one."""
        if self.finish_reason != "length" or self.max_tokens is None:
            return True
        return max_tokens is not None and max_tokens <= self.max_tokens


_DETAILS: Final = tuple(
    each.name for each in fields(StoredAnswer) if each.name not in {*_COLUMNS.split(", "), "usage", "notes"}
)
_COUNTS: Final = tuple(each.name for each in fields(Usage))


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """The answers of one model in the store.

    Attributes:
        cost: What they would cost at list prices, in USD, those of unknown price apart.
        unpriced: How many have no known price.
    """

    provider: str
    model: str
    answers: int
    cost: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """What is in a store of answers.

    Attributes:
        path: The file; None: in memory.
        journal: How SQLite keeps the file whole: `wal`, or `delete` on a network file system; `memory`.
        size: Bytes.
        oldest: When the oldest answer was asked.
    """

    path: Path | None
    journal: str
    size: int
    oldest: datetime | None
    models: tuple[ModelAnswers, ...]

    @property
    def answers(self) -> int:
        """How many there are."""
        return sum(each.answers for each in self.models)


class AnswerCache:
    """Answers by the digests of their questions, in one SQLite file for all kernels, or in memory.

    `put` returns at once, on any thread and on an event loop. What cannot be written stays in memory, with one
    `VictorWarning`; nothing of it ever fails a call. The file is opened with the first use.

    Args:
        path: The file; None keeps the answers in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._writer = Writer(path, kernel="", kind=_AnswerStore)

    @property
    def path(self) -> Path | None:
        """The file in use; None when the answers are in memory."""
        return self._writer.path

    def find(self, keys: Iterable[bytes]) -> Future[dict[bytes, StoredAnswer]]:
        """Queue a search for many keys, after all that was put before; those that have no answer are left out."""
        return self._writer.ask(partial(_find, list(dict.fromkeys(keys))))

    def put(self, key: bytes, answer: StoredAnswer) -> None:
        """Keep an answer, in the place of an older one of that key."""
        self._writer.append(_encode(key, answer))

    def written(self) -> Future[None]:
        """Return what is done once all that was put is in the file; all of a moment share it: do not cancel it."""
        return self._writer.written()

    def close(self, *, timeout: float = 30.0) -> None:
        """Write what was put and close the file. Twice is fine."""
        self._writer.close(timeout=timeout)

    def news(self) -> list[str]:
        """Return what a user is to know and was not shown yet: that there is a file now, and what is in it."""
        store = self._writer.store
        if not isinstance(store, _AnswerStore):
            return []
        news, store.news = store.news, []
        return news

    @property
    def unused(self) -> bool:
        """Whether there is no file yet, which a look should not make."""
        return not self._writer.started and self.path is not None and not self.path.exists()

    def status(self) -> CacheStatus:
        """Return what is in the store."""
        if self.unused:
            return CacheStatus(self.path, "none", 0, None, ())
        journal, size, oldest, models = self._writer.ask(_status).result()
        rows = tuple(ModelAnswers(*names, count, from_nanos(cost), none) for names, count, cost, none in models)
        return CacheStatus(self.path, journal, size, None if oldest is None else when(oldest), rows)

    def prune(self, *, before: datetime | None = None, model: str | None = None) -> int:
        """Delete the answers that were asked before a moment, or of a model; return how many. Without either, all."""
        if self.unused:
            return 0
        return self._writer.ask(partial(_prune, None if before is None else moment(before), model)).result()


class _AnswerStore(Store):
    """The file of answers. What is damaged is moved aside; what cannot be written goes to memory beside it.

    Attributes:
        news: What no user was shown yet.
    """

    thread: ClassVar = "victor-answers"
    rows: ClassVar = "answers"
    closed: ClassVar = "The store of answers is closed. Use that of an open session."

    def __init__(self, path: Path | None, *, kernel: str) -> None:
        self.news: list[str] = []
        self._file: tuple[int, int] | None = None
        self._failed = False
        self._opened = None
        super().__init__(path, kernel=kernel)
        self.insert = self._insert

    def warn(self, text: str) -> None:
        """Warn; what the user's filter makes an error of is news, since no call fails for the sake of the store."""
        super().warn(text)
        if self.unraised is not None:
            self.unraised = None
            self.news.append(text)

    def run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work`; once more on a new file if the old one is damaged, or in memory if there is none."""
        try:
            return patiently(work, self._db)
        except (sqlite3.Error, OSError) as cause:
            if self.path is None:
                raise
            self._opened = self._replace(cause)
            return patiently(work, self._opened)

    def _insert(self, records: Sequence[Record], db: sqlite3.Connection) -> None:
        """Add the answers; those for which the disk has no room stay in memory, where they are found too."""
        try:
            _insert("main.answers", records, db)
        except sqlite3.Error as cause:
            if self.path is None or _is_damaged(cause) or is_busy(cause):
                raise  # to be tried again, here or on a new file
            if not self._failed:
                self._failed = True
                kept = "Answers are kept in memory until it can, and end with this kernel"
                self.warn(f"The store of answers {str(self.path)!r} cannot be written ({cause}). {kept}.")
            db.execute(f"CREATE TEMP TABLE IF NOT EXISTS spare {_TABLE}")
            _insert("temp.spare", records, db)

    def _open(self) -> sqlite3.Connection:
        if self.path is None:
            return _in_memory()
        try:
            return self._in_file(self.path)
        except (sqlite3.Error, OSError, ValueError) as cause:  # ValueError: a path with a NUL in it
            return self._replace(cause)

    def _in_file(self, path: Path) -> sqlite3.Connection:
        """Open or create the file, which only its owner may read."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not path.exists()
        path.touch(mode=0o600)
        status = path.stat()
        self._file = (status.st_dev, status.st_ino)
        db = _connected(path, shared=is_shared(path))
        if is_new:
            use = "%victor cache status; VICTOR_CACHE=off keeps none"
            self.news.append(f"answers are kept in {path}, for you alone, and serve the same question again ({use})")
        return db

    def _replace(self, cause: Exception) -> sqlite3.Connection:
        """Return another connection for one that failed: to a new file where the old one is damaged, else to memory."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        path = self.path
        if path is not None and _is_damaged(cause):
            try:
                aside = self._moved_aside(path)
                db = self._in_file(path)
            except (sqlite3.Error, OSError) as failure:
                cause = failure
            else:
                if aside is not None:
                    self.warn(
                        f"The store of answers {str(path)!r} is damaged ({cause}): it was moved to {aside.name!r}, "
                        "and a new one begun."
                    )
                return db
        self.path = None
        self.warn(
            f"The store of answers {str(path)!r} cannot be used ({cause}): answers are kept in memory, and end with "
            "this kernel. Set VICTOR_CACHE to another file."
        )
        return _in_memory()

    def _moved_aside(self, path: Path) -> Path | None:
        """Rename the damaged file and its journals, and return its new name; None if another kernel has done it."""
        with suppress(FileNotFoundError):
            status = path.stat()
            if (status.st_dev, status.st_ino) == self._file:
                aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
                path.rename(aside)
                for journal in ("-wal", "-shm", "-journal"):
                    with suppress(FileNotFoundError):
                        path.with_name(path.name + journal).rename(aside.with_name(aside.name + journal))
                return aside
        return None


# --- the table ---


def _in_memory() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _create(db)
    return db


def _connected(path: Path, *, shared: bool) -> sqlite3.Connection:
    """Open the file; if that fails where one host is thought to have it, once more as if several had."""
    db = sqlite3.connect(path, timeout=PATIENCE / 6, isolation_level=None, check_same_thread=False)
    try:
        patiently(partial(_prepare, shared), db)
    except BaseException as error:
        db.close()
        if shared or not isinstance(error, sqlite3.OperationalError) or is_busy(error):
            raise
        return _connected(path, shared=True)
    return db


def _prepare(shared: bool, db: sqlite3.Connection) -> None:  # noqa: FBT001 - for `partial`
    """Create the table in an empty file, and let readers and a writer go on beside each other; not if it is shared.

    Raises:
        sqlite3.DatabaseError: The file is of another kind, or of a newer version.
    """
    db.execute("PRAGMA temp_store = MEMORY")
    if shared:
        db.execute(
            "PRAGMA locking_mode = EXCLUSIVE"
        )  # without it, a file with WAL needs memory that hosts cannot share
    try:
        _check(db)
        if db.execute(f"PRAGMA journal_mode = {'DELETE' if shared else 'WAL'}").fetchone()[0] == "wal":
            db.execute("PRAGMA synchronous = NORMAL")  # what is committed survives the process, and is never torn
    finally:
        if shared:
            db.execute("PRAGMA locking_mode = NORMAL")
            db.execute("SELECT 1 FROM sqlite_master").fetchone()  # lets go of the lock


def _check(db: sqlite3.Connection) -> None:
    if mark(db) == (0, 0):
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is any table
        with transaction(db):
            if mark(db) == (0, 0) and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                _create(db)
    application, version = mark(db)
    if application != _APPLICATION:
        raise sqlite3.DatabaseError("it holds something else")
    if version > _VERSION:
        raise sqlite3.DatabaseError(
            f"its version {version} is of a newer victor_nb, and this one knows {_VERSION}: upgrade victor_nb"
        )


def _create(db: sqlite3.Connection) -> None:
    db.execute(f"CREATE TABLE answers {_TABLE}")
    db.execute(f"PRAGMA application_id = {_APPLICATION}")
    db.execute(f"PRAGMA user_version = {_VERSION}")


def is_shared(path: Path) -> bool:
    """Return whether a file is on a file system that other hosts may use at the same time, as far as Linux tells."""
    if sys.platform != "linux":
        return False
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    folders = {str(folder) for folder in path.resolve().parents}
    _, kind = max(((len(place), kind) for _, place, kind, *_ in mounts if place in folders), default=(0, ""))
    return kind.startswith(_NETWORKS)


def _is_damaged(cause: Exception) -> bool:
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _encode(key: bytes, answer: StoredAnswer) -> Record:
    detail: dict[str, Any] = {name: value for name in _DETAILS if (value := getattr(answer, name)) is not None}
    usage = answer.usage
    detail["usage"] = {name: count for name in _COUNTS if (count := getattr(usage, name))}
    if answer.notes:
        detail["notes"] = answer.notes
    created, cost = moment(answer.created), to_nanos(answer.cost)
    # An answer may end in half a character, where its limit has cut it.
    content = answer.content.encode(errors="backslashreplace").decode()
    return key, created, answer.provider, answer.model, cost, content, json.dumps(detail)


def _decode(created: int, provider: str, model: str, cost: int | None, content: str, detail: str) -> StoredAnswer:
    found: dict[str, Any] = json.loads(detail)
    return StoredAnswer(
        content=content,
        usage=Usage(**{name: count for name, count in found.get("usage", {}).items() if name in _COUNTS}),
        cost=None if cost is None else from_nanos(cost),
        created=when(created),
        provider=provider,
        model=model,
        notes=tuple(found.get("notes", ())),
        **{name: found[name] for name in _DETAILS if name in found},
    )


def _insert(table: str, records: Sequence[Record], db: sqlite3.Connection) -> None:
    """Add answers, several in a statement: each gives the interpreter away and waits for it once."""
    with transaction(db):
        for size, cells in in_blocks(records):
            places = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * size)
            statement = f"INSERT OR REPLACE INTO {table} ({_COLUMNS}) VALUES {places}"  # noqa: S608 - our own names
            db.executemany(statement, cells)


def _tables(db: sqlite3.Connection) -> Iterator[str]:
    """Yield the tables that hold answers: the file's, and where it could not be written, the one in memory."""
    yield "main.answers"
    if db.execute("SELECT 1 FROM temp.sqlite_master WHERE name = 'spare'").fetchone():
        yield "temp.spare"


def _find(keys: Sequence[bytes], db: sqlite3.Connection) -> dict[bytes, StoredAnswer]:
    found: dict[bytes, StoredAnswer] = {}
    for table in _tables(db):
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            query = f"SELECT {_COLUMNS} FROM {table} WHERE key IN (?{', ?' * (len(chunk) - 1)})"  # noqa: S608 - our own names
            for key, *cells in db.execute(query, chunk):
                try:
                    answer = _decode(*cells)
                except (AttributeError, TypeError, ValueError):  # damaged, where SQLite sees nothing of it
                    continue
                if key not in found or found[key].created <= answer.created:
                    found[key] = answer
    return found


def _status(
    db: sqlite3.Connection,
) -> tuple[str, int, int | None, list[tuple[tuple[str, str], int, int, int]]]:
    size = db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]
    everything = " UNION ALL ".join(f"SELECT {_COLUMNS} FROM {table}" for table in _tables(db))  # noqa: S608 - our own names
    oldest = db.execute(f"SELECT MIN(created) FROM ({everything})").fetchone()[0]  # noqa: S608 - as above
    found = db.execute(
        "SELECT provider, model, COUNT(*), COALESCE(SUM(cost), 0), COUNT(*) - COUNT(cost) "  # noqa: S608 - as above
        f"FROM ({everything}) GROUP BY provider, model ORDER BY 4 DESC, 3 DESC, 1, 2"
    )
    models = [((provider, model), *counts) for provider, model, *counts in found]
    return db.execute("PRAGMA journal_mode").fetchone()[0], size, oldest, models


def _prune(before: int | None, model: str | None, db: sqlite3.Connection) -> int:
    """Delete answers, and give their room back."""
    db.execute("PRAGMA secure_delete = ON")  # what a user deletes is not to be found in the file
    count = 0
    with transaction(db):
        for table in _tables(db):
            query = f"DELETE FROM {table} WHERE created < COALESCE(?1, {_EVER}) AND model = COALESCE(?2, model)"  # noqa: S608 - our own names
            count += db.execute(query, (before, model)).rowcount
    db.executescript("PRAGMA incremental_vacuum")  # `execute` would take one page only
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return count
