"""One question: made ready, asked, and watched from the main thread until it is answered or stopped."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from victor_nb.agent import Chat
from victor_nb.errors import PartialAnswerError, PromptError, SecretError, VictorInterrupted
from victor_nb.notebook.interpolation import Rendered, render
from victor_nb.notebook.pace import PER_SECOND
from victor_nb.values import Reply

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from victor_nb.notebook.display import LiveAnswer
    from victor_nb.notebook.grammar import MagicCall
    from victor_nb.orchestrator import AgentOrchestrator
    from victor_nb.plan import CallOptions
    from victor_nb.session import Session


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be sent.

    Attributes:
        call: What the magic line asks for.
        prompt: The text, everything inserted.
        inserted: What was inserted, and its length in characters.
        options: What is sent beside the prompt.
    """

    call: MagicCall
    prompt: str
    inserted: tuple[tuple[str, int], ...]
    options: CallOptions


def prepare(home: Session, call: MagicCall, typed: str, names: Mapping[str, object]) -> Question:
    """Fill the prompt in, and check that nothing leaves that should not.

    Raises:
        ProfileNotFoundError: There is no such profile.
        PromptError: The prompt is empty, or cannot be filled in.
        SecretError: It holds a configured key.
    """
    profile = home.settings.profile(call.profile)
    if not typed.strip():
        raise PromptError("The prompt is empty. Write it in the lines below %%victor, or after -- in %victor ask.")
    leaks = home.settings.redactor().leaks
    names = names if call.vars is None else call.vars
    rendered = Rendered(typed) if call.raw else render(typed, names, leaks=leaks)
    said = json.dumps(dict(call.params or {}), default=str)
    if any(leaks(text) for text in (rendered.text, call.system or "", said)):
        raise SecretError("The prompt holds a configured key. Nothing was sent. Take it out.")
    return Question(replace(call, profile=profile.name), rendered.text, rendered.inserted, options_of(home, call))


def options_of(home: Session, call: MagicCall) -> CallOptions:
    """Return what a call sends beside its prompt: nothing that was not given."""
    names = ("system", "max_tokens", "temperature", "timeout", "retries", "params", "tags")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(call, name)) not in (None, {})}
    if call.chat in home.chats:
        given["history"] = tuple(home.chats[call.chat].history)
    return cast("CallOptions", given)


def ask(home: Session, question: Question, live: LiveAnswer | None, *, watched: bool) -> Reply:
    """Ask, showing the answer as it grows, and wait for its end.

    Args:
        home: The kernel's session.
        question: What to send.
        live: Where the answer is shown, if it is.
        watched: Whether anybody looks on: an answer that nobody watches is asked for in one piece.

    Raises:
        VictorError: What went wrong. What came until then is shown, and is `session().last`.
        VictorInterrupted: Stop was pressed; the same holds.
    """
    asker = _asker(home, question)
    try:
        if watched and live is not None:
            reply = _watch(asker, question, live)
        else:
            reply = asker.run_sync(question.prompt, **question.options)
    except PartialAnswerError as error:
        if error.reply is not None:
            home.last = error.reply
            _show(live, error.reply)
        raise
    except VictorInterrupted:
        if isinstance(home.last, Reply) and home.last.status == "interrupted" and home.last.content:
            _show(live, home.last)
        raise
    _show(live, reply)
    return reply


def _watch(asker: AgentOrchestrator | Chat, question: Question, live: LiveAnswer) -> Reply:
    """Wait on the main thread, where Stop arrives at once, and look at the answer eight times a second."""
    with _stop_later() as stopped:
        stream = asker.stream(question.prompt, **question.options)
    try:
        while not stopped and not stream.wait(1 / PER_SECOND):
            live.grow(stream.text)
    except KeyboardInterrupt:
        raise stream.interrupted() from None
    if stopped:
        raise stream.interrupted()
    return stream.result()


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


def _show(live: LiveAnswer | None, reply: Reply) -> None:
    if live is not None:
        live.end(reply)


def _asker(home: Session, question: Question) -> AgentOrchestrator | Chat:
    """Return whom to ask: the profile, or the memory of that name as the profile's."""
    orchestrator = home.pool.get_orchestrator(question.call.profile)
    name = question.call.chat
    if name is None:
        return orchestrator
    chat = Chat(orchestrator)
    if name in home.chats:
        # One memory, whoever is asked: another profile, or the same one after a change of mode.
        chat.history = home.chats[name].history
    home.chats[name] = chat
    return chat
