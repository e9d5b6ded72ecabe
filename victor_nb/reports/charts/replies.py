"""Who answered a fan-out how fast, and for how much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from victor_nb.reports.charts.axes import height, money_scale, name_rows, seconds_scale
from victor_nb.reports.charts.canvas import finish, panels, paper
from victor_nb.reports.charts.columns import NOTHING, groups, mean, money, need, numbers, provenance, words
from victor_nb.reports.charts.header import header, swatch, symbol, unpriced_swatch
from victor_nb.reports.charts.marks import BLUE, EDGE, ORANGE, SKY, bar, figures, points, unknown
from victor_nb.reports.charts.wording import bounded, listing, seconds, sentences, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_ANSWERED: Final = frozenset({"ok", "partial", "interrupted"})


class _Profile(NamedTuple):
    """The answers of one profile: latencies and mean TTFT in seconds, mean USD of an answer."""

    name: str
    answers: int
    asked: int
    latencies: NDArray[np.float64]
    ttft: float
    cost: float
    unpriced: int
    error: str

    @property
    def latency(self) -> float:
        return mean(self.latencies)


def replies(frame: pd.DataFrame, *, ax: Axes | None = None) -> Figure:
    """Show how long each profile of a fan-out took, to its first text and to the end, and what an answer cost.

    Args:
        frame: One row for each answer or error (`replies.to_frame()`): `profile`, `status`, `latency` and `ttft`
            (seconds), `cost` (USD), and `error`, `mode` where there are such. Of several samples or prompts the bars
            are means, and dots show each.
        ax: Where to draw, if not on a new figure.

    Raises:
        ConfigError: The frame lacks one of these columns.
    """
    need(frame, "replies", ("profile", "status", "latency", "ttft", "cost"), source="replies.to_frame()")
    profiles = [_profile(name, rows) for name, rows in groups(frame, "profile", missing="(no profile)")]
    names = [profile.name for profile in profiles]
    ax = paper(ax, height=height(len(names)))
    left, right = panels(ax, (0.0, 0.34), (0.62, 0.9))
    indent = name_rows(left, names, most=22)
    name_rows(right, names, most=0)
    _time(left, profiles)
    _cost(right, profiles)
    title, note = _title(profiles), provenance(frame)
    several = max((profile.asked for profile in profiles), default=0) > 1
    notes = ["Means of the answers of each profile; dots are single answers." if several else "", note]
    header(ax, title, notes, legend=_legend(profiles, several=several), indent=indent)
    return finish(ax, sentences(title, listing(map(_told, profiles)), note))


def _profile(name: str, rows: pd.DataFrame) -> _Profile:
    answered = np.array([status in _ANSWERED for status in words(rows, "status")], dtype=bool)
    good, bad = rows[answered], rows[~answered]
    known, unpriced = money(good) if len(good) else (float("nan"), 0)
    error = next((text.split(":")[0] for text in words(bad, "error", missing="failed")), "")
    latencies = numbers(good, "latency")
    return _Profile(
        name, len(good), len(rows), latencies, mean(numbers(good, "ttft")), known / max(len(good), 1), unpriced, error
    )


def _time(ax: Axes, profiles: Sequence[_Profile]) -> None:
    seconds_scale(ax, [float(value) for profile in profiles for value in profile.latencies])
    for row, profile in enumerate(profiles):
        if math.isnan(profile.latency):
            continue
        first = 0.0 if math.isnan(profile.ttft) else profile.ttft
        bar(ax, row, 0, first, SKY, label="to the first text")
        bar(ax, row, first, profile.latency - first, BLUE, label="to the end")
        if len(profile.latencies) > 1:
            points(ax, profile.latencies, [row] * len(profile.latencies), EDGE, "o", **_DOT)
    figures(ax, [_took(profile) for profile in profiles])


_DOT: Final = {"markersize": 3.5, "markeredgecolor": "white", "markeredgewidth": 0.6, "label": "an answer"}


def _took(profile: _Profile) -> str:
    if not profile.answers:
        return profile.error or "failed"
    failed = profile.asked - profile.answers
    return f"{seconds(profile.latency)}{f' ({failed} failed)' if failed else ''}"


def _cost(ax: Axes, profiles: Sequence[_Profile]) -> None:
    money_scale(ax, [profile.cost for profile in profiles])
    for row, profile in enumerate(profiles):
        known = float(np.nan_to_num(profile.cost))
        if profile.answers:
            bar(ax, row, 0, known, ORANGE, label=profile.name)
        if profile.unpriced:
            unknown(ax, row, known)
    figures(ax, [bounded(profile.cost, profile.unpriced) if profile.answers else "–" for profile in profiles])


def _title(profiles: Sequence[_Profile]) -> str:
    answered = [profile for profile in profiles if profile.answers and not math.isnan(profile.latency)]
    if not answered:
        return f"Latency and cost of the answers: {'none came' if profiles else NOTHING}"
    fastest = min(answered, key=lambda profile: profile.latency)
    priced = [profile for profile in answered if not profile.unpriced]
    if len(answered) == 1 or not priced:
        return f"{short(fastest.name)} answered in {seconds(fastest.latency)}"
    cheapest = min(priced, key=lambda profile: profile.cost)
    if cheapest.name == fastest.name:
        return f"{short(fastest.name)} is the fastest and the cheapest"
    return f"{short(fastest.name)} is the fastest, {short(cheapest.name)} the cheapest"


def _legend(profiles: Sequence[_Profile], *, several: bool) -> list[Artist]:
    streamed = any(not math.isnan(profile.ttft) for profile in profiles)
    handles: list[Artist] = [swatch("to the first text", SKY)] if streamed else []
    handles += [swatch("to the end", BLUE), swatch("USD for an answer", ORANGE)]
    handles += [symbol("an answer", EDGE, "o", markersize=4)] if several else []
    return [*handles, *unpriced_swatch(shown=any(profile.unpriced for profile in profiles))]


def _told(profile: _Profile) -> str:
    if not profile.answers:
        return f"{profile.name} failed ({profile.error})"
    return f"{profile.name} {_took(profile)}, USD {bounded(profile.cost, profile.unpriced)}"
