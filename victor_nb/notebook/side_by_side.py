"""What a cell shows of many answers: columns or rows of a fan-out, and the stages of a strategy run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING, Final, cast

from victor_nb.money import Total, column
from victor_nb.notebook.display import HEAVIEST, Live, amount, bill, tail, weight
from victor_nb.notebook.markdown import (
    Bundle,
    as_html,
    clean,
    escape,
    frame,
    line_html,
    notice,
    sanitise,
    stack,
    words_of,
)
from victor_nb.tables import Html
from victor_nb.values import UNPAID, Reply
from victor_nb.workflows.fan_out import label
from victor_nb.workflows.progress_bar import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from victor_nb.workflows.engine import StrategyJob
    from victor_nb.workflows.fan_out import Entry, FanOut, Lane, Replies
    from victor_nb.workflows.runs import StageResult, StrategyRun

_MOST_COLUMNS: Final = 6  # answers side by side; more stand in rows
_BEGINNING: Final = 200  # characters of each answer that stands in a row
_ROWS: Final = 12  # answers that are shown in rows while they grow
_ROWS_EVERY: Final = 0.5  # seconds between two frames of these
_MOST_ROWS: Final = 200  # answers in the table that is kept
_MOST_SHOWN: Final = 20_000  # characters of each answer that is kept
_MOST_HTML: Final = 300_000  # characters of the answers in rows that open; a notebook holds them three times
_GROWING: Final = 20_000  # characters of all columns together while they grow
_CODE_WIDTH: Final = 100  # characters of code that a page of 1,000 pixels has room for, in all columns together
_CODE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)

_STAGES_EVERY: Final = 0.25  # seconds between two frames; a table of stages changes slowly
_STAGE_TAIL: Final = 4_000  # characters of the stage that is running
_STAGES: Final = ("stage", "profile", "state", "calls", "kept", "list price")

# JupyterLab aligns cells to the right and to the middle; GitHub drops styles, and keeps the other attributes.
_LOOK: Final = 'align="left" valign="top" style="text-align:left;vertical-align:top;overflow-wrap:anywhere{}"'
_EDGE: Final = ";border-left:1px solid rgba(128,128,128,.35)"  # is seen on white and on black
# MathJax 3 and 4 read the one class, MathJax 2 the other.
_FRAME: Final = '<div class="mathjax_ignore tex2jax_ignore">{}</div>'


@dataclass(frozen=True, slots=True)
class Column:
    """One answer of several.

    Attributes:
        head: Who answered.
        text: Its Markdown.
        foot: Its bill, or how far it is.
        marks: What it is the best in.
    """

    head: str
    text: str
    foot: str
    marks: str = ""


class LiveColumns(Live["FanOut", "Replies"]):
    """The answers of one fan-out in one place of a cell."""

    _seen: object = None

    def grow(self, fan: FanOut) -> None:
        """Show the answers so far, if it is time to; of many, how many have come and the ends of some."""
        of_many = len(fan.lanes) > _MOST_COLUMNS
        if self._pace is None or not (self._is_due(_ROWS_EVERY) if of_many else self._pace.is_due()):
            return
        seconds, most = f"{self._pace.seconds} s", _GROWING
        seen = [(lane.outcome is None, len(lane.text), _is_thinking(lane)) for lane in fan.lanes]
        if self._seen == (seconds, seen):
            return
        self._seen = seconds, seen
        if self._call.bg and not any(length for _, length, _ in seen):
            return  # its card says how to get at the answers, until one comes
        if of_many:
            self._show_for_now({"text/html": _rows_html(*_ends(fan.lanes, seconds))})
            return
        while weight(found := {"text/html": _columns_html(*_so_far(fan.lanes, seconds, most))}) > HEAVIEST:
            most = most * 9 // 10
        self._show_for_now(found)

    def end(self, replies: Replies) -> None:
        """Show the answers as they are to be kept."""
        call = self._call
        if call.show != "none":
            name = call.out or "session().last"
            self._publish(replies_frame(replies, name, texts=call.show == "answer", bills=call.cost))


# --- while they grow ---


def _so_far(lanes: Sequence[Lane], seconds: str, most: int) -> tuple[list[Column], list[str]]:
    """Return the columns as they stand, with `most` characters in all, and a line for each answer that has failed."""
    answering = [lane for lane in lanes if lane.outcome is None or isinstance(lane.outcome, Reply)]
    texts = [lane.outcome.content if isinstance(lane.outcome, Reply) else lane.text for lane in answering]
    columns: list[Column] = []
    for lane, text, size in zip(answering, texts, shares(list(map(len, texts)), most), strict=True):
        cut = size < len(text)
        doing = amount(text) if text else "thinking" if _is_thinking(lane) else "asking"
        state = f"{doing} · {seconds}{' · its end' if cut else ''}"
        foot = bill(lane.outcome) if isinstance(lane.outcome, Reply) else state
        columns.append(Column(label(lane), tail(text, size) if cut else text, foot))
    return columns, [_note(lane.entry()) for lane in lanes if lane not in answering]


def _ends(lanes: Sequence[Lane], seconds: str) -> tuple[list[Column], list[str]]:
    """Return the ends of some of the answers that are growing, and a line about all."""
    growing = [lane for lane in lanes if lane.outcome is None]
    speaking = [(lane, text) for lane in growing if (text := lane.text)][:_ROWS]
    line = f"{Tally.of(lanes, total=len(lanes))} · {len(growing)} under way · {seconds}"
    return [Column(label(lane), f"… {_flat(text[-_BEGINNING:])}", amount(text)) for lane, text in speaking], [line]


def shares(sizes: Sequence[int], most: int) -> list[int]:
    """Return how much of each text may be shown, `most` in all: the short ones whole, the long ones alike."""
    left, shown = most, list(sizes)
    for rank, place in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shown[place] = min(sizes[place], left // (len(sizes) - rank))
        left -= shown[place]
    return shown


def _is_thinking(lane: Lane) -> bool:
    """Return whether the model reasons, and writes nothing yet, as far as its stream says so."""
    return lane.call is not None and lane.call.thinking


# --- as they are kept ---


def replies_frame(replies: Replies, name: str = "", *, texts: bool = True, bills: bool = True) -> Bundle:
    """Return replies as they are kept: side by side, each with its bill; more than six in rows.

    Args:
        replies: What came of a fan-out.
        name: What holds them, where that is known.
        texts: Whether the answers are shown.
        bills: Whether their bills are.
    """
    lines = [replies_summary(replies)] if bills else []
    answers = [entry for entry in replies.entries if _has_come(entry)]
    if len(answers) > _MOST_COLUMNS:
        return _rows_frame(replies, lines, name, texts=texts, bills=bills)
    marks = _marks(answers)
    columns = [
        Column(
            label(entry),
            _whole(entry, name) if texts else "",
            _bill_of(entry) if bills else "",
            " · ".join(marks.get(place, ())),
        )
        for place, entry in enumerate(answers)
    ]
    lines = [*(_note(entry) for entry in replies.entries if entry not in answers), *lines]
    blocks = [
        [f"**{escape(each.head)}**{_after(each.marks)}", sanitise(each.text), escape(each.foot)] for each in columns
    ]
    blocks.append(list(map(escape, lines)))
    plain = [f"[{each.head}]{_after(each.marks)}\n{each.text}\n\n{each.foot}".strip() for each in columns]
    return {
        "text/html": _columns_html(columns, lines),
        # For PDF and LaTeX, where HTML does not count: one below the other.
        "text/markdown": "\n\n---\n\n".join("\n\n".join(filter(None, block)) for block in blocks if any(block)),
        "text/plain": clean("\n\n".join([*plain, *lines])),
    }


def _rows_frame(replies: Replies, lines: list[str], name: str, *, texts: bool, bills: bool) -> Bundle:
    """Return many replies as they are kept: a row for each, in which a long answer opens."""
    entries = replies.entries[:_MOST_ROWS]
    words = [[label(entry)] for entry in entries]
    if texts:
        lines = [*lines, _whereabouts(replies, name)]
        for entry, cells in zip(entries, words, strict=True):
            cells.append(_beginning(entry))
    if bills:
        for entry, cells in zip(entries, words, strict=True):
            cells.append(_bill_of(entry))
    heads = ["answer", *(["text"] * texts), *(["bill"] * bills)]
    html = [[line_html(cell) for cell in cells] for cells in words]
    room = _MOST_HTML if texts else 0
    for entry, cells in zip(entries, html, strict=True):
        if room > 0 and _has_come(entry):
            cells[1] = _opening(entry, cells[1], name)
            room -= len(cells[1])
    return {
        "text/html": _FRAME.format(_paragraph(lines) + _table(heads, html, (15, 65, 20))),
        "text/markdown": "\n\n".join([*map(escape, lines), frame(heads, words)["text/markdown"]]),
        "text/plain": clean("\n\n".join([*lines, "\n".join(f"[{head}] {' · '.join(rest)}" for head, *rest in words)])),
    }


def _whereabouts(replies: Replies, name: str) -> str:
    """Return where the texts are of which a table has only the beginnings."""
    left_out = len(replies.entries) - _MOST_ROWS
    more = f"{left_out:,} further answers and the" if left_out > 0 else "The"
    return f"{more} whole texts are in {name or 'its .entries'}; {name}.to_frame() has them as a table."


def replies_summary(replies: Replies) -> str:
    """Return the bill of all: tokens, list price, wall and serial seconds, and the profiles that failed."""
    ok, failed = replies.ok, replies.failed
    modes = [part.mode for entry in replies.entries for part in entry.parts]
    parts = [f"{len(ok)} answer{'s' * (len(ok) != 1)}", *_sums(replies, modes, replies.ok)]
    if failed:
        count = sum(not isinstance(entry.outcome, Reply) for entry in replies.entries)
        names = ", ".join(f"{name} ({type(error).__name__})" for name, error in failed.items())
        parts.append(f"{count} of {len(replies.entries)} failed: {names}")
    return " · ".join(parts)


def _sums(result: Replies | StrategyRun, modes: Iterable[str], replies: Iterable[Reply]) -> list[str]:
    """Return the tokens, list price and seconds of several calls, and how many of what was not paid there are."""
    usage = result.usage
    return [
        f"{usage.input_tokens:,} -> {usage.output_tokens:,} tok",
        str(result.spent),
        f"{result.wall:.1f} s wall, {result.serial:.1f} s serial",
        *dict.fromkeys(UNPAID[mode] for mode in modes if mode in UNPAID),
        *([f"{reused} reused"] if (reused := sum(reply.made is not None for reply in replies)) else []),
    ]


def _has_come(entry: Entry) -> bool:
    """Return whether there is an answer to show; of a call that was stopped, there may be nothing."""
    return isinstance(entry.outcome, Reply) and bool(entry.outcome.content or entry.outcome.status == "ok")


def _marks(answers: Sequence[Entry]) -> Mapping[int, list[str]]:
    """Return which of several whole answers to one prompt are the cheapest and the fastest, as far as it shows."""
    whole = {
        place: entry.outcome
        for place, entry in enumerate(answers)
        if isinstance(entry.outcome, Reply) and entry.outcome.status == "ok" and entry.outcome.made is None
    }
    found: dict[int, list[str]] = {}
    if len(whole) < 2 or any(entry.prompt for entry in answers):  # noqa: PLR2004 - one alone is no best
        return found
    costs = {place: reply.cost for place, reply in whole.items() if reply.cost is not None}
    known = "" if len(costs) == len(whole) else " known"
    seconds = {place: round(reply.latency, 1) for place, reply in whole.items()}  # as bills show them: less is noise
    for name, figures in ((f"cheapest{known}", costs), ("fastest", seconds)):
        best = [place for place, figure in figures.items() if figure == min(figures.values())]
        if len(best) == 1 < len(figures):  # of two alike neither is the best
            found.setdefault(best[0], []).append(name)
    return found


def _whole(entry: Entry, name: str) -> str:
    """Return the text of an answer; of a very long one the beginning, and where the rest is."""
    text = cast("Reply", entry.outcome).content
    if len(text) <= _MOST_SHOWN:
        return text
    where = f"{name} has all" if name else "the reply has all"
    return f"{text[:_MOST_SHOWN]}\n\n[The display ends here: {_MOST_SHOWN:,} of {len(text):,} characters; {where}.]"


def _outcome(entry: Entry) -> str:
    if isinstance(entry.outcome, Reply):
        return entry.outcome.content
    return f"{type(entry.outcome).__name__}: {entry.outcome}"


def _beginning(entry: Entry) -> str:
    """Return the beginning of an answer or an error, on one line."""
    line = words_of(_outcome(entry)[: 4 * _BEGINNING])
    return line if len(line) <= _BEGINNING else f"{line[:_BEGINNING]}…"


def _flat(text: str) -> str:
    return " ".join(clean(text).split())


def _note(entry: Entry) -> str:
    """Return a line about an answer that has not come."""
    if isinstance(entry.outcome, Reply):
        return f"{label(entry)}: stopped before any text had come"
    spent = Total.of(entry.parts)
    paid = f" · {spent}" if spent.cost or spent.unpriced else ""
    return f"{label(entry)} failed: {_outcome(entry)}{paid}"


def _bill_of(entry: Entry) -> str:
    if isinstance(entry.outcome, Reply):
        return bill(entry.outcome)
    spent = Total.of(entry.parts)
    return f"failed · {spent}" if spent.cost or spent.unpriced else "failed"


# --- as HTML ---


def _after(marks: str) -> str:
    return f" · {marks}" if marks else ""


def _columns_html(columns: Sequence[Column], lines: Iterable[str]) -> str:
    """Return equal columns with small lines below them, which need no style, script or class to be read."""
    abreast = _abreast(columns)
    tables = [_beside(columns[place : place + abreast]) for place in range(0, len(columns), abreast)]
    return _FRAME.format("".join(tables) + _paragraph(lines))


def _abreast(columns: Sequence[Column]) -> int:
    """Return how many columns stand side by side: two, where lines of code are too long for so many as there are."""
    code = (line for each in columns for _, block in _CODE.findall(each.text) for line in block.splitlines())
    widest = max(map(len, code), default=0)
    return max(1, len(columns)) if widest * len(columns) <= _CODE_WIDTH else 2


def _beside(columns: Sequence[Column]) -> str:
    """Return equal columns."""
    texts = [as_html(each.text, narrow=True) for each in columns]
    feet = [_small(each.foot) if each.foot else Html("") for each in columns]
    rows = [row for row in (texts, feet) if any(row)]
    heads = [line_html(each.head) + (f"<br>{_small(each.marks)}" if each.marks else "") for each in columns]
    return _table(heads, rows, [100 // len(columns)] * len(columns))


def _rows_html(rows: Sequence[Column], lines: Iterable[str]) -> str:
    cells = [[line_html(cell) for cell in (row.head, row.foot, row.text)] for row in rows]
    table = _table(("answer", "so far", "its end"), cells, (15, 15, 70)) if rows else ""
    return _FRAME.format(_paragraph(lines) + table)


def _opening(entry: Entry, beginning: Html, name: str) -> Html:
    """Return an answer rendered; a long one behind its beginning, which a click opens."""
    text = as_html(_whole(entry, name), narrow=True)
    short = len(_outcome(entry)) <= _BEGINNING
    return text if short else Html(f"<details><summary>{beginning}</summary>{text}</details>")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> str:
    """Return cells of HTML as a table as wide as its place, whose columns have these widths in percent."""
    looks = [_LOOK.format(_EDGE if place else "") for place in range(len(heads))]
    names = "".join(
        f'<th scope="col" width="{width}%" {look}>{head}</th>'
        for head, width, look in zip(heads, widths, looks, strict=False)
    )
    body = "".join(
        f"<tr>{''.join(f'<td {look}>{cell}</td>' for cell, look in zip(row, looks, strict=True))}</tr>\n"
        for row in rows
    )
    start = '<table width="100%" style="width:100%;table-layout:fixed">'
    return f"{start}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _small(line: str) -> Html:
    return Html(f"<small>{line_html(line)}</small>")


def _paragraph(lines: Iterable[str]) -> str:
    inside = "<br>".join(map(line_html, lines))
    return f"<p><small>{inside}</small></p>" if inside else ""


# --- a strategy ---


class LiveStages(Live["StrategyJob", "StrategyRun"]):
    """The stages of one strategy run in one place of a cell."""

    def grow(self, job: StrategyJob) -> None:
        """Show the stages as they stand, and the text that is being written, if it is time to."""
        if not self._is_due(_STAGES_EVERY):
            return
        progress = job.progress
        rows = [
            (stage.name, stage.profile, stage.state, f"{stage.done} of {stage.total}", stage.kept, stage.spent)
            for stage in progress.stages
        ]
        text = tail(progress.text, _STAGE_TAIL)
        below = {"text/markdown": sanitise(text), "text/plain": clean(text)}
        self._show_for_now(stack(frame(_STAGES, rows, above=str(progress), numbers=_STAGES[3:]), below))

    def end(self, run: StrategyRun) -> None:
        """Show the answer, the stages and the bill, as they are to be kept."""
        if self._call.show != "none":
            self._publish(run_frame(run, texts=self._call.show == "answer", bills=self._call.cost))


def run_frame(run: StrategyRun, *, texts: bool = True, bills: bool = True) -> Bundle:
    """Return a run as it is kept: the answer, the stages, and what all of it cost.

    Args:
        run: A strategy that has ended.
        texts: Whether its answer is shown.
        bills: Whether the bill of the whole run is.
    """
    stages = run.stages
    columns: dict[str, list[object]] = {
        "stage": [stage.name for stage in stages],
        "profile": [stage.profile for stage in stages],
        "took": [f"{stage.ended - stage.began:.1f} s" for stage in stages],
        "answers": [len(stage.replies) for stage in stages],
        "kept": [f"{len(stage.kept)} of {len(stage.items)}" if len(stage.items) > 1 else "" for stage in stages],
        "list price": [*column([*(stage.spent for stage in stages), run.spent])[: len(stages)]],
    }
    if not any(columns["kept"]):
        del columns["kept"]
    rows = list(zip(*columns.values(), strict=True))
    table = frame(tuple(columns), rows, numbers=("took", "answers", "kept", "list price"))
    answer = run.content if texts else ""
    line = notice(run_summary(run) if bills else "")
    return stack({"text/markdown": sanitise(answer), "text/plain": clean(answer)}, table, line)


def stage_frame(stage: StageResult) -> Bundle:
    """Return a stage as it is shown where it is the value of a cell: what it kept, best first, what it dropped, a bill.

    One item that nothing was dropped beside is shown as the answer that it is.
    """
    count = f"kept {len(stage.kept)} of {len(stage.items)}" if len(stage.items) > 1 else ""
    took = f"{stage.ended - stage.began:.1f} s"
    parts = [stage.name, stage.profile, count, str(stage.spent), took, "" if stage.state == "done" else stage.state]
    lines = [*stage.notes, " · ".join(filter(None, parts))]
    texts = {"text/markdown": _kept_and_dropped(stage, sanitise), "text/plain": _kept_and_dropped(stage, clean)}
    return stack(texts, *map(notice, lines))


def _kept_and_dropped(stage: StageResult, safe: Callable[[str], str]) -> str:
    """Return the items of a stage as a numbered list and one with bullets; a single one as it is."""
    if len(stage.items) <= 1 and not stage.dropped:
        return safe(tail(stage.content, _MOST_SHOWN))
    kept = [_entry(f"{number}. ", text, safe) for number, text in enumerate(stage.kept, 1)]
    dropped = [_entry("- ", text, safe) for text in stage.dropped]
    return "\n\n".join(filter(None, ["\n".join(kept), "Dropped:" if dropped else "", "\n".join(dropped)]))


def _entry(mark: str, text: str, safe: Callable[[str], str]) -> str:
    return mark + indent(safe(tail(text, _MOST_SHOWN)), " " * len(mark)).strip()


def run_summary(run: StrategyRun) -> str:
    """Return the bill of a run: `funnel · 13 calls · 5,300 -> 2,100 tok · USD 0.0316 · 8.1 s wall, 21.4 s serial`."""
    answers = [reply for stage in run.stages for reply in stage.replies]
    sums = _sums(run, [row.mode for row in run.rows], answers)
    parts = [run.strategy, f"{run.calls} call{'s' * (run.calls != 1)}", *sums]
    if not run.complete:
        parts.append(f"not complete: {run.stopped}")
    return " · ".join(parts)
