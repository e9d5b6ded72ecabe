"""`LedgerView()`: the last calls as they happen, and what they have cost so far."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Final, cast

from victor_nb.money import usd
from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.widgets.attempts import ORDERS, Choice, Key, call_table, detail, key, lines
from victor_nb.notebook.widgets.base import (
    HTML,
    Button,
    Dropdown,
    Select,
    Surface,
    Text,
    Widget,
    on_change,
    on_press,
    stack,
    styled,
)
from victor_nb.notebook.widgets.html import Still, code, still_block, still_line, still_table, words
from victor_nb.notebook.widgets.throttle import pulse

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from victor_nb.accounting.budget import Limit
    from victor_nb.accounting.ledger import Total
    from victor_nb.accounting.rows import Row
    from victor_nb.kernel import Session


_REACTION: Final = 0.3
"""Seconds in which nobody has seen new lines yet: a click that comes sooner was aimed at those before."""


class Listbox(Select):
    """Lines with a key each. What is chosen stays chosen wherever its line goes.

    A page says only the place of a click. Which line that means is found in the lines that the user saw.

    Args:
        description: Its accessible label.
        clock: Seconds, of any beginning.
    """

    def __init__(self, description: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._still = threading.RLock()  # a click and new lines come on two threads
        self._clock = clock
        self._keys: Sequence[Hashable] = ()
        self._keys_before: Sequence[Hashable] = ()
        self._changed_at = float("-inf")
        self._listeners: list[Callable[[], object]] = []
        self.chosen: Hashable | None = None
        cast("Any", super()).__init__(description=description, options=(), rows=2)

    def on_choose(self, do: Callable[[], object]) -> None:
        """Do something whenever the user has chosen a line, or none."""
        self._listeners.append(do)

    def show(self, lines: Sequence[str], keys: Sequence[Hashable], *, most: int, asked: bool) -> None:
        """Replace the lines, in one message; nothing is sent where all is as it was.

        Args:
            lines: What is read.
            keys: What each line stands for; no two are the same.
            most: Lines that are seen at once, at the most.
            asked: Whether the user has asked for these lines, and so waits for them before the next click.
        """
        with self._still, cast("Any", self).hold_sync():
            if tuple(keys) != tuple(self._keys):
                self._keys_before, self._keys = self._keys, tuple(keys)
                self._changed_at = float("-inf") if asked else self._clock()
            if tuple(lines) != self.lines:
                self.index = None  # else the first line is chosen, for a moment
                self.options = tuple(zip(lines, keys, strict=True))
            self.index = self._place()
            self.rows = max(2, min(len(lines), most))

    @property
    def lines(self) -> tuple[str, ...]:
        """What is read."""
        return cast("Any", self)._options_labels  # noqa: SLF001 - its own

    def _place(self) -> int | None:
        return self._keys.index(self.chosen) if self.chosen in self._keys else None

    def _meant(self, place: int) -> Hashable | None:
        """Return what was clicked; a place that there was not before can only be a new line."""
        fresh = self._clock() - self._changed_at < _REACTION
        seen = self._keys_before if fresh and place < len(self._keys_before) else self._keys
        return seen[place] if place < len(seen) else None

    def step(self, by: int) -> None:
        """Choose the line so many below the chosen one, or the first: JupyterLab keeps the arrow keys to itself."""
        with self._still:
            if self._keys:
                place = self._place()
                place = 0 if place is None else max(0, min(place + by, len(self._keys) - 1))
                self.chosen = self._keys[place]
                self.index = place
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def set_state(self, sync_data: Mapping[str, Any]) -> None:
        """Take what the page says."""
        if "index" not in sync_data:
            cast("Any", super()).set_state(sync_data)
            return
        with self._still:
            place = sync_data["index"]
            self.chosen = self._meant(place) if isinstance(place, int) and place >= 0 else None
            meant = self._place()
            cast("Any", super()).set_state({**sync_data, "index": meant})
            if meant != place:
                cast("Any", self).send_state("index")
        self._tell()


_REST: Final = 20
"""The sums are read at most once in so many times as it takes to read them: at 100,000 rows that is a tenth second."""
_HIGH: Final = 80  # per cent of a budget from which it is marked
_ZERO: Final = Decimal(0)
_COLUMNS: Final = ("budget of", "limit", "spent", "held", "left", "used")


@dataclass(frozen=True, slots=True)
class Allowance:
    """A budget at one moment, in USD."""

    name: str
    amount: Decimal
    spent: Decimal
    held: Decimal

    @classmethod
    def of(cls, limit: Limit) -> Allowance:
        """Return how a limit stands; what other kernels have spent counts as spent."""
        return cls(limit.name, limit.amount, limit.spent + limit.elsewhere, limit.held)

    @property
    def left(self) -> Decimal:
        """USD that a further call may cost at the most."""
        return max(_ZERO, self.amount - self.spent - self.held)

    def share(self, part: Decimal) -> int:
        """Return how much of the whole a part is, in per cent: 100 at the most, and 1 where it is anything at all."""
        if self.amount <= 0 or part <= 0:
            return 100 if part > 0 else 0
        return min(100, max(1, int(100 * part / self.amount)))

    @property
    def cells(self) -> tuple[str, ...]:
        """What is said of it in each of `_COLUMNS`."""
        used = f"{self.share(self.spent + self.held)} %"
        return (self.name, *map(usd, (self.amount, self.spent, self.held, self.left)), used)

    @property
    def bar(self) -> str:
        """A line about it and a bar, in HTML."""
        spent = self.share(self.spent)
        held = min(100 - spent, self.share(self.held))
        parts = [f"{usd(self.spent)} spent"]
        parts += [f"{usd(self.held)} held for calls under way"] if self.held else []
        text = f"Budget of {self.name}: {', '.join(parts)}, {usd(self.left)} left of {usd(self.amount)}"
        high = " victor-bar-high" if spent + held >= _HIGH else ""
        inner = f'<span style="width:{spent}%"></span><span class="victor-bar-held" style="width:{held}%"></span>'
        bar = f'<div class="victor-bar{high}" aria-hidden="true">{inner}</div>'
        return f'<div class="victor-budget">{words(text)}{bar}</div>'


@dataclass(frozen=True, slots=True)
class Spending:
    """What a kernel has spent at one moment."""

    total: Total
    budgets: tuple[Allowance, ...]

    @property
    def figures(self) -> list[tuple[str, str]]:
        """What is said of it, each with what it is: list price, what was paid, and how many calls that were."""
        total = self.total
        unpriced = max(0, total.unpriced - total.running)  # what runs has no price yet; that is no lack
        tried = f" in {total.attempts:,} attempts" if total.calls != total.attempts else ""
        figures = [
            ("list price", f"{'>= ' if unpriced else ''}{_known(total.cost)}"),
            ("billed", _known(total.billed)),
            ("calls", f"{total.calls:,}{tried}"),
        ]
        counts = (
            ("unpriced", unpriced),
            ("under way", total.running),
            ("failed", total.failed),
            (self._said, total.simulated),
        )
        return figures + [(name, f"{number:,}") for name, number in counts if number]

    @property
    def _said(self) -> str:
        return "simulated or replayed" if self.total.simulated < self.total.attempts else "all simulated or replayed"

    @property
    def html(self) -> str:
        """All of it, as figures and bars."""
        figures = "".join(
            f'<div class="victor-figure{" victor-bad" if name == "failed" else ""}">'
            f"{words(said, 'victor-figure-said')}{words(name)}</div>"
            for name, said in self.figures
        )
        bars = "".join(budget.bar for budget in self.budgets)
        return f'<div class="victor-figures">{figures}</div>{bars}'

    @property
    def still(self) -> Still:
        """All of it for a twin: a line, and a table of the budgets."""
        line = still_line(" · ".join(f"{name}: {said}" for name, said in self.figures))
        if not self.budgets:
            return line
        cells = [budget.cells for budget in self.budgets]
        return line + still_table(_COLUMNS, cells, caption="Budgets", numbers=_COLUMNS[1:])


class Till:
    """Reads what a kernel has spent, no oftener than it is worth: the sums are over all rows.

    Args:
        home: The session.
        clock: Seconds, of any beginning.
    """

    def __init__(self, home: Session, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._clock = clock
        self._due = float("-inf")
        self._version = -1
        self._total: Total | None = None

    def read(self) -> Spending:
        """Return what was spent; the sums may be those of a moment ago (see `late`)."""
        ledger, limits = self._home.ledger, self._home.budget.limits
        began = self._clock()
        if self._total is None or (self.late and began >= self._due):
            self._version = ledger.version
            self._total = ledger.total()
            _refresh(limits)
            ended = self._clock()
            self._due = ended + _REST * (ended - began)
        return Spending(self._total, tuple(map(Allowance.of, limits)))

    @property
    def late(self) -> bool:
        """Whether rows have changed since the sums were read."""
        return self._home.ledger.version != self._version


def _known(sum_of_known: Decimal) -> str:
    return usd(sum_of_known) if sum_of_known else "USD 0"


def _refresh(limits: Sequence[Limit]) -> None:
    for limit in limits:
        limit.refresh()


_EVERY: Final = 0.5  # seconds between two looks at the ledger
_REST_ledger_view: Final = 9
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
            self._due = ended + _REST_ledger_view * (ended - began)

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
