"""The ledger as small tables: what was spent on what, and the last attempts."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.money import usd
from victor_nb.notebook.bill import price
from victor_nb.notebook.tables import frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from victor_nb.accounting.rows import Row
    from victor_nb.notebook.display import Bundle
    from victor_nb.session import Session

GROUPS: Final = ("profile", "model", "provider", "strategy", "stage", "mode", "status", "notebook", "day")
"""What `%victor cost by=` takes."""

_UNANSWERED: Final = frozenset({"error", "refused"})


def by(home: Session, group: str) -> Bundle:
    """Return what this kernel has spent, by a column of the ledger, dearest first."""
    groups: dict[str, list[Row]] = {}
    for row in home.ledger.rows():
        name = f"{row.ts:%Y-%m-%d}" if group == "day" else getattr(row, group) or "-"
        groups.setdefault(str(name), []).append(row)
    if not groups:
        return frame([], [], above="Nothing has been asked yet.")
    ordered = sorted(groups.items(), key=lambda item: _cost(item[1]), reverse=True)
    rows = [(name, *_line(found)) for name, found in ordered]
    total = home.ledger.total()
    everything = [row for found in groups.values() for row in found]
    rows.append(("total", *_line(everything)))
    paid = f"Paid: {amount(total.billed, total.unpriced)}; list price: {amount(total.cost, total.unpriced)}."
    return frame([group, "calls", "attempts", "tokens in", "tokens out", "list price"], rows, below=paid)


def last_rows(home: Session, number: int) -> Bundle:
    """Return the last attempts of this kernel, newest last."""
    rows = home.ledger.rows()
    cells = [
        (
            f"{row.ts.astimezone():%H:%M:%S}",
            row.profile,
            row.model,
            row.mode,
            row.status,
            _count(row.input_tokens),
            _count(row.output_tokens),
            price(row.cost),
            "" if row.latency is None else f"{row.latency:.2f} s",
            row.error_type or "",
        )
        for row in rows[-number:]
    ]
    columns = ["time", "profile", "model", "mode", "status", "in", "out", "list price", "latency", "error"]
    below = f"{len(cells)} of {len(rows)} attempts. session().ledger.to_frame() has all columns."
    return frame(columns, cells, below=below if rows else "Nothing has been asked yet.")


def amount(cost: Decimal, unpriced: int) -> str:
    """Say a sum of which some parts may be unknown."""
    known = usd(cost) if cost else "USD 0"
    return f">= {known} ({unpriced} unpriced)" if unpriced else known


def _line(rows: list[Row]) -> tuple[str, str, str, str, str]:
    return (
        f"{len({row.call_id for row in rows}):,}",
        f"{len(rows):,}",
        _count(_sum(row.input_tokens for row in rows)),
        _count(_sum(row.output_tokens for row in rows)),
        amount(_cost(rows), sum(_unpriced(row) for row in rows)),
    )


def _cost(rows: Iterable[Row]) -> Decimal:
    return sum((row.cost for row in rows if row.cost is not None), Decimal(0))


def _unpriced(row: Row) -> bool:
    """Tell whether a row used tokens at an unknown price: one that was never answered did not."""
    return row.cost is None and not (row.status in _UNANSWERED and row.input_tokens is None)


def _sum(counts: Iterable[int | None]) -> int:
    return sum(count for count in counts if count is not None)


def _count(count: int | None) -> str:
    return "" if count is None else f"{count:,}"
