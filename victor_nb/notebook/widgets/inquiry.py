"""A question that a widget has asked, whatever answers it: one profile, several, or a strategy."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from victor_nb.errors import FanOutError, VictorError
from victor_nb.notebook import columns, staging
from victor_nb.notebook.asking import start
from victor_nb.notebook.many import start_fan_out, start_strategy
from victor_nb.notebook.widgets.answers import Answer, complete, growing
from victor_nb.stream import Stream
from victor_nb.workflows.fan_out import FanOut
from victor_nb.workflows.job import StrategyJob

if TYPE_CHECKING:
    from victor_nb.notebook.asking import Question
    from victor_nb.session import Session
    from victor_nb.values import Reply
    from victor_nb.workflows.replies import Replies
    from victor_nb.workflows.runs import StrategyRun

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
            return [complete(self._home, columns.label(entry), entry.outcome) for entry in self.work.replies.entries]
        return [growing(columns.label(lane), lane.text, ended=lane.outcome is not None) for lane in self.work.lanes]

    def summary(self) -> str:
        """Return the bill of all."""
        return columns.summary(self.work.replies)

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
        return staging.summary(self.work.run)


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
