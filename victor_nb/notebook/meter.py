"""A bar under the cell that runs: tqdm's widget in a place of our own, so that a saved notebook keeps nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from IPython.core.getipython import get_ipython

from victor_nb.notebook.display import publisher
from victor_nb.workflows.bars import tqdm_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from victor_nb.notebook.display import Bundle
    from victor_nb.workflows.bars import Tally

_VIEW: Final = "application/vnd.jupyter.widget-view+json"


class CellMeter:
    """One bar in one place of a cell. What tqdm would display itself, a saved notebook keeps as its first state.

    Args:
        publish: Shows a frame in place of the one before.
        began: When the work began, by `time.perf_counter`.
    """

    def __init__(self, publish: Callable[[Bundle], None], began: float) -> None:
        self._publish = publish
        self._began = began
        self._bar: Any = None

    def show(self, text: str, tally: Tally) -> None:
        """Move the bar; the first time, show it."""
        new = self._bar is None
        if new:
            self._bar = tqdm_bar("tqdm.auto:tqdm", self._began, tally, display=False)
        self._bar.total, self._bar.n = tally.total, tally.done
        self._bar.set_description_str(text)
        if new:
            view = {"version_major": 2, "version_minor": 0, "model_id": self._bar.container.model_id}
            self._publish(cast("Any", {_VIEW: view, "text/plain": text}))

    def close(self) -> None:
        """Empty its place, and end its widgets."""
        if self._bar is None:
            return
        self._publish({"text/plain": ""})  # takes no room in any front end; nbconvert warns of an output without data
        self._bar.close()
        box = self._bar.container
        for widget in (*box.children, box):
            for part in (widget.layout, getattr(widget, "style", None), widget):
                if part is not None:
                    part.close()


def cell_meter(began: float) -> CellMeter | None:
    """Return a bar for the cell that runs now; None where there is no notebook, or one that tqdm draws no widget in."""
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel") or shell.__class__.__module__.startswith("spyder"):
        return None
    return CellMeter(publisher(shell), began)
