"""What a map is asked about: the rows of a DataFrame, a Series, a list, an iterator or an async iterator."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.errors import ConfigError
from victor_nb.workflows.bulk import is_missing

if TYPE_CHECKING:
    import pandas as pd
    from pandas import DataFrame

_ONE_PULL: Final = 64  # rows that are taken from an iterator at once
_PATIENCE: Final = 0.05  # seconds after which those that an iterator has given by then are asked


class Table:
    """Rows that are all there: of a DataFrame, a Series, or a list.

    Attributes:
        size: How many there are.
        base: Gives the frame that the answers are put beside.
    """

    random = True

    def __init__(self, columns: Mapping[str, Sequence[object]], size: int, base: Callable[[], DataFrame]) -> None:
        self.columns, self.size, self.base = columns, size, base

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
        """Return the next rows; none at the end."""
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
        for value in itertools.islice(self._iterator, self._count()):
            found.append(value)
            if time.monotonic() > deadline:
                break
        self._take_off(found)
        return found

    async def _await_some(self) -> list[object]:
        self._iterator = self._iterator or aiter(cast("AsyncIterable[object]", self._source))
        deadline, found, most = time.monotonic() + _PATIENCE, list[object](), self._count()
        while len(found) < most:
            try:
                found.append(await anext(self._iterator))
            except StopAsyncIteration:
                break
            if time.monotonic() > deadline:
                break
        self._take_off(found)
        return found

    def _take_off(self, found: Sequence[object]) -> None:
        if self._left is not None:
            self._left -= len(found)


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

    if hasattr(data, "to_pandas") and not isinstance(data, (pd.DataFrame, pd.Series)):  # polars, Arrow
        data = cast("Any", data).to_pandas()
    if isinstance(data, pd.DataFrame):
        frame = data if most is None else data.iloc[:most]
        return Table(_columns(frame), len(frame), lambda: frame)
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


def _columns(frame: DataFrame) -> dict[str, Sequence[object]]:
    """Return a frame's columns by their names as texts; a name of several levels is these, with blanks between."""
    found: dict[str, Sequence[object]] = {}
    for place, name in enumerate(frame.columns):
        parts = cast("tuple[object, ...]", name if isinstance(name, tuple) else (name,))
        found.setdefault(" ".join(str(part) for part in parts if str(part)), _Cells(frame.iloc[:, place]))
    return found


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
