"""`%victor panel`: a form to ask with, while other cells run; what it did is there as the code of a cell."""

from __future__ import annotations

import asyncio
import shlex
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeAlias, TypeVar, cast

from IPython.core.getipython import get_ipython
from traitlets import Any as AnyTrait

from victor_nb.calls.stream import Stream
from victor_nb.errors import ConfigError, FanOutError, MagicError, PromptError, VictorError
from victor_nb.kernel import session
from victor_nb.notebook.ask import prepare, start, start_fan_out, start_strategy
from victor_nb.notebook.boundary import redacted
from victor_nb.notebook.display import bill, label, replies_summary, run_summary, tail
from victor_nb.notebook.doctor import usual_profile
from victor_nb.notebook.grammar import desk, parse
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.widgets.base import (
    HTML,
    Button,
    Dropdown,
    HBox,
    Surface,
    Text,
    Textarea,
    Widget,
    hears_while_busy,
    on_change,
    on_press,
    put_inside,
    stack,
    styled,
)
from victor_nb.notebook.widgets.html import Still, code, rendered, still_block, still_line, words
from victor_nb.notebook.widgets.picker import Choices
from victor_nb.notebook.widgets.strategy_board import StrategyBoard
from victor_nb.notebook.widgets.throttle import pulse
from victor_nb.providers.spec import takes_temperature
from victor_nb.values import Reply
from victor_nb.workflows.fan_out import FanOut
from victor_nb.workflows.job import StrategyJob
from victor_nb.workflows.strategies import BUILT_IN, find_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from victor_nb.kernel import Session
    from victor_nb.notebook.ask import Question
    from victor_nb.workflows.fan_out import Replies
    from victor_nb.workflows.runs import StrategyRun


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCode:
    """A form, filled in. What is empty is left out.

    Attributes:
        profiles: Who is asked; nobody for the default.
        strategy: The strategy that answers instead.
    """

    prompt: str
    profiles: tuple[str, ...] = ()
    strategy: str = ""
    system: str = ""
    max_tokens: str = ""
    temperature: str = ""
    budget: str = ""

    @property
    def line(self) -> str:
        """What stands after `%%victor`."""
        given = {
            "system": self.system,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "budget": self.budget,
        }
        return " ".join([*self._who(), *(f"{key}={shlex.quote(value)}" for key, value in given.items() if value)])

    def _who(self) -> list[str]:
        if self.strategy:
            return [f"strategy={shlex.quote(self.strategy)}"]
        if len(self.profiles) > 1:
            return [f"profiles={shlex.quote(','.join(self.profiles))}"]
        return [f"profile={shlex.quote(name)}" for name in self.profiles]

    def __str__(self) -> str:
        """Return the whole cell."""
        return f"{f'%%victor {self.line}'.rstrip()}\n{self.prompt}"


_NO_STRATEGY: Final = ("none", "")
_WARM: Final = 0.5  # neither 0 nor 1, which some models take that take no other temperature


class Form:
    """The fields, and the cell that they come to.

    Args:
        home: Whose profiles and strategies there are.
        prompt: What stands in the prompt box at first.
        chosen: Who is asked at first.
        strategy: The strategy that answers at first; empty for none.
    """

    def __init__(self, home: Session, prompt: str, chosen: Sequence[str], strategy: str) -> None:
        self._home = home
        strategies = dict.fromkeys((*home.settings.strategies, *BUILT_IN))
        options = [_NO_STRATEGY, *((name, name) for name in strategies)]
        self.prompt: Any = Textarea(
            prompt, description="Prompt", rows=4, placeholder="Ask anything; {{ name }} inserts a variable"
        )
        self.who = Choices("Profiles", list(home.settings.profiles), chosen)
        self.strategy: Any = Dropdown(description="Strategy", options=options, value=strategy)
        self.system: Any = Text(description="System prompt", placeholder="none")
        self.max_tokens: Any = Text(description="Max tokens", placeholder="the profile's")
        self.temperature: Any = Text(description="Temperature", placeholder="the profile's")
        self.budget: Any = Text(description="Budget, USD", placeholder="no limit")

    @property
    def parts(self) -> tuple[Widget, ...]:
        """The form as it is laid out."""
        first, second = stack(self.strategy, self.max_tokens), stack(self.temperature, self.budget)
        return (
            styled(self.prompt, "victor-wide"),
            styled(self.system, "victor-wide"),
            styled(HBox([self.who, first, second]), "victor-beside"),
        )

    def on_change(self, do: Callable[[], object]) -> None:
        """Do something whenever a field has changed."""
        fields = (self.prompt, self.who, self.strategy, self.system, self.max_tokens, self.temperature, self.budget)
        for field in fields:
            on_change(field, "value", do)

    def cell(self) -> CellCode:
        """Return the `%%victor` cell that asks the same."""
        strategy = str(self.strategy.value)
        return CellCode(
            prompt=self.prompt.value,
            profiles=() if strategy else self.who.value,
            strategy=strategy,
            system=" ".join(self.system.value.splitlines()).strip(),
            max_tokens=self.max_tokens.value.strip(),
            temperature="" if self.temperature.disabled else self.temperature.value.strip(),
            budget=self.budget.value.strip(),
        )

    def settle(self) -> None:
        """Close the fields that mean nothing now, and list the profiles that there are."""
        strategy = bool(self.strategy.value)
        self.who.show(list(self._home.settings.profiles))
        cold = [name for name in self.who.value if not self._takes_temperature(name)]
        without = not strategy and len(cold) == len(self.who.value) > 0
        self.who.disabled, self.temperature.disabled = strategy, without
        self.temperature.placeholder = f"not taken by {', '.join(cold)}"[:40] if cold else "the profile's"

    def _takes_temperature(self, name: str) -> bool:
        profile = self._home.settings.profiles.get(name)
        if profile is None:
            return True
        return takes_temperature(profile.provider, profile.model, _WARM, refused=self._home.runtime.refuses_temperature)


_TAIL: Final = 2_000  # characters of each answer that are sent while it grows
_MOST: Final = 20_000  # characters of each answer that are shown in the end; the reply has all


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or what there is of it.

    Attributes:
        name: Whose it is.
        text: Its Markdown.
        line: What stands under it: its bill, or that it is still arriving.
        error: What went wrong, on one line.
    """

    name: str
    text: str = ""
    line: str = ""
    error: str = ""


def growing(name: str, text: str, *, ended: bool) -> Answer:
    """Return an answer that still arrives: the end of it."""
    return Answer(name, tail(text, _TAIL), "" if ended else "arriving …")


def complete(home: Session, name: str, outcome: object) -> Answer:
    """Return an answer as it is kept, or the error in its place."""
    if not isinstance(outcome, Reply):
        return Answer(name, error=redacted(home, f"{type(outcome).__name__}: {outcome}"))
    text, more = outcome.content[:_MOST], len(outcome.content) - _MOST
    note = f"\n\n… {more:,} characters more are in the reply" if more > 0 else ""
    return Answer(name, text + note, bill(outcome))


def page(answers: Iterable[Answer]) -> str:
    """Return answers side by side, as far as there is room."""
    return f'<div class="victor-answers">{"".join(map(_column, answers))}</div>'


def still(answers: Iterable[Answer]) -> Still:
    """Return answers for a twin."""
    found = list(answers)
    plain = [
        "\n".join(clean(part) for part in (f"[{each.name}]", each.error, each.text, each.line) if part)
        for each in found
    ]
    return Still(page(found), "\n\n".join(plain)) if found else Still("", "")


def _column(answer: Answer) -> str:
    parts = [
        f'<div class="victor-title">{words(answer.name)}</div>',
        f'<div role="alert">{words(answer.error, "victor-bad")}</div>' if answer.error else "",
        rendered(answer.text, f"Answer of {answer.name}") if answer.text else "",
        f"<p>{words(answer.line, 'victor-quiet')}</p>" if answer.line else "",
    ]
    return f'<div class="victor-answer">{"".join(parts)}</div>'


Work = TypeVar("Work", Stream, FanOut, StrategyJob)


class Inquiry(ABC, Generic[Work]):
    """Work under way, and what there is to see of it; from any thread."""

    def __init__(self, home: Session, work: Work, name: str) -> None:
        self._home = home
        self.work = work
        self._name = name

    def done(self) -> bool:
        """Tell whether it has ended, well or not."""
        return self.work.done()

    def cancel(self) -> None:
        """Stop it."""
        self.work.cancel()

    @abstractmethod
    def result(self) -> Reply | Replies | StrategyRun | None:
        """Return what came, once it has ended; None where nothing did."""

    @abstractmethod
    def answers(self) -> list[Answer]:
        """Return what is to be seen: how far it is, or how it ended."""

    @abstractmethod
    def summary(self) -> str:
        """Return the bill of all calls, where there are several."""

    def raise_failure(self) -> None:
        """Raise what went wrong, once it has ended.

        Raises:
            VictorError: Nothing came of it.
        """
        with suppress(asyncio.CancelledError):
            self.work.result()


class OneAnswer(Inquiry[Stream]):
    """One profile."""

    def result(self) -> Reply | None:
        """Return the reply, a partial one where it broke off or was stopped."""
        with suppress(VictorError):
            return self.work.reply
        return None

    def answers(self) -> list[Answer]:
        """Return the one."""
        if not self.done():
            return [growing(self._name, self.work.text, ended=False)]
        reply = self.result()
        return [complete(self._home, self._name, reply)] if reply is not None else []

    def summary(self) -> str:
        """Return nothing: its bill stands under the answer."""
        return ""


class ManyAnswers(Inquiry[FanOut]):
    """Several profiles, side by side."""

    def result(self) -> Replies:
        """Return all replies, failures among them."""
        return self.work.replies

    def answers(self) -> list[Answer]:
        """Return one for each profile."""
        if self.done():
            return [complete(self._home, label(entry), entry.outcome) for entry in self.work.replies.entries]
        return [growing(label(lane), lane.text, ended=lane.outcome is not None) for lane in self.work.lanes]

    def summary(self) -> str:
        """Return the bill of all."""
        return replies_summary(self.work.replies)

    def raise_failure(self) -> None:
        """Keep what went wrong in the session's errors; it stands in the place of the answers as well."""
        with suppress(asyncio.CancelledError):
            try:
                self.work.result()
            except FanOutError as error:
                self._home.errors.append(error)


class StrategyAnswer(Inquiry[StrategyJob]):
    """A strategy; a board shows it."""

    def result(self) -> StrategyRun:
        """Return the run, as far as it came."""
        return self.work.run

    def answers(self) -> list[Answer]:
        """Return nothing: the board shows it."""
        return []

    def summary(self) -> str:
        """Return the bill of all calls."""
        return run_summary(self.work.run)


def begin(home: Session, question: Question) -> OneAnswer | ManyAnswers | StrategyAnswer:
    """Start asking, without waiting.

    Raises:
        VictorError: It cannot be asked; nothing was sent.
    """
    call = question.call
    if call.strategy is not None:
        return StrategyAnswer(home, start_strategy(home, question), call.strategy)
    if call.profiles or call.n is not None:
        return ManyAnswers(home, start_fan_out(home, question), "")
    return OneAnswer(home, start(home, question), str(call.profile))


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
