"""A cell that asks its prompt for every row of a frame: `%%victor fast over=$df out=label`."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from victor_nb.errors import PromptError, VictorError, VictorInterrupted
from victor_nb.notebook.ask import Background, failure_of, limited, load_clients, undrawn_note, watch
from victor_nb.notebook.display import Live, muted
from victor_nb.notebook.dry_run import rehearse
from victor_nb.notebook.markdown import Bundle, clean, escape, frame, notice, stack
from victor_nb.reports.frames import styled
from victor_nb.reports.labels import answer_columns, named
from victor_nb.templates import own, places
from victor_nb.values import UNPAID

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from victor_nb.kernel import Session
    from victor_nb.notebook.ask import Question
    from victor_nb.reports.frames import DataFrame
    from victor_nb.workflows.map import Map
    from victor_nb.workflows.progress_bar import Bar

_HEAD: Final = 5  # rows that are shown
_INPUT: Final = 3  # columns of the input that are shown beside the answers
_BLOCKS: Final = 20  # characters of the bar
_REASONS: Final = 2  # reasons of failures that are shown
_EVERY: Final = 0.5  # seconds between two frames
_OF_MAPS: Final = ("rows", "n", "budget", "concurrency", "rpm", "tpm")


def start(session: Session, question: Question, names: MutableMapping[str, Any]) -> Map:
    """Start asking for every row, without waiting.

    Raises:
        VictorError: The prompt does not fit the rows, or a profile cannot be asked.
    """
    others = tuple(limit for limit in question.limits if limit[1] is not question.call.budget)  # the map has its own
    with limited(session, replace(question, limits=others)):
        return session.pool.start_map(question.call.over, question.prompt, **_options(question, names))


def _options(question: Question, names: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return the options of a map beside its rows and its prompt."""
    call, given = question.call, dict[str, Any](question.options)
    given |= {name: value for name in _OF_MAPS if (value := getattr(call, name)) is not None}
    who = {"profiles": call.profiles} if call.profiles else {"profile": call.strategy or call.profile}
    return {**given, **who, "out": str(call.out), "names": {name: names[name] for name in own(names)}}


def ask_rows(session: Session, question: Question, names: MutableMapping[str, Any], live: LiveRows) -> None:
    """Ask for every row, show how far it is, bind the new frame to the name of `out=`, and show its head and the bill.

    Raises:
        VictorError: All rows failed alike. The frame so far is bound, and is the error's `partial`.
        VictorInterrupted: Stop was pressed; the same holds.
    """
    call, out, works = question.call, str(question.call.out), list["Map"]()
    if not call.bg:
        load_clients(session, call, live)

    def begin() -> Map:
        works.append(start(session, question, names))
        return works[0]

    if call.bg:
        names[out] = job = BackgroundRows(session, begin(), out, live)
        session.jobs.append(job)
        job.show(out)
        return
    try:
        names[out] = watch(begin, live).result()
    except (VictorError, VictorInterrupted) as error:
        live.close()
        if works:
            names[out] = works[0].frame if error.partial is None else error.partial
            if (failure := failure_of(live.end, works[0])) is not None:
                error.add_note(undrawn_note(session, failure, out))
        raise
    if (failure := failure_of(live.end, works[0])) is not None:
        session.errors.append(failure)
        failure_of(live.say, undrawn_note(session, failure, out))


def rehearse_rows(session: Session, question: Question, names: MutableMapping[str, Any]) -> Bundle:
    """Return a frame that says how many calls the rows would be, and what these would cost. Nothing is sent.

    The price is that of as many prompts of the mean length; the first one is shown.

    Raises:
        VictorError: The rows could not be asked for.
    """
    plan = session.pool.plan_map(question.call.over, question.prompt, **_options(question, names))
    if plan.first is None:
        raise PromptError(f"None of the {plan.rows:,} rows has a value for each place of the prompt. Nothing to ask.")
    size = round(plan.characters / plan.different) if plan.characters else len(plan.first)
    text = (plan.first * (size // len(plan.first) + 1))[:size]
    skipped = f"; {plan.skipped:,} without a value would be skipped" if plan.skipped else ""
    line = notice(
        f"{plan.rows:,} rows, of which {plan.different:,} differ{skipped}. The first, and what all would cost:"
    )
    calls = plan.different * (question.call.n or 1)
    return stack(line, rehearse(session, replace(question, prompt=text), calls=calls, shown=plan.first))


class LiveRows(Live["Map", "Map"]):
    """How far the rows of a frame are, in one place of a cell; then the head of the new frame, and the bill.

    Args:
        publish: Shows a frame in place of the one before.
        question: What is asked.
        how: How the front end can show growth; on a terminal it is a bar of tqdm's.
    """

    def __init__(self, publish: Callable[[Bundle], None], question: Question, how: str) -> None:
        call = question.call
        super().__init__(publish, call, watched=how == "updates" or (call.bg and how != "text"))
        self._prompt, self._out = question.prompt, str(call.out)
        self._terminal = how == "text" and not call.bg
        self._bar: Bar | None = None
        self._card = ""

    def grow(self, work: Map) -> None:
        """Show the price, once it is known, and how far it is, if it is time to."""
        if self._terminal:
            self._bar = self._bar or work.bar(None)
            self._bar.tick()
        elif self._is_due(_EVERY):
            counts = work.tally
            full = _BLOCKS * counts.done // counts.total if counts.total else 0
            line = muted(f"{self._out} {'█' * full}{'░' * (_BLOCKS - full)} {counts}")
            above = escape(" ".join(filter(None, (self._card, work.price))))
            plain = clean(" ".join(filter(None, (self._card, str(counts)))))
            shown = {"text/markdown": "\n\n".join(filter(None, (above, line))), "text/plain": plain}
            if self._card:  # it stays when its cell has ended
                self._publish(shown)
            else:
                self._show_for_now(shown)

    def say(self, text: str) -> None:
        """Show a line of ours, and keep it above what shows how far it is."""
        self._card = text
        super().say(text)

    def end(self, work: Map) -> None:
        """Show what the notebook keeps: the price as it was expected, the first rows, and the bill."""
        self.close()
        if self._call.show == "none":
            return
        line = notice(bill(work, self._out) if self._call.cost else "")
        if self._call.show == "quiet":
            self._publish(line)
            return
        found = work.frame
        price, why = notice(work.price or ""), notice(reasons(found, self._out))
        self._publish(stack(price, head(found, self._out, self._prompt), why, line))

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.__exit__()


# --- in the background ---


class BackgroundRows(Background):
    """Rows that are asked while other cells run.

    Attributes:
        work: What goes on.
    """

    def __init__(self, session: Session, work: Map, name: str, live: LiveRows) -> None:
        self.name, self.work = name, work
        self._session, self._live = session, live
        self._shown, self._task = False, None

    @property
    def frame(self) -> DataFrame:
        """The new frame as it stands: rows that have no answer yet are `pending`."""
        return self.work.frame

    def _show_end(self) -> None:
        """Show the head of the frame and the bill, once."""
        if not self._shown:
            self._shown = True
            if (failure := failure_of(self._live.end, self.work)) is not None:
                failure_of(self._live.say, undrawn_note(self._session, failure, "what .result() returns"))

    def result(self) -> DataFrame:
        """Wait for the new frame.

        Raises:
            VictorError: All rows failed alike.
            VictorInterrupted: Stop was pressed while waiting; the map was stopped.
        """
        try:
            return self.work.result()
        finally:
            if self.work.done():
                self._show_end()

    def __repr__(self) -> str:
        state = "ended" if self.done() else "running"
        return f"BackgroundRows({self.name}, {self.work.tally}, {state}): .frame .result() .cancel() .done()"


# --- what is shown ---


def bill(work: Map, out: str) -> str:
    """Return the line: `label · of 2,000 answers: 1,950 ok, 40 reused, 10 failed · USD 0.4012 · 12.3 s`."""
    counts = work.tally
    by = {"ok": 0, "reused": 0, **counts.by}  # in this order
    came = [f"{count:,} {status}" for status, count in by.items() if count]
    came += [f"{counts.total - counts.done:,} pending"] if counts.total and counts.total > counts.done else []
    size = counts.total or counts.done
    of = "of " if counts.answered < size else ""  # then there are fewer answers
    rows = f"{of}{size:,} {'answer' if size == 1 else 'answers'}: {', '.join(came)}" if size else "no rows"
    parts = [out, rows, str(counts.spent), f"{work.wall:,.1f} s", UNPAID.get(work.runtime.mode, "")]
    return " · ".join(filter(None, parts))


def head(found: DataFrame, out: str, prompt: str) -> Bundle:
    """Return the first rows of a new frame: the columns that the prompt holds, the answers and their statuses."""
    found = named(found)
    answers, statuses = answer_columns(found, out), _beside(found, out, "_status")
    given = [name for name in found.columns if not name.startswith((f"{out}.", f"{out}_")) and name != out]
    asked = {*places(prompt, dict.fromkeys(given))}
    shown = ([name for name in given if name in asked] or given)[:_INPUT]
    top = found.head(_HEAD)
    if top.index.names == [None] and [*top.index] != [*range(len(top))]:
        top = top.rename_axis("index")
    names = [*shown, *answers, *statuses]
    table = styled(top[names])
    columns = [*table.columns[: table.heads], *names]
    numbers = [name for name, styled_name in zip(columns, table.columns, strict=True) if styled_name in table.numbers]
    return frame(columns, table.rows, numbers=numbers)


def _beside(found: DataFrame, out: str, part: str) -> list[str]:
    """Return the columns of a new frame that hold a part of what came of its rows."""
    return [
        name for name in found.columns if name == f"{out}{part}" or (name.startswith(f"{out}.") and name.endswith(part))
    ]


def reasons(found: DataFrame, out: str) -> str:
    """Return the commonest reasons why rows have no answer, on one line; empty where all have one."""
    found = named(found)
    errors = _beside(found, out, "_error")
    texts = Counter(str(text) for name in errors for text in found[name].dropna())
    shown = [f"{count:,} × {text}" for text, count in texts.most_common(_REASONS)]
    more = len(texts) - len(shown)
    return " · ".join([*shown, *([f"and {more:,} other reasons"] if more else [])])
