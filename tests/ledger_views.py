"""The ledger as a widget, for tests: rows to show, and what its page holds."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from victor_nb.kernel import session
from victor_nb.notebook.widgets.throttle import throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.accounting.rows import Row
    from victor_nb.notebook.widgets.ledger_view import LedgerView


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
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)
