"""Which profile takes the tokens, and which the money."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from victor_nb.reports.charts.axes import count_scale, height, money_scale, name_rows
from victor_nb.reports.charts.canvas import finish, panels, paper
from victor_nb.reports.charts.columns import NOTHING, Money, groups, money, need, numbers, provenance
from victor_nb.reports.charts.header import header, swatch, unpriced_swatch
from victor_nb.reports.charts.marks import BLUE, ORANGE, SKY, bar, figures, unknown
from victor_nb.reports.charts.wording import bounded, listing, sentences, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class _Share(NamedTuple):
    """What a profile took."""

    name: str
    tokens_in: float
    tokens_out: float
    money: Money

    @property
    def tokens(self) -> float:
        return self.tokens_in + self.tokens_out


def tokens_vs_cost(frame: pd.DataFrame, *, by: str = "profile", ax: Axes | None = None) -> Figure:
    """Show side by side the tokens and the USD that went to each profile.

    Args:
        frame: One row for each attempt or call (`session().ledger.to_frame()`, `run.to_frame()`): `input_tokens`,
            `output_tokens`, `cost` (USD), the column `by`, and `mode` where there is one.
        by: What to go by instead of the profile: `model`, `provider`, `stage`, ...
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "tokens_vs_cost", (by, "input_tokens", "output_tokens", "cost"), source="the ledger's frame")
    shares = [_share(name, rows) for name, rows in groups(frame, by, missing=f"(no {by})")]
    names = [share.name for share in shares]
    ax = paper(ax, height=height(len(shares)))
    left, right = panels(ax, (0.0, 0.34), (0.58, 0.9))
    indent = name_rows(left, names, most=22)
    name_rows(right, names, most=0)
    _tokens(left, shares)
    _spend(right, shares)
    unpriced = any(share.money.unpriced for share in shares)
    legend = [swatch("input tokens", SKY), swatch("output tokens", BLUE), swatch("USD", ORANGE)]
    title, note = _title(shares, by), provenance(frame)
    header(ax, title, [note], legend=[*legend, *unpriced_swatch(shown=unpriced)], indent=indent)
    told = listing(f"{share.name} {share.tokens:,.0f} tokens, USD {bounded(*share.money)}" for share in shares)
    return finish(ax, sentences(title, told, note))


def _share(name: str, rows: pd.DataFrame) -> _Share:
    tokens_in, tokens_out = (float(np.nansum(numbers(rows, f"{way}_tokens"))) for way in ("input", "output"))
    return _Share(name, tokens_in, tokens_out, money(rows))


def _tokens(ax: Axes, shares: Sequence[_Share]) -> None:
    count_scale(ax, [share.tokens for share in shares], "tokens")
    for row, share in enumerate(shares):
        bar(ax, row, 0, share.tokens_in, SKY, label="input tokens")
        bar(ax, row, share.tokens_in, share.tokens_out, BLUE, label="output tokens")
    figures(ax, [f"{share.tokens:,.0f}" for share in shares])


def _spend(ax: Axes, shares: Sequence[_Share]) -> None:
    money_scale(ax, [share.money.known for share in shares])
    for row, share in enumerate(shares):
        known = float(np.nan_to_num(share.money.known))
        bar(ax, row, 0, known, ORANGE, label=share.name)
        if share.money.unpriced:
            unknown(ax, row, known)
    figures(ax, [bounded(*share.money) for share in shares])


def _title(shares: Sequence[_Share], by: str) -> str:
    tokens = sum(share.tokens for share in shares)
    cost = sum(float(np.nan_to_num(share.money.known)) for share in shares)
    if not tokens or not cost or any(share.money.unpriced for share in shares):
        return f"Tokens and cost by {by}" + ("" if shares else f": {NOTHING}")
    most = max(shares, key=lambda share: share.money.known)
    part, paid = most.tokens / tokens, most.money.known / cost
    return f"{short(most.name)}: {part:.0%} of the tokens, {paid:.0%} of the cost".replace("%", " %")
