"""Frames: made of plain records with stated dtypes, read for a chart, summed up, and shown as tables.

pandas is imported when a frame is made or summed up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from html import escape
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

from victor_nb.accounting.rows import Row, zone
from victor_nb.errors import ConfigError, suggest
from victor_nb.money import Total, column
from victor_nb.runtime import current
from victor_nb.tables import Table
from victor_nb.values import UNPAID, Usage

if TYPE_CHECKING:
    import pandas as pd
    from pandas import DataFrame

NOTHING: Final = "nothing to show yet"


# --- made ---

Dtype: TypeAlias = Literal["text", "count", "money", "seconds", "number", "flag", "moment"]
"""What a column holds: `text` string, `count` Int64, `money` (USD), `seconds` and `number` float64, `flag` boolean,
`moment` datetime64[us, UTC]."""

_COLUMNS: Final[Mapping[Dtype, str]] = {
    "moment": "ts",
    "count": "attempt attempts prompt sample calls retries unpriced unbilled items kept_items dropped_items tasks df "
    "score_df tokens input_tokens output_tokens cache_read_tokens cache_write_tokens reasoning_tokens",
    "money": "cost billed judge_cost same_calls one_call what_if_cost saved cumulative_cost cache_saved",
    "seconds": "latency ttft queue start wall serial began ended latency_p50 latency_p95 ttft_p50 ttft_p95",
    "number": "score score_se difference low high length_r tokens_per_second error_rate cache_share reasoning_share "
    "ratio",
    "flag": "kept complete estimated reused",
}
DTYPES: Final[Mapping[str, Dtype]] = {name: kind for kind, names in _COLUMNS.items() for name in names.split()}
"""What columns of these names hold; any other is text."""


def records_frame(records: Iterable[Mapping[str, object]], columns: Mapping[str, Dtype] | Sequence[str]) -> DataFrame:
    """Return rows of plain values as a frame, with the same dtypes whatever the rows hold, also where there are none.

    Args:
        records: A mapping by column for each row; what is missing or None is unknown.
        columns: The columns in order, with their kinds, or by names whose kinds `DTYPES` knows (else text). A column
            that only the records name comes after these, of the dtype that pandas gives it.
    """
    import pandas as pd

    rows = list(records)
    kinds: Mapping[str, Dtype] = (
        columns if isinstance(columns, Mapping) else {name: DTYPES.get(name, "text") for name in columns}
    )
    frame = {name: _column(kind, [row.get(name) for row in rows]) for name, kind in kinds.items()}
    others = dict.fromkeys(name for row in rows for name in row if name not in kinds)
    return pd.DataFrame(frame | {name: [row.get(name) for row in rows] for name in others})


def _column(kind: Dtype, cells: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    if kind == "text":
        return pd.Series([None if cell is None or cell is pd.NA else str(cell) for cell in cells], dtype="string")
    if kind == "moment":
        moments = pd.to_datetime(pd.Series(cells, dtype="object"), utc=True)
        return pd.Series(moments).astype("datetime64[us, UTC]")
    if kind in {"count", "flag"}:
        return pd.Series(cells, dtype="Int64" if kind == "count" else "boolean")
    return pd.Series([math.nan if cell is None or cell is pd.NA else float(cell) for cell in cells], dtype="float64")


# --- read ---


def need(frame: DataFrame, what: str, columns: Sequence[str], *, source: str) -> None:
    """Raise ConfigError if a frame lacks columns that `what` needs; `source` is where one that has them comes from."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"{what} needs the columns {', '.join(missing)}. Give it {source}.")


def _cells(frame: DataFrame, name: str) -> list[Any]:
    """Return the cells of a column, None where they are empty or where there is no such column."""
    import pandas as pd

    return [None if pd.isna(cell) else cell for cell in frame[name]] if name in frame else [None] * len(frame)


def numbers(frame: DataFrame, name: str) -> list[float]:
    """Return a column as floats, NaN where it is unknown."""
    return [math.nan if cell is None else float(cell) for cell in _cells(frame, name)]


def words(frame: DataFrame, name: str, *, missing: str = "") -> list[str]:
    """Return a column as texts, `missing` where it is empty."""
    return [missing if cell is None else str(cell) for cell in _cells(frame, name)]


def added(frame: DataFrame, name: str) -> float:
    """Return the sum of what is known of a column."""
    return sum(known(numbers(frame, name)))


def known(values: Iterable[float]) -> list[float]:
    """Return the values that are not NaN."""
    return [value for value in values if not math.isnan(value)]


def mean(values: Iterable[float]) -> float:
    """Return the mean of what is known; NaN where nothing is."""
    found = known(values)
    return fmean(found) if found else math.nan


class Money(NamedTuple):
    """A sum of what is known in USD (NaN where there is nothing), and how many of its parts are not."""

    known: float
    unpriced: int


def money(frame: DataFrame) -> Money:
    """Return the sum of the costs. A row that counts its own `unpriced` parts adds that many."""
    costs, counts = numbers(frame, "cost"), numbers(frame, "unpriced")
    unpriced = [
        max(0 if math.isnan(count) else int(count), 1 if math.isnan(cost) else 0)
        for cost, count in zip(costs, counts, strict=True)
    ]
    found = known(costs)
    return Money(sum(found) if found else math.nan, sum(unpriced))


def groups(frame: DataFrame, name: str) -> Iterator[tuple[str, DataFrame]]:
    """Split a frame by the texts of a column, in order of first occurrence; where it is empty, `(no stage)`."""
    keys = words(frame, name, missing=f"(no {name})")
    for key in dict.fromkeys(keys):
        yield key, frame[[each == key for each in keys]]


def provenance(frame: DataFrame, what: str = "list prices") -> str:
    """Describe figures that are not what a provider charged or took, such as `simulated: list prices`; else nothing."""
    modes = {mode for text in words(frame, "mode", missing="live") for mode in text.split()}
    found = [word for mode, word in UNPAID.items() if mode in modes]
    if not found:
        return ""
    partly = "partly " if modes - UNPAID.keys() else ""
    return f"{partly}{' and '.join(found)}: {what}"


# --- summed up ---

By = Literal["profile", "provider", "model", "stage", "strategy", "notebook", "day", "run_id", "status", "mode"]
Every = Literal["minute", "hour", "day", "week", "month"]

GROUPS: Final = get_args(By)
"""What a ledger can be summed up by. A day is one of this machine's zone."""

_FREQUENCIES: Final = {"minute": "min", "hour": "h", "day": "D", "week": "W-MON", "month": "MS"}
_SUMS: Final = {
    **dict.fromkeys("input_tokens output_tokens cache_read_tokens cache_write_tokens reasoning_tokens".split(), 0),
    **dict.fromkeys(("cost", "billed"), 1),
}
"""The columns that are summed, with the known values that it takes at least: unknown money is not 0."""
_PRICED: Final = (
    *("ts", "call_id", "profile", "provider", "model", "model_served", "host", "service_tier"),
    *(each.name for each in fields(Usage)),
)
"""What the price of an attempt depends on."""
_ENDED: Final = ("ok", "error", "interrupted", "partial", "invalid")
_FAILED: Final = ("error", "partial", "invalid")


def summary(frame: DataFrame, by: By | Sequence[By] = "profile") -> DataFrame:
    """Sum up a ledger frame (`session().ledger.to_frame()`), one row for each group, in the order of their first rows.

    Args:
        frame: One row per attempt.
        by: One of `GROUPS`, or several of them; an empty list sums up everything.

    Returns:
        A frame whose index is the groups, NaN where a row is of none (a call outside of any strategy has no stage):

        - `calls`, `attempts`, `retries` (attempts after a call's first), none of them refused before it was sent;
        - `input_tokens`, `output_tokens`, and what is inside them: `cache_read_tokens`, `cache_write_tokens`,
          `reasoning_tokens`;
        - `cost` (list prices) and `billed` (USD): sums of what is known, NaN where nothing is; `unpriced` and
          `unbilled` count the attempts of which they are not known, so that the sum is a lower bound where it is not 0;
        - `mode`: the modes of the attempts; `cost` of what was simulated or replayed was not paid;
        - `latency_p50`, `latency_p95`, `ttft_p50`, `ttft_p95` (seconds) of attempts that went well: percentiles by
          linear interpolation between the two nearest of them (Hyndman and Fan's type 7, numpy's default);
        - `tokens_per_second`: output tokens of attempts that went well, over their latencies added up;
        - `error_rate`: errors and answers that broke off, as a share of the attempts that were sent and have ended;
        - `cache_share` and `reasoning_share`: cache reads as a share of the input tokens, reasoning of the output;
        - `cache_saved` (USD): what cache reads saved less what cache writes cost more than plain input, by today's list
          prices; NaN where it is not known.

    Raises:
        ConfigError: There is no such group.
    """
    import pandas as pd

    rows, names = _prepared(frame), [by] if isinstance(by, str) else list(by)
    groups = rows.groupby(_keys(rows, names), sort=False, observed=True, dropna=False)
    counts = groups[["attempts", "retries", "unpriced", "unbilled", "ended", "failed"]].sum()
    seen = pd.concat(
        [
            groups["sent"].nunique().astype("Int64").rename("calls"),
            counts[["attempts", "retries"]].astype("Int64"),
            *(groups[name].sum(min_count=least).rename(name) for name, least in _SUMS.items()),
            counts[["unpriced", "unbilled"]].astype("Int64"),
            groups["modes"].agg(_modes).astype("string").rename("mode"),
            *_percentiles(groups),
            _ratio(groups["served_tokens"].sum(), groups["served_seconds"].sum()).rename("tokens_per_second"),
            _ratio(counts["failed"], counts["ended"]).rename("error_rate"),
        ],
        axis="columns",
        sort=False,
    )
    seen["cache_share"] = _ratio(seen["cache_read_tokens"], seen["input_tokens"])
    seen["reasoning_share"] = _ratio(seen["reasoning_tokens"], seen["output_tokens"])
    seen["cache_saved"] = groups["cache_saved"].sum(min_count=1)
    return seen.drop(columns="mode") if "mode" in names else seen


def _modes(modes: pd.Series[str]) -> str:
    return " ".join(sorted(set(modes)))


def _cache_saved(frame: DataFrame) -> pd.Series[float]:
    """Return what the cache saved each attempt, in USD."""
    import pandas as pd

    cached = frame["cache_read_tokens"].fillna(0).gt(0) | frame["cache_write_tokens"].fillna(0).gt(0)
    if not cached.any():
        return pd.Series(0.0, index=frame.index)
    columns = zip(*(_cells(frame[cached], name) for name in _PRICED), strict=True)
    rows = (Row(**dict(zip(_PRICED, cells, strict=True))) for cells in columns)
    amounts = [math.nan if amount is None else float(amount) for amount in map(current().cache_saved, rows)]
    return pd.Series(amounts, index=frame.index[cached]).reindex(frame.index, fill_value=0.0)


def local_times(frame: DataFrame) -> pd.Series[Any]:
    """Return the column `ts` as this machine's clock showed it, without a zone."""
    import pandas as pd

    moments = [
        moment.to_pydatetime().astimezone().replace(tzinfo=None) for moment in pd.to_datetime(frame["ts"], utc=True)
    ]
    return pd.Series(moments, index=frame.index, dtype="datetime64[us]")


def zone_name(frame: DataFrame) -> str:
    """Return the name of this machine's zone at the last moment of the column `ts`."""
    import pandas as pd

    return zone(pd.to_datetime(frame["ts"], utc=True).max().to_pydatetime())


def _prepared(frame: DataFrame) -> DataFrame:
    """Return the columns that are needed, with a few that make a sum of what is asked for."""
    well, timed = frame["status"] == "ok", frame["latency"].notna() & frame["output_tokens"].notna()
    sent = frame["status"] != "refused"
    return frame.assign(
        day=local_times(frame).dt.floor("D"),
        sent=frame["call_id"].where(sent),
        attempts=sent,
        unpriced=frame["cost"].isna(),
        unbilled=frame["billed"].isna(),
        retries=sent & (frame["attempt"] > 1),
        modes=frame["mode"].astype("str"),
        cache_saved=_cache_saved(frame),
        ended=frame["status"].isin(_ENDED),
        failed=frame["status"].isin(_FAILED),
        good_latency=frame["latency"].where(well),
        good_ttft=frame["ttft"].where(well),
        served_tokens=frame["output_tokens"].where(well & timed).astype("Float64"),
        served_seconds=frame["latency"].where(well & timed),
    )


def _keys(rows: DataFrame, by: Sequence[str]) -> list[Any]:
    import pandas as pd

    for name in by:
        if name not in GROUPS:
            raise ConfigError(f"A ledger is not summed up by {name!r}. {suggest(name, GROUPS)}")
    return list(by) or [pd.Series("all", index=rows.index, name="all", dtype="str")]


def _percentiles(groups: Any) -> list[pd.Series[float]]:  # noqa: ANN401 - pandas' own class for groups is private
    return [
        groups[f"good_{name}"].quantile(share / 100).astype("float64").rename(f"{name}_p{share}")
        for name in ("latency", "ttft")
        for share in (50, 95)
    ]


def _ratio(part: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[float]:
    """Divide; what is divided by nothing is NaN."""
    import pandas as pd

    numbers = pd.to_numeric(whole).astype("float64")
    return part.astype("float64") / numbers.where(numbers > 0)


def spend(frame: DataFrame, every: Every = "day") -> DataFrame:
    """Return what a ledger frame's attempts cost in each period of time, those without any attempt included.

    Returns:
        A frame by the beginning of each period (in this machine's zone; weeks begin on Monday): `attempts` (that were
        sent), `cost` (list prices) and `billed` (USD, sums of what is known, NaN where nothing is), `unpriced`
        (attempts), `mode` (their modes: what was simulated or replayed was not paid), `cumulative_cost` (USD).

    Raises:
        ConfigError: There is no such period.
    """
    import pandas as pd

    if every not in _FREQUENCIES:
        raise ConfigError(f"Money is not summed up every {every!r}. Use one of: {', '.join(_FREQUENCIES)}.")
    grouper = pd.Grouper(key="period", freq=_FREQUENCIES[every], closed="left", label="left")
    counted = {"unpriced": frame["cost"].isna(), "sent": frame["status"] != "refused"}
    groups = frame.assign(**counted, period=local_times(frame), modes=words(frame, "mode", missing="live")).groupby(
        grouper
    )
    quiet = groups["attempt"].size() == 0
    columns = {
        "attempts": groups["sent"].sum().astype("Int64"),
        "cost": groups["cost"].sum(min_count=1).mask(quiet, 0.0),
        "billed": groups["billed"].sum(min_count=1).mask(quiet, 0.0),
        "unpriced": groups["unpriced"].sum().astype("Int64"),
        "mode": groups["modes"].agg(_modes).astype("string"),
    }
    return pd.DataFrame(columns).assign(cumulative_cost=lambda found: found["cost"].fillna(0.0).cumsum())


# --- a frame as a table ---

_SHARES: Final = frozenset({"error_rate", "cache_share", "reasoning_share", "ratio"})
_LONGEST: Final = 80
_SLOW: Final = 10.0  # seconds, from which on milliseconds are too exact
_FORMATS: Final[Mapping[str, Callable[[Any], str]]] = {
    "count": lambda cell: f"{int(cell):,}",
    "number": lambda cell: f"{cell:,.1f}" if abs(cell) >= 10 else f"{cell:.3g}",  # noqa: PLR2004
    "share": lambda cell: f"{cell:.1%}",
    "ms": lambda cell: f"{cell * 1000:,.0f} ms",
    "seconds": lambda cell: f"{cell:,.1f} s",
    "moment": lambda cell: f"{cell:%Y-%m-%d %H:%M:%S}",
}
_CSS: Final = """\
.victor-frame caption {caption-side: top; text-align: left; font-weight: bold; padding: 0.3em 0}
.victor-frame td, .victor-frame th {padding: 0.2em 0.6em; vertical-align: top; text-align: left}
.victor-frame .victor-number {text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap}"""


@dataclass(frozen=True, slots=True, repr=False)
class FrameTable(Table):
    """A frame as a notebook shows it: HTML whose headings a screen reader can follow, and plain text."""

    caption: str = ""

    def as_html(self) -> str:
        """Return it as HTML, with its style."""
        start = '<table class="dataframe victor-frame tex2jax_ignore mathjax_ignore">'
        html = self.html(safe, start=f"{start}<caption>{safe(self.caption)}</caption>")
        return f"<style>{_CSS}</style>\n{html}"

    def _repr_html_(self) -> str:
        return self.as_html()

    def __repr__(self) -> str:
        return self.plain()


def styled(frame: DataFrame, caption: str | None = None, *, rows: int = 100) -> FrameTable:
    """Return a frame of ours as a notebook shows it.

    Money is `USD 0.0041`, `>= USD 0.0041 (2 unpriced)` where parts of a sum are unknown, `unpriced` where all is, and
    `free` for what was answered at no price; a column of it has the same number of decimals.
    Times are in ms, in a column that holds 10 s or more in s; counts have thousands separators, shares are in percent.
    Text is escaped, on one line, and cut at 80 characters.

    Args:
        frame: Columns go by their names (`DTYPES`), others by their dtypes.
        caption: What stands above the table; else how many rows there are.
        rows: The most that are shown, from the first on; the caption counts the others.
    """
    data = frame.head(rows)
    kinds = {str(name): _kind(str(name), data[name]) for name in data.columns}
    texts = {
        name: _amounts(data, name) if kind == "money" else [_text(cell, kind) for cell in data[name]]
        for name, kind in kinds.items()
    }
    levels = [(name, data.index.get_level_values(at)) for at, name in enumerate(data.index.names) if name is not None]
    keys = [[_key(key) for key in level] for _, level in levels]
    count = f"{len(frame):,} row{'' if len(frame) == 1 else 's'}"
    cut = f"first {len(data):,} of {count}" if len(data) < len(frame) else "" if caption else count
    return FrameTable(
        columns=[_header(name) for name in (*(name for name, _ in levels), *texts)],
        rows=list(zip(*keys, *texts.values(), strict=True)),
        numbers=[_header(name) for name, kind in kinds.items() if kind != "text"],
        heads=len(keys),
        caption=" · ".join(filter(None, [caption, cut])),
    )


def _amounts(data: DataFrame, name: str) -> list[str]:
    """Return a column of USD as text; what is unknown of a sum, and whether it was free, is in other columns."""
    amounts, counts = numbers(data, name), numbers(data, {"billed": "unbilled"}.get(name, "unpriced"))
    bounded, tokens = name in {"cost", "billed"}, numbers(data, "output_tokens")
    totals: list[Total] = []
    for amount, count, written in zip(amounts, counts, tokens, strict=True):
        known = Decimal(repr(0.0 if math.isnan(amount) else round(amount, 9)))
        unknown = int(count) if bounded and count > 0 else int(math.isnan(amount))
        totals.append(Total(known, unpriced=unknown, free=int(name == "cost" and written > 0)))
    return column(totals, adds_up=False)


def _kind(name: str, column: pd.Series[Any]) -> str:
    """Return how a column is written: by its name, else by its dtype."""
    import pandas as pd
    from pandas.api import types

    if name in _SHARES and types.is_numeric_dtype(column.dtype):
        return "share"
    fits = types.is_datetime64_any_dtype if DTYPES.get(name) == "moment" else types.is_numeric_dtype
    if name in DTYPES and (DTYPES[name] == "text" or fits(column.dtype)):  # else a column of the user's has its name
        fast = DTYPES[name] == "seconds" and not pd.to_numeric(column).max() >= _SLOW
        return "ms" if fast else DTYPES[name]
    if types.is_bool_dtype(column.dtype) or not types.is_numeric_dtype(column.dtype):
        return "text"
    return "count" if types.is_integer_dtype(column.dtype) else "number"


def _text(cell: Any, kind: str) -> str:  # noqa: ANN401 - a cell is what its column holds
    import pandas as pd

    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return "–"
    if kind in _FORMATS:
        return _FORMATS[kind](cell)
    words = " ".join(str(cell).split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def _key(cell: Any) -> str:  # noqa: ANN401
    """Return the key of a row as text; a moment at midnight is a day."""
    import pandas as pd

    if isinstance(cell, pd.Timestamp):
        return f"{cell:%Y-%m-%d}" if cell == cell.normalize() else _FORMATS["moment"](cell)
    return _text(cell, "text")


def _header(name: object) -> str:
    return str(name).replace("_", " ")


def safe(text: str) -> str:
    """Return a text as HTML that a notebook shows as it is written."""
    return escape(text).replace("$", "<span>$</span>")  # a pair of bare dollar signs is mathematics
