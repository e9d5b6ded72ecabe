"""The page of what was spent: tables and charts of a window of the ledger, as one HTML file that needs nothing else.

It holds no prompt, answer or error text: names, counts and amounts, each escaped.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from victor_nb.accounting.rows import zone
from victor_nb.errors import ConfigError
from victor_nb.reports import charts
from victor_nb.reports.charts.text import in_usd, percent, total
from victor_nb.reports.frames import (
    Money,
    added,
    groups,
    local_times,
    money,
    numbers,
    spend,
    styled,
    summary,
    words,
)
from victor_nb.tables import Table
from victor_nb.values import PAID, UNPAID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from decimal import Decimal
    from pathlib import Path

    import pandas as pd

    from victor_nb.accounting.window import Window
    from victor_nb.reports.frames import By

MARK: Final = '<meta name="generator" content="victor_nb">'
"""What a page of ours has in its head, so that only such a file is written over."""

_TOP: Final = 10  # calls that are listed
_MOST: Final = 50  # rows of a table
_NEAR: Final = 0.8  # of a budget, from which on a day is named
_FAILED: Final = {"error", "partial", "invalid", "interrupted"}
_TABLES: Final[Mapping[By, str]] = {
    "model": "By model",
    "profile": "By profile",
    "strategy": "By strategy",
    "notebook": "By notebook",
    "day": "By day",
}
_COLUMNS: Final = ["cost", "unpriced", "calls", "retries", "input_tokens", "output_tokens", "error_rate"]
"""The cost is next to the name, where a narrow window shows it."""
_AMOUNTS: Final = "Amounts are list prices in USD; where a price is not known, they are lower bounds and say so."
_NAMES: Final = ("profile", "model", "strategy", "stage", "notebook", "error_type")
_DATED: Final = '<table class="dated">'
_CSS: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem;
  background: Canvas; color: CanvasText; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 45rem; }
.muted { opacity: .8; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.2rem 0; padding: 0; }
.cards div { border: 1px solid #8a8a8a; border-radius: .5rem; padding: .6rem .9rem; min-width: 9rem; }
.cards dt { font-size: .85rem; }
.cards dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .25rem .7rem .25rem 0; text-align: left; vertical-align: top; max-width: 16rem;
  overflow-wrap: break-word; }
thead th { border-bottom: 1px solid #8a8a8a; white-space: nowrap; }
tbody tr + tr > * { border-top: 1px solid #8a8a8a55; }
.dated tbody th { white-space: nowrap; }
.victor-number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } h2 { break-after: avoid; }
  tr, img, .cards div { break-inside: avoid; } .wide { overflow: visible; } }
"""


class _Book(NamedTuple):
    """What was paid, or what was not."""

    name: str
    frame: pd.DataFrame
    spent: Money

    @property
    def total(self) -> str:
        known, unpriced = self.spent
        return total(0.0 if math.isnan(known) else known, unpriced)


def page(frame: pd.DataFrame, window: Window, *, budget: Decimal | None, redacted: Callable[[str], str]) -> str:
    """Return the page of a ledger's frame.

    Args:
        frame: One row for each attempt.
        window: Which attempts these are, in words.
        budget: USD that a day may cost; None where there is no such limit.
        redacted: Removes keys from a text.
    """

    def write(text: str) -> str:
        return escape(redacted(text), quote=True)

    clean: Any = {name: _without_keys(words(frame, name), redacted) for name in _NAMES if name in frame}
    frame = frame.assign(**clean)
    ended = frame[[status not in {"running", "refused"} for status in words(frame, "status")]]
    names = [UNPAID.get(mode, PAID) for mode in words(frame, "mode", missing="live")]  # type: ignore[call-overload]
    books = {name: _book(name, frame[[each == name for each in names]]) for name in (PAID, "simulated", "replayed")}
    now = datetime.now().astimezone()
    paid = books[PAID]
    parts = [
        f"<h1>What models cost: {write(paid.total)} paid</h1>",
        f'<p class="muted">{write(_sentence(window))} Written {now:%Y-%m-%d %H:%M} {write(zone(now))}. {_AMOUNTS}</p>',
        _cards(frame, ended, books, write),
    ]
    if not len(frame):
        parts.append("<p>Nothing was asked in this time.</p>")
    parts += _paid_parts(paid.frame, budget, write) if len(paid.frame) else []
    parts += [part for name in ("simulated", "replayed") for part in _unpaid_parts(books[name], write)]
    title = write(f"What models cost, {window}")
    head = f'<meta charset="utf-8">\n{MARK}\n<meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _without_keys(names: list[str], redacted: Callable[[str], str]) -> list[str | None]:
    """Return names without any key in them, since charts have them too; None where there is none."""
    clean = {name: redacted(name) if name else None for name in {*names}}
    return [clean[name] for name in names]


def _book(name: str, frame: pd.DataFrame) -> _Book:
    return _Book(name, frame, money(frame[[status != "running" for status in words(frame, "status")]]))


def _sentence(window: Window) -> str:
    text = str(window)
    return f"{text[0].upper()}{text[1:]}."


def _cards(frame: pd.DataFrame, ended: pd.DataFrame, books: Mapping[str, _Book], write: Callable[[str], str]) -> str:
    """Return the figures to see first."""
    sent = frame[[status != "refused" for status in words(frame, "status")]]
    failed = sum(status in _FAILED for status in words(ended, "status"))
    figures = {
        "paid": books[PAID].total,
        "calls": f"{len({*words(sent, 'call_id')}):,}",
        "attempts": f"{len(sent):,}",
        "failed or cut": f"{failed:,}" + (f" ({percent(failed / len(ended))})" if len(ended) else ""),
        "tokens in": f"{added(ended, 'input_tokens'):,.0f}",
        "tokens out": f"{added(ended, 'output_tokens'):,.0f}",
    }
    figures |= {f"{name}, not paid": book.total for name, book in books.items() if name != PAID and len(book.frame)}
    statuses = words(frame, "status")
    figures |= {
        what: f"{statuses.count(status):,}"
        for what, status in {"refused by a budget": "refused", "under way, or lost": "running"}.items()
        if status in statuses
    }
    cards = "".join(f"<div><dt>{write(what)}</dt><dd>{write(figure)}</dd></div>" for what, figure in figures.items())
    return f'<dl class="cards">{cards}</dl>'


def _paid_parts(frame: pd.DataFrame, budget: Decimal | None, write: Callable[[str], str]) -> Iterator[str]:
    """Yield the sections on what was paid."""
    yield f"<h2>Day by day</h2>\n{charts.html_image(charts.plot('spend', frame, budget=budget))}"
    yield f"<h2>Budget</h2>\n{_budget(frame, budget, write)}"
    for by, caption in _TABLES.items():
        if by == "profile" or any(words(frame, by)) or by == "day":
            yield f"<h2>{caption}</h2>\n{_table(frame, by, write)}"
        if by == "profile":
            yield charts.html_image(charts.plot("tokens_vs_cost", frame))
    yield f"<h2>Failures and retries</h2>\n{_failures(frame, write)}"
    yield f"<h2>The most expensive calls</h2>\n{_expensive(frame, write)}"
    yield _unknown(frame, write)


def _unpaid_parts(book: _Book, write: Callable[[str], str]) -> Iterator[str]:
    """Yield the section on what was simulated or replayed."""
    if len(book.frame):
        yield f"<h2>{book.name.capitalize()}: nothing of this was paid</h2>"
        yield f"<p>At list prices it would have been {write(book.total)}.</p>\n{_table(book.frame, 'profile', write)}"


def _table(frame: pd.DataFrame, by: By, write: Callable[[str], str]) -> str:
    """Return what was spent by a column, the highest cost first, days in order."""
    found = summary(frame, by)[_COLUMNS]
    found = found.sort_index() if by == "day" else found.sort_values("cost", ascending=False, kind="stable")
    shown = styled(found, rows=_MOST)
    keep = [at for at, name in enumerate(shown.columns) if name != "unpriced"]
    rows = [[f"(no {by})" if at == 0 and row[at] == "–" else row[at] for at in keep] for row in shown.rows]
    table = Table([shown.columns[at] for at in keep], rows, shown.numbers, heads=1)
    more = f"<p>The first {_MOST} of {len(found):,}.</p>" if len(found) > _MOST else ""
    return f'<div class="wide">{table.html(write, start=_DATED if by == "day" else "<table>")}</div>{more}'


def _budget(frame: pd.DataFrame, budget: Decimal | None, write: Callable[[str], str]) -> str:
    """Say how much of a day's budget was used."""
    if budget is None:
        return "<p>No day has a limit. <code>budget: {day: 5.00}</code> in profiles.yaml sets one for all kernels.</p>"
    days = spend(frame)
    costs = [0.0 if math.isnan(cost) else cost for cost in numbers(days, "cost")]
    highest = max(costs)
    limit = float(budget)
    day = days.index[costs.index(highest)]
    used = f", {percent(highest / limit)} of it" if limit else ""
    near = sum(cost >= _NEAR * limit for cost in costs)
    unpriced = sum(numbers(days, "unpriced"))
    lower = f" Not in these figures: {unpriced:,.0f} without a known price." if unpriced else ""
    text = (
        f"A day may cost {in_usd(limit)} today. The most expensive was {day:%Y-%m-%d} with {in_usd(highest)}{used}; "
        f"{near:,} of {len(costs):,} days reached {percent(_NEAR)} of it.{lower}"
    )
    return f"<p>{write(text)}</p>"


def _failures(frame: pd.DataFrame, write: Callable[[str], str]) -> str:
    """Return what failed, what that cost, and what was tried again."""
    failed = frame[[status in _FAILED for status in words(frame, "status")]]
    again = frame[[attempt > 1 for attempt in numbers(frame, "attempt")]]
    text = (
        f"Retries: {len(again):,}, which cost {_Book('', again, money(again)).total}." if len(again) else "No retries."
    )
    if failed.empty:
        return f"<p>Nothing failed. {write(text)}</p>"
    rows = [
        (name, f"{len(rows):,}", in_usd(*money(rows)))
        for name, rows in groups(failed.assign(kind=_kinds(failed)), "kind")
    ]
    rows.sort(key=lambda row: -int(row[1].replace(",", "")))
    table = Table(["what", "attempts", "cost"], rows, ["attempts", "cost"], heads=1).html(write)
    text += f" Cost of failed attempts: {_Book('', failed, money(failed)).total}."
    return f'<p>{write(text)}</p>\n<div class="wide">{table}</div>'


def _kinds(failed: pd.DataFrame) -> list[str]:
    """Return what went wrong, in one word each."""
    return [error or status for error, status in zip(words(failed, "error_type"), words(failed, "status"), strict=True)]


def _expensive(frame: pd.DataFrame, write: Callable[[str], str]) -> str:
    """Return the calls that cost most, without a word of what was asked."""
    sums = frame.groupby("call_id", sort=False)["cost"].sum()
    most = sums[sums > 0].nlargest(_TOP).index
    found = frame[frame["call_id"].isin(most)]
    found = found.assign(time=[f"{moment:%Y-%m-%d %H:%M}" for moment in local_times(found)])
    stages = zip(words(found, "strategy"), words(found, "stage"), strict=True)
    found = found.assign(strategy=[" · ".join(filter(None, pair)) for pair in stages])
    calls = sorted(((money(rows), rows) for _, rows in groups(found, "call_id")), key=lambda call: -call[0].known)
    if not calls:
        return "<p>No call has a price above 0.</p>"
    names = ["profile", "model", "strategy", "notebook", "status"]
    rows = [
        (
            words(rows, "time")[-1],
            in_usd(*cost),
            *(words(rows, name)[-1] or "–" for name in names),
            f"{len(rows):,}",
            f"{added(rows, 'input_tokens'):,.0f}",
            f"{added(rows, 'output_tokens'):,.0f}",
        )
        for cost, rows in calls
    ]
    counts = ["attempts", "tokens in", "tokens out"]
    table = Table(["time", "cost", *names, *counts], rows, ["cost", *counts], heads=1).html(write, start=_DATED)
    return f'<div class="wide">{table}</div>'


def _unknown(frame: pd.DataFrame, write: Callable[[str], str]) -> str:
    """Say whose prices are not known, and how they would be."""
    missing = frame[[math.isnan(cost) for cost in numbers(frame, "cost")]]
    missing = missing[[status not in {"running", "refused"} for status in words(missing, "status")]]
    if missing.empty:
        return ""
    counts = ", ".join(f"{name} ({len(rows):,})" for name, rows in groups(missing, "model"))
    return (
        f"<h2>What is not known</h2>\n<p>{write(f'Attempts without a known price: {counts}.')} Answers that were lost "
        "half-way have none; for a model that no list has, <code>prices:</code> or <code>priced_as:</code> in "
        "profiles.yaml gives one.</p>"
    )


# --- the file ---


def write_page(path: Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a page as a whole or not at all; return where it is.

    Raises:
        ConfigError: It cannot be written there, or a file that is no page of ours is there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _check(path, overwrite=overwrite)
        with part.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        part.replace(path)
    except ConfigError:  # a ValueError, too
        raise
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    finally:
        with suppress(OSError, ValueError):
            part.unlink()
    return path


def _check(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Name a file in it, such as {path / 'costs.html'}.")
    if path.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"A report is an HTML page. Name it {path.stem or 'costs'}.html; a browser prints it as PDF.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent}. Make it first.")
    if path.exists() and not overwrite and MARK not in _beginning(path):
        raise ConfigError(
            f"{path} is there, and is no report of ours. Choose another name, or overwrite=True in Python."
        )


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(1_000)
    except OSError:
        return ""
