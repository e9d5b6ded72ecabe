"""Columns of answers compared: before with after (`diff`), and one profile with another (`agree`).

The frames are those of `pool.map`, or any others with a column of answers.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from victor_nb.errors import ConfigError, suggest
from victor_nb.money import EXACT, Total, usd
from victor_nb.reports.frames import Dtype, FrameTable, records_frame, styled
from victor_nb.reports.statistics import Interval, kappa, proportion
from victor_nb.values import plain

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from pandas import DataFrame

_UNSENT: Final = frozenset({"skipped", "pending", "reused"})
"""Statuses of rows that no call was made for: what they cost is 0, not unknown."""
_UNASKED: Final = _UNSENT - {"reused"}
"""Statuses of rows that no call was ever made for: they have no price."""
_SHOWN: Final = 5  # rows of each table that is shown
_MANY: Final = 10_000  # calls: what few cost is too little to compare
_CENTS: Final = Decimal("0.02")  # USD: what is less is not said to the cent
_LONGEST: Final = 60  # characters of an answer in a table of the commonest
_NONE: Final = "(none)"
_CSS: Final = """\
.victor-labels table.victor-frame td, .victor-labels table.victor-frame th {text-align: left}
.victor-labels table.victor-frame .victor-number {text-align: right}
.victor-labels table.victor-frame caption {white-space: nowrap}"""
"""Front ends align the cells of frames to the right, by rules that are stronger than those of a single class."""


# --- what both read ---


def answer_columns(frame: DataFrame, on: str) -> list[str]:
    """Return the columns that hold the answers of a name: itself, or those that profiles and schemas made of it.

    Raises:
        ConfigError: There is none.
    """
    names = [str(name) for name in frame.columns]
    if on in names:
        return [on]
    made = [name for name in names if name.startswith(f"{on}.")]
    stems = {f"{stem}_" for name in made for stem in (name, name.rpartition(".")[0])}  # of what stands beside them
    made = [name for name in made if not any(name.startswith(stem) for stem in stems)]
    if not made:
        raise ConfigError(f"The frame has no column {on!r}. {suggest(on, names)}")
    return made


def named(frame: DataFrame) -> DataFrame:
    """Return a frame whose columns have texts as names; those of several levels are one, with blanks between."""
    names = cast("list[object]", list(frame.columns))
    if all(isinstance(name, str) for name in names):
        return frame
    parts = [cast("tuple[object, ...]", name if isinstance(name, tuple) else (name,)) for name in names]
    return frame.set_axis([" ".join(filter(None, map(str, name))) for name in parts], axis="columns")


def _cells(frame: DataFrame, names: Sequence[str]) -> list[tuple[object, ...] | None]:
    """Return the answer of each row, as many values as there are columns; None where all of them are empty."""
    columns = [[_value(cell) for cell in frame[name]] for name in names]
    return [None if all(cell is None for cell in row) else row for row in zip(*columns, strict=True)]


def _value(cell: object) -> object:
    """Return a cell as a value that can be compared and counted; None where it is empty."""
    import pandas as pd

    value: Any = plain(cell)
    if pd.api.types.is_scalar(value):
        return None if pd.isna(value) else value
    return repr(value)


def _written(answer: tuple[object, ...] | None) -> str:
    if answer is None:
        return _NONE
    text = " | ".join(_NONE if value is None else " ".join(str(value).split()) for value in answer)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _percent(found: Interval) -> str:
    """Return a share with its interval: `6.0 % (3.5 to 10.2 %)`; empty where there are no rows."""
    if math.isnan(found.value):
        return ""
    between = f" ({found.low * 100:.1f} to {found.high * 100:.1f} %)" if not math.isnan(found.low) else ""
    return f"{found.value * 100:.1f} %{between}"


class _Tables:
    """What is shown as a sentence and several tables below it."""

    def _tables(self) -> Iterable[FrameTable]:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        tables = "\n".join(table.as_html() for table in self._tables())
        return f'<style>{_CSS}</style><div class="victor-labels"><p>{escape(str(self))}</p>{tables}</div>'

    def __repr__(self) -> str:
        tables = ("\n".join(filter(None, (table.caption, table.plain()))) for table in self._tables())
        return "\n\n".join((str(self), *tables))


# --- before and after ---


class _Change(NamedTuple):
    """One row of both frames: where it stands in the later one, and its answers."""

    place: int
    before: tuple[object, ...] | None
    after: tuple[object, ...] | None

    @property
    def kind(self) -> str:
        """What happened to the answer: `changed`, `came`, `went`; empty where it is the same, or none in both."""
        if self.before == self.after:
            return ""
        return "came" if self.before is None else "went" if self.after is None else "changed"


@dataclass(frozen=True, repr=False, eq=False)
class Diff(_Tables):
    """How the answers of one frame differ from those of an earlier one, row by row of the index.

    Attributes:
        on: The columns that are compared.
        rows: Rows that both frames have.
        compared: Those of them with an answer in both.
        changed: Those of these whose answers differ.
        came: Rows without an answer before, and with one now.
        went: Rows with an answer before, and without one now.
        added: Rows that only the later frame has.
        removed: Rows that only the earlier frame has.
        churn: `changed / compared`, with its 95 % interval.
        before: USD that the earlier map spent; None where the frame does not say.
        after: USD that the later map spent; None where the frame does not say.
        priced: Rows that have a price in both frames, also where an answer is reused.
        before_each: USD that a call cost on average for these rows in the earlier map; None where there are none.
        after_each: The same of the later map. These two compare prompts on the same rows, whatever was reused.
        moves: The changes, the commonest first: the answer before, the answer after, and in how many rows.
    """

    on: tuple[str, ...]
    rows: int
    compared: int
    changed: int
    came: int
    went: int
    added: int
    removed: int
    churn: Interval
    before: Total | None
    after: Total | None
    priced: int
    before_each: Decimal | None
    after_each: Decimal | None
    moves: tuple[tuple[str, str, int], ...]
    _frame: DataFrame = field()

    @property
    def cost_delta(self) -> Decimal | None:
        """USD that the later map spent more, negative where it spent less; None where a part is unknown."""
        if self.before is None or self.after is None:
            return None
        before, after = self.before.exact_cost, self.after.exact_cost
        return None if before is None or after is None else EXACT.subtract(after, before)

    def to_frame(self) -> DataFrame:
        """Return the rows whose answer changed, came or went: the input's columns, `before`, `after`, `change`."""
        return self._frame.copy()

    def examples(self, n: int = _SHOWN) -> DataFrame:
        """Return the first `n` of these rows."""
        return self._frame.head(n).copy()

    def __str__(self) -> str:
        """Return it in one sentence: `label: 12 of 200 answers changed, 6.0 % (3.5 to 10.2 %); 1 went.`."""
        share = f", {_percent(self.churn)}" if self.changed else ""
        others = {"came": self.came, "went": self.went, "only after": self.added, "only before": self.removed}
        more = "".join(f"; {count:,} {word}" for word, count in others.items() if count)
        return f"{', '.join(self.on)}: {self.changed:,} of {self.compared:,} answers changed{share}{more}."

    def _tables(self) -> Iterator[FrameTable]:
        old, new = self.before_each, self.after_each
        gap = None if old is None or new is None else new - old
        costs = dict(zip(("before", "after", "difference"), _per_many(old, new, gap), strict=True))
        facts = {"rows in both": f"{self.rows:,}", **costs}
        caption = f"what {_MANY:,} calls cost, at the mean of the {self.priced:,} rows with a price in both"
        yield FrameTable(columns=list(facts), rows=[list(facts.values())], numbers=list(facts), caption=caption)
        if self.moves:
            records = [{"before": old, "after": new, "rows": count} for old, new, count in self.moves[:_SHOWN]]
            yield styled(records_frame(records, _MOVES), _of("commonest changes", len(self.moves)))
        if len(self._frame):
            yield styled(self.examples(), _of("rows that differ", len(self._frame)))


_MOVES: Final[Mapping[str, Dtype]] = {"before": "text", "after": "text", "rows": "count"}


def _of(what: str, count: int) -> str:
    """Return a caption that says how many there are, where not all are shown."""
    return f"{what} ({_SHOWN} of {count:,})" if count > _SHOWN else what


def diff(before: DataFrame, after: DataFrame, on: str) -> Diff:
    """Compare the answers of two frames, row by row of their indices: what changed, how often, and what was spent.

    Args:
        before: A frame of `pool.map`, or any other.
        after: Another one of the same input: of another prompt, another profile or another day. Of rows that share
            one label of the index, the first is compared with the first, and so on.
        on: The column of the answers. Where a schema made several columns of it (`label.kind`), all are compared.

    Raises:
        ConfigError: A frame lacks the column.
    """
    before, after = named(before), named(after)
    names = [name for name in answer_columns(before, on) if name in set(answer_columns(after, on))]
    if not names:
        raise ConfigError(f"The frames have no column of {on!r} in common. Give both the same out= and schema=.")
    olds, news = (dict(zip(_keys(frame), _cells(frame, names), strict=True)) for frame in (before, after))
    both = [_Change(place, olds[key], answer) for place, (key, answer) in enumerate(news.items()) if key in olds]
    others = [change for change in both if change.kind]
    kinds = Counter(change.kind for change in others)
    compared = sum(change.before is not None and change.after is not None for change in both)
    texts = [(_written(change.before), _written(change.after)) for change in others]
    changed = Counter(pair for pair, change in zip(texts, others, strict=True) if change.kind == "changed")
    found = after.iloc[[change.place for change in others]]
    earlier, later = (dict(zip(_keys(frame), _prices(frame, on), strict=True)) for frame in (before, after))
    prices = [(old, new) for key, new in later.items() if new is not None and (old := earlier.get(key)) is not None]
    return Diff(
        on=tuple(names),
        rows=len(both),
        compared=compared,
        changed=kinds["changed"],
        came=kinds["came"],
        went=kinds["went"],
        added=len(news) - len(both),
        removed=len(olds) - len(both),
        churn=proportion(kinds["changed"], compared),
        before=_spent(before, on),
        after=_spent(after, on),
        priced=len(prices),
        before_each=_mean([old for old, _ in prices]),
        after_each=_mean([new for _, new in prices]),
        moves=tuple((*pair, count) for pair, count in changed.most_common()),
        _frame=_input(found, [on]).assign(
            before=[old for old, _ in texts], after=[new for _, new in texts], change=[each.kind for each in others]
        ),
    )


def _keys(frame: DataFrame) -> Iterator[tuple[Hashable, int]]:
    """Yield a key for each row: its label in the index, and which of the rows with that label it is."""
    seen: Counter[Hashable] = Counter()
    for each in frame.index:
        label = _value(each) if isinstance(each, float) else each  # one NaN is not another
        yield label, seen[label]
        seen[label] += 1


def _input(frame: DataFrame, outs: Sequence[str]) -> DataFrame:
    """Return a frame without the columns that maps to these names have added."""
    added = tuple(f"{out}{mark}" for out in outs for mark in "._")
    return frame[[name for name in frame.columns if str(name) not in outs and not str(name).startswith(added)]]


def _costs(frame: DataFrame, on: str) -> list[Decimal | None] | None:
    """Return what the call of each row cost, None where unknown, without rows that none was made for.

    None where the frame has no column of it.
    """
    if f"{on}_cost" not in frame.columns:
        return None
    amounts = [_value(cell) for cell in frame[f"{on}_cost"]]
    unsent = [False] * len(amounts)
    if f"{on}_status" in frame.columns:
        unsent = [str(status) in _UNSENT for status in frame[f"{on}_status"]]
    asked = (amount for amount, free in zip(amounts, unsent, strict=True) if not free)
    return [None if amount is None else Decimal(repr(float(str(amount)))) for amount in asked]


def _spent(frame: DataFrame, on: str) -> Total | None:
    """Return what a map has spent on the rows of a frame; None where the frame has no column of it."""
    if (costs := _costs(frame, on)) is None:
        return None
    return Total(sum((cost for cost in costs if cost is not None), Decimal(0)), unpriced=costs.count(None))


def _prices(frame: DataFrame, on: str) -> list[Decimal | None]:
    """Return the list price of each row's answer (USD), also where it is reused; None where there is none, or unknown.

    A frame without a column of prices has those of the calls that it paid for.
    """
    kind, without = ("price", _UNASKED) if f"{on}_price" in frame.columns else ("cost", _UNSENT)
    if f"{on}_{kind}" not in frame.columns:
        return [None] * len(frame)
    amounts = [_value(cell) for cell in frame[f"{on}_{kind}"]]
    statuses = map(str, frame[f"{on}_status"]) if f"{on}_status" in frame.columns else [""] * len(frame)
    return [
        None if amount is None or status in without else Decimal(repr(float(str(amount))))
        for amount, status in zip(amounts, statuses, strict=True)
    ]


def _mean(amounts: Sequence[Decimal]) -> Decimal | None:
    return sum(amounts, Decimal(0)) / len(amounts) if amounts else None


def _per_many(*each: Decimal | None) -> list[str]:
    """Return what many calls cost, given what one does: `USD 3.05`; all of them in full if one is small."""
    many = [None if cost is None else cost * _MANY for cost in each]
    full = any(cost and abs(cost) < _CENTS for cost in many)
    return ["unknown" if cost is None else usd(cost) if full else f"USD {cost:.2f}" for cost in many]


# --- one profile and another ---


@dataclass(frozen=True, repr=False, eq=False)
class Concordance(_Tables):
    """How far several columns of answers to the same rows agree.

    Attributes:
        on: The columns.
        rows: Rows with an answer in each of them; only these are counted.
        left_out: Rows without an answer in one of them.
        alike: Rows in which all answers are the same.
        share: `alike / rows`, with its 95 % interval.
        kappa: Agreement beyond what chance would bring, from -1 to 1, with its 95 % interval: Cohen's of two columns,
            Fleiss' of more.
        disagreements: Answers that differ, the commonest first: one answer of each column, and in how many rows.
    """

    on: tuple[str, ...]
    rows: int
    left_out: int
    alike: int
    share: Interval
    kappa: Interval
    disagreements: tuple[tuple[tuple[str, ...], int], ...]
    _ratings: list[tuple[str, ...]] = field()
    _frame: DataFrame = field()

    def pairs(self) -> DataFrame:
        """Return a row for each two columns: `share` of rows alike, and Cohen's `kappa`, each with `low` and `high`."""
        records: list[dict[str, object]] = []
        for one, other in combinations(range(len(self.on)), 2):
            two = [(row[one], row[other]) for row in self._ratings]
            share, beyond = proportion(sum(a == b for a, b in two), len(two)), kappa(two)
            shares = {"share": share.value, "share_low": share.low, "share_high": share.high}
            kappas = {"kappa": beyond.value, "kappa_low": beyond.low, "kappa_high": beyond.high}
            records.append({"one": self.on[one], "other": self.on[other], **shares, **kappas})
        return records_frame(records, _PAIRS)

    def confusion(self, one: str | None = None, other: str | None = None) -> DataFrame:
        """Count the rows by the answers of two columns, the first two where none are named: one's down, other's across.

        Raises:
            ConfigError: A column is not among those that were compared.
        """
        import pandas as pd

        names = [self.on[at] if name is None else name for at, name in enumerate((one, other))]
        for name in names:
            if name not in self.on:
                raise ConfigError(f"{name!r} was not compared. {suggest(name, self.on)}")
        first, second = ([row[self.on.index(name)] for row in self._ratings] for name in names)
        return pd.crosstab(pd.Series(first, name=names[0]), pd.Series(second, name=names[1]))

    def to_frame(self) -> DataFrame:
        """Return the rows whose answers differ: the input's columns, and the answers."""
        return self._frame.copy()

    def examples(self, n: int = _SHOWN) -> DataFrame:
        """Return the first `n` of these rows."""
        return self._frame.head(n).copy()

    def __str__(self) -> str:
        """Return it in one sentence: `180 of 200 answers agree, 90.0 % (85.1 to 93.4 %); Cohen's kappa 0.85 (...).`."""
        name = "Cohen's" if len(self.on) == 2 else "Fleiss'"  # noqa: PLR2004
        beyond = self.kappa
        between = f" ({beyond.low:.2f} to {beyond.high:.2f})" if not math.isnan(beyond.low) else ""
        found = f"; {name} kappa {beyond.value:.2f}{between}" if not math.isnan(beyond.value) else ""
        why = f"; no interval of kappa: {beyond.why}" if beyond.why else ""
        rows = "1 row" if self.left_out == 1 else f"{self.left_out:,} rows"
        out = f"; {rows} without all answers left out" if self.left_out else ""
        share = f", {_percent(self.share)}" if self.rows else ""
        names = " and ".join(filter(None, (", ".join(self.on[:-1]), self.on[-1])))
        return f"{names} agree in {self.alike:,} of {self.rows:,} rows{share}{found}{why}{out}."

    def _tables(self) -> Iterator[FrameTable]:
        counted = [{**dict(zip(self.on, found, strict=True)), "rows": count} for found, count in self.disagreements]
        columns: dict[str, Dtype] = {**dict.fromkeys(self.on, "text"), "rows": "count"}
        if len(self.on) > 2 and self.rows:  # noqa: PLR2004
            yield styled(self.pairs()[["one", "other", "share", "kappa"]], "each two")
        if counted:
            title = _of("commonest disagreements", len(counted))
            yield styled(records_frame(counted[:_SHOWN], columns), title)
        if len(self._frame):
            yield styled(self.examples(), _of("rows that differ", len(self._frame)))


_PAIRS: Final[Mapping[str, Dtype]] = {
    **dict.fromkeys(("one", "other"), "text"),
    **dict.fromkeys(("share", "share_low", "share_high", "kappa", "kappa_low", "kappa_high"), "number"),
}


def agree(frame: DataFrame, on: Sequence[str]) -> Concordance:
    """Say how far several columns of answers agree, such as those of two profiles.

    Args:
        frame: A frame of `pool.map(..., profile=["fast", "local"])`, or any other.
        on: The columns, at least two: `["label.fast", "label.local"]`. Where a schema made several columns of a name,
            answers agree if all of them do.

    Raises:
        ConfigError: The frame lacks a column, or there are too few.
    """
    if isinstance(on, str) or len(on := list(on)) < 2 or len({*on}) < len(on):  # noqa: PLR2004
        raise ConfigError(
            f'on= takes two columns or more, each once, such as ["label.fast", "label.local"], not {on!r}.'
        )
    frame = named(frame)
    columns = [_cells(frame, answer_columns(frame, name)) for name in on]
    rated = [None not in answers for answers in zip(*columns, strict=True)]
    answers = [row for row, whole in zip(zip(*columns, strict=True), rated, strict=True) if whole]
    ratings = [tuple(map(_written, row)) for row in answers]
    differ = [at for at, row in enumerate(answers) if len({*row}) > 1]
    places = [at for at, whole in enumerate(rated) if whole]
    found = frame.iloc[[places[at] for at in differ]]
    given = _input(found, [*on, *filter(None, (name.rpartition(".")[0] for name in on))])
    return Concordance(
        on=tuple(on),
        rows=len(answers),
        left_out=len(rated) - len(answers),
        alike=len(answers) - len(differ),
        share=proportion(len(answers) - len(differ), len(answers)),
        kappa=kappa(answers),
        disagreements=tuple(Counter(ratings[at] for at in differ).most_common()),
        _ratings=ratings,
        _frame=given.assign(**{name: [ratings[at][column] for at in differ] for column, name in enumerate(on)}),
    )
