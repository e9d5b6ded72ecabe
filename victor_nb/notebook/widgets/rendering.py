"""A model's Markdown as HTML, for widgets: ipywidgets have no Markdown of their own."""

from __future__ import annotations

from functools import cache

from markdown_it import MarkdownIt

from victor_nb.notebook.markdown import sanitise
from victor_nb.notebook.widgets.page import region


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
