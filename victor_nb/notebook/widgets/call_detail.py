"""All that the ledger knows of one attempt, and of the others of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from victor_nb.accounting.money import usd
from victor_nb.accounting.rows import SCHEMA
from victor_nb.notebook.widgets.call_lines import SIGNS, cost, count, duration, short
from victor_nb.notebook.widgets.calls import seconds
from victor_nb.notebook.widgets.page import block, table, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from victor_nb.accounting.rows import Row

_ELSEWHERE: Final = frozenset({"error", "error_type", "prompt", "answer", "status", "input_bytes"})
"""What stands above the facts or below them, or says nothing to a reader."""
_WIDEST: Final = 60
_COLUMNS: Final = ("attempt", "time", "status", "took", "in", "out", "list USD", "error")
_NUMBERS: Final = ("took", "in", "out", "list USD")


def detail(row: Row, every: Sequence[Row], now: datetime, clean: Callable[[str], str]) -> str:
    """Return what is known of an attempt, in HTML.

    Args:
        row: The attempt.
        every: All rows at hand; those of the same call are told beside it.
        now: The time that calls under way are measured by.
        clean: Takes keys out of a text.
    """
    who = " · ".join(short(name, _WIDEST) for name in (row.profile, row.model))
    head = f"{SIGNS.get(row.status, '?')} {row.status} · {who}"
    parts = [f'<div class="victor-title">{words(clean(head))}</div>']
    if error := error_text(row, clean):
        parts.append(block(error, "victor-bad", "victor-error"))
    parts.append(_facts(row, clean))
    parts += [_attempts(same, now)] if len(same := [each for each in every if each.call_id == row.call_id]) > 1 else []
    parts += [_fold(name, clean(text)) for name, text in (("prompt", row.prompt), ("answer", row.answer)) if text]
    return f'<div class="victor-detail" role="region" aria-label="The chosen call">{"".join(parts)}</div>'


def error_text(row: Row, clean: Callable[[str], str]) -> str:
    """Return the error of an attempt, without keys; nothing if there is none."""
    return clean(": ".join(filter(None, (row.error_type, row.error))))


def _facts(row: Row, clean: Callable[[str], str]) -> str:
    facts = "".join(f"<div>{words(name)}{words(clean(said))}</div>" for name, said in _set(row))
    return f'<div class="victor-facts">{facts}</div>'


def _set(row: Row) -> Iterator[tuple[str, str]]:
    """Yield each column that has a value, by its name in the frame."""
    yield "ts", f"{row.ts.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    for name in SCHEMA:
        value = getattr(row, name)
        if name == "ts" or name in _ELSEWHERE or value is None or value == {}:
            continue
        yield name, _said(name, value)


def _said(name: str, value: Any) -> str:  # noqa: ANN401 - what a column holds
    match SCHEMA[name].name:
        case "money":
            return usd(value) if value else "USD 0"
        case "seconds":
            return f"{value:.3f} s"
        case "tags":
            return ", ".join(f"{key}={word}" for key, word in value.items())
        case _:
            return f"{value:,}" if isinstance(value, int) else str(value)


def _attempts(rows: Sequence[Row], now: datetime) -> str:
    cells = [
        (
            row.attempt,
            f"{row.ts.astimezone():%H:%M:%S}",
            f"{SIGNS.get(row.status, '?')} {row.status}",
            duration(seconds(row, now)),
            count(row.input_tokens),
            count(row.output_tokens),
            cost(row),
            " ".join(str(part) for part in (row.error_type, row.http_status) if part),
        )
        for row in sorted(rows, key=lambda row: row.attempt)
    ]
    return table(_COLUMNS, cells, caption="All attempts of this call", numbers=_NUMBERS)


def _fold(name: str, text: str) -> str:
    return f"<details><summary>{words(name)}</summary>{block(text)}</details>"
