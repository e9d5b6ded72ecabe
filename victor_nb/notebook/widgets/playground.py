"""`%victor panel`: a form to ask with while other cells run; the `%%victor` cell that asks the same stands below it."""

from __future__ import annotations

import asyncio
import shlex
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import ipywidgets as ipw  # pyright: ignore[reportMissingTypeStubs] - it has none
from IPython.core.getipython import get_ipython
from traitlets import Any as AnyTrait

from victor_nb import kernel
from victor_nb.calls.request import SENT
from victor_nb.config.request_options import TEXT
from victor_nb.errors import ConfigError, FanOutError, MagicError, PromptError, VictorError
from victor_nb.notebook.ask import Question, Result, Work, prepare, so_far, start
from victor_nb.notebook.display import bill, tail
from victor_nb.notebook.doctor import usual_profile
from victor_nb.notebook.grammar import defaults_of, parse
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.options import KEYS
from victor_nb.notebook.side_by_side import label, replies_summary, run_summary
from victor_nb.notebook.widgets.base import (
    VictorWidget,
    column,
    on_change,
    on_click,
    receives_while_busy,
    row,
    set_children,
    with_classes,
)
from victor_nb.notebook.widgets.html import Content, code, cut, rendered, words
from victor_nb.notebook.widgets.picker import CheckboxList
from victor_nb.notebook.widgets.strategy_board import StrategyBoard
from victor_nb.notebook.widgets.throttle import throttle
from victor_nb.providers.spec import takes_temperature
from victor_nb.values import Reply
from victor_nb.workflows.engine import StrategyJob
from victor_nb.workflows.fan_out import FanOut
from victor_nb.workflows.strategies import BUILT_IN, find_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.kernel import Session

_EVERY: Final = 0.25  # seconds between two messages while answers grow
_TAIL: Final = 2_000  # characters of each answer that are sent while it grows
_MOST: Final = 20_000  # characters of each answer that are shown in the end; the reply has all
_WARM: Final = 0.5  # neither 0 nor 1, which some models take that take no other temperature
_LATE_HINT: Final = (
    "This kernel takes a click only when no cell runs; with ipykernel 7.1 or newer, Ask and Stop answer at any time."
)
_CELL_HINT: Final = "The next cell that runs puts it below itself; %victor panel code in an empty cell does so at once."


class Playground(VictorWidget):
    """A form: prompt, profiles or a strategy, and what is sent with them; Ask, Stop, the answers and their bill.

    It asks just as the `%%victor` cell would that stands under it, `{{ names }}` of the notebook included. Answers go
    on arriving while other cells run.

    Args:
        prompt: What stands in the prompt box at first.
        profiles: The profiles that are chosen at first; None for those that a bare `%%victor` asks.
        strategy: The strategy that is chosen at first, by name.
        session: The session; None for the kernel's.

    Attributes:
        result: What the last question brought: a `Reply`, `Replies` or a `StrategyRun`; None before. Observable.

    Raises:
        ProfileNotFoundError: There is no such profile.
        ConfigError: There is no such strategy.
    """

    title = "victor_nb · playground"
    result = AnyTrait(help="What the last question brought.")
    _latest: ClassVar[list[Playground]] = []

    def __init__(
        self,
        prompt: str = "",
        *,
        profiles: Sequence[str] | str | None = None,
        strategy: str | None = None,
        session: Session | None = None,
    ) -> None:
        session = session or kernel.session()
        settings = session.settings
        self._defaults = defaults_of(get_ipython())
        if not isinstance(prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance] - notebooks have no types
            raise ConfigError(f"The prompt is a text, not a value of type {type(prompt).__name__}.")
        usual = tuple(name for name in self._defaults.profiles if name in settings.profiles)
        names = (profiles,) if isinstance(profiles, str) else profiles or usual or (usual_profile(session),)
        chosen = tuple(settings.profile(name).name for name in names)
        if strategy is not None:
            find_strategy(strategy, settings)
        super().__init__(session)
        self._form = _Form(session, prompt, chosen, strategy or "")
        self._ask: Any = with_classes(ipw.Button(description="Ask", button_style="primary"), "victor-ask")
        self._stop: Any = ipw.Button(description="Stop", disabled=True)
        self._insert: Any = ipw.Button(description="Insert as cell")
        self._page, self._bill, self._code = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self._shown = column(self._page)
        self._answers = Content()
        self._summary = ""
        self._work: Work | None = None
        self._board: StrategyBoard | None = None
        self._stopped = False
        self._ended = threading.Event()
        self._ended.set()
        self._lock = threading.RLock()  # clicks, code and polls come on several threads
        self._stop_watching: Callable[[], object] = lambda: None
        buttons = row(self._ask, self._stop, self._insert)
        self.add_controls(*self._form.parts, buttons, self._shown, self._bill, self._code)
        self._form.on_change(lambda: self.attempt(self._show_code))
        on_click(self._ask, self._pressed)
        on_click(self._stop, self.stop)
        on_click(self._insert, self._offer_cell)
        self._show_code()
        if not receives_while_busy():
            self.show_message(_LATE_HINT)
        Playground._latest[:] = [self]

    # --- the cell that asks the same ---

    @property
    def code(self) -> str:
        """The `%%victor` cell that asks the same."""
        return self._form.code

    @classmethod
    def latest_code(cls) -> str:
        """Return the cell of the panel that was made last.

        Raises:
            MagicError: There is none.
        """
        if not cls._latest:
            raise MagicError(
                "There is no panel yet. %victor panel shows one; %victor panel code then makes a cell of it."
            )
        return cls._latest[0].code

    def _show_code(self) -> None:
        self._form.update_fields()
        self.post(self._code, value=code(self.session.redacted(self.code)))
        self.refresh_fallback()

    def _offer_cell(self) -> None:
        shell = get_ipython()
        if shell is not None:
            cast("Any", shell).set_next_input(self.code, replace=False)
        self.show_message(_CELL_HINT)

    # --- asking ---

    @property
    def running(self) -> bool:
        """Whether an answer is still to come."""
        return self._work is not None

    def ask(self) -> None:
        """Ask, as the button Ask does, and return at once.

        Raises:
            VictorError: It cannot be asked like that; nothing was sent.
        """
        with self._lock:
            if self._work is not None:
                raise PromptError("An answer is still arriving. Stop it first.")
            self.show_message(None)
            question = self._question()
            self._work = work = start(self.session, question)
            self._set_running(running=True)
            self._show_board(work)
            name = str(question.call.profile)
            self._stop_watching = throttle().poll(lambda: self.attempt(lambda: self._watch(work, name)), every=_EVERY)
            if self._stopped:
                work.cancel()

    def _question(self) -> Question:
        self.session.runtime.refresh()
        form = self._form
        if not form.strategy.value and not form.profiles.value:
            raise ConfigError("No profile is chosen. Choose one, or a strategy.")
        names = cast("dict[str, Any]", getattr(get_ipython(), "user_ns", {}))
        call = parse(form.line, names, defaults=self._defaults.call)
        return prepare(self.session, call, form.prompt.value, names)

    def _show_board(self, work: Work) -> None:
        """Show a strategy on a board of its own, in place of the board before."""
        before, self._board = self._board, StrategyBoard(work) if isinstance(work, StrategyJob) else None
        set_children(self._shown, self._board or self._page)
        if before is not None:
            before.close()

    def _pressed(self) -> None:
        """Ask on a thread: the first question of a kernel waits for an SDK to be imported."""
        with self._lock:
            if not self._ended.is_set():
                return  # pressed twice
            self._set_running(running=True)
        threading.Thread(target=self._ask_in_background, name="victor-ask", daemon=True).start()

    def _ask_in_background(self) -> None:
        asked = shown = False
        try:
            asked, shown = self.attempt(self.ask), True
        finally:
            if not shown:
                self.show_message("Not asked: something in the prompt failed; its traceback is in the log console.")
            if not asked and self._work is None:
                self._set_running(running=False)
                self._ended.set()

    def stop(self) -> None:
        """Stop the calls under way, as the button Stop does; what has arrived is kept."""
        self._stopped = True
        if self._work is not None:
            self._work.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds until the answer has arrived and is shown; return whether it is."""
        return self._ended.wait(timeout)

    def _set_running(self, *, running: bool) -> None:
        if running:
            self._stopped = self._stopped and not self._ended.is_set()
            self._ended.clear()
            self.post(self._bill, value="")
        self.post(self._ask, disabled=running, description="Asking …" if running else "Ask")
        self.post(self._stop, disabled=not running)

    # --- what arrives ---

    def _watch(self, work: Work, name: str) -> None:
        """Show what has arrived; the last time all of it."""
        if not work.done():
            self._answers = _answers(self.session, work, name)
            self.post(self._page, value=self._answers.html)
            return
        with self._lock:
            self._stop_watching()
            result = self._finish(work, name)
        try:
            self.result = result  # a function that observes it may ask again at once
        finally:
            if self._work is None:
                self._ended.set()

    def _finish(self, work: Work, name: str) -> Result | None:
        try:
            self.attempt(lambda: _raise_failure(self.session, work))
            self._answers, self._summary = _answers(self.session, work, name), _summary(work)
            self.post(self._page, value=self._answers.html)
            self.post(self._bill, value=f"<p>{words(self._summary, 'victor-quiet')}</p>" if self._summary else "")
            return _result(work)
        finally:
            self._work, self._stopped = None, False
            self._set_running(running=False)
            self.refresh_fallback()

    def fallback(self) -> Content:
        """Return the cell that asks the same, and what the last question brought."""
        head = Content.line(self.title, "victor-title") + Content.code(self.session.redacted(self.code))
        below = self._board.fallback() if self._board is not None else self._answers
        return head + below + (Content.line(self._summary, "victor-quiet") if self._summary else Content())

    def close(self) -> None:
        """Stop the calls under way, and remove the widget from the page."""
        self.stop()
        self._stop_watching()
        if self._board is not None:
            self._board.close()
        super().close()

    def __repr__(self) -> str:
        return f"Playground({self.session.redacted(str(self._form.prompt.value))[:40]!r})"


# --- the form ---


class _Form:
    """The fields of the form, and the `%%victor` cell that they come to."""

    def __init__(self, session: Session, prompt: str, chosen: Sequence[str], strategy: str) -> None:
        self._session = session
        strategies = dict.fromkeys((*session.settings.strategies, *BUILT_IN))
        options = [("none", ""), *((name, name) for name in strategies)]
        hint = "Ask anything; {{ name }} inserts a variable"
        self.prompt: Any = with_classes(
            ipw.Textarea(prompt, description="Prompt", rows=4, placeholder=hint), "victor-wide"
        )
        self.profiles = CheckboxList("Profiles", list(session.settings.profiles), chosen)
        self.strategy: Any = ipw.Dropdown(description="Strategy", options=options, value=strategy)
        self.options: dict[str, Any] = {
            key: ipw.Text(description=KEYS[key].label, placeholder="the profile's" if key in SENT else "no limit")
            for key in (*SENT, *(key for key in KEYS if key not in SENT))
            if KEYS[key].label
        }

    @property
    def parts(self) -> tuple[ipw.Widget, ...]:
        """The fields as they are laid out."""
        wide = [with_classes(field, "victor-wide") for key, field in self.options.items() if KEYS[key].kind is TEXT]
        short = [self.strategy, *(field for field in self.options.values() if field not in wide)]
        half = -(-len(short) // 2)
        beside = row(self.profiles, column(*short[:half]), column(*short[half:]), classes="victor-beside")
        return self.prompt, *wide, beside

    def on_change(self, call: Callable[[], object]) -> None:
        """Call a function whenever a field has changed."""
        for field in (self.prompt, self.profiles, self.strategy, *self.options.values()):
            on_change(field, "value", call)

    @property
    def line(self) -> str:
        """The options of the `%%victor` line; a field that is empty is left out."""
        profiles = self.profiles.value
        given = {
            "strategy": self.strategy.value,
            "profile" if len(profiles) == 1 else "profiles": "" if self.strategy.value else ",".join(profiles),
            **{key: " ".join(each.value.splitlines()) for key, each in self.options.items() if not each.disabled},
        }
        return " ".join(f"{key}={shlex.quote(value.strip())}" for key, value in given.items() if value.strip())

    @property
    def code(self) -> str:
        """The whole `%%victor` cell."""
        return f"{f'%%victor {self.line}'.rstrip()}\n{self.prompt.value}"

    def update_fields(self) -> None:
        """List the profiles that there are, and disable the fields that have no effect now."""
        strategy, chosen = bool(self.strategy.value), self.profiles.value
        self.profiles.show(list(self._session.settings.profiles))
        refusing = [name for name in chosen if not self._takes_temperature(name)]
        self.profiles.disabled = strategy
        field = self.options["temperature"]
        field.disabled = not strategy and len(refusing) == len(chosen) > 0
        field.placeholder = f"not taken by {', '.join(refusing)}"[:40] if refusing else "the profile's"

    def _takes_temperature(self, name: str) -> bool:
        profile = self._session.settings.profiles.get(name)
        if profile is None:
            return True
        refused = self._session.runtime.refuses("temperature", profile)
        return takes_temperature(profile.provider, profile.model, _WARM, refused=refused)


# --- one question, answered by a profile, by several, or by a strategy ---


def _raise_failure(session: Session, work: Work) -> None:
    """Raise the error of work that has ended; that of a fan-out is only kept, since the answers show it."""
    with suppress(asyncio.CancelledError):
        try:
            work.result()
        except FanOutError as error:
            session.errors.append(error)


def _result(work: Work) -> Result | None:
    """Return the result of work that has ended, a partial reply where it broke off; None where there is none."""
    try:
        return so_far(work)
    except VictorError:
        return None


def _summary(work: Work) -> str:
    """Return the bill of all calls; that of a single one is under its answer."""
    if isinstance(work, FanOut):
        return replies_summary(work.replies)
    return run_summary(work.run) if isinstance(work, StrategyJob) else ""


# --- answers ---


def _column(name: str, text: str = "", line: str = "", error: str = "") -> Content:
    """Return one answer: its name, its error or its Markdown, and a line under it."""
    parts = [
        f'<div class="victor-title">{words(name)}</div>',
        f'<div role="alert">{words(error, "victor-bad")}</div>' if error else "",
        rendered(text, f"Answer of {name}") if text else "",
        f"<p>{words(line, 'victor-quiet')}</p>" if line else "",
    ]
    plain = "\n".join(clean(part) for part in (f"[{name}]", error, text, line) if part)
    return Content(f'<div class="victor-answer">{"".join(parts)}</div>', plain)


def _growing(name: str, text: str, *, ended: bool = False) -> Content:
    """Return the end of an answer that is still arriving."""
    return _column(name, tail(text, _TAIL), "" if ended else "arriving …")


def _complete(session: Session, name: str, outcome: object) -> Content:
    """Return an answer that has arrived, or the error in its place."""
    if not isinstance(outcome, Reply):
        return _column(name, error=session.redacted(f"{type(outcome).__name__}: {outcome}"))
    return _column(name, cut(outcome.content, _MOST, "reply"), bill(outcome))


def _answers(session: Session, work: Work, name: str) -> Content:
    """Return the answers side by side, as far as they have arrived; a strategy has a board instead."""
    if isinstance(work, FanOut) and work.done():
        columns = [_complete(session, label(entry), entry.outcome) for entry in work.replies.entries]
    elif isinstance(work, FanOut):
        columns = [_growing(label(lane), lane.text, ended=lane.outcome is not None) for lane in work.lanes]
    elif isinstance(work, StrategyJob):
        columns = []
    elif work.done():
        reply = _result(work)
        columns = [] if reply is None else [_complete(session, name, reply)]
    else:
        columns = [_growing(name, work.text)]
    found = sum(columns, start=Content())
    return Content(f'<div class="victor-answers">{found.html}</div>', found.plain)
