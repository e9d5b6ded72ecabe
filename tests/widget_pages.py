"""Widgets in process: a shell that is the current one, as in a notebook, what their pages hold, and rows to show."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import HTML, Widget

from cells import Shell
from victor_nb.kernel import session
from victor_nb.notebook.widgets.base import descendants
from victor_nb.notebook.widgets.throttle import throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from victor_nb.accounting.rows import Row
    from victor_nb.notebook.widgets.ledger_view import LedgerView


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


# --- the ledger as a widget ---


def write(*rows: Row) -> None:
    """Put rows into this kernel's ledger, one second apart if they all began at once."""
    at_once = len({found.ts for found in rows}) == 1
    for number, found in enumerate(rows):
        add = session().ledger.start if found.status == "running" else session().ledger.finish
        add(replace(found, ts=found.ts + timedelta(seconds=number)) if at_once else found)


def lines(view: LedgerView) -> list[str]:
    """Return the rows that are seen, once all that was to be sent is sent."""
    assert throttle().wait_idle()
    return [" ".join(line.split()) for line in view._list.lines]


def profiles(view: LedgerView) -> list[str]:
    return [line.split()[3] for line in lines(view)]


def click(view: LedgerView, place: int | None) -> None:
    """Choose a line as a page does: it says no more than which it is."""
    assert throttle().wait_idle()
    view._list.set_state({"index": place})


def until(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)
