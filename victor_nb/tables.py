"""A table of cells, written as plain text, as Markdown and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence


class Html(str):
    """Text that is HTML already and must not be escaped again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under the names of their columns.

    Attributes:
        rows: The cells; each is shown as its `str`, `Html` as it is.
        numbers: The columns that are aligned to the right.
        heads: How many cells at the beginning of each row are its headings.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: Collection[str] = ()
    heads: int = 0

    def plain(self) -> str:
        """Return it in columns of plain text, for a terminal and for a diff."""
        lines = [[_flat(cell) for cell in row] for row in (self.columns, *self.rows)]
        return "\n".join(aligned(lines, [name in self.numbers for name in self.columns]))

    def markdown(self) -> str:
        """Return it as Markdown; what would break a cell is escaped, and a line break becomes a space."""
        rule = ["---:" if name in self.numbers else "---" for name in self.columns]
        lines = (self.columns, rule, *self.rows)
        cells = ([_flat(cell).replace("|", "\\|") for cell in line] for line in lines)
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)

    def html(
        self,
        write: Callable[[str], str],
        *,
        start: str = "<table>",
        look: str = "",
        marked: Collection[int] = (),
        head: bool = True,
    ) -> Html:
        """Return it as HTML whose headings a screen reader can follow.

        Args:
            write: Writes what is not HTML.
            start: The tag of the table, and its caption.
            look: Attributes of the cells that hold words.
            marked: The indices of the rows that are highlighted.
            head: Whether the names of the columns are shown.
        """
        looks = [' class="victor-number"' if name in self.numbers else look for name in self.columns]
        names = (f'<th scope="col"{own}>{write(name)}</th>' for name, own in zip(self.columns, looks, strict=True))
        body = ""
        for index, row in enumerate(self.rows):
            cells = [cell if isinstance(cell, Html) else write(str(cell)) for cell in row]
            parts = [f"<td{own}>{cell}</td>" for cell, own in zip(cells, looks, strict=True)]
            parts[: self.heads] = [f'<th scope="row">{cell}</th>' for cell in cells[: self.heads]]
            body += f"<tr{' class=victor-chosen' if index in marked else ''}>{''.join(parts)}</tr>\n"
        top = f"<thead><tr>{''.join(names)}</tr></thead>" if head else ""
        return Html(f"{start}{top}<tbody>{body}</tbody></table>")


def aligned(lines: Sequence[Sequence[str]], right: Iterable[bool]) -> list[str]:
    """Return lines of cells as lines of text whose columns stand below each other; `right` aligns one to the right."""
    columns: list[list[str]] = []
    for cells, is_right in zip(zip(*lines, strict=True), right, strict=True):
        most = max(map(width, cells))
        spaces = (" " * (most - width(cell)) for cell in cells)
        columns.append([space + cell if is_right else cell + space for cell, space in zip(cells, spaces, strict=True)])
    return ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes: characters of East Asia take two."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth  # noqa: PLC0415 - few texts need it

    return max(0, wcswidth(text))


def _flat(cell: object) -> str:
    return " ".join(str(cell).split())
