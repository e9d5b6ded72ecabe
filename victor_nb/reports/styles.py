"""Frames as a notebook shows them: money, milliseconds, thousands, and headers that a screen reader can follow."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import pandas as pd
from pandas.io.formats.style import Styler

from victor_nb.money import usd
from victor_nb.reports.frames import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Formatter = Callable[[Any], str]

_UNKNOWN: Final = "–"
_SHARES: Final = frozenset({"error_rate", "cache_share", "ratio"})
_LONGEST: Final = 80
_SLOW: Final = 10.0
"""Seconds from which on milliseconds say too much."""
_CSS: Final = {
    "caption": "caption-side: top; text-align: left; font-weight: bold; padding: 0.3em 0",
    "td,th": "padding: 0.2em 0.6em; vertical-align: top; text-align: left",
    "td,.col_heading": "text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap",
}
_WORDS: Final = "text-align: left; white-space: normal"
_HEADERS: Final = (
    (re.compile(r'<th (?=[^>]*class="col_heading)'), '<th scope="col" '),
    (re.compile(r'<th (?=[^>]*class="row_heading)'), '<th scope="row" '),
)
_CORNER: Final = re.compile(r'<th class="blank[^>]*>&nbsp;</th>')


class Table(Styler):
    """A pandas Styler that is the same HTML each time, says what its headers are headers of, and has a plain text."""

    texts: pd.DataFrame

    def _repr_html_(self) -> str:
        html = self.to_html()
        for header, better in _HEADERS:
            html = header.sub(better, html)
        for name in self.texts.index.names:
            html = _CORNER.sub(f'<th scope="col">{_safe(_header(name))}</th>', html, count=1)
        return html

    def __repr__(self) -> str:
        return self.texts.to_string(index=bool(self.texts.index.names[0]), max_colwidth=_LONGEST)


def styled(frame: pd.DataFrame, caption: str | None = None, *, rows: int = 100) -> Table:
    """Return a frame of ours as a notebook shows it.

    Money is `USD 0.0041`, and `unpriced` where it is unknown; what is a sum of fewer prices than attempts is `≥`.
    Times are in ms, in a column that holds 10 s or more in s; counts have thousands separators, shares are in percent.
    Text is escaped, on one line, and cut at 80 characters.

    Args:
        frame: Columns go by their names (`KINDS`), others by their dtypes.
        caption: Said above the table; else how many rows there are.
        rows: The most that are shown, from the first on; the caption tells of the others.
    """
    data = _keyed(frame.head(rows))
    formats = {str(name): _formatter(str(name), data[name]) for name in data.columns}
    shown = _texts(data, formats)
    look = Table(data, uuid=f"{crc32(shown.to_csv().encode()):08x}", cell_ids=False)
    look.texts = shown
    for name, form in formats.items():
        look.format(partial(_cell, form), subset=[name])
    for row in _bounds(data):
        look.format(partial(_cell, partial(_at_least, formats["cost"])), subset=pd.IndexSlice[[row], ["cost"]])
    _dress(look, data, _caption(caption, len(data), len(frame)))
    return look


def _keyed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame under an index of texts, since a missing key cannot be looked up; rows without keys get none."""
    names = [str(name) for name in frame.index.names if name is not None]
    if not names:
        return frame.reset_index(drop=True)
    levels = [[_key(key) for key in frame.index.get_level_values(name)] for name in names]
    index = pd.MultiIndex.from_arrays(levels, names=names) if names[1:] else pd.Index(levels[0], name=names[0])
    return frame.set_axis(index, axis="index") if index.is_unique else frame.reset_index()


def _dress(look: Table, data: pd.DataFrame, caption: str) -> None:
    """Give the table its caption, headers and alignment; rows that are only numbered lose their numbers."""
    words = [f".col{at}" for at, name in enumerate(data.columns) if _kind(str(name), data[name]) == "text"]
    look.format_index(_header, axis="columns")
    look.format_index(lambda key: _safe(str(key)), axis="index")
    look.set_caption(_safe(caption)).set_table_styles(_css(words))
    look.set_table_attributes('class="dataframe tex2jax_ignore mathjax_ignore"')
    look.hide(names=True)
    if not data.index.names[0]:
        look.hide(axis="index")


def _css(words: Iterable[str]) -> Any:  # noqa: ANN401 - pandas has a type for it, but none to import
    props = {**_CSS, **dict.fromkeys(words, _WORDS)}
    return [{"selector": selector, "props": text} for selector, text in props.items()]


def _texts(data: pd.DataFrame, formats: Mapping[str, Formatter]) -> pd.DataFrame:
    """Return the frame with every cell as its text."""
    shown = pd.DataFrame({name: [form(cell) for cell in data[name]] for name, form in formats.items()}, dtype="object")
    shown.index = data.index
    for row in _bounds(data):
        shown.loc[row, "cost"] = _at_least(formats["cost"], data.loc[row, "cost"])
    return shown.rename(columns=_header)


def _bounds(data: pd.DataFrame) -> list[Any]:
    """Return the rows whose cost is a lower bound."""
    if not {"cost", "unpriced"} <= {*data.columns}:
        return []
    return list(data.index[data["cost"].notna() & data["unpriced"].fillna(0).gt(0)])


def _at_least(money: Formatter, cell: object) -> str:
    return f"≥ {money(cell)}"


def _cell(form: Formatter, cell: object) -> str:
    return _safe(form(cell))


def _safe(text: str) -> str:
    return escape(text).replace("$", "<span>$</span>")  # a pair of bare dollar signs is mathematics


def _kind(name: str, column: pd.Series[Any]) -> str:
    """Return what a column holds: by its name, else by its dtype."""
    if name in KINDS:
        return KINDS[name]
    if pd.api.types.is_bool_dtype(column.dtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        return "text"
    return "count" if pd.api.types.is_integer_dtype(column.dtype) else "number"


def _formatter(name: str, column: pd.Series[Any]) -> Formatter:
    if name in _SHARES:
        return _share
    kind = _kind(name, column)
    if kind == "seconds":
        return _slow if pd.to_numeric(column).max() >= _SLOW else _fast
    return {"money": _money, "count": _whole, "number": _number, "moment": _moment}.get(kind, _text)


def _money(cell: Any) -> str:  # noqa: ANN401 - a cell is what its column holds
    return "unpriced" if pd.isna(cell) else usd(Decimal(repr(float(cell))))


def _whole(cell: Any) -> str:  # noqa: ANN401
    return _UNKNOWN if pd.isna(cell) else f"{int(cell):,}"


def _number(cell: Any) -> str:  # noqa: ANN401
    return _UNKNOWN if pd.isna(cell) else f"{cell:,.1f}" if abs(cell) >= 10 else f"{cell:.3g}"  # noqa: PLR2004


def _share(cell: Any) -> str:  # noqa: ANN401
    return _UNKNOWN if pd.isna(cell) else f"{cell:.1%}"


def _fast(cell: Any) -> str:  # noqa: ANN401
    return _UNKNOWN if pd.isna(cell) else f"{cell * 1000:,.0f} ms"


def _slow(cell: Any) -> str:  # noqa: ANN401
    return _UNKNOWN if pd.isna(cell) else f"{cell:,.1f} s"


def _moment(cell: Any) -> str:  # noqa: ANN401
    return _UNKNOWN if pd.isna(cell) else f"{cell:%Y-%m-%d %H:%M:%S}"


def _text(cell: Any) -> str:  # noqa: ANN401
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return _UNKNOWN
    words = " ".join(str(cell).split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def _key(cell: Any) -> str:  # noqa: ANN401
    if isinstance(cell, pd.Timestamp):
        return f"{cell:%Y-%m-%d}" if cell == cell.normalize() else _moment(cell)
    return _text(cell)


def _header(name: object) -> str:
    return str(name).replace("_", " ")


def _caption(said: str | None, shown: int, total: int) -> str:
    count = f"{total:,} row{'' if total == 1 else 's'}" if shown == total else f"first {shown:,} of {total:,} rows"
    return " · ".join(filter(None, [said, "" if said and shown == total else count]))
