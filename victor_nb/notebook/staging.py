"""A strategy in a cell: its stages as they happen, then the answer, the table of stages, and the bill."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from victor_nb.accounting.money import usd
from victor_nb.notebook.bill import MODES, price
from victor_nb.notebook.markdown import clean, escape, sanitise
from victor_nb.notebook.tables import frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.notebook.display import Bundle
    from victor_nb.notebook.grammar import MagicCall
    from victor_nb.workflows.job import StrategyJob
    from victor_nb.workflows.runs import StrategyRun

_EVERY: Final = 0.25  # seconds between two frames; a table of stages changes slowly
_TAIL: Final = 160  # characters of the stage that is running
_COLUMNS: Final = ("stage", "profile", "state", "calls", "kept", "list price")


class LiveStages:
    """One strategy run in one place of a cell.

    Args:
        publish: Shows a frame in place of the one before.
        call: What is to be seen.
        watched: Whether anybody looks before it is complete.
    """

    def __init__(self, publish: Callable[[Bundle], None], call: MagicCall, *, watched: bool) -> None:
        self._publish = publish
        self._call = call
        self._watched = watched and call.show == "answer"
        self._last = 0.0

    def grow(self, job: StrategyJob) -> None:
        """Show the stages as they stand, if it is time to."""
        now = time.monotonic()
        if not self._watched or now - self._last < _EVERY:
            return
        self._last = now
        progress = job.progress
        rows = [
            (stage.name, stage.profile, stage.state, f"{stage.done} of {stage.total}", stage.kept, price(stage.cost))
            for stage in progress.stages
        ]
        tail = " ".join(progress.text[-_TAIL:].split())
        self._publish(frame(_COLUMNS, rows, above=str(progress), below=f"… {tail}" if tail else ""))

    def end(self, run: StrategyRun) -> None:
        """Show the answer, the stages and the bill, as they are to be kept."""
        if self._call.show == "none":
            return
        rows = [
            (
                stage.name,
                stage.profile,
                f"{stage.ended - stage.began:.1f} s",
                len(stage.replies),
                f"{len(stage.kept)} of {len(stage.items)}" if len(stage.items) > 1 else "",
                price(stage.cost),
            )
            for stage in run.stages
        ]
        table = frame(("stage", "profile", "took", "answers", "kept", "list price"), rows)
        answer = run.content if self._call.show == "answer" else ""
        line = summary(run) if self._call.cost else ""
        marked = [sanitise(answer) if answer else "", table["text/markdown"], escape(line).replace("-&gt;", "->")]
        plain = [clean(answer), table["text/plain"], clean(line)]
        self._publish(
            {
                "text/markdown": "\n\n".join(part for part in marked if part),
                "text/plain": "\n\n".join(part for part in plain if part),
            }
        )


def summary(run: StrategyRun) -> str:
    """Return the bill of a run: `funnel · 13 calls · 5,300 -> 2,100 tok · USD 0.0316 · 8.1 s wall, 21.4 s serial`."""
    spent, usage = run.spent, run.usage
    money = f">= {usd(spent.cost)} ({spent.unpriced} unpriced)" if spent.unpriced else usd(spent.cost)
    parts = [
        run.strategy,
        f"{run.calls} calls",
        f"{usage.input_tokens:,} -> {usage.output_tokens:,} tok",
        money,
        f"{run.wall:.1f} s wall, {run.serial:.1f} s serial",
        *dict.fromkeys(MODES[row.mode] for row in run.rows if row.mode in MODES),
    ]
    if not run.complete:
        parts.append(f"not complete: {run.stopped}")
    return " · ".join(parts)
