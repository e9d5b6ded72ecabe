"""Several answers in one place of a cell: tails while they grow, then one table that any reader shows.

A few stand side by side; many are counted, and stand in rows with the beginning of each.
"""

from __future__ import annotations

import json
import time
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.money import usd
from victor_nb.notebook.bill import MODES, bill
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.pace import Pace
from victor_nb.values import Reply
from victor_nb.workflows.bars import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from victor_nb.notebook.display import Bundle
    from victor_nb.notebook.grammar import MagicCall
    from victor_nb.workflows.fan_out import FanOut, Lane
    from victor_nb.workflows.replies import Entry, Replies

_MOST_COLUMNS: Final = 6  # answers side by side; more stand in rows
_SHORT: Final = 200  # characters of each answer that stands in a row
_ROWS: Final = 12  # answers that are shown in rows while they grow
_MOST_ROWS: Final = 200  # answers in the table that is kept
_ROWS_EVERY: Final = 0.5  # seconds between two frames of these
_TAIL: Final = 240  # characters of each answer that are shown while it grows
_MOST_SHOWN: Final = 20_000  # characters of each answer in the table that is kept
# `pre`: nothing in it is Markdown, or mathematics, to any reader.
_TEXT: Final = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;background:none"
_CELL: Final = f'<td style="text-align:left;vertical-align:top"><pre style="{_TEXT}">{{}}</pre></td>'
_HEAD: Final = '<th scope="col" style="text-align:left">{}</th>'


class LiveColumns:
    """The answers of one fan-out in one place.

    Args:
        publish: Shows a frame in place of the one before.
        call: What of the answers is to be seen.
        watched: Whether anybody looks before they are complete.
    """

    def __init__(self, publish: Callable[[Bundle], None], call: MagicCall, *, watched: bool) -> None:
        self._publish = publish
        self._call = call
        self._pace = Pace() if watched and call.show == "answer" else None
        self._due = 0.0

    def grow(self, fan: FanOut) -> None:
        """Show the ends of the answers so far, if it is time to; of many, how many have come and what is said now."""
        if len(fan.lanes) > _MOST_COLUMNS:
            self._grow_in_rows(fan.lanes)
            return
        texts = [lane.text for lane in fan.lanes]
        if self._pace is None or self._pace.window(sum(map(len, texts))) is None:
            return
        heads = [label(lane) for lane in fan.lanes]
        cells = [clean(f"… {text[-_TAIL:]}" if len(text) > _TAIL else text) for text in texts]
        frame = {"text/html": _table(heads, [cells])}
        self._publish(frame)
        self._pace.sent(len(json.dumps(frame)))

    def _grow_in_rows(self, lanes: Sequence[Lane]) -> None:
        now = time.monotonic()
        if self._pace is None or now < self._due:
            return
        self._due = now + _ROWS_EVERY
        growing = [lane for lane in lanes if lane.outcome is None]
        speaking = [(label(lane), _short(lane.text)) for lane in growing if lane.text][:_ROWS]
        line = f"{Tally.of(lanes, total=len(lanes))} · {len(growing)} under way"
        self._publish({"text/html": _said_of_all(line) + (_table(("answer", "so far"), speaking) if speaking else "")})

    def end(self, replies: Replies) -> None:
        """Show the table that is to be kept: a column for each answer, of many a row with the beginning of it."""
        if self._call.show == "none":
            return
        if len(replies.entries) > _MOST_COLUMNS:
            self._end_in_rows(replies)
            return
        heads = [label(entry) for entry in replies.entries]
        answers = [_said(entry) for entry in replies.entries] if self._call.show == "answer" else None
        bills = [_billed(entry) for entry in replies.entries]
        line = summary(replies) if self._call.cost else ""
        rows = [row for row in (answers, bills if self._call.cost else None) if row is not None]
        plain = [
            f"[{head}]\n" + "\n".join(part for part in column if part)
            for head, *column in zip(heads, *rows, strict=True)
        ]
        self._publish(
            {
                "text/html": _table(heads, rows) + (_said_of_all(line) if line else ""),
                "text/plain": "\n\n".join([*plain, *([line] if line else [])]),
            }
        )

    def _end_in_rows(self, replies: Replies) -> None:
        answered, billed = self._call.show == "answer", bool(self._call.cost)
        heads = ["answer", *(["text"] if answered else []), *(["bill"] if billed else [])]
        rows = [
            (label(entry), *([_short(_said(entry))] if answered else []), *([_billed(entry)] if billed else []))
            for entry in replies.entries[:_MOST_ROWS]
        ]
        name = self._call.out or "session().last"
        left_out = len(replies.entries) - len(rows)
        more = f"{left_out:,} further answers and the" if left_out else "The"
        note = f"{more} whole texts are in {name}; {name}.to_frame() has them as a table." if answered else ""
        lines = [line for line in (summary(replies) if billed else "", note) if line]
        plain = [f"[{head}] " + " · ".join(rest) for head, *rest in rows]
        self._publish(
            {
                "text/html": "".join(map(_said_of_all, lines)) + _table(heads, rows),
                "text/plain": "\n\n".join([*lines, "\n".join(plain)]),
            }
        )


def label(lane: Lane | Entry) -> str:
    """Return what stands over a column: the profile, and which prompt or sample where there are several."""
    more = [f"prompt {lane.prompt + 1}"] if lane.prompt else []
    more += [f"sample {lane.sample + 1}"] if lane.sample else []
    return " · ".join([lane.profile, *more])


def summary(replies: Replies) -> str:
    """Return the bill of all: tokens, list price, wall and serial seconds, and who failed."""
    usage, ok, failed = replies.usage, replies.ok, replies.failed
    unpriced = sum(reply.cost is None for reply in ok)
    known = sum((reply.cost for reply in ok if reply.cost is not None), Decimal(0))
    money = f">= {usd(known)} ({unpriced} unpriced)" if unpriced else usd(known)
    parts = [
        f"{len(ok)} answers",
        f"{usage.input_tokens:,} -> {usage.output_tokens:,} tok",
        money,
        f"{replies.wall:.1f} s wall, {replies.serial:.1f} s serial",
        *dict.fromkeys(MODES[reply.mode] for reply in ok if reply.mode in MODES),
    ]
    if failed:
        count = sum(not isinstance(entry.outcome, Reply) for entry in replies.entries)
        names = ", ".join(f"{name} ({type(error).__name__})" for name, error in failed.items())
        parts.append(f"{count} of {len(replies.entries)} failed: {names}")
    return " · ".join(parts)


def _said(entry: Entry) -> str:
    if not isinstance(entry.outcome, Reply):
        return f"{type(entry.outcome).__name__}: {clean(str(entry.outcome))}"
    text = clean(entry.outcome.content)
    cut = f"\n… {len(text) - _MOST_SHOWN:,} characters more are in the reply" if len(text) > _MOST_SHOWN else ""
    return text[:_MOST_SHOWN] + cut


def _short(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(clean(text[: 4 * _SHORT]).split())
    return line if len(line) <= _SHORT else f"{line[:_SHORT]}…"


def _said_of_all(line: str) -> str:
    return f"<p>{escape(clean(line))}</p>"


def _billed(entry: Entry) -> str:
    return clean(bill(entry.outcome)) if isinstance(entry.outcome, Reply) else "failed"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(_HEAD.format(escape(clean(head))) for head in heads)
    body = "".join(f"<tr>{''.join(_CELL.format(escape(cell)) for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
