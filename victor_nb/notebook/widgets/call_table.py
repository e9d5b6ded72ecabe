"""Attempts as a table that stays: what a twin shows of them, with each error folded into its row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from victor_nb.notebook.widgets.call_detail import error_text
from victor_nb.notebook.widgets.call_lines import COLUMNS, NUMBERS
from victor_nb.notebook.widgets.call_lines import cells as cells_of
from victor_nb.notebook.widgets.page import Still, block, still_table, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from victor_nb.accounting.rows import Row

_NOTE: Final = COLUMNS.index("note")
_ERROR_SHOWN: Final = 200  # characters of an error in plain text


def call_table(rows: Sequence[Row], every: Sequence[Row], now: datetime, clean: Callable[[str], str]) -> Still:
    """Return a table of attempts.

    Args:
        rows: The attempts, in order.
        every: All rows at hand, from which it is known how often a call was tried.
        now: The time that calls under way are measured by.
        clean: Takes keys out of a text.
    """
    attempts = Counter(row.call_id for row in every)
    said = [cells_of(row, attempts, now) for row in rows]
    errors = [error_text(row, clean) for row in rows]
    names = tuple(name.strip() for name in COLUMNS)
    plain = [_with_error(line, error) for line, error in zip(said, errors, strict=True)]
    head = "".join(f'<th scope="col"{_side(name)}>{words(name)}</th>' for name in names)
    body = "".join(_row(line, error) for line, error in zip(said, errors, strict=True))
    html = f'<table class="victor-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return Still(html, still_table((*names, "error"), plain, caption="").plain)


def _row(line: Sequence[str], error: str) -> str:
    cells = [words(cell) for cell in line]
    if error:
        cells[_NOTE] = (
            f"<details><summary>{cells[_NOTE]}</summary>{block(error, 'victor-bad', 'victor-error')}</details>"
        )
    parts = (f"<td{_side(name)}>{cell}</td>" for name, cell in zip(COLUMNS, cells, strict=True))
    return f"<tr>{''.join(parts)}</tr>"


def _side(name: str) -> str:
    return ' class="victor-number"' if name in NUMBERS else ""


def _with_error(line: Sequence[str], error: str) -> Sequence[str]:
    """Say an error behind all columns, where it widens none."""
    return (*line, error if len(error) <= _ERROR_SHOWN else f"{error[:_ERROR_SHOWN]}…")
