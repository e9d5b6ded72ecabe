"""Small tables, as Markdown and as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_nb.notebook.markdown import clean, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from victor_nb.notebook.display import Bundle


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; what would break a cell is escaped, and a line break becomes a space."""
    lines = [_line(columns), _line(["---"] * len(columns)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(cell: object) -> str:
    return " ".join(str(cell).replace("|", "\\|").split())


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in columns of plain text, for a terminal and for a diff."""
    lines = [[" ".join(str(cell).split()) for cell in line] for line in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def frame(columns: Sequence[str], rows: Sequence[Sequence[object]], *, above: str = "", below: str = "") -> Bundle:
    """Return a table of ours as a frame, with a line above and one below: Markdown, and plain text.

    Args:
        columns: The names over the columns.
        rows: The cells; texts of others among them are made harmless.
        above: A line over the table.
        below: A line under it.
    """
    marked = markdown_table([escape(name) for name in columns], ([escape(str(cell)) for cell in row] for row in rows))
    tables = (marked, clean(plain_table(columns, rows))) if rows else ("", "")
    around = ((escape(above), escape(below)), (clean(above), clean(below)))
    markdown, plain = (
        "\n\n".join(part for part in (first, table, last) if part)
        for table, (first, last) in zip(tables, around, strict=True)
    )
    return {"text/markdown": markdown, "text/plain": plain}
