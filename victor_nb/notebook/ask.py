"""What a magic asks: one profile, several or a strategy, while its cell waits or in the background."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast

from victor_nb.calls.agent import Chat
from victor_nb.calls.request import SETTINGS
from victor_nb.errors import (
    BudgetError,
    FanOutError,
    PartialAnswerError,
    PromptError,
    SecretError,
    VictorError,
    VictorInterrupted,
)
from victor_nb.notebook.display import PER_SECOND
from victor_nb.templates import Rendered, render
from victor_nb.values import Reply
from victor_nb.workflows.fan_out import Replies
from victor_nb.workflows.runs import StrategyRun
from victor_nb.workflows.strategies import find_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from decimal import Decimal

    from victor_nb.calls.orchestrator import AgentOrchestrator
    from victor_nb.calls.request import CallOptions
    from victor_nb.calls.stream import Stream
    from victor_nb.kernel import Session
    from victor_nb.notebook.display import LiveAnswer, LiveColumns, LiveStages
    from victor_nb.notebook.options import MagicCall
    from victor_nb.workflows.engine import StrategyJob
    from victor_nb.workflows.fan_out import FanOut


class Handle(Protocol):
    """Work under way: a stream, a fan-out, a strategy."""

    def done(self) -> bool:
        """Tell whether it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most so many seconds for the end; tell whether it came."""
        ...

    def cancel(self) -> None:
        """Stop it."""
        ...

    def interrupted(self) -> VictorInterrupted:
        """Stop it, keep what came, and return the error to raise."""
        ...


Work = TypeVar("Work", bound=Handle)


def watch(begin: Callable[[], Work], look: Callable[[Work], object]) -> Work:
    """Begin the work, look at it eight times a second until it has ended, and return it.

    Raises:
        VictorInterrupted: Stop was pressed; the work was stopped.
    """
    with _stop_later() as stopped:
        work = begin()
    try:
        while not stopped and not work.wait(1 / PER_SECOND):
            look(work)
    except KeyboardInterrupt:
        raise work.interrupted() from None
    if stopped:
        raise work.interrupted()
    return work


@contextmanager
def _stop_later() -> Generator[list[int]]:
    """Note an interrupt instead of raising it: between a call's start and our wait for it, it would lose the call."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


Result = TypeVar("Result")

_EVERY: Final = 0.5  # seconds between two looks at it


class Background(Generic[Result]):
    """A call that goes on while other cells run.

    Args:
        name: What it is called on its card.
        work: What goes on.
        finish: Waits for the end and returns the result; it raises what went wrong.
        look: Shows how far it is, in the place of the cell that started it.
        end: Shows the result there.
    """

    def __init__(
        self,
        name: str,
        work: Handle,
        *,
        finish: Callable[[], Result],
        look: Callable[[], None],
        end: Callable[[Result | VictorError | None], None],
    ) -> None:
        self.name = name
        self._work = work
        self._finish = finish
        self._look = look
        self._end = end
        self._shown = False
        self._task: asyncio.Task[None] | None = None

    @property
    def work(self) -> Handle:
        """What goes on: a stream, a fan-out or a strategy, which shows how far it is."""
        return self._work

    def start(self) -> None:
        """Go on showing the card, where the kernel has a loop of its own to do it on."""
        self._look()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a terminal: the card is brought up to date by result()
        self._task = loop.create_task(self._watch())

    async def _watch(self) -> None:
        while not self._work.done():
            await asyncio.sleep(_EVERY)
            if not self._work.done():
                self._look()
        self._show()

    def _show(self) -> None:
        """Show the end, once."""
        if self._shown:
            return
        self._shown = True
        try:
            self._end(self._finish())
        except VictorError as error:
            self._end(error)
        except asyncio.CancelledError:
            self._end(None)

    def done(self) -> bool:
        """Tell whether it has ended, well or not."""
        return self._work.done()

    def cancel(self) -> None:
        """Stop it; what had come is kept."""
        self._work.cancel()

    def result(self) -> Result:
        """Wait for the result.

        Raises:
            VictorError: What went wrong.
            VictorInterrupted: Stop was pressed while waiting; the call was stopped.
        """
        found = self._finish()
        self._show()
        return found

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Background({self.name}, {'ended' if self.done() else 'running'}): .result() .cancel() .done()"


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be sent.

    Attributes:
        call: What the magic line asks for.
        prompt: The text, everything inserted.
        inserted: What was inserted, and its length in characters.
        options: What is sent beside the prompt.
        limits: What the cell may spend, in USD: the cell's limit of profiles.yaml, and `budget=`, each with its name.
    """

    call: MagicCall
    prompt: str
    inserted: tuple[tuple[str, int], ...]
    options: CallOptions
    limits: tuple[tuple[str, Decimal], ...]


def prepare(session: Session, call: MagicCall, typed: str, names: Mapping[str, object]) -> Question:
    """Fill the prompt in, and check that nothing leaves that should not.

    Raises:
        ProfileNotFoundError: There is no such profile.
        PromptError: The prompt is empty, or cannot be filled in.
        SecretError: It holds a configured key.
    """
    settings = session.settings
    if call.profiles:
        for name in call.profiles:
            settings.profile(name)
    elif call.strategy is not None:
        find_strategy(call.strategy, settings)
    else:
        call = replace(call, profile=settings.profile(call.profile).name)
    if not typed.strip():
        raise PromptError("The prompt is empty. Write it in the lines below %%victor, or after -- in %victor ask.")
    leaks = settings.leaks
    names = names if call.vars is None else call.vars
    plain = call.raw or "{{" not in typed
    rendered = Rendered(typed) if plain else render(typed, names, leaks=leaks)
    beside = json.dumps(dict(call.params), default=str)
    if leaks("\0".join((rendered.text, call.system or "", beside))):
        raise SecretError("The prompt holds a configured key. Nothing was sent. Take it out.")
    limits: list[tuple[str, Decimal]] = []
    for name, limit in (("a cell", settings.budget.cell), ("this cell", call.budget)):
        if limit is not None:
            limits.append((name, limit))
    return Question(call, rendered.text, rendered.inserted, _options(session, call), tuple(limits))


def _options(session: Session, call: MagicCall) -> CallOptions:
    """Return what a call sends beside its prompt: nothing that was not given."""
    given: dict[str, Any] = {}
    for name in SETTINGS:
        if (value := getattr(call, name)) not in (None, {}):
            given[name] = value
    if call.chat in session.chats:
        given["history"] = tuple(session.chats[call.chat].history)
    return cast("CallOptions", given)


@contextmanager
def _limited(session: Session, question: Question) -> Generator[None]:
    """Limit what the calls that are made in the block may spend in all."""
    with ExitStack() as limits:
        for name, amount in question.limits:
            limits.enter_context(session.budget.limit(amount, name=name))
        yield


def ask(session: Session, question: Question, live: LiveAnswer | None, *, watched: bool) -> Reply:
    """Ask, showing the answer as it grows, and wait for its end.

    Args:
        session: The kernel's session.
        question: What to send.
        live: Where the answer is shown, if it is.
        watched: Whether the answer is seen while it grows; else it is asked for in one piece.

    Raises:
        VictorError: What went wrong. What came until then is shown, and is `session().last`.
        VictorInterrupted: Stop was pressed; the same holds.
    """
    try:
        if watched and live is not None:
            stream = watch(partial(start, session, question), lambda stream: live.grow(stream.text))
            reply = stream.result()
        else:
            with _limited(session, question) if question.limits else nullcontext():
                reply = _asker(session, question).run_sync(question.prompt, **question.options)
    except PartialAnswerError as error:
        if isinstance(error.partial, Reply) and live is not None:
            live.end(error.partial)
        raise
    except VictorInterrupted as stop:
        if isinstance(stop.partial, Reply) and stop.partial.content and live is not None:
            live.end(stop.partial)
        raise
    if live is not None:
        live.end(reply)
    return reply


def start(session: Session, question: Question) -> Stream:
    """Start asking one profile, streaming."""
    with _limited(session, question):
        return _asker(session, question).stream(question.prompt, **question.options)


def ask_behind(session: Session, question: Question, live: LiveAnswer) -> Background[Reply]:
    """Ask one profile in the background."""
    stream = start(session, question)

    def end(outcome: Reply | VictorError | None) -> None:
        if isinstance(outcome, VictorError) and not stream.text:
            live.fail(outcome)
        else:
            live.end(outcome if isinstance(outcome, Reply) else stream.reply)

    name = str(question.call.profile)
    return Background(name, stream, finish=stream.result, look=lambda: live.grow(stream.text), end=end)


def _asker(session: Session, question: Question) -> AgentOrchestrator | Chat:
    """Return whom to ask: the profile, or the memory of that name as the profile's."""
    orchestrator = session.pool.get_orchestrator(question.call.profile)
    name = question.call.chat
    if name is None:
        return orchestrator
    chat = Chat(orchestrator)
    if name in session.chats:
        # One memory for all who are asked under the name: another profile, or the same one after a change of mode.
        chat.history = session.chats[name].history
    session.chats[name] = chat
    return chat


# --- fan-out ---


def start_fan_out(session: Session, question: Question) -> FanOut:
    """Start asking all profiles of a question."""
    call = question.call
    profiles = call.profiles or (cast("str", call.profile),)
    with _limited(session, question):
        return session.pool.start_fan_out(question.prompt, profiles, n=call.n or 1, **question.options)


def ask_many(session: Session, question: Question, live: LiveColumns) -> Replies:
    """Ask several profiles, or one several times, and show them side by side.

    Raises:
        FanOutError: All failed, or one did and none may; what came is shown.
        VictorInterrupted: Stop was pressed; the partial answers are shown, and are `session().last`.
    """
    try:
        fan = watch(partial(start_fan_out, session, question), live.grow)
        replies = fan.result(on_error=question.call.on_error)
    except (FanOutError, VictorInterrupted) as error:
        if isinstance(error.partial, Replies):
            live.end(error.partial)
        raise
    live.end(replies)
    return replies


def fan_out_behind(session: Session, question: Question, live: LiveColumns) -> Background[Replies]:
    """Ask several profiles in the background."""
    fan = start_fan_out(session, question)

    def end(outcome: Replies | VictorError | None) -> None:
        live.end(outcome if isinstance(outcome, Replies) else fan.replies)

    name = ", ".join(dict.fromkeys(lane.profile for lane in fan.lanes))
    return Background(
        name,
        fan,
        finish=lambda: fan.result(on_error=question.call.on_error),
        look=lambda: live.grow(fan),
        end=end,
    )


# --- strategies ---


def start_strategy(session: Session, question: Question) -> StrategyJob:
    """Start a question's strategy."""
    call = question.call
    strategy = find_strategy(cast("str", call.strategy), session.settings)
    with _limited(session, question):
        return strategy.start(question.prompt, pool=session.pool, **question.options)


def run_strategy(session: Session, question: Question, live: LiveStages) -> StrategyRun:
    """Run a strategy and show its stages as they happen.

    Raises:
        VictorError: A stage failed; what had come is shown.
        VictorInterrupted: Stop was pressed; the same holds.
    """
    try:
        job = watch(partial(start_strategy, session, question), live.grow)
        run = job.result()
    except (VictorError, VictorInterrupted) as error:
        seen = error.partial
        if isinstance(seen, StrategyRun) and seen.stages and not isinstance(error, BudgetError):
            live.end(seen)
        raise
    live.end(run)
    return run


def strategy_behind(session: Session, question: Question, live: LiveStages) -> Background[StrategyRun]:
    """Run a strategy in the background."""
    job = start_strategy(session, question)

    def end(_: StrategyRun | VictorError | None) -> None:
        live.end(job.run)

    return Background(cast("str", question.call.strategy), job, finish=job.result, look=lambda: live.grow(job), end=end)
