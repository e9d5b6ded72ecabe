"""The ledger: one row per attempt, written when it starts and completed when it ends; sums are read, never kept."""

from __future__ import annotations

import json
from array import array
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from victor_nb.accounting.rows import COLUMNS, SCHEMA, Row, decode, encode, encode_all, moment
from victor_nb.accounting.store import Writer, transaction
from victor_nb.errors import ConfigError
from victor_nb.money import NANOS_PER_USD, Total, from_nanos, to_nanos
from victor_nb.values import PAID, UNPAID

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import pandas as pd
    from numpy.typing import NDArray

    from victor_nb.accounting.rows import Cell
    from victor_nb.values import Book, Mode

__all__ = ["Ledger", "LedgerTotal", "Row", "Scope"]

Result = TypeVar("Result")
Scope: TypeAlias = Literal["kernel", "all"]
"""The rows of this kernel, or of the whole file."""

_MOST: Final = (1 << 63) - 1
_BLOCK: Final = 200
"""Rows that are made ready at a time, so that those before them are written meanwhile."""
_CLAUSES: Final = {"kernel": "kernel = :kernel", "all": "TRUE"}
_SUMS: Final = f"""
    mode, COALESCE(SUM(cost / {NANOS_PER_USD}), 0), COALESCE(SUM(cost % {NANOS_PER_USD}), 0),
    COALESCE(SUM(billed / {NANOS_PER_USD}), 0), COALESCE(SUM(billed % {NANOS_PER_USD}), 0),
    COUNT(*) - COUNT(cost), COUNT(*) - COUNT(billed), COUNT(*) FILTER (WHERE cost = 0 AND output_tokens > 0),
    COUNT(*) FILTER (WHERE attempt = 1 AND status <> 'refused'), COUNT(*) FILTER (WHERE status <> 'refused'),
    COUNT(*) FILTER (WHERE status = 'running'), COUNT(*) FILTER (WHERE status IN ('error', 'invalid')),
    COUNT(*) FILTER (WHERE status = 'refused')"""
"""Dollars and the nanos beyond them apart: the sum of the nanos alone would overflow at nine billion dollars."""


_CLAIM: Final = """
    INSERT INTO claims (key, kernel, amount) VALUES (:key, :kernel, :amount)
    ON CONFLICT (key, kernel) DO UPDATE SET amount = excluded.amount"""
_CLAIMED: Final = f"""
    SELECT COALESCE(SUM(amount), 0) FROM (SELECT kernel, MAX(amount) AS amount FROM (
        SELECT kernel, amount FROM claims WHERE key = :key
        UNION ALL
        SELECT kernel, SUM(COALESCE(cost, held, 0)) FROM attempts
        WHERE ts >= :since AND (mode IN ({", ".join(map(repr, UNPAID))})) = :unpaid GROUP BY kernel
    ) WHERE kernel != :kernel GROUP BY kernel)"""  # noqa: S608 - our own names
"""What other kernels may use of a limit: what each has claimed or, where that is more, what its rows come to."""


class Shared(Protocol):
    """A limit of a budget that several kernels share."""

    @property
    def key(self) -> str:
        """Its name, which no other limit has."""
        ...

    @property
    def amount(self) -> Decimal:
        """USD that all of them may spend; infinite where nothing limits it."""
        ...

    @property
    def since(self) -> datetime | None:
        """The start of the day that it is for, else None."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerTotal(Total):
    """What the attempts of a ledger cost together, and how many they are.

    Attributes:
        calls: Calls that were sent, however often each was tried.
        attempts: Requests that were sent.
        running: Attempts that are under way, or whose kernel ended before they did.
        failed: Attempts that ended in an error, or whose answer does not fit its schema.
        refused: Calls and further attempts that were never sent: a budget refused them, or their worker was lost before
            it sent them. They are neither.
        simulated: Attempts that were simulated or replayed, and so not paid for.
    """

    calls: int = 0
    attempts: int = 0
    running: int = 0
    failed: int = 0
    refused: int = 0
    simulated: int = 0

    @property
    def ended(self) -> LedgerTotal:
        """The same without the prices of attempts under way, which are not known yet."""
        unpriced, unbilled = self.unpriced - self.running, self.unbilled - self.running
        return replace(self, unpriced=max(0, unpriced), unbilled=max(0, unbilled))

    @property
    def counts(self) -> str:
        """Calls, attempts where there are more, and what is out of the ordinary: `3 calls in 4 attempts, 1 failed`."""
        tried = f" in {self.attempts:,} attempts" if self.attempts != self.calls else ""
        others = {"under way": self.running, "failed": self.failed, "refused": self.refused}
        calls = f"{self.calls:,} call{'s'[: self.calls != 1]}{tried}"
        return ", ".join([calls, *(f"{count:,} {word}" for word, count in others.items() if count)])


class Ledger:
    """Every attempt as a row, in one SQLite file for all kernels, or in memory.

    `start` and `finish` return at once, on any thread and on an event loop; a row is in the file 10 ms later, so that
    those of a moment are one transaction, and a kernel that is killed loses no others. What reads waits until all that
    was appended before is written. The file is opened with the first row or reading. A file that cannot be used gives
    one `VictorWarning`, and this kernel's rows stay in memory.

    Args:
        path: The file; None keeps the rows in memory.
        kernel: An id of this process, which no other one has.
    """

    asks_leave: ClassVar[bool] = False
    """Whether attempts wait for what `start` returns, those that are simulated too."""

    def __init__(self, path: Path | None, *, kernel: str) -> None:
        self.kernel = kernel
        self._writer = Writer(path, kernel=kernel)

    @property
    def path(self) -> Path | None:
        """The file in use; None when the rows are in memory, by choice or because the file could not be used."""
        return self._writer.path

    @property
    def version(self) -> int:
        """A number that is higher after each `start` and `finish` here: as long as it stays, so do the kernel's rows.

        It is read at once, at no cost. What other kernels append to the same file does not raise it.
        """
        return self._writer.appended

    def start(self, row: Row) -> Future[None] | None:
        """Write an attempt that begins, with status `running`: a killed kernel still shows it.

        Return what has to be done before it may be sent; None: nothing.
        """
        return self._writer.append(encode(row, kernel=self.kernel, status="running"))

    def finish(self, row: Row) -> None:
        """Write how the attempt ended, over the row that `start` wrote for its `call_id` and `attempt`."""
        self._writer.append(encode(row, kernel=self.kernel, status=row.status))

    def extend(self, rows: Iterable[Row]) -> None:
        """Write many attempts that have ended, such as those that another process has made."""
        left = iter(rows)
        while block := list(islice(left, _BLOCK)):
            self._writer.append(*encode_all(block, kernel=self.kernel))

    def flush(self, *, timeout: float = 30.0) -> bool:
        """Wait until all that was appended is written; return False if that takes more than `timeout` seconds."""
        return self._writer.flush(timeout=timeout)

    def close(self, *, timeout: float = 30.0) -> None:
        """Write what was appended and close the file. Twice is fine; any other use of the ledger is then an error."""
        self._writer.close(timeout=timeout)

    def rows(
        self,
        scope: Scope = "kernel",
        *,
        run_id: str | None = None,
        last: int | None = None,
        since: datetime | None = None,
        notebook: str | None = None,
    ) -> list[Row]:
        """Return the attempts by the time at which they started, oldest first.

        Args:
            scope: Those of this kernel, or of the whole file.
            run_id: Only those of one strategy run, bulk job or fan-out.
            last: Only the newest so many. The time this takes depends on their number, not on that of the others.
            since: Only those that started at that moment or later.
            notebook: Only those of the notebook of that path.
        """
        where, values = self._where(scope, run_id=run_id, since=since, notebook=notebook)
        values["last"] = -1 if last is None else min(max(last, 0), _MOST)
        query = f"SELECT {', '.join(SCHEMA)} FROM attempts WHERE {where} ORDER BY ts DESC, rowid DESC LIMIT :last"  # noqa: S608
        newest_first = self._ask(query, values, lambda found: found.fetchall())
        return [decode(cells) for cells in reversed(newest_first)]

    def to_frame(
        self, scope: Scope = "kernel", *, since: datetime | None = None, notebook: str | None = None
    ) -> pd.DataFrame:
        """Return the attempts as a pandas DataFrame, one row each, by the time at which they started.

        The columns are those of the contract: `ts` datetime64[us, UTC]; token counts, `attempt` and `http_status`
        Int64; `cost` and `billed` (USD) and `latency`, `ttft` and `queue` (seconds) float64, NaN where unknown;
        repeated strings category; other text string; `tags` dicts. A million rows take about ten seconds and 1 GB.
        """
        where, values = self._where(scope, since=since, notebook=notebook)
        # The whole file is read as it lies, and put in order afterwards if it was not written in order.
        order = "rowid" if where == _CLAUSES["all"] else "ts, rowid"
        query = f"SELECT {_SELECTION} FROM attempts WHERE {where} ORDER BY {order}"  # noqa: S608 - our own names
        frame = _frame(self._ask(query, values, _fetch))
        if not frame["ts"].is_monotonic_increasing:
            frame = frame.sort_values("ts", kind="stable", ignore_index=True)
        return frame

    def total(self, scope: Scope = "kernel", *, since: datetime | None = None) -> LedgerTotal:
        """Return the exact sums over the attempts that started at `since` or later.

        They are read from the rows: 100,000 take about two tenths of a second. List prices of what was simulated are in
        the cost, not in what was billed; `books` keeps them apart.
        """
        return sum(self.books(scope, since=since).values(), LedgerTotal())

    def books(self, scope: Scope = "kernel", *, since: datetime | None = None) -> dict[str, LedgerTotal]:
        """Return the exact sums of what was `paid`, and where there is any, of what was `simulated` or `replayed`."""
        where, values = self._where(scope, since=since)
        query = f"SELECT {_SUMS} FROM attempts WHERE {where} GROUP BY mode ORDER BY mode"  # noqa: S608 - our own names
        found = {PAID: LedgerTotal()}
        for mode, total in map(_total, self._ask(query, values, lambda found: found.fetchall())):
            book = UNPAID.get(mode, PAID)
            found[book] = found.get(book, LedgerTotal()) + total
        return found

    def input_history(self, model: str, mode: Mode) -> tuple[int, int, int, float]:
        """Return the inputs that a model has reported, in the file: bytes, tokens, how many, most tokens a byte."""
        query = (
            "SELECT total(input_bytes), total(input_tokens), COUNT(*), "
            "COALESCE(MAX(1.0 * input_tokens / input_bytes), 0) "
            "FROM attempts WHERE model = ? AND mode = ? "
            "AND usage_source = 'reported' AND input_bytes > 0 AND input_tokens > 0"
        )
        asked = self._writer.ask(lambda db: db.execute(query, (model, mode)).fetchone())
        size, tokens, count, densest = asked.result()
        return int(size), int(tokens), count, densest

    def output_history(self, model: str, mode: Mode, *, last: int = 20) -> list[int]:
        """Return the output tokens of a model's last answers in the file, the latest first."""
        query = (
            "SELECT output_tokens FROM attempts WHERE model = ? AND mode = ? AND status = 'ok' AND output_tokens > 0 "
            "ORDER BY rowid DESC LIMIT ?"
        )
        return self._writer.ask(lambda db: [count for (count,) in db.execute(query, (model, mode, last))]).result()

    def claim(
        self, limit: Shared, book: Book, *, needed: Decimal | None, lease: int = 1
    ) -> Future[tuple[Decimal, Decimal]]:
        """Queue a claim of this kernel on a limit that several share, after all that was appended until now.

        Args:
            limit: The limit; one of a day counts what kernels without a claim have spent too.
            book: Which spending.
            needed: USD that this kernel must be able to use in all; None only looks.
            lease: It gets this part of what is left beyond that.

        Returns:
            In USD: what this kernel may use now, 0 where the claim did not fit; and what others have claimed.
        """
        wanted, amount = to_nanos(needed), to_nanos(limit.amount)
        values: dict[str, Cell] = {
            "key": f"{book}:{limit.key}",
            "kernel": self.kernel,
            "since": _MOST if limit.since is None else moment(limit.since),
            "unpaid": book == "simulated",
        }

        def work(db: sqlite3.Connection) -> tuple[Decimal, Decimal]:
            with transaction(db):
                ((others,),) = db.execute(_CLAIMED, values)
                spare = -1 if wanted is None else (_MOST if amount is None else amount) - others - wanted
                granted = 0 if wanted is None or spare < 0 else wanted + spare // lease
                if granted:
                    db.execute(_CLAIM, values | {"amount": granted})
            return from_nanos(granted), from_nanos(others)

        return self._writer.ask(work)

    def set_claim(self, limit: Shared, book: Book, used: Decimal, *, least: bool = False) -> None:
        """Queue that this kernel claims as much of a shared limit as it has used, in USD, or at `least` that."""
        values = {"key": f"{book}:{limit.key}", "kernel": self.kernel, "amount": to_nanos(used)}
        claim = _CLAIM.replace("excluded.amount", "MAX(amount, excluded.amount)") if least else _CLAIM
        self._writer.ask(lambda db: db.execute(claim, values))

    def _where(
        self, scope: Scope, *, run_id: str | None = None, since: datetime | None = None, notebook: str | None = None
    ) -> tuple[str, dict[str, Cell]]:
        """Return the SQL that keeps some of the rows, and what its names stand for."""
        clauses = [_clause(scope)]
        values: dict[str, Cell] = {"kernel": self.kernel}
        if run_id is not None:
            clauses.append("run_id = :run_id")
            values["run_id"] = run_id
        if notebook is not None:
            clauses.append("notebook = :notebook")
            values["notebook"] = notebook
        if since is not None:
            clauses.append("ts >= :since")
            values["since"] = moment(since)
        return " AND ".join(clauses), values

    def _ask(self, query: str, values: Mapping[str, Cell], read: Callable[[sqlite3.Cursor], Result]) -> Result:
        """Wait for what `read` makes of a query over everything that was appended before."""
        return self._writer.ask(lambda db: read(db.execute(query, values))).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _clause(scope: Scope) -> str:
    """Return the SQL that keeps the rows of a scope."""
    if scope not in _CLAUSES:
        raise ConfigError(f"A ledger has no scope {scope!r}. Use 'kernel' (this one's rows) or 'all' (the file's).")
    return _CLAUSES[scope]


def _total(sums: tuple[Mode, *tuple[int, ...]]) -> tuple[Mode, LedgerTotal]:
    mode, dollars, nanos, billed_dollars, billed_nanos, *counts = sums
    unpriced, unbilled, free, calls, attempts, running, failed, refused = counts
    return mode, LedgerTotal(
        cost=from_nanos(dollars * NANOS_PER_USD + nanos),
        billed=from_nanos(billed_dollars * NANOS_PER_USD + billed_nanos),
        unpriced=unpriced,
        unbilled=unbilled,
        free=free,
        calls=calls,
        attempts=attempts,
        running=running,
        failed=failed,
        refused=refused,
        simulated=attempts if mode in UNPAID else 0,
    )


# --- the ledger as a frame: pandas is imported when one is asked for ---


_WORDS: Final = tuple(name for name in COLUMNS if SCHEMA[name].name == "word")
"""The columns of few different words."""
_FEW: Final = ("attempt", "http_status", "cache_write_1h_tokens", "web_searches")
"""The columns of counts that are mostly the same."""
_REPEATED: Final = _WORDS + _FEW
"""The columns that are read as one."""
_PLAIN: Final = tuple(name for name in COLUMNS if SCHEMA[name].name != "tags" and name not in _REPEATED)
"""The columns that are read each for itself."""
_SELECTION: Final = f"json_array({', '.join(_REPEATED)}), tags, {', '.join(_PLAIN)}"
"""What `_fetch` wants selected."""
_DTYPES: Final = {"moment": "int64", "text": "object"}
"""What cells become in memory, by kind; all others are numbers."""

_CHUNK: Final = 128
"""Rows at a time: so few that they are still in the processor's cache when they are turned into columns."""


class _Coded:
    """A column of texts as numbers: `texts[codes[i]]` is the text of row i."""

    def __init__(self) -> None:
        self.codes = array("i")
        self._index = defaultdict[str, int]()
        self._index.default_factory = self._index.__len__  # a new text gets the next number

    @property
    def texts(self) -> list[str]:
        """The different texts."""
        return list(self._index)

    def extend(self, texts: Iterable[str]) -> None:
        """Add the texts of further rows."""
        self.codes.extend(map(self._index.__getitem__, texts))


class _Columns(NamedTuple):
    """The cells of the ledger, as they are on disk.

    Attributes:
        repeated: JSON arrays, each with the words and counts of one row in the order of `_REPEATED`.
        tags: JSON objects.
        plain: Cells by column, for each of `_PLAIN`: moments as int64, numbers as float64 (NaN where there is none),
            texts as objects.
    """

    repeated: _Coded
    tags: _Coded
    plain: Mapping[str, NDArray[Any]]


def _fetch(cursor: sqlite3.Cursor) -> _Columns:
    """Read what is left of a cursor over `_SELECTION`."""
    import numpy as np  # noqa: PLC0415 - only a frame needs it

    repeated, tags = _Coded(), _Coded()
    kinds = [_DTYPES.get(SCHEMA[name].name, "float64") for name in _PLAIN]
    parts: list[list[NDArray[Any]]] = [[np.empty(0, kind)] for kind in kinds]
    for rows in iter(lambda: list(islice(cursor, _CHUNK)), []):
        words, labels, *plain = zip(*rows, strict=True)
        repeated.extend(words)
        tags.extend(labels)
        for column, kind, cells in zip(parts, kinds, plain, strict=True):
            column.append(np.array(cells, kind))
    joined = {name: np.concatenate(parts.pop(0)) for name in _PLAIN}  # one after the other: each needs its room twice
    return _Columns(repeated, tags, joined)


def _frame(columns: _Columns) -> pd.DataFrame:
    """Return the cells as they are on disk as a frame with the dtypes of the contract, also where there are no rows."""
    import pandas as pd  # noqa: PLC0415

    series = {name: _series(SCHEMA[name].name, cells) for name, cells in columns.plain.items()}
    series |= dict(_repeated(columns.repeated))
    known: list[dict[str, str]] = [json.loads(text) for text in columns.tags.texts]
    tags = [known[code].copy() for code in columns.tags.codes]  # no two rows share a dict
    series["tags"] = pd.Series(tags, dtype="object")
    return pd.DataFrame({name: series[name] for name in COLUMNS}, copy=False)


def _series(kind: str, cells: NDArray[Any]) -> Any:  # noqa: ANN401 - pandas has no one word for what a column is made of
    """Return a column of moments, texts, USD, counts or seconds."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    if kind == "moment":
        return pd.DatetimeIndex(cells.view("datetime64[us]")).tz_localize("UTC")
    if kind == "text":
        return pd.array(cells, dtype="string")
    if kind == "count":
        unknown = np.isnan(cells)
        cells[unknown] = 0
        return pd.arrays.IntegerArray(cells.astype(np.int64), unknown)
    return cells / NANOS_PER_USD if kind == "money" else cells


def _repeated(repeated: _Coded) -> Iterator[tuple[str, Any]]:
    """Return each of the columns that were read as one: words as categoricals, in alphabetical order, and counts."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    codes = np.array(repeated.codes, dtype=np.int64)
    rows: list[list[Any]] = [json.loads(text) for text in repeated.texts]
    for position, name in enumerate(_REPEATED):
        column = [row[position] for row in rows]
        if name in _FEW:
            yield name, _series("count", np.array(column, dtype=np.float64)[codes])
            continue
        words = sorted({word for word in column if word is not None})
        number = {word: place for place, word in enumerate(words)}
        numbers = np.array([-1 if word is None else number[word] for word in column], dtype=np.int64)
        categories: pd.Index[str] = pd.Index(words, dtype="str")
        yield name, pd.Categorical.from_codes(numbers[codes], categories=categories)
