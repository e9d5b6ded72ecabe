"""`%%victor` and `%victor`: parse, call, show."""

from __future__ import annotations

import re
from collections import ChainMap
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import no_var_expand

from victor_nb.errors import MagicError
from victor_nb.kernel import recorded
from victor_nb.notebook import commands
from victor_nb.notebook.ask import (
    Question,
    ask,
    ask_behind,
    ask_many,
    fan_out_behind,
    prepare,
    run_strategy,
    strategy_behind,
)
from victor_nb.notebook.commands import picture
from victor_nb.notebook.display import LiveAnswer, LiveColumns, LiveStages, publisher
from victor_nb.notebook.dry_run import rehearse
from victor_nb.notebook.forms import present
from victor_nb.notebook.grammar import defaults_of, parse, split_prompt
from victor_nb.notebook.markdown import escape
from victor_nb.notebook.options import CELL_HELP, LINE_HELP

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.kernel import Session
    from victor_nb.notebook.ask import Background
    from victor_nb.values import Reply


class Magics:
    """The two magics of one kernel.

    Args:
        shell: Where names are looked up, and where cells are shown.

    Attributes:
        defaults: What `%victor set` has set.
        typed: The running cell as it was typed.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self.defaults = defaults_of(shell)
        self.typed = ""

    @no_var_expand
    def cell(self, line: str, body: str) -> None:
        """Ask what the cell's body says, and show the answer."""
        names = self._shell.user_ns
        # IPython ends every cell with a line break, also one that was typed without.
        prompt = body if self.typed.endswith(body) else body.removesuffix("\n")
        with recorded() as session:
            call = parse(line, names, defaults=self.defaults.call)
            if call.help:
                self._show({"text/plain": CELL_HELP})
            elif call.dry:
                self._show(rehearse(session, prepare(session, call, prompt, names)))
            else:
                self._ask(session, prepare(session, call, prompt, names))

    # Shown by `%%victor?`.
    cell.__doc__ = CELL_HELP

    def line(self, line: str, local: MutableMapping[str, Any] | None = None) -> Reply | None:
        """Carry a command out, and show what it says; `ask` returns a reply instead."""
        words = re.match(r"\s*(\S*)\s*(.*)", line, re.DOTALL)
        word, rest = (words[1], words[2]) if words else ("", "")
        with recorded() as session:
            if word == "ask":
                return self._ask_line(session, rest, ChainMap(local or {}, self._shell.user_ns))
            if word in {"-h", "--help"}:
                self._show({"text/plain": LINE_HELP})
            elif word in commands.WIDGETS:
                self._show_widget(word, rest)
            else:
                self._show(commands.run(word or "status", rest, self.defaults, session, self._shell.user_ns))
        return None

    def _show(self, bundle: commands.Bundle) -> None:
        publisher(self._shell)(bundle)

    def _show_widget(self, word: str, rest: str) -> None:
        """Show a widget; `%victor panel code` instead makes a cell of what the last panel would ask."""
        from victor_nb.notebook.widgets.picker import ProfilePicker  # noqa: PLC0415 - ipywidgets is slow to import
        from victor_nb.notebook.widgets.playground import Playground  # noqa: PLC0415 - as above

        if word == "panel" and rest == "code":
            self._shell.set_next_input(Playground.latest_code(), replace=True)
            return
        if rest:
            hint = "Write %victor panel, or %victor panel code." if word == "panel" else f"Write %victor {word} alone."
            raise MagicError(f"%victor {word} {rest[:40]} is not understood. {hint}")
        cast("Any", Playground() if word == "panel" else ProfilePicker())._ipython_display_()

    def _ask(self, session: Session, question: Question) -> None:
        call, publish = question.call, publisher(self._shell)
        watched = session.settings.watched and hasattr(self._shell, "kernel")
        if call.bg:
            result: object = self._behind(session, question)
        elif call.strategy is not None:
            result = run = run_strategy(session, question, LiveStages(publish, call, watched=watched))
            if call.show == "answer":
                self._show(picture(run.plot("cost_by_stage")))
        elif call.profiles or call.n is not None:
            result = ask_many(session, question, LiveColumns(publish, call, watched=watched))
        else:
            result = ask(session, question, LiveAnswer(publish, call, watched=watched), watched=watched)
        if call.out is not None:
            self._shell.user_ns[call.out] = result

    def _behind(self, session: Session, question: Question) -> Background[Any]:
        """Start a question in the background, with a card in this cell."""
        call, publish = question.call, publisher(self._shell)
        if call.strategy is not None:
            job: Background[Any] = strategy_behind(session, question, LiveStages(publish, call, watched=True))
        elif call.profiles or call.n is not None:
            job = fan_out_behind(session, question, LiveColumns(publish, call, watched=True))
        else:
            job = ask_behind(session, question, LiveAnswer(publish, call, watched=True))
        handle = call.out or "session().jobs[-1]"
        card = f"{job.name}: running in the background; {handle}.result() waits, %victor cancel stops it."
        publish({"text/markdown": escape(card), "text/plain": card})
        session.jobs.append(job)
        job.start()
        return job

    def _ask_line(self, session: Session, rest: str, names: MutableMapping[str, Any]) -> Reply | None:
        head, prompt = split_prompt(rest)
        call = parse(head, names, defaults=self.defaults.call)
        if call.help:
            self._show({"text/plain": LINE_HELP})
            return None
        if prompt is None:
            raise MagicError("%victor ask needs the prompt after --, such as %victor ask fast -- What is a kernel?")
        if call.profiles or call.strategy or call.n or call.bg:
            raise MagicError("%victor ask asks one profile. Use a %%victor cell for several, a strategy, or bg=true.")
        question = prepare(session, call, prompt, names)
        if call.dry:
            self._show(rehearse(session, question))
            return None
        reply = ask(session, question, None, watched=False)
        present(reply, call.form, call.schema)
        if call.out is not None:
            self._shell.user_ns[call.out] = reply
        return reply
