"""One attempt as a row, and how a row is laid out on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast

from victor_nb.money import from_nanos, to_nanos
from victor_nb.values import Usage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from victor_nb.values import ChatRequest, CostSource, Mode, Status, UsageSource


Cell: TypeAlias = str | int | float | bytes | None
"""What SQLite takes and gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One HTTP exchange. Tokens, cost and timings are None while, and where, they are unknown.

    Attributes:
        ts: When the attempt started.
        call_id: What the attempts of one call share.
        attempt: 1 for the first.
        run_id: The strategy run, bulk job or fan-out that the call belongs to.
        input_tokens: All of the input; cache reads and writes are inside it.
        output_tokens: All of the output; reasoning is inside it.
        cost: List price in USD; None when unknown, never 0.
        billed: What was really paid in USD; 0 when simulated or replayed.
        latency: Seconds from the request to the end of the answer.
        ttft: Seconds to the first text, where streamed.
        queue: Seconds waited for a free place before the request.
        tags: The user's own words about the call.
        cache_write_1h_tokens: What of `cache_write_tokens` was written to live an hour, which costs more.
        host: Where the profile's requests go, or would if not simulated: host, and port where the URL has one. None in
            rows of versions before it.
        service_tier: The tier that served, as the provider named it: `default`, `flex`, `priority`, `fast`.
        web_searches: Searches that the provider made and charges for.
        held: What a budget held for the attempt, in USD: its worst case. It counts as spent where the cost is unknown.
        input_bytes: UTF-8 bytes of the texts that were sent, from which input tokens are estimated. Not in the frame.
        prompt: What was sent. Kept only where `log_text: true`, as is `answer`; neither is in the frame.
    """

    ts: datetime
    call_id: str
    attempt: int = 1
    run_id: str | None = None
    strategy: str | None = None
    stage: str | None = None
    profile: str
    provider: str
    model: str
    model_served: str | None = None
    mode: Mode = "live"
    status: Status = "running"
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: UsageSource | None = None
    cost: Decimal | None = None
    billed: Decimal | None = None
    cost_source: CostSource | None = None
    price_version: str | None = None
    latency: float | None = None
    ttft: float | None = None
    queue: float | None = None
    http_status: int | None = None
    error_type: str | None = None
    error: str | None = None
    request_id: str | None = None
    notebook: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    cache_write_1h_tokens: int | None = None
    host: str | None = None
    service_tier: str | None = None
    web_searches: int | None = None
    held: Decimal | None = None
    input_bytes: int | None = None
    prompt: str | None = None
    answer: str | None = None

    @property
    def free(self) -> bool:
        """Whether it was answered, at a price of 0."""
        return self.cost == 0 and bool(self.output_tokens)

    @property
    def usage(self) -> Usage:
        """Its tokens, those that are not known as 0."""
        return Usage(*(getattr(self, count.name) or 0 for count in fields(Usage)))


class Kind(NamedTuple):
    """How a sort of value is kept: the SQL type, the way in and the way out (None: as it is). Rows share words."""

    name: Literal["text", "word", "count", "seconds", "money", "moment", "tags"]
    sql: str
    encode: Callable[[Any], Cell] | None
    decode: Callable[[Any], Any] | None


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_ZONE: Final = 5  # letters of a name such as ACWST; Windows writes whole sentences
_COUNTABLE: Final = 1 << 53
"""Counts from here on are no counts: a float, and so a plot, would not hold them."""


def _text(value: str) -> str:
    """Spell out what a file of UTF-8 cannot hold or SQLite would stop at: half a surrogate pair, and NUL."""
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _count(value: int) -> int | None:
    return value if abs(value) < _COUNTABLE else None


def zone(value: datetime) -> str:
    """Return the name of this machine's zone at a moment, such as `CET`; `UTC+5:30` where it has no short name."""
    here = value.astimezone()
    name, minutes = here.tzname() or "", int((here.utcoffset() or timedelta()).total_seconds()) // 60
    if name.isascii() and name.isalpha() and len(name) <= _LONGEST_ZONE:
        return name
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}{f':{rest:02}' if rest else ''}"


def moment(value: datetime) -> int:
    """Return the microseconds since 1970 that stand for a time on disk."""
    since = (value if value.tzinfo is UTC else value.astimezone(UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def when(microseconds: int) -> datetime:
    """Return the time that microseconds since 1970 stand for."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _json(value: Mapping[str, str]) -> str:
    return json.dumps({_text(str(key)): _text(str(word)) for key, word in value.items()})


_TEXT: Final = Kind("text", "TEXT", _text, None)
_WORD: Final = Kind("word", "TEXT", _text, None)
_COUNT: Final = Kind("count", "INTEGER", _count, None)
_SECONDS: Final = Kind("seconds", "REAL", None, None)
_MONEY: Final = Kind("money", "INTEGER", to_nanos, from_nanos)
_MOMENT: Final = Kind("moment", "INTEGER NOT NULL", moment, when)
_TAGS: Final = Kind("tags", "TEXT NOT NULL", _json, json.loads)

_KINDS: Final = {
    "ts": _MOMENT,
    "tags": _TAGS,
    **dict.fromkeys(("cost", "billed", "held"), _MONEY),
    **dict.fromkeys(("latency", "ttft", "queue"), _SECONDS),
    **dict.fromkeys(
        ("attempt", "http_status", "input_tokens", "output_tokens", "reasoning_tokens", "input_bytes"), _COUNT
    ),
    **dict.fromkeys(("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "web_searches"), _COUNT),
    **dict.fromkeys(("call_id", "run_id", "error", "request_id", "prompt", "answer"), _TEXT),
}
SCHEMA: Final[Mapping[str, Kind]] = {item.name: _KINDS.get(item.name, _WORD) for item in fields(Row)}
"""Every column of a row, in order, with its kind. A new one must take NULL: the rows of older files have it."""

COLUMNS: Final = tuple(name for name in SCHEMA if name not in {"input_bytes", "prompt", "answer"})
"""The columns of the contract, in order: what a frame has."""


_ALL: Final = attrgetter(*SCHEMA)
_PLACES: Final = {
    kind: tuple(1 + place for place, (name, each) in enumerate(SCHEMA.items()) if each.name in kind and name != "ts")
    for kind in ("text word", "count", "money")
}
_STATUS, _WHEN, _TAGGED = (1 + list(SCHEMA).index(name) for name in ("status", "ts", "tags"))
_TEXTS, _COUNTS, _AMOUNTS = _PLACES.values()
_texts: Final = cast("Callable[[Sequence[Any]], Iterable[str | None]]", itemgetter(*_TEXTS))


def encode(row: Row, *, kernel: str, status: Status) -> tuple[Cell, ...]:
    """Return the row as a record: the kernel's id, then a cell for each column. It takes nothing of `row` along."""
    cells: list[Any] = [kernel, *_ALL(row)]
    cells[_STATUS], cells[_WHEN] = status, moment(row.ts)
    cells[_TAGGED] = _json(row.tags) if row.tags else "{}"
    texts = "".join(filter(None, _texts(cells)))
    if not texts.isascii() or "\0" in texts:  # looked at together: hardly any is odd
        for place in _TEXTS:
            cells[place] = cells[place] and _text(cells[place])
    for place in _COUNTS:
        if cells[place] is not None and not -_COUNTABLE < cells[place] < _COUNTABLE:
            cells[place] = None
    for place in _AMOUNTS:
        if cells[place] is not None:
            cells[place] = to_nanos(cells[place])
    return tuple(cells)


def encode_all(rows: Sequence[Row], *, kernel: str) -> list[tuple[Cell, ...]]:
    """Return the records of attempts that have ended: those of `encode`, made column by column, which is faster."""
    columns: list[Iterable[Any]] = [repeat(kernel, len(rows)), *zip(*map(_ALL, rows), strict=True)]
    columns[_WHEN] = map(moment, columns[_WHEN])
    columns[_TAGGED] = [_json(tags) if tags else "{}" for tags in columns[_TAGGED]]
    for place in _TEXTS:
        texts = "".join(filter(None, columns[place]))
        if not texts.isascii() or "\0" in texts:
            columns[place] = [cell and _text(cell) for cell in columns[place]]
    for place in _COUNTS:
        counts: list[int] = list(filter(None, columns[place]))
        if counts and (min(counts) <= -_COUNTABLE or max(counts) >= _COUNTABLE):
            columns[place] = [cell if cell is None else _count(cell) for cell in columns[place]]
    for place in _AMOUNTS:
        columns[place] = map(to_nanos, columns[place])
    return list(zip(*columns, strict=True))


def decode(cells: Sequence[Cell]) -> Row:
    """Return the row that the cells of `SCHEMA` stand for."""
    row: dict[str, Any] = dict(zip(SCHEMA, cells, strict=True))
    for name, kind in SCHEMA.items():
        if kind.decode is not None and row[name] is not None:
            row[name] = kind.decode(row[name])
    return Row(**row)


# --- the table ---


TABLE: Final = f"""
    CREATE TABLE attempts (
        kernel TEXT NOT NULL,
        {", ".join(f"{name} {kind.sql}" for name, kind in SCHEMA.items())},
        UNIQUE (kernel, call_id, attempt)
    )"""
_STORED: Final = ("kernel", *SCHEMA)
_CELLS: Final = 9
"""`sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER`: how many cells one statement takes."""
_BLOCK: Final = 128
"""Rows in one statement of bulk work, where SQLite takes so many cells: other threads run while it does."""
FEW: Final = (16, 4, 1)
"""Rows in a statement where there are fewer: each gives the interpreter away and waits for it once."""


def _statement(columns: Sequence[str] = _STORED, rows: int = 1) -> str:
    """Return the SQL that adds or completes rows; columns that are not named become NULL.

    Its places have no numbers: Python 3.12 asks for the name of each, and SQLite searches numbers one by one.
    """
    given = f"({', '.join('?' * len(columns))})"
    return (
        f"INSERT INTO attempts ({', '.join(columns)}) VALUES {', '.join([given] * rows)} "  # noqa: S608 - our own names
        f"ON CONFLICT (kernel, call_id, attempt) DO UPDATE SET {_COMPLETED}"
    )


_COMPLETED: Final = ", ".join(f"{name} = excluded.{name}" for name in SCHEMA)
_UPSERTS: Final = {size: _statement(rows=size) for size in FEW}


def in_blocks(records: Sequence[Sequence[Cell]], most: int = FEW[0]) -> Iterator[tuple[int, Iterator[list[Cell]]]]:
    """Yield how many records go into one statement, `most` at most, and the cells of each such statement."""
    done = 0
    for size in FEW:
        start, done = done, done + (0 if size > most else (len(records) - done) // size * size)
        some = [records[place : place + size] for place in range(start, done, size)]
        yield size, ([*chain.from_iterable(each)] for each in some)


def upsert(records: Sequence[Sequence[Cell]], db: sqlite3.Connection) -> None:
    """Add the records to the table, or complete those of the same kernel, call and attempt.

    Many go in statements of many rows, without the columns that all of them leave open.
    """
    most = db.getlimit(_CELLS) // len(_STORED)
    block = min(_BLOCK, most)
    whole = len(records) - len(records) % block
    if whole:
        used = [place for place in range(len(_STORED)) if any(record[place] is not None for record in records)]
        cells_of = cast("Callable[[Sequence[Cell]], tuple[Cell, ...]]", itemgetter(*used))
        blocks = (records[start : start + block] for start in range(0, whole, block))
        statement = _statement([_STORED[place] for place in used], block)
        db.executemany(statement, ([*chain.from_iterable(map(cells_of, some))] for some in blocks))
    for size, cells in in_blocks(records[whole:], most):
        db.executemany(_UPSERTS[size], cells)


def input_text(request: ChatRequest) -> bytes:
    """Return what a request's input tokens are made of, in UTF-8: texts, and params such as tools and schemas."""
    text = request.system or ""
    for turn in request.messages:
        text += turn.content
    for value in request.params.values():
        text += json.dumps(value) if isinstance(value, (str, dict, list)) else ""
    if (schema := request.schema) is not None and schema.kind == "schema":
        text += json.dumps(schema.schema)
    return text.encode("utf-8", "surrogatepass")
