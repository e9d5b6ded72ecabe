"""What charts say: amounts, labels that fit, and texts that a font can draw."""

from __future__ import annotations

import base64
import io
import math
from contextlib import suppress
from functools import lru_cache
from html import escape
from itertools import cycle, product
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import IdentityTransform, ScaledTranslation

from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Literal

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.ft2font import FT2Font
    from matplotlib.ticker import Locator
    from numpy.typing import NDArray


# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)


SMALL: Final = 8.0
"""Points of labels, ticks and notes."""
LARGE: Final = 10.5
"""Points of a title."""

MINUS: Final = "\N{MINUS SIGN}"

_SMALLEST: Final = 0.0001
_SHORT: Final = 0.01
_LARGE_SUM: Final = 10
_MOST_SAID: Final = 12


def amount(usd: float) -> str:
    """Say an amount of USD without its unit: four decimals, two digits of what is smaller, cents of what is large."""
    if usd == 0:
        return "0"
    if abs(usd) >= _LARGE_SUM:
        return f"{usd:,.2f}"
    if abs(usd) >= _SMALLEST:
        return f"{usd:.4f}"
    return f"{usd:.{1 - math.floor(math.log10(abs(usd)))}f}"


def bounded(known: float, unpriced: int) -> str:
    """Say what something costs as far as it is known: `0.0041`, `≥ 0.0041`, or `unpriced`."""
    if math.isnan(known) or (unpriced and known == 0):
        return "unpriced"
    return f"≥ {amount(known)}" if unpriced else amount(known)


def total(known: float, unpriced: int) -> str:
    """Say a sum of money with its unit, and how much of it is unknown."""
    if unpriced:
        return f">= USD {amount(known)} ({unpriced:,} unpriced)"
    return f"USD {amount(known)}"


def difference(actual: float, other: float) -> str:
    """Say how much dearer or cheaper than another amount an amount is: `74 % less`."""
    if other <= 0:
        return "more" if actual > 0 else "as much"
    share = actual / other - 1
    said = f"{abs(share):.0%}".replace("%", " %")
    return "as much" if said == "0 %" else f"{said} {'less' if share < 0 else 'more'}"


def change(actual: float, other: float) -> str:
    """Say the same as a signed share, for a column of figures: `-74 %`."""
    if other <= 0:
        return ""
    share = f"{actual / other - 1:+.0%}".replace("%", " %").replace("-", MINUS)
    return "as much" if share[1:] == "0 %" else share


def seconds(value: float) -> str:
    """Say a duration."""
    if math.isnan(value):
        return "–"
    if value >= 1:
        return f"{value:,.1f} s"
    return f"{value * 1000:,.0f} ms" if value >= _SHORT else f"{value * 1000:.1f} ms"


def sentences(*parts: str) -> str:
    """Join what an alt text says; empty parts are left out."""
    return " ".join(f"{part.rstrip('. ')}." for part in parts if part)


def listing(parts: Iterable[str]) -> str:
    """Join what an alt text enumerates; of much, the first dozen."""
    said = list(parts)
    more = [f"and {len(said) - _MOST_SAID} more"] if len(said) > _MOST_SAID else []
    return "; ".join([*said[:_MOST_SAID], *more])


def clean(text: str) -> str:
    """Return a text on one line, with what the font in use cannot draw replaced."""
    fonts = _fonts(tuple(FontProperties().get_family()))
    line = " ".join(text.split())
    return "".join(sign if _drawn(sign, fonts) else "\N{REPLACEMENT CHARACTER}" for sign in line)


def _drawn(sign: str, fonts: tuple[FT2Font, ...]) -> bool:
    return any(font.get_char_index(ord(sign)) for font in fonts)


@lru_cache(maxsize=16)
def _fonts(families: tuple[str, ...]) -> tuple[FT2Font, ...]:
    """Return the fonts that matplotlib would take a sign from, one after the other."""
    found: list[FT2Font] = []
    for family in families:
        with suppress(ValueError):  # there is none of that name
            path = font_manager.findfont(FontProperties(family=[family]), fallback_to_default=False)
            found.append(font_manager.get_font(path))
    return tuple(found) or (font_manager.get_font(font_manager.findfont(FontProperties())),)


def escaped(text: str) -> str:
    """Keep matplotlib from reading dollar signs as mathematics."""
    return text.replace("$", "\\$")


def drawable(text: str) -> str:
    """Return a text on one line as it can be drawn."""
    return escaped(clean(text))


def short(text: str, most: int = 30) -> str:
    """Return a text with its middle cut out where it is longer than `most` characters: names differ at their ends."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    end = most // 3
    return f"{line[: most - end - 1]}…{line[-end:]}"


@lru_cache(maxsize=512)
def width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """Return how wide a line of text is, in points."""
    style = FontProperties(size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, style, ismath=False)[0])


def wrapped(text: str, most: float, size: float = SMALL, weight: str = "normal") -> list[str]:
    """Break a text into lines that are at most so many points wide, where its words allow it."""
    lines: list[str] = []
    for word in text.split():
        if lines and width(f"{lines[-1]} {word}", size, weight) <= most:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines


# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)


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


# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)


INCHES: Final = (6.0, 4.0)
"""Width and height at which every chart is meant to be read."""

_DOTS: Final = 120
"""Pixels of a PNG for each inch."""
_SCREEN: Final = 100
"""Pixels of a page for each inch."""


class Chart(Figure):
    """A figure that pyplot does not know of, so that a notebook shows it once, where it is looked at.

    Attributes:
        alt: What it shows, in words.
    """

    def __init__(self, *, height: float = INCHES[1]) -> None:
        super().__init__(figsize=(INCHES[0], height), layout="constrained")
        FigureCanvasAgg(self)
        self.alt = ""

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        """Return the picture with its alt text, and without for readers that know no HTML."""
        data = png(self)
        return {"text/html": _image(self, data), "image/png": data, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Chart: {self.alt}>"


def png(figure: Figure) -> bytes:
    """Return a figure as PNG: the same bytes for the same data, wherever and whenever it is drawn."""
    figure.draw_without_rendering()  # some texts, such as the date beside an axis of hours, come with the first drawing
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()


def html_image(figure: Figure) -> str:
    """Return a figure as HTML, `<img alt=...>` with the picture inside: the alt text of a plain PNG is lost."""
    return _image(figure, png(figure))


def _image(figure: Figure, data: bytes) -> str:
    alt = escape(str(getattr(figure, "alt", "")), quote=True)
    source = base64.b64encode(data).decode("ascii")
    width = round(figure.get_figwidth() * _SCREEN)
    return f'<img alt="{alt}" width="{width}" style="max-width: 100%" src="data:image/png;base64,{source}">'


def paper(ax: Axes | None, *, height: float = INCHES[1]) -> Axes:
    """Return where to draw: the axes that were given, or those of a new chart, `height` inches high."""
    return Chart(height=height).add_subplot() if ax is None else ax


def finish(ax: Axes, alt: str) -> Figure:
    """Return the figure of the axes, told in words; a figure with several charts is told by one after the other.

    Raises:
        ConfigError: The axes were taken out of their figure.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ConfigError("These axes belong to no figure. Make new ones, or leave `ax` out.")
    told = f"{getattr(figure, 'alt', '')} {alt}".strip()
    setattr(figure, "alt", told)  # noqa: B010 - a figure of pyplot's has no such attribute yet
    return figure


def panels(ax: Axes, *shares: tuple[float, float]) -> list[Axes]:
    """Return axes side by side in the place of `ax`, each from one share of its width to another."""
    ax.set_axis_off()
    return [ax.inset_axes((left, 0.0, right - left, 1.0)) for left, right in shares]


# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)


MARGIN: Final = 8.0
"""Points between a label and what it belongs to."""

_POINTS: Final = 72
_MOST_TICKS: Final = 6
_APART: Final = 5.0
_GRID: Final = "#999999"
_FEWEST_ROWS: Final = 4
_ROWS_OF_TWO_LINES: Final = 8
_ROW: Final = 0.22
_REST: Final = 1.5
_USUAL: Final = 4.0


def height(rows: int) -> float:
    """Return the inches that a chart of so many rows needs: the usual, and more for a long list."""
    return max(_USUAL, _REST + _ROW * rows)


class Dollars(Formatter):
    """Says amounts in full, with as many decimals as tell the ticks apart: no `1e-7`, and no offset in a corner."""

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it
        """Return the text of one tick by itself."""
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Any) -> list[str]:  # noqa: ANN401 - numbers, in whatever matplotlib holds them
        """Return the texts of the ticks."""
        ticks = [float(value) for value in values]
        near = max(map(abs, ticks), default=0.0) * 1e-6
        exact = (d for d in range(13) if all(math.isclose(tick, round(tick, d), abs_tol=near) for tick in ticks))
        decimals = next(exact, 12)
        return [f"{tick:,.{2 if decimals == 1 else decimals}f}" if tick else "0" for tick in ticks]


class Prices(Dollars):
    """The same on a logarithmic axis, where each tick needs decimals of its own."""

    def format_ticks(self, values: Any) -> list[str]:  # noqa: ANN401
        """Return the texts of the ticks."""
        return [text for value in values for text in super(Prices, self).format_ticks([value])]


class Fitting(MaxNLocator):
    """Sets as many ticks as there is room for their labels along the axis."""

    def __init__(self, form: Formatter) -> None:
        super().__init__(nbins=_MOST_TICKS, steps=[1, 2, 2.5, 5, 10])
        self._form = form

    def tick_values(self, vmin: float, vmax: float) -> Any:  # noqa: ANN401 - as matplotlib has it
        """Return the ticks for a range of values."""
        for most in range(_MOST_TICKS, 0, -1):
            self.set_params(nbins=most)
            ticks = super().tick_values(vmin, vmax)
            shown = [float(tick) for tick in ticks if vmin <= tick <= vmax]
            if sum(width(text) + _APART for text in self._form.format_ticks(shown)) <= self._points():
                return ticks
        return np.array([0.0])

    def _points(self) -> float:
        """Return how long the axis is, as far as it is known where it will be."""
        axes = self.axis.axes if isinstance(self.axis, Axis) else None
        figure = axes.get_figure(root=True) if axes else None
        return axes.bbox.width / figure.dpi * _POINTS if axes and figure else 0.0


def money_scale(ax: Axes, ends: Iterable[float], what: str = "USD") -> None:
    """Make the horizontal axis one of money, from 0 to the last end of a bar; where none is known, it has no scale."""
    _scale(ax, ends, what, Dollars())


def seconds_scale(ax: Axes, ends: Iterable[float]) -> None:
    """Make the horizontal axis one of time, likewise."""
    _scale(ax, ends, "seconds", FuncFormatter(_plain))


def count_scale(ax: Axes, ends: Iterable[float], what: str) -> None:
    """Make the horizontal axis one of whole numbers, likewise."""
    _scale(ax, ends, what, FuncFormatter(_whole))


def _scale(ax: Axes, ends: Iterable[float], what: str, form: Formatter) -> None:
    longest = max((end for end in ends if end > 0), default=0.0)
    ax.set_xlim(0, longest * 1.04 or 1.0)
    _measure(ax.xaxis, what, form, Fitting(form))
    if not longest:
        no_scale(ax.xaxis, 0)


def money_axis(axis: Axis, what: str = "USD") -> None:
    """Make an axis one of money."""
    form = Dollars()
    _measure(axis, what, form, Fitting(form) if isinstance(axis, XAxis) else MaxNLocator(nbins=6))


def log_money_axis(axis: Axis, what: str) -> None:
    """Make a logarithmic axis one of money."""
    _measure(axis, f"{what} (logarithmic)", Prices(), LogLocator(numticks=6))
    axis.set_minor_formatter(NullFormatter())


def name_axis(axis: Axis, what: str) -> None:
    """Say what an axis measures."""
    axis.set_label_text(what, fontsize=SMALL)


def no_scale(axis: Axis, *ticks: float) -> None:
    """Leave only ticks that are true of an axis whose scale says nothing."""
    axis.set_ticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])


def log_scale(ax: Axes) -> None:
    """Make the horizontal axis logarithmic."""
    ax.set_xscale("log")


def _plain(x: float, _: int | None) -> str:
    return f"{x:,g}"


def _whole(x: float, _: int | None) -> str:
    return f"{x:,.0f}"


def _measure(axis: Axis, what: str, form: Formatter, locator: Locator) -> None:
    axis.set_major_locator(locator)
    axis.set_major_formatter(form)
    name_axis(axis, what)
    axis.set_tick_params(labelsize=SMALL)


def plain(ax: Axes, *, grid: Literal["x", "y", "both"] = "x") -> None:
    """Take away what carries no data; leave a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, axis=grid, color=_GRID, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=SMALL)


def name_rows(ax: Axes, names: Sequence[str], *, most: int = 30) -> float:
    """Make one row for each name, the first on top; return the points that the names take on the left.

    Args:
        ax: Which.
        names: One for each row.
        most: Characters that a line of them may have; 0 leaves them out.
    """
    lines = [_name(name, len(names), most) if most else "" for name in names]
    spare = max(0.0, (_FEWEST_ROWS - len(names)) / 2)
    ax.set_ylim(len(names) - 0.5 + spare, -0.5 - spare)
    ax.set_yticks(range(len(names)), lines, fontsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    plain(ax)
    return max((width(part) for line in lines for part in line.split("\n")), default=0.0) + MARGIN


def _name(name: str, rows: int, most: int) -> str:
    """Return a label of one line or, where there is room, of two."""
    said = clean(name)
    lines = wrapped(said, width("n" * min(most, 20))) if rows <= _ROWS_OF_TWO_LINES else [said]
    rest = " ".join(lines[1:])
    return escaped("\n".join(short(line, most) for line in (*lines[:1], rest) if line))


# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)


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


# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)


_Place: TypeAlias = tuple[float, float]

_FEW: Final = 6
_LONGEST: Final = 24
_SHORTER: Final = 18
_HEIGHT: Final = SMALL * 1.25
_POINT: Final = 6.0
_NEAR: Final = 8.0
_RINGS: Final = (1.0, 1.7, 2.6, 3.8, 5.2, 7.0, 9.0, 12.0)
_SIDES: Final = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1))
_GRAIN: Final = 4.0
_HIDDEN: Final = 1000.0
_CROSSED: Final = 50.0
_STRUCK: Final = 25.0


class Label(NamedTuple):
    """A name, and the point in data coordinates that it belongs to."""

    text: str
    x: float
    y: float


class Segment(NamedTuple):
    """A line in data coordinates that names should keep clear of."""

    x0: float
    y0: float
    x1: float
    y1: float


class _Box(NamedTuple):
    """A rectangle, in points of the figure."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: _Box) -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def inside(self, other: _Box) -> bool:
        return other.x0 <= self.x0 and self.x1 <= other.x1 and other.y0 <= self.y0 and self.y1 <= other.y1


def place(ax: Axes, labels: Sequence[Label], lines: Sequence[Segment] = ()) -> None:
    """Write each name near its point, where it hides the least; a line leads to it.

    The figure is laid out once before, since only then is it known where the points are.
    """
    figure = ax.get_figure(root=True)
    if figure is None or not labels:
        return
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    points = _points(ax, [(label.x, label.y) for label in labels], scale)
    ends = _points(ax, [end for line in lines for end in (line[:2], line[2:])], scale)
    low, high = _points(ax, list(zip(ax.get_xlim(), ax.get_ylim(), strict=True)), scale)
    thin = [_along(start, end) for start, end in zip(ends[::2], ends[1::2], strict=True)]
    solid = [_Box(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in points]
    most = _LONGEST if len(labels) <= _FEW else _SHORTER
    for label, (x, y) in sorted(zip(labels, points, strict=True), key=lambda pair: (-pair[1][1], pair[1][0])):
        text = short(clean(label.text), most)
        inside = [box for box in _boxes(x, y, width(text)) if box.inside(_Box(*low, *high))]
        best = min(inside or _boxes(x, y, width(text)), key=lambda box: _price(box, (x, y), solid, thin))
        solid.append(best)
        _write_labels(ax, label, escaped(text), _Box(best.x0 - x, best.y0 - y, best.x1 - x, best.y1 - y))


def _points(ax: Axes, places: Sequence[tuple[float, ...]], scale: float) -> list[_Place]:
    """Return places of the data as places of the figure, in points."""
    if not places:
        return []
    return [(float(x) * scale, float(y) * scale) for x, y in ax.transData.transform(places)]


def _boxes(x: float, y: float, length: float) -> Iterator[_Box]:
    """Return the places around a point, the nearest first."""
    for ring, (right, up) in product(_RINGS, _SIDES):
        away = _NEAR * ring
        left = x + away * right - (0 if right > 0 else length if right < 0 else length / 2)
        bottom = y + away * up - (_HEIGHT / 2 if up == 0 else 0 if up > 0 else _HEIGHT)
        yield _Box(left, bottom, left + length, bottom + _HEIGHT)


def _price(box: _Box, point: _Place, solid: Sequence[_Box], thin: Sequence[Sequence[_Box]]) -> float:
    """Return how bad a place is: what it hides, what the line to it crosses, and how far away it is."""
    end = (min(max(point[0], box.x0), box.x1), min(max(point[1], box.y0), box.y1))
    leader = _along(point, end)
    hidden = sum(box.meets(other) for other in solid)
    struck = sum(any(box.meets(step) for step in line) for line in thin)
    others = [other for other in solid if not (other.x0 <= point[0] <= other.x1 and other.y0 <= point[1] <= other.y1)]
    crossed = sum(any(step.meets(other) for step in leader) for other in others)
    return _HIDDEN * hidden + _CROSSED * crossed + _STRUCK * struck + math.dist(point, end)


def _along(start: _Place, end: _Place) -> list[_Box]:
    """Return a line as small boxes."""
    steps = max(1, math.ceil(math.dist(start, end) / _GRAIN))
    right, up = (end[0] - start[0]) / steps, (end[1] - start[1]) / steps
    at = [(start[0] + right * step, start[1] + up * step) for step in range(steps + 1)]
    return [_Box(x - 1, y - 1, x + 1, y + 1) for x, y in at]


def _write_labels(ax: Axes, label: Label, text: str, box: _Box) -> None:
    """Write a name into a place that is measured from its point, and draw a line from its nearest edge."""
    from_x = min(max(-box.x0 / (box.x1 - box.x0), 0.0), 1.0)
    from_y = min(max(-box.y0 / (box.y1 - box.y0), 0.0), 1.0)
    look = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
    ax.annotate(
        text,
        (label.x, label.y),
        xytext=(box.x0, box.y0),
        textcoords="offset points",
        fontsize=SMALL,
        va="bottom",
        arrowprops={**look, "relpos": (from_x, from_y)},
        annotation_clip=False,
    ).set_in_layout(False)


NOTHING: Final = "nothing to show yet"
_UNBILLED: Final = {"simulate": "simulated", "replay": "replayed"}


def need(frame: pd.DataFrame, chart: str, columns: Sequence[str], *, source: str) -> pd.DataFrame:
    """Return the frame, if it has these columns.

    Args:
        frame: What was given.
        chart: The chart's name.
        columns: What it cannot do without.
        source: Where a frame that has them comes from.

    Raises:
        ConfigError: It has not.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"The chart {chart!r} needs the columns {', '.join(missing)}. Give it {source}.")
    return frame


def numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as floats, NaN where it is unknown or where there is no such column."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return np.array([np.nan if pd.isna(cell) else float(cell) for cell in frame[name]], dtype=np.float64)


def words(frame: pd.DataFrame, name: str, *, missing: str = "") -> list[str]:
    """Return a column as texts, `missing` where it says nothing or where there is no such column."""
    if name not in frame.columns:
        return [missing] * len(frame)
    return [missing if pd.isna(cell) else str(cell) for cell in frame[name]]


class Money(NamedTuple):
    """A sum of what is known in USD (NaN where there is nothing), and how many of its parts are not."""

    known: float
    unpriced: int


def money(frame: pd.DataFrame, name: str = "cost") -> Money:
    """Add up a column of costs. A row that says itself how much of it is `unpriced` is taken at its word."""
    costs = numbers(frame, name)
    lacking = np.isnan(costs)
    said = np.nan_to_num(numbers(frame, "unpriced")) if name == "cost" else np.zeros(len(frame))
    unpriced = np.where(lacking, np.maximum(said, 1), said)
    known = float(np.nansum(costs)) if not lacking.all() else float("nan")
    return Money(known, int(unpriced.sum()))


def groups(frame: pd.DataFrame, name: str, *, missing: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Part a frame by the texts of a column, in the order in which they come."""
    keys = pd.Series(words(frame, name, missing=missing), index=frame.index, dtype="object")
    for key in dict.fromkeys(keys):
        yield key, frame[keys == key]


def provenance(frame: pd.DataFrame, what: str = "list prices") -> str:
    """Say whether figures of the frame are not what a provider charged or took: `simulated: list prices`."""
    modes = {mode for text in words(frame, "mode", missing="live") for mode in text.split()}
    said = [word for mode, word in _UNBILLED.items() if mode in modes]
    if not said:
        return ""
    partly = "partly " if modes - _UNBILLED.keys() else ""
    return f"{partly}{' and '.join(said)}: {what}"


def mean(values: Any) -> float:  # noqa: ANN401 - whatever numpy takes
    """Return the mean of what is known; NaN where nothing is."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")
