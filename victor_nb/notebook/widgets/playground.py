"""`%victor panel`: a form to ask with, while other cells run; what it did is there as the code of a cell."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast

from IPython.core.getipython import get_ipython
from traitlets import Any as AnyTrait

from victor_nb.errors import ConfigError, MagicError, PromptError
from victor_nb.notebook.asking import prepare
from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.desk import desk
from victor_nb.notebook.grammar import parse
from victor_nb.notebook.profiles import usual_profile
from victor_nb.notebook.widgets.answers import Answer, page, still
from victor_nb.notebook.widgets.base import Surface
from victor_nb.notebook.widgets.form import Form
from victor_nb.notebook.widgets.inquiry import ManyAnswers, OneAnswer, StrategyAnswer, begin
from victor_nb.notebook.widgets.kit import HTML, Button, hears_while_busy, on_press, put_inside, stack
from victor_nb.notebook.widgets.page import Still, code, still_block, still_line, words
from victor_nb.notebook.widgets.pulse import pulse
from victor_nb.notebook.widgets.strategy_board import StrategyBoard
from victor_nb.session import session
from victor_nb.workflows.strategies import find_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from victor_nb.notebook.asking import Question
    from victor_nb.session import Session
    from victor_nb.values import Reply
    from victor_nb.workflows.replies import Replies
    from victor_nb.workflows.runs import StrategyRun

_EVERY: Final = 0.25  # seconds between two looks at answers that grow
_Inquiry: TypeAlias = "OneAnswer | ManyAnswers | StrategyAnswer"
_LATE_HINT: Final = (
    "This kernel takes a click only when no cell runs; with ipykernel 7.1 or newer, Ask and Stop answer at any time."
)
_CELL_HINT: Final = "The next cell that runs puts it below itself; %victor panel code in an empty cell does so at once."


class Playground(Surface):
    """A form: prompt, profiles or a strategy, and what is sent with them; Ask, Stop, the answers and their bill.

    It asks just as the `%%victor` cell would that stands under it, `{{ names }}` of the notebook included. Answers go
    on arriving while other cells run.

    Args:
        prompt: What stands in the prompt box at first.
        profiles: Who is asked at first; None for whom a bare `%%victor` asks.
        strategy: The strategy that answers at first, by name.
        home: The session; None for the kernel's.

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
        home: Session | None = None,
    ) -> None:
        home = home or session()
        settings = home.settings
        self._desk = desk(get_ipython())
        if not isinstance(prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance] - notebooks have no types
            raise ConfigError(f"The prompt is a text, not a value of type {type(prompt).__name__}.")
        usual = tuple(name for name in self._desk.profiles if name in settings.profiles) or (usual_profile(home),)
        names = (profiles,) if isinstance(profiles, str) else profiles or usual
        chosen = tuple(settings.profile(name).name for name in names)
        if strategy is not None:
            find_strategy(strategy, settings)
        super().__init__(home)
        self._form = Form(self.home, prompt, chosen, strategy or "")
        self._ask: Any = Button(description="Ask", button_style="primary")
        self._stop: Any = Button(description="Stop", disabled=True)
        self._insert: Any = Button(description="Insert as cell")
        self._page, self._bill, self._code = HTML(), HTML(), HTML()
        self._shown = stack(self._page)
        self._answers: list[Answer] = []
        self._summary = ""
        self._work: _Inquiry | None = None
        self._board: StrategyBoard | None = None
        self._ended = threading.Event()
        self._ended.set()
        self._stopped = False
        self._turn = threading.RLock()
        self._end_look: Callable[[], None] = _nothing
        buttons = stack(self._ask, self._stop, self._insert, across=True)
        self.furnish(*self._form.parts, buttons, self._shown, self._bill, self._code)
        self._form.on_change(lambda: self.tried(self._describe))
        on_press(self._ask, self._pressed)
        on_press(self._stop, self.stop)
        on_press(self._insert, self._offer_cell)
        self._describe()
        if not hears_while_busy():
            self.tell(_LATE_HINT)
        Playground._latest[:] = [self]

    # --- what it would ask ---

    @property
    def code(self) -> str:
        """The `%%victor` cell that asks the same."""
        return str(self._form.cell())

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

    def _describe(self) -> None:
        """Show the cell, and which fields mean anything now."""
        self._form.settle()
        self.post(self._code, value=code(redacted(self.home, self.code)))
        self.changed()

    def _offer_cell(self) -> None:
        shell = get_ipython()
        if shell is not None:
            cast("Any", shell).set_next_input(self.code, replace=False)
        self.tell(_CELL_HINT)

    # --- asking ---

    @property
    def running(self) -> bool:
        """Whether an answer is still to come."""
        return self._work is not None

    def ask(self) -> None:
        """Ask, as Ask does: it returns at once.

        Raises:
            VictorError: It cannot be asked like that; nothing was sent.
        """
        with self._turn:
            if self._work is not None:
                raise PromptError("An answer is still arriving. Stop it first.")
            self.tell(None)
            self._work = work = begin(self.home, self._question())
            self._lock(running=True)
            self._show_board(work)
            self._end_look = pulse().look(lambda: self.tried(lambda: self._watch(work)), every=_EVERY)
            if self._stopped:
                work.cancel()

    def _question(self) -> Question:
        self.home.refresh()
        cell = self._form.cell()
        if not cell.strategy and not cell.profiles:
            raise ConfigError("No profile is chosen. Choose one, or a strategy.")
        names = cast("dict[str, Any]", getattr(get_ipython(), "user_ns", {}))
        call = parse(cell.line, names, defaults=self._desk.defaults)
        return prepare(self.home, call, cell.prompt, names)

    def _show_board(self, work: _Inquiry) -> None:
        """Give a strategy a board of its own; the one before goes."""
        before, self._board = self._board, StrategyBoard(work.work) if isinstance(work, StrategyAnswer) else None
        put_inside(self._shown, self._board or self._page)
        if before is not None:
            before.close()

    def _pressed(self) -> None:
        """Ask on a thread beside: the first question of a kernel waits for an SDK to be imported."""
        with self._turn:
            if not self._ended.is_set():
                return  # pressed twice
            self._lock(running=True)
        threading.Thread(target=self._ask_beside, name="victor-ask", daemon=True).start()

    def _ask_beside(self) -> None:
        asked = told = False
        try:
            asked, told = self.tried(self.ask), True
        finally:
            if not told:
                self.tell("Not asked: something in the prompt failed; its traceback is in the log console.")
            if not asked and self._work is None:
                self._lock(running=False)
                self._ended.set()

    def stop(self) -> None:
        """Stop what is under way, as Stop does; what came is kept."""
        self._stopped = True
        if self._work is not None:
            self._work.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most so many seconds until the answer has come and is shown; tell whether it has."""
        return self._ended.wait(timeout)

    def _lock(self, *, running: bool) -> None:
        if running:
            self._stopped = self._stopped and not self._ended.is_set()
            self._ended.clear()
            self.post(self._bill, value="")
        self.post(self._ask, disabled=running, description="Asking …" if running else "Ask")
        self.post(self._stop, disabled=not running)

    def _watch(self, work: _Inquiry) -> None:
        """Show what has come; the last time all of it."""
        if not work.done():
            self._answers = work.answers()
            self.post(self._page, value=page(self._answers))
            return
        with self._turn:
            self._end_look()
            result = self._finish(work)
        try:
            self.result = result  # whoever observes it may ask again at once
        finally:
            if self._work is None:
                self._ended.set()

    def _finish(self, work: _Inquiry) -> Reply | Replies | StrategyRun | None:
        try:
            self.tried(work.raise_failure)
            self._answers, self._summary = work.answers(), work.summary()
            self.post(self._page, value=page(self._answers))
            self.post(self._bill, value=f"<p>{words(self._summary, 'victor-quiet')}</p>" if self._summary else "")
            return work.result()
        finally:
            self._work, self._stopped = None, False
            self._lock(running=False)
            self.changed()

    # --- the twin ---

    def still(self) -> Still:
        """Return the cell that asks the same, and what the last question brought."""
        head = still_line(self.title, "victor-title") + still_block(redacted(self.home, self.code), "victor-code")
        below = self._board.still() if self._board is not None else still(self._answers)
        return head + below + (still_line(self._summary, "victor-quiet") if self._summary else Still("", ""))

    def close(self) -> None:
        """Stop what is under way, and take the widget from the page."""
        self.stop()
        self._end_look()
        if self._board is not None:
            self._board.close()
        super().close()

    def __repr__(self) -> str:
        return f"Playground({redacted(self.home, str(self._form.prompt.value))[:40]!r})"


def _nothing() -> None:
    """Do nothing: there is no look to end yet."""
