"""`%victor plot KIND`: a chart of the last run, of the last fan-out, or of the ledger."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any, Final

from victor_nb.errors import MagicError, did_you_mean
from victor_nb.workflows.replies import Replies
from victor_nb.workflows.runs import StrategyRun

if TYPE_CHECKING:
    from victor_nb.notebook.display import Bundle
    from victor_nb.session import Session

_OF_A_RUN: Final = ("cost_by_stage", "funnel", "gantt")
_OF_REPLIES: Final = ("replies",)
_OF_THE_LEDGER: Final = ("spend_over_time", "tokens_vs_cost")
KINDS: Final = (*_OF_A_RUN, *_OF_REPLIES, *_OF_THE_LEDGER)
"""What can be charted without naming a frame; `victor_nb.reports.charts` has those that compare."""


def plot(home: Session, words: list[str]) -> Bundle:
    """Return a chart as a frame: a picture, and a sentence that says what is on it.

    Raises:
        MagicError: There is no such chart, or nothing to draw.
    """
    if len(words) != 1 or words[0] not in KINDS:
        close = did_you_mean(words[0], KINDS) if words else None
        hint = f"Did you mean {close}?" if close else f"Known: {' '.join(KINDS)}."
        raise MagicError(f"%victor plot takes one kind, such as %victor plot spend_over_time. {hint}")
    return picture(pkgutil.resolve_name("victor_nb.reports.charts:plot")(words[0], _source(home, words[0])))


def picture(figure: Any) -> Bundle:  # noqa: ANN401 - a matplotlib figure, which only reports knows
    """Return a figure as a frame; the alt text of a plain PNG is lost in a notebook."""
    html: str = pkgutil.resolve_name("victor_nb.reports.charts:html_image")(figure)
    return {"text/html": html, "text/plain": str(getattr(figure, "alt", ""))}


def _source(home: Session, kind: str) -> object:
    if kind in _OF_REPLIES:
        if not isinstance(home.last, Replies):
            raise MagicError(f"%victor plot {kind} charts a fan-out. Ask several first: %%victor profiles=fast,local.")
        return home.last
    if kind in _OF_A_RUN:
        if isinstance(home.last, StrategyRun):
            return home.last
        if kind != "gantt":
            raise MagicError(f"%victor plot {kind} charts a strategy. Run one first: %%victor strategy=funnel.")
    frame = home.ledger.to_frame()
    if not len(frame):
        raise MagicError(f"%victor plot {kind} has nothing to draw: nothing has been asked yet.")
    return frame
