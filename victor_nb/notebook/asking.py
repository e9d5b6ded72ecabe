"""One question: made ready, asked, and watched from the main thread until it is answered or stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from victor_nb.agent import Chat
from victor_nb.errors import PartialAnswerError, PromptError, SecretError, VictorError, VictorInterrupted
from victor_nb.notebook.background import Background
from victor_nb.notebook.interpolation import Rendered, render
from victor_nb.notebook.limits import limited
from victor_nb.notebook.watching import watch
from victor_nb.values import Reply
from victor_nb.workflows.strategies import find_strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from victor_nb.notebook.display import LiveAnswer
    from victor_nb.notebook.grammar import MagicCall
    from victor_nb.orchestrator import AgentOrchestrator
    from victor_nb.plan import CallOptions
    from victor_nb.session import Session
    from victor_nb.stream import Stream


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
    if call.profiles:
        for name in call.profiles:
            home.settings.profile(name)
    elif call.strategy is not None:
        find_strategy(call.strategy, home.settings)
    else:
        call = replace(call, profile=home.settings.profile(call.profile).name)
    if not typed.strip():
        raise PromptError("The prompt is empty. Write it in the lines below %%victor, or after -- in %victor ask.")
    leaks = home.settings.redactor().leaks
    names = names if call.vars is None else call.vars
    rendered = Rendered(typed) if call.raw else render(typed, names, leaks=leaks)
    said = json.dumps(dict(call.params or {}), default=str)
    if any(leaks(text) for text in (rendered.text, call.system or "", said)):
        raise SecretError("The prompt holds a configured key. Nothing was sent. Take it out.")
    return Question(call, rendered.text, rendered.inserted, options_of(home, call))


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
    try:
        if watched and live is not None:
            stream = watch(partial(start, home, question), lambda stream: live.grow(stream.text))
            reply = stream.result()
        else:
            with limited(home, question.call):
                reply = _asker(home, question).run_sync(question.prompt, **question.options)
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


def start(home: Session, question: Question) -> Stream:
    """Start asking one profile, streaming."""
    with limited(home, question.call):
        return _asker(home, question).stream(question.prompt, **question.options)


def ask_behind(home: Session, question: Question, live: LiveAnswer) -> Background[Reply]:
    """Ask one profile in the background."""
    stream = start(home, question)

    def end(outcome: Reply | VictorError | None) -> None:
        if isinstance(outcome, VictorError) and not stream.text:
            live.fail(outcome)
        else:
            live.end(outcome if isinstance(outcome, Reply) else stream.reply)

    name = str(question.call.profile)
    return Background(name, stream, finish=stream.result, look=lambda: live.grow(stream.text), end=end)


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
