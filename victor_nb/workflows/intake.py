"""What a map is asked about: the rows of a DataFrame, a Series, a list or an iterator, and their prompts."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, cast

from victor_nb.errors import STOPS, ConfigError, VictorError
from victor_nb.media import media_of
from victor_nb.values import plain

if TYPE_CHECKING:
    import pandas as pd
    from pandas import DataFrame

    from victor_nb.templates import Template

Empty = Literal["skip", "send", "error"]

_ONE_PULL: Final = 64  # rows that are taken from an iterator at once
_PATIENCE: Final = 0.05  # seconds after which those that an iterator has given by then are asked
_SURVEYED: Final = 100_000  # rows that are rendered beforehand to see which differ; it takes a second


class Rows(Protocol):
    """The rows of a map.

    Attributes:
        random: Whether any row can be had at any time.
    """

    random: bool

    @property
    def size(self) -> int | None:
        """How many there are; None while that is not known."""
        ...

    def names(self, number: int) -> Mapping[str, object]:
        """Return what a row offers to the template."""
        ...

    async def pull(self) -> Sequence[Mapping[str, object]]:
        """Return the next rows; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a map would ask, by its rows alone.

    Attributes:
        rows: How many there are.
        different: Prompts that differ.
        skipped: Rows that lack a value of the template.
        characters: Those of all different prompts.
        first: The first prompt; None where no row has one.
        numbers: The first row of each.
    """

    rows: int
    different: int = 0
    skipped: int = 0
    characters: int = 0
    first: str | None = None
    numbers: Sequence[int] = field(default=(), repr=False)


class Prompts:
    """The prompts of rows.

    Args:
        rows: What is asked about.
        template: What is asked.
        others: What the template may hold beside the row, by name.
        empty: What becomes of a row that lacks a value of the template.
        leaks: Tells whether a text holds a configured key.
    """

    def __init__(
        self,
        rows: Rows,
        template: Template,
        *,
        others: Mapping[str, object],
        empty: Empty,
        leaks: Callable[[str], bool],
    ) -> None:
        self.rows, self.template, self.empty = rows, template, empty
        self._others, self._leaks = others, leaks

    def of(self, names: Mapping[str, object]) -> str | None:
        """Return the prompt of a row; None where it lacks a value.

        Raises:
            VictorError: It cannot be rendered.
        """
        known = {**self._others, **names}
        if self.empty == "send":
            known = {name: "" if is_missing(value) else value for name, value in known.items()}
        elif any(is_missing(value) for value in self.template.values(known)):
            return None
        return self.template.render(known, leaks=self._leaks).text

    def plan(self) -> Plan:
        """Return what would be asked, by rendering the rows; it may take seconds: not on an event loop."""
        size = self.rows.size or 0
        seen: set[bytes] = set()
        numbers: list[int] = []
        skipped = characters = 0
        first: str | None = None
        for number in range(size):
            try:
                prompt = self.of(self.rows.names(number))
            except VictorError:
                continue
            if prompt is None:
                skipped += 1
                continue
            first = prompt if first is None else first
            if size > _SURVEYED or media_of(prompt):  # too many, or slow to read: they count as different
                return Plan(size, size, 0, 0, first, range(size))
            key = digest(prompt)
            if key not in seen:
                seen.add(key)
                numbers.append(number)
                characters += len(prompt)
        return Plan(size, len(seen), skipped, characters, first, numbers)


class Table:
    """Rows that are all there: of a DataFrame, a Series, or a list.

    Attributes:
        size: How many there are.
        base: Gives the frame that the answers are put beside.
        doubled: Names that several columns have.
    """

    random = True

    def __init__(
        self,
        columns: Mapping[str, Sequence[object]],
        size: int,
        base: Callable[[], DataFrame],
        doubled: Collection[str] = (),
    ) -> None:
        self.columns, self.size, self.base, self.doubled = columns, size, base, doubled

    @property
    def known(self) -> list[str]:
        """The names that a template may hold."""
        return [*self.columns, "row"]

    def keep(self, names: Collection[str]) -> None:
        """Keep those columns only that a template holds."""
        if "row" not in names or "row" in self.columns:
            self.columns = {name: cells for name, cells in self.columns.items() if name in names}

    def names(self, number: int) -> Mapping[str, object]:
        """Return a row by the names of its columns, and the whole of it as `row`."""
        found = {name: cells[number] for name, cells in self.columns.items()}
        return {"row": _plain_row(found), **found}

    async def pull(self) -> Sequence[Mapping[str, object]]:
        """Return no further rows."""
        return ()


class Feed:
    """Rows that an iterator gives when they are needed, on its own event loop or in a thread; none is kept.

    Attributes:
        size: None: it is not known.
    """

    random = False
    size = None

    def __init__(self, source: Iterable[object] | AsyncIterable[object], most: int | None) -> None:
        self._source = source
        self._left = most
        self._iterator: Any = None
        self._fault: BaseException | None = None
        self._home: asyncio.AbstractEventLoop | None = None

    def settle(self) -> None:
        """Keep the caller's event loop, on which an async iterator is read."""
        if isinstance(self._source, AsyncIterable):
            self._home = asyncio.get_running_loop()

    def base(self, count: int) -> DataFrame:
        """Return a frame of so many rows without columns."""
        import pandas as pd

        return pd.DataFrame(index=pd.RangeIndex(count))

    def names(self, number: int) -> Mapping[str, object]:
        """Raise: rows come one after the other."""
        raise NotImplementedError

    async def pull(self) -> Sequence[Mapping[str, object]]:
        """Return the next rows; none at the end. What the iterator raises comes after the rows before it."""
        if self._fault is not None:
            raise self._fault
        if isinstance(self._source, AsyncIterable):
            if self._home is None or self._home is asyncio.get_running_loop():
                values = await self._await_some()
            else:
                there = asyncio.run_coroutine_threadsafe(self._await_some(), self._home)
                values = await asyncio.wrap_future(there)
        else:
            values = await asyncio.to_thread(self._take_some)
        return [_as_names(value) for value in values]

    def _count(self) -> int:
        return _ONE_PULL if self._left is None else min(_ONE_PULL, self._left)

    def _take_some(self) -> list[object]:
        self._iterator = self._iterator or iter(cast("Iterable[object]", self._source))
        deadline, found = time.monotonic() + _PATIENCE, list[object]()
        try:
            for value in itertools.islice(self._iterator, self._count()):
                found.append(value)
                if time.monotonic() > deadline:
                    break
        except BaseException as error:  # whatever an iterator of the user's raises
            if isinstance(error, STOPS):
                raise
            self._fault = error
        return self._taken(found)

    async def _await_some(self) -> list[object]:
        self._iterator = self._iterator or aiter(cast("AsyncIterable[object]", self._source))
        deadline, found, most = time.monotonic() + _PATIENCE, list[object](), self._count()
        while len(found) < most:
            try:
                found.append(await anext(self._iterator))
            except StopAsyncIteration:
                break
            except BaseException as error:  # as above
                if isinstance(error, (*STOPS, asyncio.CancelledError)):
                    raise
                self._fault = error
                break
            if time.monotonic() > deadline:
                break
        return self._taken(found)

    def _taken(self, found: list[object]) -> list[object]:
        if self._fault is not None and not found:
            raise self._fault
        if self._left is not None:
            self._left -= len(found)
        return found


def _as_names(value: object) -> Mapping[str, object]:
    if isinstance(value, Mapping):
        found = {str(name): cell for name, cell in cast("Mapping[object, object]", value).items()}
        return {"row": _plain_row(found), **found}
    return {"value": value, "row": {"value": value}}


def _plain_row(found: Mapping[str, object]) -> dict[str, object]:
    """Return a row as a template takes it: what is missing is None."""
    return {name: None if is_missing(value) else value for name, value in found.items()}


def table_of(data: object, most: int | None) -> Table | Feed:
    """Return the rows of a DataFrame, a Series, a list, or an iterator.

    Args:
        data: What is asked about.
        most: How many rows are taken, from the first; None: all.

    Raises:
        ConfigError: It is none of these.
    """
    import pandas as pd

    if hasattr(type(data), "__dask_graph__"):
        raise ConfigError(f"A {type(data).__name__} of dask is not in this kernel. Give its rows: data.compute().")
    if hasattr(data, "to_pandas") and not isinstance(data, (pd.DataFrame, pd.Series)):  # polars, Arrow
        data = cast("Any", data).to_pandas()
    if isinstance(data, pd.DataFrame):
        frame = data.copy(deep=False) if most is None else data.iloc[:most]  # rows that are dropped later stay here
        names = [_as_text(name) for name in frame.columns]
        columns = {name: _Cells(frame.iloc[:, place]) for place, name in enumerate(names)}
        doubled = {name for name in columns if names.count(name) > 1}
        return Table(columns, len(frame), lambda: frame, doubled)
    if isinstance(data, pd.Series):
        series = cast("pd.Series[Any]", cast("Any", data).iloc[:most])
        name = "value" if series.name is None else series.name
        cells = series.tolist()
        return Table({"value": cells, str(name): cells}, len(series), lambda: series.to_frame(name))
    if isinstance(data, (str, bytes, Mapping)):
        kind = type(cast("object", data)).__name__
        raise ConfigError(f"A {kind} is no table. Give a DataFrame, a Series, a list, or an iterator of rows.")
    if isinstance(data, Collection):
        return _of_list(list(itertools.islice(cast("Collection[object]", data), most)))
    if isinstance(data, (Iterable, AsyncIterable)):
        return Feed(cast("Iterable[object]", data), most)
    raise ConfigError(
        f"A {type(data).__name__} is no table. Give a DataFrame, a Series, a list, or an iterator of rows."
    )


def _of_list(values: list[object]) -> Table:
    import pandas as pd

    if values and all(isinstance(value, Mapping) for value in values):
        records = cast("list[Mapping[object, object]]", values)
        names = dict.fromkeys(itertools.chain.from_iterable(records))
        columns = {str(name): [record.get(name) for record in records] for name in names}
        return Table(
            columns, len(values), lambda: pd.DataFrame({name: _objects(cells) for name, cells in columns.items()})
        )
    return Table({"value": values}, len(values), lambda: pd.DataFrame({"value": _objects(values)}))


def _objects(cells: Sequence[object]) -> Any:  # noqa: ANN401 - an array, or the list
    """Return cells as pandas takes them for a column, whatever they are."""
    import pandas as pd

    try:
        return pd.Series(list(cells)).array
    except (TypeError, ValueError):
        return pd.Series(list(cells), dtype="object").array


def _as_text(name: object) -> str:
    """Return a column's name as a text; one of several levels is these, with blanks between."""
    parts = cast("tuple[object, ...]", name if isinstance(name, tuple) else (name,))
    return " ".join(str(part) for part in parts if str(part))


class _Cells(Sequence[object]):
    """The cells of a column as Python values, made when they are first used."""

    def __init__(self, column: pd.Series[Any]) -> None:
        self._column: pd.Series[Any] | None = column
        self._cells: list[object] = []

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - as a list
        if self._column is not None:
            self._cells, self._column = self._column.tolist(), None
        return self._cells[place]

    def __len__(self) -> int:
        return len(self._cells) if self._column is None else len(self._column)


def digest(prompt: str) -> bytes:
    """Return what two equal prompts have in common, and no two others."""
    hashed = blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=16)
    for each in media_of(prompt):
        hashed.update(each.data)
    return hashed.digest()


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: None, NaN, NA, NaT, or nothing but blanks."""
    value = plain(value)
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip() and not media_of(value)
    if type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, (float, Decimal)) and value != value  # noqa: PLR0124 - NaN
