"""When each call of a run waited, and when it was answered: what ran in parallel."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

from victor_nb.reports.charts.axes import height, name_axis, name_rows, seconds_scale
from victor_nb.reports.charts.canvas import finish, paper
from victor_nb.reports.charts.columns import NOTHING, need, numbers, provenance, words
from victor_nb.reports.charts.header import header, swatch, symbol
from victor_nb.reports.charts.marks import EDGE, PALETTE, VERMILION, WAITING, bar, colours, points
from victor_nb.reports.charts.wording import listing, seconds, sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MOST_ROWS: Final = 30
"""Rows that can be named; of a longer run they are thinner, and the page is not longer."""
_MOST_CALLS: Final = 300
_AXIS_NAME: Final = 14.0
_WELL: Final = frozenset({"ok", "running"})


class _Span(NamedTuple):
    """One attempt, or one call as a whole: seconds from the beginning of the run."""

    call: str
    name: str
    profile: str
    status: str
    start: float
    queue: float
    latency: float

    @property
    def end(self) -> float:
        return self.start + self.latency


def gantt(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show the calls of a run over time, one row each: waiting for a place, then the provider's own time.

    Args:
        frame: One row for each call (`run.to_frame()`) or attempt (the ledger's frame): `profile`, `latency` (seconds),
            and `start` (seconds from the run's beginning to the request) or `ts` (when it was sent). Where there are
            such: `call_id` (attempts of one call share a row), `stage`, `queue` (seconds), `status`, `run_id`: of
            several runs the latest is shown.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    clock = "start" if "start" in frame.columns else "ts"
    need(frame, "gantt", ("profile", "latency", clock), source="run.to_frame(), or the ledger's frame")
    frame, which = _latest(frame)
    spans = _spans(frame, clock)
    drawn, part = _first(spans)
    rows = {call: row for row, call in enumerate(dict.fromkeys(span.call for span in drawn))}
    ax = paper(ax, height=height(min(len(rows), _MOST_ROWS)))
    names = _names(drawn, rows)
    indent = name_rows(ax, names) + (0 if any(names) else _AXIS_NAME)
    seconds_scale(ax, [span.end for span in drawn])
    name_axis(ax.yaxis, "" if any(names) else "calls")
    colour = _colours(drawn)
    for span in drawn:
        _draw(ax, rows[span.call], span, colour[span.profile])
    title, note = _title(spans), provenance(frame, "not a provider's timings")
    header(ax, title, [which, part, note], legend=_legend(drawn, colour), indent=indent)
    told = listing(f"{span.name} from {span.start:.2f} to {span.end:.2f} s" for span in drawn)
    return finish(ax, sentences(title, told, part, note))


def _first(spans: Sequence[_Span]) -> tuple[list[_Span], str]:
    """Return as many calls as can be drawn, and what to say if these are not all."""
    calls = list(dict.fromkeys(span.call for span in spans))
    if len(calls) <= _MOST_CALLS:
        return list(spans), ""
    first = set(calls[:_MOST_CALLS])
    return [span for span in spans if span.call in first], f"Drawn are the first {_MOST_CALLS:,} calls."


def _latest(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Keep the rows of the run that was started last, where there are several."""
    runs = words(frame, "run_id")
    if len(set(runs)) <= 1:
        return frame, ""
    latest = next(run for run in reversed(runs) if run)
    return frame[[run == latest for run in runs]], f"The latest of {len(set(runs) - {''}):,} runs."


def _spans(frame: pd.DataFrame, clock: str) -> list[_Span]:
    latency, queue = numbers(frame, "latency"), np.nan_to_num(numbers(frame, "queue"))
    start = numbers(frame, "start") if clock == "start" else _offsets(frame, queue)
    calls = words(frame, "call_id")
    stages, profiles = words(frame, "stage"), words(frame, "profile", missing="(no profile)")
    names = [f"{stage} · {profile}" if stage else profile for stage, profile in zip(stages, profiles, strict=True)]
    found = [
        _Span(call or f"row {row}", *rest)
        for row, (call, *rest) in enumerate(
            zip(calls, names, profiles, words(frame, "status"), start, queue, latency, strict=True)
        )
    ]
    known = [span for span in found if not math.isnan(span.latency) and not math.isnan(span.start)]
    return sorted(known, key=lambda span: (span.start, span.end))


def _offsets(frame: pd.DataFrame, queue: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return when each attempt was sent, in seconds from when the first was asked for."""
    moments = pd.to_datetime(frame["ts"], utc=True)
    if not len(moments):
        return np.array([], dtype=np.float64)
    asked = moments - pd.to_timedelta(queue, unit="s")
    return np.array((moments - asked.min()).dt.total_seconds(), dtype=np.float64)


def _names(spans: Sequence[_Span], rows: dict[str, int]) -> list[str]:
    """Name every row; of many, the first of each kind, or none where these stand too close."""
    first: dict[str, str] = {}
    for span in spans:
        first.setdefault(span.call, span.name)
    names = [first[call] for call in rows]
    if len(names) <= _MOST_ROWS:
        return names
    changes = ["" if row and names[row - 1] == name else name for row, name in enumerate(names)]
    apart = len(names) / _MOST_ROWS
    named = [row for row, name in enumerate(changes) if name]
    crowded = any(later - earlier < apart for earlier, later in pairwise(named))
    return [""] * len(names) if crowded else changes


def _draw(ax: Axes, row: int, span: _Span, colour: str) -> None:
    if span.queue > 0:
        bar(ax, row, span.start - span.queue, span.queue, "none", label="queue", **WAITING)
    bar(ax, row, span.start, span.latency, colour, label=span.profile)
    if span.status and span.status not in _WELL:
        points(ax, [span.end], [row], VERMILION, "X", label=span.status)


def _colours(spans: Sequence[_Span]) -> dict[str, str]:
    """Return a colour for each profile; for more of them than there are colours, one for all."""
    found = colours(span.profile for span in spans)
    return found if len(found) <= len(PALETTE) else dict.fromkeys(found, PALETTE[0])


def _title(spans: Sequence[_Span]) -> str:
    if not spans:
        return f"Calls over time: {NOTHING}"
    wall = max(span.end for span in spans) - min(span.start - span.queue for span in spans)
    serial = sum(span.latency for span in spans)
    calls = len({span.call for span in spans})
    if calls == 1:
        return f"1 call in {seconds(wall)}"
    return f"{calls:,} calls in {seconds(wall)}; one after the other they take {seconds(serial)}"


def _legend(spans: Sequence[_Span], colour: dict[str, str]) -> list[Artist]:
    told_apart = len(set(colour.values())) == len(colour)
    handles: list[Artist] = [swatch(profile, each) for profile, each in colour.items() if told_apart]
    handles = handles or [swatch("answering", PALETTE[0])]
    if any(span.queue > 0 for span in spans):
        handles.append(swatch("waiting for a place", "none", **WAITING))
    if any(span.status and span.status not in _WELL for span in spans):
        handles.append(symbol("failed or stopped", VERMILION, "X", markeredgecolor=EDGE))
    return handles
