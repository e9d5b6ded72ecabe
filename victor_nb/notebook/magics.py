"""`%%victor` and `%victor`: parse, call, show."""

from __future__ import annotations

import re
import warnings
from collections import ChainMap
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import no_var_expand

from victor_nb.errors import (
    STOPS,
    MagicError,
    MalformedAnswerError,
    VictorError,
    VictorInterrupted,
    VictorWarning,
    failed_at,
)
from victor_nb.kernel import Session, recorded
from victor_nb.notebook import commands
from victor_nb.notebook.ask import Background, Question, ask, prepare, undrawn_note
from victor_nb.notebook.costs import picture
from victor_nb.notebook.display import Live, LiveAnswer, Place, PrintedAnswer
from victor_nb.notebook.dry_run import rehearse
from victor_nb.notebook.forms import present
from victor_nb.notebook.grammar import defaults_of, parse, split_prompt, without_prompt
from victor_nb.notebook.markdown import notice
from victor_nb.notebook.options import CELL_HELP, LINE_HELP
from victor_nb.values import TAPED
from victor_nb.workflows.runs import StrategyRun

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from IPython.core.interactiveshell import InteractiveShell

    from victor_nb.values import Reply


class Magics:
    """The two magics of one kernel.

    Args:
        shell: Where names are looked up, and where cells are shown.

    Attributes:
        defaults: What `%victor set` has set.
        typed: The running cell as it was typed.
        sign: The display that says in the running cell that we are being loaded; "" where there is none.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self.defaults = defaults_of(shell)
        self.typed = self.sign = ""
        self._place: Place | None = None
        # A kernel, or a terminal: something that a user may look at while a cell runs.
        self._may_grow = hasattr(shell, "kernel") or hasattr(shell, "simple_prompt")

    @no_var_expand
    def cell(self, line: str, body: str) -> None:
        """Ask what the cell's body says, and show the answer."""
        names = self._shell.user_ns
        # IPython ends every cell with a line break, also one that was typed without.
        prompt = body if self.typed.endswith(body) else body.removesuffix("\n")
        with recorded() as session:
            commands.refuse(line, session)
            call = parse(line, names, defaults=self.defaults.call)
            if call.help:
                self._show({"text/plain": CELL_HELP})
            elif call.dry:
                self._rehearse(session, prepare(session, call, prompt, names))
            else:
                try:
                    self._ask(session, prepare(session, call, prompt, names))
                finally:
                    if self._place is not None and self._place.passing:
                        self._place.clear()
                    self._place = None

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
            elif word == "search":
                from victor_nb.notebook.searching import run_search  # noqa: PLC0415 - few kernels search

                run_search(rest, session, self._shell.user_ns, self._shell)
            elif word in commands.WIDGETS:
                self._show_widget(word, rest)
            else:
                try:
                    self._show(commands.run(word or "status", rest, self.defaults, session, self._shell.user_ns))
                except BaseException as error:
                    if word != "plot" or isinstance(error, (VictorError, *STOPS)):
                        raise
                    fact = f"%victor plot cannot draw here: {failed_at(error)}."
                    raise MagicError(f"{fact} %victor errors has the whole error.") from error
        return None

    def _show(self, bundle: commands.Bundle) -> None:
        place, self.sign = Place(self._shell, self.sign), ""
        place(bundle)

    def _rehearse(self, session: Session, question: Question) -> None:
        if question.call.over is None:
            self._show(rehearse(session, question))
        else:
            from victor_nb.notebook.over import rehearse_rows  # noqa: PLC0415 - one answer needs none of it

            self._show(rehearse_rows(session, question, self._shell.user_ns))
        if question.unfilled:
            self._show(notice(question.unfilled))

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
        call, how, undrawn = question.call, "off", None
        if self._may_grow:
            from victor_nb.notebook.front_end import growth  # noqa: PLC0415 - only where something can grow

            how = growth(self._shell)
        self._place, self.sign = Place(self._shell, self.sign), ""
        if call.over is not None:
            from victor_nb.notebook.over import LiveRows, ask_rows  # noqa: PLC0415 - one answer needs none of it

            ask_rows(session, question, self._shell.user_ns, LiveRows(self._place, question, how))
            return
        live, watched = self._live(question, self._place, how), how != "off" or session.mode in TAPED
        result = Background(session, question, live) if call.bg else ask(session, question, live, watched=watched)
        try:
            if isinstance(result, Background):
                session.jobs.append(result)
                result.show(call.out or "session().jobs[-1]")
            else:
                live.end(result)
            if isinstance(result, StrategyRun) and call.show == "answer":
                self._show(picture(result.plot("cost_by_stage")))
            if question.unfilled and call.show != "none":
                self._show(notice(question.unfilled))
        except MalformedAnswerError:
            raise  # it has not the form that was asked for: nothing is bound
        except BaseException as error:  # noqa: BLE001 - of matplotlib, of a font, of a front end: what is paid is kept
            undrawn = error
        if call.out is not None:
            self._shell.user_ns[call.out] = result
        if undrawn is not None:
            self._note_undrawn(session, undrawn, call.out, result)

    def _note_undrawn(self, session: Session, error: BaseException, out: str | None, result: object) -> None:
        """Note under an answer that it, or its chart, could not be drawn, and where the result is.

        Raises:
            VictorInterrupted: Stop was pressed meanwhile.
        """
        where = " and ".join(
            filter(None, (out, "session().jobs[-1]" if isinstance(result, Background) else "session().last"))
        )
        if isinstance(error, STOPS):
            raise VictorInterrupted(
                f"stopped while it was drawn; the result is in {where}.", cast("Any", result)
            ) from None
        session.errors.append(error)
        text = undrawn_note(session, error, where)
        try:
            self._show(notice(text))
        except BaseException as again:
            if isinstance(again, STOPS):
                raise
            warnings.warn(text, VictorWarning, stacklevel=2)

    def show_run(self, run: StrategyRun) -> None:
        """Show a run that is the value of a cell as the cell that asked for it did."""
        from victor_nb.notebook.side_by_side import run_frame  # noqa: PLC0415 - as above

        with recorded() as session:
            self._show(run_frame(run))
            try:
                if run.stages:
                    self._show(picture(run.plot("cost_by_stage")))
            except BaseException as error:
                if isinstance(error, STOPS):
                    raise
                session.errors.append(error)
                self._show(notice(undrawn_note(session, error, "this value")))

    def _live(self, question: Question, place: Place, how: str) -> Live[Any, Any]:
        """Return what shows the answer in a place of the cell, growing as the front end can take it."""
        call = question.call
        grows = how == "updates" or call.bg
        if not question.for_one:
            from victor_nb.notebook.side_by_side import LiveColumns, LiveStages  # noqa: PLC0415 - one answer needs none

            return (LiveColumns if call.strategy is None else LiveStages)(place, call, watched=grows)
        if how == "text" and call.show == "answer" and not call.bg:
            return PrintedAnswer(call)
        return LiveAnswer(place, call, watched=grows)

    def _ask_line(self, session: Session, rest: str, names: MutableMapping[str, Any]) -> Reply | None:
        head, prompt = split_prompt(rest)
        if {"-h", "--help"} & {*head.split()}:
            self._show({"text/plain": LINE_HELP})
            return None
        if prompt is None:
            raise without_prompt(head, session.settings.profiles)
        call = parse(head, names, defaults=self.defaults.call)
        if call.profiles or call.strategy or call.n or call.bg:
            raise MagicError("%victor ask asks one profile. Use a %%victor cell for several, a strategy, or bg=true.")
        question = prepare(session, call, prompt, names)
        if call.dry:
            self._rehearse(session, question)
            return None
        reply = cast("Reply", ask(session, question, None, watched=False))
        present(reply, call.form)
        if call.out is not None:
            self._shell.user_ns[call.out] = reply
        if question.unfilled:
            try:
                self._show(notice(question.unfilled))
            except BaseException as error:
                if isinstance(error, STOPS):
                    raise
                session.errors.append(error)  # a note beside a reply that is paid
        return reply
