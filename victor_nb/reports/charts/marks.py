"""What charts are made of: colours, rows of bars, headers, axes of money and of time."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import Formatter, FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from victor_nb.reports.charts.canvas import Chart
from victor_nb.reports.charts.wording import LARGE, SMALL, clean, drawable, escaped, short, width, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

BLUE: Final = "#0072B2"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
YELLOW: Final = "#F0E442"
GREY: Final = "#999999"
PALETTE: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)
"""Colours that the colour-blind tell apart (Okabe and Ito, "Color Universal Design", 2008). Never the only sign."""

EDGE: Final = "#444444"
HATCH: Final = "////"
BAR: Final = 0.62
"""Height of a bar in rows."""

_POINTS: Final = 72
_LINE: Final = 1.35
_MARGIN: Final = 8.0
_LEGEND_ROW: Final = 13.0
_LEGEND_MARK: Final = 38.0
_ROWS_OF_TWO_LINES: Final = 8
_FEWEST_ROWS: Final = 4
_ROOM: Final = 0.22
_FEW_INCHES: Final = 1.5


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name, in the order in which they come."""
    return dict(zip(dict.fromkeys(names), cycle(PALETTE), strict=False))


def height(rows: int) -> float:
    """Return the inches that a chart of so many rows needs: the usual, and more of a long list."""
    return max(4.0, _FEW_INCHES + _ROOM * rows)


class Dollars(Formatter):
    """Says amounts in full, with as many decimals as tell the ticks apart: no `1e-7`, and no offset in a corner."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the text of one tick by itself."""
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Any) -> list[str]:  # noqa: ANN401 - as matplotlib has it: numbers, in whatever holds them
        """Return the texts of the ticks."""
        ticks = [float(value) for value in values]
        near = max(map(abs, ticks), default=0.0) * 1e-6
        exact = (d for d in range(13) if all(math.isclose(tick, round(tick, d), abs_tol=near) for tick in ticks))
        decimals = next(exact, 12)
        return [f"{tick:,.{2 if decimals == 1 else decimals}f}" for tick in ticks]


def money_axis(axis: Axis, *, ticks: int = 5) -> None:
    """Make an axis one of money."""
    _measure(axis, "USD", ticks, Dollars())


def seconds_axis(axis: Axis, *, ticks: int = 6) -> None:
    """Make an axis one of time."""
    _measure(axis, "seconds", ticks, FuncFormatter(lambda x, _: f"{x:,g}"))


def count_axis(axis: Axis, what: str, *, ticks: int = 5) -> None:
    """Make an axis one of whole numbers, whatever their sign."""
    _measure(axis, what, ticks, FuncFormatter(lambda x, _: f"{abs(x):,.0f}"))
    axis.set_major_locator(MaxNLocator(nbins=ticks, integer=True))


def _measure(axis: Axis, unit: str, ticks: int, form: Formatter) -> None:
    axis.set_major_locator(MaxNLocator(nbins=ticks))
    axis.set_major_formatter(form)
    axis.set_label_text(unit, fontsize=SMALL)
    axis.set_tick_params(labelsize=SMALL)


def plain(ax: Axes, *, grid: str = "x") -> None:
    """Take away what carries no data; leave a faint grid on one axis."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis="x" if grid == "x" else "y", color=GREY, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=SMALL)


def name_rows(ax: Axes, names: Sequence[str], *, shown: bool = True) -> float:
    """Make one row for each name, the first on top; return the points that the names take on the left."""
    lines = [_name(name, len(names)) for name in names]
    spare = max(0.0, (_FEWEST_ROWS - len(names)) / 2)
    ax.set_ylim(len(names) - 0.5 + spare, -0.5 - spare)
    ax.set_yticks(range(len(names)), lines if shown else [""] * len(names), fontsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    plain(ax)
    return max((width(part) for line in lines for part in line.split("\n")), default=0.0) + _MARGIN


def _name(name: str, rows: int) -> str:
    """Return a label of one line or, where there is room, of two."""
    said = clean(name)
    lines = wrapped(said, width("n" * 20)) if rows <= _ROWS_OF_TWO_LINES else [said]
    return escaped("\n".join(short(line) for line in (lines[0:1] + [" ".join(lines[1:])] * bool(lines[1:]))))


def bar(ax: Axes, row: float, left: float, length: float, colour: str, **look: Any) -> None:  # noqa: ANN401
    """Draw a bar in a row."""
    usual = {"height": BAR, "color": colour, "edgecolor": EDGE, "linewidth": 0.6}
    ax.barh(row, length, left=left, **{**usual, **look})


def unknown(ax: Axes, row: float, left: float) -> None:
    """Mark in a row that something of unknown length goes on from here: a hatched band to the end of the axis."""
    right = ax.get_xlim()[1]
    bar(ax, row, left, right - left, "none", hatch=HATCH, edgecolor=GREY, linewidth=0, label="unpriced")


def room(ax: Axes, ends: Iterable[float], *, spare: float = 1.04) -> None:
    """Let the axis begin at 0 and hold all ends of bars; where none is known, it has no scale."""
    longest = max((end for end in ends if not math.isnan(end)), default=0.0)
    ax.set_xlim(0, longest * spare if longest > 0 else 1.0)
    if longest <= 0:
        ax.set_xticks([0], ["0"])


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


def swatch(label: str, colour: str, **look: Any) -> Patch:  # noqa: ANN401
    """Return a legend's entry for a bar."""
    return Patch(**{"facecolor": colour, "edgecolor": EDGE, "linewidth": 0.6, "label": drawable(label), **look})


def unpriced_swatch() -> Patch:
    """Return a legend's entry for what nobody knows the price of."""
    return swatch("unpriced", "none", hatch=HATCH, edgecolor=GREY)


def symbol(label: str, colour: str, marker: str, **look: Any) -> Line2D:  # noqa: ANN401
    """Return a legend's entry for a point or, with a `linestyle`, for a line."""
    usual = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 6, "label": drawable(label)}
    return Line2D([], [], **{**usual, **look})


def header(
    ax: Axes, title: str, notes: Iterable[str] = (), *, legend: Sequence[Artist] = (), indent: float = 48.0
) -> None:
    """Write a title, notes and a legend above the axes, from their labels' left end on, each line as long as fits.

    Args:
        indent: Points that the labels take on the left of the axes.
    """
    most = _available(ax, indent)
    rise = _MARGIN + _keys(ax, legend, indent, most)
    lines = [line for note in notes if note for line in wrapped(drawable(note), most)]
    rise = _write(ax, lines, rise, indent, {"fontsize": SMALL, "alpha": 0.85})
    bold: dict[str, Any] = {"fontsize": LARGE, "fontweight": "bold"}
    _write(ax, wrapped(drawable(title), most, LARGE, "bold"), rise, indent, bold)


def _available(ax: Axes, indent: float) -> float:
    """Return how many points wide the lines of a header may be."""
    figure = ax.get_figure(root=True)
    if isinstance(figure, Chart) or figure is None:
        return (figure.get_figwidth() if figure else 6.0) * _POINTS - 2 * _MARGIN
    return max(ax.get_position().width * figure.get_figwidth() * _POINTS + indent, 120.0)


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
    scale: Any = getattr(ax.get_figure(root=True), "dpi_scale_trans", mpl.transforms.IdentityTransform())
    place = ax.transAxes + ScaledTranslation(-indent / _POINTS, _MARGIN / 2 / _POINTS, scale)
    ax.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=place,
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
