"""`LedgerView()`: the last calls as they happen, and what they have cost so far."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Final

from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.widgets.base import Surface
from victor_nb.notebook.widgets.call_detail import detail
from victor_nb.notebook.widgets.call_lines import lines
from victor_nb.notebook.widgets.call_table import call_table
from victor_nb.notebook.widgets.calls import ORDERS, Choice, Key, key
from victor_nb.notebook.widgets.kit import HTML, Button, Dropdown, Text, Widget, on_change, on_press, stack, styled
from victor_nb.notebook.widgets.listbox import Listbox
from victor_nb.notebook.widgets.page import Still, code, still_block, still_line, words
from victor_nb.notebook.widgets.pulse import pulse
from victor_nb.notebook.widgets.spending import Spending, Till

if TYPE_CHECKING:
    from victor_nb.accounting.rows import Row
    from victor_nb.session import Session

_EVERY: Final = 0.5  # seconds between two looks at the ledger
_REST: Final = 9
"""Rows are read at most once in so many times as it takes: two thousand of them less often than twice a second."""
_TWIN_EVERY: Final = 2.0  # seconds between two twins, while calls come and go
_SEEN: Final = 14  # lines seen at once
_STILL: Final = 20  # rows of the twin
_NEVER: Final = object()
_PLAIN: Final = Choice()
_FRAME: Final = "session().ledger.to_frame()"


class LedgerView(Surface):
    """A table of the last calls, each attempt a row, and what all calls of this kernel have cost.

    It follows the ledger, twice a second at the most, as long as calls come; `Pause` holds it. A row that is chosen is
    told in full below, with its error; it stays chosen while others arrive.

    Args:
        n: How many of the last attempts are at hand, 2,000 at the most.
        sort: `newest`, `dearest`, `slowest`, `tokens` or `failed`: what comes first.
        filter: Words that must all be found in a row: in its profile, provider, model, mode, status, strategy, stage
            or the type of its error.
        home: The session; None for the kernel's.

    Raises:
        ConfigError: One of these cannot be used.
    """

    title = "victor_nb · ledger"

    def __init__(
        self,
        n: int = 200,
        *,
        sort: str = "newest",
        filter: str = "",  # noqa: A002 - what the box on the page is called
        home: Session | None = None,
    ) -> None:
        self._choice = Choice(n, sort, filter)
        super().__init__(home)
        self._begun = False
        self._said: dict[tuple[Widget, str], object] = {}
        self._listed: tuple[object, ...] = ()
        self._lock = threading.RLock()  # looks and clicks come on two threads
        self._till = Till(self.home)
        self._version = -1
        self._due = float("-inf")
        self._held = False
        self._rows: list[Row] = []
        self._shown: list[Row] = []
        self._chosen: Row | None = None
        self._spending: Spending | None = None
        self._twin_due = float("-inf")
        self._twin_late = False
        self._filter: Any = Text(filter, description="Filter", placeholder="fast, error, a model, a stage …")
        options = [(said, name) for name, said in ORDERS.items()]
        self._sort: Any = Dropdown(description="Sort", options=options, value=sort)
        self._pause: Any = Button(description="Pause", tooltip="Hold the rows as they are")
        self._up: Any = Button(description="Previous", tooltip="Choose the row above")
        self._down: Any = Button(description="Next", tooltip="Choose the row below")
        self._head, self._detail, self._money, self._code = HTML(), HTML(), HTML(), HTML()
        self._list = styled(Listbox("Calls"), "victor-calls")
        self._lay_out()
        self._listen()
        self.tried(self._follow)
        self._begun = True
        self.look(self._follow, every=_EVERY)

    def _lay_out(self) -> None:
        buttons = stack(self._pause, self._up, self._down, across=True)
        controls = styled(stack(self._filter, self._sort, buttons, across=True), "victor-controls")
        listing = styled(stack(self._head, self._list), "victor-listing")
        self.furnish(self._money, controls, styled(stack(listing), "victor-scroll"), self._detail, self._code)

    def _listen(self) -> None:
        on_change(self._filter, "value", lambda: self.tried(self._want_other_rows))
        on_change(self._sort, "value", lambda: self.tried(self._want_other_rows))
        on_press(self._pause, self._press_pause)
        on_press(self._up, lambda: self._list.step(-1))
        on_press(self._down, lambda: self._list.step(1))
        self._list.on_choose(lambda: self.tried(self._choose_row))

    # --- what it is set to ---

    @property
    def n(self) -> int:
        """How many of the last attempts are at hand."""
        return self._choice.n

    @property
    def filter(self) -> str:
        """The words that must all be found in a row."""
        return self._choice.filter

    @filter.setter  # noqa: A003
    def filter(self, words: str) -> None:
        self._filter.value = Choice(self.n, self.sort, words).filter

    @property
    def sort(self) -> str:
        """What comes first."""
        return self._choice.sort

    @sort.setter
    def sort(self, order: str) -> None:
        self._sort.value = Choice(self.n, order, self.filter).sort

    @property
    def paused(self) -> bool:
        """Whether the rows are held as they are."""
        return self._held

    @paused.setter
    def paused(self, held: bool) -> None:
        self._held = bool(held)
        self.post(self._pause, description="Go on" if held else "Pause", button_style="warning" if held else "")
        if not held:
            self.tried(self._follow)
        self._want_other_rows()

    @property
    def code(self) -> str:
        """The line that shows the same."""
        given = [f"n={self.n}"] if self.n != _PLAIN.n else []
        given += [f"sort={json.dumps(self.sort)}"] if self.sort != _PLAIN.sort else []
        given += [f"filter={json.dumps(self.filter, ensure_ascii=False)}"] if self.filter else []
        return f"LedgerView({', '.join(given)})"

    def _press_pause(self) -> None:
        self.paused = not self.paused

    def _want_other_rows(self) -> None:
        with self._lock:
            self._choice = Choice(self.n, str(self._sort.value), str(self._filter.value))
            self._arrange(asked=True)
        self.changed()

    def _choose_row(self) -> None:
        with self._lock:
            self._tell_detail(datetime.now(UTC))

    # --- what is seen ---

    def _follow(self) -> None:
        """Show what has changed since the last look; where nothing has, that is known at once."""
        if self.home.closed:
            self.rest()
            self.tell("This session has ended; the rows are those of its end.")
            return
        with self._lock:
            if not self.paused:
                self._read()
        self._bring_twin()

    def _read(self) -> None:
        began, ledger = time.monotonic(), self.home.ledger
        version = ledger.version
        rested = began >= self._due
        moved = rested and version != self._version
        if moved:
            self._version, self._rows = version, ledger.rows(last=self.n)
        spending = self._till.read()
        self._twin_late |= moved or spending != self._spending
        if spending != self._spending:
            self._spending = spending
            self.post(self._money, value=spending.html)
        if moved or (rested and any(row.status == "running" for row in self._rows)):
            self._arrange(asked=False)
            ended = time.monotonic()
            self._due = ended + _REST * (ended - began)

    def _arrange(self, *, asked: bool) -> None:
        """Show the rows at hand as they are wanted now; `asked` if it is the user who wants them otherwise."""
        now = datetime.now(UTC)
        self._shown = self._choice.of(self._rows, now)
        table = lines(self._shown, self._rows, now)
        self._fill(table.body, [key(row) for row in self._shown], asked=asked)
        self.post(self._head, value=self._heading(table.head))
        self._tell_detail(now)
        self.post(self._code, value=code(f"{self.code}\n{_FRAME}"))

    def _fill(self, body: tuple[str, ...], keys: list[Key], *, asked: bool) -> None:
        """Fill the list, if that is not what is in it."""
        if self._listed != (body, keys):
            self._listed = (body, keys)
            show = partial(self._list.show, body, keys, most=_SEEN, asked=asked)
            pulse().put(self._list, show) if self._begun else show()

    def post(self, widget: Widget, **traits: object) -> None:
        """Set traits of a widget, soon; what was said before takes no turn of the pulse, nor do the first values."""
        news = {name: value for name, value in traits.items() if self._said.get((widget, name), _NEVER) != value}
        self._said.update({(widget, name): value for name, value in news.items()})
        if news and self._begun:
            super().post(widget, **news)
        for name, value in () if self._begun else news.items():
            setattr(widget, name, value)

    def _heading(self, head: str) -> str:
        line = f'<pre class="victor-calls-head" aria-hidden="true">{escape(head)}</pre>' if self._shown else ""
        return f'<div role="status">{words(self._summary, "victor-quiet")}</div>{line}'

    @property
    def _summary(self) -> str:
        rows, shown = len(self._rows), len(self._shown)
        held = " · paused" if self.paused else ""
        if not rows:
            return f"Nothing has been asked yet.{held}"
        last = f"the last {rows:,} attempts" if rows > 1 else "1 attempt"
        found = f"{shown:,} of {last} match {self.filter.strip()!r}" if self.filter.strip() else last
        return f"{found[0].upper()}{found[1:]}, {ORDERS[self.sort]}{held}"

    def _tell_detail(self, now: datetime) -> None:
        self.post(self._detail, value=self._describe(now))

    def _describe(self, now: datetime) -> str:
        """Return the chosen row in full; the one that was chosen when it is no longer at hand."""
        chosen = self._list.chosen
        if chosen is None:
            self._chosen = None
            return f"<div>{words('Choose a row to see all of it.', 'victor-quiet')}</div>" if self._shown else ""
        self._chosen = next((row for row in self._rows if key(row) == chosen), self._chosen)
        return "" if self._chosen is None else detail(self._chosen, self._rows, now, self._clean)

    def _clean(self, text: str) -> str:
        return redacted(self.home, text)

    # --- the twin ---

    def _bring_twin(self) -> None:
        if self._twin_late and time.monotonic() >= self._twin_due:
            self._twin_late, self._twin_due = False, time.monotonic() + _TWIN_EVERY
            self.changed()

    def still(self) -> Still:
        """Return what was spent, the first rows, and the line that shows them."""
        with self._lock:
            rows, every, spending = self._shown[:_STILL], self._rows, self._spending
            summary = f"{self._summary}; the first {_STILL}" if len(self._shown) > _STILL else self._summary
        still = still_line(self.title, "victor-title") + (spending.still if spending else Still("", ""))
        still += still_line(summary, "victor-quiet")
        if rows:
            still += call_table(rows, every, datetime.now(UTC), self._clean)
        return still + still_block(f"{self.code}\n{_FRAME}", "victor-code")

    def __repr__(self) -> str:
        return self.code
