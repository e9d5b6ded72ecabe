"""What stands above a chart: a title that says what is seen, notes, and a legend."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import IdentityTransform, ScaledTranslation

from victor_nb.reports.charts.axes import MARGIN
from victor_nb.reports.charts.canvas import INCHES, Chart
from victor_nb.reports.charts.marks import EDGE, UNKNOWN
from victor_nb.reports.charts.wording import LARGE, SMALL, drawable, width, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_POINTS: Final = 72
_LINE: Final = 1.35
_LEGEND_ROW: Final = 13.0
_LEGEND_MARK: Final = 32.0
_NARROWEST: Final = 120.0


def swatch(label: str, colour: str, **look: Any) -> Patch:
    """Return a legend's entry for a bar."""
    usual: dict[str, Any] = {"facecolor": colour, "edgecolor": EDGE, "linewidth": 0.6, "label": drawable(label)}
    return Patch(**{**usual, **look})


def unpriced_swatch(*, shown: bool) -> list[Artist]:
    """Return a legend's entry for what nobody knows the price of, where there is such."""
    return [swatch("unpriced", "none", **UNKNOWN)] if shown else []


def symbol(label: str, colour: str, marker: str, **look: Any) -> Line2D:
    """Return a legend's entry for a point or, with a `linestyle`, for a line."""
    usual: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 6}
    usual["label"] = drawable(label)
    return Line2D([], [], **{**usual, **look})


def header(
    ax: Axes, title: str, notes: Iterable[str] = (), *, legend: Sequence[Artist] = (), indent: float = 48.0
) -> None:
    """Write a title, notes and a legend above the axes, broken into lines that fit.

    Args:
        ax: Above which.
        title: What is to be seen.
        notes: What must be known to read it; empty ones are left out.
        legend: Its entries.
        indent: Points that the labels take on the left of the axes: the lines begin where these begin.
    """
    most = _available(ax, indent)
    rise = MARGIN + _keys(ax, legend, indent, most)
    lines = [line for note in notes for line in wrapped(drawable(note), most)]
    rise = _write(ax, lines, rise, indent, {"fontsize": SMALL, "alpha": 0.85})
    bold: dict[str, Any] = {"fontsize": LARGE, "fontweight": "bold"}
    _write(ax, wrapped(drawable(title), most, LARGE, "bold"), rise, indent, bold)


def _available(ax: Axes, indent: float) -> float:
    """Return how many points wide the lines of a header may be."""
    figure = ax.get_figure(root=True)
    if isinstance(figure, Chart) or figure is None:
        return INCHES[0] * _POINTS - 2 * MARGIN
    return max(ax.get_position().width * figure.get_figwidth() * _POINTS + indent, _NARROWEST)


def _write(ax: Axes, lines: Sequence[str], rise: float, indent: float, look: Mapping[str, Any]) -> float:
    """Write lines that end `rise` points above the axes; return how high the next may begin."""
    if not lines:
        return rise
    ax.annotate(
        "\n".join(lines),
        (0, 1),
        xycoords="axes fraction",
        xytext=(-indent, rise),
        textcoords="offset points",
        va="bottom",
        linespacing=_LINE,
        annotation_clip=False,
        **look,
    )
    return rise + len(lines) * look["fontsize"] * _LINE + 3


def _keys(ax: Axes, handles: Sequence[Artist], indent: float, most: float) -> float:
    """Draw the legend, in as many columns as fit; return how high it is."""
    if not handles:
        return 0.0
    columns = _columns([width(str(handle.get_label())) + _LEGEND_MARK for handle in handles], most)
    scale: Any = getattr(ax.get_figure(root=True), "dpi_scale_trans", IdentityTransform())
    ax.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=ax.transAxes + ScaledTranslation(-indent / _POINTS, MARGIN / 2 / _POINTS, scale),
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.6,
        columnspacing=1.2,
        labelspacing=0.4,
    )
    return math.ceil(len(handles) / columns) * _LEGEND_ROW


def _columns(widths: Sequence[float], most: float) -> int:
    """Return the most columns in which a legend fits; it fills one after the other."""
    for columns in range(len(widths), 1, -1):
        rows = math.ceil(len(widths) / columns)
        if sum(max(widths[at : at + rows]) for at in range(0, len(widths), rows)) <= most:
            return columns
    return 1
