"""The drawing tools of all charts: registration, figures, axes, bars and headers.

matplotlib is imported when something is drawn, so that the names of charts cost nothing.
"""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from contextlib import suppress
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from victor_nb.errors import ConfigError
from victor_nb.reports.charts.text import EDGE, GREY, MARGIN, POINTS, SMALL, drawable, in_usd, row_name, width, wrapped
from victor_nb.runtime import Runtime, current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

BLUE: Final = "#0072B2"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
YELLOW: Final = "#F0E442"
PALETTE: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, "#7A68C8", "#999933", "#8C564B", YELLOW)
"""Colours that the colour-blind tell apart (Okabe and Ito, "Color Universal Design", 2008), and between the last two of
these a violet, an olive and a brown. Never the only sign."""

UNKNOWN: Final[Mapping[str, Any]] = {"hatch": "////", "edgecolor": GREY, "linewidth": 0.0}
_LINE: Final = 1.35  # height of a line of text, in font sizes
TITLE: Final = 12.5  # points of a title


_SEEN: Final[WeakKeyDictionary[Runtime, dict[str, int]]] = WeakKeyDictionary()


def colours(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each profile: the same in every chart of a kernel, in the order of `profiles.yaml`.

    A model that a profile names has the colour of the profile.
    """
    runtime, wanted = current(), list(names)
    with runtime.lock:
        seen = _SEEN.setdefault(runtime, {})
        with suppress(ConfigError):
            for name, profile in runtime.settings.profiles.items():
                seen.setdefault(profile.model, seen.setdefault(name, len({*seen.values()})))
        for name in wanted:
            seen.setdefault(name, len({*seen.values()}))
        return {name: PALETTE[seen[name] % len(PALETTE)] for name in wanted}


def pale(colour: str) -> str:
    """Return a colour that is paler on any page."""
    return f"{colour}66"


# --- the charts by name ---

Source: TypeAlias = Literal["calls", "stages", "replies", "ledger", "comparison"]
"""Where the frame comes from: a run's calls or stages, a fan-out's replies, the ledger, or `compare(...)`."""
Draw = TypeVar("Draw", bound="Callable[..., Figure]")


class Kind(NamedTuple):
    """A kind of chart: the function that draws it, and the sources that it can be drawn from, the best one first."""

    draw: Callable[..., Figure]
    sources: tuple[Source, ...]


KINDS: Final[dict[str, Kind]] = {}
"""Every chart by its name, sorted."""


def chart(*sources: Source) -> Callable[[Draw], Draw]:
    """Register a function `(frame, *, ax=None, ...) -> Figure` as the chart of its name."""

    def register(draw: Draw) -> Draw:
        known = {**KINDS, str(getattr(draw, "__name__", "")): Kind(draw, sources)}
        KINDS.clear()
        KINDS.update(sorted(known.items()))
        return draw

    return register


# --- figures ---


_FEW_ROWS: Final = 8
_BARS: Final = 110.0  # points that bars are long at least, if names can be shorter
_SHORTEST: Final = 12  # characters of a name
_ROW, _THIN_ROW = 0.38, 0.24  # inches that one of few rows, and one of many, is high


def paper(ax: Axes | None, *, rows: int = 0, body: float = 2.3) -> Axes:
    """Return where to draw: the axes that were given, or those of a new chart, `body` inches high, or so many rows."""
    from victor_nb.reports.charts.figure import Chart

    if ax is not None:
        return ax
    high = max(_ROW * min(rows, _FEW_ROWS), _THIN_ROW * rows, 2 * _ROW) if rows else body
    return Chart(body=high).add_subplot(facecolor="none")


def nothing(ax: Axes | None, sentence: str) -> Figure:
    """Return a figure without data: a sentence in place of axes that show nothing."""
    ax = paper(ax, rows=1)
    ax.set_axis_off()
    lines = "\n".join(wrapped(drawable(sentence), _available(ax, 0.0), TITLE))
    ax.annotate(lines, (0, 0.5), xycoords="axes fraction", va="center", fontsize=TITLE, color=EDGE)
    figure = finish(ax, sentence)
    if not getattr(figure, "sentence", "other charts"):
        setattr(figure, "sentence", sentence)  # noqa: B010 - a figure of pyplot's has no such attribute
    return figure


def finish(ax: Axes, *sentences: str) -> Figure:
    """Return the figure of the axes with its alt text; that of a figure with several charts describes each in turn.

    Raises:
        ConfigError: The axes were taken out of their figure.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ConfigError("These axes belong to no figure. Make new ones, or leave `ax` out.")
    alt = [getattr(figure, "alt", ""), *(f"{sentence.rstrip('. ')}." for sentence in sentences if sentence)]
    setattr(figure, "alt", " ".join(alt).strip())  # noqa: B010 - a figure of pyplot's has no such attribute yet
    return figure


# --- axes ---

_FEW_DECADES, _MOST_DECADES = 4, 6  # of a logarithmic axis: with ticks between them, and with a tick each
_UNITS: Final = {"seconds": "{x:,g}", "tokens": "{x:,.0f}"}


def scale(ax: Axes, ends: Iterable[float], what: str = "USD") -> None:
    """Make the horizontal axis one of USD, seconds or tokens, from 0 to the end of the longest bar."""
    from matplotlib.ticker import StrMethodFormatter

    from victor_nb.reports.charts.figure import Dollars, Fitting

    form = StrMethodFormatter(_UNITS[what]) if what in _UNITS else Dollars()
    longest = max((end for end in ends if end > 0), default=0.0)
    ax.set_xlim(0, longest * 1.04 or 1.0)
    ax.xaxis.set_major_locator(Fitting(form))
    ax.xaxis.set_major_formatter(form)
    name_axis(ax.xaxis, what)
    if not longest:
        no_scale(ax.xaxis, 0)


def money_axis(axis: Axis, what: str = "USD") -> None:
    """Make an axis one of USD."""
    from matplotlib.axis import XAxis
    from matplotlib.ticker import MaxNLocator

    from victor_nb.reports.charts.figure import Dollars, Fitting

    form = Dollars()
    axis.set_major_locator(Fitting(form) if isinstance(axis, XAxis) else MaxNLocator(nbins=6))
    axis.set_major_formatter(form)
    name_axis(axis, what)


def wide_axis(ax: Axes, low: float, high: float, what: str, *, zero: bool) -> None:
    """Make the horizontal axis a logarithmic one of USD, from `low` to `high`; a 0 has a place of its own on the left.

    Args:
        ax: Which.
        low: The lowest amount above 0.
        high: The highest.
        what: What the axis measures.
        zero: Whether there are amounts of 0.
    """
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    from victor_nb.reports.charts.figure import Dollars

    if zero:
        ax.set_xscale("symlog", linthresh=low / 1.5, linscale=0.3)
    else:
        ax.set_xscale("log")
    ax.set_xlim(-low / 6 if zero else low / 2, high * 2)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1.0,) if len(decades) > _FEW_DECADES else (1.0, 3.0)
    found = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [0.0] * zero + [tick for tick in found if low / 1.5 <= tick <= high * 2]
    ax.xaxis.set_major_locator(FixedLocator(ticks[:: math.ceil(len(ticks) / _MOST_DECADES)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(Dollars(each=True))
    ax.xaxis.set_minor_formatter(NullFormatter())
    name_axis(ax.xaxis, f"{what} (logarithmic{', with a 0' if zero else ''})")


def name_axis(axis: Axis, what: str) -> None:
    """Write what an axis measures."""
    axis.set_label_text(what, fontsize=SMALL, color=EDGE)
    axis.set_tick_params(which="both", labelsize=SMALL, color=EDGE, labelcolor=EDGE)
    axis.get_offset_text().set(fontsize=SMALL, color=EDGE)


def no_scale(axis: Axis, *ticks: float) -> None:
    """Leave only the ticks that are true of an axis without a scale."""
    axis.set_ticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])


def plain(ax: Axes, *, grid: Literal["x", "y", "both"] = "x") -> None:
    """Remove what carries no data; leave a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    for spine in ax.spines.values():
        spine.set(color=EDGE, linewidth=0.8)
    look: dict[str, Any] = {"color": GREY, "alpha": 0.3, "linewidth": 0.6, "linestyle": "-"}
    ax.grid(visible=False)
    ax.grid(visible=True, axis=grid, **look)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", labelsize=SMALL, color=EDGE, labelcolor=EDGE)


def name_rows(ax: Axes, names: Sequence[str], values: Sequence[str] = (), *, most: int = 26) -> float:
    """Make one row for each name, the first on top; return the points that the names take on the left.

    Args:
        ax: Which.
        names: One for each row.
        values: A text at the right end of each; names are the shorter the longer these are.
        most: Characters that a line of names may have; 0 leaves them out.
    """
    if values:
        row_values(ax, values)
        room = _available(ax, 0.0) - max(width(drawable(text)) for text in values) - _BARS
        most = min(most, max(_SHORTEST, int(room / width("n"))))
    lines = [row_name(name, len(names), most) if most else "" for name in names]
    spare = max(0.0, (2 - len(names)) / 2)
    ax.set_ylim(len(names) - 0.5 + spare, -0.5 - spare)
    ax.set_yticks(range(len(names)), lines, fontsize=SMALL, color=EDGE)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    plain(ax)
    return max((width(part) for line in lines for part in line.split("\n")), default=0.0) + MARGIN


def panels(ax: Axes, names: Sequence[str], *values: Sequence[str]) -> tuple[Axes, Axes, float]:
    """Put two panels with the same rows, named on the left, in the place of `ax`; return them, and the names' width.

    Args:
        ax: The axes, which get no marks of their own.
        names: One for each row.
        values: For each panel the texts at the right ends of its rows, which are written there.
    """
    ax.set_axis_off()
    indent = max(width(line) for name in ("", *names) for line in row_name(name, len(names), 20).split("\n")) + MARGIN
    whole = _available(ax, indent) - indent
    first, second = (max(width(drawable(text)) for text in ("", *texts)) + 1.5 * MARGIN for texts in values)
    each = max((whole - first - second - MARGIN) / 2, 36.0)
    left = ax.inset_axes((0.0, 0.0, each / whole, 1.0), facecolor="none")
    right = ax.inset_axes(((each + first + MARGIN) / whole, 0.0, each / whole, 1.0), facecolor="none")
    name_rows(right, names, most=0)
    name_rows(left, names, most=20)
    for panel, texts in zip((left, right), values, strict=True):
        row_values(panel, texts)
    return left, right, indent


# --- marks ---


def bar(ax: Axes, row: float, left: float, length: float, colour: str, **look: Any) -> None:
    """Draw a bar in a row."""
    usual: dict[str, Any] = {"height": 0.62, "color": colour, "edgecolor": EDGE, "linewidth": 0.6}
    ax.barh(row, length, left=left, **{**usual, **look})


def unknown(ax: Axes, row: float, left: float) -> None:
    """Mark in a row that something of unknown length goes on from here: a hatched band to the end of the axis."""
    bar(ax, row, left, ax.get_xlim()[1] - left, "none", label="unpriced", **UNKNOWN)


def costs(
    ax: Axes, names: Sequence[str], amounts: Sequence[tuple[float, int]], colours: Mapping[str, str] | None = None
) -> None:
    """Draw a bar of USD for each name.

    Args:
        ax: Where, with as many rows.
        names: What the bars are labelled with; a row without a name has no bar.
        amounts: For each the known USD, and how many of its parts are unpriced.
        colours: The colours by name; else all have the first.
    """
    scale(ax, [known for known, _ in amounts])
    for row, (name, (known, unpriced)) in enumerate(zip(names, amounts, strict=True)):
        length = 0.0 if math.isnan(known) else known
        if name:
            bar(ax, row, 0, length, (colours or {}).get(name, BLUE), label=name)
        if unpriced:
            unknown(ax, row, length)


def amounts_of(names: Sequence[str], amounts: Sequence[tuple[float, int]]) -> list[str]:
    """Return the texts at the ends of bars of USD; a dash where there is no name, and so no bar."""
    return [in_usd(*each) if name else "–" for name, each in zip(names, amounts, strict=True)]


def line(ax: Axes, xs: Any, ys: Any, colour: str, **look: Any) -> None:  # noqa: ANN401 - arrays, lists, ...
    """Draw a line, or points where it has no `linestyle`."""
    usual: dict[str, Any] = {"color": colour, "linewidth": 1.0}
    ax.plot(xs, ys, **{**usual, **look})


def points(ax: Axes, xs: Any, ys: Any, colour: str, marker: str, **look: Any) -> None:  # noqa: ANN401
    """Draw points, whole even at the edge of the axes."""
    usual: dict[str, Any] = {"linestyle": "none", "markersize": 6, "markeredgecolor": EDGE, "clip_on": False}
    line(ax, xs, ys, colour, marker=marker, **{**usual, **look})


def row_values(ax: Axes, texts: Sequence[str]) -> None:
    """Write a text at the right end of each row."""
    for row, text in enumerate(texts):
        _beside(ax, row, drawable(text))


def _beside(ax: Axes, at: float, text: str) -> None:
    """Write a text beside the right edge of the axes."""
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    look: dict[str, Any] = {"va": "center", "fontsize": SMALL, "color": EDGE, "annotation_clip": False}
    ax.annotate(text, (1.0, at), (4, 0), **look, **place)


def name_ends(ax: Axes, ends: Sequence[tuple[str, float]]) -> bool:
    """Write the name of each line beside its right end; return whether there is room for all, as otherwise none is.

    Args:
        ax: Whose lines end at its right edge, and are all drawn.
        ends: The name of each line, and where it ends on the vertical axis.
    """
    figure, texts = ax.get_figure(root=True), [drawable(name) for name, _ in ends]
    bottom, top, *places = ax.yaxis.get_transform().transform([*ax.get_ylim(), *(end for _, end in ends)])
    high = ax.bbox.height / figure.dpi * POINTS / (top - bottom) if figure else 0.0
    near = any((other - one) * high < _LINE * SMALL for one, other in pairwise(sorted(places)))
    if near or max(map(width, texts)) > _BARS:
        return False
    for (_, end), text in zip(ends, texts, strict=True):
        _beside(ax, end, text)
    return True


# --- what stands above a chart ---


def swatch(label: str, colour: str, **look: Any) -> Patch:
    """Return a legend's entry for a bar."""
    from matplotlib.patches import Patch

    usual: dict[str, Any] = {"facecolor": colour, "edgecolor": EDGE, "linewidth": 0.6, "label": drawable(label)}
    return Patch(**{**usual, **look})


def symbol(label: str, colour: str, marker: str, **look: Any) -> Line2D:
    """Return a legend's entry for a point or, with a `linestyle`, for a line."""
    from matplotlib.lines import Line2D

    usual: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 6}
    return Line2D([], [], label=drawable(label), **{**usual, **look})


def header(
    ax: Axes,
    title: str,
    notes: Iterable[str] = (),
    *,
    legend: Sequence[Artist] = (),
    unpriced: object = False,
    indent: float = 48.0,
) -> None:
    """Write a title, notes and a legend above the axes, broken into lines that fit.

    On a page of HTML the title and the notes stand above the picture as text instead. Empty notes are left out;
    hatched bands of unpriced parts get an entry in the legend. The lines begin where the labels on the left begin,
    `indent` points before the axes.
    """
    from victor_nb.reports.charts.figure import Chart, Heading

    most = _available(ax, indent)
    hatched = [swatch("unpriced", "none", **UNKNOWN)] if unpriced else []
    low = MARGIN + _legend(ax, [*legend, *hatched], indent, most)
    said = [note for note in notes if note]
    lines = [line for note in said for line in wrapped(drawable(note), most)]
    below, rise = _write(ax, lines, low, indent, {"fontsize": SMALL, "color": EDGE})
    bold: dict[str, Any] = {"fontsize": TITLE, "fontweight": "bold", "color": EDGE}
    above, rise = _write(ax, wrapped(drawable(title), most, TITLE, "bold"), rise, indent, bold)
    figure = ax.get_figure(root=True)
    if isinstance(figure, Chart):
        figure.make_room(rise / POINTS)
        figure.heading = Heading(title, said, [*below, *above], low / POINTS)


def _available(ax: Axes, indent: float) -> float:
    """Return how many points wide the lines of a header may be."""
    from victor_nb.reports.charts.figure import WIDTH, Chart

    figure = ax.get_figure(root=True)
    if isinstance(figure, Chart) or figure is None:
        return WIDTH * POINTS - 3 * MARGIN  # one of them for pixels: hinted letters are up to 3 % wider
    return max(ax.get_position().width * figure.get_figwidth() * POINTS + indent, 120.0)


def _write(
    ax: Axes, lines: Sequence[str], rise: float, indent: float, look: Mapping[str, Any]
) -> tuple[list[Artist], float]:
    """Write lines that end `rise` points above the axes; return the text, and how high the next may begin."""
    if not lines:
        return [], rise
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    text = ax.annotate("\n".join(lines), (0, 1), (-indent, rise), va="bottom", linespacing=_LINE, **place, **look)
    return [text], rise + len(lines) * look["fontsize"] * _LINE + 3


def _legend(ax: Axes, handles: Sequence[Artist], indent: float, most: float) -> float:
    """Draw the legend, in as many columns as fit; return how many points high it is."""
    from matplotlib.transforms import IdentityTransform, ScaledTranslation

    if not handles:
        return 0.0
    columns = _columns([width(str(handle.get_label())) + 34.0 for handle in handles], most)
    inches: Any = getattr(ax.get_figure(root=True), "dpi_scale_trans", IdentityTransform())
    ax.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=ax.transAxes + ScaledTranslation(-indent / POINTS, MARGIN / 2 / POINTS, inches),
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        labelcolor=EDGE,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.6,
        columnspacing=1.2,
        labelspacing=0.4,
    )
    return math.ceil(len(handles) / columns) * 15.5


def _columns(widths: Sequence[float], most: float) -> int:
    """Return the most columns in which a legend fits; it fills one after the other."""
    for columns in range(len(widths), 1, -1):
        least, more = divmod(len(widths), columns)  # the first columns have one entry more
        ends = list(accumulate(least + (at < more) for at in range(columns)))
        if sum(max(widths[begin:end]) for begin, end in pairwise([0, *ends])) <= most:
            return columns
    return 1
