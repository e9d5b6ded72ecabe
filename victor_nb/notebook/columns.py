"""Several answers side by side in one place of a cell: tails while they grow, then one table that any reader shows."""

from __future__ import annotations

import json
from decimal import Decimal
from html import escape
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.money import usd
from victor_nb.notebook.bill import MODES, bill
from victor_nb.notebook.markdown import clean
from victor_nb.notebook.pace import Pace
from victor_nb.values import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from victor_nb.notebook.display import Bundle
    from victor_nb.notebook.grammar import MagicCall
    from victor_nb.workflows.fan_out import FanOut, Lane
    from victor_nb.workflows.replies import Entry, Replies

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

    def grow(self, fan: FanOut) -> None:
        """Show the ends of the answers so far, if it is time to."""
        texts = [lane.text for lane in fan.lanes]
        if self._pace is None or self._pace.window(sum(map(len, texts))) is None:
            return
        heads = [label(lane) for lane in fan.lanes]
        cells = [clean(f"… {text[-_TAIL:]}" if len(text) > _TAIL else text) for text in texts]
        frame = {"text/html": _table(heads, [cells])}
        self._publish(frame)
        self._pace.sent(len(json.dumps(frame)))

    def end(self, replies: Replies) -> None:
        """Show the table that is to be kept."""
        if self._call.show == "none":
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
                "text/html": _table(heads, rows) + (f"<p>{escape(clean(line))}</p>" if line else ""),
                "text/plain": "\n\n".join([*plain, *([line] if line else [])]),
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


def _billed(entry: Entry) -> str:
    return clean(bill(entry.outcome)) if isinstance(entry.outcome, Reply) else "failed"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(_HEAD.format(escape(clean(head))) for head in heads)
    body = "".join(f"<tr>{''.join(_CELL.format(escape(cell)) for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
