"""`LedgerView()`: the last calls as they happen, and what they have cost so far."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Final, cast

import ipywidgets as ipw  # pyright: ignore[reportMissingTypeStubs] - it has none
from traitlets import Any as AnyTrait

from victor_nb.notebook.widgets.base import VictorWidget, column, on_change, on_click, row, with_classes
from victor_nb.notebook.widgets.html import Content, code, words
from victor_nb.notebook.widgets.ledger_page import ORDERS, Attempts, RowQuery, Spending, SpendingReader, key
from victor_nb.notebook.widgets.throttle import throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from victor_nb.accounting.rows import Row
    from victor_nb.kernel import Session

_EVERY: Final = 0.5  # seconds between two looks at the ledger
_REST: Final = 9
"""Rows are read at most once in so many times as it takes: two thousand of them less often than twice a second."""
_FALLBACK_EVERY: Final = 2.0  # seconds between two fallbacks, while calls come and go
_SEEN: Final = 14  # lines that are visible at once
_KEPT: Final = 20  # rows of the fallback
_REACTION: Final = 0.3
"""Seconds in which a user has not seen new lines yet: a click that comes sooner was aimed at those before."""
_FRAME: Final = "session().ledger.to_frame()"


class LedgerView(VictorWidget):
    """A table of the last calls, each attempt a row, and what all calls of this kernel have cost.

    It follows the ledger, twice a second at most, as long as calls come; `Pause` holds it. A row that is chosen is
    shown in full below, with its error; it stays chosen while others arrive.

    Args:
        n: How many of the last attempts are at hand, at most 2,000.
        sort: `newest`, `cost`, `slowest`, `tokens` or `failed`: what comes first.
        filter: Words that must all be found in a row: in its profile, provider, model, mode, status, strategy, stage
            or the type of its error.
        session: The session; None for the kernel's.

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
        session: Session | None = None,
    ) -> None:
        self._query = RowQuery(n, sort, filter)
        super().__init__(session)
        self._begun = False
        self._listed: tuple[object, ...] = ()
        self._lock = threading.RLock()  # polls and clicks come on two threads
        self._reader = SpendingReader(self.session)
        self._spending: Spending | None = None
        self._version = -1
        self._due = float("-inf")
        self._held = False
        self._rows: list[Row] = []
        self._shown: list[Row] = []
        self._chosen: Row | None = None
        self._fallback_due = float("-inf")
        self._fallback_late = False
        self._filter: Any = ipw.Text(filter, description="Filter", placeholder="fast, error, a model, a stage …")
        options = [(text, name) for name, (text, _) in ORDERS.items()]
        self._sort: Any = ipw.Dropdown(description="Sort", options=options, value=sort)
        self._pause: Any = ipw.Button(description="Pause", tooltip="Hold the rows as they are")
        self._up: Any = ipw.Button(description="Previous", tooltip="Choose the row above")
        self._down: Any = ipw.Button(description="Next", tooltip="Choose the row below")
        self._head, self._detail, self._money, self._code = ipw.HTML(), ipw.HTML(), ipw.HTML(), ipw.HTML()
        self._list = with_classes(Listbox("Calls"), "victor-calls")
        self._lay_out()
        self._listen()
        self.attempt(self._follow)
        self._begun = True
        self.poll(self._follow, every=_EVERY)

    def _lay_out(self) -> None:
        buttons = row(self._pause, self._up, self._down)
        controls = row(self._filter, self._sort, buttons, classes="victor-row victor-controls")
        listing = column(column(self._head, self._list, classes="victor-listing"), classes="victor-scroll")
        self.add_controls(self._money, controls, listing, self._detail, self._code)

    def _listen(self) -> None:
        for box in (self._filter, self._sort):
            on_change(box, "value", lambda: self.attempt(self._query_changed))
        on_click(self._pause, self._pause_pressed)
        on_click(self._up, lambda: self._list.step(-1))
        on_click(self._down, lambda: self._list.step(1))
        on_change(self._list, "chosen", lambda: self.attempt(self._row_chosen))

    # --- settings ---

    @property
    def n(self) -> int:
        """The number of attempts that the view holds, the newest ones."""
        return self._query.n

    @property
    def filter(self) -> str:
        """The words that must all be found in a row."""
        return self._query.filter

    @filter.setter  # noqa: A003
    def filter(self, words: str) -> None:
        self._filter.value = RowQuery(self.n, self.sort, words).filter

    @property
    def sort(self) -> str:
        """The order of the rows."""
        return self._query.sort

    @sort.setter
    def sort(self, order: str) -> None:
        self._sort.value = RowQuery(self.n, order, self.filter).sort

    @property
    def paused(self) -> bool:
        """Whether the rows are held as they are."""
        return self._held

    @paused.setter
    def paused(self, held: bool) -> None:
        self._held = bool(held)
        self.post(self._pause, description="Go on" if held else "Pause", button_style="warning" if held else "")
        if not held:
            self.attempt(self._follow)
        self._query_changed()

    @property
    def code(self) -> str:
        """The line that shows the same."""
        given = [f"n={self.n}"] if self.n != RowQuery().n else []
        given += [f"sort={json.dumps(self.sort)}"] if self.sort != RowQuery().sort else []
        given += [f"filter={json.dumps(self.filter, ensure_ascii=False)}"] if self.filter else []
        return f"LedgerView({', '.join(given)})"

    def _pause_pressed(self) -> None:
        self.paused = not self.paused

    def _query_changed(self) -> None:
        with self._lock:
            self._query = RowQuery(self.n, str(self._sort.value), str(self._filter.value))
            self._show(requested=True)
        self.refresh_fallback()

    def _row_chosen(self) -> None:
        with self._lock:
            self._show_detail(datetime.now(UTC))

    # --- what is shown ---

    def _follow(self) -> None:
        """Show what has changed since the last look; where nothing has, that is known at once."""
        if self.session.closed:
            self.suspend()
            self.show_message("This session has ended; the rows are those of its end.")
            return
        with self._lock:
            if not self.paused:
                self._read()
        if self._fallback_late and time.monotonic() >= self._fallback_due:
            self._fallback_late, self._fallback_due = False, time.monotonic() + _FALLBACK_EVERY
            self.refresh_fallback()

    def _read(self) -> None:
        began, ledger = time.monotonic(), self.session.ledger
        version = ledger.version
        rested = began >= self._due
        moved = rested and version != self._version
        if moved:
            self._version, self._rows = version, ledger.rows(last=self.n)
        spending = self._reader.read()
        self._fallback_late |= moved or spending != self._spending
        if spending != self._spending:
            self._spending = spending
            self.post(self._money, value=spending.html)
        if moved or (rested and any(row.status == "running" for row in self._rows)):
            self._show(requested=False)
            ended = time.monotonic()
            self._due = ended + _REST * (ended - began)

    def _show(self, *, requested: bool) -> None:
        """Show the rows that the view holds, filtered and sorted; `requested` if the user has just changed it."""
        now = datetime.now(UTC)
        self._shown = self._query.select(self._rows, now)
        head, body = self._attempts(now).lines(self._shown)
        keys = [key(row) for row in self._shown]
        if self._listed != (body, keys):
            self._listed = (body, keys)
            show = partial(self._list.show, body, keys, most=_SEEN, requested=requested)
            throttle().put(self._list, show) if self._begun else show()
        heading = f'<pre class="victor-calls-head" aria-hidden="true">{escape(head)}</pre>' if self._shown else ""
        self.post(self._head, value=f'<div role="status">{words(self._summary, "victor-quiet")}</div>{heading}')
        self._show_detail(now)
        self.post(self._code, value=code(f"{self.code}\n{_FRAME}"))

    def _show_detail(self, now: datetime) -> None:
        """Show the chosen row in full, also when the view no longer holds it."""
        chosen = self._list.chosen
        known = (row for row in self._rows if key(row) == chosen)
        self._chosen = None if chosen is None else next(known, self._chosen)
        hint = f"<div>{words('Choose a row to see all of it.', 'victor-quiet')}</div>" if self._shown else ""
        value = hint if chosen is None else ""
        if self._chosen is not None:
            value = self._attempts(now).details(self._chosen)
        self.post(self._detail, value=value)

    def post(self, widget: ipw.Widget, **traits: object) -> None:
        """Set traits of a widget soon, the first ones at once."""
        if self._begun:
            super().post(widget, **traits)
        else:
            for name, value in traits.items():
                setattr(widget, name, value)

    @property
    def _summary(self) -> str:
        rows, shown = len(self._rows), len(self._shown)
        held = " · paused" if self.paused else ""
        if not rows:
            return f"Nothing has been asked yet.{held}"
        last = f"the last {rows:,} attempts" if rows > 1 else "1 attempt"
        found = f"{shown:,} of {last} match {self.filter.strip()!r}" if self.filter.strip() else last
        return f"{found[0].upper()}{found[1:]}, {ORDERS[self.sort][0]}{held}"

    def _attempts(self, now: datetime) -> Attempts:
        return Attempts(self._rows, now, self.session.redacted)

    def fallback(self) -> Content:
        """Return what was spent, the first rows, and the line that shows them."""
        with self._lock:
            rows, attempts, spending = self._shown[:_KEPT], self._attempts(datetime.now(UTC)), self._spending
            summary = f"{self._summary}; the first {_KEPT}" if len(self._shown) > _KEPT else self._summary
        found = Content.line(self.title, "victor-title") + (spending.content if spending else Content())
        found += Content.line(summary, "victor-quiet")
        if rows:
            found += attempts.table(rows)
        return found + Content.code(f"{self.code}\n{_FRAME}")

    def settle(self) -> None:
        """Bring the fallback up to date now, with the calls that have ended since the last look."""
        if not self.session.closed:
            with self._lock:
                if not self.paused:
                    self._due = float("-inf")
                    self._read()
                if self._fallback_late:
                    self._fallback_late, self._fallback_due = False, time.monotonic() + _FALLBACK_EVERY
                    self.refresh_fallback()
        super().settle()

    def __repr__(self) -> str:
        return self.code


class Listbox(ipw.Select):
    """Lines with a key each; the chosen line stays chosen wherever it goes as others arrive.

    A page sends only the index of a click. Which line that means is looked up in the lines that the user saw.

    Args:
        description: Its accessible label.
        clock: Seconds since any fixed time.

    Attributes:
        chosen: The key of the chosen line; None for none. Observable.
    """

    chosen: Any = AnyTrait(None)

    def __init__(self, description: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.RLock()  # a click and new lines come on two threads
        self._clock = clock
        self._keys: tuple[Hashable, ...] = ()
        self._keys_before: tuple[Hashable, ...] = ()
        self._changed_at = float("-inf")
        self.lines: tuple[str, ...] = ()
        cast("Any", super()).__init__(description=description, options=(), rows=2)

    def show(self, lines: Sequence[str], keys: Sequence[Hashable], *, most: int, requested: bool) -> None:
        """Replace the lines, in one message; nothing is sent where all is as it was.

        Args:
            lines: The texts.
            keys: What each line stands for; all different.
            most: Lines that are visible at once, at most.
            requested: Whether the user has asked for these lines, and so waits for them before the next click.
        """
        with self._lock, cast("Any", self).hold_sync():
            if tuple(keys) != self._keys:
                self._keys_before, self._keys = self._keys, tuple(keys)
                self._changed_at = float("-inf") if requested else self._clock()
            if tuple(lines) != self.lines:
                self.lines = tuple(lines)
                self.index = None  # else the first line is chosen, for a moment
                self.options = tuple(zip(lines, keys, strict=True))
            self.index = self._index()
            self.rows = max(2, min(len(lines), most))

    def step(self, by: int) -> None:
        """Choose the line so many below the chosen one, or the first: JupyterLab keeps the arrow keys to itself."""
        with self._lock:
            if self._keys:
                index = self._index()
                index = 0 if index is None else max(0, min(index + by, len(self._keys) - 1))
                self.chosen = self._keys[index]
                self.index = index

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Set the state that the page sends."""
        if "index" not in sync_data:
            cast("Any", super()).set_state(sync_data)
            return
        with self._lock:
            clicked = sync_data["index"]
            self.chosen = self._key_of(clicked) if isinstance(clicked, int) and clicked >= 0 else None
            index = self._index()
            cast("Any", super()).set_state({**sync_data, "index": index})
            if index != clicked:
                cast("Any", self).send_state("index")

    def _index(self) -> int | None:
        return self._keys.index(self.chosen) if self.chosen in self._keys else None

    def _key_of(self, clicked: int) -> Hashable | None:
        """Return the key of a clicked line; an index that there was not before can only be a new line."""
        fresh = self._clock() - self._changed_at < _REACTION
        seen = self._keys_before if fresh and clicked < len(self._keys_before) else self._keys
        return seen[clicked] if clicked < len(seen) else None
