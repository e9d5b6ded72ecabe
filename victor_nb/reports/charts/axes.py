"""Axes of money, of time, of counts, and of names."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from victor_nb.reports.charts.wording import SMALL, clean, escaped, short, width, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Literal

    from matplotlib.axes import Axes
    from matplotlib.ticker import Locator

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
