"""Names beside points, so that none hides another."""

# pyright: reportUnknownMemberType=false
# (matplotlib's types leave the keywords of most methods open.)

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from victor_nb.reports.charts.marks import GREY
from victor_nb.reports.charts.wording import SMALL, clean, escaped, short, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

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
        _write(ax, label, escaped(text), _Box(best.x0 - x, best.y0 - y, best.x1 - x, best.y1 - y))


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


def _write(ax: Axes, label: Label, text: str, box: _Box) -> None:
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
