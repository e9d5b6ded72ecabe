"""The charts of a run that has ended: drawn once, on a thread of their own, since each takes half a second."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from victor_nb.errors import VictorError
from victor_nb.notebook.plots import picture
from victor_nb.notebook.widgets.page import Still

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.workflows.runs import StrategyRun

_pencil: Final = threading.Lock()
"""Matplotlib draws one figure at a time; ours are figures that pyplot, and so the user's own code, does not know of."""


class RunCharts:
    """The charts of one run.

    Attributes:
        page: All of them, once they are drawn.
        error: What was wrong with one that could not be.
    """

    def __init__(self) -> None:
        self.page: Still | None = None
        self.error: VictorError | None = None

    def begin(self, run: StrategyRun, then: Callable[[], object]) -> None:
        """Draw on a thread of its own, and then do something there."""

        def draw() -> None:
            self.draw(run)
            then()

        # No daemon: Python waits for it at its end, since matplotlib's C++ cannot be left in the middle.
        threading.Thread(target=draw, name="victor-charts").start()

    def draw(self, run: StrategyRun) -> None:
        """Draw here and now, unless that was done."""
        with _pencil:
            if self.page is None:
                self.page = self._drawn(run)

    def _drawn(self, run: StrategyRun) -> Still:
        pictures: list[Still] = []
        for kind in kinds(run):
            try:
                frame = picture(run.plot(kind))
            except VictorError as error:
                self.error = error
            else:
                pictures.append(Still(f"<figure>{frame['text/html']}</figure>", frame["text/plain"]))
        html = "".join(each.html for each in pictures)
        plain = "\n".join(each.plain for each in pictures)
        return Still(f'<div class="victor-charts">{html}</div>' if html else "", plain)


def kinds(run: StrategyRun) -> tuple[str, ...]:
    """Return what is worth a chart: nothing of a run that sent nothing, a funnel only where something narrowed."""
    if not any(row.status != "refused" for row in run.rows):
        return ()
    narrowed = any(len(stage.items) > len(stage.kept) > 0 for stage in run.stages)
    return ("cost_by_stage", *(("funnel",) if narrowed else ()), "gantt")
