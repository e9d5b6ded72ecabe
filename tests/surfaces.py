"""Widgets in process: a shell that is the current one, as in a notebook, and what their pages hold."""

from __future__ import annotations

import re
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import HTML, Widget

from cells import Shell
from victor_nb.notebook.widgets.base import descendants
from victor_nb.notebook.widgets.throttle import throttle

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def current_shell() -> Iterator[Shell]:
    """Give a shell that `get_ipython()` finds, as in a notebook."""
    shell = Shell()
    shared: Any = InteractiveShell
    shared._instance = shell.ip
    try:
        yield shell
    finally:
        shared._instance = None


def seen(widget: Widget) -> str:
    """Return the text of a widget's pages, once all that was to be sent is sent."""
    assert throttle().wait_idle()
    return " ".join(text_of(each.value) for each in descendants(widget) if isinstance(each, HTML))


def text_of(page: str) -> str:
    """Return the text of a page, tags and styles left out."""
    without_style = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", without_style)).split())


class Tags(HTMLParser):
    """The tags of a page, and what in it could act or load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.harm: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.harm += [(tag, None)] if tag in {"script", "iframe", "object", "form"} else []
        for name, value in attrs:
            acts = name.startswith("on") or (name == "href" and not re.match(r"https?://|mailto:", value or ""))
            loads = name in {"src", "srcset"} and not (value or "").startswith("data:image/png;base64,")
            if acts or loads:
                self.harm.append((name, value))


HOSTILE = (
    "<script>window.pwned=1</script> <img src=x onerror='window.pwned=2'> [click](javascript:window.pwned=3) "
    "![spy](https://example.com/spy.png) <div><b>unclosed \x1b[31mred\x1b[0m \u202egnihsam\u202c $x^2$ `$y$` "
)
"""What a hostile model may write; nothing of it may act, load, or break the page."""


def assert_inert(page: str) -> None:
    """Hold that a page with hostile text in it does nothing."""
    tags = Tags(page)
    assert tags.harm == []
    assert not {"img", "b"} & tags.names or "png;base64" in page
    assert not re.search("[\x1b\u202e]", page)
