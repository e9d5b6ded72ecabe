"""HTML and plain text that widgets show: escaped, kept away from mathematics, styled by `theme.css`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from victor_nb.notebook.markdown import as_html, clean
from victor_nb.tables import Html, Table

if TYPE_CHECKING:
    from collections.abc import Collection

LIVE: Final = ("shared", "answers", "board", "live")
"""Sections of `theme.css` for a live widget."""

_NEEDED_FOR: Final = {"answers": "victor-answer", "board": "victor-board"}
"""Sections of `theme.css` that a fallback has only where a class of this name is in it."""


@dataclass(frozen=True, slots=True)
class Content:
    """One piece of content in two forms: HTML, and the same as plain text."""

    html: str = ""
    plain: str = ""

    def __add__(self, other: Content) -> Content:
        return Content(self.html + other.html, "\n\n".join(part for part in (self.plain, other.plain) if part))

    @classmethod
    def line(cls, text: str, *classes: str) -> Content:
        """Return one line of text."""
        return cls(f"<p>{words(text, *classes)}</p>", clean(text))

    @classmethod
    def code(cls, text: str) -> Content:
        """Return lines of code, ready to copy."""
        return cls(code(text), clean(text))

    @classmethod
    def table(cls, shown: Table, caption: str) -> Content:
        """Return a table; a wide one scrolls."""
        return cls(region(table(shown, caption), caption, "victor-wider"), clean(shown.plain()))


_HEADING: Final = re.compile("<(/?)h([1-6])>")
"""A heading of an answer: it stays below those of the notebook that the answer stands in."""
_PIXEL: Final = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="


@cache
def key_handler() -> str:
    """Return HTML that lets a live widget keep the keys which its controls need, by `keys.js`.

    A script inside HTML that ipywidgets inserts does not run, the handler of an image that has loaded does; the image
    then goes.
    """
    script = files("victor_nb").joinpath("notebook/widgets/keys.js").read_text(encoding="utf-8")
    script = " ".join(re.sub(r"/\*.*?\*/", "", script, flags=re.DOTALL).split())
    return f'<img hidden alt="" src="{_PIXEL}" onload="{escape(f"({script})();this.remove()")}">'


@cache
def stylesheet(*sections: str) -> str:
    """Return the rules of these sections of `theme.css`, without comments and line breaks."""
    text = files("victor_nb").joinpath("notebook/widgets/theme.css").read_text(encoding="utf-8")
    _, *parts = re.split(r"/\* section (\w+)", text)
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    css = "".join(found[name].partition("*/")[2] for name in sections)
    return re.sub(r"\s*([{};,>])\s*|(?<=:)\s+", r"\1", css).strip()


def fallback_style(html: str) -> str:
    """Return the rules that the HTML of a fallback needs: every notebook that is saved holds them."""
    needed = (section for section, name in _NEEDED_FOR.items() if name in html)
    return stylesheet("shared", *needed, "fallback")


def words(text: str, *classes: str) -> Html:
    """Return text on one line; a `code` element, since MathJax leaves that alone."""
    return Html(f'<code class="{" ".join(("victor-words", *classes))}">{escape(" ".join(clean(text).split()))}</code>')


def block(text: str, *classes: str) -> Html:
    """Return text with its line breaks kept; long lines wrap."""
    return Html(f'<pre tabindex="0" class="{" ".join(("victor-block", *classes))}">{escape(clean(text))}</pre>')


def code(text: str) -> Html:
    """Return a line or a cell of code; one click selects all of it."""
    label = '<pre aria-label="Code to copy" role="region" '
    return Html(block(text, "victor-code").replace("<pre ", label, 1))


def cut(text: str, most: int, where: str = "") -> str:
    """Return at most `most` characters of a text, and how many more are where."""
    more = len(text) - most
    if more <= 0:
        return text
    return f"{text[:most]}\n\n… {more:,} characters more are in the {where}" if where else f"{text[:most]}…"


def table(
    shown: Table, caption: str, *, marked: Collection[int] = (), classes: str = "victor-table", head: bool = True
) -> Html:
    """Return a table whose caption only screen readers find; `marked` are the indices of rows to highlight."""
    start = f'<table class="{classes}"><caption class="victor-unseen">{words(caption)}</caption>'
    return shown.html(words, start=start, marked=marked, head=head)


def region(html: str, name: str, *classes: str) -> Html:
    """Return a named part of a page that scrolls by itself and is reached by the keyboard."""
    label = escape(clean(name))
    return Html(f'<div tabindex="0" role="region" aria-label="{label}" class="{" ".join(classes)}">{html}</div>')


def details(summary: str, body: str, *classes: str) -> Html:
    """Return a part that is closed until a reader opens it; both arguments are HTML."""
    looks = f' class="{" ".join(classes)}"' if classes else ""
    return Html(f"<details{looks}><summary>{summary}</summary>{body}</details>")


def rendered(text: str, name: str = "Answer") -> Html:
    """Return a model's Markdown as HTML in which nothing acts, loads, or is taken for mathematics.

    The text is sanitised as Markdown first, as in every cell; then none of its own HTML is let through either.

    Args:
        text: The Markdown.
        name: The accessible name of the region.
    """
    # Both class names are needed: MathJax 3 reads the one, MathJax 2 the other.
    html = Html(_HEADING.sub(lambda found: f"<{found[1]}h{min(6, int(found[2]) + 3)}>", as_html(text)))
    return region(html, name, "victor-answer-text", "mathjax_ignore", "tex2jax_ignore")
