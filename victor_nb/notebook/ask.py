"""What a magic asks: one profile, several or a strategy, while its cell waits or in the background."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import threading
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar, cast

from victor_nb.calls.agent import Chat
from victor_nb.calls.request import SETTINGS, CallOptions, check_options
from victor_nb.calls.schema import schema_of
from victor_nb.calls.stream import Stream
from victor_nb.errors import (
    STOPS,
    UNLOADABLE,
    BudgetError,
    MalformedAnswerError,
    PromptError,
    SecretError,
    VictorError,
    VictorInterrupted,
)
from victor_nb.loop import Handle
from victor_nb.notebook.forms import VALUED, valued
from victor_nb.providers.spec import Spec, spec_of
from victor_nb.runtime import current
from victor_nb.templates import Rendered, own, render
from victor_nb.values import Quotable, Reply
from victor_nb.workflows.fan_out import FanOut, Replies
from victor_nb.workflows.orchestrator_pool import kernel_pool
from victor_nb.workflows.runs import StrategyRun
from victor_nb.workflows.strategies import find_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from decimal import Decimal

    from victor_nb.calls.orchestrator import AgentOrchestrator
    from victor_nb.config.profiles import Profile
    from victor_nb.kernel import Session
    from victor_nb.notebook.display import Live
    from victor_nb.notebook.options import MagicCall
    from victor_nb.workflows.engine import StrategyJob

Work: TypeAlias = "Stream | FanOut | StrategyJob"
"""What a question has started: all have `done`, `wait`, `cancel`, `interrupted` and `result`."""
Result: TypeAlias = "Reply | Replies | StrategyRun"


class Going(Protocol):
    """What a cell waits for."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for the end; return whether it came."""
        ...

    def interrupted(self) -> VictorInterrupted:
        """Stop it, and return the error to raise."""
        ...


G = TypeVar("G", bound=Going)


def watch(begin: Callable[[], G], live: Live[Any, Any]) -> G:
    """Begin the work, show how it grows until it has ended, and return it.

    Raises:
        VictorInterrupted: Stop was pressed; the work was stopped.
    """
    with _stop_later() as stopped:
        work = begin()
    try:
        seen = True
        while not stopped and not work.wait(live.wait):
            seen = seen and failure_of(live.grow, work) is None  # what cannot be shown is waited for all the same
    except KeyboardInterrupt:
        raise work.interrupted() from None
    if stopped:
        raise work.interrupted()
    return work


def load_clients(session: Session, call: MagicCall, live: Live[Any, Any]) -> None:
    """Import the clients of the profiles that are asked, if that is still to be done, and show that it takes a moment.

    Raises:
        VictorInterrupted: Stop was pressed meanwhile.
    """
    for name in call.profiles or (() if call.profile is None else (call.profile,)):
        profile = session.runtime.settings.profile(name)
        spec = spec_of(profile.provider)
        if spec.is_loaded(profile.model, profile.api):
            continue
        loading = threading.Thread(target=_load, args=(spec, profile), daemon=True)
        loading.start()
        try:
            while loading.is_alive():
                live.load(spec.name)
                loading.join(live.wait)
        except KeyboardInterrupt:
            raise VictorInterrupted("stopped before anything was sent.") from None


def _load(spec: Spec, profile: Profile) -> None:
    with suppress(VictorError, *UNLOADABLE):  # the call itself says what is wrong
        spec.load_client(profile.model, profile.api)


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


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be sent.

    Attributes:
        call: What the magic line asks for.
        for_one: Whether one profile is asked, once.
        prompt: The text, everything inserted.
        inserted: What was inserted, and its length in characters.
        options: What is sent beside the prompt.
        unfilled: The note that `{name}` or `$name` was sent as it is, where there is a variable of that name.
        limits: What the cell may spend, in USD: the cell's limit of profiles.yaml, and `budget=`, each with its name.
    """

    call: MagicCall
    for_one: bool
    prompt: str
    inserted: tuple[tuple[str, int], ...]
    options: CallOptions
    limits: tuple[tuple[str, Decimal], ...]
    unfilled: str = ""


def prepare(session: Session, call: MagicCall, typed: str, names: Mapping[str, object]) -> Question:
    """Fill the prompt in, and check that nothing leaves that should not.

    Raises:
        ProfileNotFoundError: There is no such profile.
        PromptError: The prompt is empty, or cannot be filled in.
        SecretError: It holds a configured key.
    """
    settings = session.runtime.settings
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
    plain = call.raw or call.over is not None or "{{" not in typed  # the rows of a frame fill their prompts themselves
    rendered = Rendered(typed) if plain else render(typed, names, leaks=leaks)
    beside = json.dumps(dict(call.params), default=str)
    if call.schema is not None:
        check_options({"schema": call.schema})
        beside += json.dumps(schema_of(call.schema).whole)
    if leaks("\0".join((rendered.text, call.system or "", beside))):
        raise SecretError("The prompt holds a configured key. Nothing was sent. Take it out.")
    limits: list[tuple[str, Decimal]] = []
    for name, limit in (("a cell", settings.budget.cell), ("this cell", call.budget)):
        if limit is not None:
            limits.append((name, limit))
    for_one = call.strategy is None and not call.profiles and call.n is None
    unfilled = "" if call.raw or not ("{" in typed or "$" in typed) else _unfilled(typed, names)
    return Question(call, for_one, rendered.text, rendered.inserted, _options(session, call), tuple(limits), unfilled)


_NO_PLACE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$(?=\S)[^$\n]*(?<=\S)\$(?!\w)", re.DOTALL)
"""Code and mathematics, where braces and dollars are meant."""
_PLACE: Final = re.compile(
    r"(?<![\w\\^_}{$])\{ ?(?P<name>[^\W\d]\w*)(?:[.\[!:][^\s{}]*)? ?\}(?!\})"
    r"|(?<![\w\\$])\$\{?(?P<word>[^\W\d]\w*)\}?"
)
_NO_VARIABLES: Final = (ModuleType, FunctionType, BuiltinFunctionType, type)
_NOTED: Final = 3  # variables of which a note speaks


def _unfilled(typed: str, names: Mapping[str, object]) -> str:
    """Return the note about what other tools would replace in a prompt; empty where there is none of it."""
    found: dict[str, str] = {}
    for match in _PLACE.finditer(_NO_PLACE.sub(" ", typed)):
        name = match["name"] or match["word"]
        if own([name]) and name in names and not isinstance(names[name], _NO_VARIABLES):
            found.setdefault(name, match[0])
    if not found:
        return ""
    shown, fit = list(found.values())[:_NOTED], [f"{{{{ {name} }}}}" for name in found][:_NOTED]
    return f"Sent as typed: {', '.join(shown)}. Write {', '.join(fit)} to insert the value."


def _options(session: Session, call: MagicCall) -> CallOptions:
    """Return what a call sends beside its prompt: nothing that was not given."""
    given: dict[str, Any] = {}
    for name in SETTINGS:
        value = getattr(call, name)
        if value is not None and not (type(value) is dict and not value):
            given[name] = value
    if call.chat in session.chats:
        given["history"] = tuple(session.chats[call.chat].history)
    return cast("CallOptions", given)


@contextmanager
def limited(session: Session, question: Question) -> Generator[None]:
    """Limit what the calls that are made in the block may spend in all."""
    with ExitStack() as limits:
        for name, amount in question.limits:
            limits.enter_context(session.budget.limit(amount, name=name))
        yield


def start(session: Session, question: Question) -> Work:
    """Start asking, without waiting: a strategy, several profiles, or one."""
    call = question.call
    with limited(session, question):
        if call.strategy is not None:
            strategy = find_strategy(call.strategy, session.settings)
            return strategy.start(question.prompt, pool=session.pool, **question.options)
        if question.for_one:
            return _asker(session, question).stream(question.prompt, **question.options)
        profiles = call.profiles or (cast("str", call.profile),)
        return session.pool.start_fan_out(question.prompt, profiles, n=call.n or 1, **question.options)


def _asker(session: Session, question: Question) -> AgentOrchestrator | Chat:
    """Return whom to ask: the profile, or the memory of that name as the profile's."""
    orchestrator = kernel_pool(session.runtime).get_orchestrator(question.call.profile)
    name = question.call.chat
    if name is None:
        return orchestrator
    chat = Chat(orchestrator)
    if name in session.chats:
        # One memory for all who are asked under the name: another profile, or the same one after a change of mode.
        chat.history = session.chats[name].history
    session.chats[name] = chat
    return chat


def finish(work: Work, question: Question) -> Result:
    """Wait for the result, and raise what went wrong."""
    if isinstance(work, FanOut):
        return work.result(on_error=question.call.on_error)
    result = work.result()
    return _in_form(result, question) if isinstance(result, Reply) and question.call.form in VALUED else result


def _in_form(reply: Reply, question: Question) -> Reply:
    """Return a reply with the value that the form is which was asked for, and keep it as the last one."""
    runtime = current()
    try:
        found = valued(reply, question.call.form)
    except BaseException as error:
        if isinstance(error, STOPS):
            raise
        found = replace(reply, notes=(*reply.notes, f"no {question.call.form} ({type(error).__name__}: {error})"))
    if runtime.last is reply:
        runtime.last = found
    return found


def so_far(work: Work) -> Result:
    """Return what has come."""
    match work:
        case Stream():
            return work.reply
        case FanOut():
            return work.replies
        case _:
            return work.run


def ask(session: Session, question: Question, live: Live[Any, Any] | None, *, watched: bool) -> Result:
    """Ask, showing what comes as it grows, and wait for the result, which the caller shows.

    Args:
        session: The kernel's session.
        question: What to send.
        live: Where the answers are shown, if they are.
        watched: Whether an answer is seen while it grows; else a single one is asked for in one piece.

    Raises:
        VictorError: What went wrong. What came until then is shown, and is `session().last`.
        VictorInterrupted: Stop was pressed; the same holds.
    """
    try:
        if live is not None and (watched or not question.for_one):
            load_clients(session, question.call, live)
            result = finish(watch(partial(start, session, question), live), question)
        else:
            with limited(session, question) if question.limits else nullcontext():
                result = _asker(session, question).run_sync(question.prompt, **question.options)
            if question.call.form in VALUED:
                result = _in_form(result, question)
    except (VictorError, VictorInterrupted) as error:
        if (
            live is not None
            and _is_worth_showing(error)
            and (failure := failure_of(live.end, error.partial)) is not None
        ):
            error.add_note(undrawn_note(session, failure, "session().last"))
        raise
    return result


def failure_of(show: Callable[[Any], object], what: object) -> BaseException | None:
    """Show something; return what went wrong with it, as it is no reason to lose what is shown."""
    try:
        show(what)
    except BaseException as error:
        if isinstance(error, STOPS):
            raise
        return error
    return None


def undrawn_note(session: Session, error: BaseException, where: str) -> str:
    """Return the line that says that something could not be drawn, why (without any key), and where it is."""
    why = session.redacted(" ".join(f"{type(error).__name__}: {error}".split()))
    why = why if len(why) <= _LONGEST else f"{why[:_LONGEST]}…"
    return f"Not drawn ({why}). The result is in {where}; %victor errors has the whole error."


def _is_worth_showing(error: VictorError | VictorInterrupted) -> bool:
    """Return whether something had come before an error; what a budget refused is all in its message."""
    match error.partial:
        case Reply(content=content):
            return bool(content)
        case StrategyRun(stages=stages):
            return bool(stages) and not isinstance(error, BudgetError)
        case partial:
            return isinstance(partial, Replies)


_LONGEST: Final = 160  # characters of an error in a line about something else
_EVERY: Final = 0.5  # seconds between two looks at it


class Background(Quotable, Handle[Any]):
    """A question that is asked while other cells run.

    Args:
        session: The kernel's session.
        question: What is asked.
        live: Shows how far it is, and then the result, in the place of the cell that started it.

    Attributes:
        name: What it is called on its card.
        work: What goes on: a stream, a fan-out, a strategy or a map, which shows how far it is.
    """

    def __init__(self, session: Session, question: Question, live: Live[Any, Any]) -> None:
        call = question.call
        self.name = call.strategy or ", ".join(call.profiles) or str(call.profile)
        self.work: Any = start(session, question)
        self._session = session
        self._question = question
        self._live = live
        self._shown = False
        self._task: asyncio.Task[None] | None = None

    def show(self, handle: str) -> None:
        """Show how far it is, again and again where the kernel has a loop of its own to do it on.

        Args:
            handle: What the user calls it.
        """
        self._live.say(f"{self.name}: running in the background; {handle}.result() waits, %victor cancel stops it.")
        self._live.grow(self.work)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a terminal: the card is brought up to date by result()
        self._task = loop.create_task(self._follow())

    async def _follow(self) -> None:
        while not self.work.done():
            await asyncio.sleep(_EVERY)
            if not self.work.done():
                self._live.grow(self.work)
        self._show_end()

    def _show_end(self) -> None:
        """Show the result or what had come, once; an error where nothing had."""
        if self._shown:
            return
        self._shown = True
        try:
            result = finish(self.work, self._question)
        except (VictorError, asyncio.CancelledError) as error:
            if isinstance(error, VictorError) and isinstance(self.work, Stream) and not self.work.text:
                self._live.say(f"{type(error).__name__}: {error}")
                return
            result = so_far(self.work)
        failure = failure_of(self._live.end, result)
        if isinstance(failure, MalformedAnswerError):
            raise failure
        if failure is not None:
            failure_of(self._live.say, undrawn_note(self._session, failure, "what .result() returns"))

    def done(self) -> bool:
        """Return whether it has ended, well or not."""
        return self.work.done()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for the end; return whether it came."""
        return self.work.wait(timeout)

    def cancel(self) -> None:
        """Stop it; what had come is kept."""
        self.work.cancel()

    def result(self) -> Any:  # noqa: ANN401 - a Reply, Replies or a run
        """Wait for the result.

        Raises:
            VictorError: What went wrong.
            VictorInterrupted: Stop was pressed while waiting; the call was stopped.
        """
        found = finish(self.work, self._question)
        self._show_end()
        return found

    def quoted(self) -> Result:
        """Return the result, once it is there.

        Raises:
            PromptError: It is not.
        """
        if not self.done():
            raise PromptError("is still running. Wait for it first: .result() does.")
        return self.result()

    records = quoted

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"Background({self.name}, {'ended' if self.done() else 'running'}): .result() .cancel() .done()"
