"""The ledger read by column, for those who want 100,000 rows at once.

A cell that Python sees costs some 150 ns, and there are 31 in a row. So SQLite joins the strings that repeat from row
to row (profile, model, status, ...) into one cell, of which there are few different ones: each is looked into once.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from victor_nb.accounting.rows import COLUMNS, SCHEMA

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

REPEATED: Final = tuple(name for name in COLUMNS if SCHEMA[name].name == "word")
"""The columns that are read as one."""
PLAIN: Final = tuple(name for name in COLUMNS if SCHEMA[name].name not in {"word", "tags"})
"""The columns that are read each for itself."""
SELECTION: Final = f"json_array({', '.join(REPEATED)}), tags, {', '.join(PLAIN)}"
"""What `fetch` wants selected."""

_CHUNK: Final = 256
"""Rows at a time: so few that they are still in the processor's cache when they are turned into columns."""


class _Index(dict[str, int]):
    """The number of each text, in the order in which they were met."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


class Coded:
    """A column of texts as numbers: `texts[codes[i]]` is the text of row i."""

    def __init__(self) -> None:
        self.codes = array("i")
        self._index = _Index()

    @property
    def texts(self) -> list[str]:
        """The different texts."""
        return list(self._index)

    def extend(self, texts: Iterable[str]) -> None:
        """Add the texts of further rows."""
        self.codes.extend(map(self._index.__getitem__, texts))


class Columns(NamedTuple):
    """The cells of the ledger, as they are on disk.

    Attributes:
        repeated: JSON arrays, each with the strings of one row in the order of `REPEATED`.
        tags: JSON objects.
        plain: Cells by column, for each of `PLAIN`.
    """

    repeated: Coded
    tags: Coded
    plain: Mapping[str, Sequence[Any]]


def fetch(cursor: sqlite3.Cursor) -> Columns:
    """Read what is left of a cursor over `SELECTION`."""
    repeated, tags, plain = Coded(), Coded(), tuple[list[Any], ...]([] for _ in PLAIN)
    columns = (repeated, tags, *plain)
    for rows in iter(partial(cursor.fetchmany, _CHUNK), []):
        for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(cells)
    return Columns(repeated, tags, dict(zip(PLAIN, plain, strict=True)))
