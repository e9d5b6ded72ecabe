"""What charts are drawn with: colours, bars, lines, points, and figures at the end of a row."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from victor_nb.reports.charts.wording import SMALL, drawable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes

BLUE: Final = "#0072B2"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
YELLOW: Final = "#F0E442"
GREY: Final = "#999999"
EDGE: Final = "#666666"
"""To be seen on white and on black."""
PALETTE: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)
"""Colours that the colour-blind tell apart (Okabe and Ito, "Color Universal Design", 2008). Never the only sign."""

UNKNOWN: Final[Mapping[str, Any]] = {"hatch": "////", "edgecolor": GREY, "linewidth": 0.0}
WAITING: Final[Mapping[str, Any]] = {"hatch": "....", "edgecolor": GREY, "linewidth": 0.6}

_BAR: Final = 0.62
"""Height of a bar in rows."""


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name, in the order in which they come."""
    return dict(zip(dict.fromkeys(names), cycle(PALETTE), strict=False))


def bar(ax: Axes, row: float, left: float, length: float, colour: str, **look: Any) -> None:
    """Draw a bar in a row."""
    usual: dict[str, Any] = {"height": _BAR, "color": colour, "edgecolor": EDGE, "linewidth": 0.6}
    ax.barh(row, length, left=left, **{**usual, **look})


def unknown(ax: Axes, row: float, left: float) -> None:
    """Mark in a row that something of unknown length goes on from here: a hatched band to the end of the axis."""
    bar(ax, row, left, ax.get_xlim()[1] - left, "none", label="unpriced", **UNKNOWN)


def line(ax: Axes, xs: Any, ys: Any, colour: str, **look: Any) -> None:  # noqa: ANN401 - arrays, lists, ...
    """Draw a line, or points where it has no `linestyle`."""
    usual: dict[str, Any] = {"color": colour, "linewidth": 1.0}
    ax.plot(xs, ys, **{**usual, **look})


def points(ax: Axes, xs: Any, ys: Any, colour: str, marker: str, **look: Any) -> None:  # noqa: ANN401
    """Draw points, whole even at the edge of the axes."""
    usual: dict[str, Any] = {
        "linestyle": "none",
        "markersize": 6,
        "markeredgecolor": EDGE,
        "clip_on": False,
    }
    line(ax, xs, ys, colour, marker=marker, **{**usual, **look})


def whiskers(ax: Axes, x: float, y: float, error: float, label: str) -> None:
    """Draw an error bar up and down from a point."""
    ax.errorbar(x, y, yerr=error, color=EDGE, elinewidth=0.8, capsize=2, label=label)


def rule(ax: Axes, x: float, **look: Any) -> None:
    """Draw an upright line through all rows."""
    usual: dict[str, Any] = {"color": EDGE, "linewidth": 0.8}
    ax.axvline(x, **{**usual, **look})


def band(ax: Axes, rows: Sequence[float], sides: Sequence[float]) -> None:
    """Shade what lies between two bars that are centred at 0, from half-width to half-width."""
    ax.fill_betweenx(rows, [-side for side in sides], sides, color=GREY, alpha=0.35, linewidth=0)


def figures(ax: Axes, texts: Sequence[str]) -> None:
    """Write a text at the right end of each row."""
    for row, text in enumerate(texts):
        ax.annotate(
            drawable(text),
            (1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            annotation_clip=False,
        )
