"""HTML of ours around texts of others: every text is escaped, and stands where no reader takes it for mathematics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from victor_nb.notebook.markdown import clean, plain_table, sanitise

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Still:
    """What is seen of a widget where no widget can live: a page, and the same as plain text."""

    html: str
    plain: str

    def __add__(self, other: Still) -> Still:
        return Still(self.html + other.html, "\n\n".join(part for part in (self.plain, other.plain) if part))


def words(text: str, *classes: str) -> str:
    """Return a text on one line; `code`, since MathJax leaves that alone."""
    return f'<code class="{" ".join(("victor-words", *classes))}">{escape(" ".join(clean(text).split()))}</code>'


def block(text: str, *classes: str) -> str:
    """Return a text with its lines as they are; long ones are broken, whatever they hold."""
    return f'<pre tabindex="0" class="{" ".join(("victor-block", *classes))}">{escape(clean(text))}</pre>'


def code(text: str) -> str:
    """Return a line or a cell of code, ready to copy: one click selects all of it."""
    return block(text, "victor-code").replace("<pre ", '<pre aria-label="Code to copy" role="region" ', 1)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str,
    numbers: Collection[str] = (),
    chosen: Collection[int] = (),
) -> str:
    """Return a table.

    Args:
        columns: The names over the columns.
        rows: The cells, as text of anybody.
        caption: What the table holds, for who cannot see it at a glance.
        numbers: The columns that are numbers: they stand to the right.
        chosen: The rows that are marked, by place.
    """
    sides = [' class="victor-number"' if name in numbers else "" for name in columns]
    head = "".join(f'<th scope="col"{side}>{words(name)}</th>' for name, side in zip(columns, sides, strict=True))
    body = "".join(
        f"<tr{' class=victor-chosen' if place in chosen else ''}>{_cells(row, sides)}</tr>"
        for place, row in enumerate(rows)
    )
    title = f'<caption class="victor-unseen">{words(caption)}</caption>'
    inner = f'<table class="victor-table">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return region(inner, caption, "victor-wider")


def region(html: str, name: str, *classes: str) -> str:
    """Return a part of a page that scrolls by itself: named, and reached by the keyboard."""
    looks, label = " ".join(classes), escape(clean(name))
    return f'<div tabindex="0" role="region" aria-label="{label}" class="{looks}">{html}</div>'


def _cells(row: Sequence[object], sides: Sequence[str]) -> str:
    return "".join(f"<td{side}>{words(str(cell))}</td>" for cell, side in zip(row, sides, strict=True))


def still_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str, numbers: Collection[str] = ()
) -> Still:
    """Return a table for a twin."""
    return Still(table(columns, rows, caption=caption, numbers=numbers), clean(plain_table(columns, rows)))


def still_line(text: str, *classes: str) -> Still:
    """Return a line for a twin."""
    return Still(f"<p>{words(text, *classes)}</p>", clean(text))


def still_block(text: str, *classes: str) -> Still:
    """Return a text of several lines for a twin."""
    return Still(block(text, *classes), clean(text))


def rendered(text: str, name: str = "Answer") -> str:
    """Return the HTML of a model's Markdown: nothing in it acts, loads, or is taken for mathematics.

    The text is made harmless as Markdown first, as in every cell; then no HTML of its own is let through either.

    Args:
        text: The Markdown.
        name: What the part of the page is called for who cannot see it.
    """
    # Both words are read: MathJax 3 goes by the one, MathJax 2 by the other.
    return region(_reader().render(sanitise(text)), name, "victor-answer-text", "mathjax_ignore", "tex2jax_ignore")


@cache
def _reader() -> MarkdownIt:
    reader = (
        MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable(["image", "html_inline"])
    )
    reader.validateLink = _allowed
    return reader


def _allowed(url: str) -> bool:
    return url.lower().startswith(("http://", "https://", "mailto:"))
