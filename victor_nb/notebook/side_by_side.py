"""What a cell shows of many answers: columns or rows of a fan-out, and the stages of a strategy run."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from victor_nb.money import Total, column
from victor_nb.notebook.display import Live, bill
from victor_nb.notebook.markdown import clean, frame, notice, sanitise, stack
from victor_nb.tables import Html, Table
from victor_nb.values import UNPAID, Reply
from victor_nb.workflows.progress_bar import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from victor_nb.workflows.engine import StrategyJob
    from victor_nb.workflows.fan_out import Entry, FanOut, Lane, Replies
    from victor_nb.workflows.runs import StrategyRun

_MOST_COLUMNS: Final = 6  # answers side by side; more stand in rows
_BEGINNING: Final = 200  # characters of each answer that stands in a row
_ROWS: Final = 12  # answers that are shown in rows while they grow
_MOST_ROWS: Final = 200  # answers in the table that is kept
_ROWS_EVERY: Final = 0.5  # seconds between two frames of these
_TAIL: Final = 240  # characters of each answer that are shown while it grows
_MOST_SHOWN: Final = 20_000  # characters of each answer in the table that is kept
# `pre`: nothing in it is Markdown, or mathematics, to any reader.
_TEXT: Final = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;background:none"
_CELL: Final = ' style="text-align:left;vertical-align:top"'

_STAGES_EVERY: Final = 0.25  # seconds between two frames; a table of stages changes slowly
_STAGE_TAIL: Final = 160  # characters of the stage that is running
_STAGES: Final = ("stage", "profile", "state", "calls", "kept", "list price")


class LiveColumns(Live["FanOut", "Replies"]):
    """The answers of one fan-out in one place of a cell."""

    def grow(self, fan: FanOut) -> None:
        """Show the ends of the answers so far, if it is time to; of many, how many have come and some beginnings."""
        if len(fan.lanes) > _MOST_COLUMNS:
            self._grow_in_rows(fan.lanes)
            return
        texts = [lane.text for lane in fan.lanes]
        if self._pace is None or not self._pace.is_due():
            return
        heads = [label(lane) for lane in fan.lanes]
        cells = [clean(f"… {text[-_TAIL:]}" if len(text) > _TAIL else text) for text in texts]
        frame = {"text/html": _html_table(heads, [cells])}
        self._show_for_now(frame)

    def _grow_in_rows(self, lanes: Sequence[Lane]) -> None:
        if not self._is_due(_ROWS_EVERY):
            return
        growing = [lane for lane in lanes if lane.outcome is None]
        speaking = [(label(lane), _beginning(lane.text)) for lane in growing if lane.text][:_ROWS]
        tally = Tally.of(lanes, total=len(lanes))
        line = f"{tally} · {len(growing)} under way"
        self._publish(
            {"text/html": _paragraph(line) + (_html_table(("answer", "so far"), speaking) if speaking else "")}
        )

    def end(self, replies: Replies) -> None:
        """Show the table that is to be kept: a column for each answer, of many a row with the beginning of it."""
        call = self._call
        if call.show == "none":
            return
        in_rows = len(replies.entries) > _MOST_COLUMNS
        entries = replies.entries[:_MOST_ROWS] if in_rows else replies.entries
        parts = {"answer": [label(entry) for entry in entries]}
        if call.show == "answer":
            parts["text"] = [_beginning(_outcome(entry)) if in_rows else _outcome(entry) for entry in entries]
        if call.cost:
            parts["bill"] = [_bill_of(entry) for entry in entries]
        heads, *rows = parts.values()
        columns = list(zip(heads, *rows, strict=True))
        lines = [replies_summary(replies)] if call.cost else []
        if in_rows:
            lines += [_whereabouts(replies, call.out or "session().last")] if call.show == "answer" else []
            shown = "".join(map(_paragraph, lines)) + _html_table(tuple(parts), columns)
            plain = [*lines, "\n".join(f"[{head}] {' · '.join(rest)}" for head, *rest in columns)]
        else:
            shown = _html_table(heads, rows) + "".join(map(_paragraph, lines))
            plain = ["\n".join((f"[{head}]", *filter(None, rest))) for head, *rest in columns] + lines
        self._publish({"text/html": shown, "text/plain": "\n\n".join(plain)})


def _whereabouts(replies: Replies, name: str) -> str:
    """Return where the texts are of which a table has only the beginnings."""
    left_out = len(replies.entries) - _MOST_ROWS
    more = f"{left_out:,} further answers and the" if left_out > 0 else "The"
    return f"{more} whole texts are in {name}; {name}.to_frame() has them as a table."


def label(lane: Lane | Entry) -> str:
    """Return what stands over a column: the profile, and which prompt or sample where there are several."""
    more = [f"prompt {lane.prompt + 1}"] if lane.prompt else []
    more += [f"sample {lane.sample + 1}"] if lane.sample else []
    return " · ".join([lane.profile, *more])


def replies_summary(replies: Replies) -> str:
    """Return the bill of all: tokens, list price, wall and serial seconds, and the profiles that failed."""
    ok, failed = replies.ok, replies.failed
    modes = [part.mode for entry in replies.entries for part in entry.parts]
    parts = [f"{len(ok)} answers", *_sums(replies, modes)]
    if failed:
        count = sum(not isinstance(entry.outcome, Reply) for entry in replies.entries)
        names = ", ".join(f"{name} ({type(error).__name__})" for name, error in failed.items())
        parts.append(f"{count} of {len(replies.entries)} failed: {names}")
    return " · ".join(parts)


def _sums(result: Replies | StrategyRun, modes: Iterable[str]) -> list[str]:
    """Return the tokens, list price and seconds of several calls, and the modes in which nothing was paid."""
    usage = result.usage
    return [
        f"{usage.input_tokens:,} -> {usage.output_tokens:,} tok",
        str(result.spent),
        f"{result.wall:.1f} s wall, {result.serial:.1f} s serial",
        *dict.fromkeys(UNPAID[mode] for mode in modes if mode in UNPAID),
    ]


def _outcome(entry: Entry) -> str:
    if not isinstance(entry.outcome, Reply):
        return f"{type(entry.outcome).__name__}: {clean(str(entry.outcome))}"
    text = clean(entry.outcome.content)
    cut = f"\n… {len(text) - _MOST_SHOWN:,} characters more are in the reply" if len(text) > _MOST_SHOWN else ""
    return text[:_MOST_SHOWN] + cut


def _beginning(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(clean(text[: 4 * _BEGINNING]).split())
    return line if len(line) <= _BEGINNING else f"{line[:_BEGINNING]}…"


def _paragraph(line: str) -> str:
    return f"<p>{html.escape(clean(line))}</p>"


def _bill_of(entry: Entry) -> str:
    if isinstance(entry.outcome, Reply):
        return clean(bill(entry.outcome))
    spent = Total.of(entry.parts)
    return f"failed · {spent}" if spent.cost or spent.unpriced else "failed"


def _html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    blocks = [[Html(f'<pre style="{_TEXT}">{html.escape(cell)}</pre>') for cell in row] for row in rows]
    return Table(heads, blocks).html(lambda head: html.escape(clean(head)), look=_CELL)


class LiveStages(Live["StrategyJob", "StrategyRun"]):
    """The stages of one strategy run in one place of a cell."""

    def grow(self, job: StrategyJob) -> None:
        """Show the stages as they stand, if it is time to."""
        if not self._is_due(_STAGES_EVERY):
            return
        progress = job.progress
        rows = [
            (stage.name, stage.profile, stage.state, f"{stage.done} of {stage.total}", stage.kept, stage.spent)
            for stage in progress.stages
        ]
        tail = " ".join(progress.text[-_STAGE_TAIL:].split())
        below = f"… {tail}" if tail else ""
        self._publish(frame(_STAGES, rows, above=str(progress), below=below, numbers=_STAGES[3:]))

    def end(self, run: StrategyRun) -> None:
        """Show the answer, the stages and the bill, as they are to be kept."""
        if self._call.show == "none":
            return
        prices = column([*(stage.spent for stage in run.stages), run.spent])
        rows = [
            (
                stage.name,
                stage.profile,
                f"{stage.ended - stage.began:.1f} s",
                len(stage.replies),
                f"{len(stage.kept)} of {len(stage.items)}" if len(stage.items) > 1 else "",
                price,
            )
            for stage, price in zip(run.stages, prices, strict=False)
        ]
        numbers = ("took", "answers", "kept", "list price")
        table = frame(("stage", "profile", "took", "answers", "kept", "list price"), rows, numbers=numbers)
        answer = run.content if self._call.show == "answer" else ""
        line = notice(run_summary(run) if self._call.cost else "")
        self._publish(stack({"text/markdown": sanitise(answer), "text/plain": clean(answer)}, table, line))


def run_summary(run: StrategyRun) -> str:
    """Return the bill of a run: `funnel · 13 calls · 5,300 -> 2,100 tok · USD 0.0316 · 8.1 s wall, 21.4 s serial`."""
    parts = [run.strategy, f"{run.calls} calls", *_sums(run, [row.mode for row in run.rows])]
    if not run.complete:
        parts.append(f"not complete: {run.stopped}")
    return " · ".join(parts)
