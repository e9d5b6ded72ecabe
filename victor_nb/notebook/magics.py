"""`%%victor` and `%victor`: parse, call, show."""

from __future__ import annotations

import re
from collections import ChainMap
from typing import TYPE_CHECKING, Any, cast

from victor_nb.errors import MagicError
from victor_nb.notebook import commands
from victor_nb.notebook.asking import Question, ask, prepare
from victor_nb.notebook.boundary import recorded
from victor_nb.notebook.display import LiveAnswer, publisher
from victor_nb.notebook.dry import rehearse
from victor_nb.notebook.forms import present
from victor_nb.notebook.grammar import parse, split_prompt
from victor_nb.notebook.help import CELL, LINE

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.session import Session
    from victor_nb.values import Reply


class Magics:
    """The two magics of one kernel.

    Args:
        shell: Where names are looked up, and where cells are shown.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.desk = commands.Desk()

    def cell(self, line: str, body: str) -> None:
        """Ask what the cell's body says, and show the answer."""
        with recorded() as home:
            call = parse(line, self._names, defaults=self.desk.defaults)
            if call.help:
                self._show({"text/plain": CELL})
            elif call.dry:
                self._show(rehearse(home, prepare(home, call, body, self._names)))
            else:
                self._ask(home, prepare(home, call, body, self._names))

    def line(self, line: str, local: MutableMapping[str, Any] | None = None) -> Reply | None:
        """Carry a command out, and show what it says; `ask` returns a reply instead."""
        words = re.match(r"\s*(\S*)\s*(.*)", line, re.DOTALL)
        word, rest = (words[1], words[2]) if words else ("", "")
        with recorded() as home:
            if word == "ask":
                return self._ask_line(home, rest, ChainMap(local or {}, self._names))
            if word in {"-h", "--help"}:
                self._show({"text/plain": LINE})
            else:
                self._show(commands.run(word or "status", rest, self.desk, home, self._names))
        return None

    @property
    def _names(self) -> dict[str, Any]:
        return cast("Any", self._shell).user_ns

    def _show(self, bundle: commands.Bundle) -> None:
        publisher(self._shell)(bundle)

    def _ask(self, home: Session, question: Question) -> None:
        call = question.call
        watched = home.settings.watched and hasattr(self._shell, "kernel")
        live = LiveAnswer(publisher(self._shell), call, watched=watched)
        reply = ask(home, question, live, watched=watched)
        if call.out is not None:
            self._names[call.out] = reply

    def _ask_line(self, home: Session, rest: str, names: MutableMapping[str, Any]) -> Reply | None:
        head, prompt = split_prompt(rest)
        call = parse(head, names, defaults=self.desk.defaults)
        if call.help:
            self._show({"text/plain": LINE})
            return None
        if prompt is None:
            raise MagicError("%victor ask needs the prompt after --, such as %victor ask fast -- What is a kernel?")
        question = prepare(home, call, prompt, names)
        if call.dry:
            self._show(rehearse(home, question))
            return None
        reply = ask(home, question, None, watched=False)
        present(reply, call.form, call.schema)
        if call.out is not None:
            self._names[call.out] = reply
        return reply
